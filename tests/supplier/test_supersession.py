"""Supersession: what must die is overtaken by a higher counter, and is *superseded* only when a meter proved it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lastmetre.relay import ReceiptKind
from lastmetre.supplier.errors import CannotSupersede
from tests.own_world import ESME
from tests.supplier_world import HOURS, SupplierWorld, supplier_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def story(path: Path, tell: Callable[[SupplierWorld], Awaitable[None]]) -> None:
    """Tells one story in a world of its own."""

    async def main() -> None:
        with supplier_world(path) as world:
            await tell(world)

    asyncio.run(main())


async def at_large(world: SupplierWorld, **how: object) -> tuple[str, bytes]:
    """An order whose Command the agent holds back; its id and the Command."""
    order_id = await world.place(**how)  # type: ignore[arg-type]
    await world.work()
    envelope = await world.poll()
    assert envelope is not None
    await world.say(envelope, ReceiptKind.TAKEN)
    return order_id, envelope.command


def test_a_hoarded_command_is_dead_after_supersession(tmp_path: Path) -> None:
    """Threat T14: the agent holds a Command back; a higher counter runs by another road; releasing it does nothing."""

    async def tell(world: SupplierWorld) -> None:
        order_id, hoarded = await at_large(world)
        superseder = await world.desk.supersede(order_id, {"roads": ["wan"]})
        assert superseder is not None
        assert superseder["service"] == "synchronise_clock"
        assert await world.state(order_id) == "superseding"
        await world.work()
        await world.wan_round()
        await world.work()
        assert await world.state(str(superseder["order_id"])) == "confirmed"
        assert await world.state(order_id) == "superseded"
        meter = world.meters[ESME]
        before = meter.state.behaviour()
        meter.receive(hoarded, world.clock.ms // 1000)
        assert meter.state.behaviour() == before

    story(tmp_path, tell)


def test_an_unknown_order_is_settled(tmp_path: Path) -> None:
    """Past its deadline it is unknown and an alarm; superseded, it is neither."""

    async def tell(world: SupplierWorld) -> None:
        order_id, _ = await at_large(world, deadline_s=60)
        world.clock.pass_s(61)
        await world.work()
        assert (await world.desk.order(order_id) or {})["alarm"] is True
        await world.desk.supersede(order_id, {})
        await world.work()
        await world.wan_round()
        await world.work()
        shown = await world.desk.order(order_id) or {}
        assert (shown["state"], shown["alarm"]) == ("superseded", False)

    story(tmp_path, tell)


def test_a_late_response_still_counts(tmp_path: Path) -> None:
    """It ran before it could be overtaken: superseded becomes confirmed late."""

    async def tell(world: SupplierWorld) -> None:
        order_id = await world.place()
        await world.work()
        envelope = await world.poll()
        assert envelope is not None
        response = world.execute(envelope.command)
        await world.desk.supersede(order_id, {"roads": ["wan"]})
        await world.work()
        await world.wan_round()
        await world.work()
        assert await world.state(order_id) == "superseded"
        await world.say(envelope, ReceiptKind.RESPONSE, response)
        assert await world.state(order_id) == "confirmed_late"

    story(tmp_path, tell)


def test_a_superseder_that_never_left_gives_the_alarm_back(tmp_path: Path) -> None:
    """No road for it until its deadline: the order is unknown again, says why, and can be superseded once more."""

    async def tell(world: SupplierWorld) -> None:
        order_id, _ = await at_large(world, deadline_s=HOURS)
        superseder = await world.desk.supersede(order_id, {"roads": ["ppmid"], "deadline_s": 30}) or {}
        world.clock.pass_s(31)
        await world.work()
        assert await world.state(str(superseder["order_id"])) == "expired_unsent"
        shown = await world.desk.order(order_id) or {}
        assert shown["state"] == "unknown"
        assert "its superseder" in str(shown["why_waiting"])
        again = await world.desk.supersede(order_id, {"roads": ["wan"]}) or {}
        assert again["order_id"] != superseder["order_id"]

    story(tmp_path, tell)


def test_one_superseder_settles_a_chain(tmp_path: Path) -> None:
    """A superseder that is unknown is superseded itself; what settles it settles the first one too."""

    async def tell(world: SupplierWorld) -> None:
        first, _ = await at_large(world)
        second = str((await world.desk.supersede(first, {"roads": ["ppmid"], "deadline_s": 60}) or {})["order_id"])
        await world.work()
        assert await world.poll() is not None
        world.clock.pass_s(61)
        await world.work()
        assert (await world.state(first), await world.state(second)) == ("superseding", "unknown")
        await world.desk.supersede(second, {"roads": ["wan"]})
        await world.work()
        await world.wan_round()
        await world.work()
        assert (await world.state(first), await world.state(second)) == ("superseded", "superseded")

    story(tmp_path, tell)


def test_it_survives_a_restart_between_its_steps(tmp_path: Path) -> None:
    """The superseder is placed, then the process dies: asking again finds the same one and goes on."""

    async def tell(world: SupplierWorld) -> None:
        order_id, _ = await at_large(world)
        change, world.store.change = world.store.change, _dies  # type: ignore[method-assign]
        with pytest.raises(ConnectionError):
            await world.desk.supersede(order_id, {})
        world.store.change = change  # type: ignore[method-assign]
        world.restart()
        await world.desk.supersede(order_id, {})
        assert len(await world.store.orders(10)) == 2
        assert await world.state(order_id) == "superseding"

    story(tmp_path, tell)


async def _dies(*_: object, **__: object) -> None:
    raise ConnectionError("the database is gone")


def test_what_cannot_be_superseded_says_why(tmp_path: Path) -> None:
    """Top-ups, orders of which nothing is out, and services without replay protection."""

    async def tell(world: SupplierWorld) -> None:
        fresh = await world.place()
        with pytest.raises(CannotSupersede, match="is accepted: there is nothing"):
            await world.desk.supersede(fresh, {})
        await world.desk.cancel(fresh)
        order_id, _ = await at_large(world)
        with pytest.raises(CannotSupersede, match="read_meter_balance cannot supersede anything"):
            await world.desk.supersede(order_id, {"service": "read_meter_balance"})
        await world.desk.supersede(order_id, {})
        with pytest.raises(CannotSupersede, match="is being superseded by"):
            await world.desk.supersede(order_id, {})
        assert await world.desk.supersede("nothing", {}) is None
        top_up = await world.place("top_up", values={"amount_pence": 100})
        with pytest.raises(CannotSupersede, match="is a top-up: no other Command makes it harmless"):
            await world.desk.supersede(top_up, {})

    story(tmp_path, tell)


def test_what_is_at_large_is_listed(tmp_path: Path) -> None:
    """Everything that left and may still run, digits too, with whom it is and whether it can be overtaken."""

    async def tell(world: SupplierWorld) -> None:
        await world.place(roads=("wan",))
        top_up = await world.place("top_up", values={"amount_pence": 100}, deadline_s=60)
        listed = await world.desk.at_large()
        assert [row["order_id"] for row in listed["orders"]] == [top_up]  # type: ignore[attr-defined]
        await world.work()
        listed = await world.desk.at_large()
        rows = {row["service"]: row for row in listed["orders"]}  # type: ignore[attr-defined]
        assert rows["arm_supply"]["can_be_superseded"] is True
        assert rows["top_up"]["can_be_superseded"] is False
        assert sum(row["count"] for row in listed["counts"]) == 2  # type: ignore[attr-defined]
        await world.wan_round()
        assert [row["service"] for row in (await world.desk.at_large())["orders"]] == ["top_up"]  # type: ignore[attr-defined]

    story(tmp_path, tell)
