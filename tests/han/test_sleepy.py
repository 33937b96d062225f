"""The gas meter that sleeps: mirror, report, flags, GET until nothing is left, PUT, and what goes wrong."""

from __future__ import annotations

from collections import deque

import pytest

from lastmetre.han import (
    Dropped,
    Event,
    FellAsleep,
    Flag,
    Hub,
    MessageAsked,
    MessageReceived,
    MirrorReported,
    Reported,
    SleepyDevice,
    TunnelClosed,
    WokeUp,
)
from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.gb_header import (
    STORED_OCTETS_MAX,
    GbGet,
    GbGetResponse,
    GbPut,
    GbUnit,
    decode_unit,
    encode_unit,
)
from lastmetre.han.limits import STAY_AWAKE_S, WAKE_INTERVAL_S
from lastmetre.han.mirror import CURRENT_SUMMATION_DELIVERED, read_report, report
from tests.han.support import HUB, PAN, Faults, Wire

GAS = bytes.fromhex("00005eef100000a1")
GAS_SHORT = 0x9D03
SUMMATION = Reported(CURRENT_SUMMATION_DELIVERED, 0x25, 123_456)


class GasWire(Wire):
    """A hub with a mailbox, and a gas meter that answers every message with it, turned round."""

    def __init__(self, faults: Faults | None = None, seed: int = 0) -> None:
        self.hub = Hub(HUB, PAN, {GAS: GAS_SHORT}, first_counter=seed, gas=(GAS,))
        self.gas = self.meter(seed)
        super().__init__({0: self.hub, GAS_SHORT: self.gas}, faults, seed)
        self.mailbox: deque[bytes] = deque()
        self.returned: list[bytes] = []
        self.turned = True

    def meter(self, seed: int) -> SleepyDevice:
        """The meter, as new."""
        return SleepyDevice(GAS, GAS_SHORT, PAN, HUB, first_counter=seed + 1, reports=lambda: (SUMMATION,))

    def store(self, message: bytes) -> None:
        """A message for the meter."""
        self.mailbox.append(message)
        self.hub.notify(GAS, Flag.TUNNEL_MESSAGE_PENDING)

    def tell(self, short: int, events: list[Event]) -> None:  # type: ignore[override]  # the helper's is a Sequence
        """React as the owners of hub and meter do."""
        super().tell(short, events)
        for event in events:
            if short == 0 and isinstance(event, MessageAsked):
                message = self.mailbox.popleft() if self.mailbox else None
                self.hub.answer_get(GAS, message, len(self.mailbox), self.now)
                if not self.mailbox:
                    self.hub.notify(GAS, 0)
            elif short == 0 and isinstance(event, MessageReceived):
                self.returned.append(event.data)
            elif isinstance(event, MessageReceived):
                self.gas.put(event.data[::-1] if self.turned else event.data, self.now)


def test_an_idle_wake_is_short_and_asks_for_nothing() -> None:
    """The meter asks for its mirror once, reports, hears that nothing waits, and sleeps within two seconds."""
    wire = GasWire()
    wire.run(2 * WAKE_INTERVAL_S + 10)
    wakes = [event for _short, event in wire.events if isinstance(event, WokeUp)]
    slept = [event for _short, event in wire.events if isinstance(event, FellAsleep)]
    reports = wire.of(0, MirrorReported)
    assert (len(wakes), len(slept), len(reports)) == (3, 3, 3)
    assert reports[0] == MirrorReported(GAS, (SUMMATION, Reported(0xFFFE, 0x30, 1)), last=True)
    assert all(event.awake_s < 2 for event in slept)
    assert slept[1].frames <= 3  # a report, and two acknowledgements at most
    assert wire.of(0, MessageAsked) == []


def test_a_wake_fetches_all_and_answers_before_it_sleeps() -> None:
    """Three messages: three GETs, three PUTs in order, all in one awake period."""
    wire = GasWire()
    wire.run(10)
    for number in range(3):
        wire.store(bytes((0xDF, number)) * 60)
    wire.run(WAKE_INTERVAL_S - 1)
    assert wire.returned == []
    wire.run(WAKE_INTERVAL_S + 10)
    assert wire.returned == [bytes((number, 0xDF)) * 60 for number in range(3)]
    assert len(wire.of(0, MessageAsked)) == 3
    assert not wire.gas.is_awake


def test_asleep_it_hears_nothing() -> None:
    """A frame for a sleeping meter is lost: nothing changes and nothing is said."""
    wire = GasWire()
    wire.run(10)
    assert not wire.gas.is_awake
    frame = next(frame for frame in reversed(wire.frames) if frame[5:7] == GAS_SHORT.to_bytes(2, "little"))
    assert wire.gas.receive(frame, wire.now) == []
    assert wire.gas.outgoing() == []


def test_stay_awake_polls_until_its_time_is_over() -> None:
    """Flag 5: the meter asks every two seconds, and what arrives meanwhile comes at once."""
    wire = GasWire()
    wire.hub.notify(GAS, Flag.STAY_AWAKE_WAN)
    wire.run(10)
    assert wire.of(GAS_SHORT, FellAsleep) == []
    wire.mailbox.append(b"\xdf\x01")
    wire.run(14)
    assert wire.returned == [b"\x01\xdf"]
    wire.run(STAY_AWAKE_S + 20)
    assert len(wire.of(GAS_SHORT, FellAsleep)) == 1
    assert 50 <= len(wire.of(0, MessageAsked)) <= 62


