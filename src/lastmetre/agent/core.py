"""Store and forward: what the agent decides. No socket, file, clock or randomness; one caller at a time.

The caller (``runner``) brings envelopes from the bearer, messages from the tunnel and the time; it asks what to offer
and which receipts wait. Every decision is in the store before its consequence leaves this module, so a power cut
between any two lines loses nothing and repeats nothing but identical octets.

Sources: design 2 and 5 (what a receipt may claim), HAN reference 0.5 (a Response repeats the counter, identifiers
swapped), stack ("what users ask for"). The rest is DESIGN CHOICE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.agent.limits import (
    ANSWERS_PER_PERMIT_MAX,
    BLOCK_OCTETS,
    CLOCK_BACK_S,
    COMMANDS_OPEN_MAX,
    COMMANDS_REMEMBERED_MAX,
    NONCE_WAIT_S,
    OFFER_RETRY_S,
    RECEIPTS_WAITING_MAX,
    REMEMBER_S,
    RESPONSES_PER_COMMAND_MAX,
    TUNNEL_MESSAGE_OCTETS_MAX,
)
from lastmetre.agent.ports import CommandKey, HeldCommand, NewCommand
from lastmetre.agent.states import MOVES, OPEN, Happening, State
from lastmetre.gbcs.blocks import split
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Cra, GroupingHeader, read_header
from lastmetre.relay import (
    CommandClass,
    Envelope,
    Receipt,
    ReceiptKind,
    RelayDecodeError,
    decode_envelope,
    decode_receipt,
    encode_receipt,
)
from lastmetre.relay.limits import MESSAGE_OCTETS_MAX
from lastmetre.relay.permit import ANSWER_TAG, Answer, Status, decode_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lastmetre.agent.ports import Store, Tell, WaitingReceipt

_BLOCK_START = b"\xdd\x09"
"""How one block of a longer message begins (HAN reference 1.7)."""
PECS01 = 0x0116
"""Top-up at the PPMID (HAN reference 2.5): what stands for the message code of a code, though no message is sent."""
_RECEIPTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Binding:
    """The one home this agent serves. ``device_ids`` is ``None`` when any device behind the hub may be addressed."""

    hub_id: bytes
    device_ids: frozenset[bytes] | None = None
    code_ids: frozenset[bytes] = frozenset()
    """Devices at which the agent can enter the digits of a top-up."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A Command to pass up the tunnel, exactly as it came; ``messages`` is what goes up, one transfer each: the Command
    or, when it is longer than a transfer, its blocks. A permit goes first, and the hub is heard before they follow.
    """

    order_id: str
    command: bytes
    messages: tuple[bytes, ...]
    permit: bytes | None = None
    code_for: bytes | None = None
    """The device at which ``command``, the digits of a top-up, is to be entered; nothing goes up the tunnel."""
    again: bool = False
    """Of a code: whether it was entered before and nobody answered."""


@dataclass(frozen=True, slots=True)
class _About:
    """What an envelope carries: a Command's key and code, or those that stand for the digits of a top-up."""

    key: CommandKey
    message_code: int


@dataclass(slots=True)
class _Retry:
    """When a Command that the tunnel did not take comes up again."""

    failures: int = 0
    not_before: int = 0


