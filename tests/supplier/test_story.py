"""Orders with a real DSP and a real meter at the other ends: each way an order can go, and each way it must not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.dcc.ports import Service
from lastmetre.duis.documents import LocalCommand, PreCommand, answer, build_signed_response, parse_request
from lastmetre.gbcs.catalogue import Lane
from lastmetre.gbcs.message import df_part, parse_message
from lastmetre.gbcs.protect import pre_command
from lastmetre.home.supply import Supply
from lastmetre.relay import ReceiptKind, RelayDecodeError, decode_envelope
from lastmetre.supplier import audit, preparation
from lastmetre.supplier.errors import KeyReused, OrderRefused, TooLate
from lastmetre.supplier.orders import AttemptState, Return, Road, State
from lastmetre.supplier.queue_memory import MemoryQueue
from lastmetre.supplier.roads import WanCoverage
from lastmetre.supplier.views import order_view
from tests import dsp_world
from tests import own_world as own
from tests.own_world import BROKER, ESME, OTHER_ESME, OTHER_SUPPLIER, PPMID, SUPPLIER
from tests.supplier_world import DARK_PPMID, SupplierWorld, supplier_world

if TYPE_CHECKING:
    from pathlib import Path

    from lastmetre.duis.documents import Payload

CONFIGURATION = {
    "debt_recovery_rate_cap": 500, "emergency_credit_limit": 500_000, "emergency_credit_threshold": 100_000,
    "low_credit_threshold": 200_000, "max_meter_balance": 100_000_000, "max_credit_threshold": 50_000_000,
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SupplierWorld]:
    """A supplier with everything it talks to."""
    with supplier_world(tmp_path) as world:
        yield world


Work = Callable[[], Awaitable[None]]


def run(work: Work) -> None:
    """Runs one story."""

    async def main() -> None:
        await work()

    asyncio.run(main())


def told(world: SupplierWorld, order_id: str) -> list[str]:
    """The events told of an order."""
    return [event for event, facts in world.told.events if facts.get("order_id") == order_id]


# --- by the PPMID


def test_a_top_up_by_the_ppmid(world: SupplierWorld) -> None:
    """Digits at once, CV2, sealed, carried, verified, credited once, returned to the DCC."""

    async def story() -> None:
        before = world.meters[ESME].state.balance
        order_id = await world.place("top_up", values={"amount_pence": 1_500})
        order = await world.order(order_id)
        assert len(order.utrn) == 20
        assert order.attempts[0].road is Road.CODE
        await world.work()
        assert await world.state(order_id) == "sealed"
        assert order.originator_counter is not None
        assert order.originator_counter & 0xFFFFFFFF == 0
        await world.carry()
        assert await world.state(order_id) == "confirmed"
        assert world.meters[ESME].state.balance == before + 1_500_000
        await world.work()
        assert (await world.order(order_id)).returning is Return.DONE
        assert len(world.dsp.told.of("local_response_recorded")) == 1
        assert await world.names(order_id) == [
            "order", "service_request", "local_command", "command", "response", "return_local_command_response",
        ]  # fmt: skip

    run(story)


def test_a_critical_order_by_the_ppmid(world: SupplierWorld) -> None:
    """CV4, Pre-Command, correlate, sign, CV6: the meter arms, its signed Response is verified by the DSP as well."""

    async def story() -> None:
        world.meters[ESME] = own.meter(supply=Supply.OFF_BY_COMMAND)
        order_id = await world.place("arm_supply")
        await world.work()
        services = [service for service, _ in world.wire.sent]
        assert services == [Service.TRANSFORM, Service.NON_DEVICE]
        await world.carry()
        assert await world.state(order_id) == "confirmed"
        assert world.meters[ESME].state.supply is Supply.ARMED
        await world.work()
        (recorded,) = world.dsp.told.of("local_response_recorded")
        assert recorded["verdict"] == "verified"
        assert (await world.names(order_id))[1:4] == ["service_request", "pre_command", "signed_pre_command"]

    run(story)


def test_prepayment_settings_by_the_ppmid(world: SupplierWorld) -> None:
    """The order that no code can carry: six settings, all of them in the meter afterwards."""

    async def story() -> None:
        order_id = await world.place("update_prepay_configuration", values=CONFIGURATION)
        await world.work()
        assert (await world.order(order_id)).message_code == 0xDE
        await world.carry()
        assert await world.state(order_id) == "confirmed"
        assert world.meters[ESME].display()["emergency_credit_limit"] == 500_000

    run(story)


@pytest.mark.parametrize(
    ("service", "result"),
    [
        ("read_meter_balance", {"meter_balance_millipence": -1_000}),
        ("read_supply_status", {"supply_state": "disabled"}),
    ],
)
def test_reads_bring_their_value(world: SupplierWorld, service: str, result: dict[str, object]) -> None:
    """A verified read shows what the meter said."""

    async def story() -> None:
        order_id = await world.place(service)
        await world.work()
        await world.carry()
        assert order_view(await world.order(order_id))["result"] == result

    run(story)


# --- by SM WAN


def test_orders_by_wan(world: SupplierWorld) -> None:
    """CV1 and CV5: at large before the DCC has it, confirmed by the Response it brings, nothing returned to it."""

    async def story() -> None:
        world.meters[ESME] = own.meter(supply=Supply.OFF_BY_COMMAND)
        for service in ("read_meter_balance", "arm_supply"):
            order_id = await world.place(service, roads=("wan",))
            await world.work()
            order = await world.order(order_id)
            assert order.state is State.AT_LARGE
            assert order.attempts[-1].state is AttemptState.TAKEN_BY_DCC
            await world.wan_round()
            order = await world.order(order_id)
            assert order.state is State.CONFIRMED
            assert order.returning is Return.NOT_NEEDED
        assert world.meters[ESME].state.supply is Supply.ARMED

    run(story)


def test_no_wan_here(world: SupplierWorld) -> None:
    """By WAN only, where there is none: it says why it waits, ends expired unsent, and the DCC never heard of it."""

    async def story() -> None:
        order_id = await world.place(device=OTHER_ESME, roads=("wan",), deadline_s=60)
        await world.work()
        view = order_view(await world.order(order_id))
        assert (view["state"], view["why_waiting"]) == ("accepted", "no WAN here")
        world.clock.pass_s(59)
        await world.work()
        assert await world.state(order_id) == "accepted"
        world.clock.pass_s(1)
        await world.work()
        view = order_view(await world.order(order_id))
        assert (view["state"], view["why_ended"], view["final"]) == ("expired_unsent", "no WAN here", True)
        assert world.wire.sent == []
        assert world.sealed() == 0

    run(story)


def test_a_wan_that_comes_back(world: SupplierWorld) -> None:
    """An order that waited for a road takes it as soon as it is open."""

    async def story() -> None:
        order_id = await world.place(roads=("wan",), service="read_meter_balance")
        good = world.devices[ESME]
        world.devices[ESME] = replace(good, wan=WanCoverage.DOWN)
        await world.work()
        assert order_view(await world.order(order_id))["why_waiting"] == "the WAN here is down"
        world.devices[ESME] = good
        await world.work()
        assert await world.state(order_id) == "at_large"

    run(story)


def test_a_refusal_of_the_dcc(world: SupplierWorld) -> None:
    """E20 for a home without WAN that we took for one with: failed, nothing left, the reason on the order."""

    async def story() -> None:
        world.devices[OTHER_ESME] = replace(world.devices[OTHER_ESME], wan=WanCoverage.GOOD)
        order_id = await world.place("read_meter_balance", device=OTHER_ESME, roads=("wan",))
        await world.work()
        order = await world.order(order_id)
        assert order.state is State.FAILED_BEFORE_SEALING
        assert order.why == "the DCC refused: E20"

    run(story)


# --- the wire to the DCC


@pytest.mark.parametrize("service", ["arm_supply", "top_up", "read_meter_balance"])
@pytest.mark.parametrize("road", ["ppmid", "wan"])
@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("loss", ["lose_requests", "lose_answers"])
def test_a_lost_line_to_the_dcc(world: SupplierWorld, service: str, road: str, step: int, loss: str) -> None:
    """Request or answer lost at any step, and a restart: the same octets go again, one Command is sealed, it ends."""

    async def story() -> None:
        world.meters[ESME] = own.meter(supply=Supply.OFF_BY_COMMAND)
        values = {"amount_pence": 100} if service == "top_up" else {}
        order_id = await world.place(service, roads=(road,), values=values)
        lost = False
        for _ in range(20):
            if len(world.wire.sent) == step and not lost:
                setattr(world.wire, loss, 1)
                lost = True
            for order in await world.store.open_orders():
                await world.worker.step(order.order_id)
            world.restart()
            world.clock.pass_s(1)
        assert world.sealed() == 1
        if road == "wan":
            await world.wan_round()
        else:
            await world.carry()
        assert await world.state(order_id) == "confirmed"
        await world.work()
        world.clock.pass_s(400)
        await world.work()
        assert (await world.order(order_id)).returning is (Return.DONE if road == "ppmid" else Return.NOT_NEEDED)

    run(story)


def test_a_forged_answer_is_not_signed(world: SupplierWorld) -> None:
    """An answer that the DSP did not sign, or one to another request, ends the order before sealing."""

    async def story() -> None:
        first = await world.place("arm_supply")
        await world.work()
        pre_command = world.wire.answers[0]
        await world.carry()
        assert await world.state(first) == "confirmed"
        for forged, word in (
            (pre_command.replace(b"I0", b"I1"), "not to be believed"),
            (b"<x/>", "cannot be read"),
            (pre_command, "belongs to request"),
        ):
            world.wire.forge = forged
            world.clock.pass_s(1)
            order_id = await world.place("arm_supply")
            await world.work()
            order = await world.order(order_id)
            assert order.state is State.FAILED_BEFORE_SEALING
            assert word in order.why
            assert "signed_pre_command" not in await world.names(order_id)

    run(story)


def test_another_command_than_ours_is_not_taken(world: SupplierWorld) -> None:
    """A properly signed Command for Local Delivery of an earlier request is not handed on for this one."""

    async def story() -> None:
        await world.place("read_meter_balance")
        await world.work()
        earlier = world.wire.answers[0]
        await world.carry()
        world.clock.pass_s(1)
        world.wire.forge = earlier
        order_id = await world.place("read_meter_balance")
        await world.work()
        order = await world.order(order_id)
        assert order.state is State.FAILED_BEFORE_SEALING
        assert order.command == b""

    run(story)


def forged(world: SupplierWorld, payload: Payload | None, code: str = "I0") -> bytes:
    """What a DSP that lies would sign in answer to the last request."""
    request = parse_request(world.wire.sent[-1][1])
    return build_signed_response(answer(request, code, world.clock.ms // 1000, payload), dsp_world.xml_signer(BROKER))


def test_a_pre_command_that_says_something_else_is_not_signed(world: SupplierWorld) -> None:
    """The DSP itself lies, over its own signature: arm was asked, disable came back. Named, and never signed."""

    async def story() -> None:
        order_id = await world.place("arm_supply")
        await world.worker.step(order_id)
        await world.worker.step(order_id)
        counter = (await world.order(order_id)).originator_counter
        assert counter is not None
        asked = preparation.signed_request(
            preparation.first_request(await world.order(order_id), world.keys), world.keys
        )
        world.wire.sent.append((Service.TRANSFORM, asked))
        disable = pre_command(own.header("ECS43", counter), own.supply_script(counter, 52))
        world.wire.forge = forged(world, PreCommand("4.3", disable))
        await world.work()
        order = await world.order(order_id)
        assert order.state is State.FAILED_BEFORE_SEALING
        assert "ECS43" in order.why
        assert await world.names(order_id) == ["order"]

    run(story)


@pytest.mark.parametrize("service", ["arm_supply", "read_meter_balance"])
def test_a_command_that_says_something_else_is_not_handed_on(world: SupplierWorld, service: str) -> None:
    """Signed by the DSP, sealed by the broker, under our counter: not what we asked, or not sealed, is not taken."""

    async def story() -> None:
        for change in ("content", "no MAC", "no Command"):
            world.clock.pass_s(1)
            world.wire.forge = None
            order_id = await world.place(service)
            while await world.state(order_id) == "accepted":
                await world.worker.step(order_id)
            document = (await world.store.documents(order_id))[-1].content
            world.wire.sent.append((Service.NON_DEVICE, document))
            counter = (await world.order(order_id)).originator_counter
            assert counter is not None
            good = world.dsp.local_command(parse_request(document))
            commands = {"content": own.read_balance(counter) if service == "arm_supply" else own.arm(counter)}
            commands["no MAC"] = df_part(parse_message(good))
            payload = LocalCommand(commands[change]) if change in commands else None
            world.wire.forge = forged(world, payload)
            await world.work()
            order = await world.order(order_id)
            assert (change, order.state) == (change, State.FAILED_BEFORE_SEALING)
            assert order.command == b""

    run(story)


def test_a_refusal_after_a_lost_answer_proves_nothing(world: SupplierWorld) -> None:
    """By WAN: the first answer was lost, the repeat is refused. It may have left the first time: still at large."""

    async def story() -> None:
        order_id = await world.place("read_meter_balance", roads=("wan",))
        world.wire.lose_answers = 1
        await world.work()
        assert await world.state(order_id) == "at_large"
        world.wire.forge = forged(world, None, "E41")
        world.clock.pass_s(10)
        await world.work()
        order = await world.order(order_id)
        assert (order.state, order.attempts[-1].tries) == (State.AT_LARGE, 2)
        assert order.attempts[-1].said == "the DCC refused: E41"
        await world.wan_round()
        assert await world.state(order_id) == "confirmed"

    run(story)


def test_another_requests_acknowledgement_is_none(world: SupplierWorld) -> None:
    """By WAN: an acknowledgement of an earlier request is no word on this one; the same octets go again."""

    async def story() -> None:
        await world.place("read_meter_balance", roads=("wan",))
        await world.work()
        await world.wan_round()
        world.wire.forge = world.wire.answers[-1]
        world.clock.pass_s(1)
        order_id = await world.place("read_meter_balance", roads=("wan",))
        await world.work()
        order = await world.order(order_id)
        assert (order.state, order.attempts[-1].state) == (State.AT_LARGE, AttemptState.HANDED_ON)
        assert "belongs to request" in order.why
        assert order.returning is Return.NOT_NEEDED
        world.wire.forge = None
        world.clock.pass_s(100)
        await world.work()
        assert (await world.order(order_id)).attempts[-1].state is AttemptState.TAKEN_BY_DCC
        assert world.wire.sent[-1] == world.wire.sent[-2]

    run(story)


def test_a_counter_that_the_dcc_finds_too_low_is_taken_anew(world: SupplierWorld) -> None:
    """Another head-end of ours used higher counters: the order is made again with the next one, and succeeds."""

    async def story() -> None:
        ahead = world.clock.ms + 5_000
        world.dsp.now = world.clock.ms // 1000
        world.dsp.local_command(dsp_world.read_balance(ahead))
        order_id = await world.place("read_meter_balance")
        await world.worker.step(order_id)
        for _ in range(4):
            await world.worker.step(order_id)
        assert "order_made_again" in told(world, order_id)
        world.clock.pass_s(10)
        await world.work()
        await world.carry()
        assert await world.state(order_id) == "confirmed"

    run(story)


# --- what agents say


def test_receipts_late_twice_and_out_of_order(world: SupplierWorld) -> None:
    """The Response first, everything else after it and twice: confirmed once, one credit, one document."""

    async def story() -> None:
        order_id = await world.place("top_up", values={"amount_pence": 200})
        await world.work()
        envelope = await world.poll()
        assert envelope is not None
        response = world.execute(envelope.command)
        for kind in (ReceiptKind.RESPONSE, ReceiptKind.TAKEN_BY_TUNNEL, ReceiptKind.TAKEN, ReceiptKind.EXPIRED) * 2:
            await world.say(envelope, kind, response if kind is ReceiptKind.RESPONSE else None)
            assert await world.state(order_id) == "confirmed"
        assert (await world.names(order_id)).count("response") == 1
        assert told(world, order_id).count("order_confirmed") == 1
        attempt = (await world.order(order_id)).attempts[-1]
        assert attempt.state is AttemptState.ANSWERED

    run(story)


def test_receipts_alone_confirm_nothing(world: SupplierWorld) -> None:
    """T21: whatever an agent says, only a Response made by the meter confirms; forged ones are named in the audit."""

    async def story() -> None:
        order_id = await world.place("arm_supply")
        await world.work()
        envelope = await world.poll()
        assert envelope is not None
        genuine = world.execute(envelope.command)
        other = world.execute(own.arm(10**15, target=OTHER_ESME), OTHER_ESME)
        forged = [b"rubbish", envelope.command, genuine[:-1], genuine[:-1] + bytes([genuine[-1] ^ 1]), other]
        for kind in (ReceiptKind.TAKEN, ReceiptKind.TAKEN_BY_TUNNEL, ReceiptKind.REFUSED, ReceiptKind.EXPIRED):
            await world.say(envelope, kind)
        for message in forged:
            await world.say(envelope, ReceiptKind.RESPONSE, message)
        assert await world.state(order_id) == "at_large"
        refused = [e.entry for e in await world.store.audit(0, 1000) if e.entry.event == "response_refused"]
        assert len(refused) >= 3
        await world.say(envelope, ReceiptKind.RESPONSE, genuine)
        assert await world.state(order_id) == "confirmed"

    run(story)


def test_an_old_response_does_not_confirm_a_new_order(world: SupplierWorld) -> None:
    """T23: the Response to the order before it, genuine and from the same meter, proves nothing for this one."""

    async def story() -> None:
        await world.place("read_meter_balance")
        await world.work()
        first = await world.poll()
        assert first is not None
        old = world.execute(first.command)
        await world.say(first, ReceiptKind.RESPONSE, old)
        world.clock.pass_s(1)
        order_id = await world.place("read_meter_balance")
        await world.work()
        second = await world.poll()
        assert second is not None
        await world.say(second, ReceiptKind.RESPONSE, old)
        assert await world.state(order_id) == "at_large"

    run(story)


def test_an_agent_speaks_only_for_itself(world: SupplierWorld) -> None:
    """Another home's agent gets no envelope of this home, and its receipts for it change nothing."""

    async def story() -> None:
        order_id = await world.place("arm_supply")
        await world.work()
        assert await world.poll(DARK_PPMID) is None
        envelope = await world.poll()
        assert envelope is not None
        response = world.execute(envelope.command)
        await world.say(envelope, ReceiptKind.RESPONSE, response, agent=DARK_PPMID)
        await world.say(replace(envelope, order_id="other"), ReceiptKind.RESPONSE, response)
        await world.say(replace(envelope, command=b"other"), ReceiptKind.TAKEN)
        assert await world.state(order_id) == "at_large"
        assert (await world.order(order_id)).attempts[-1].state is AttemptState.HANDED_ON
        assert len(world.told.of("receipt_refused")) == 3
        with pytest.raises(RelayDecodeError):
            await world.delivery.receipt(PPMID, b"{}")

    run(story)


