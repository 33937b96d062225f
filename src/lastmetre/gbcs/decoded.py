"""A whole message as values: header, payload, signature and MAC in one frozen record, read and written exactly.

Rules this module keeps:

* ``encode(decode(x)) == x`` for every message ``decode`` takes.
* ``decode`` takes a message only when its payload can be read as well; ``message.parse_message`` reads the envelope
  alone. Its one error is ``GbcsDecodeError``, with the offset counted from the start of the message.
* What ``encode`` writes, ``decode`` reads as the same value. A payload under a header it does not belong to is a
  ``GbcsValueError``, and so is every other value the standard has no form for.
"""

from __future__ import annotations

from dataclasses import dataclass

from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.message import Envelope, GroupingHeader, Kind, Message, encode_message, read_envelope
from lastmetre.gbcs.payload import Payload, decode_payload, encode_payload
from lastmetre.gbcs.records import open_twin


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """One whole GBCS message as values; ``signature`` and ``mac`` are as in ``message.Message``."""

    header: GroupingHeader
    payload: Payload
    signature: bytes | None
    mac: bytes | None

    @property
    def kind(self) -> Kind:
        """Pre-Command, Command, Response or Alert."""
        return Message(self.header, b"", self.signature, self.mac).kind

    @classmethod
    def from_message(cls, message: Message) -> DecodedMessage:
        """Read the content of a message whose envelope was read already."""
        return _from_envelope((message.header, message.content, message.signature, message.mac))

    def to_message(self) -> Message:
        """The envelope around the payload's octets, unchecked: what ``verdicts`` and ``protect`` work on."""
        return Message(self.header, encode_payload(self.payload), self.signature, self.mac)


_new = object.__new__
_OpenDecodedMessage = open_twin(DecodedMessage)


def _from_envelope(envelope: Envelope) -> DecodedMessage:
    header, content, signature, mac = envelope
    try:
        payload = decode_payload(header.other_information.message_code, header.cra, content)
    except GbcsDecodeError as error:
        offset = content_offset(Message(*envelope)) + error.offset
        raise GbcsDecodeError(error.field, offset, error.reason) from None
    decoded = _new(_OpenDecodedMessage)
    decoded.header, decoded.payload, decoded.signature, decoded.mac = header, payload, signature, mac
    decoded.__class__ = DecodedMessage
    return decoded  # type: ignore[no-any-return]


def content_offset(message: Message) -> int:
    """Where the content begins, in octets from the start of the message."""
    behind = len(message.content) + len(message.mac or b"")
    if message.signature is not None:
        behind += 1 + len(message.signature)
    return len(encode_message(message)) - behind


def decode(data: bytes) -> DecodedMessage:
    """Read one whole message, payload included; raises ``GbcsDecodeError`` for anything else."""
    return _from_envelope(read_envelope(bytes(data)))


def encode(message: DecodedMessage) -> bytes:
    """The octets of a message; raises ``GbcsValueError`` for a value the standard has no form for."""
    octets = encode_message(message.to_message())
    try:
        again = decode(octets)
    except GbcsDecodeError as error:
        raise GbcsValueError(f"these parts make no message together: {error}") from None
    if again != message:
        raise GbcsValueError("these parts would be read as another message; see that the payload fits the message code")
    return octets
