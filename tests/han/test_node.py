"""A node alone and two joined: acknowledgements, fragments, duplicates, forwarding, limits, broken frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.han import limits
from lastmetre.han.errors import HanValueError
from lastmetre.han.frames import (
    ApsAck,
    ApsData,
    FirstBlock,
    LaterBlock,
    MacFrame,
    NwkFrame,
    parse_aps,
    parse_mac,
    parse_nwk,
)
from lastmetre.han.node import Delivered, DeliveryFailed, Dropped, Node, ZclReceived

PAN = 0x1A62
HUB, METER, PPMID = (bytes.fromhex("00005eef100000" + last) for last in ("a2", "a0", "a4"))
METER_SHORT, PPMID_SHORT = 0x1001, 0x4A21
CLUSTER = 0x0704


def _hub() -> Node:
    return Node(HUB, 0, PAN, {METER: METER_SHORT, PPMID: PPMID_SHORT}, first_counter=0)


def _meter(first_counter: int = 0) -> Node:
    return Node(METER, METER_SHORT, PAN, {HUB: 0, PPMID: PPMID_SHORT}, first_counter=first_counter)


def _frame(aps: ApsData, source: int = METER_SHORT, destination: int = 0, **nwk: int) -> bytes:
    network = replace(NwkFrame(destination, source, 1, aps.encode()), **nwk)  # type: ignore[arg-type]
    return MacFrame(1, PAN, 0, source, network.encode()).encode()


def _aps(frame: bytes) -> ApsData | ApsAck:
    return parse_aps(parse_nwk(parse_mac(frame).payload).payload)


DATA = ApsData(1, CLUSTER, 0x0109, 1, 7, b"\x09\x01\x01")


def _exchange(a: Node, b: Node, now: float = 0.0) -> list[object]:
    """Hand frames to and fro until it is quiet."""
    told: list[object] = []
    while frames := [(b, frame) for frame in a.outgoing()] + [(a, frame) for frame in b.outgoing()]:
        for node, frame in frames:
            told += node.receive(frame, now)
    return told


@pytest.mark.parametrize("octets", [0, 1, 69, 70, 71, 140, 141, 1505, 4096])
def test_any_length_arrives_whole(octets: int) -> None:
    """Messages at the edges of a block, and the longest put together, arrive as they were sent, once."""
    hub, meter = _hub(), _meter()
    zcl = bytes(number % 251 for number in range(octets))
    handle = hub.send(METER_SHORT, zcl, CLUSTER, 0.0)
    assert _exchange(hub, meter) == [ZclReceived(0, CLUSTER, 0x0109, zcl), Delivered(handle)]
    assert (hub.next_deadline(), meter.next_deadline()) == (None, None)


def test_blocks_of_seventy_under_one_counter() -> None:
    """The fragments are as the worked capture has them: FCF c0, total in the first, one APS counter, window of one."""
    hub, meter = _hub(), _meter()
    hub.send(METER_SHORT, bytes(98), CLUSTER, 0.0)
    (first,) = hub.outgoing()
    meter.receive(first, 0.0)
    (ack,) = meter.outgoing()
    assert parse_nwk(parse_mac(ack).payload).payload.hex()[-6:] == "0100ff"
    hub.receive(ack, 0.0)
    (second,) = hub.outgoing()
    one, two = _aps(first), _aps(second)
    assert isinstance(one, ApsData)
    assert isinstance(two, ApsData)
    assert (one.fragment, len(one.payload)) == (FirstBlock(2), 70)
    assert (two.fragment, len(two.payload)) == (LaterBlock(1), 28)
    assert one.counter == two.counter


def test_silence_is_answered_by_three_retries_and_then_given_up() -> None:
    """Sent at 0, 1.6, 3.2 and 4.8 s, the same APS frame each time; failed at 6.4 s; the next message has its turn."""
    hub = _hub()
    handle, other = hub.send(METER_SHORT, b"one", CLUSTER, 0.0), hub.send(METER_SHORT, b"two", CLUSTER, 0.0)
    sent: list[tuple[float, bytes]] = [(0.0, hub.outgoing()[0])]
    while (now := hub.next_deadline()) is not None and now < 6.3:
        assert hub.tick(now) == []
        sent += [(now, frame) for frame in hub.outgoing()]
    assert [round(at, 1) for at, _ in sent] == [0.0, 1.6, 3.2, 4.8]
    assert len({_aps(frame) for _, frame in sent}) == 1
    assert len({parse_mac(frame).sequence for _, frame in sent}) == 4
    assert now is not None
    assert hub.tick(now) == [DeliveryFailed(handle, "no_ack")]
    (frame,) = hub.outgoing()
    assert isinstance(later := _aps(frame), ApsData)
    assert later.payload == b"two"
    assert other != handle


def test_every_block_has_its_own_retries() -> None:
    """Each of two blocks is lost three times and comes through at the fourth: the message is delivered."""
    hub, meter = _hub(), _meter()
    handle = hub.send(METER_SHORT, bytes(100), CLUSTER, 0.0)
    now, told = 0.0, []
    for _block in range(2):
        for _lost in range(3):
            assert len(hub.outgoing()) == 1
            now += limits.APS_ACK_TIMEOUT_S
            assert hub.tick(now) == []
        (frame,) = hub.outgoing()
        meter.receive(frame, now)
        told = [one for ack in meter.outgoing() for one in hub.receive(ack, now)]
    assert told == [Delivered(handle)]


def test_acknowledgements_of_other_things_do_not_count() -> None:
    """A wrong counter, cluster, endpoint or block, and a bitmap that says missing, leave the message unacknowledged."""
    hub, meter = _hub(), _meter()
    hub.send(METER_SHORT, bytes(100), CLUSTER, 0.0)
    meter.receive(hub.outgoing()[0], 0.0)
    (good,) = meter.outgoing()
    ack = _aps(good)
    assert isinstance(ack, ApsAck)
    assert ack.blocks is not None
    for wrong in (
        replace(ack, counter=ack.counter + 1),
        replace(ack, cluster=1),
        replace(ack, source_endpoint=2),
        replace(ack, blocks=None),
        replace(ack, blocks=replace(ack.blocks, first=1)),
        replace(ack, blocks=replace(ack.blocks, bitmap=0xFE)),
    ):
        forged = NwkFrame(0, METER_SHORT, 1, wrong.encode())
        assert hub.receive(MacFrame(1, PAN, 0, METER_SHORT, forged.encode()).encode(), 0.0) == []
        assert hub.outgoing() == []
    hub.receive(good, 0.0)
    assert len(hub.outgoing()) == 1


def test_a_repeat_is_acknowledged_and_not_told_again() -> None:
    """The same APS frame again: acknowledged, no second indication; after the memory's span it is a new message."""
    hub = _hub()
    frame = _frame(DATA)
    assert isinstance(hub.receive(frame, 0.0)[0], ZclReceived)
    hub.outgoing()
    told = hub.receive(frame, 5.0)
    assert [type(one) for one in told] == [Dropped]
    assert isinstance(_aps(hub.outgoing()[0]), ApsAck)
    assert isinstance(hub.receive(frame, limits.DUPLICATE_S + 1)[0], ZclReceived)