def test_an_unacknowledged_envelope_goes_again(world: SupplierWorld) -> None:
    """The same octets after some seconds, until the agent says that it has them; then never again."""

    async def story() -> None:
        order_id = await world.place("arm_supply")
        await world.work()
        first = await world.poll()
        assert await world.poll() is None
        world.clock.pass_s(world.policy.redeliver_after_s)
        world.restart()
        again = await world.poll()
        assert again is not None
        assert first is not None
        assert again == replace(first, sent_at=again.sent_at)
        assert (await world.order(order_id)).attempts[0].tries == 2
        await world.say(again, ReceiptKind.TAKEN)
        world.clock.pass_s(1000)
        assert await world.poll() is None

    run(story)


def test_an_agent_that_refused_is_not_asked_again(world: SupplierWorld) -> None:
    """What it said is kept; the order stays at large, since its word proves nothing."""

    async def story() -> None:
        order_id = await world.place("arm_supply")
        await world.work()
        envelope = await world.poll()
        assert envelope is not None
        await world.say(envelope, ReceiptKind.REFUSED)
        world.clock.pass_s(100)
        assert await world.poll() is None
        order = await world.order(order_id)
        assert (order.state, order.attempts[0].said) == (State.AT_LARGE, "refused: another_hub")

    run(story)


