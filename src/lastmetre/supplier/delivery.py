"""Delivery: Commands handed to PPMID agents, and everything that comes back, by whichever road.

The rules kept here (design sections 2 and 5; threats T14, T21-T24):

- *At large* is stored before the first octet leaves. A Command is never handed on at or past its deadline.
- A repeat is the same octets of the same Command; the agent, the hub and the meter each know it by its digest or its
  counter. A Command is repeated only while the agent has not said that it has it.
- A receipt counts only from the agent it was handed to, and for the digest that was handed on. It moves the attempt.
- A Response is believed when the device made it for this counter, whoever brought it and whenever. What is not
  believed changes nothing, is named in the audit once per kind and attempt, and is answered like anything else.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.message import read_header
from lastmetre.relay import (
    Receipt,
    ReceiptKind,
    RelayDecodeError,
    class_of,
    decode_receipt,
    encode_envelope,
    make_envelope,
)
from lastmetre.relay.permit import decode_answer
from lastmetre.supplier.audit import Entry
from lastmetre.supplier.errors import PreparationFailed
from lastmetre.supplier.orders import (
    FINAL,
    TRANSITIONS,
    AttemptState,
    Event,
    Order,
    Return,
    Road,
    State,
    attempt_changed,
    latest_attempt,
    moved,
    with_attempt,
)
from lastmetre.supplier.permits import NotNow, PermitDesk, words
from lastmetre.supplier.policy import EVERY
from lastmetre.supplier.ports import Document
from lastmetre.supplier.preparation import (
    AboutRequest,
    FromDevice,
    LocalCopy,
    checked_command,
    read_received,
    sent_document,
)
from lastmetre.supplier.read_back import SERVICE, proven
from lastmetre.supplier.responses import ForTheDcc, NotProven, Proven, credits_of, judge
from lastmetre.supplier.store_steps import Change, apply, change_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.relay.permit import Answer
    from lastmetre.supplier.keys import SupplierKeys
    from lastmetre.supplier.ports import Clock, OrderStore, Tell
    from lastmetre.supplier.roads import Device, RoadPolicy

_ATTEMPT_STATES: Final = {
    ReceiptKind.TAKEN: AttemptState.TAKEN_BY_AGENT,
    ReceiptKind.TAKEN_BY_TUNNEL: AttemptState.TAKEN_BY_TUNNEL,
}
_GAVE_UP: Final = frozenset({ReceiptKind.EXPIRED, ReceiptKind.REFUSED})
"""The Command will not go up that tunnel any more. What an agent says of a code it entered proves nothing."""
_REFUSALS_MAX: Final = 10_000
"""Refused receipts named in the audit by one run of this process; beyond it they are only told."""
SEEN_EVERY_S: Final = 60
"""How often it is written down that an agent was heard of."""


class Delivery:
    """Implements ``ports.Outbox`` for the bearers, and takes Responses that the DCC brings."""

    def __init__(
        self,
        *,
        store: OrderStore,
        keys: SupplierKeys,
        devices: Mapping[bytes, Device],
        policy: RoadPolicy,
        clock: Clock,
        tell: Tell,
        permits: PermitDesk | None = None,
    ) -> None:
        """``permits`` asks for relay permits; needed for devices whose hub wants them."""
        self._permits = permits or PermitDesk(None, keys.entity_id)
        self._store = store
        self._keys = keys
        self._devices = devices
        self._policy = policy
        self._clock = clock
        self._tell = tell
        self._refusals: set[tuple[str, bytes, str]] = set()
        self._seen_at: dict[tuple[bytes, Road], int] = {}

    def _now(self) -> int:
        return self._clock.now_ms() // 1000

    # -- down ----------------------------------------------------------------------------------------------------

    async def next_envelope(self, agent_id: bytes, wait_s: float) -> bytes | None:
        """As in the port."""
        await self._seen(agent_id, Road.PPMID)
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            seen = self._store.changes
            for order in await self._store.orders_for_carrier(agent_id):
                envelope = await self._hand_on(order, agent_id)
                if envelope is not None:
                    return envelope
            left_s = end - loop.time()
            if left_s <= 0:
                return None
            # Repeats fall due by the clock, not by a change.
            await self._store.wait_for_change(seen, min(left_s, float(self._policy.redeliver_after_s)))

    async def _hand_on(self, order: Order, agent_id: bytes) -> bytes | None:
        """The envelope of this order if it is to be handed on now; stored as handed on before it is returned."""
        now = self._now()
        device = self._devices.get(order.device_id)
        if Road.PPMID not in order.opened or not order.command or now >= order.deadline_at or device is None:
            return None
        change = (
            await self._first_hand_on(order, device, agent_id, now)
            or self._repeat(order, agent_id, now)
            or self._renewal(order, device, agent_id, now)
        )
        if change is None:
            return None
        permit = None
        if device.permits:
            given = await self._permits.permit_for(order, device, agent_id, now)
            if isinstance(given, NotNow):
                await self._waits_for_permit(order, given.why, now)
                return None
            permit = given.octets
            if given.new:
                change = replace(change, documents=(*change.documents, Document("relay_permit", now, permit)))
        if await apply(self._store, order, change, now) is None:
            return None
        self._permits.handed_on(order.order_id)
        self._tell(
            change.event,
            order_id=order.order_id,
            agent_id=agent_id.hex(),
            device_id=order.device_id.hex(),
            message=order.command.hex(),
        )
        return encode_envelope(
            make_envelope(
                order.order_id,
                device.hub_id,
                order.device_id,
                order.deadline_at,
                order.command,
                command_class=class_of(read_header(order.command).message_code),
                permit=permit,
                sent_at=now,
            )
        )

    async def _first_hand_on(self, order: Order, device: Device, agent_id: bytes, now: int) -> Change | None:
        """By this agent for the first time: alone, or after another road with the same octets."""
        if latest_attempt(order, Road.PPMID, agent_id) is not None:
            return None
        after = moved(order, Event.HANDED_ON, now) if order.state is State.SEALED else order
        if after is None or await self._capped(order, device):
            return None
        after = with_attempt(after, Road.PPMID, agent_id, now, self._policy.cost(Road.PPMID))
        return Change(replace(after, why=""), "command_handed_on", f"to agent {agent_id.hex()}")

    async def _capped(self, order: Order, device: Device) -> bool:
        """Whether too many of its class are at large with PPMIDs of this vendor; the order then says so, and waits."""
        kind = class_of(read_header(order.command).message_code).name.lower()
        limits = [limit for limit in self._policy.limits if limit.covers(device.vendor, kind)]
        if not limits:
            return False
        counts = await self._store.at_large_by_ppmid()
        for limit in limits:
            covered = (
                count
                for (device_id, code), count in counts.items()
                if (other := self._devices.get(device_id)) is not None
                and limit.covers(other.vendor, class_of(code).name.lower())
                and (limit.vendor != EVERY or other.vendor == device.vendor)
            )
            if sum(covered) >= limit.at_large_max:
                why = f"{limit.at_large_max} of class {kind} are at large with this vendor's PPMIDs: no more may be"
                if order.why != why:
                    await apply(self._store, order, Change(replace(order, why=why), "order_waits", why), self._now())
                return True
        return False

    def _repeat(self, order: Order, agent_id: bytes, now: int) -> Change | None:
        attempt = latest_attempt(order, Road.PPMID, agent_id)
        if order.state is not State.AT_LARGE or attempt is None or attempt.state is not AttemptState.HANDED_ON:
            return None
        policy = self._policy
        wait_s = min(policy.redeliver_after_s * 2 ** min(attempt.tries - 1, 20), policy.redeliver_max_s)
        if attempt.said or now - attempt.changed_at < wait_s:
            return None  # it has said something, if not that it has it: no need to repeat
        after = attempt_changed(order, attempt, now, again=True, cost=policy.cost(Road.PPMID))
        return Change(after, "command_handed_on_again", f"to agent {agent_id.hex()}, the same octets")

    def _renewal(self, order: Order, device: Device, agent_id: bytes, now: int) -> Change | None:
        """Another relay permit for a Command that the agent has, and that the hub has not taken."""
        attempt = latest_attempt(order, Road.PPMID, agent_id)
        if not device.permits or order.state is not State.AT_LARGE or attempt is None:
            return None
        unacknowledged = attempt.state in {AttemptState.HANDED_ON, AttemptState.ANSWERED}
        if unacknowledged or not self._permits.is_due(order, attempt, now):
            return None
        after = attempt_changed(order, attempt, now, again=True, cost=self._policy.cost(Road.PPMID))
        return Change(after, "relay_permit_renewed", f"to agent {agent_id.hex()}, for the same octets")

    async def _waits_for_permit(self, order: Order, why: str, now: int) -> None:
        """Says why nothing is handed on, once."""
        if order.why != why and await apply(
            self._store, order, Change(replace(order, why=why), "order_waits", why), now
        ):
            self._tell("order_waits", order_id=order.order_id, device_id=order.device_id.hex(), detail=why)

    # -- up: receipts --------------------------------------------------------------------------------------------

    async def receipt(self, agent_id: bytes, receipt: bytes) -> None:
        """As in the port."""
        try:
            read = decode_receipt(receipt)
        except RelayDecodeError as error:
            self._tell("receipt_refused", agent_id=agent_id.hex(), why=str(error))
            raise
        order = await self._store.order(read.order_id)
        why = _misplaced(order, read, agent_id)
        if order is None or why:
            self._tell("receipt_refused", agent_id=agent_id.hex(), order_id=read.order_id, why=why)
            await self._note_refusal(order, agent_id, why)
            return
        if read.permit_answer is not None:
            await self._permit_answered(order.order_id, decode_answer(read.permit_answer), agent_id)
        elif read.message is not None:
            await self._response(order.order_id, read.message, Road.PPMID, agent_id)
        else:
            await self._take_receipt(order.order_id, read, agent_id)

    async def _note_refusal(self, order: Order | None, agent_id: bytes, why: str) -> None:
        """Into the audit, once per order, agent and reason: whoever sends rubbish does not fill our store."""
        refusal = ("" if order is None else order.order_id, agent_id, why)
        if refusal in self._refusals or len(self._refusals) >= _REFUSALS_MAX:
            return
        self._refusals.add(refusal)
        detail = f"from agent {agent_id.hex()}: {why}"
        await self._store.note(Entry(refusal[0], self._now(), "receipt_refused", detail=detail))

    async def _permit_answered(self, order_id: str, answer: Answer, agent_id: bytes) -> None:
        """What the hub said of a permit, as the agent saw it: noted at the attempt. It proves nothing."""
        now = self._now()
        said = words(answer)
        cured = self._permits.heard(order_id, answer, now)

        def decide(order: Order) -> Change | None:
            attempt = latest_attempt(order, Road.PPMID, agent_id)
            if attempt is None:
                return None
            after = attempt_changed(order, attempt, now, said=said)
            if not cured and after is not order:
                after = _failed_road(after, now, f"the agent says {said}")
            return None if after is order else Change(after, "permit_answered", said)

        await change_order(self._store, order_id, now, decide)
        if not cured:
            await self._store.road_failed(agent_id, Road.PPMID, now)
        self._tell(
            "permit_answered",
            order_id=order_id,
            agent_id=agent_id.hex(),
            status=answer.status.name.lower(),
            clock_reliable=answer.clock_reliable,
        )

    async def _take_receipt(self, order_id: str, receipt: Receipt, agent_id: bytes) -> None:
        now = self._now()
        state = _ATTEMPT_STATES.get(receipt.kind)
        said = "" if state else f"{receipt.kind.value}: {receipt.reason or receipt.outcome}"
        gave_up = receipt.kind in _GAVE_UP

        def decide(order: Order) -> Change | None:
            attempt = latest_attempt(order, Road.PPMID, agent_id)
            if attempt is None:
                return None
            after = attempt_changed(order, attempt, now, state=state, said=said)
            if gave_up and after is not order:
                after = _failed_road(after, now, f"the agent says {said}")
            event = f"command_{state.value}" if state else "agent_gave_up" if gave_up else "code_entered"
            words = said or f"says agent {agent_id.hex()}"
            return None if after is order else Change(after, event, words, wake=bool(said))

        done = await change_order(self._store, order_id, now, decide)
        if done is not None:
            if gave_up:
                await self._store.road_failed(agent_id, Road.PPMID, now)
            self._tell(done[1].event, order_id=order_id, agent_id=agent_id.hex(), reason=receipt.reason)

    # -- up: Responses -------------------------------------------------------------------------------------------

    async def receive_response(self, sender_id: bytes, document: bytes) -> bool:
        """Takes a document that came to Receive Response (DUIS 1.5); ``False`` when it is refused for ever.

        A Response that no order asked for, or that proves nothing, is accepted and noted: sending it again would not
        make it better, and the sender learns nothing from our answer.
        """
        now = self._now()
        why = "" if sender_id == self._keys.dsp_id else "the sender is not the DCC"
        received = None
        try:
            received = None if why else read_received(document, self._keys, now)
        except PreparationFailed as error:
            why = str(error)
        if why:
            self._tell("document_refused", sender_id=sender_id.hex(), why=why)
            await self._note_refusal(None, sender_id, why)
            return False
        if isinstance(received, FromDevice):
            await self._response_from_dcc(received.message)
        elif isinstance(received, LocalCopy):
            await self._copy_from_dcc(received)
        elif isinstance(received, AboutRequest):
            await self._word_from_dcc(received)
        return True

    async def _copy_from_dcc(self, copy: LocalCopy) -> None:
        """What the DCC sends by WAN, for us to carry as well: kept when it is what was asked and signed."""
        order = await self._store.order_by_counter(copy.device_id, copy.originator_counter)
        device = None if order is None else self._devices.get(order.device_id)
        if order is None or device is None or not order.with_copy:
            await self._note_refusal(order, self._keys.dsp_id, "a copy of a Command that nobody asked for")
            return
        now = self._now()
        try:
            sent = sent_document(await self._store.documents(order.order_id))
            command = checked_command(order, sent, copy.command, device, self._keys, now)
        except PreparationFailed as error:
            self._tell("document_refused", sender_id=self._keys.dsp_id.hex(), why=str(error))
            await self._note_refusal(order, self._keys.dsp_id, str(error))
            return

        def decide(order: Order) -> Change | None:
            same = order.originator_counter == copy.originator_counter
            if order.command or not same or order.state in FINAL:
                return None
            due = min(order.next_road_at, now) if order.why else order.next_road_at
            after = replace(order, command=command, next_road_at=due)
            words = "the DCC sends it by WAN too"
            return Change(after, "command_copied", words, (Document("command", now, command),), wake=True)

        if await change_order(self._store, order.order_id, now, decide) is not None:
            self._tell("command_copied", order_id=order.order_id, device_id=order.device_id.hex())

    async def _seen(self, way_id: bytes, road: Road) -> None:
        """It was heard of: noted once in a while, not at each word."""
        now = self._now()
        if now - self._seen_at.get((way_id, road), -SEEN_EVERY_S) >= SEEN_EVERY_S:
            self._seen_at[way_id, road] = now
            await self._store.road_seen(way_id, road, now)

    async def _word_from_dcc(self, word: AboutRequest) -> None:
        """The DCC could not deliver, or got no answer (E20, E21): noted at the attempt; it proves nothing."""
        order = await self._store.order_by_counter(word.device_id, word.originator_counter)
        if order is None:
            return
        now = self._now()
        said = f"the DCC says {word.code}"

        def decide(order: Order) -> Change | None:
            attempt = latest_attempt(order, Road.WAN, self._keys.dsp_id)
            after = order if attempt is None else attempt_changed(order, attempt, now, said=said)
            return None if after is order else Change(_failed_road(after, now, said), "dcc_gave_up", said, wake=True)

        if await change_order(self._store, order.order_id, now, decide) is not None:
            device = self._devices.get(order.device_id)
            if device is not None:
                await self._store.road_failed(device.hub_id, Road.WAN, now)
            self._tell("dcc_gave_up", order_id=order.order_id, code=word.code)

    async def _response_from_dcc(self, message: bytes) -> None:
        why, order = "no order asked for it", None
        try:
            header = read_header(message)
            order = await self._store.order_by_counter(header.business_originator_id, header.originator_counter)
        except GbcsError as error:
            why = str(error)
        if order is None:
            self._tell("response_refused", road=Road.WAN.value, why=why, message=message.hex())
            await self._note_refusal(None, self._keys.dsp_id, why)
        else:
            await self._response(order.order_id, message, Road.WAN, self._keys.dsp_id)

    async def take_response(self, order_id: str, message: bytes, road: Road, carrier_id: bytes) -> None:
        """A message that is said to answer this order, by whomever it was brought."""
        await self._response(order_id, message, road, carrier_id)

    async def _response(self, order_id: str, message: bytes, road: Road, carrier_id: bytes) -> None:
        now = self._now()
        found = await self._store.order(order_id)
        if found is None:
            return
        # Order and counter belong together for ever once a Command left, so one judgement holds for every try below.
        verdict = judge(found, self._keys.entity_id, message, self._keys)
        facts = {"order_id": order_id, "device_id": found.device_id.hex(), "road": road.value}
        self._tell("response_received", **facts, message=message.hex())
        if isinstance(verdict, NotProven):
            await self._refuse(order_id, verdict, message, road, carrier_id)
            self._tell("response_refused", **facts, why=verdict.why)
            return

        def decide(order: Order) -> Change | None:
            if isinstance(verdict, ForTheDcc):
                return _for_the_dcc(order, message, road, carrier_id, now)
            return self._proven(order, verdict, message, road, carrier_id, now)

        done = await change_order(self._store, order_id, now, decide)
        if done is not None:
            order, change = done
            if isinstance(verdict, ForTheDcc):
                self._tell("response_for_the_dcc", **facts)
                return
            if road is Road.WAN and (device := self._devices.get(order.device_id)) is not None:
                await self._seen(device.hub_id, road)
            self._tell("response_verified", **facts, done=verdict.done, words=verdict.words)
            self._permits.forget(order_id)
            if change.event in {Event.RESPONSE_VERIFIED.value, Event.RESPONSE_VERIFIED_REFUSAL.value}:
                self._tell(f"order_{order.state.value}", **facts, service=order.service, why=verdict.words)
            if order.service == SERVICE and verdict.done:
                await self._read_back(order, now)

    async def _read_back(self, reader: Order, now: int) -> None:
        """A verified read of the log of credits settles what it can of this meter's top-ups."""
        orders = await self._store.orders_of(reader.device_id, Lane.TOP_UP)
        for order_id in proven(orders, credits_of(reader.response)):

            def decide(order: Order) -> Change | None:
                after = moved(order, Event.READ_BACK, now)
                words = f"the meter's own log, read by order {reader.order_id}, shows it"
                return None if after is None else Change(after, "read_back", words)

            settled = await change_order(self._store, order_id, now, decide)
            if settled is not None:
                self._tell("read_back", order_id=order_id, device_id=reader.device_id.hex(), read_by=reader.order_id)
                self._tell(
                    f"order_{settled[0].state.value}",
                    order_id=order_id,
                    device_id=reader.device_id.hex(),
                    service=settled[0].service,
                )

    def _proven(
        self, order: Order, verdict: Proven, message: bytes, road: Road, carrier_id: bytes, now: int
    ) -> Change | None:
        """What a verified Response does: ends the order, or is a copy that at most completes its attempt."""
        event = Event.RESPONSE_VERIFIED if verdict.done else Event.RESPONSE_VERIFIED_REFUSAL
        answered = order
        attempt = latest_attempt(order, road, carrier_id)
        if attempt is not None:
            answered = attempt_changed(order, attempt, now, state=AttemptState.ANSWERED)
        after = moved(answered, event, now, "" if verdict.done else verdict.words)
        if after is None:
            return None if answered is order else Change(answered, "response_copy", f"by {road.value}")
        returning = Return.DUE if road is not Road.WAN and self._policy.return_responses else Return.NOT_NEEDED
        after = replace(after, response=message, returning=returning)
        detail = f"by {road.value}: {verdict.words}"
        return Change(after, event.value, detail, (Document("response", now, message),), wake=True)

    async def _refuse(self, order_id: str, verdict: NotProven, message: bytes, road: Road, carrier_id: bytes) -> None:
        """Names it in the audit once per kind and attempt: whoever sends rubbish does not fill our store."""
        now = self._now()
        said = f"an answer that proves nothing: it {verdict.why}"

        def decide(order: Order) -> Change | None:
            attempt = latest_attempt(order, road, carrier_id)
            if attempt is None:
                return None
            after = attempt_changed(order, attempt, now, said=said)
            document = Document("refused_response", now, message)
            return None if after is order else Change(after, "response_refused", said, (document,))

        await change_order(self._store, order_id, now, decide)


