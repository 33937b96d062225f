"""What the hub keeps: for the gas meter, for a PPMID out of reach, through a power cut; and long messages."""

from __future__ import annotations

import pytest

from lastmetre.gbcs.blocks import split
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.protect import seal, unsigned_df
from lastmetre.home.block_door import TRANSFERS_MAX, BlockDoor, cut, is_block
from lastmetre.home.comms_hub import GAS_RECORD_LIFE_S, KEPT_LIFE_S, CommsHub, Deliver, HubSettings, LogEntry
from lastmetre.home.hub_policy import DeviceType, Policy, Refusal
from lastmetre.home.mailbox import FROM_HAN_MAX, LIFE_S, MAILBOX_MAX
from lastmetre.home.ports import MemoryStore
from tests import own_world as own
from tests.own_world import BROKER, CHF, ESME, NOW, PPMID, SUPPLIER, Told

GSME = bytes.fromhex("00005eef100000a1")
LOG = (LogEntry(ESME, DeviceType.ESME), LogEntry(GSME, DeviceType.GSME), LogEntry(PPMID, DeviceType.PPMID))


def hub(store: MemoryStore | None = None, told: Told | None = None) -> CommsHub:
    """A hub with both meters and a display."""
    return CommsHub(CHF, LOG, HubSettings(Policy.PROPOSED), told or Told(), store)


def command(counter: int, *, target: bytes = GSME, size: int = 20) -> bytes:
    """A Command for the gas meter, as the hub sees it: a header and octets. Its MAC is nobody's business here."""
    header = GroupingHeader(Cra.COMMAND, counter, SUPPLIER, target, OtherInformation(0x0082))
    return seal(unsigned_df(header, bytes(size)), own.secret(BROKER, ESME))


def response(counter: int, *, size: int = 20) -> bytes:
    """The gas meter's Response."""
    header = GroupingHeader(Cra.RESPONSE, counter, GSME, SUPPLIER, OtherInformation(0x0082))
    return seal(unsigned_df(header, bytes(size)), own.secret(BROKER, ESME))


def test_gas_commands_wait_in_order_whatever_their_road() -> None:
    """Nothing is delivered; what was put first is fetched first, with the count of what is behind it."""
    one = hub()
    assert one.from_wan(command(1), NOW) == []
    assert one.from_device(PPMID, command(2), NOW) == []
    assert one.waiting_for(GSME, NOW) == 2
    assert [one.fetch(GSME, NOW) for _ in range(3)] == [(command(1), 1), (command(2), 0), (None, 0)]


def test_a_ppmid_cannot_fill_the_mailbox() -> None:
    """Five from the HAN at most, ten in all; the sixth and the eleventh are refused as full."""
    one = hub()
    for counter in range(FROM_HAN_MAX + 1):
        one.from_device(PPMID, command(counter + 1), NOW)
    assert one.waiting_for(GSME, NOW) == FROM_HAN_MAX
    assert one.log[-1].refusal is Refusal.FULL
    for counter in range(100, 100 + MAILBOX_MAX):
        one.from_wan(command(counter), NOW)
    assert one.waiting_for(GSME, NOW) == MAILBOX_MAX
    assert [event.refusal for event in one.log].count(Refusal.FULL) == 1 + FROM_HAN_MAX


def test_what_was_refused_as_full_may_come_again() -> None:
    """A Command the mailbox had no room for is no repeat when it comes later."""
    one = hub()
    for counter in range(MAILBOX_MAX + 1):
        one.from_wan(command(counter + 1), NOW)
    one.fetch(GSME, NOW)
    one.from_wan(command(MAILBOX_MAX + 1), NOW)
    assert one.waiting_for(GSME, NOW) == MAILBOX_MAX


def test_what_is_not_fetched_in_a_day_is_dropped_with_its_event() -> None:
    """24 hours, then event 0x819D; the same Command may then be sent again."""
    told = Told()
    one = hub(told=told)
    one.from_wan(command(1), NOW)
    assert one.waiting_for(GSME, NOW + LIFE_S - 1) == 1
    assert one.waiting_for(GSME, NOW + LIFE_S) == 0
    assert (one.log[-1].refusal, one.log[-1].event_code) == (Refusal.NOT_RETRIEVED, 0x819D)
    assert [values["event_code"] for values in told.of("hub_mailbox_expired")] == ["819D"]
    one.from_wan(command(1), NOW + LIFE_S)
    assert one.waiting_for(GSME, NOW + LIFE_S) == 1


def test_a_gas_command_finds_its_way_back_for_a_day_and_an_hour() -> None:
    """R9: the PPMID that brought it gets the Response after 24 hours in the mailbox, and not after 25."""
    one = hub()
    one.wan_connected(NOW)
    one.from_device(PPMID, command(1), NOW)
    last = NOW + GAS_RECORD_LIFE_S - 1
    assert one.from_device(GSME, response(1), last) == [Deliver(PPMID, response(1)), Deliver(None, response(1))]
    assert one.from_device(GSME, response(1), last + 1) == [Deliver(None, response(1))]