class StoreAndForward:
    """The agent's mind. Construct it on a store and it goes on where the last one stopped."""

    def __init__(self, binding: Binding, store: Store, tell: Tell, counted_s: Callable[[], float] | None) -> None:
        """``counted_s`` only counts: seconds that really passed, sleep included, whatever is done to the clock.

        With ``None`` every step of the clock is time that passed, and nobody can see that it was set right.
        """
        self._binding = binding
        self._store = store
        self._tell = tell
        self._counted_s = counted_s
        self._read: tuple[int, float] | None = None
        self._floor = store.latest_at()
        self._ahead_s = 0
        self._behind = False
        self._in_flight: str | None = None
        self._heard: Answer | None = None
        self._answers_left: dict[str, int] = {}
        self._nonce_of: tuple[str, int] | None = None
        self._tunnel_open = False
        # What to offer and when: everything open after a start, and after the hub opened its tunnel anew.
        self._to_offer = {held.order_id: _Retry() for held in store.open_commands()}

    # From the bearer

    def take(self, data: bytes, now: int) -> bool:
        """Judge an envelope. When this returns, the outcome is stored and its receipt waits.

        Returns ``False`` for an envelope that cannot even be answered: the bearer should pause before it asks again.
        """
        clock, now = now, self._time(now)
        try:
            envelope = decode_envelope(data)
        except RelayDecodeError as error:
            if error.order_id is None or error.digest is None:
                self._tell("envelope_unreadable", field=error.field, reason=error.reason)
                return False
            self._tell("envelope_malformed", order_id=error.order_id, field=error.field, reason=error.reason)
            self._refuse(error.order_id, error.digest, "malformed", now)
            return True
        now = self._signed_time(envelope.sent_at, clock)
        held = self._store.by_order(envelope.order_id)
        if held is not None and held.digest == envelope.digest:
            self._repeat(held, envelope, now)
            return True
        header = _command_header(envelope)
        about = _about(envelope, header)
        reason = "order_id_used_before" if held else self._fault(envelope, header, about)
        if reason or about is None:
            self._refuse(envelope.order_id, envelope.digest, reason or "not_a_command", now)
        elif now >= envelope.expires_at:
            receipt = Receipt(envelope.order_id, ReceiptKind.EXPIRED, now, envelope.digest, None, "not_offered")
            self._store.queue(encode_receipt(receipt), now)
            self._tell("command_expired", order_id=envelope.order_id, offered=False)
        else:
            self._keep(envelope, about, now)
        return True

    def _fault(self, envelope: Envelope, header: GroupingHeader | None, about: _About | None) -> str | None:
        """Why this Command is not for this agent to carry."""
        devices = self._binding.device_ids
        if envelope.hub_id != self._binding.hub_id:
            return "another_hub"
        if devices is not None and envelope.target_id not in devices:
            return "another_device"
        if envelope.command_class is CommandClass.CODE:
            if envelope.target_id not in self._binding.code_ids:
                return "another_device"
        elif header is None or header.cra is not Cra.COMMAND or envelope.command.startswith(_BLOCK_START):
            return "not_a_command"
        elif header.business_target_id != envelope.target_id:
            return "target_is_not_the_commands"  # else an envelope could name one device and carry for another
        assert about is not None
        if self._is_superseded(about.key, envelope.command_class):
            return "superseded"
        held = self._store.by_key(about.key)
        if held is not None and (held.state is not State.EXPIRED or held.digest != envelope.digest):
            return "held_under_another_order"  # an expired Command may come again, the same, with more time
        if len(self._store.open_commands()) >= COMMANDS_OPEN_MAX or self._store.count() >= COMMANDS_REMEMBERED_MAX:
            return "store_full"
        return None

    def _keep(self, envelope: Envelope, about: _About, now: int) -> None:
        command = NewCommand(
            envelope.order_id,
            envelope.digest,
            about.key,
            about.message_code,
            envelope.expires_at,
            envelope.command,
            envelope.command_class,
            envelope.permit,
        )
        receipt = Receipt(envelope.order_id, ReceiptKind.TAKEN, now, envelope.digest)
        self._store.add(command, encode_receipt(receipt), now)
        self._to_offer[envelope.order_id] = _Retry()
        self._tell(
            "command_taken",
            order_id=envelope.order_id,
            message_code=about.message_code,
            target_id=envelope.target_id.hex(),
            expires_at=envelope.expires_at,
            digest=envelope.digest.hex(),
            **_octets_told(envelope.command_class, envelope.command),
        )

    def _repeat(self, held: HeldCommand, envelope: Envelope, now: int) -> None:
        """The same order again: say again what was said last. Nothing but a new permit makes it be offered again."""
        if envelope.permit not in {None, held.permit} and held.state in OPEN:
            assert envelope.permit is not None
            self._store.renew(held.order_id, envelope.permit, now)
            self._to_offer[held.order_id] = _Retry()
            self._tell("permit_renewed", order_id=held.order_id)
        self._store.queue(held.receipt, now)
        self._tell("envelope_repeated", order_id=held.order_id, state=held.state.value)

    def _refuse(self, order_id: str, digest: bytes, reason: str, now: int) -> None:
        if self._store.waiting_receipt_count() < RECEIPTS_WAITING_MAX:
            receipt = Receipt(order_id, ReceiptKind.REFUSED, now, digest, None, reason)
            self._store.queue(encode_receipt(receipt), now)
        self._tell("command_refused", order_id=order_id, reason=reason)

    # To the bearer

    def waiting_receipts(self) -> Sequence[WaitingReceipt]:
        """Receipts to hand on, oldest first; some of them when there are many."""
        return self._store.waiting_receipts(_RECEIPTS_AT_ONCE)

    def receipt_handed_on(self, waiting: WaitingReceipt) -> None:
        """The other side has it."""
        self._store.drop_receipt(waiting.number)
        receipt = decode_receipt(waiting.receipt)
        self._tell("receipt_handed_on", order_id=receipt.order_id, kind=receipt.kind.value)

    def receipt_refused(self, waiting: WaitingReceipt, reason: str) -> None:
        """The other side will never have it: dropping it keeps the others moving."""
        self._store.drop_receipt(waiting.number)
        receipt = decode_receipt(waiting.receipt)
        self._tell("receipt_refused", order_id=receipt.order_id, kind=receipt.kind.value, reason=reason)

    # To and from the tunnel

    def tunnel_opened(self) -> None:
        """The hub opened its tunnel, or asked for it anew: it may have lost what it took, so offer all that is open."""
        self._tunnel_open = True
        self._to_offer = {held.order_id: _Retry() for held in self._store.open_commands()}
        self._tell("tunnel_opened")

    def tunnel_closed(self) -> None:
        """Nothing is offered until it opens again."""
        self._tunnel_open = False
        self._tell("tunnel_closed")

    def next_offer(self, now: int) -> Offer | None:
        """The Command to pass up now, or ``None``. One without a permit is marked as offered before this returns."""
        behind = self._is_behind(now)
        self.expire(now)
        now = self._time(now)
        if self._in_flight is not None or not self._tunnel_open or behind:
            return None
        for held in self._store.open_commands():
            retry = self._to_offer.get(held.order_id)
            if retry is None or now < retry.not_before or self._waits_for_anothers_nonce(held, now):
                continue
            self._in_flight, self._heard = held.order_id, None
            if held.permit is None:
                self._mark_offered(held, now)
            else:
                open_ids = {one.order_id for one in self._store.open_commands()}
                self._answers_left = {key: left for key, left in self._answers_left.items() if key in open_ids}
                self._answers_left[held.order_id] = ANSWERS_PER_PERMIT_MAX
                self._tell("permit_offered", order_id=held.order_id, permit=held.permit.hex())
            if held.command_class is CommandClass.CODE:
                again = held.state is not State.TAKEN
                return Offer(held.order_id, held.command, (), code_for=held.key.target_id, again=again)
            return Offer(held.order_id, held.command, _messages(held), held.permit)
        return None

    def _mark_offered(self, held: HeldCommand, now: int) -> None:
        after = MOVES[held.state, Happening.OFFER]
        if after is not held.state:
            self._store.move(held.order_id, held.state, after, None, now)
        self._tell(
            "command_offered",
            order_id=held.order_id,
            message_code=held.message_code,
            again=held.state is not State.TAKEN,
            **_octets_told(held.command_class, held.command),
        )

    def code_answered(self, offer: Offer, now: int, *, accepted: bool, silence_before: bool) -> None:
        """The device answered the entry of a code. That ends it; what it is worth, its display and its log know."""
        now = self._time(now)
        self._in_flight = None
        self._to_offer.pop(offer.order_id, None)
        held = self._held(offer.order_id)
        outcome = "accepted" if accepted else "refused_after_silence" if silence_before else "refused"
        receipt = Receipt(held.order_id, ReceiptKind.ENTERED, now, held.digest, outcome=outcome)
        self._store.move(held.order_id, held.state, MOVES[held.state, Happening.RESPONSE], encode_receipt(receipt), now)
        self._tell("code_entered", order_id=held.order_id, outcome=outcome)

    # Permits: what the hub answers decides what goes up next, and proves nothing

    def permit_answer(self) -> Answer | None:
        """What the hub last said to the permit on its way, or to the question after it; ``None`` while it is silent."""
        return self._heard

    def command_follows(self, offer: Offer, now: int) -> bool:
        """Whether the Command may go up behind its permit, which took a while; it is marked as offered if so."""
        now = self._time(now)
        held = self._held(offer.order_id)
        if held.state in OPEN and now < held.expires_at:
            self._mark_offered(held, now)
            return True
        self._in_flight = None
        return False

    def permit_refused(self, offer: Offer, now: int) -> None:
        """The hub would not have the Command behind this permit, so it did not go up: it waits for another permit.

        Where none comes (a receipt or an envelope got lost), the same permit is tried again after a pause, so that the
        hub says again what is wrong, and the supplier hears it again.
        """
        now, answer = self._time(now), self._heard
        if answer is None or wants_nonce(answer):
            self.transfer_failed(offer, "permit_wants_nonce", now)
            return
        self._in_flight = None
        by_nonce = answer.status is Status.NONCE
        self._nonce_of = (offer.order_id, now + NONCE_WAIT_S) if by_nonce else None
        retry = self._to_offer.get(offer.order_id)
        if retry is not None and self._held(offer.order_id).permit == offer.permit:  # else the next one is here already
            retry.not_before = now + (NONCE_WAIT_S if by_nonce else OFFER_RETRY_S[-1])
        self._tell("command_not_offered", order_id=offer.order_id, permit=answer.status.name.lower())

    def _waits_for_anothers_nonce(self, held: HeldCommand, now: int) -> bool:
        """A hub keeps one nonce per carrier: a question for another Command would kill the one that is awaited."""
        if held.permit is None or self._nonce_of is None:
            return False
        order_id, until = self._nonce_of
        return order_id != held.order_id and now < until

    def transfer_accepted(self, offer: Offer, now: int) -> None:
        """The hub acknowledged the transport: the furthest that an agent can see before a Response."""
        now = self._time(now)
        self._in_flight = None
        if self._nonce_of is not None and self._nonce_of[0] == offer.order_id:
            self._nonce_of = None
        self._to_offer.pop(offer.order_id, None)
        held = self._held(offer.order_id)
        after = MOVES[held.state, Happening.ACCEPT]
        if after is not held.state:  # the first time; a repeat has nothing new to say
            receipt = Receipt(held.order_id, ReceiptKind.TAKEN_BY_TUNNEL, now, held.digest)
            self._store.move(held.order_id, held.state, after, encode_receipt(receipt), now)
        self._tell("command_taken_by_tunnel", order_id=held.order_id, message_code=held.message_code)

    def transfer_failed(self, offer: Offer, reason: str, now: int) -> None:
        """The hub did not acknowledge: it may have the Command or not, so it is offered again after a pause."""
        now = self._time(now)
        self._in_flight = None
        retry = self._to_offer.get(offer.order_id)
        pause_s = 0
        if retry is not None:
            pause_s = OFFER_RETRY_S[min(retry.failures, len(OFFER_RETRY_S) - 1)]
            retry.failures += 1
            retry.not_before = now + pause_s
        self._tell("command_not_taken_by_tunnel", order_id=offer.order_id, reason=reason, retry_s=pause_s)

    def from_tunnel(self, message: bytes, now: int) -> None:
        """A message came down. A Response to a Command of ours goes to the supplier; the rest has other roads."""
        now = self._time(now)
        if message[:1] == bytes((ANSWER_TAG,)):
            self._permit_answered(message, now)
            return
        reason, key = _answered_key(message)
        held = None if key is None else self._store.by_key(key)
        if held is None:
            reason = reason or "answers_nothing_held"
            self._tell("tunnel_message_ignored", reason=reason, message=message[:MESSAGE_OCTETS_MAX].hex())
            return
        self._answer(held, message, now)

    def _permit_answered(self, message: bytes, now: int) -> None:
        """The hub about a permit: it proves and moves nothing. The supplier hears a refusal or a nonce as it is."""
        try:
            answer = decode_answer(message)
        except RelayDecodeError as error:
            self._tell("tunnel_message_ignored", reason=f"{error.field}_{error.reason}", message=message[:64].hex())
            return
        held = self._holder(answer)
        left = 0 if held is None else self._answers_left.get(held.order_id, 0)
        if held is None or not left:
            self._tell("tunnel_message_ignored", reason="answers_no_permit", message=message.hex())
            return
        self._answers_left[held.order_id] = left - 1
        self._tell(
            "permit_answered",
            order_id=held.order_id,
            status=answer.status.name.lower(),
            serial=str(answer.serial),
            clock_reliable=answer.clock_reliable,
        )
        if held.order_id == self._in_flight:
            self._heard = answer
        if answer.status is not Status.ACCEPTED and self._store.waiting_receipt_count() < RECEIPTS_WAITING_MAX:
            receipt = Receipt(held.order_id, ReceiptKind.PERMIT_ANSWERED, now, held.digest, permit_answer=message)
            self._store.queue(encode_receipt(receipt), now)

    def _holder(self, answer: Answer) -> HeldCommand | None:
        """Whose permit an answer is about; one without a serial is about the one on its way."""
        if answer.serial == 0:
            return None if self._in_flight is None else self._held(self._in_flight)
        serial = answer.serial.to_bytes(8, "big")
        held = (one for one in self._store.open_commands() if one.permit is not None and one.permit[4:12] == serial)
        return next(held, None)

    def _answer(self, held: HeldCommand, message: bytes, now: int) -> None:
        if held.state is State.ANSWERED and decode_receipt(held.receipt).message == message:
            self._tell("response_repeated", order_id=held.order_id)
            return
        if held.responses >= RESPONSES_PER_COMMAND_MAX:
            self._tell("tunnel_message_ignored", reason="too_many_responses", message=message.hex())
            return
        receipt = Receipt(held.order_id, ReceiptKind.RESPONSE, now, held.digest, message)
        after = MOVES[held.state, Happening.RESPONSE]
        self._store.move(held.order_id, held.state, after, encode_receipt(receipt), now)
        self._to_offer.pop(held.order_id, None)
        self._tell("response_received", order_id=held.order_id, message_code=held.message_code, message=message.hex())

    # Time

    def expire(self, now: int) -> None:
        """Drop what may no longer be offered, and forget what is long done with.

        A Command on its way up is left alone until its transfer has ended.
        """
        now = self._time(now)
        for held in self._store.open_commands():
            if now < held.expires_at or held.order_id == self._in_flight:
                continue
            offered = held.state is not State.TAKEN
            reason = "offered" if offered else "not_offered"
            receipt = Receipt(held.order_id, ReceiptKind.EXPIRED, now, held.digest, None, reason)
            after = MOVES[held.state, Happening.EXPIRE]
            self._store.move(held.order_id, held.state, after, encode_receipt(receipt), now)
            self._to_offer.pop(held.order_id, None)
            self._tell("command_expired", order_id=held.order_id, offered=offered)
        self._supersede(now)
        count = self._store.forget(now - REMEMBER_S)
        if count:
            self._tell("commands_forgotten", count=count)

    def _supersede(self, now: int) -> None:
        """Drop what a later Command for the same device has overtaken: of a lane, one alone is wanted."""
        for held in self._store.open_commands():
            if held.order_id == self._in_flight or not self._is_superseded(held.key, held.command_class):
                continue
            offered = held.state is not State.TAKEN
            reason = "superseded_offered" if offered else "superseded_not_offered"
            receipt = Receipt(held.order_id, ReceiptKind.EXPIRED, now, held.digest, None, reason)
            after = MOVES[held.state, Happening.SUPERSEDE]
            self._store.move(held.order_id, held.state, after, encode_receipt(receipt), now)
            self._to_offer.pop(held.order_id, None)
            self._tell("command_superseded", order_id=held.order_id, offered=offered)

    def _is_superseded(self, key: CommandKey, command_class: CommandClass) -> bool:
        if command_class in {CommandClass.TOP_UP, CommandClass.CODE}:
            return False  # the UTRN cache knows no order
        highest = self._store.highest_counter(key.originator_id, key.target_id)
        return highest is not None and key.originator_counter < highest

    def next_wake_at(self) -> int | None:
        """When ``next_offer`` is worth asking again if nothing comes in before: the next expiry or the next retry."""
        times = [held.expires_at for held in self._store.open_commands()]
        if self._tunnel_open and self._in_flight is None and not self._behind:
            times += [retry.not_before for retry in self._to_offer.values()]
        return min(times) - self._ahead_s if times else None

    def _time(self, now: int) -> int:
        """``now``, never before what the store has seen: a clock set back must not revive what has expired (R09)."""
        self._ahead_s = max(0, self._ahead_s - self._set_on_s(now))
        self._floor = max(self._floor, now + self._ahead_s)
        return self._floor

    def _set_on_s(self, now: int) -> int:
        """By how much somebody set the clock on since it was read last: beyond what really passed meanwhile.

        What it was helped on by is taken back by that much, or the agent would be ahead by it from then on.
        """
        if self._counted_s is None:
            return 0
        counted_s = self._counted_s()
        read_at, read_counted_s = self._read or (now, counted_s)
        self._read = now, counted_s
        set_on_s = now - read_at - (counted_s - read_counted_s)
        return round(set_on_s) if set_on_s > CLOCK_BACK_S else 0

    def _signed_time(self, sent_at: int, clock: int) -> int:
        """The time, now that the supplier signed one: a clock that is behind it is helped on."""
        if sent_at > clock + self._ahead_s:
            self._ahead_s = sent_at - clock
        return self._time(clock)

    def _is_behind(self, now: int) -> bool:
        """Whether the clock shows a time before what was seen: then nobody knows what has expired, and nothing is
        offered until signed time comes or the clock is right again.
        """
        self._time(now)
        behind = now + self._ahead_s < self._floor - CLOCK_BACK_S
        if behind is not self._behind:
            self._behind = behind
            self._tell("clock_behind" if behind else "clock_right_again")
        return behind

    def _held(self, order_id: str) -> HeldCommand:
        held = self._store.by_order(order_id)
        assert held is not None, "a Command on its way up is never forgotten"
        return held