def _failed_road(order: Order, now: int, why: str) -> Order:
    """The order told that a road failed: if another may be tried, it is tried now."""
    return replace(order, next_road_at=now, why=why) if order.state is State.AT_LARGE else order


def _for_the_dcc(order: Order, message: bytes, road: Road, carrier_id: bytes, now: int) -> Change | None:
    """Kept and sent to the DSP, whose word on it will count; what comes by WAN comes from there anyway."""
    if order.response or road is Road.WAN or (order.state, Event.DCC_VERIFIED) not in TRANSITIONS:
        return None
    attempt = latest_attempt(order, road, carrier_id)
    noted = order if attempt is None else attempt_changed(order, attempt, now, said="an answer for the DCC to check")
    after = replace(noted, response=message, returning=Return.DUE)
    return Change(after, "response_for_the_dcc", f"by {road.value}", (Document("response", now, message),), wake=True)


def _misplaced(order: Order | None, receipt: Receipt, agent_id: bytes) -> str:
    """Why a receipt is not taken from this agent; empty when it is."""
    if order is None:
        return "there is no such order"
    if latest_attempt(order, Road.PPMID, agent_id) is None:
        return "the order was never handed to this agent"
    if hashlib.sha256(order.command).digest() != receipt.digest:
        return "its digest is not that of the Command handed on"
    return ""