def test_a_hub_that_lost_its_tunnels_is_asked_anew_and_nothing_is_lost() -> None:
    """Power cycle of the hub: the old id is dead at the next wake, the tunnel is opened again, the message fetched."""
    wire = GasWire()
    wire.store(b"\xdf\x01")
    wire.run(10)
    wire.hub = Hub(HUB, PAN, {GAS: GAS_SHORT}, first_counter=77, gas=(GAS,))
    wire.cores[0] = wire.hub
    wire.store(b"\xdf\x02")
    wire.run(WAKE_INTERVAL_S + 30)
    assert wire.returned == [b"\x01\xdf", b"\x02\xdf"]
    assert wire.of(GAS_SHORT, TunnelClosed)


def test_a_busy_hub_is_asked_at_the_next_wake() -> None:
    """Status Busy: the meter does not burn its battery waiting (2.1)."""
    wire = GasWire()
    wire.hub.gas_server.busy = True
    wire.store(b"\xdf\x01")
    wire.run(60)
    assert not wire.gas.is_awake
    assert wire.returned == []
    wire.hub.gas_server.busy = False
    wire.run(WAKE_INTERVAL_S + 30)
    assert wire.returned == [b"\x01\xdf"]


def test_a_silent_hub_costs_one_minute_and_the_answer_leaves_later() -> None:
    """The hub is off when the meter wants to PUT: the meter sleeps in time and PUTs at its next wake."""
    wire = GasWire()
    wire.run(10)
    del wire.cores[0]
    wire.gas.put(b"\xdf\x09", wire.now)
    wire.run(WAKE_INTERVAL_S + 100)
    assert not wire.gas.is_awake
    wire.cores[0] = wire.hub
    wire.run(2 * WAKE_INTERVAL_S + 100)
    assert wire.returned == [b"\xdf\x09"]


@pytest.mark.parametrize("seed", range(6))
def test_on_bad_air_every_message_comes_once_to_the_meter(seed: int) -> None:
    """Loss, repeats and disorder: the answers come, each at least once, none for a message never sent."""
    wire = GasWire(Faults(loss=0.05, duplication=0.05, delay_s=0.05), seed)
    sent = [bytes((0xDF, number)) * 40 for number in range(4)]
    for message in sent:
        wire.store(message)
    wire.run(3 * WAKE_INTERVAL_S)
    assert {message[::-1] for message in wire.returned} <= set(sent)
    assert len(set(wire.returned)) >= len(sent) - 1  # an answer to GET that is lost on the air was popped by this hub


@pytest.mark.parametrize(
    "unit", [GbGet(), GbGetResponse(0), GbGetResponse(0, b"\xdf"), GbGetResponse(4, b"\xdd\x01"), GbPut(b"\xdf")]
)
def test_units_are_read_as_they_are_written(unit: GbUnit) -> None:
    """GET, GET-RESPONSE and PUT are exact."""
    assert decode_unit(encode_unit(unit)) == unit


@pytest.mark.parametrize("data", ["", "0100", "02", "0203", "03", "04", "df"])
def test_broken_units_are_refused(data: str) -> None:
    """Each malformed header has its error; none raises anything else."""
    with pytest.raises(HanDecodeError):
        decode_unit(bytes.fromhex(data))


def test_what_does_not_fit_is_not_written() -> None:
    """A stored message has 1,498 octets at most, and none remain behind nothing."""
    encode_unit(GbGetResponse(0, bytes(STORED_OCTETS_MAX)))
    for unit in (
        GbGetResponse(0, bytes(STORED_OCTETS_MAX + 1)),
        GbGetResponse(1),
        GbGetResponse(256, b"x"),
        GbPut(b""),
    ):
        with pytest.raises(HanValueError):
            encode_unit(unit)


def test_reports_are_read_as_they_are_written() -> None:
    """The attributes of a report come back; one cut short is refused."""
    frame = report(1, (SUMMATION, Reported(0x0200, 0x18, 3)))
    assert read_report(frame) == (SUMMATION, Reported(0x0200, 0x18, 3))
    with pytest.raises(HanDecodeError):
        read_report(type(frame)(frame.command, 1, frame.payload[:-2], from_server=True, cluster_specific=False))


def test_a_stranger_gets_no_mirror_and_no_gas_tunnel() -> None:
    """A device the hub does not know as a gas meter: its report is not taken and its tunnel refused."""
    hub = Hub(HUB, PAN, {GAS: GAS_SHORT}, first_counter=0, tunnels=())
    gas = SleepyDevice(GAS, GAS_SHORT, PAN, HUB, first_counter=1, reports=lambda: (SUMMATION,))
    wire = Wire({0: hub, GAS_SHORT: gas})
    wire.run(100)
    assert wire.of(0, MirrorReported) == []
    assert wire.of(0, Dropped)
    assert not gas.is_awake
