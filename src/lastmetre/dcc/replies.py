"""The DSP's signed documents: answers in the same exchange, and what is pushed to a User later.

Rules this module keeps (reference: duis 1.2 to 1.4):

* Everything is signed by the DSP, acknowledgements and errors too.
* A refusal says its code and nothing of why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.duis.documents import (
    DeviceAlert,
    GbcsPayload,
    LocalCommand,
    Response,
    ResponseHeader,
    ResponseMessage,
    answer,
    build_signed_response,
    write_date_time,
)
from lastmetre.duis.identifiers import RequestID

if TYPE_CHECKING:
    from lastmetre.dcc.ports import SealedCommand
    from lastmetre.duis.documents import Payload, Request
    from lastmetre.duis.signature import Signer


class Replies:
    """Writes and signs documents in the DSP's name."""

    __slots__ = ("_signer",)

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def to_request(self, request: Request, code: str, at: int, payload: Payload | None = None) -> bytes:
        """The answer in the same exchange: a result, an acknowledgement or an error."""
        return build_signed_response(answer(request, code, at, payload), self._signer)

    def device_response(self, command: SealedCommand, message: bytes, at: int) -> bytes:
        """A device's Response, as it came."""
        return self._later(command, "I0", at, GbcsPayload(message), from_device=True)

    def local_copy(self, command: SealedCommand, at: int) -> bytes:
        """The copy for local delivery of a Command that also leaves by WAN (Command Variants 3 and 7)."""
        return self._later(command, "I0", at, LocalCommand(command.command))

    def failure(self, command: SealedCommand, code: str, at: int) -> bytes:
        """Nothing came of a Command by WAN."""
        return self._later(command, code, at, None)

    def device_alert(self, alert_code: int, message: bytes, at: int) -> bytes:
        """An Alert of a device, as it came."""
        header = ResponseHeader("I0", write_date_time(at))
        return build_signed_response(Response(header, DeviceAlert(alert_code, message)), self._signer)

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