def _messages(held: HeldCommand) -> tuple[bytes, ...]:
    """What goes up the tunnel for a Command, in order. Cutting adds routing headers and changes no octet of it."""
    if len(held.command) <= TUNNEL_MESSAGE_OCTETS_MAX:
        return (held.command,)
    return tuple(split(held.command, BLOCK_OCTETS))


def wants_nonce(answer: Answer) -> bool:
    """Whether the hub refused a permit for want of a clock: then it takes one that answers its nonce."""
    return answer.status is Status.TIME and not answer.clock_reliable


def _about(envelope: Envelope, header: GroupingHeader | None) -> _About | None:
    """What the store knows it by. No message answers a code, so its key need only be its own."""
    if envelope.command_class is CommandClass.CODE:
        return _About(CommandKey(bytes(8), envelope.target_id, int.from_bytes(envelope.digest[:8], "big")), PECS01)
    return None if header is None else _About(_key(header), header.message_code)


def _octets_told(command_class: CommandClass, command: bytes) -> dict[str, str]:
    """What may be told of the octets: all of a Command, nothing of a code."""
    return {} if command_class is CommandClass.CODE else {"command": command.hex()}


def _key(header: GroupingHeader) -> CommandKey:
    return CommandKey(header.business_originator_id, header.business_target_id, header.originator_counter)


def _command_header(envelope: Envelope) -> GroupingHeader | None:
    try:
        return read_header(envelope.command)
    except GbcsDecodeError:
        return None


def _answered_key(message: bytes) -> tuple[str | None, CommandKey | None]:
    """Which Command a message answers; or why it answers none."""
    if not 0 < len(message) <= MESSAGE_OCTETS_MAX:
        return "empty_or_too_long", None
    try:
        header = read_header(message)
    except GbcsDecodeError:
        return "not_a_gbcs_message", None
    if header.cra is not Cra.RESPONSE:
        return ("alert" if header.cra is Cra.ALERT else "command"), None  # Alerts go by WAN (HAN reference R6)
    if message.startswith(_BLOCK_START):
        return "block", None  # no published Response needs blocks; joining them is not built yet
    return None, CommandKey(header.business_target_id, header.business_originator_id, header.originator_counter)
