"""The hand-held terminal: the hub's rules for it, and the terminal's own work in the field (reference: han 2.8).

The hub's rules (``HhtDesk``):

* It joins within sixty minutes of the hub's power-on and not after; the terminal's session before that (Inter-PAN) is
  not modelled, its result is: an id and a link key.
* One at a time. Eighteen hours from being listed, by the CHF's own clock (a power cut or a calendar set back does not
  stretch them); then it is removed, its tunnel closed, what waits for it dropped, and nothing of it kept.
* A CCS02 ends it early. Starting again needs a new session within a new sixty minutes.

The terminal's work (``FieldTool``): hand over Commands one after the other, in their order, and collect what comes
back for each until all are answered or the time is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Cra, read_header
from lastmetre.han import MessageReceived, TransferFailed
from lastmetre.han.limits import TRANSFER_OCTETS_MAX
from lastmetre.home.block_door import BlockDoor, cut

if TYPE_CHECKING:
    from lastmetre.han import Event, HandheldDevice
    from lastmetre.home.chf import Chf

JOIN_WINDOW_S: Final = 3_600
"""How long after power-on an HHT may join (han 2.8, F-GBCS)."""


class HhtDesk:
    """The hub's rules for hand-held terminals. ``now`` is the hub's own clock, ``at`` the calendar's."""

    def __init__(self, chf: Chf, powered_on: float) -> None:
        self._chf = chf
        self._powered_on = powered_on
        self._asked = powered_on

    def is_open(self, now: float) -> bool:
        """Whether a terminal may join now."""
        return now < self._powered_on + JOIN_WINDOW_S

    def join(self, device_id: bytes, key: bytes, now: float, at: int) -> list[bytes] | None:
        """A terminal comes with what its session left it: its Alert when it is listed, ``None`` when it may not be."""
        if not self.is_open(now):
            return None
        self._asked = now
        return self._chf.list_hht(device_id, key, at)

    def tick(self, now: float, at: int) -> list[bytes]:
        """Let its hours pass; the Alert of its removal when they are over."""
        if self._chf.state.hht is None:
            self._asked = now
            return []
        passed = int(now - self._asked)
        left = self._chf.hht_clock(at, passed)
        self._asked += passed
        return [] if left else self._chf.remove_hht(at)


@dataclass(slots=True)
class FieldTool:
    """What a terminal does with a pack of Commands."""

    radio: HandheldDevice
    commands: tuple[bytes, ...]
    responses: list[bytes] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    """Commands the hub did not take, by number, and why."""
    _next: int = 0
    _handles: dict[int, int] = field(default_factory=dict)
    _door: BlockDoor = field(default_factory=BlockDoor)

    @property
    def is_done(self) -> bool:
        """Whether every Command was answered or could not be handed over."""
        return self._next == len(self.commands) and not self._open()

    def go_on(self, now: float) -> None:
        """Hand over the next Command once the one before is answered. Call it after every event and now and then."""
        if self._next < len(self.commands) and not self._open():
            number = self._next
            self._next += 1
            for piece in cut(self.commands[number], TRANSFER_OCTETS_MAX):
                self._handles[self.radio.send(piece, now)] = number

    def give_up(self) -> None:
        """The Command that is open is not waited for any longer: a gas meter may answer hours from now."""
        for number in self._open():
            self.failed.append((number, "no answer while the tool waited"))

    def happened(self, event: Event, at: int) -> None:
        """React to an event of the radio."""
        if isinstance(event, MessageReceived):
            whole = self._door.take(event.data, at)
            if whole is not None:
                self.responses.append(whole)
        elif isinstance(event, TransferFailed) and event.handle in self._handles:
            self.failed.append((self._handles[event.handle], event.reason))

    def _open(self) -> list[int]:
        """The Commands handed over that are neither answered nor failed."""
        lost = {number for number, _reason in self.failed}
        answered = {_answers(response) for response in self.responses}
        return [n for n in range(self._next) if n not in lost and _asks(self.commands[n]) not in answered]


_Key = tuple[bytes, bytes, int]


def _asks(command: bytes) -> _Key | None:
    """By whom, of whom and under which counter a Command asks; ``None`` for what is none."""
    try:
        header = read_header(command)
    except GbcsDecodeError:
        return None
    return header.business_originator_id, header.business_target_id, header.originator_counter


def _answers(response: bytes) -> _Key | None:
    try:
        header = read_header(response)
    except GbcsDecodeError:
        return None
    if header.cra is not Cra.RESPONSE:
        return None
    return header.business_target_id, header.business_originator_id, header.originator_counter