def test_a_response_for_a_ppmid_out_of_reach_is_kept_a_day() -> None:
    """R8: kept in order when the tunnel does not take it, handed on when the tunnel is open again, dropped when old."""
    one = hub()
    for counter in (1, 2):
        one.hand_over_failed(PPMID, response(counter), NOW)
    assert one.device_connected(PPMID, NOW + KEPT_LIFE_S) == [Deliver(PPMID, response(1)), Deliver(PPMID, response(2))]
    assert one.device_connected(PPMID, NOW) == []
    one.hand_over_failed(PPMID, response(3), NOW)
    assert one.device_connected(PPMID, NOW + KEPT_LIFE_S + 1) == []


def test_a_command_lost_before_hand_over_may_be_sent_again() -> None:
    """R10: the meter's tunnel was shut; the loss is logged, and the same bytes pass when they come again."""
    one = hub()
    read = own.read_balance(1)
    assert one.from_device(PPMID, read, NOW) == [Deliver(ESME, read)]
    one.hand_over_failed(ESME, read, NOW)
    assert one.log[-1].refusal is Refusal.UNDELIVERED
    assert one.from_device(PPMID, read, NOW) == [Deliver(ESME, read)]


def test_roads_and_stores_survive_a_power_cut_and_the_mailbox_does_not() -> None:
    """Han 3.7: after a restart a Response still finds its PPMID and the WAN's waiting messages go out."""
    store = MemoryStore()
    before = hub(store)
    read = own.read_balance(1)
    before.from_device(PPMID, read, NOW)
    before.from_wan(command(7), NOW)
    before.hand_over_failed(PPMID, response(3), NOW)
    before.keep_for_wan(response(4), NOW)
    after = hub(store)
    assert after.waiting_for(GSME, NOW) == 0
    assert after.device_connected(PPMID, NOW) == [Deliver(PPMID, response(3))]
    assert after.wan_connected(NOW) == [Deliver(None, response(4))]
    (answer,) = own.meter().receive(read, NOW)
    assert after.from_device(ESME, answer, NOW) == [Deliver(PPMID, answer), Deliver(None, answer)]
    assert after.from_device(PPMID, read, NOW) == [Deliver(ESME, read)]


def test_blocks_pass_as_they_are_and_the_wan_s_long_messages_are_cut() -> None:
    """A block is judged by its header alone; a long Command from the WAN goes on in blocks that join to itself."""
    long = command(9, target=ESME, size=3_500)
    one = hub()
    blocks = split(long)
    assert [one.from_device(PPMID, block, NOW) for block in blocks] == [[Deliver(ESME, block)] for block in blocks]
    deliveries = hub().from_wan(long, NOW)
    assert [delivery.message for delivery in deliveries] == blocks
    door = BlockDoor()
    joined = [door.take(block, NOW) for block in reversed(blocks)]
    assert joined[:-1] == [None] * (len(blocks) - 1)
    assert joined[-1] == long
    foreign = split(command(9, target=own.OTHER_ESME, size=3_500))[0]
    assert one.from_device(PPMID, foreign, NOW) == []
    assert one.log[-1].refusal is Refusal.UNKNOWN_TARGET


def test_a_response_never_goes_to_a_gas_meter() -> None:
    """Its mailbox takes Commands only, so nobody can fill it with Responses."""
    one = hub()
    header = GroupingHeader(Cra.RESPONSE, 1, PPMID, GSME, OtherInformation(0x0082))
    message = seal(unsigned_df(header, bytes(5)), own.secret(BROKER, ESME))
    assert one.from_device(PPMID, message, NOW) == []
    assert one.waiting_for(GSME, NOW) == 0


def test_the_door_holds_few_transfers_and_survives_broken_ones() -> None:
    """A fifth transfer pushes the first out; a block that contradicts ends its transfer; a whole message passes."""
    door = BlockDoor()
    messages = [command(counter, target=ESME, size=2_000) for counter in range(1, TRANSFERS_MAX + 2)]
    for message in messages:
        assert door.take(split(message)[0], NOW) is None
    assert door.take(split(messages[0])[1], NOW) is None
    assert door.take(split(messages[-1])[1], NOW) == messages[-1]
    short = command(1)
    assert door.take(short, NOW) == short
    broken = bytearray(split(messages[2])[0])
    broken[-1] ^= 1
    assert door.take(bytes(broken), NOW) is None
    assert door.take(split(messages[2])[1], NOW) is None


@pytest.mark.parametrize("size", [100, 5_000])
def test_only_what_is_too_long_is_cut(size: int) -> None:
    """A message the link carries goes whole, a longer one in blocks that each fit."""
    message = command(1, size=size)
    parts = cut(message, 1_498)
    assert (parts == [message]) is (size == 100)
    assert all(len(part) <= 1_498 and is_block(part) for part in parts) or size == 100
