"""One home: a hub, a meter and the PPMID's radio, as one process; the air between them is a link of its own.

Here messages cross the home whole: frames, tunnels and their times are judged by the tests of ``han`` and ``home``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.gbcs.catalogue import Lane, use_case
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import read_header
from lastmetre.home.comms_hub import CommsHub, HubSettings, LogEntry
from lastmetre.home.esme import Esme
from lastmetre.home.hub_policy import DeviceType, Policy
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.state import MeterState, decode_state
from lastmetre.home.supply import Supply
from lastmetre.sim import keys
from lastmetre.sim.evidence import Execution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lastmetre.home.comms_hub import Deliver
    from lastmetre.home.permit_gate import PermitGate
    from lastmetre.home.ports import Tell
    from lastmetre.sim.evidence import Evidence
    from lastmetre.sim.parties import Life, Party
    from lastmetre.sim.wires import Wire

BALANCE: int = -1_000


@dataclass(frozen=True, slots=True)
class Address:
    """Who lives in a home, and which roads lead there."""

    meter_id: bytes
    hub_id: bytes
    ppmid_id: bytes | None
    wan: bool


@dataclass(slots=True)
class Flash:
    """What one device stores; ``save`` is a durable write of the life that makes it."""

    name: str
    state: bytes | None = None
    life: Life | None = None
    saved: Callable[[bytes | None, bytes], None] | None = None

    def load(self) -> bytes | None:
        """What was saved last."""
        return self.state

    def save(self, state: bytes) -> None:
        """Keep it."""
        assert self.life is not None
        self.life.write(f"save of the {self.name}", "before")
        before, self.state = self.state, state
        if self.saved is not None:
            self.saved(before, state)
        self.life.write(f"save of the {self.name}", "after")


@dataclass(slots=True)
class Doors:
    """Ways out of the home; set by the world."""

    air: Wire
    to_wan: Callable[[bytes], bool]
    """False when the WAN is not there."""
    to_agent: Callable[[bytes], bool]
    """False when the agent's tunnel is not open."""


class Home:
    """The cores of one home in one life."""

    def __init__(self, address: Address, flashes: dict[str, Flash], evidence: Evidence) -> None:
        self.address = address
        self._flashes = flashes
        self._evidence = evidence
        self._now_working_on = b""
        self._party: Party | None = None
        flashes["meter"].saved = self._meter_saved

    def start(
        self,
        life: Life,
        doors: Doors,
        clock: Callable[[], float],
        true: Callable[[], float],
        tell: Tell,
        permits: PermitGate | None = None,
    ) -> None:
        """Hub and meter on what they stored; with ``permits`` the hub's policy is ``permit``."""
        address = self.address
        for flash in self._flashes.values():
            flash.life = life
        self._party, self._doors, self._clock, self._true = life.party, doors, clock, true
        log = [LogEntry(address.meter_id, DeviceType.ESME)]
        if address.ppmid_id is not None:
            log.append(LogEntry(address.ppmid_id, DeviceType.PPMID))
        settings = HubSettings() if permits is None else HubSettings(Policy.PERMIT)
        self.hub = CommsHub(address.hub_id, tuple(log), settings, tell, self._flashes["hub"], permits)
        identity = DeviceIdentity(
            address.meter_id,
            keys.private_key(address.meter_id, KeyUse.DIGITAL_SIGNATURE),
            keys.private_key(address.meter_id, KeyUse.KEY_AGREEMENT),
            keys.anchors(),
        )
        self.meter = Esme(identity, self._flashes["meter"], tell, new=MeterState(BALANCE, Supply.OFF_BY_CREDIT))

    def balance(self) -> int:
        """What the meter has stored."""
        state = self._flashes["meter"].state
        return BALANCE if state is None else decode_state(state).balance

    def _now(self) -> int:
        return int(self._clock())

    # -- what comes in -------------------------------------------------------------------------------------------

    async def from_wan(self, message: bytes) -> None:
        """The WAN brought a message."""
        self._deliver(self.hub.from_wan(message, self._now()))

    async def from_ppmid(self, message: bytes) -> None:
        """The PPMID's tunnel brought one; returning is the transport's acknowledgement."""
        assert self.address.ppmid_id is not None
        self._deliver(self.hub.from_device(self.address.ppmid_id, message, self._now()))

    def wan_connected(self) -> None:
        """The WAN is back: what waited goes."""
        self._deliver(self.hub.wan_connected(self._now()))

    def tunnel_opened(self) -> None:
        """The PPMID's tunnel is open again: what was kept for it goes."""
        if self.address.ppmid_id is not None:
            self._deliver(self.hub.device_connected(self.address.ppmid_id, self._now()))

    # -- inside --------------------------------------------------------------------------------------------------

    def _deliver(self, deliveries: Iterable[Deliver]) -> None:
        for delivery in deliveries:
            message = delivery.message
            if delivery.device_id is None:
                if not self._doors.to_wan(message):
                    self.hub.keep_for_wan(message, self._now())
            elif delivery.device_id == self.address.meter_id:
                self._across(lambda message=message: self._to_meter(message))  # type: ignore[misc]
            elif not self._doors.to_agent(message):
                self.hub.hand_over_failed(delivery.device_id, message, self._now())

    def _across(self, call: Callable[[], None]) -> None:
        async def arrive() -> None:
            call()

        assert self._party is not None
        self._doors.air.cast(self._party, arrive)

    def _to_meter(self, message: bytes) -> None:
        self._now_working_on = message
        for answer in self.meter.receive(message, self._now()):
            self._evidence.answers.add(answer.hex())
            self._across(lambda answer=answer: self._from_meter(answer))  # type: ignore[misc]

    async def from_field_tool(self, command: bytes) -> list[bytes]:
        """An engineer stands before the meter: no hub decides, no air is lost."""
        self._now_working_on = command
        answers = list(self.meter.receive(command, self._now()))
        self._evidence.answers.update(answer.hex() for answer in answers)
        return answers

    def _from_meter(self, message: bytes) -> None:
        self._deliver(self.hub.from_device(self.address.meter_id, message, self._now()))

    def _meter_saved(self, before: bytes | None, after: bytes) -> None:
        """The meter's own log: what it accepted, seen where it becomes true."""
        if before is None:
            return
        old, new = decode_state(before), decode_state(after)
        if old.counters == new.counters:
            return
        header = read_header(self._now_working_on)
        self._evidence.executions.append(
            Execution(
                at=self._true(),
                device_id=self.address.meter_id.hex(),
                originator_id=header.business_originator_id.hex(),
                counter=header.originator_counter,
                message_code=header.message_code,
                message=self._now_working_on.hex(),
                balance_change=new.balance - old.balance,
            )
        )


def lane_of(message: bytes) -> Lane | None:
    """The counter lane a message belongs to."""
    try:
        case = use_case(read_header(message).message_code)
    except GbcsError:
        return None
    return None if case is None else case.lane
