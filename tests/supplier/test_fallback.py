"""From road to road: the same octets where something left, another Command only where nothing did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lastmetre.duis.documents import LocalCommand
from lastmetre.relay import ReceiptKind
from lastmetre.supplier.orders import Road
from lastmetre.supplier.policy import Limit, RoadPolicy
from lastmetre.supplier.roads import WanCoverage
from lastmetre.supplier.views import order_view
from tests.own_world import BROKER, CHF, ESME, OTHER_ESME, PPMID
from tests.supplier_world import DARK_PPMID, HOURS, supplier_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.supplier_world import Run, SupplierWorld

COSTS = {Road.WAN: 1, Road.PPMID: 20}
WAN_THEN_PPMID = ("wan", "ppmid")


async def _documents(world: SupplierWorld) -> None:
    """The DCC's documents come; the WAN to the home brings nothing."""
    await world.wan_round(deliver=False)
    await world.work()


def test_the_same_octets_by_the_next_road(tmp_path: Path, run: Run) -> None:
    """WAN first; no answer in its time: the PPMID carries the DCC's copy, one counter, one execution, costs noted."""
    with supplier_world(tmp_path, policy=RoadPolicy(costs=COSTS)) as world:

        async def story() -> None:
            order_id = await world.place("arm_supply", roads=WAN_THEN_PPMID)
            await world.work()
            assert await world.poll() is None
            await _documents(world)
            order = await world.order(order_id)
            assert (order.road, order.with_copy) == (Road.WAN, True)
            assert order.next_road_at == world.clock.ms // 1000 + 900
            assert order_view(order)["waits_until"] == order.next_road_at
            world.clock.pass_s(901)
            await world.work()
            envelope = await world.carry()
            order = await world.order(order_id)
            assert envelope.command == order.command
            assert await world.state(order_id) == "confirmed"
            assert [(a.road, a.cost) for a in order.attempts] == [(Road.WAN, 1), (Road.PPMID, 20)]
            assert order_view(order)["cost_millipence"] == 21
            assert world.sealed() == 1
            await world.work()
            assert (await world.order(order_id)).returning.value == "done"

        run(story)


def test_both_at_once(tmp_path: Path, run: Run) -> None:
    """CV7: the DCC sends it, and the PPMID has the same octets as soon as the copy is here; the first answer counts."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            order_id = await world.place("arm_supply", roads=("both",))
            await world.work()
            await _documents(world)
            envelope = await world.poll()
            assert envelope is not None
            answered = world.execute(envelope.command)
            world.dsp.dsp._responses.take_from_wan(CHF, answered)
            await world.wan_round(deliver=False)
            assert await world.state(order_id) == "confirmed"
            await world.say(envelope, ReceiptKind.RESPONSE, answered)  # the copy by the other road changes nothing
            order = await world.order(order_id)
            assert order.state.value == "confirmed"
            assert {attempt.road for attempt in order.attempts} == {Road.WAN, Road.PPMID}
            assert world.sealed() == 1

        run(story)


def test_a_copy_that_says_something_else_is_not_carried(tmp_path: Path, run: Run) -> None:
    """The DCC's copy must be what was asked and signed; another is refused and named."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            await world.place("arm_supply")
            await world.work()
            earlier = (await world.carry()).command
            world.clock.pass_s(1)
            order_id = await world.place("arm_supply", roads=WAN_THEN_PPMID)
            await world.work()
            assert await world.delivery.receive_response(BROKER, world.forged(LocalCommand(earlier)))
            assert (await world.order(order_id)).command == b""
            await _documents(world)
            assert (await world.order(order_id)).command != b""
            assert "document_refused" in [event for event, _ in world.told.events]

        run(story)


def test_what_never_left_is_made_again_for_another_road(tmp_path: Path, run: Run) -> None:
    """An agent that never asked: after its wait the order goes by WAN under a new counter; the agent gets nothing."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            order_id = await world.place("arm_supply", roads=("ppmid", "wan"))
            await world.work()
            before = await world.order(order_id)
            assert before.state.value == "sealed"
            world.clock.pass_s(1_900)  # its share: half of the hour that is left
            await world.work()
            after = await world.order(order_id)
            assert (after.state.value, after.road) == ("at_large", Road.WAN)
            assert after.originator_counter is not None
            assert before.originator_counter is not None
            assert after.originator_counter > before.originator_counter
            assert await world.poll() is None
            await world.wan_round()
            assert await world.state(order_id) == "confirmed"

        run(story)


def test_what_left_locally_cannot_go_by_wan(tmp_path: Path, run: Run) -> None:
    """A Command that an agent has is never made twice: it stays there and the order says why."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            order_id = await world.place("arm_supply", roads=("ppmid", "wan"))
            await world.work()
            envelope = await world.poll()
            assert envelope is not None
            await world.say(envelope, ReceiptKind.TAKEN)
            world.clock.pass_s(1_900)
            await world.work()
            order = await world.order(order_id)
            assert (order.state.value, order.road) == ("at_large", Road.PPMID)
            assert "the DCC cannot send it" in str(order_view(order)["why_waiting"])
            assert world.sealed() == 1

        run(story)


