"""The person at the desk and their gateway: places orders, repeats what got no answer, cancels some, looks often.

Like any client it may lose an answer; it then sends the same body under the same idempotency key.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final

from lastmetre.sim.parties import Lost
from lastmetre.supplier.errors import ApprovalRefused, CannotSupersede, OrderRefused, TooLate

if TYPE_CHECKING:
    from lastmetre.sim.world import World

ORDERS: Final = (5, 12)
PLACED_WITHIN_S: Final = 4_500
DEADLINES_S: Final = (30, 120, 600, 1_800, 3_600)
RETRY_S: Final = 20.0
ROUNDS_MAX: Final = 4
"""Rounds of superseding what is unknown, each as long as a superseder may take."""
SUPERSEDER_S: Final = 3_700.0
CLOCK_AHEAD_S: Final = 2 * 86_400 + 7_200
"""More than two jumps ahead."""
SETTINGS: Final = {
    "debt_recovery_rate_cap": 100,
    "emergency_credit_limit": 500_000,
    "emergency_credit_threshold": 100_000,
    "low_credit_threshold": 200_000,
    "max_meter_balance": 100_000_000,
    "max_credit_threshold": 50_000_000,
}
SERVICES: Final = (
    "top_up",
    "top_up",
    "arm_supply",
    "disable_supply",
    "read_meter_balance",
    "read_supply_status",
    "update_prepay_configuration",
)
ROADS: Final = (["ppmid"], ["wan"], ["wan", "ppmid"], ["ppmid", "wan"], ["both"], ["ppmid", "hht"], ["both", "hht"])
VISITS: Final = 8
RETRIES: Final = 3
BY_CODE: Final = 0.15
"""Top-ups for which nothing but the code is wanted."""


class Operator:
    """One caller of the API."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._luck = world.luck("operator")
        self._wire = world.wire("api")

    async def run(self) -> None:
        """Places the orders of this run."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._luck.randint(*ORDERS)):
                at = self._luck.random() * PLACED_WITHIN_S
                tasks.create_task(self._follow(number, at, self._body(number)))
            for number in range(VISITS):
                tasks.create_task(self._visit(number))

    async def _visit(self, number: int) -> None:
        """An engineer fetches a pack, goes to the door, and brings back what the meter said."""
        world, luck = self._world, self._world.luck(f"visit {number}")
        await asyncio.sleep(luck.random() * PLACED_WITHIN_S)
        hub_id = luck.choice(sorted(world.hubs))
        try:
            data = await self._wire.request(world.supplier, lambda: world.field.pack(hub_id))
        except (OrderRefused, Lost):
            return
        world.sometimes.saw("engineer fetched a pack")
        await asyncio.sleep(luck.random() * 1_800)
        brought = await world.at_the_door(hub_id, data)
        for _ in range(RETRIES):  # the pack is read again until the office has taken it
            try:
                await self._wire.request(world.supplier, lambda: world.field.unpack(brought))
            except Lost:
                await asyncio.sleep(RETRY_S)
            else:
                world.sometimes.saw("engineer's pack read back")
                return

    def _body(self, number: int) -> dict[str, object]:
        luck = self._luck
        service = luck.choice(SERVICES)
        values: dict[str, int] = {}
        if service == "top_up":
            values = {"amount_pence": luck.randint(1, 5_000)}
        elif service == "update_prepay_configuration":
            values = {**SETTINGS, "emergency_credit_limit": luck.randint(1, 1_000_000)}
        device_id = luck.choice(sorted(self._world.devices))
        return {
            "device_id": device_id.hex(),
            "service": service,
            "values": values,
            "deadline_s": luck.choice(DEADLINES_S),
            "roads": ["code"] if service == "top_up" and luck.random() < BY_CODE else list(luck.choice(ROADS)),
            "reason": "simulated",
            "ordered_by": "ann",
            "idempotency_key": f"key-{number}",
        }

    async def _follow(self, number: int, at: float, body: dict[str, object]) -> None:
        luck = self._world.luck(f"order {number}")
        await asyncio.sleep(at)
        order_id = await self._place(number, body)
        if order_id is None:
            return
        if luck.random() < 0.8:
            await self._approve(order_id)
        for _ in range(luck.randint(1, 6)):
            await asyncio.sleep(luck.random() * 300)
            await self.look(order_id)
            if luck.random() < 0.1:
                await self._cancel(order_id)
            if luck.random() < 0.1:
                await self._supersede(order_id)

    async def _place(self, number: int, body: dict[str, object]) -> str | None:
        world = self._world
        while True:
            try:
                view = await self._wire.request(world.supplier, lambda: world.desk.place(body))
            except Lost:
                world.sometimes.saw("operator placed an order again")
                await asyncio.sleep(RETRY_S)
            except OrderRefused:
                world.evidence.refused += 1
                return None
            else:
                world.evidence.promised[f"key-{number}"] = str(view["order_id"])
                await world.say(str(view["order_id"]), view["state"])
                return str(view["order_id"])

    async def look(self, order_id: str) -> dict[str, object] | None:
        """What the API says of an order now."""
        world = self._world
        try:
            view = await self._wire.request(world.supplier, lambda: world.desk.order(order_id))
        except Lost:
            return None
        assert view is not None, f"the API promised {order_id} and does not know it"
        await world.say(order_id, view["state"])
        return view

    async def _approve(self, order_id: str) -> None:
        world = self._world
        try:
            await self._wire.request(world.supplier, lambda: world.desk.approve(order_id, "bob"))
        except (ApprovalRefused, Lost):
            pass
        else:
            world.sometimes.saw("operator approved")

    async def _cancel(self, order_id: str) -> None:
        world = self._world
        try:
            await self._wire.request(world.supplier, lambda: world.desk.cancel(order_id))
        except TooLate:
            world.sometimes.saw("operator cancelled too late")
        except Lost:
            pass
        else:
            world.sometimes.saw("operator cancelled")

    async def _supersede(self, order_id: str) -> None:
        world = self._world
        try:
            await self._wire.request(world.supplier, lambda: world.desk.supersede(order_id, {}))
        except CannotSupersede:
            world.sometimes.saw("operator could not supersede")
        except Lost:
            pass
        else:
            world.sometimes.saw("operator superseded")

    async def settle(self) -> None:
        """When everything works again: has all that is still unknown overtaken, and looks once more at everything."""
        world = self._world
        await self._read_back()
        for number in range(ROUNDS_MAX):
            unknown = [view for view in await world.desk.orders(1_000) if view["alarm"] and view["lane"] == "ordinary"]
            if not unknown:
                break
            if number == ROUNDS_MAX - 2:
                # A party whose clock had jumped ahead finds everything expired until that time has come (R09).
                world.sometimes.saw("operator waited until a clock was right again")
                await asyncio.sleep(CLOCK_AHEAD_S)
            for view in reversed(unknown):
                await self._supersede(str(view["order_id"]))
            await asyncio.sleep(SUPERSEDER_S)
        for order_id in sorted(set(world.evidence.promised.values())):
            await self.look(order_id)

    async def _read_back(self) -> None:
        """What cannot be superseded is read back: a meter's log says which top-ups it has."""
        world = self._world
        unknown = {str(view["device_id"]) for view in await world.desk.orders(1_000) if view["alarm"]}
        for device_id in sorted(unknown):
            body: dict[str, object] = {
                "device_id": device_id, "service": "read_top_up_log", "deadline_s": 3_600,
                "roads": ["wan", "ppmid"], "idempotency_key": f"read-back-{device_id}",
            }  # fmt: skip
            try:
                await self._wire.request(world.supplier, functools.partial(world.desk.place, body))
            except (OrderRefused, Lost):
                continue
            world.sometimes.saw("operator read a meter's log back")
        if unknown:
            await asyncio.sleep(SUPERSEDER_S)
