"""The way out: what is in the outbox leaves, waits, gives up, and survives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from lastmetre.dcc.egress import Waits
from lastmetre.dcc.ports import OutboxKind, PushOutcome, Service
from lastmetre.duis.documents import build_signed_request
from tests import own_world as own
from tests.dsp_world import URL, World, code, read, read_balance, top_up, xml_signer
from tests.own_world import CHF, NOW, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

DEADLINE_S = 10.0
QUICK = Waits(wan_wait_s=60, response_wait_s=3_600, retry_first_s=0.001, retry_max_s=0.01, tick_s=0.01)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A DSP whose retries are quick."""
    made = World(tmp_path / "dsp.sqlite", waits=QUICK)
    yield made
    made.close()


def run(coroutine: Coroutine[object, object, None]) -> None:
    """Run one test's coroutine; it hangs no longer than the deadline."""
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))


@contextlib.asynccontextmanager
async def working(world: World) -> AsyncIterator[None]:
    """The way out at work."""
    task = asyncio.create_task(world.dsp.egress.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds; the test's deadline ends it if it never does."""
    while not condition():  # noqa: ASYNC110 - what is watched is data, not an event
        await asyncio.sleep(0.001)


async def ask(world: World, *, counter: int = 5, command_variant: int = 1) -> None:
    """A read of the balance comes in."""
    document = build_signed_request(read_balance(counter, command_variant), xml_signer(SUPPLIER))
    assert code(read(await world.dsp.request(Service.SEND_COMMAND, SUPPLIER, document))) == "I99"


def outbox(world: World) -> list[OutboxKind]:
    """What still has to leave."""
    with world.store.change() as change:
        return [item.kind for item in change.outbox()]


def test_a_command_goes_down_and_its_response_comes_back_to_the_user(world: World) -> None:
    """CV1 from end to end: the meter's own answer reaches the User's URL, and the outbox is empty."""

    async def play() -> None:
        async with working(world):
            await ask(world)
            await until(lambda: world.wan.sent)
            ((hub_id, command),) = world.wan.sent
            (response,) = own.meter().receive(command, NOW)
            await world.dsp.take_from_wan(hub_id, response)
            await until(lambda: world.users.pushed)
        ((url, document),) = world.users.pushed
        assert url == URL
        assert code(read(document)) == "I0"
        assert not outbox(world)
        assert [event for event, _ in world.told.events] == [
            "request_accepted", "command_sealed", "command_sent_by_wan", "response_from_wan", "response_pushed",
        ]  # fmt: skip

    run(play())


def test_a_command_waits_for_its_hub(world: World) -> None:
    """A hub that is away gets the Command when it connects, once."""

    async def play() -> None:
        world.wan.connected.clear()
        async with working(world):
            await ask(world)
            await asyncio.sleep(0)
            assert not world.wan.sent
            world.wan.connected.add(CHF)
            world.dsp.hub_connected(CHF)
            await until(lambda: not outbox(world))
        assert len(world.wan.sent) == 1

    run(play())


def test_a_hub_that_stays_away_is_reported(world: World) -> None:
    """After the wait the User is told E20, the Command is not sent any more, and a late Response would still count."""

    async def play() -> None:
        world.wan.connected.clear()
        async with working(world):
            await ask(world)
            world.now += QUICK.wan_wait_s
            await until(lambda: world.users.pushed)
            world.wan.connected.add(CHF)
            world.dsp.hub_connected(CHF)
            await until(lambda: not outbox(world))
        assert not world.wan.sent
        assert code(read(world.users.pushed[0][1])) == "E20"
        assert world.told.of("command_not_sent")[0]["code"] == "E20"

    run(play())


def test_a_missing_response_is_reported_once_and_a_late_one_still_handed_on(world: World) -> None:
    """E21 after the wait; the meter's late answer is pushed all the same."""

    async def play() -> None:
        async with working(world):
            await ask(world)
            await until(lambda: world.wan.sent and not outbox(world))
            world.now += QUICK.response_wait_s + 1
            await until(lambda: world.users.pushed)
            world.now += QUICK.response_wait_s + 1
            world.dsp.egress.give_up_unanswered()
            ((_, command),) = world.wan.sent
            await world.dsp.take_from_wan(CHF, own.meter().receive(command, NOW)[0])
            await until(lambda: len(world.users.pushed) == 2)
        assert [code(read(document)) for _, document in world.users.pushed] == ["E21", "I0"]
        assert len(world.told.of("command_not_answered")) == 1

    run(play())


def test_a_user_that_is_away_is_tried_again(world: World) -> None:
    """A document waits for its User as long as it takes, and holds up no Command for a hub."""

    async def play() -> None:
        world.users.outcomes = [PushOutcome.NOT_REACHED] * 5
        async with working(world):
            await ask(world, command_variant=3)
            await until(lambda: world.users.pushed)
        assert len(world.users.pushed) == len(world.wan.sent) == 1
        assert not world.users.outcomes

    run(play())


def test_a_user_that_refuses_is_not_asked_again(world: World) -> None:
    """HTTP 400 is final: told, taken out, and the next document follows."""

    async def play() -> None:
        world.users.outcomes = [PushOutcome.REFUSED]
        async with working(world):
            await ask(world, command_variant=3)
            await ask(world, counter=6, command_variant=3)
            await until(lambda: world.users.pushed)
        assert len(world.told.of("push_refused")) == 1
        assert len(world.users.pushed) == 1

    run(play())


def test_what_had_not_left_leaves_after_a_restart(world: World) -> None:
    """A DSP that stops between sealing and sending sends the same octets when it is back, and nothing twice."""

    async def play() -> None:
        await ask(world, command_variant=3)
        world.restart()
        async with working(world):
            await until(lambda: not outbox(world))
        world.restart()
        async with working(world):
            world.dsp.egress.poke()
            await asyncio.sleep(0)
        assert len(world.wan.sent) == len(world.users.pushed) == 1

    run(play())


def test_an_error_of_ours_ends_the_way_out_loudly(world: World) -> None:
    """A fault inside is not swallowed: whoever started the way out sees it."""

    async def play() -> None:
        async def broken(hub_id: bytes, message: bytes) -> bool:
            raise RuntimeError("a bug")

        world.wan.send = broken  # type: ignore[method-assign]
        await ask(world)
        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            await world.dsp.egress.run()

    run(play())


def test_a_local_command_never_enters_the_outbox(world: World) -> None:
    """CV2: the Command goes to the User in the answer, and by no other way."""
    world.local_command(top_up(1, 100))
    assert not outbox(world)
