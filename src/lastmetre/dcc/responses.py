"""Responses and Alerts of devices that come by WAN, and Responses a User hands back after local delivery (SRV 8.13).

Rules this module keeps (reference: duis 1.4, 2.3; gbcs-messages 4.4, 5, 6.1, 10):

* A Response belongs to the Command with its device, originator and counter, or to nothing at all.
* What the DSP can check it checks: a Response that the device did not make goes no further. One MACed for the User is
  *unverified*: it is handed on by WAN, since only the User can check it; returned by the User it is recorded and moves
  nothing.
* Only a verified Response or Alert changes the inventory (``effects``), and a Response only once.
* The same Response again, by whichever road, changes nothing.
* A long message comes in blocks. They are kept until it is whole, and nothing is believed of it before; transfers that
  never end are bounded in number and time.
* An Alert about a Command that its device held for a date is that Command's answer: it goes to the User under its
  RequestID, with the number of the instruction it is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.effects import apply_alert, apply_response
from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.future_dated import outcome_alert
from lastmetre.dcc.inventory import Pending
from lastmetre.dcc.outcomes import outcome_of
from lastmetre.dcc.ports import LocalResponse, OutboxKind
from lastmetre.dcc.sealing import Verdict
from lastmetre.dcc.transform_service import CUSTOMER_IDENTIFICATION, cin_of
from lastmetre.duis.errors import DuisDecodeError
from lastmetre.gbcs.asn1 import Asn1
from lastmetre.gbcs.axdr import read_length
from lastmetre.gbcs.blocks import Joiner
from lastmetre.gbcs.dlms import DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import GbzAlert
from lastmetre.gbcs.message import Cra, Kind, Message, parse_message, read_header
from lastmetre.gbcs.payload import decode_payload

if TYPE_CHECKING:
    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import Clock, DspChange, DspStore, SealedCommand, Tell
    from lastmetre.dcc.replies import Replies
    from lastmetre.dcc.sealing import Broker, Judged

BLOCK_START: Final = b"\xdd\x09"
TRANSFERS_MAX: Final = 1_024
"""Transfers that may have begun at once; one more, and its blocks are dropped. DESIGN CHOICE."""
TRANSFER_TIME_S: Final = 3_600
"""How long a transfer may take. DESIGN CHOICE: as long as a Response may."""

UNREADABLE = "E081301"
"""The returned bytes are no Response (DESIGN CHOICE: the meanings of E081301 to E081303 are not public)."""
NOT_AUTHENTIC = "E081302"
"""The Response was not made by the device it names."""
NO_SUCH_COMMAND = "E081303"
"""The Response answers no Command of this User."""


class _Dropped(Exception):
    """A message from the WAN goes no further; the text says why."""


class _Unsound(_Dropped):
    """Blocks that contradict each other."""

    def __init__(self, words: str, transfer: bytes) -> None:
        super().__init__(words)
        self.transfer = transfer


class Responses:
    """Takes devices' Responses from both sides."""

    def __init__(
        self, *, inventory: Inventory, store: DspStore, broker: Broker, replies: Replies, tell: Tell, clock: Clock
    ) -> None:
        self._inventory = inventory
        self._store = store
        self._broker = broker
        self._replies = replies
        self._tell = tell
        self._clock = clock

    def take_from_wan(self, hub_id: bytes, message: bytes) -> bool:
        """Judge what a hub sent; whether something new is in the outbox."""
        try:
            if message.startswith(BLOCK_START):
                whole = self._join_from_wan(hub_id, message)
                if whole is None:
                    return False
                message = whole
            parsed = self._read(hub_id, message)
            take = self._take_alert if parsed.kind is Kind.ALERT else self._hand_on
            return take(parsed, message)
        except _Dropped as dropped:
            self._tell("message_dropped", hub_id=hub_id.hex(), reason=str(dropped))
            return False

    def _join_from_wan(self, hub_id: bytes, octets: bytes) -> bytes | None:
        try:
            with self._store.change() as change:
                whole = _join(change, hub_id, octets, self._clock())
        except _Unsound as unsound:
            # What came before may be what is wrong: let go of all, so that a sender that begins anew can succeed.
            with self._store.change() as change:
                change.drop_blocks(unsound.transfer)
            raise
        if whole is None:
            self._tell("block_kept", hub_id=hub_id.hex())
        return whole

    def _read(self, hub_id: bytes, message: bytes) -> Message:
        try:
            parsed = parse_message(message)
        except GbcsDecodeError as error:
            raise _Dropped(f"no GBCS message: {error}") from error
        device = self._inventory.device(parsed.header.business_originator_id)
        if device is None or device.hub_id != hub_id:
            raise _Dropped(f"{parsed.header.business_originator_id.hex()} is no device of this hub")
        if parsed.kind not in {Kind.RESPONSE, Kind.ALERT}:
            raise _Dropped(f"a {parsed.kind.value}: devices send Responses and Alerts")
        return parsed

    def _take_alert(self, parsed: Message, message: bytes) -> bool:
        """Hand an Alert on to the User it names; one for the ACB itself is only told (DESIGN CHOICE)."""
        header, now = parsed.header, self._clock()
        judged = self._broker.judge_alert(parsed)
        if judged.verdict is Verdict.REFUSED:
            raise _Dropped(f"an Alert that {judged.reason}")
        alert_code = _alert_code(parsed)
        user = self._inventory.user(header.business_target_id)
        with self._store.change() as change:
            pending = Pending(self._inventory, change)
            new = change.keep_alert(header.business_originator_id, header.originator_counter)
            if new and user is not None:
                document = self._alert_document(change, parsed, alert_code, message, now)
                change.put_out(OutboxKind.PUSH, user.user_id, document, None, now)
            if new and judged.verdict is Verdict.VERIFIED:
                apply_alert(pending, change, parsed)
        self._changed(pending)
        if new:
            self._tell(
                "alert_from_wan",
                device_id=header.business_originator_id.hex(),
                user_id=header.business_target_id.hex(),
                message_code=f"{header.message_code:04X}",
                alert_code=f"{alert_code:04X}",
                message=message.hex(),
                verdict=judged.verdict.value,
            )
        return new and user is not None

    def _alert_document(
        self, change: DspChange, parsed: Message, alert_code: int, message: bytes, now: int
    ) -> bytes:  # fmt: skip
        """An Alert as its User gets it: by itself, or as the outcome of a Command that the device held."""
        header = parsed.header
        found = outcome_alert(
            parsed, message, lambda counter: change.command(
                header.business_originator_id, header.business_target_id, counter
            )
        )  # fmt: skip
        if found is None:
            return self._replies.device_alert(alert_code, message, now)
        return self._replies.future_dated(found.command, found.alert, now)

    def _changed(self, pending: Pending) -> None:
        for device in pending.apply():
            self._tell("device_changed", device_id=device.device_id.hex(), status=device.status.value)

    def _hand_on(self, parsed: Message, message: bytes) -> bool:
        header, now = parsed.header, self._clock()
        device_id = header.business_originator_id
        judged = self._broker.judge_response(message, header)
        if judged.verdict is Verdict.REFUSED:
            raise _Dropped(f"a Response that {judged.reason}")
        with self._store.change() as change:
            command = change.command(device_id, header.business_target_id, header.originator_counter)
            if command is None:
                raise _Dropped(f"a Response to no Command of ours: counter {header.originator_counter}")
            repeated = command.answered_at is not None
            pending = Pending(self._inventory, change)
            if not repeated:
                self._answered(Answer(command, parsed, judged, now), change, pending)
                numbered = command.service_reference_variant == CUSTOMER_IDENTIFICATION
                cin = cin_of(command) if numbered else None
                document = self._replies.device_response(command, message, now, cin)
                change.put_out(OutboxKind.PUSH, command.user_id, document, command.request_id, now)
        self._changed(pending)
        if repeated:
            self._tell("response_repeated", request_id=command.request_id, device_id=device_id.hex())
            return False
        self._tell(
            "response_from_wan",
            request_id=command.request_id,
            device_id=device_id.hex(),
            message_code=f"{header.message_code:04X}",
            message=message.hex(),
            verdict=judged.verdict.value,
        )
        return True

    def _answered(self, answer: Answer, change: DspChange, pending: Pending) -> None:
        """The first answer to a Command: what follows it in a sequence, and the inventory, go by it."""
        outcome = outcome_of(answer.response)
        change.mark_answered(answer.command.request_id, answer.at, succeeded=outcome.succeeded)
        if answer.judged.verdict is Verdict.VERIFIED:
            apply_response(pending, change, answer.command, outcome, answer.at)

    def take_returned(self, asked: Asked, change: DspChange, pending: Pending) -> tuple[str, dict[str, str]]:
        """Judge and record what a User hands back; the event to tell once it is stored. Raises ``RequestRefused``."""
        user_id, request_id = asked.caller_id, str(asked.request.header.request_id)
        try:
            returned = asked.request.returned_response
            assert returned is not None  # the body element was checked
            octets = returned.device_gbcs_response
            if octets.startswith(BLOCK_START):
                whole = _join(change, user_id, octets, asked.at)
                if whole is None:
                    return "block_kept", {"request_id": request_id, "user_id": user_id.hex()}
                octets = whole
            parsed = parse_message(octets)
        except (DuisDecodeError, GbcsDecodeError, _Dropped) as error:
            raise RequestRefused(UNREADABLE, str(error)) from error
        header = parsed.header
        command = change.command(header.business_originator_id, header.business_target_id, header.originator_counter)
        original = returned.original_request_id
        if command is None or command.user_id != user_id or str(original or command.request_id) != command.request_id:
            raise RequestRefused(NO_SUCH_COMMAND, "it answers no Command sealed for this User under that RequestID")
        judged = self._broker.judge_response(octets, header)
        if judged.verdict is Verdict.REFUSED:
            raise RequestRefused(NOT_AUTHENTIC, f"a Response that {judged.reason}")
        if judged.verdict is Verdict.VERIFIED and command.answered_at is None:
            self._answered(Answer(command, parsed, judged, asked.at), change, pending)
        change.keep_local_response(_record(asked, command, octets, judged.verdict))
        return "local_response_recorded", {
            "request_id": request_id,
            "device_id": header.business_originator_id.hex(),
            "message_code": f"{header.message_code:04X}",
            "message": octets.hex(),
            "verdict": judged.verdict.value,
        }

    def drop_old_blocks(self) -> None:
        """Let go of transfers that never became whole."""
        with self._store.change() as change:
            dropped = change.drop_old_blocks(self._clock() - TRANSFER_TIME_S)
        if dropped:
            self._tell("transfers_dropped", count=dropped)