def test_nothing_is_handed_on_at_or_past_the_deadline(world: SupplierWorld) -> None:
    """I3: sealed in time but not fetched in time: never handed over, and it ends expired unsent."""

    async def story() -> None:
        order_id = await world.place("arm_supply", deadline_s=60)
        await world.work()
        assert await world.state(order_id) == "sealed"
        world.clock.pass_s(60)
        assert await world.poll() is None
        await world.work()
        assert await world.state(order_id) == "expired_unsent"
        assert await world.poll() is None

    run(story)


def test_at_large_past_its_deadline(world: SupplierWorld) -> None:
    """It is unknown and alarmed, not failed and not sent again; a late Response confirms it late."""

    async def story() -> None:
        order_id = await world.place("arm_supply", deadline_s=60)
        await world.work()
        envelope = await world.poll()
        assert envelope is not None
        world.clock.pass_s(60)
        await world.work()
        assert await world.state(order_id) == "unknown"
        assert order_view(await world.order(order_id))["alarm"] is True
        assert await world.poll() is None
        await world.say(envelope, ReceiptKind.RESPONSE, world.execute(envelope.command))
        assert await world.state(order_id) == "confirmed_late"

    run(story)


def test_the_meter_refuses(world: SupplierWorld) -> None:
    """A verified Response that says no ends the order as refused by device, with the meter's results."""

    async def story() -> None:
        order_id = await world.place("top_up", values={"amount_pence": 300})
        await world.work()
        envelope = await world.poll()
        assert envelope is not None
        order = await world.order(order_id)
        wrong = own.top_up((order.originator_counter or 0) >> 32, "7" * 19 + "0")
        response = world.execute(wrong)
        await world.say(envelope, ReceiptKind.RESPONSE, response)
        order = await world.order(order_id)
        assert order.state is State.REFUSED_BY_DEVICE
        assert "refused" in order.why

    run(story)