def test_a_restarted_device_is_heard_at_once() -> None:
    """The counter of a moment ago with other bytes behind it is a new message; a late block of the old one is not."""
    hub = _hub()
    hub.receive(_frame(DATA), 0.0)
    assert isinstance(hub.receive(_frame(replace(DATA, payload=b"another")), 0.1)[0], ZclReceived)
    meter = _meter()
    hub.receive(_frame(replace(DATA, counter=1, payload=bytes(70), fragment=FirstBlock(2))), 0.2)
    meter.send(0, bytes(range(100)), CLUSTER, 0.3)
    told = _exchange(hub, meter, 0.3)
    assert told[0] == Dropped("superseded", "a new message began before the last one ended", METER_SHORT)
    assert told[1] == ZclReceived(METER_SHORT, CLUSTER, 0x0109, bytes(range(100)))


def test_three_hundred_messages_in_no_time() -> None:
    """The eight-bit counter comes round within the duplicates' memory, and nothing is taken for a repeat."""
    hub, meter = _hub(), _meter()
    received = []
    for number in range(600):
        hub.send(METER_SHORT, b"same", CLUSTER, 0.0)
        received += [one for one in _exchange(hub, meter) if isinstance(one, ZclReceived)]
        assert len(received) == number + 1


def test_fragments_out_of_their_order_are_not_taken() -> None:
    """A later block without its first, a skipped block, and a block of another cluster are dropped unacknowledged."""
    hub = _hub()
    first = replace(DATA, payload=bytes(70), fragment=FirstBlock(3))
    assert hub.receive(_frame(replace(first, fragment=LaterBlock(1))), 0.0)[0].reason == "stray_block"  # type: ignore[union-attr]
    assert hub.outgoing() == []
    assert hub.receive(_frame(first), 0.0) == []
    hub.outgoing()
    for stray in (replace(first, fragment=LaterBlock(2)), replace(first, fragment=LaterBlock(1), cluster=0x0702)):
        (told,) = hub.receive(_frame(stray), 0.0)
        assert isinstance(told, Dropped)
        assert told.reason == "stray_block"
        assert hub.outgoing() == []


