"""Evidence from elsewhere: the meter's own log, the DCC's word, and what a field engineer brings back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.duis.documents import answer, build_signed_response, parse_request
from lastmetre.gbcs.catalogue import Lane
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import parse_message, read_header
from lastmetre.relay import ReceiptKind
from lastmetre.relay.hht_pack import FieldResponses, PackRefused, decode_pack, encode_responses
from lastmetre.supplier.errors import OrderRefused
from lastmetre.supplier.field import FieldDesk
from lastmetre.supplier.orders import Road, State
from lastmetre.supplier.policy import RoadPolicy
from lastmetre.supplier.read_back import Credit, proven
from lastmetre.supplier.views import order_view
from tests import dsp_world
from tests import own_world as own
from tests.own_world import BROKER, CHF, ESME, NOW, SUPPLIER
from tests.supplier_world import HOURS, an_order, supplier_world

if TYPE_CHECKING:
    from pathlib import Path

    from lastmetre.supplier.delivery import Delivery
    from lastmetre.supplier.orders import Order
    from tests.supplier_world import Run, SupplierWorld


# --- the meter's own log


def test_a_code_keyed_in_is_found_in_the_meters_log(tmp_path: Path, run: Run) -> None:
    """Only the digits went; the deadline passes: unknown, an alarm. A read of the log settles it, with the credit."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            by_code = await world.place("top_up", roads=("code",), values={"amount_pence": 700}, deadline_s=600)
            other = await world.place("top_up", roads=("code",), values={"amount_pence": 300}, deadline_s=600)
            await world.work()
            order = await world.order(by_code)
            assert order_view(order)["why_waiting"] == "its digits were told; waits for the customer to key them in"
            world.clock.pass_s(60)
            assert order.originator_counter is not None
            world.execute(own.top_up(order.originator_counter >> 32, order.utrn))  # as if keyed in: the same digits
            world.clock.pass_s(600)
            await world.work()
            assert await world.state(by_code) == await world.state(other) == "unknown"
            read = await world.place("read_top_up_log")
            await world.work()
            await world.carry()
            assert await world.state(read) == "confirmed"
            result = order_view(await world.order(read))["result"]
            assert result == {"top_ups": [{"at": NOW + 60, "millipence": 700_000}]}
            assert await world.state(by_code) == "confirmed_late"
            assert await world.state(other) == "unknown"  # nothing shows it, and it may be keyed in tomorrow

        run(story)


def _top_up(order_id: str, pence: int, at: int, state: State = State.UNKNOWN) -> Order:
    return an_order(
        order_id=order_id, utrn="0" * 20, values_json=f'{{"amount_pence":{pence}}}', accepted_at=at, changed_at=at,
        state=state, lane=Lane.TOP_UP,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("orders", "log", "settled"),
    [
        ([_top_up("a", 5, NOW)], [Credit(NOW + 9, 5_000)], ["a"]),
        ([_top_up("a", 5, NOW)], [Credit(NOW + 9, 6_000)], []),
        ([_top_up("a", 5, NOW)], [Credit(NOW - 9_000, 5_000)], []),
        ([_top_up("a", 5, NOW), _top_up("b", 5, NOW)], [Credit(NOW + 9, 5_000)], []),
        ([_top_up("a", 5, NOW), _top_up("b", 5, NOW)], [Credit(NOW + 9, 5_000), Credit(NOW + 10, 5_000)], ["a", "b"]),
        ([_top_up("a", 5, NOW), _top_up("b", 5, NOW, State.CONFIRMED)], [Credit(NOW + 9, 5_000)], []),
        ([_top_up("a", 5, NOW, State.CONFIRMED)], [Credit(NOW + 9, 5_000)], []),
        ([_top_up("a", 5, NOW), _top_up("b", 5, NOW + 9_000)], [Credit(NOW + 1, 5_000), Credit(NOW + 2, 5_000)], []),
    ],
)
def test_a_log_settles_only_what_it_shows(orders: list[Order], log: list[Credit], settled: list[str]) -> None:
    """Amount and time must fit, confirmed ones have their own entry, and where several fit nobody is named."""
    assert proven(orders, log) == settled


# --- the DCC's word