# --- lanes


def test_one_in_flight_per_lane(world: SupplierWorld) -> None:
    """The second ordinary Command waits for the first's end and says so; a top-up and another home do not wait."""

    async def story() -> None:
        first = await world.place("arm_supply")
        second = await world.place("read_meter_balance")
        top_up = await world.place("top_up", values={"amount_pence": 100})
        elsewhere = await world.place("read_meter_balance", device=OTHER_ESME)
        await world.work()
        assert [await world.state(o) for o in (first, second, top_up, elsewhere)] == ["sealed", "accepted"] + 2 * [
            "sealed"
        ]
        assert order_view(await world.order(second))["why_waiting"] == (
            f"waits for order {first}: one Command in flight per lane"
        )
        await world.carry()
        await world.work()
        assert await world.state(second) == "sealed"
        counters = [(await world.order(o)).originator_counter or 0 for o in (first, second)]
        assert counters[0] < counters[1]

    run(story)


def test_an_order_without_a_road_is_overtaken(world: SupplierWorld) -> None:
    """It blocks nobody while its road is closed; once it is open, it waits for whoever holds the lane, at rest."""

    async def story() -> None:
        good = world.devices[ESME]
        world.devices[ESME] = replace(good, wan=WanCoverage.DOWN)
        first = await world.place("read_meter_balance", roads=("wan",))
        second = await world.place("arm_supply")
        await world.work()
        assert [await world.state(o) for o in (first, second)] == ["accepted", "sealed"]
        world.devices[ESME] = good
        await world.work()
        assert "one Command in flight" in (await world.order(first)).why
        await world.carry()
        await world.work()
        assert await world.state(first) == "at_large"

    run(story)