def test_a_top_up_is_not_made_again(tmp_path: Path, run: Run) -> None:
    """Its counter is in its digits: no other road under another counter, whatever waits."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            order_id = await world.place("top_up", roads=("ppmid", "wan"), values={"amount_pence": 100})
            await world.work()
            world.clock.pass_s(1_900)
            await world.work()
            order = await world.order(order_id)
            assert (order.state.value, order.road) == ("sealed", Road.PPMID)
            assert world.sealed() == 1

        run(story)


def test_a_road_that_fails_is_not_waited_for(tmp_path: Path, run: Run) -> None:
    """The DCC says that it could not deliver: the PPMID gets the copy at once, and the WAN's failure is remembered."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            order_id = await world.place("arm_supply", roads=WAN_THEN_PPMID)
            await world.work()
            await _documents(world)
            world.clock.pass_s(120)
            assert await world.delivery.receive_response(BROKER, world.forged(None, "E20"))
            assert (await world.order(order_id)).next_road_at == world.clock.ms // 1000
            await world.work()
            assert await world.poll() is not None
            facts = await world.store.road_facts(frozenset({(CHF, Road.WAN)}))
            assert facts[CHF, Road.WAN].failures == 1

        run(story)


def test_a_refusal_of_the_dcc_opens_the_other_road(tmp_path: Path, run: Run) -> None:
    """The DCC signed that it will not send it: nothing left, so it is made again for the PPMID."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            # We believe in a WAN that the DCC knows not to be there; no PPMID is known yet, so no copy is asked for.
            world.devices[OTHER_ESME] = replace(world.devices[OTHER_ESME], wan=WanCoverage.GOOD, agent_id=None)
            order_id = await world.place("arm_supply", device=OTHER_ESME, roads=WAN_THEN_PPMID)
            order = await world.order(order_id)
            for _ in range(3):
                await world.worker.step(order_id)
            assert (await world.order(order_id)).with_copy is False
            world.devices[OTHER_ESME] = replace(world.devices[OTHER_ESME], agent_id=DARK_PPMID)
            await world.work()
            order = await world.order(order_id)
            assert (order.state.value, order.road) == ("sealed", Road.PPMID)
            assert [attempt.said for attempt in order.attempts] == ["the DCC refused: E20"]
            await world.carry(DARK_PPMID)
            assert await world.state(order_id) == "confirmed"

        run(story)


def test_no_more_than_the_cap_are_at_large_with_a_vendor(tmp_path: Path, run: Run) -> None:
    """The second supply Command waits, says why, and goes when the first one's Response is here."""
    policy = RoadPolicy(limits=(Limit("*", "supply", 1),))
    with supplier_world(tmp_path, policy=policy) as world:

        async def story() -> None:
            first = await world.place("arm_supply", device=OTHER_ESME)
            second = await world.place("arm_supply")
            free = await world.place("top_up", values={"amount_pence": 100})
            await world.work()
            envelope = await world.poll(DARK_PPMID)
            assert envelope is not None
            got = await world.poll()
            assert got is not None
            assert got.order_id == free
            assert await world.poll() is None
            assert "no more may be" in str(order_view(await world.order(second))["why_waiting"])
            await world.say(
                envelope, ReceiptKind.RESPONSE, world.execute(envelope.command, OTHER_ESME), agent=DARK_PPMID
            )
            assert await world.state(first) == "confirmed"
            again = await world.poll()
            assert again is not None
            assert again.order_id == second

        run(story)


def test_unacknowledged_envelopes_go_again_later_and_later(tmp_path: Path, run: Run) -> None:
    """Each try waits twice as long, up to the maximum, and each is paid for."""
    with supplier_world(tmp_path, policy=RoadPolicy(costs=COSTS)) as world:

        async def story() -> None:
            order_id = await world.place("arm_supply", deadline_s=HOURS)
            await world.work()
            assert await world.poll() is not None
            for wait_s in (5, 10, 20, 40, 60, 60):
                world.clock.pass_s(wait_s - 1)
                assert await world.poll() is None
                world.clock.pass_s(1)
                assert await world.poll() is not None
            (attempt,) = (await world.order(order_id)).attempts
            assert (attempt.tries, attempt.cost) == (7, 140)

        run(story)


def test_every_open_order_says_why_it_waits(tmp_path: Path, run: Run) -> None:
    """Whatever its state: a reason, and until when, where a clock decides."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            ids = [
                await world.place("arm_supply", roads=("wan",), device=OTHER_ESME),
                await world.place("arm_supply", roads=("ppmid",)),
                await world.place("read_meter_balance", roads=("hht",)),
                await world.place("top_up", roads=("code",), values={"amount_pence": 100}),
            ]
            await world.work()
            for order_id in ids:
                view = order_view(await world.order(order_id))
                assert view["why_waiting"], view["state"]
                assert isinstance(view["waits_until"], int)
            words = [str(order_view(await world.order(order_id))["why_waiting"]) for order_id in ids]
            assert "no WAN here" in words[0]
            assert "agent" in words[1]
            assert "one Command in flight" in words[2]
            assert "key them in" in words[3]

        run(story)


def test_a_silent_agent_is_remembered(tmp_path: Path, run: Run) -> None:
    """Asking is being seen; it is written down once in a while only."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            await world.poll()
            first = world.clock.ms // 1000
            world.clock.pass_s(30)
            await world.poll()
            way = frozenset({(PPMID, Road.PPMID)})
            assert (await world.store.road_facts(way))[PPMID, Road.PPMID].seen_at == first
            world.clock.pass_s(30)
            await world.poll()
            assert (await world.store.road_facts(way))[PPMID, Road.PPMID].seen_at == first + 60
            assert ESME in world.devices

        run(story)
