"""The worker: moves every open order on, from *accepted* to the bearer's door, and ends what its deadline ends.

The rules kept here:

- All it knows is in the store. After a restart it reads the open orders and goes on; a step done twice is a document
  sent twice, which the DCC answers as it did the first time.
- What is about to be sent is stored before it is sent, and *at large* before anything leaves by SM WAN.
- An order that waits says why. One step at a time per order; many orders at a time.
- Work comes from a queue whose jobs may come twice or late: each step reads the order anew, and its change is a
  compare-and-set. A deadline is a column that is swept, never a job of its own; a word that was lost is found by a look
  round.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier import class_rules, preparation, supersession
from lastmetre.supplier.counters import floor, originator_counter
from lastmetre.supplier.errors import (
    CountersExhausted,
    CountersUnavailable,
    DspUnreachable,
    DspWillNotRead,
    LaneBusy,
    PreparationFailed,
)
from lastmetre.supplier.orders import (
    BEFORE_THE_END,
    FINAL,
    WORK,
    Attempt,
    AttemptState,
    Event,
    Order,
    Return,
    Road,
    State,
    attempt_changed,
    deadline_event,
    failure_event,
    latest_attempt,
    moved,
    with_attempt,
)
from lastmetre.supplier.ports import Document
from lastmetre.supplier.preparation import Refusal
from lastmetre.supplier.roads import LOCAL, Closed, Open, Ways, choose, next_road_at, steps_of, wants_copy, way_id
from lastmetre.supplier.store_steps import Change, apply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lastmetre.supplier.counter_marks import Counters
    from lastmetre.supplier.keys import SupplierKeys
    from lastmetre.supplier.policy import Step
    from lastmetre.supplier.ports import Clock, DspPort, OrderStore, Queue, Tell
    from lastmetre.supplier.roads import Device, RoadPolicy

logger = logging.getLogger(__name__)

SWEEP_EVERY_S: Final = 1
LOOK_EVERY_S: Final = 15
SWEPT_MAX: Final = 1_000
"""Orders enqueued by one sweep; the next takes the rest."""
MADE_AGAIN_MAX: Final = 3
"""New counters for one order; a DCC that refuses three in a row has another trouble."""
LOOK_AGAIN_S: Final = 60
"""How soon a further road that is closed is looked at again where nothing says until when it is."""
LOOK_AGAIN_MAX_S: Final = 3_600


class Worker:
    """Runs the orders of one store."""

    def __init__(
        self,
        *,
        store: OrderStore,
        dsp: DspPort,
        keys: SupplierKeys,
        devices: Mapping[bytes, Device],
        policy: RoadPolicy,
        clock: Clock,
        tell: Tell,
        counters: Counters | None = None,
        random: Callable[[], float] = lambda: 0.5,
    ) -> None:
        """``counters`` hands out counters, the store itself where nothing is given; ``random`` spreads the waits."""
        self._random = random
        self._counters: Counters = counters or store
        self._store = store
        self._dsp = dsp
        self._keys = keys
        self._devices = devices
        self._policy = policy
        self._clock = clock
        self._tell = tell
        self._busy: set[str] = set()
        self._passed_over: set[str] = set()
        self._queue: Queue | None = None
        self._returns = asyncio.Lock()  # 8.13 leaves in the order of its counters

    def _now(self) -> int:
        return self._clock.now_ms() // 1000

    # -- the queue -----------------------------------------------------------------------------------------------

    def attach(self, queue: Queue, *, sweep_every_s: int = SWEEP_EVERY_S, look_every_s: int = LOOK_EVERY_S) -> None:
        """Takes its work from this queue, whose ``run`` then does it."""
        self._queue = queue
        queue.handler(WORK, self.work)
        queue.cron("orders_due", sweep_every_s, self.sweep)
        queue.cron("orders_all", look_every_s, self.look_round)

    async def work(self, order_id: str) -> None:
        """Moves one order on as far as it goes now; what comes meanwhile is looked at before this ends."""
        if order_id in self._busy:
            self._passed_over.add(order_id)
            return
        self._busy.add(order_id)
        try:
            again = True
            while again:
                self._passed_over.discard(order_id)
                moved_on = await self._safe_step(order_id)
                again = moved_on or order_id in self._passed_over
        finally:
            self._busy.discard(order_id)
            self._passed_over.discard(order_id)

    async def _safe_step(self, order_id: str) -> bool:
        try:
            return await self.step(order_id)
        except Exception as error:  # one order's trouble is not the others'; it is tried again later and says why
            logger.exception("order %s could not be moved on", order_id)
            with contextlib.suppress(Exception):
                await self._troubled(order_id, error)
            return False

    async def sweep(self) -> None:
        """Deadlines, retries and next roads whose time has come."""
        await self._enqueue(await self._store.due(self._now(), SWEPT_MAX))

    async def look_round(self) -> None:
        """Everything with something to do, whatever became of its job: no lost word leaves an order lying."""
        await self._enqueue([order.order_id for order in await self._store.open_orders() if self.is_due(order)])

    async def _enqueue(self, order_ids: list[str]) -> None:
        assert self._queue is not None, "a worker sweeps for the queue it is attached to"
        for order_id in order_ids:
            if order_id not in self._busy:
                await self._queue.enqueue(WORK, order_id, once=True)

    def is_due(self, order: Order) -> bool:
        """Whether there is something to do for it now."""
        now = self._now()
        if order.state in BEFORE_THE_END and now >= order.deadline_at:
            return True
        if order.retry_at > now:
            return False
        match order.state:
            case State.AT_LARGE:
                return (
                    self._wants_road(order) or self._unsent_by_wan(order) is not None or order.returning is Return.DUE
                )
            case State.SEALED:
                return self._wants_road(order)
            case State.ACCEPTED if order.road is Road.CODE:
                return self._wants_road(order)
            case _:
                working = {State.ACCEPTED, State.PREPARED, State.SUPERSEDING}
                return order.state in working or order.returning is Return.DUE

    def _wants_road(self, order: Order) -> bool:
        return 0 < order.next_road_at <= self._now()

    async def step(self, order_id: str) -> bool:
        """Moves one order one step; whether anything changed."""
        order = await self._store.order(order_id)
        if order is None or not self.is_due(order):
            return False
        if order.state in BEFORE_THE_END and self._now() >= order.deadline_at:
            return await self._deadline(order)
        try:
            match order.state:
                case State.ACCEPTED:
                    return await self._accepted(order)
                case State.PREPARED:
                    return await self._prepared(order)
                case State.SEALED | State.AT_LARGE if self._wants_road(order):
                    return await self._next_road(order)
                case State.AT_LARGE if self._unsent_by_wan(order) is not None:
                    return await self._send_again(order)
                case State.SUPERSEDING:
                    return await self._superseding(order)
                case _:
                    return await self._return_response(order)
        except DspUnreachable as error:
            return await self._later(order, f"the DCC cannot be reached: {error}")
        except CountersUnavailable as error:
            return await self._later(order, str(error))
        except (PreparationFailed, DspWillNotRead, CountersExhausted) as error:
            return await self._failed(order, str(error))

    async def _apply(self, order: Order, change: Change, **facts: str | int | bool | None) -> Order | None:
        stored = await apply(self._store, order, change, self._now())
        if stored is not None:
            self._tell(
                change.event,
                order_id=order.order_id,
                device_id=order.device_id.hex(),
                service=order.service,
                detail=change.detail,
                **facts,
            )
        return stored

    async def _move(
        self, order: Order, event: Event, change_event: str, why: str = "", documents: tuple[Document, ...] = ()
    ) -> bool:
        after = moved(order, event, self._now(), why)
        assert after is not None, f"the table has no row for {order.state} and {event}"
        return await self._apply(order, Change(after, change_event, why, documents)) is not None

    # -- waiting and failing -------------------------------------------------------------------------------------

    async def _deadline(self, order: Order) -> bool:
        event = deadline_event(order)
        why = order.why if order.state is State.ACCEPTED else ""
        after = moved(order, event, self._now(), why)
        assert after is not None
        return await self._apply(order, Change(after, f"order_{after.state.value}", why)) is not None

    async def _waits(self, order: Order, why: str) -> bool:
        """Notes why it waits, once."""
        if order.why == why:
            return False
        return await self._apply(order, Change(replace(order, why=why), "order_waits", why)) is not None

    async def _later(self, order: Order, why: str) -> bool:
        wait_s = self._varied(
            min(self._policy.resend_after_s * 2 ** min(order.failures, 20), self._policy.resend_max_s)
        )
        ended = order.state in FINAL  # only its Response waits; why it ended stays
        after = replace(
            order, why=order.why if ended else why, failures=order.failures + 1, retry_at=self._now() + wait_s
        )
        event = "response_return_waits" if ended else "order_waits"
        return await self._apply(order, Change(after, event, why)) is not None

    def _varied(self, wait_s: int) -> int:
        """A wait made a little longer or shorter by chance."""
        return max(1, round(wait_s * (1 + self._policy.jitter_percent / 100 * (2 * self._random() - 1))))

    async def _troubled(self, order_id: str, error: Exception) -> bool:
        order = await self._store.order(order_id)
        return order is not None and await self._later(order, f"something is wrong here, see the log: {error}")

    async def _failed(self, order: Order, why: str) -> bool:
        if order.returning is Return.DUE:
            given_up = replace(order, returning=Return.GIVEN_UP, retry_at=0, failures=0)
            return await self._apply(order, Change(given_up, "response_not_returned", why)) is not None
        if order.state in {State.ACCEPTED, State.PREPARED}:
            after = moved(order, failure_event(order), self._now(), why)
            assert after is not None
            return await self._apply(order, Change(after, f"order_{after.state.value}", why)) is not None
        if order.state is State.AT_LARGE:
            return await self._later(order, why)  # an answer that says nothing does not undo that it may have left
        return False

    async def _refused(self, order: Order, refusal: Refusal) -> bool:
        """The DCC's no. A counter it found too low is taken anew: nothing was done with the old one."""
        why = f"the DCC refused: {refusal.code}"
        again = refusal.code == preparation.COUNTER_TOO_LOW and order.lane is Lane.ORDINARY
        if not again or order.failures >= MADE_AGAIN_MAX:
            return await self._failed(order, why)
        after = moved(order, Event.MADE_AGAIN, self._now(), why) if order.state is State.PREPARED else order
        assert after is not None
        after = replace(preparation.with_counter_anew(after), failures=order.failures + 1, why=why)
        return await self._apply(order, Change(after, "order_made_again", why)) is not None

    async def _superseding(self, order: Order) -> bool:
        superseder = await self._store.order(order.superseded_by)
        change = supersession.outcome(order, superseder, self._now())
        return change is not None and await self._apply(order, change) is not None

    # -- accepted: road, lane, counter, request ------------------------------------------------------------------

    async def _accepted(self, order: Order) -> bool:
        device = self._devices[order.device_id]
        if not order.lane_held:
            way = await self._way(order, device)
            if isinstance(way, Closed):
                return await self._waits(order, way.why)
            chosen = self._taken(order, way, device)
            return await (self._by_code(chosen, order) if way.road is Road.CODE else self._take_lane(chosen, order))
        if order.originator_counter is None:
            value = await self._counters.next_counter(
                order.device_id, order.lane, floor(order.lane, self._clock.now_ms())
            )
            counter = originator_counter(order.lane, value)
            after = replace(order, originator_counter=counter, why="")
            return await self._apply(order, Change(after, "counter_taken", str(counter))) is not None
        return await self._prepare(order, device)

    async def _way(self, order: Order, device: Device) -> Open | Closed:
        """The first of its roads that its class may use and that is open; or every reason why there is none.

        A road that was taken before is taken again only when all were.
        """
        steps, closed = class_rules.permitted(order, device, steps_of(order, self._policy))
        fresh = tuple(step for step in steps if step.road not in order.opened) or steps
        way = choose(order, fresh, await self._ways(device)) if fresh else Closed("")
        if isinstance(way, Open):
            return way
        return Closed("; ".join(filter(None, (*closed, way.why))), way.until)

    async def _ways(self, device: Device) -> Ways:
        known = {(way, road) for road in Road if (way := way_id(device, road)) is not None}
        facts = await self._store.road_facts(frozenset(known))
        return Ways(device, self._keys.dsp_id, self._now(), self._policy, facts)

    def _taken(self, order: Order, way: Open, device: Device) -> Order:
        """The order with this road taken, and the moment at which the next one is due."""
        steps = steps_of(order, self._policy)
        unlike = tuple(road for road in order.opened if road is not way.road)
        copy = way.road is Road.WAN and wants_copy(order, self._copies(order, device, steps), self._now_ways(device))
        return replace(
            order,
            road=way.road,
            carrier_id=way.carrier_id or order.carrier_id,
            opened=(*unlike, way.road),
            with_copy=copy,
            next_road_at=next_road_at(order, steps, way.road, device, self._now()),
            why="",
        )

    def _now_ways(self, device: Device) -> Ways:
        return Ways(device, self._keys.dsp_id, self._now(), self._policy)

    def _copies(self, order: Order, device: Device, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Steps for which a copy is worth having: not those that its class may never use, whoever approves."""
        approved = replace(order, approved_by=order.approved_by or "somebody")
        return class_rules.permitted(approved, device, steps)[0]

    async def _by_code(self, chosen: Order, order: Order) -> bool:
        """The customer keys the digits in: nothing is sealed meanwhile."""
        if order.road is Road.CODE and not self._wants_road(order):
            return False
        change = Change(chosen, "road_chosen", f"{Road.CODE.value}: the digits were told")
        return await self._apply(order, change) is not None

    async def _take_lane(self, chosen: Order, order: Order) -> bool:
        """One at a time, in the order in which they came: arm after disable is another thing than disable after arm."""
        queue = await self._store.lane_queue(order.device_id, order.lane)
        for other in queue:
            if other.lane_held:
                return await self._waits(order, f"waits for order {other.order_id}: one Command in flight per lane")
        for other in itertools.takewhile(lambda other: other.order_id != order.order_id, queue):
            way = await self._way(other, self._devices[order.device_id])
            by_code = isinstance(way, Open) and way.road is Road.CODE
            if isinstance(way, Open) and not by_code:  # one that has no road now is overtaken; it goes when it has one
                return await self._waits(order, f"waits for order {other.order_id}, which came first")
        assert chosen.road is not None
        try:
            after = replace(chosen, lane_held=True)
            return await self._apply(order, Change(after, "road_chosen", chosen.road.value)) is not None
        except LaneBusy:
            return False  # somebody was quicker; that change wakes us

    async def _prepare(self, order: Order, device: Device) -> bool:
        request = preparation.first_request(order, self._keys)
        document = preparation.signed_request(request, self._keys)
        asked = Document("service_request", self._now(), document)
        code = preparation.message_code_of(request, device, self._keys)
        if not preparation.is_critical(order):
            after = moved(replace(order, message_code=code), Event.PREPARED, self._now())
            assert after is not None
            return await self._apply(order, Change(after, "order_prepared", documents=(asked,))) is not None
        answer = await self._dsp.transform(document)
        signed = preparation.sign_if_correlated(order, request, answer, device, self._keys, self._now())
        if isinstance(signed, Refusal):
            return await self._refused(order, signed)
        signed_request, code = signed
        signed_document = preparation.signed_request(signed_request, self._keys)
        after = moved(replace(order, message_code=code), Event.PREPARED, self._now())
        assert after is not None
        documents = (
            asked,
            Document("pre_command", self._now(), answer),
            Document("signed_pre_command", self._now(), signed_document),
        )
        detail = "the Pre-Command says what was asked; signed"
        return await self._apply(order, Change(after, "order_prepared", detail, documents)) is not None

    # -- prepared: to the DCC ------------------------------------------------------------------------------------

    async def _sent_document(self, order: Order) -> bytes:
        return preparation.sent_document(await self._store.documents(order.order_id))

    async def _prepared(self, order: Order) -> bool:
        document = await self._sent_document(order)
        if order.road is Road.WAN:
            return await self._send_by_wan(order, document)
        answer = await self._dsp.non_device(document)
        device = self._devices[order.device_id]
        command = preparation.read_command(order, document, answer, device, self._keys, self._now())
        if isinstance(command, Refusal):
            return await self._refused(order, command)
        after = moved(replace(order, command=command), Event.SEALED, self._now())
        assert after is not None
        documents = (Document("local_command", self._now(), answer), Document("command", self._now(), command))
        stored = await self._apply(order, Change(after, "order_sealed", documents=documents), message=command.hex())
        return stored is not None

    async def _send_by_wan(self, order: Order, document: bytes) -> bool:
        after = moved(order, Event.HANDED_ON, self._now())
        assert after is not None
        after = with_attempt(after, Road.WAN, self._keys.dsp_id, self._now(), self._policy.cost(Road.WAN))
        stored = await self._apply(order, Change(after, "command_handed_on", "to the DCC, by SM WAN"))
        if stored is None:
            return True
        try:
            await self._hand_to_dcc(stored, document, first=True)
        except DspUnreachable as error:
            await self._later(stored, f"the DCC cannot be reached: {error}")
        except (PreparationFailed, DspWillNotRead) as error:
            await self._failed(stored, str(error))
        return True

    def _unsent_by_wan(self, order: Order) -> Attempt | None:
        """The attempt by SM WAN of which we do not know that the DCC has it."""
        attempt = latest_attempt(order, Road.WAN, self._keys.dsp_id)
        return attempt if attempt is not None and attempt.state is AttemptState.HANDED_ON and not attempt.said else None

    async def _send_again(self, order: Order) -> bool:
        """The same octets; whether the first ones arrived is not known."""
        attempt = self._unsent_by_wan(order)
        assert attempt is not None
        after = attempt_changed(order, attempt, self._now(), again=True, cost=self._policy.cost(Road.WAN))
        stored = await self._apply(order, Change(after, "command_handed_on_again", "to the DCC, the same octets"))
        if stored is not None:
            await self._hand_to_dcc(stored, await self._sent_document(stored), first=False)
        return True

    async def _hand_to_dcc(self, order: Order, document: bytes, *, first: bool) -> None:
        answer = preparation.read_acknowledgement(
            document, await self._dsp.send_command(document), self._keys, self._now()
        )
        attempt = latest_attempt(order, Road.WAN, self._keys.dsp_id)
        assert attempt is not None
        if not isinstance(answer, Refusal):
            after = attempt_changed(order, attempt, self._now(), state=AttemptState.TAKEN_BY_DCC, said=answer.code)
            await self._apply(order, Change(replace(after, why=""), "command_taken_by_dcc", answer.code))
            return
        why = f"the DCC refused: {answer.code}"
        noted = attempt_changed(order, attempt, self._now(), said=why)
        if not first or len(order.sent) > 1:
            await self._apply(order, Change(replace(noted, why=why), "command_refused_by_dcc", why))
            return
        other = await self._other_road(noted, why)
        if other is not None:
            await self._apply(order, other)
        elif not order.code_out:
            after_refusal = moved(noted, Event.REFUSED_BY_DCC, self._now(), why)
            assert after_refusal is not None
            await self._apply(order, Change(after_refusal, f"order_{after_refusal.state.value}", why))
        else:
            await self._apply(order, Change(replace(noted, why=why), "command_refused_by_dcc", why))

    # -- the next road -------------------------------------------------------------------------------------------

    async def _next_road(self, order: Order) -> bool:
        """The road before brought no answer in time, or failed: another, with the same octets if any left."""
        device = self._devices[order.device_id]
        steps, closed = class_rules.permitted(order, device, steps_of(order, self._policy))
        fresh = tuple(step for step in steps if step.road not in order.opened and step.road is not Road.CODE)
        local = tuple(step for step in fresh if step.road in LOCAL) if order.command else ()
        way = choose(order, local, await self._ways(device)) if local else Closed("")
        if isinstance(way, Open):
            after = self._taken(order, way, device)
            after = replace(after, with_copy=order.with_copy)
            detail = f"{way.road.value}, the same octets: {_because(order)}"
            return await self._apply(order, Change(after, "road_added", detail)) is not None
        # Only what is proven not to have left is made again: sealed, and no carrier has it.
        other = await self._other_road(order, _because(order)) if order.state is State.SEALED else None
        if other is not None:
            return await self._apply(order, other) is not None
        return await self._no_road_yet(order, fresh, Closed("; ".join(filter(None, (*closed, way.why))), way.until))

    async def _no_road_yet(self, order: Order, fresh: tuple[Step, ...], way: Closed) -> bool:
        """It stays on the roads it has; when to look again, if that can help."""
        why = way.why
        if fresh and not order.command and order.state is State.AT_LARGE:
            why = "no copy of the Command came from the DCC, and the same order must not be sealed twice"
        if fresh and all(step.road is Road.WAN for step in fresh):
            why, fresh = "it was sealed for local delivery and has left: the DCC cannot send it", ()
        # Later and later: an order of weeks does not fill the audit with what it still cannot do.
        again_s = max(LOOK_AGAIN_S, self._now() - order.accepted_at)
        look_at = (way.until or self._now() + min(again_s, LOOK_AGAIN_MAX_S)) if fresh else 0
        after = replace(order, next_road_at=look_at, why=f"no other road: {why}" if why else order.why)
        return await self._apply(order, Change(after, "no_other_road", after.why)) is not None

    async def _other_road(self, order: Order, why: str) -> Change | None:
        """What was prepared for one road and proven not to have left, thrown away for another; ``None``: not here.

        Only on the ordinary lane: a top-up's counter is in its digits, and one RequestID is sealed once.
        """
        device = self._devices[order.device_id]
        steps, _ = class_rules.permitted(order, device, steps_of(order, self._policy))
        fresh = tuple(step for step in steps if step.road not in order.opened and step.road is not Road.CODE)
        if order.lane is not Lane.ORDINARY or not fresh:
            return None
        way = choose(order, fresh, await self._ways(device))
        after = moved(order, Event.OTHER_ROAD, self._now(), why) if isinstance(way, Open) else None
        if after is None:
            return None
        after = replace(after, command=b"", message_code=None, next_road_at=0)
        return Change(after, "order_made_again", f"for another road: {why}")

    # -- afterwards: SRV 8.13 ------------------------------------------------------------------------------------

    async def _return_response(self, order: Order) -> bool:
        async with self._returns:
            value = await self._counters.next_counter(
                self._keys.dsp_id, Lane.ORDINARY, floor(Lane.ORDINARY, self._clock.now_ms())
            )
            sent = await self._sent_document(order)
            document = preparation.signed_request(
                preparation.return_request(order, sent, value, self._keys), self._keys
            )
            answer = await self._dsp.non_device(document)
        outcome = preparation.read_acknowledgement(document, answer, self._keys, self._now())
        if isinstance(outcome, Refusal):
            return await self._failed(order, f"the DCC refused the Response: {outcome.code}")
        after = replace(order, returning=Return.DONE, retry_at=0, failures=0)
        # Where the Response was for the DCC alone, that it took it is its word that the device made it.
        after = moved(after, Event.DCC_VERIFIED, self._now()) or after
        kept = Document("return_local_command_response", self._now(), document)
        return await self._apply(order, Change(after, "response_returned_to_dcc", outcome.code, (kept,))) is not None


def _because(order: Order) -> str:
    """Why another road is looked for."""
    return order.why or f"no answer by {'' if order.road is None else order.road.value} in time"