def test_unknown_lets_the_lane_go_on(world: SupplierWorld) -> None:
    """What is unknown does not block the meter for ever: the next, higher counter makes it harmless."""

    async def story() -> None:
        first = await world.place("arm_supply", deadline_s=60)
        await world.work()
        envelope = await world.poll()
        assert envelope is not None
        second = await world.place("read_meter_balance")
        world.clock.pass_s(60)
        await world.work()
        assert [await world.state(first), await world.state(second)] == ["unknown", "sealed"]
        await world.carry()
        assert await world.state(second) == "confirmed"
        assert world.meters[ESME].receive(envelope.command, world.clock.ms // 1000) == []

    run(story)


# --- the loop


def test_the_loop_wakes_by_itself(world: SupplierWorld) -> None:
    """Many orders placed while it runs: each is moved on in its turn without being asked."""

    async def story() -> None:
        queue = MemoryQueue(world.jobs, lambda: world.clock.ms / 1000)
        world.worker.attach(queue)
        loop = asyncio.create_task(queue.run())
        first = await world.place("arm_supply")
        rest = [await world.place("read_meter_balance") for _ in range(5)]
        for expected in (first, *rest):
            envelope = None
            while envelope is None:
                envelope = await world.delivery.next_envelope(PPMID, 5)
            read = decode_envelope(envelope)
            assert read.order_id == expected
            await world.say(read, ReceiptKind.RESPONSE, world.execute(read.command))
        while await world.store.open_orders():
            await world.store.wait_for_change(world.store.changes, 5)
        assert {(await world.order(o)).returning for o in (first, *rest)} == {Return.DONE}
        assert not loop.done()
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop

    run(story)


# --- the desk


def test_cancelling_in_time_and_too_late(world: SupplierWorld) -> None:
    """Before anything left it is cancelled and never sent; after that, and for told digits, the desk says too late."""

    async def story() -> None:
        first = await world.place("arm_supply")
        await world.work()
        view = await world.desk.cancel(first)
        assert view is not None
        assert view["state"] == "cancelled"
        assert await world.poll() is None
        second = await world.place("arm_supply")
        top_up = await world.place("top_up", values={"amount_pence": 100})
        with pytest.raises(TooLate, match="digits were told"):
            await world.desk.cancel(top_up)
        await world.work()
        while await world.poll() is not None:
            pass
        for order_id in (second, top_up):
            with pytest.raises(TooLate):
                await world.desk.cancel(order_id)
        assert await world.desk.cancel("other") is None

    run(story)


def test_the_same_key_is_the_same_order(world: SupplierWorld) -> None:
    """A repeated POST with one key is one order with one code; another body under that key is refused."""

    async def story() -> None:
        body: dict[str, object] = {
            "device_id": ESME.hex(), "service": "top_up", "values": {"amount_pence": 500}, "deadline_s": 60,
            "roads": ["ppmid"], "idempotency_key": "till 4, 1234",
        }  # fmt: skip
        first = await world.desk.place(body)
        world.clock.pass_s(5)
        assert await world.desk.place(body) == first
        with pytest.raises(KeyReused):
            await world.desk.place(body | {"values": {"amount_pence": 600}})
        assert len(await world.desk.orders(10)) == 1

    run(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_id": "00"}, {"device_id": "zz" * 8}, {"device_id": "11" * 8}, {"device_id": None}, {"service": 1},
        {"roads": []}, {"roads": ["ppmid", "ppmid"]}, {"roads": ["code"]}, {"roads": "ppmid"}, {"deadline_s": 0},
        {"deadline_s": 10**9}, {"deadline_s": "60"}, {"reason": 5}, {"reason": "x" * 501}, {"priority": 10},
        {"values": {"x": 1}}, {"idempotency_key": "k" * 201}, {"reason": "a\x00"},
    ],
)  # fmt: skip
def test_a_wrong_order_is_refused_with_its_reason(world: SupplierWorld, wrong: dict[str, object]) -> None:
    """Each wrong part is named; nothing is stored."""

    async def story() -> None:
        body: dict[str, object] = {
            "device_id": ESME.hex(), "service": "arm_supply", "deadline_s": 60, "roads": ["ppmid"],
        }  # fmt: skip
        with pytest.raises(OrderRefused):
            await world.desk.place(body | wrong)
        assert await world.desk.orders(10) == []

    run(story)