class _Answering:
    """A DCC that takes or refuses what is returned to it."""

    def __init__(self, world: SupplierWorld, code: str) -> None:
        self._world = world
        self._code = code

    async def non_device(self, xml: bytes) -> bytes:
        made = answer(parse_request(xml), self._code, self._world.clock.ms // 1000, None)
        return build_signed_response(made, dsp_world.xml_signer(BROKER))


@pytest.mark.parametrize(("code", "state"), [("I99", "confirmed_by_dcc"), ("E081303", "at_large")])
def test_a_response_for_the_dcc_is_the_dccs_to_judge(tmp_path: Path, run: Run, code: str, state: str) -> None:
    """MACed for the ACB: we cannot check it, the DSP can (SRV 8.13); what it does not take proves nothing."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            order_id = await world.place("read_meter_balance")
            await world.work()
            envelope = await world.poll()
            assert envelope is not None
            # The Command as the DCC makes it for a device that does not know us: in its own name.
            order = await world.order(order_id)
            ours, theirs = SUPPLIER, BROKER
            command = order.command.replace(ours, theirs, 1)
            world.store._orders[order_id] = replace(order, command=command)  # type: ignore[attr-defined]
            response = world.execute(order.command).replace(ours, theirs, 1)
            assert read_header(response).business_target_id == BROKER
            await world.delivery.take_response(order_id, response, Road.PPMID, own.PPMID)
            noted = await world.order(order_id)
            assert (noted.state.value, noted.returning.value) == ("at_large", "due")
            world.worker._dsp = _Answering(world, code)  # type: ignore[assignment]
            await world.work()
            assert await world.state(order_id) == state
            assert (await world.order(order_id)).returning.value in {"done", "given_up"}

        run(story)


# --- the field


def _field(world: SupplierWorld) -> tuple[FieldDesk, Delivery]:
    common = {
        "store": world.store, "keys": world.keys, "devices": world.devices, "policy": world.policy,
        "clock": world.clock, "tell": world.told,
    }  # fmt: skip
    return FieldDesk(delivery=world.delivery, **common), world.delivery  # type: ignore[arg-type]


def test_a_visit(tmp_path: Path, run: Run) -> None:
    """Orders for the engineer go into one signed pack, at large and paid for; what comes back is verified."""
    with supplier_world(tmp_path, policy=RoadPolicy(costs={Road.HHT: 6_000_000})) as world:

        async def story() -> None:
            field, _ = _field(world)
            with pytest.raises(OrderRefused, match="nothing waits for a visit"):
                await field.pack(CHF)
            arm = await world.place("arm_supply", roads=("hht",))
            top_up = await world.place("top_up", roads=("hht",), values={"amount_pence": 500})
            await world.work()
            assert order_view(await world.order(arm))["why_waiting"] == "waits for a field engineer's pack"
            data = await field.pack(CHF)
            signer = dsp_world.EveryCertificate().find_certificate(SUPPLIER, KeyUse.DIGITAL_SIGNATURE)
            assert signer is not None
            pack = decode_pack(data, signer)
            assert len(pack.commands) == 2
            for order_id in (arm, top_up):
                order = await world.order(order_id)
                assert (order.state.value, order.attempts[-1].road, order.cost) == ("at_large", Road.HHT, 6_000_000)
            responses = tuple(world.execute(command) for command in pack.commands)
            forged = responses[0][:-1] + bytes([responses[0][-1] ^ 1])
            brought = FieldResponses(CHF, SUPPLIER, pack.issued_at, (forged, *responses, b"rubbish"))
            results = await field.unpack(encode_responses(brought))
            assert [result.get("state") for result in results] == ["at_large", "confirmed", "confirmed", None]
            await world.work()
            assert {(await world.order(order_id)).returning.value for order_id in (arm, top_up)} == {"done"}
            with pytest.raises(PackRefused, match="not ours"):
                await field.unpack(encode_responses(replace(brought, issuer_id=bytes(8))))

        run(story)


def test_after_a_silent_ppmid_the_engineer_takes_the_same_octets(tmp_path: Path, run: Run) -> None:
    """PPMID, then the door: one Command on two roads; packed twice it is the same Command."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            field, _ = _field(world)
            order_id = await world.place("arm_supply", roads=("ppmid", "hht"), deadline_s=HOURS)
            await world.work()
            envelope = await world.poll()
            assert envelope is not None
            await world.say(envelope, ReceiptKind.TAKEN)
            world.clock.pass_s(HOURS // 2 + 1)
            await world.work()
            order = await world.order(order_id)
            assert order.opened == (Road.PPMID, Road.HHT)
            first, second = await field.pack(CHF), await field.pack(CHF)
            order = await world.order(order_id)
            assert [(a.road, a.tries) for a in order.attempts] == [(Road.PPMID, 1), (Road.HHT, 2)]
            assert parse_message(envelope.command).header.originator_counter == order.originator_counter
            signer = dsp_world.EveryCertificate().find_certificate(SUPPLIER, KeyUse.DIGITAL_SIGNATURE)
            assert signer is not None
            assert decode_pack(first, signer).commands == decode_pack(second, signer).commands == (envelope.command,)
            assert world.sealed() == 1
            assert ESME in world.devices

        run(story)


def test_a_command_without_an_answer_is_noted_at_its_order(tmp_path: Path, run: Run) -> None:
    """The engineer's tool got no answer: the right order says so, the audit too; nothing is proven by it."""
    with supplier_world(tmp_path) as world:

        async def story() -> None:
            field, _ = _field(world)
            arm = await world.place("arm_supply", roads=("hht",))
            top_up = await world.place("top_up", roads=("hht",), values={"amount_pence": 500})
            await world.work()
            data = await field.pack(CHF)
            signer = dsp_world.EveryCertificate().find_certificate(SUPPLIER, KeyUse.DIGITAL_SIGNATURE)
            assert signer is not None
            pack = decode_pack(data, signer)
            lost = pack.commands.index((await world.order(top_up)).command)
            reply = world.execute(pack.commands[1 - lost])
            brought = FieldResponses(CHF, SUPPLIER, pack.issued_at, (reply,), ((lost, "no answer"), (7, "no answer")))
            results = await field.unpack(encode_responses(brought))
            assert [result["order_id"] for result in results] == [arm, top_up, None]
            await world.work()
            order = await world.order(top_up)
            assert (order.state, order.attempts[-1].said) == (State.AT_LARGE, "the field engineer says: no answer")
            assert await world.state(arm) == "confirmed"
            await field.unpack(encode_responses(brought))  # the same pack once more changes nothing
            noted = [e.entry for e in await world.store.audit(0, 1000) if e.entry.event == "field_command_failed"]
            assert [entry.order_id for entry in noted] == [top_up]

        run(story)
