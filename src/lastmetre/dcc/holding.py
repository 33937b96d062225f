"""Requests that were accepted and are not carried out yet: held for a date, for the one before, or for a person.

Rules this module keeps (reference: duis 1.3, 2.2, 5; threats I3, T17, T51):

* An accepted request ends in one of two ways: it is carried out, or its User is told why not. Both in one change with
  its being let go, so that a crash leaves it held or done, never both and never neither.
* In this order: its date comes; the one before it succeeds; no anomaly threshold is passed, or a person releases it.
  What is due together is made in the order of the dates, then as accepted.
* Who may ask is asked again on the day the Command is made; its counter is held against what was sealed meanwhile.
* Late is not better than never: what was due while the DSP was down for longer than ``late_max_s`` is not made (E30).
* The date 3000-12-31 cancels what the same User holds for the same device and service.
* A sequence goes on when the Response to the request before it says that every part succeeded. Where the DSP cannot
  check that Response (its MAC is for the User), one that came by SM WAN is taken at its word, and one handed back by
  SRV 8.13 is not. DESIGN CHOICE: nothing public says how the DCC decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.access_control import EXECUTION_NEVER, Code, OurCode, ask, check_again
from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.ports import Decision, HeldKind, HeldRequest, OutboxKind, Stage
from lastmetre.dcc.replies import OTHER_EVENT, quarantined, schedule_removed
from lastmetre.dcc.schedules import next_due, read_request
from lastmetre.dcc.transform_service import Done
from lastmetre.duis.documents import parse_request, write_date_time
from lastmetre.duis.errors import DuisDecodeError
from lastmetre.duis.identifiers import RequestID

if TYPE_CHECKING:
    from typing import Protocol

    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.anomalies import Anomaly, AnomalyRules
    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import Clock, DspChange, DspStore, LaneMarks, Tell
    from lastmetre.dcc.replies import Replies

    class Make(Protocol):
        """Makes the Command of a request whose turn it is."""

        def __call__(self, asked: Asked, change: DspChange, dsp_schedule_id: int | None = None) -> Done:
            """Raises ``RequestRefused``."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """How long things are held. DESIGN CHOICE: all of them."""

    late_max_s: int = 86_400
    sequence_wait_s: int = 86_400


class Before(Enum):
    """What is known of the request before one in a sequence."""

    UNKNOWN = auto()
    PENDING = auto()
    SUCCEEDED = auto()
    FAILED = auto()


ENDED: Final = frozenset({Code.NOT_AUTHORISED, Code.NO_SUCH_DEVICE, Code.ROLE_NOT_ELIGIBLE})
"""Refusals that end a schedule; after any other the next read is tried."""


class Holding:
    """Holds requests, and carries them out when their turn comes."""

    def __init__(
        self,
        *,
        dsp_id: bytes,
        inventory: Inventory,
        store: DspStore,
        replies: Replies,
        rules: AnomalyRules,
        limits: HoldLimits,
        make: Make,
        tell: Tell,
        clock: Clock,
    ) -> None:
        self._dsp_id = dsp_id
        self._inventory = inventory
        self._store = store
        self._replies = replies
        self._rules = rules
        self._limits = limits
        self._make = make
        self._tell = tell
        self._clock = clock

    # --- holding

    def hold(
        self, asked: Asked, change: DspChange, marks: LaneMarks, document: bytes,
        passed: frozenset[HeldKind] = frozenset(), accepted_at: int | None = None,
    ) -> Done | None:  # fmt: skip
        """Hold a request if it has to wait, or cancel what it cancels; ``None``: its Command can be made now.

        Raises ``RequestRefused`` when what it would wait for can never come.
        """
        held = _held(asked, document, asked.at if accepted_at is None else accepted_at)
        if HeldKind.LATER not in passed and (due_at := _date_held(asked)) is not None:
            if due_at >= EXECUTION_NEVER:
                return self._cancel(asked, change)
            if due_at > asked.at:
                reason = f"until {write_date_time(due_at)}"
                return _keep(change, held, HeldKind.LATER, reason, due_at=due_at)
        preceding = asked.request.header.preceding_service_request_id
        if HeldKind.SEQUENCE not in passed and preceding is not None:
            before = state_of(change, str(preceding))
            _check_before(before, str(preceding))
            if before is Before.PENDING:
                due_at, reason = asked.at + self._limits.sequence_wait_s, f"until {preceding} has succeeded"
                return _keep(change, held, HeldKind.SEQUENCE, reason, due_at=due_at, after=str(preceding))
        if HeldKind.QUARANTINE not in passed and (anomaly := self._rules.of(asked, change, marks)) is not None:
            return self._quarantine(change, held, anomaly, asked.at)
        return None

    def _quarantine(self, change: DspChange, held: HeldRequest, anomaly: Anomaly, now: int) -> Done:
        done = _keep(change, held, HeldKind.QUARANTINE, anomaly.words)
        event = quarantined(anomaly.breach.value, held.request_id, int(done.facts["number"]))
        alert = self._replies.dcc_alert(OTHER_EVENT, event, now)
        change.put_out(OutboxKind.PUSH, held.user_id, alert, held.request_id, now)
        return done

    def _cancel(self, asked: Asked, change: DspChange) -> Done:
        """Let go of what this User holds for the same device and service, and tell it so."""
        variant, count = asked.request.header.service_reference_variant, 0
        for held in change.held_requests(HeldKind.LATER):
            same = (asked.caller_id, asked.request.header.request_id.target, variant)
            if (held.user_id, held.target_id, held.service_reference_variant) == same:
                self._end(change, held, OurCode.CANCELLED, asked.at)
                count += 1
        facts = {"device_id": asked.request.header.request_id.target.hex(), "variant": variant, "count": str(count)}
        return Done(Code.ACKNOWLEDGED, None, "held_requests_cancelled", facts)

    def _end(self, change: DspChange, held: HeldRequest, code: str, now: int) -> None:
        """A held request comes to nothing; its User is told."""
        if change.let_go(held.number):
            change.fail_request(held.request_id, now)
            document = self._replies.held_outcome(held, code, now)
            change.put_out(OutboxKind.PUSH, held.user_id, document, held.request_id, now)

    # --- carrying out

    def work(self) -> bool:
        """Do what decisions, dates and Responses have made possible; whether anything was done."""
        now = self._clock()
        with self._store.change() as change:
            decisions, due = change.undone_decisions(), change.due(now)
            sequences = bool(change.held_requests(HeldKind.SEQUENCE))
        for decision in decisions:
            self._carry_out_decision(decision, now)
        for held in due:
            if held.kind is HeldKind.SCHEDULE:
                self._run_schedule(held, now)
            elif held.kind is HeldKind.SEQUENCE:
                self._fail(held, RequestRefused(OurCode.PREDECESSOR_FAILED, "the one before brought no answer"), now)
            else:
                self._carry_out(held, frozenset({HeldKind.LATER}), now)
        worked = bool(decisions or due)
        while (sequences or worked) and self._go_on_with_sequences(now):
            worked = True
        return worked

    def _go_on_with_sequences(self, now: int) -> bool:
        with self._store.change() as change:
            waiting = change.held_requests(HeldKind.SEQUENCE)
            ready = [(held, state_of(change, held.after_request_id or "")) for held in waiting]
        moved = False
        for held, before in ready:
            if before is Before.PENDING:
                continue
            moved = True
            try:
                _check_before(before, held.after_request_id or "")
            except RequestRefused as refused:
                self._fail(held, refused, now)
                continue
            self._carry_out(held, frozenset({HeldKind.LATER, HeldKind.SEQUENCE}), now)
        return moved

    def _carry_out(
        self, held: HeldRequest, passed: frozenset[HeldKind], now: int, decision: Decision | None = None
    ) -> None:  # fmt: skip
        request_id = held.request_id
        try:
            with self._store.change() as change:
                if decision is not None:
                    change.mark_decision_done(decision.number, request_id, now)
                if not change.let_go(held.number):
                    return
                done = self._do(held, passed, change, now)
        except RequestRefused as refused:
            self._fail(held, refused, now, decision)
        except DuisDecodeError as error:
            self._fail(held, RequestRefused(OurCode.CONTENT, str(error)), now, decision)
        else:
            self._tell(done.event, **({"request_id": request_id} | done.facts))

    def _do(self, held: HeldRequest, passed: frozenset[HeldKind], change: DspChange, now: int) -> Done:
        if held.kind is HeldKind.LATER and now - (held.due_at or now) > self._limits.late_max_s:
            raise RequestRefused(Code.FUTURE_DATED_TIME_OUT, "its date is long past: the DSP was not there")
        request = parse_request(held.document)
        asked = ask(request, None, held.service, held.user_id, self._inventory, self._dsp_id, now)
        check_again(asked)
        request_id = request.header.request_id
        marks = change.lane(request_id.originator, request_id.target, asked.lane)
        waits = self.hold(asked, change, marks, held.document, passed, held.at)
        if waits is not None:
            return waits
        done = self._make(asked, change)
        if done.payload is not None:  # nobody waits for the answer any more
            document = self._replies.held_outcome(held, done.code, now, done.payload)
            change.put_out(OutboxKind.PUSH, held.user_id, document, held.request_id, now)
        return done

    def _fail(self, held: HeldRequest, refused: RequestRefused, now: int, decision: Decision | None = None) -> None:
        with self._store.change() as change:
            if decision is not None:
                change.mark_decision_done(decision.number, held.request_id, now)
            self._end(change, held, refused.code, now)
        self._tell(
            "held_request_failed",
            request_id=held.request_id,
            user_id=held.user_id.hex(),
            kind=held.kind.value,
            code=refused.code,
            reason=refused.reason,
        )

    # --- quarantine

    def quarantine(self) -> tuple[HeldRequest, ...]:
        """What waits for a person."""
        with self._store.change() as change:
            return change.held_requests(HeldKind.QUARANTINE)

    def decide(self, number: int, *, release: bool, person: str, reason: str) -> bool:
        """Write down a decision; ``work`` carries it out. ``False`` when there is none to take under that number."""
        with self._store.change() as change:
            held = change.held(number)
            if held is None or held.kind is not HeldKind.QUARANTINE:
                return False
            return change.decide(Decision(number, release, person, reason, self._clock()))

    def _carry_out_decision(self, decision: Decision, now: int) -> None:
        """The decision, what it leads to and the audit of both in one change."""
        with self._store.change() as change:
            held = change.held(decision.number)
        if held is None or held.kind is not HeldKind.QUARANTINE:
            with self._store.change() as change:
                change.mark_decision_done(decision.number, None, now)
            held = None
        elif decision.release:
            self._carry_out(held, frozenset(HeldKind), now, decision)
        else:
            self._fail(held, RequestRefused(OurCode.REJECTED, f"{decision.person}: {decision.reason}"), now, decision)
        self._tell(
            "quarantine_decided",
            request_id=None if held is None else held.request_id,
            number=decision.number,
            release=decision.release,
            person=decision.person,
            reason=decision.reason,
        )

    # --- schedules

    def _run_schedule(self, held: HeldRequest, now: int) -> None:
        """Make one read of a schedule; those missed while the DSP was down are not made up for."""
        create = parse_request(held.document)
        assert held.due_at is not None
        try:
            with self._store.change() as change:
                self._move_on(change, held, now)
                done = self._read(held, change, now)
        except (RequestRefused, DuisDecodeError) as error:
            code = error.code if isinstance(error, RequestRefused) else OurCode.CONTENT.value
            with self._store.change() as change:
                self._move_on(change, held, now)
                if code in ENDED and change.let_go(held.number):
                    alert = self._replies.dcc_alert(OTHER_EVENT, schedule_removed(held.target_id, held.number), now)
                    change.put_out(OutboxKind.PUSH, held.user_id, alert, None, now)
            self._tell(
                "scheduled_read_failed", request_id=held.request_id, number=held.number, code=code, reason=str(error)
            )
            return
        self._tell(done.event, **({"request_id": str(create.header.request_id)} | done.facts))

    def _move_on(self, change: DspChange, held: HeldRequest, now: int) -> None:
        due_at = next_due(parse_request(held.document).body, now)
        if due_at is None:
            change.let_go(held.number)
        else:
            change.move_due(held.number, due_at)

    def _read(self, held: HeldRequest, change: DspChange, now: int) -> Done:
        counter = RequestID.parse(held.request_id).counter
        assert held.due_at is not None
        request = read_request(held.user_id, counter, parse_request(held.document).body, held.due_at)
        asked = ask(request, None, held.service, held.user_id, self._inventory, self._dsp_id, now)
        check_again(asked)
        return self._make(asked, change, held.number)


def state_of(change: DspChange, request_id: str) -> Before:
    """What became of a request that another one waits for."""
    if change.failed_request(request_id):
        return Before.FAILED
    command = change.command_of_request(request_id)
    if command is not None:
        if command.answered_at is not None:
            return Before.SUCCEEDED if command.succeeded else Before.FAILED
        return Before.PENDING if command.given_up_at is None else Before.FAILED
    if change.held_of(request_id) is not None:
        return Before.PENDING
    if change.reply(request_id, Stage.COMMAND) is not None:
        return Before.SUCCEEDED  # a request to the DCC itself, which was done when it was answered
    return Before.PENDING if change.reply(request_id, Stage.TRANSFORM) is not None else Before.UNKNOWN


def _check_before(before: Before, request_id: str) -> None:
    if before is Before.UNKNOWN:
        raise RequestRefused(OurCode.NO_PREDECESSOR, f"{request_id} was never accepted")
    if before is Before.FAILED:
        raise RequestRefused(OurCode.PREDECESSOR_FAILED, f"{request_id} did not succeed")


def _date_held(asked: Asked) -> int | None:
    return asked.request.execution_at if asked.held_by_dcc else None


def _held(asked: Asked, document: bytes, at: int) -> HeldRequest:
    request_id = asked.request.header.request_id
    return HeldRequest(
        number=0,
        kind=HeldKind.LATER,
        request_id=str(request_id),
        stage=asked.stage,
        service=asked.service,
        user_id=asked.caller_id,
        target_id=request_id.target,
        service_reference_variant=asked.request.header.service_reference_variant,
        document=document,
        at=at,
    )


def _keep(
    change: DspChange, held: HeldRequest, kind: HeldKind, reason: str, *, due_at: int | None = None,
    after: str | None = None,
) -> Done:  # fmt: skip
    number = change.hold(replace(held, kind=kind, reason=reason, due_at=due_at, after_request_id=after))
    facts = {
        "device_id": held.target_id.hex(),
        "user_id": held.user_id.hex(),
        "kind": kind.value,
        "number": str(number),
        "reason": reason,
    }
    return Done(Code.ACKNOWLEDGED, None, "request_held", facts)
