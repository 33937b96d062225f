"""Long Responses in blocks: joined before anything is believed, by WAN and by SRV 8.13, over restarts, bounded."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from lastmetre.dcc import responses
from lastmetre.dcc.responses import TRANSFER_TIME_S
from lastmetre.duis.documents import GbcsPayload, ResponseMessage
from lastmetre.gbcs.blocks import decode_block, encode_block, split
from tests import own_world as own
from tests.dsp_world import World, arm, code, read_balance, returned
from tests.own_world import NOW


def one_response(world: World) -> bytes:
    """The meter's answer to a Command by WAN."""
    assert code(world.post(read_balance(5, 1))) == "I99"
    (response,) = own.meter().receive(world.down()[0], NOW)
    return response


def pushed(world: World) -> list[bytes]:
    """The device Responses that wait for their User."""
    bodies = [found.body for found in world.documents() if isinstance(found.body, ResponseMessage)]
    return [body.payload.gbcs_payload for body in bodies if isinstance(body.payload, GbcsPayload)]


@pytest.mark.parametrize("seed", range(5))
def test_blocks_in_any_order_make_one_response(seed: int) -> None:
    """Out of order, repeated, with a restart in between: one Response, the octets of the whole."""
    world = World()
    response = one_response(world)
    blocks = split(response, 8)
    assert len(blocks) > 4
    luck = random.Random(seed)
    order = [*blocks, blocks[1]]
    luck.shuffle(order)
    for number, block in enumerate(order):
        if number == 2:
            world.restart()
        world.from_wan(block)
    assert pushed(world) == [response]
    with world.store.change() as change:
        left = change.transfers()
    # A block repeated after the whole begins a transfer anew; its time will end it.
    world.later(TRANSFER_TIME_S + 1)
    with world.store.change() as change:
        assert change.transfers() == 0
    assert left <= 1


def test_nothing_is_believed_before_it_is_whole() -> None:
    """All but one block: nothing is pushed; after an hour they are let go of."""
    world = World()
    blocks = split(one_response(world), 20)
    for block in blocks[:-1]:
        world.from_wan(block)
    assert pushed(world) == []
    world.later(TRANSFER_TIME_S + 1)
    assert world.told.of("transfers_dropped") == [{"count": 1}]
    world.from_wan(blocks[-1])
    assert pushed(world) == []


def test_a_contradiction_ends_a_transfer_and_it_can_begin_anew() -> None:
    """A second block of the same number with other octets: all is dropped, and the true blocks pass after it (T42)."""
    world = World()
    response = one_response(world)
    blocks = split(response, 20)
    world.from_wan(blocks[0])
    true = decode_block(blocks[1])
    world.from_wan(encode_block(replace(true, data=bytes(len(true.data)))))
    world.from_wan(blocks[1])
    assert world.told.of("message_dropped")
    for block in blocks:
        world.from_wan(block)
    assert pushed(world) == [response]


def test_a_forged_whole_is_refused_as_any_other() -> None:
    """Blocks carry no protection: what they make is judged by its own."""
    world = World()
    command = world.local_command(world.sign_off(arm(5), 6))
    (response,) = own.meter().receive(command, NOW)
    forged = response[:-1] + bytes((response[-1] ^ 1,))
    for block in split(forged, 40):
        world.from_wan(block)
    assert pushed(world) == []
    assert len(world.told.of("message_dropped")) == 1


@pytest.mark.parametrize("at_once", [True, False], ids=["one 8.13", "an 8.13 each"])
def test_blocks_handed_back_by_a_user(at_once: bool) -> None:
    """8.13 with all the blocks one behind the other, or one 8.13 for each: recorded once, verified."""
    world = World()
    command = world.local_command(world.sign_off(arm(5), 6))
    (response,) = own.meter().receive(command, NOW)
    blocks = split(response, 40)
    for counter, octets in enumerate([b"".join(blocks)] if at_once else blocks, start=1):
        assert code(world.post(returned(counter, octets))) == "I99"
    (told,) = world.told.of("local_response_recorded")
    assert told["verdict"] == "verified"
    assert told["message"] == response.hex()


def test_blocks_of_another_hub_do_not_mix() -> None:
    """The same transfer named by two hubs is two transfers."""
    world = World()
    response = one_response(world)
    blocks = split(response, 40)
    other_hub = bytes.fromhex("00005eef100000b2")
    for block in blocks[::2]:
        world.from_wan(block)
    for block in blocks[1::2]:
        world.from_wan(block, other_hub)
    assert pushed(world) == []


def test_transfers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more transfer than there may be is dropped, and those begun go on (T42)."""
    monkeypatch.setattr(responses, "TRANSFERS_MAX", 2)
    world = World()
    response = one_response(world)
    for counter in (101, 102, 103):
        message = own.arm(counter)
        world.from_wan(split(message, 40)[0])
    assert [told["reason"] for told in world.told.of("message_dropped")] == ["too many messages in blocks have begun"]
    assert response


@pytest.mark.parametrize("octets", [b"\xdd\x09", b"\xdd\x09" + bytes(40), b"\xdd\x09\x02" + bytes(60)])
def test_what_is_no_block_is_dropped(octets: bytes) -> None:
    """Noise that begins like a block."""
    world = World()
    world.from_wan(octets)
    assert world.told.of("message_dropped")
    assert code(world.post(returned(1, octets))) == "E081301"
