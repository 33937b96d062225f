"""Relay permits at the supplier: asked for just in time at a real DSP core, renewed; the Command stays what it was."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.dcc.permits import LIFE_S
from lastmetre.links.permit_store import SqlitePermitStore
from lastmetre.relay import ReceiptKind
from lastmetre.relay.permit import Permit, Status, decode_permit
from lastmetre.supplier.errors import DspUnreachable, NoPermit
from lastmetre.supplier.permits import RENEW_BEFORE_S
from tests.own_world import CHF, ESME, PPMID
from tests.permit_supplier import PermitWorld
from tests.supplier_world import supplier_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lastmetre.relay import Envelope

NONCE = b"a nonce!"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[PermitWorld]:
    """The world."""
    with _home(tmp_path) as one:
        yield one


@contextmanager
def _home(path: Path) -> Iterator[PermitWorld]:
    with supplier_world(path) as world, SqlitePermitStore(path / "permits.sqlite") as store:
        yield PermitWorld(world, store)


def read(envelope: Envelope | None) -> Permit:
    """The permit in an envelope."""
    assert envelope is not None
    assert envelope.permit is not None
    permit = decode_permit(envelope.permit)
    assert isinstance(permit, Permit)
    return permit


def test_the_permit_is_made_when_the_agent_asks(home: PermitWorld) -> None:
    """Not at sealing: at the agent's poll. It names the Command, which is what was sealed; it is kept and audited."""

    async def story() -> None:
        order_id = await home.world.place()
        await home.world.work()
        assert home.wire.asked == []
        home.world.clock.pass_s(600)
        envelope = await home.world.poll()
        permit = read(envelope)
        assert envelope is not None
        assert (permit.hub_id, permit.target_id, permit.carrier_id) == (CHF, ESME, PPMID)
        assert permit.issued_at == home.world.clock.ms // 1000
        order = await home.world.order(order_id)
        assert (envelope.command, permit.digest) == (order.command, hashlib.sha256(order.command).digest())
        assert "relay_permit" in await home.world.names(order_id)
        entry = (await home.world.store.audit(0, 100))[-1].entry
        assert [name for name, _ in entry.documents] == ["relay_permit"]

    asyncio.run(story())


def test_a_hub_that_wants_none_gets_none(tmp_path: Path) -> None:
    """Without the setting nobody is asked and the envelope is as it was."""

    async def story() -> None:
        with supplier_world(tmp_path) as world:
            await world.place()
            await world.work()
            envelope = await world.poll()
            assert envelope is not None
            assert envelope.permit is None

    asyncio.run(story())


def test_without_a_permit_nothing_leaves(home: PermitWorld) -> None:
    """The DSP is down, refuses, or gives another's permit: the order stays sealed and says why, then goes."""

    async def story() -> None:
        order_id = await home.world.place()
        await home.world.work()
        for failure, why in (
            (DspUnreachable("no route"), "no route"),
            (NoPermit("not-registered"), "not-registered"),
        ):
            home.wire.fails = failure
            home.world.clock.pass_s(60)
            assert await home.world.poll() is None
            order = await home.world.order(order_id)
            assert (order.state.value, order.attempts) == ("sealed", ())
            assert why in order.why
        home.wire.fails, home.wire.forge = None, b"\x50" * 128
        home.world.clock.pass_s(60)
        assert await home.world.poll() is None
        home.wire.forge = None
        assert await home.world.poll() is None, "it does not ask again at once"
        home.world.clock.pass_s(60)
        assert read(await home.world.poll()).target_id == ESME
        assert (await home.world.order(order_id)).why == ""

    asyncio.run(story())


def test_a_repeat_carries_the_same_permit(home: PermitWorld) -> None:
    """An envelope nobody acknowledged goes again with the permit it had; the DSP is asked once."""

    async def story() -> None:
        order_id = await home.world.place()
        await home.world.work()
        first = await home.world.poll()
        home.world.clock.pass_s(30)
        again = await home.world.poll()
        assert first is not None
        assert again is not None
        assert (again.permit, again.command) == (first.permit, first.command)
        assert len(home.wire.asked) == 1
        assert (await home.world.names(order_id)).count("relay_permit") == 1

    asyncio.run(story())