def test_a_message_that_stops_half_way_is_forgotten() -> None:
    """The memory of an unfinished message is given back after its time, and told."""
    hub = _hub()
    hub.receive(_frame(replace(DATA, payload=bytes(70), fragment=FirstBlock(3))), 1.0)
    assert hub.next_deadline() == 1.0 + limits.REASSEMBLY_S
    (told,) = hub.tick(1.0 + limits.REASSEMBLY_S)
    assert told == Dropped("reassembly_timeout", "1 of 3 blocks came", METER_SHORT)
    assert hub.next_deadline() is None


def test_messages_too_long_cost_no_memory() -> None:
    """More blocks, or more octets, than any message has are not put together."""
    hub = _hub()
    many = replace(DATA, payload=bytes(70), fragment=FirstBlock(limits.REASSEMBLY_BLOCKS_MAX + 1))
    assert hub.receive(_frame(many), 0.0) == [Dropped("too_long", "129 blocks are announced", METER_SHORT)]
    told: list[object] = []
    for index in range(60):
        block = replace(DATA, payload=bytes(90), fragment=LaterBlock(index) if index else FirstBlock(60))
        told += hub.receive(_frame(block), 0.0)
    assert Dropped("too_long", "over 4096 octets came", METER_SHORT) in told
    assert not hub._reassemblies
    with pytest.raises(HanValueError, match="255 blocks"):
        hub.send(METER_SHORT, bytes(70 * 255 + 1), CLUSTER, 0.0)


def test_the_queue_has_an_end() -> None:
    """What does not fit the queue fails at once, and is told with the next occasion."""
    hub = _hub()
    handles = [hub.send(METER_SHORT, b"x", CLUSTER, 0.0) for _ in range(limits.QUEUE_MAX + 1)]
    assert hub.next_deadline() == float("-inf")
    assert hub.tick(0.0) == [DeliveryFailed(handles[-1], "queue_full")]


def test_the_hub_forwards_between_devices() -> None:
    """A frame from PPMID to meter crosses the hub's air: same APS bytes, one hop less, nothing told at the hub."""
    hub, meter = _hub(), _meter()
    ppmid = Node(PPMID, PPMID_SHORT, PAN, {HUB: 0, METER: METER_SHORT}, first_counter=0)
    ppmid.send(METER_SHORT, b"plain", 0x0702, 0.0)
    (sent,) = ppmid.outgoing()
    assert parse_mac(sent).destination == 0
    assert hub.receive(sent, 0.0) == []
    (forwarded,) = hub.outgoing()
    before, after = parse_nwk(parse_mac(sent).payload), parse_nwk(parse_mac(forwarded).payload)
    assert after == replace(before, radius=before.radius - 1)
    assert (parse_mac(forwarded).source, parse_mac(forwarded).destination) == (0, METER_SHORT)
    assert meter.receive(forwarded, 0.0) == [ZclReceived(PPMID_SHORT, 0x0702, 0x0109, b"plain")]


