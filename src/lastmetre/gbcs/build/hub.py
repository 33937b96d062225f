"""Commands of a Communications Hub (transform B8, B10): its device log, and its sub GHz radio."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.axdr import BitString, Boolean, Data, Enum, LongUnsigned, OctetString, Structure, Unsigned
from lastmetre.gbcs.build.checks import Checked, EntityId, Size, UInt8, UInt16, Whole
from lastmetre.gbcs.build.debt import PercentHundredths
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import NOTHING, DlmsCommand, act, const, get, octets, rows, set_, struct, whole
from lastmetre.gbcs.errors import GbcsValueError

HUB_LOG: Final = "104/0-0:30.3.0.255"
HUB_SECURITY: Final = "104/0-0:30.3.1.255"
JOIN_PERIOD_MAX_S: Final = 3600


@dataclass(frozen=True, slots=True)
class AddDevice(DlmsCommand):
    """CCS01: put a device on the hub's log and let it join for some time."""

    CODES: ClassVar = (0x0001,)
    LAYOUT: ClassVar = (
        act(HUB_LOG, 1, struct(octets("device"), const(Enum(1)), octets("install_code"), const(Enum(0)))),
        set_(HUB_LOG, 3, whole(LongUnsigned, "join_period_s")),
        set_(HUB_LOG, 2, const(Boolean(value=True))),
    )

    device: EntityId
    install_code: Annotated[bytes, Size(6, 16)]
    join_period_s: Annotated[int, Whole(1, JOIN_PERIOD_MAX_S)]


@dataclass(frozen=True, slots=True)
class RemoveDevice(DlmsCommand):
    """CCS02."""

    CODES: ClassVar = (0x0002,)
    LAYOUT: ClassVar = (act(HUB_LOG, 2, octets("device")),)

    device: EntityId


@dataclass(frozen=True, slots=True)
class HashedLinkKey(Checked):
    """A device of the old hub's network, with the hash of its link key."""

    device: EntityId
    link_key_hash: Annotated[bytes, Size(16, 16)]

    def to_data(self) -> Data:
        """Its row."""
        return Structure((OctetString(self.device), OctetString(self.link_key_hash)))

    @classmethod
    def from_data(cls, data: Any) -> "HashedLinkKey":
        """From its row."""
        return cls(*(element.value for element in data.elements))


@dataclass(frozen=True, slots=True)
class RestoreDeviceLog(DlmsCommand):
    """CCS03. ``network_id``: taken to be the old network's extended PAN identifier [I]."""

    CODES: ClassVar = (0x0003,)
    LAYOUT: ClassVar = (
        act(
            HUB_LOG,
            5,
            struct(octets("network_id"), rows("link_keys", HashedLinkKey.to_data, HashedLinkKey.from_data)),
        ),
    )

    network_id: Annotated[bytes, Size(8, 8)]
    link_keys: tuple[HashedLinkKey, ...]


@dataclass(frozen=True, slots=True)
class ReadDeviceLog(DlmsCommand):
    """CCS06, and CCS05/CCS04 for older hubs."""

    CODES: ClassVar = (0x010F, 0x0004)
    LAYOUT: ClassVar = get(HUB_LOG, 4)


@dataclass(frozen=True, slots=True)
class ReadDeviceLogAndSecurity(DlmsCommand):
    """CCS07: the device log with security details."""

    CODES: ClassVar = (0x00FE,)
    LAYOUT: ClassVar = (act(HUB_LOG, 4, NOTHING), act(HUB_SECURITY, 4, NOTHING))


# --- DBCH04, DBCH05: the sub GHz radio

