"""A relay permit from the DSP to the hub: real cores of all five parties, nothing between them but their messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lastmetre.agent import runner as runner_module
from lastmetre.home.hub_policy import Policy
from lastmetre.relay.permit import QUESTION, is_permit
from tests.permit_story import Story, story
from tests.permit_world import PermitHub

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    import pytest


def play(path: Path, act: Callable[[Story], Coroutine[object, object, None]], hub: PermitHub | None = None) -> None:
    """Play one act; it hangs no longer than twenty seconds."""

    async def run() -> None:
        with story(path, hub) as one:
            await act(one)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_hub_that_knows_the_time(tmp_path: Path) -> None:
    """One permit, one Command, one Response: confirmed; the sealed octets are what went up."""

    async def act(one: Story) -> None:
        order_id = await one.sealed()
        await one.run()
        order = await one.world.order(order_id)
        assert order.state.value == "confirmed"
        assert [is_permit(message) for message in one.up] == [True, False]
        assert one.up[1] == order.command
        assert one.executed == 1
        assert len(one.home.wire.asked) == 1

    play(tmp_path, act)


def test_a_hub_that_never_had_wan(tmp_path: Path) -> None:
    """Permit, TIME, question, nonce, back to the DSP, a permit for the nonce, the Command: confirmed by itself."""

    async def act(one: Story) -> None:
        order_id = await one.sealed()
        await one.run()
        assert await one.world.state(order_id) == "confirmed"
        assert one.up[1] == QUESTION
        assert [is_permit(message) for message in one.up] == [True, False, True, False]
        assert [ask.hub_nonce is not None for ask in one.home.wire.asked] == [False, True]
        assert one.executed == 1

    play(tmp_path, act, PermitHub(wan_time=False))


def test_the_supplier_restarts_while_the_nonce_is_on_its_way(tmp_path: Path) -> None:
    """What it knew of the permit is gone; the agent asks the hub again and the order ends all the same."""

    async def act(one: Story) -> None:
        order_id = await one.sealed()
        await one.run(rounds=3)
        one.home.restart()
        one.world.clock.pass_s(61)
        await one.run()
        assert await one.world.state(order_id) == "confirmed"
        assert one.executed == 1

    play(tmp_path, act, PermitHub(wan_time=False))


def test_a_permit_that_ended_on_its_way_is_renewed(tmp_path: Path) -> None:
    """The agent has it and its hub is away past the permit's end: the next one is asked for, and works."""

    async def act(one: Story) -> None:
        order_id = await one.sealed()
        envelope = await one.world.poll()
        assert envelope is not None
        one.world.clock.pass_s(1_000)
        await one.run()
        assert await one.world.state(order_id) == "confirmed"
        assert len(one.home.wire.asked) >= 2
        assert one.executed == 1

    play(tmp_path, act)


def test_a_hub_without_permits_is_unharmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own policy decides: it drops the permit as malformed, says nothing, and takes or drops the Command."""
    monkeypatch.setattr(runner_module, "PERMIT_ANSWER_S", 0.01)
    for policy, state in ((Policy.PROPOSED, "confirmed"), (Policy.TODAY, "at_large")):
        folder = tmp_path / policy
        folder.mkdir()

        async def act(one: Story, state: str = state) -> None:
            order_id = await one.sealed()
            await one.run()
            assert await one.world.state(order_id) == state
            assert one.hub.hub.log[0].refusal.value == "malformed"

        play(folder, act, PermitHub(policy=policy, gate=False))


def test_the_hub_restarts_between_permit_and_command(tmp_path: Path) -> None:
    """The permit was accepted, then the power went: the Command is dropped, and goes behind the next permit."""

    async def act(one: Story) -> None:
        order_id = await one.sealed()
        up = one.hub.up

        def power_cut(message: bytes, carrier: bytes = b"") -> list[object]:
            if not is_permit(message) and len(one.up) == 2:
                one.hub.power_on()
                one.hub.hub.wan_connected(one.now())
            return list(up(message, *([carrier] if carrier else [])))

        one.hub.up = power_cut  # type: ignore[method-assign, assignment]
        await one.run(rounds=30)
        assert await one.world.state(order_id) == "at_large"
        assert one.executed == 0
        await one.run()
        assert await one.world.state(order_id) == "confirmed"
        assert one.executed == 1

    play(tmp_path, act)
