"""Whatever happens in whatever order: no order is lost, none is confirmed without the meter's word, no counter repeats.

A supplier, a DSP core and two meters; losses, restarts, cancels, receipts of any kind in any order, Responses to other
Commands, forged ones, and a clock that jumps. What must hold is checked after every step against what the meters did.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lastmetre.gbcs.message import read_header
from lastmetre.relay import Envelope, ReceiptKind
from lastmetre.supplier import audit
from lastmetre.supplier.errors import TooLate
from lastmetre.supplier.orders import BEFORE_THE_END, Order, State
from tests.own_world import ESME, OTHER_ESME, PPMID
from tests.supplier_world import DARK_PPMID, SupplierWorld

if TYPE_CHECKING:
    from collections.abc import Coroutine

SERVICES = st.sampled_from(["arm_supply", "disable_supply", "top_up", "read_meter_balance"])
ROADS = st.sampled_from([("ppmid",), ("wan",), ("wan", "ppmid")])
AGENTS = {ESME: PPMID, OTHER_ESME: DARK_PPMID}
SILENT = [ReceiptKind.TAKEN, ReceiptKind.TAKEN_BY_TUNNEL, ReceiptKind.EXPIRED, ReceiptKind.REFUSED]
WITHOUT_LEAVING = {State.CANCELLED, State.EXPIRED_UNSENT}
PROVEN = {State.CONFIRMED, State.CONFIRMED_LATE, State.REFUSED_BY_DEVICE}

T = TypeVar("T")


class AnyOrder(RuleBasedStateMachine):
    """One supplier's life."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.world = SupplierWorld(Path(self.folder.name) / "dsp.sqlite")
        self.placed: set[str] = set()
        self.envelopes: list[Envelope] = []
        self.responses: list[bytes] = []
        self.executed: set[tuple[bytes, int]] = set()
        self.contents: dict[tuple[bytes, int], bytes] = {}

    def teardown(self) -> None:
        try:
            self._settle()
        finally:
            self.world.close()
            self.folder.cleanup()
            self.loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def _orders(self) -> list[Order]:
        return self._do(self.world.store.orders(1000))

    # -- what happens

    @initialize(service=SERVICES)
    def begin(self, service: str) -> None:
        """There is always something to do."""
        self.place(service, ("ppmid",), ESME, 300)

    @rule(
        service=SERVICES, roads=ROADS, device=st.sampled_from([ESME, OTHER_ESME]), deadline_s=st.sampled_from([5, 300])
    )
    def place(self, service: str, roads: tuple[str, ...], device: bytes, deadline_s: int) -> None:
        values = {"amount_pence": 150} if service == "top_up" else {}
        placed = self.world.place(service, device=device, roads=roads, deadline_s=deadline_s, values=values)
        self.placed.add(self._do(placed))

    @rule(times=st.integers(1, 6))
    def work(self, times: int) -> None:
        for _ in range(times):
            for order in self._do(self.world.store.open_orders()):
                self._do(self.world.worker.step(order.order_id))

    @rule(requests=st.integers(0, 2), answers=st.integers(0, 2))
    def lose(self, requests: int, answers: int) -> None:
        self.world.wire.lose_requests, self.world.wire.lose_answers = requests, answers

    @rule(agent=st.sampled_from([PPMID, DARK_PPMID]))
    def poll(self, agent: bytes) -> None:
        envelope = self._do(self.world.poll(agent))
        if envelope is not None:
            assert self.world.clock.ms // 1000 < envelope.expires_at
            assert AGENTS[envelope.target_id] == agent
            self.envelopes.append(envelope)

    @precondition(lambda self: self.envelopes)
    @rule(data=st.data(), kind=st.sampled_from(SILENT))
    def say(self, data: st.DataObject, kind: ReceiptKind) -> None:
        envelope = data.draw(st.sampled_from(self.envelopes))
        self._do(self.world.say(envelope, kind, agent=AGENTS[envelope.target_id]))

    @precondition(lambda self: self.envelopes)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """The meter gets a Command, perhaps again."""
        envelope = data.draw(st.sampled_from(self.envelopes))
        self._meter(envelope.target_id, envelope.command)

    def _meter(self, device: bytes, command: bytes) -> list[bytes]:
        answers = self.world.meters[device].receive(command, self.world.clock.ms // 1000)
        responses = [answer for answer in answers if read_header(answer).cra == 2]
        if responses:
            self.executed.add((device, read_header(command).originator_counter))
        self.responses += responses
        return answers

    @precondition(lambda self: self.envelopes and self.responses)
    @rule(data=st.data(), agent=st.sampled_from([PPMID, DARK_PPMID]))
    def respond(self, data: st.DataObject, agent: bytes) -> None:
        """Some Response for some order, from some agent."""
        envelope = data.draw(st.sampled_from(self.envelopes))
        response = data.draw(st.sampled_from(self.responses))
        self._do(self.world.say(envelope, ReceiptKind.RESPONSE, response, agent=agent))

    @precondition(lambda self: self.envelopes and self.responses)
    @rule(data=st.data())
    def forge(self, data: st.DataObject) -> None:
        """A Response with one bit turned."""
        envelope = data.draw(st.sampled_from(self.envelopes))
        response = bytearray(data.draw(st.sampled_from(self.responses)))
        bit = data.draw(st.integers(0, len(response) * 8 - 1))
        response[bit // 8] ^= 1 << bit % 8
        self._do(self.world.say(envelope, ReceiptKind.RESPONSE, bytes(response), agent=AGENTS[envelope.target_id]))

    @rule()
    def wan(self) -> None:
        """The DSP's outbox empties."""
        for kind, body in self.world._take_out():
            if kind == "wan":
                for message in self._meter(ESME, body):
                    self.world.dsp.dsp._responses.take_from_wan(self.world.devices[ESME].hub_id, message)
            else:
                self._do(self.world.delivery.receive_response(self.world.keys.dsp_id, body))

    @rule(seconds=st.sampled_from([0, 1, 6, 400]))
    def clock(self, seconds: int) -> None:
        self.world.clock.pass_s(seconds)

    @rule()
    def restart(self) -> None:
        """Only the store is left."""
        self.world.restart()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order_id = data.draw(st.sampled_from(sorted(self.placed)))
        try:
            self._do(self.world.desk.cancel(order_id))
        except TooLate:
            order = self._do(self.world.order(order_id))
            assert order.code_out or order.state not in {State.ACCEPTED, State.PREPARED, State.SEALED}

    # -- what must hold

    @invariant()
    def none_lost(self) -> None:
        """Every order that was accepted is there, with words for why it has not ended."""
        assert {order.order_id for order in self._orders()} == self.placed

    @invariant()
    def none_confirmed_without_the_meters_word(self) -> None:
        """An order ended by a Response has one that the meter really made, to a Command that it really executed."""
        for order in self._orders():
            if order.state in PROVEN:
                assert order.response in self.responses
                assert (order.device_id, order.originator_counter) in self.executed

    @invariant()
    def what_never_left_never_ran(self) -> None:
        """Cancelled and expired unsent are true: no agent had it and no meter executed it."""
        handed = {envelope.order_id for envelope in self.envelopes}
        for order in self._orders():
            if order.state in WITHOUT_LEAVING:
                assert order.order_id not in handed
                assert (order.device_id, order.originator_counter) not in self.executed

    @invariant()
    def one_message_per_counter(self) -> None:
        """I6: a counter never names two orders, nor two contents."""
        orders = self._orders()
        names = [(o.device_id, o.originator_counter) for o in orders if o.originator_counter is not None]
        assert len(names) == len(set(names))
        for order in orders:
            if order.command:
                name = (order.device_id, read_header(order.command).originator_counter)
                assert name == (order.device_id, order.originator_counter)
                assert self.contents.setdefault(name, order.command) == order.command

    @invariant()
    def one_in_flight_per_lane(self) -> None:
        """No two orders hold one lane."""
        lanes = [(order.device_id, order.lane) for order in self._orders() if order.lane_held]
        assert len(lanes) == len(set(lanes))

    @invariant()
    def the_audit_agrees(self) -> None:
        """The chain holds, and an order is where its last entry left it."""
        entries = self._do(self.world.store.audit(0, 100_000))
        audit.verify(entries)
        last = {e.entry.order_id: e.entry.to_state for e in entries if e.entry.to_state}
        for order in self._orders():
            assert last[order.order_id] == order.state.value

    def _settle(self) -> None:
        """Once the lines are whole and every deadline is past, each order is at an end or openly unknown."""
        self.world.wire.lose_requests = self.world.wire.lose_answers = 0
        for _ in range(12):
            self._do(self.world.work())
            self.wan()
            self.world.clock.pass_s(600)
        for order in self._orders():
            assert order.state not in BEFORE_THE_END
            assert not order.lane_held
            assert (order.state is not State.FAILED_BEFORE_SEALING) or order.why.startswith("the DCC refused")


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