PAGE_BITS: Final = 5
MASK_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Band:
    """A band of sub GHz channels: the field of its channels, its page number, first and last channel."""

    name: str
    page: int
    first: int
    last: int

    def write(self, values: Any, frame: Frame) -> Data:
        """A page number in the five highest bits, and a bit for each channel, the first in the lowest."""
        del frame
        mask = self.page << MASK_BITS - PAGE_BITS
        for channel in getattr(values, self.name):
            mask |= 1 << channel - self.first
        return BitString(MASK_BITS, mask.to_bytes(MASK_BITS // 8, "big"))

    def read(self, data: Any, found: Found) -> None:
        """The channels whose bits are set."""
        mask = int.from_bytes(data.value, "big")
        channels = range(self.first, self.last + 1)
        found.put(self.name, tuple(channel for channel in channels if mask >> channel - self.first & 1))


BANDS: Final = (
    Band("lower_band_channels_0_to_26", 0b11100, 0, 26),
    Band("lower_band_channels_27_to_34", 0b11101, 27, 34),
    Band("lower_band_channels_35_to_61", 0b11110, 35, 61),
    Band("upper_band_channels_0_to_26", 0b11111, 0, 26),
)
_To26: TypeAlias = tuple[Annotated[int, Whole(0, 26)], ...]
_To34: TypeAlias = tuple[Annotated[int, Whole(27, 34)], ...]
_To61: TypeAlias = tuple[Annotated[int, Whole(35, 61)], ...]


@dataclass(frozen=True, slots=True)
class ConfigureSubGhz(DlmsCommand):
    """DBCH04: which channels may be used, and when to leave one."""

    CODES: ClassVar = (0x010D,)
    LAYOUT: ClassVar = (
        set_(
            "1/0-0:94.44.10.0",
            2,
            struct(
                *BANDS,
                whole(LongUnsigned, "normal_limited_duty_cycle_threshold_percent_hundredths"),
                whole(LongUnsigned, "limited_critical_duty_cycle_threshold_percent_hundredths"),
                whole(Unsigned, "max_channel_changes_per_week"),
                whole(LongUnsigned, "gsme_curfew"),
                whole(Unsigned, "channel_quieter_threshold"),
                whole(Unsigned, "channel_noisier_threshold"),
                whole(LongUnsigned, "poor_communications_percent_hundredths"),
                whole(Unsigned, "poor_communications_periods"),
                whole(LongUnsigned, "noise_measurement_period"),
                whole(LongUnsigned, "failure_percent_hundredths"),
                whole(LongUnsigned, "retry_percent_hundredths"),
            ),
        ),
    )

    lower_band_channels_0_to_26: _To26
    lower_band_channels_27_to_34: _To34
    lower_band_channels_35_to_61: _To61
    upper_band_channels_0_to_26: _To26
    normal_limited_duty_cycle_threshold_percent_hundredths: PercentHundredths
    limited_critical_duty_cycle_threshold_percent_hundredths: PercentHundredths
    max_channel_changes_per_week: UInt8
    gsme_curfew: UInt16
    channel_quieter_threshold: UInt8
    channel_noisier_threshold: UInt8
    poor_communications_percent_hundredths: PercentHundredths
    poor_communications_periods: UInt8
    noise_measurement_period: UInt16
    failure_percent_hundredths: PercentHundredths
    retry_percent_hundredths: PercentHundredths

    def _agree(self) -> None:
        for band in BANDS:
            channels = getattr(self, band.name)
            if list(channels) != sorted(set(channels)):
                raise GbcsValueError(f"ConfigureSubGhz.{band.name} names each channel once, in order")


@dataclass(frozen=True, slots=True)
class ScanSubGhz(DlmsCommand):
    """DBCH05: look for a better channel."""

    CODES: ClassVar = (0x010E,)
    LAYOUT: ClassVar = (set_("1/0-0:94.44.10.1", 2, const(Unsigned(0))),)


COMMANDS: Final = (
    AddDevice,
    RemoveDevice,
    RestoreDeviceLog,
    ReadDeviceLog,
    ReadDeviceLogAndSecurity,
    ConfigureSubGhz,
    ScanSubGhz,
)
