"""What the tests of relay permits share: a hub with a gate, permits made for it, and clocks in the test's hands."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from lastmetre.gbcs.message import read_header
from lastmetre.home.comms_hub import CommsHub, HubSettings, LogEntry
from lastmetre.home.hub_policy import DeviceType, Policy
from lastmetre.home.permit_gate import PermitGate
from lastmetre.home.ports import MemoryStore
from lastmetre.relay.permit import ANSWER_TAG, Answer, Permit, command_digest, decode_answer, make_permit
from lastmetre.relay.permit_rules import Hub
from tests import own_world as own
from tests.own_world import BROKER, CHF, ESME, NOW, PPMID, Told

if TYPE_CHECKING:
    from lastmetre.home.comms_hub import Deliver

GSME = bytes.fromhex("00005eef100000a1")
GPF = bytes.fromhex("00005eef100000a3")
HHT = bytes.fromhex("00005eef100000a7")
LOG = tuple(
    LogEntry(device_id, kind)
    for device_id, kind in (
        (ESME, DeviceType.ESME),
        (GSME, DeviceType.GSME),
        (CHF, DeviceType.CHF),
        (GPF, DeviceType.GPF),
        (PPMID, DeviceType.PPMID),
        (HHT, DeviceType.HHT),
    )
)
SECRET = own.secret(BROKER, CHF)
SERIALS = itertools.count(1)


class PermitHub:
    """A hub under ``permit``. ``now`` is the time of day as somebody tells it the hub, ``up_s`` its other clock."""

    def __init__(self, *, wan_time: bool = True, policy: Policy = Policy.PERMIT, gate: bool = True) -> None:
        self.store = MemoryStore()
        self.settings = HubSettings(policy)
        self.has_gate = gate
        self.now = NOW
        self.up_s = 1_000.0
        self.told = Told()
        self.nonces = (bytes((0xB0, *bytes(6), number)) for number in itertools.count(1))
        self.power_on()
        if wan_time:
            self.hub.wan_connected(self.now)

    def power_on(self) -> None:
        """The power comes back: nothing is left but the store."""
        gate = PermitGate(Hub(CHF, GPF, BROKER, SECRET), lambda: self.up_s, lambda _count: next(self.nonces))
        gates = gate if self.has_gate else None
        self.hub = CommsHub(CHF, LOG, self.settings, self.told, self.store, gates)

    def later(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds
        self.up_s += seconds

    def up(self, message: bytes, carrier: bytes = PPMID) -> list[Deliver]:
        """A message up a carrier's tunnel."""
        return self.hub.from_device(carrier, message, self.now)

    def ask(self, record: bytes, carrier: bytes = PPMID) -> Answer:
        """A permit or a question; the hub's answer."""
        (delivery,) = self.up(record, carrier)
        assert delivery.device_id == carrier
        return decode_answer(delivery.message)

    def carry(self, record: bytes, *messages: bytes, carrier: bytes = PPMID) -> list[bytes]:
        """A permit and what follows it; what went to anybody else but the carrier."""
        self.ask(record, carrier)
        deliveries = [delivery for message in messages for delivery in self.up(message, carrier)]
        return [one.message for one in deliveries if one.message[0] != ANSWER_TAG]

    @property
    def last(self) -> tuple[str, str | None]:
        """Why the hub refused something last, and the permit's status."""
        event = self.hub.log[-1]
        return event.refusal.value, None if event.permit_status is None else event.permit_status.name


def permit_for(command: bytes, **changes: Any) -> Permit:
    """A good permit for a Command, under a new serial."""
    header = read_header(command)
    fields: dict[str, Any] = {
        "serial": next(SERIALS),
        "broker_id": BROKER,
        "hub_id": CHF,
        "carrier_id": PPMID,
        "target_id": header.business_target_id,
        "message_code": header.message_code,
        "command_octets": len(command),
        "digest": command_digest(command),
        "issued_at": NOW,
        "not_before": NOW,
        "not_after": NOW + 900,
        "hold_until": NOW + 900,
    }
    return Permit(**(fields | changes))


def record_for(command: bytes, **changes: Any) -> bytes:
    """Its octets."""
    return make_permit(permit_for(command, **changes), SECRET)