def test_it_is_renewed_before_it_ends(home: PermitWorld) -> None:
    """The agent has the Command and has not passed it up: a new permit shortly before the old one's end."""

    async def story() -> None:
        _order_id, envelope = await home.handed_on()
        home.world.clock.pass_s(LIFE_S - RENEW_BEFORE_S - 1)
        assert await home.world.poll() is None
        home.world.clock.pass_s(1)
        again = await home.world.poll()
        assert again is not None
        assert (again.order_id, again.command) == (envelope.order_id, envelope.command)
        assert read(again).serial == read(envelope).serial + 1
        await home.world.say(again, ReceiptKind.TAKEN_BY_TUNNEL)
        home.world.clock.pass_s(LIFE_S)
        assert await home.world.poll() is None, "the hub has it: no permit is needed"

    asyncio.run(story())


def test_a_nonce_is_answered_at_once(home: PermitWorld) -> None:
    """The hub knows no time: its nonce goes to the DSP, and the next envelope carries a permit that answers it."""

    async def story() -> None:
        order_id, envelope = await home.handed_on()
        await home.hub_says(envelope, Status.TIME, clock=False)
        assert await home.world.poll() is None
        await home.hub_says(envelope, Status.NONCE, clock=False, nonce=NONCE)
        assert read(await home.world.poll()).hub_nonce == NONCE
        assert await home.world.poll() is None
        (attempt,) = (await home.world.order(order_id)).attempts
        assert attempt.said == "the hub gave a nonce for its next permit"

    asyncio.run(story())


def test_a_refusal_that_another_permit_mends(home: PermitWorld) -> None:
    """Time, void, used up: another permit after a pause that grows; the order's state is what it was."""

    async def story() -> None:
        order_id, envelope = await home.handed_on()
        for status, pause_s in ((Status.TIME, 5), (Status.VOID, 10), (Status.NO_HANDOVER_LEFT, 30)):
            await home.hub_says(envelope, status)
            home.world.clock.pass_s(pause_s - 1)
            assert await home.world.poll() is None
            home.world.clock.pass_s(1)
            assert read(await home.world.poll()).hub_nonce is None
        assert await home.world.state(order_id) == "at_large"

    asyncio.run(story())


def test_a_refusal_that_nothing_mends_is_told(home: PermitWorld) -> None:
    """Its MAC is wrong: no further permit; the attempt says what the agent saw, the order ends by nothing but proof."""

    async def story() -> None:
        order_id, envelope = await home.handed_on()
        await home.hub_says(envelope, Status.MAC)
        home.world.clock.pass_s(120)
        assert await home.world.poll() is None
        order = await home.world.order(order_id)
        assert order.state.value == "at_large"
        assert order.attempts[0].said == "the hub refused its permit: mac"
        assert home.world.told.of("permit_answered")[0]["status"] == "mac"

    asyncio.run(story())


def test_after_a_restart_the_agent_gets_a_new_one(home: PermitWorld) -> None:
    """What was known of permits is gone: whatever the agent holds is taken to be old."""

    async def story() -> None:
        _order_id, envelope = await home.handed_on()
        home.restart()
        assert read(await home.world.poll()).serial == read(envelope).serial + 1
        assert await home.world.poll() is None

    asyncio.run(story())


def test_no_permit_after_the_deadline(home: PermitWorld) -> None:
    """A permit never outlives the order, and none is asked for past it."""

    async def story() -> None:
        await home.world.place(deadline_s=100)
        await home.world.work()
        envelope = await home.world.poll()
        permit = read(envelope)
        assert envelope is not None
        assert permit.not_after == permit.hold_until == envelope.expires_at
        await home.world.say(envelope, ReceiptKind.TAKEN)
        home.world.clock.pass_s(100)
        assert await home.world.poll() is None
        assert len(home.wire.asked) == 1

    asyncio.run(story())


def test_a_permit_that_a_change_came_between_is_not_lost(home: PermitWorld) -> None:
    """The order changed while the DSP made the permit: nothing left then; the same permit leaves at the next look."""

    async def story() -> None:
        order_id, envelope = await home.handed_on()
        make = home.wire.permit

        async def meanwhile(*asked: Any) -> bytes:
            home.wire.permit = make  # type: ignore[method-assign]
            made = await make(*asked)
            await home.world.say(envelope, ReceiptKind.TAKEN_BY_TUNNEL)
            return made

        await home.hub_says(envelope, Status.NONCE, clock=False, nonce=NONCE)
        home.wire.permit = meanwhile  # type: ignore[method-assign, assignment]
        again = await home.world.poll() or await home.world.poll()
        assert read(again).hub_nonce == NONCE
        assert len(home.wire.asked) == 2, "it is asked for once"
        assert (await home.world.names(order_id)).count("relay_permit") == 2

    asyncio.run(story())
