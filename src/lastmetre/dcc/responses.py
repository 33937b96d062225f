"""Responses and Alerts of devices that come by WAN, and Responses a User hands back after local delivery (SRV 8.13).

Rules this module keeps (reference: duis 2.3; gbcs-messages 4.4, 5):

* A Response belongs to the Command with its device, originator and counter, or to nothing at all.
* What the DSP can check it checks: a Response that the device did not make goes no further. One MACed for the User is
  *unverified*: it is handed on by WAN, since only the User can check it; returned by the User it is recorded and moves
  nothing.
* The same Response again, by whichever road, changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.ports import LocalResponse, OutboxKind
from lastmetre.dcc.sealing import Verdict
from lastmetre.duis.errors import DuisDecodeError
from lastmetre.gbcs.dlms import DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import GbzAlert
from lastmetre.gbcs.message import Cra, Kind, Message, parse_message
from lastmetre.gbcs.payload import decode_payload

if TYPE_CHECKING:
    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import Clock, DspChange, DspStore, SealedCommand, Tell
    from lastmetre.dcc.replies import Replies
    from lastmetre.dcc.sealing import Broker

UNREADABLE = "E081301"
"""The returned bytes are no Response (DESIGN CHOICE: the meanings of E081301 to E081303 are not public)."""
NOT_AUTHENTIC = "E081302"
"""The Response was not made by the device it names."""
NO_SUCH_COMMAND = "E081303"
"""The Response answers no Command of this User."""


class _Dropped(Exception):
    """A message from the WAN goes no further; the text says why."""


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
            parsed = self._read(hub_id, message)
            take = self._take_alert if parsed.kind is Kind.ALERT else self._hand_on
            return take(parsed, message)
        except _Dropped as dropped:
            self._tell("message_dropped", hub_id=hub_id.hex(), reason=str(dropped))
            return False

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
            new = change.keep_alert(header.business_originator_id, header.originator_counter)
            if new and user is not None:
                document = self._replies.device_alert(alert_code, message, now)
                change.put_out(OutboxKind.PUSH, user.user_id, document, None, now)
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
            if not repeated:
                change.mark_answered(command.request_id, now)
                document = self._replies.device_response(command, message, now)
                change.put_out(OutboxKind.PUSH, command.user_id, document, command.request_id, now)
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

    def take_returned(self, asked: Asked, change: DspChange) -> dict[str, str]:
        """Judge and record what a User hands back; the event to tell once it is stored. Raises ``RequestRefused``."""
        user_id, request_id = asked.caller_id, str(asked.request.header.request_id)
        try:
            returned = asked.request.returned_response
            assert returned is not None  # the body element was checked
            parsed = parse_message(returned.device_gbcs_response)
        except (DuisDecodeError, GbcsDecodeError) as error:
            raise RequestRefused(UNREADABLE, str(error)) from error
        header = parsed.header
        command = change.command(header.business_originator_id, header.business_target_id, header.originator_counter)
        original = returned.original_request_id
        if command is None or command.user_id != user_id or str(original or command.request_id) != command.request_id:
            raise RequestRefused(NO_SUCH_COMMAND, "it answers no Command sealed for this User under that RequestID")
        judged = self._broker.judge_response(returned.device_gbcs_response, header)
        if judged.verdict is Verdict.REFUSED:
            raise RequestRefused(NOT_AUTHENTIC, f"a Response that {judged.reason}")
        if judged.verdict is Verdict.VERIFIED and command.answered_at is None:
            change.mark_answered(command.request_id, asked.at)
        record = _record(asked, command, returned.device_gbcs_response, judged.verdict)
        change.keep_local_response(record)
        return {
            "request_id": request_id,
            "device_id": header.business_originator_id.hex(),
            "message_code": f"{header.message_code:04X}",
            "message": returned.device_gbcs_response.hex(),
            "verdict": judged.verdict.value,
        }


def _alert_code(parsed: Message) -> int:
    try:
        payload = decode_payload(parsed.header.message_code, Cra.ALERT, parsed.content)
    except GbcsDecodeError as error:
        raise _Dropped(f"an Alert that cannot be read: {error}") from error
    if isinstance(payload, DataNotification | GbzAlert):
        return payload.alert_code
    raise _Dropped("an Alert whose code is inside ASN.1, which is not read yet")


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
