"""The hub's gate for relay permits: ``relay.permit_rules`` over a book, joined to clocks, chance and blocks.

DESIGN CHOICE throughout (reference: permit). Rules this module keeps:

* The book is part of what the hub saves: ``saved`` and ``restore`` give and take what a power cut must not undo. The
  hub saves it in the step in which it saves what the Command changed, before anything leaves.
* Time is believed once the WAN has said it since power-on; before that, nonces alone. The spans of nonces run on a
  clock that never jumps.
* A Command in blocks is joined before it is judged: one transfer per carrier, 8,192 octets, a minute, and only while a
  permit waits for it.
* Questions and permits have a rate of their own: making a MAC for a stranger costs something.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lastmetre.gbcs.blocks import Joiner
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.relay.limits import COMMAND_OCTETS_MAX
from lastmetre.relay.permit import ANSWER_TAG, NONCE_OCTETS, PERMIT_TAG, QUESTION, QUESTION_TAG, Answer, Status
from lastmetre.relay.permit_rules import (
    COMMAND_WAIT_S,
    Carrier,
    CommandKey,
    Hub,
    Moment,
    PermitBook,
    Used,
    clock_heard,
    durable,
    give_nonce,
    hand_over_undone,
    judge_command,
    judge_permit,
    judge_release,
    response_seen,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lastmetre.gbcs.message import GroupingHeader

RECORDS_PER_MINUTE: Final = 30
"""Permits and questions one carrier may send: three for each Command its rate lets pass (DESIGN CHOICE)."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The Command may be handed over under this serial."""

    serial: int


@dataclass(frozen=True, slots=True)
class NotPassed:
    """It may not; ``answer`` is ``None`` when there was no permit at all."""

    answer: Answer | None


@dataclass(slots=True)
class _Transfer:
    joiner: Joiner
    since_s: float


class PermitGate:
    """What one hub remembers and judges of permits. It stores nothing by itself: see ``saved``."""

    def __init__(self, hub: Hub, monotonic: Callable[[], float], random: Callable[[int], bytes]) -> None:
        """``random`` gives so many octets of chance; ``monotonic`` seconds since some moment of this power-on."""
        self._hub = hub
        self._monotonic = monotonic
        self._random = random
        self._time_heard = False
        self._transfers: dict[bytes, _Transfer] = {}
        self._records: dict[bytes, deque[float]] = {}
        self.book = PermitBook()
        self.learned = 0
        """Rises with each permit that taught something a power cut must not undo: a time, or what is void."""

    # --- time ---

    def wan_time(self, now: int) -> None:
        """The WAN said the time: from now on, until the power goes, the hub knows it."""
        self._time_heard = True
        self.book = clock_heard(self.book, self._moment(now))

    def _moment(self, now: int) -> Moment:
        return Moment(now if self._time_heard else None, self._monotonic())

    # --- permits and questions ---

    @staticmethod
    def is_record(message: bytes) -> bool:
        """Whether a message means to be a permit or a question for a nonce."""
        return message[:1] in {bytes((PERMIT_TAG,)), bytes((QUESTION_TAG,))}

    @staticmethod
    def is_answer(message: bytes) -> bool:
        """Whether a message is one of this gate's own answers: of use at once or never."""
        return message[:1] == bytes((ANSWER_TAG,))

    def within_rate(self, carrier_id: bytes) -> bool:
        """Count a record; false once its carrier has sent too many."""
        times = self._records.setdefault(carrier_id, deque(maxlen=RECORDS_PER_MINUTE))
        now_s = self._monotonic()
        if len(times) == RECORDS_PER_MINUTE and now_s - times[0] < 60:
            return False
        times.append(now_s)
        return True

    def take_record(self, carrier: Carrier, message: bytes, now: int) -> Answer | None:
        """Judge a permit, or give a nonce; ``None`` for what is neither."""
        moment = self._moment(now)
        if message[0] == PERMIT_TAG:
            self._transfers.pop(carrier.carrier_id, None)  # a new permit is for another transfer
            before = clock_heard(self.book, moment)
            self.book, answer = judge_permit(before, self._hub, carrier, message, moment)
            if (before.void_below, before.floor_at) != (self.book.void_below, self.book.floor_at):
                self.learned += 1
            return answer
        if message != QUESTION:
            return None
        nonce = b""
        while not any(nonce):
            nonce = self._random(NONCE_OCTETS)
        self.book, answer = give_nonce(self.book, carrier, nonce, moment)
        return answer

    # --- Commands ---

    def join(self, carrier: Carrier, block: bytes) -> bytes | None:
        """The whole Command once its last block is here; raises ``GbcsDecodeError`` for a transfer that broke."""
        now_s = self._monotonic()
        transfer = self._transfers.get(carrier.carrier_id)
        if transfer is None or now_s - transfer.since_s > COMMAND_WAIT_S:
            transfer = self._transfers[carrier.carrier_id] = _Transfer(Joiner(COMMAND_OCTETS_MAX), now_s)
        try:
            whole = transfer.joiner.add(block)
        except GbcsDecodeError:
            del self._transfers[carrier.carrier_id]
            raise
        if whole is not None:
            del self._transfers[carrier.carrier_id]
        return whole

    def waits_for(self, carrier: Carrier) -> bool:
        """Whether an accepted permit waits for this carrier's Command."""
        since_s = self._monotonic() - COMMAND_WAIT_S
        return any(
            one.permit.carrier_id == carrier.carrier_id and one.accepted_s >= since_s for one in self.book.pending
        )

    def judge(self, carrier: Carrier, command: bytes, now: int) -> Passed | NotPassed:
        """Whether a whole Command may be handed over; the hand-over counts from here on."""
        self.book, answer = judge_command(self.book, self._hub, carrier, command, self._moment(now))
        if answer is None or answer.status is not Status.ACCEPTED:
            return NotPassed(answer)
        return Passed(answer.serial)

    def undone(self, serial: int) -> None:
        """It was not handed over after all."""
        self.book = hand_over_undone(self.book, serial)

    def answered(self, header: GroupingHeader) -> bool:
        """A Response passed; whether that changed the book."""
        before = self.book
        self.book = response_seen(before, header)
        return self.book != before

    def release(self, serial: int, now: int) -> Status:
        """Whether what waits in the gas mailbox may still go."""
        return judge_release(self.book, serial, self._moment(now))

    # --- what survives a power cut ---

    def saved(self) -> dict[str, Any]:  # Any: what JSON holds
        """What the hub's store keeps of the book."""
        book = durable(self.book)
        return {
            "void_below": book.void_below,
            "floor_at": book.floor_at,
            "used": [
                [
                    one.serial, one.digest.hex(), one.key.originator_id.hex(), one.key.target_id.hex(),
                    one.key.originator_counter, one.uses, one.keep_until, one.hold_until, one.nonce_mode, one.answered,
                ]
                for one in book.used
            ],
        }  # fmt: skip

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take up what was saved."""
        self.book = PermitBook(tuple(map(_used, saved["used"])), saved["void_below"], saved["floor_at"])


def _used(row: Any) -> Used:  # Any: what JSON holds
    serial, digest, originator, target, counter, uses, keep_until, hold_until, nonce_mode, answered = row
    return Used(
        serial,
        bytes.fromhex(digest),
        CommandKey(bytes.fromhex(originator), bytes.fromhex(target), counter),
        uses,
        keep_until,
        hold_until,
        nonce_mode,
        answered=answered,
    )