def test_who_is_not_heard() -> None:
    """Other networks and other radios' frames are silence; strangers and false addresses are told."""
    hub, meter = _hub(), _meter()
    good = parse_mac(_frame(DATA))
    assert hub.receive(replace(good, pan_id=1).encode(), 0.0) == []
    assert hub.receive(replace(good, destination=5).encode(), 0.0) == []

    def reason(frame: bytes, node: Node = hub) -> str:
        (told,) = node.receive(frame, 0.0)
        assert isinstance(told, Dropped)
        return told.reason

    nwk = NwkFrame(0, METER_SHORT, 1, DATA.encode())
    assert reason(replace(good, source=0x7777).encode()) == "unknown_sender"
    assert reason(replace(good, payload=replace(nwk, source=PPMID_SHORT).encode()).encode()) == "not_its_address"
    assert reason(replace(good, payload=replace(nwk, source_eui64=PPMID).encode()).encode()) == "not_its_address"
    assert reason(_frame(DATA, destination=0x7777)) == "no_route"
    assert reason(_frame(DATA, destination=PPMID_SHORT, radius=1)) == "no_route"
    past_the_hub = MacFrame(1, PAN, METER_SHORT, PPMID_SHORT, NwkFrame(METER_SHORT, PPMID_SHORT, 1, b"").encode())
    assert reason(past_the_hub.encode(), meter) == "unknown_sender"
    assert hub.outgoing() + meter.outgoing() == []


def test_forgetting_and_admitting() -> None:
    """A forgotten node's messages fail and it is heard no longer; addresses stay one to one."""
    hub = _hub()
    handle = hub.send(METER_SHORT, b"x", CLUSTER, 0.0)
    hub.forget(METER)
    assert hub.tick(0.0) == [DeliveryFailed(handle, "forgotten")]
    assert isinstance(hub.receive(_frame(DATA), 0.0)[0], Dropped)
    with pytest.raises(HanValueError, match="admit it first"):
        hub.send(METER_SHORT, b"x", CLUSTER, 0.0)
    with pytest.raises(HanValueError, match="is taken"):
        hub.admit(METER, PPMID_SHORT)
    hub.admit(METER, METER_SHORT)
    assert isinstance(hub.receive(_frame(DATA), 0.0)[0], ZclReceived)


VALID = [
    _frame(DATA),
    _frame(replace(DATA, fragment=FirstBlock(2))),
    _frame(replace(DATA, fragment=LaterBlock(1))),
    _frame(DATA, destination=PPMID_SHORT),
]


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=130),
            st.builds(
                lambda head, tail: head + tail, st.sampled_from([frame[:9] for frame in VALID]), st.binary(max_size=60)
            ),
            st.builds(
                lambda frame, at, octet: frame[: at % len(frame)] + bytes((octet,)) + frame[at % len(frame) + 1 :],
                st.sampled_from(VALID),
                st.integers(0, 60),
                st.integers(0, 255),
            ),
        ),
        max_size=20,
    )
)
def test_no_frame_raises(frames: list[bytes]) -> None:
    """Noise, noise behind a good header and good frames with one octet wrong end as indications, nothing else."""
    hub = _hub()
    for number, frame in enumerate(frames):
        hub.receive(frame, float(number))
        hub.outgoing()
    hub.tick(1000.0)
    assert not hub._reassemblies


def test_every_cut_and_every_bit() -> None:
    """Each good frame cut at each length and with each bit turned: nothing raises."""
    for frame in VALID:
        for length in range(len(frame)):
            _hub().receive(frame[:length], 0.0)
        for bit in range(len(frame) * 8):
            turned = bytearray(frame)
            turned[bit // 8] ^= 1 << bit % 8
            _hub().receive(bytes(turned), 0.0)