@dataclass(frozen=True, slots=True)
class Answer:
    """A Response, the Command it answers, and what can be said of it."""

    command: SealedCommand
    response: Message
    judged: Judged
    at: int


def _join(change: DspChange, sender_id: bytes, octets: bytes, now: int) -> bytes | None:
    """Keep one block, or several one behind the other; the whole message when nothing is missing."""
    try:
        blocks = _cut(octets)
        header = read_header(blocks[0])
    except GbcsDecodeError as error:
        raise _Dropped(f"no block: {error}") from error
    transfer = sender_id + header.to_bytes()
    kept = change.blocks(transfer)
    if not kept and change.transfers() >= TRANSFERS_MAX:
        raise _Dropped("too many messages in blocks have begun")
    joiner = Joiner()
    try:
        for block in dict.fromkeys((*kept, *blocks)):
            whole = joiner.add(block)
            if whole is not None:
                change.drop_blocks(transfer)
                return whole
    except GbcsDecodeError as error:
        raise _Unsound(f"no sound transfer: {error}", transfer) from error
    for block in blocks:
        change.keep_block(transfer, block, now)
    return None


def _cut(octets: bytes) -> list[bytes]:
    """The blocks in octets that are nothing but blocks."""
    blocks = []
    while octets:
        at = 1 + len(read_header(octets).to_bytes()) + 1  # the tag, the header, no key information
        length, start = read_length(octets, at, "block")
        blocks.append(octets[: start + length])
        octets = octets[start + length :]
    return blocks


def _alert_code(parsed: Message) -> int:
    try:
        payload = decode_payload(parsed.header.message_code, Cra.ALERT, parsed.content)
    except GbcsDecodeError as error:
        raise _Dropped(f"an Alert that cannot be read: {error}") from error
    if isinstance(payload, DataNotification | GbzAlert):
        return payload.alert_code
    code = getattr(payload.value, "alert_code", None) if isinstance(payload, Asn1) else None
    if isinstance(code, int):
        return code
    raise _Dropped("an Alert without a code")


def _record(asked: Asked, command: SealedCommand, message: bytes, verdict: Verdict) -> LocalResponse:
    return LocalResponse(
        returned_by=str(asked.request.header.request_id),
        original_request_id=command.request_id,
        device_id=command.target_id,
        counter=command.counter,
        message=message,
        verdict=verdict.value,
        at=asked.at,
    )
