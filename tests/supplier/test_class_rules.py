"""Four eyes and priority services: what may go by the PPMID on what terms."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.supplier.class_rules import RULES, WAITS_FOR_APPROVAL
from lastmetre.supplier.errors import ApprovalRefused, OrderRefused
from lastmetre.supplier.services import service_of
from tests.own_world import ESME
from tests.supplier_world import SupplierWorld, supplier_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def story(path: Path, tell: Callable[[SupplierWorld], Awaitable[None]]) -> None:
    """Tells one story in a world of its own."""

    async def main() -> None:
        with supplier_world(path) as world:
            await tell(world)

    asyncio.run(main())


def test_every_row_names_a_service_and_a_source() -> None:
    """The table speaks of what can be ordered, and says where each row comes from."""
    assert all(service_of(row.service).devices and row.source for row in RULES.values())
    assert {row.service for row in RULES.values() if row.four_eyes} == {"disable_supply", "srv_1.6"}


def test_it_waits_for_another_person(tmp_path: Path) -> None:
    """Disabling supply by the PPMID: nothing is made before approval; whoever ordered cannot approve; then it goes."""

    async def tell(world: SupplierWorld) -> None:
        order_id = await world.place("disable_supply")
        await world.work()
        shown = await world.desk.order(order_id) or {}
        assert (shown["state"], shown["why_waiting"]) == ("accepted", WAITS_FOR_APPROVAL)
        assert shown["needs_approval"] is True
        for same in ("ann", " Ann ", "ANN"):
            with pytest.raises(ApprovalRefused, match="another person must approve"):
                await world.desk.approve(order_id, same)
        with pytest.raises(ApprovalRefused, match="must name who"):
            await world.desk.approve(order_id, " ")
        await world.work()
        assert await world.poll() is None
        assert world.sealed() == 0
        await world.desk.approve(order_id, "bob")
        await world.work()
        await world.carry()
        assert await world.state(order_id) == "confirmed"
        entries = await world.store.audit(0, 100)
        assert [e.entry.detail for e in entries if e.entry.event == "order_approved"] == ["by bob"]
        with pytest.raises(ApprovalRefused, match="waits for nobody's approval"):
            await world.desk.approve(order_id, "eve")

    story(tmp_path, tell)


def test_other_roads_and_services_are_free(tmp_path: Path) -> None:
    """By SM WAN, and to arm, nobody else is asked; with both roads the WAN is taken meanwhile."""

    async def tell(world: SupplierWorld) -> None:
        arm = await world.place("arm_supply")
        await world.work()
        await world.carry()
        assert await world.state(arm) == "confirmed"
        disable = await world.place("disable_supply", roads=("ppmid", "wan"))
        await world.work()
        assert (await world.order(disable)).road == "wan"
        with pytest.raises(ApprovalRefused):
            await world.desk.approve(disable, "bob")

    story(tmp_path, tell)


def test_an_unapproved_order_holds_up_nobody(tmp_path: Path) -> None:
    """It is overtaken by what may go, and ends unsent at its deadline."""

    async def tell(world: SupplierWorld) -> None:
        waits = await world.place("disable_supply", deadline_s=60)
        arm = await world.place("arm_supply")
        await world.work()
        await world.carry()
        assert await world.state(arm) == "confirmed"
        world.clock.pass_s(61)
        await world.work()
        assert await world.state(waits) == "expired_unsent"

    story(tmp_path, tell)


def test_priority_services_and_unnamed_people_are_refused(tmp_path: Path) -> None:
    """A customer on the register is not cut off by the PPMID, whoever approves; an order nobody placed needs a name."""

    async def tell(world: SupplierWorld) -> None:
        body: dict[str, object] = {
            "device_id": ESME.hex(), "service": "disable_supply", "deadline_s": 60, "roads": ["ppmid"],
        }  # fmt: skip
        with pytest.raises(OrderRefused, match="say ordered_by"):
            await world.desk.place(body)
        world.devices[ESME] = replace(world.devices[ESME], priority_services=True)
        with pytest.raises(OrderRefused, match="Priority Services Register"):
            await world.desk.place(body | {"ordered_by": "ann"})
        by_wan = await world.place("disable_supply", roads=("ppmid", "wan"))
        await world.work()
        assert (await world.order(by_wan)).road == "wan"

    story(tmp_path, tell)
