"""The DSP's signed documents: answers in the same exchange, and what is pushed to a User later.

Rules this module keeps (reference: duis 1.2 to 1.4):

* Everything is signed by the DSP, acknowledgements and errors too.
* A refusal says its code and nothing of why.
* Which DCC Alert code goes with which event is not public: AD1, the one apart, stands for power outages, and N999 for
  every other event, whose element says what it is (DESIGN CHOICE).
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from lastmetre.duis.catalogue import service_request
from lastmetre.duis.documents import (
    DeviceAlert,
    FutureDatedAlert,
    GbcsPayload,
    LocalCommand,
    OtherMessage,
    OtherPayload,
    Response,
    ResponseHeader,
    ResponseMessage,
    ScheduledMessage,
    answer,
    build_signed_response,
    write_date_time,
)
from lastmetre.duis.identifiers import RequestID, entity_text
from lastmetre.duis.xml import Element

if TYPE_CHECKING:
    from lastmetre.dcc.ports import HeldRequest, SealedCommand
    from lastmetre.duis.documents import Payload, Request
    from lastmetre.duis.signature import Signer

POWER_OUTAGE: Final = "AD1"
OTHER_EVENT: Final = "N999"


class Replies:
    """Writes and signs documents in the DSP's name."""

    __slots__ = ("_signer",)

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def to_request(self, request: Request, code: str, at: int, payload: Payload | None = None) -> bytes:
        """The answer in the same exchange: a result, an acknowledgement or an error."""
        return build_signed_response(answer(request, code, at, payload), self._signer)

    def device_response(
        self, command: SealedCommand, message: bytes, at: int, cin: str | None = None
    ) -> bytes:  # fmt: skip
        """A device's Response, as it came; that of a schedule's read, or with the number the DCC made up, so named."""
        if command.dsp_schedule_id is not None:
            return self._scheduled(command, ScheduledMessage(message, command.dsp_schedule_id), at)
        if cin is not None:
            return self._later(command, "I0", at, _cin_message(message, cin), from_device=True)
        return self._later(command, "I0", at, GbcsPayload(message), from_device=True)

    def future_dated(self, command: SealedCommand, alert: FutureDatedAlert, at: int) -> bytes:
        """The outcome of one instruction of a Command that a device held for its date."""
        return self._later(command, "I0", at, alert, from_device=True)

    def held_outcome(self, held: HeldRequest, code: str, at: int, payload: Payload | None = None) -> bytes:
        """What became of a request that was held."""
        header = ResponseHeader(code, write_date_time(at), RequestID.parse(held.request_id))
        return build_signed_response(Response(header, _message(held.service_reference_variant, payload)), self._signer)

    def dcc_alert(self, code: str, event: Element, at: int) -> bytes:
        """An Alert of the DCC itself."""
        parts = (Element("DCCAlertCode", code), Element("DCCAlert", children=(event,)))
        body = OtherMessage(Element("DCCAlertMessage", children=parts))
        return build_signed_response(Response(ResponseHeader("I0", write_date_time(at)), body), self._signer)

    def local_copy(self, command: SealedCommand, at: int) -> bytes:
        """The copy for local delivery of a Command that also leaves by WAN (Command Variants 3 and 7)."""
        return self._later(command, "I0", at, LocalCommand(command.command))

    def failure(self, command: SealedCommand, code: str, at: int) -> bytes:
        """Nothing came of a Command by WAN."""
        if command.dsp_schedule_id is not None:
            parts = (
                Element("CommandRequestID", command.request_id.partition("#")[0]),
                Element("DSPScheduleID", str(command.dsp_schedule_id)),
                Element("DeviceID", entity_text(command.target_id)),
            )
            return self.dcc_alert(OTHER_EVENT, Element("CommandFailure", children=parts), at)
        return self._later(command, code, at, None)

    def device_alert(self, alert_code: int, message: bytes, at: int) -> bytes:
        """An Alert of a device, as it came."""
        header = ResponseHeader("I0", write_date_time(at))
        return build_signed_response(Response(header, DeviceAlert(alert_code, message)), self._signer)

    def _scheduled(self, command: SealedCommand, payload: ScheduledMessage, at: int) -> bytes:
        header = ResponseHeader("I0", write_date_time(at))
        body = ResponseMessage(command.service_reference, command.service_reference_variant, payload)
        return build_signed_response(Response(header, body), self._signer)

    def _later(
        self, command: SealedCommand, code: str, at: int, payload: Payload | None, *, from_device: bool = False
    ) -> bytes:
        request_id = RequestID.parse(command.request_id)
        header = ResponseHeader(
            response_code=code,
            response_date_time=write_date_time(at),
            request_id=request_id,
            response_id=request_id.response_id if from_device else None,
        )
        body = ResponseMessage(command.service_reference, command.service_reference_variant, payload)
        return build_signed_response(Response(header, body), self._signer)


def _message(variant: str, payload: Payload | None) -> ResponseMessage:
    row = service_request(variant)
    assert row is not None, "it was accepted"
    return ResponseMessage(row.service_reference, variant, payload)


def _cin_message(message: bytes, cin: str) -> OtherPayload:
    parts = (
        Element("GBCSPayload", b64encode(message).decode()),
        Element("CustomerIdentificationNumber", cin),
    )
    return OtherPayload(Element("CINMessage", children=parts))


# --- events of the DCC -----------------------------------------------------------------------------------------------


def quarantined(breach: str, request_id: str, number: int) -> Element:
    """A request was quarantined; ``breach`` is the name of the kind of threshold."""
    parts = (Element("RequestID", request_id), Element("QuarantineEventRef", str(number)))
    return Element("QuarantinedRequest", children=(Element(breach, children=parts),))


def power_outage(hub_id: bytes, since_at: int, mpxn: str) -> Element:
    """The supply of a home has failed."""
    parts = (
        Element("CommsHubDeviceID", entity_text(hub_id)),
        Element("StartDateTime", write_date_time(since_at)),
        Element("MPxN", mpxn),
    )
    return Element("PowerOutageEvent", children=parts)


def schedule_removed(device_id: bytes, number: int) -> Element:
    """A schedule has ended with its device, or its User's registration."""
    parts = (Element("DeviceID", entity_text(device_id)), Element("DSPScheduleID", str(number)))
    return Element("DSPScheduleRemoval", children=parts)


def removed_from_inventory(device_id: bytes) -> Element:
    """A device has left the inventory."""
    change = Element("DeviceStatusChange", children=(Element("DeviceRemovedFromInventory"),))
    return Element("DeviceStatusChangeEvent", children=(Element("DeviceID", entity_text(device_id)), change))
