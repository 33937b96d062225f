"""Which alerts an ESME raises, and where; and clearing its logs (transform B10)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from lastmetre.gbcs.axdr import BitString, Data
from lastmetre.gbcs.build.checks import Checked, UInt16
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import DlmsCommand, Items, act, set_, write_lines
from lastmetre.gbcs.errors import GbcsValueError

MASK_BITS: Final = 256
"""A bit for each alert code; the code's low octet counts from the last bit."""


@dataclass(frozen=True, slots=True)
class AlertSetting(Checked):
    """Whether something is done about an alert code. Codes count by their low octet: 810D and 800D are one."""

    code: UInt16
    enabled: bool


@dataclass(frozen=True, slots=True)
class _Bits:
    """Which codes are meant (first half), and which of them are enabled (second half)."""

    def write(self, values: Any, frame: Frame) -> Data:
        del frame
        mask = enabled = 0
        for setting in values.settings:
            bit = 1 << (setting.code & 0xFF)
            mask |= bit
            enabled |= bit if setting.enabled else 0
        return BitString(2 * MASK_BITS, (mask << MASK_BITS | enabled).to_bytes(2 * MASK_BITS // 8, "big"))

    def read(self, data: Any, found: Found) -> None:
        both = int.from_bytes(data.value, "big")
        mask, enabled = both >> MASK_BITS, both & (1 << MASK_BITS) - 1
        chosen = (at for at in range(MASK_BITS) if mask >> at & 1)
        found.put("settings", tuple(AlertSetting(at, bool(enabled >> at & 1)) for at in chosen))


_PLACES: Final = {
    0x00AC: "1/0-30:97.98.11.255",  # ECS25a, by WAN
    0x00EA: "1/0-30:97.98.12.255",  # ECS25a1, by HAN
    0x00EB: "1/0-30:97.98.13.255",  # ECS25a2, alarms
    0x00EC: "1/0-30:97.98.14.255",  # ECS25a3, logged
    0x00B0: "1/0-33:97.98.11.255",  # ECS25b, the network operator's by WAN
    0x00ED: "1/0-33:97.98.14.255",  # ECS25b3, the network operator's logged
}


@dataclass(frozen=True, slots=True)
class ConfigureAlerts(DlmsCommand):
    """ECS25a, a1, a2, a3, b, b3: what is done about events; the use case says whose, and by WAN, HAN, alarm or log.

    Read from a payload, a code is its low octet alone: more is not there.
    """

    CODES: ClassVar = tuple(_PLACES)

    settings: tuple[AlertSetting, ...]

    def _agree(self) -> None:
        numbers = [setting.code & 0xFF for setting in self.settings]
        if len(set(numbers)) != len(numbers):
            raise GbcsValueError("ConfigureAlerts.settings names a code, or two codes of the same low octet, twice")

    def items(self, frame: Frame) -> Items:
        """One attribute."""
        return write_lines((set_(_PLACES[frame.message_code], 2, _Bits()),), self, frame)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """The bits."""
        ((_, data),) = items
        _Bits().read(data, found)


_LOGS: Final = {0x0024: "7/0-0:99.98.0.255", 0x00C1: "7/0-17:99.98.2.255"}


@dataclass(frozen=True, slots=True)
class ClearEventLog(DlmsCommand):
    """ECS15a (the meter's), ECS15c (of its auxiliary loads)."""

    CODES: ClassVar = tuple(_LOGS)

    def items(self, frame: Frame) -> Items:
        """One action."""
        return write_lines((act(_LOGS[frame.message_code], 1),), self, frame)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """There is nothing to find."""


COMMANDS: Final = (ConfigureAlerts, ClearEventLog)