# --- all the time


def test_the_audit_tells_the_whole_story(world: SupplierWorld) -> None:
    """Every change of state has its entry, in order, and the chain verifies."""

    async def story() -> None:
        order_id = await world.place("arm_supply")
        await world.work()
        await world.carry()
        await world.work()
        entries = await world.store.audit(0, 1000)
        audit.verify(entries)
        states = [e.entry.to_state for e in entries if e.entry.order_id == order_id and e.entry.to_state]
        assert states == ["accepted", "prepared", "sealed", "at_large", "confirmed"]
        events = [e.entry.event for e in entries]
        assert events == [
            "order_accepted", "road_chosen", "counter_taken", "order_prepared", "order_sealed", "command_handed_on",
            "command_taken_by_agent", "command_taken_by_tunnel", "response_verified", "response_returned_to_dcc",
        ]  # fmt: skip

    run(story)


def test_documents_that_the_dcc_did_not_send_are_refused(world: SupplierWorld) -> None:
    """Receive Response takes what the DSP signed and sent over its own connection; anything else is refused."""

    async def story() -> None:
        order_id = await world.place("read_meter_balance", roads=("wan",))
        await world.work()
        documents = await world.wan_round()
        assert await world.state(order_id) == "confirmed"
        (document,) = documents
        assert not await world.delivery.receive_response(OTHER_SUPPLIER, document)
        assert not await world.delivery.receive_response(SUPPLIER, document)
        assert not await world.delivery.receive_response(BROKER, document.replace(b"I0", b"I1"))
        assert await world.delivery.receive_response(BROKER, document)
        assert (await world.names(order_id)).count("response") == 1

    run(story)


def test_the_dcc_says_that_it_could_not_deliver(world: SupplierWorld) -> None:
    """E20 pushed later is noted at the attempt; the order stays at large, since nothing proves that it never left."""

    async def story() -> None:
        order_id = await world.place("read_meter_balance", roads=("wan",))
        await world.work()
        assert await world.delivery.receive_response(BROKER, forged(world, None, "E20"))
        order = await world.order(order_id)
        assert order.state is State.AT_LARGE
        assert order.attempts[-1].said == "the DCC says E20"

    run(story)


def test_the_lanes_are_the_catalogues(world: SupplierWorld) -> None:
    """A top-up's counter comes from its own lane and never touches the ordinary one."""

    async def story() -> None:
        await world.place("top_up", values={"amount_pence": 100})
        order_id = await world.place("read_meter_balance")
        await world.work()
        assert (await world.order(order_id)).originator_counter == world.clock.ms
        assert await world.store.next_counter(ESME, Lane.TOP_UP, 0) == world.clock.ms // 1000 + 1

    run(story)
