"""The envelope of every GBCS message: MAC header, grouping header, content, signature, MAC.

Rules this module keeps (reference: gbcs-messages section 3):

* ``encode_message(parse_message(x)) == x`` for every message it accepts: only minimal lengths come in and go out.
* Nothing may follow a message, and nothing is guessed: bytes that do not fit raise ``GbcsDecodeError``.
* It reads structure only. Whether a message may be believed is decided in ``acceptance``.

A Pre-Command is told by what it lacks: it ends with its content, without even a signature length.

Reading is what everything else waits for, so some things here are done for speed, and measured (docs/speed.md):

* ``_read_usual`` takes what is in order by one ``struct``, and gives up at anything else, which ``_read_carefully``
  then reads from the beginning; it alone says what is wrong. A test holds the two against each
  other.
* A message read from octets remembers them, so that checking need not write them again.
* Plain other-information, the same for every message of a use case, is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import lru_cache
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception
from typing import Final, TypeAlias

from lastmetre.gbcs.axdr import encode_length, read_length
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.records import open_twin

MESSAGE_SIZE_MAX: Final = 65_536
"""Largest message read, in octets. The largest published one has 3,986; the bound only stops abuse."""

MAC_SIZE: Final = 12
SIGNATURE_SIZE: Final = 64
ENTITY_ID_SIZE: Final = 8
DATE_TIME_SIZE: Final = 12

TAG_GENERAL_CIPHERING: Final = 0xDD
TAG_GENERAL_SIGNING: Final = 0xDF
MAC_HEADER_START: Final = bytes.fromhex("dd000000000000")
"""General-ciphering tag and its six empty fields (section 3.2)."""
SECURITY_HEADER: Final = bytes.fromhex("1100000000")
"""Security control byte (authentication only) and the invocation counter, always zero."""
BLOCK_HEADER_MARK: Final = 0x09
"""Second byte of a general block transfer block; a whole message has zero there (section 6.1)."""

_FIXED = Struct(">BBQB8sB8s")
"""Transaction-id length, CRA flag, counter, then two identifiers, each behind its length: 28 octets."""
_SHORTEST_HEADER_SIZE: Final = _FIXED.size + 1 + 3
"""The same, then an empty date-time, and other-information that is two octets of message code: four in five headers."""
_USUAL_HEADER = Struct(">xHQB8sB8sIB")
"""That shortest header behind its ``DF``, cut for speed: length and CRA flag are one number, so are empty date-time,
other-information's length and message code; behind them stands the content's length, or its first octet."""
_USUAL_SIZE: Final = _USUAL_HEADER.size
_REMOTE_PARTY = Struct(">H8sQ")
"""Message code, Supplementary Remote Party ID and its counter."""
_PLAIN_CODES_MAX: Final = 1_024
"""Message codes whose plain other-information is shared; the standard has some 300. Bounds what strangers can fill."""
_SIZES_KEPT: Final = 4_096
"""Sizes of messages whose first octets are kept."""


class Cra(IntEnum):
    """Whether a message is a Command, a Response or an Alert: the first octet of the transaction-id."""

    COMMAND = 1
    RESPONSE = 2
    ALERT = 3


class Kind(Enum):
    """What a message is, told from its form alone."""

    PRE_COMMAND = "Pre-Command"
    COMMAND = "Command"
    RESPONSE = "Response"
    ALERT = "Alert"


@dataclass(frozen=True, slots=True)
class OtherInformation:
    """The grouping header's other-information: the message code and, for Unknown Remote Parties, who really asked.

    Five lengths exist (section 3.4): 2, 10, 18, 26 octets, and 18 followed by a key-agreement certificate.
    """

    message_code: int
    supplementary_remote_party_id: bytes | None = None
    supplementary_remote_party_counter: int | None = None
    supplementary_originator_counter: int | None = None
    supplementary_certificate: bytes | None = None

    def to_bytes(self) -> bytes:
        """The octets inside the length; raises ``GbcsValueError`` for a combination the standard has no form for."""
        out = self.message_code.to_bytes(2, "big")
        party, counter = self.supplementary_remote_party_id, self.supplementary_remote_party_counter
        last, certificate = self.supplementary_originator_counter, self.supplementary_certificate
        if party is None:
            if (counter, last, certificate) != (None, None, None):
                raise GbcsValueError("a supplementary counter or certificate needs the Supplementary Remote Party ID")
            return out
        if len(party) != ENTITY_ID_SIZE:
            raise GbcsValueError("the Supplementary Remote Party ID has 8 octets")
        out += party
        if counter is None:
            if (last, certificate) != (None, None):
                raise GbcsValueError("the Supplementary Remote Party Counter must come before what follows it")
            return out
        out += counter.to_bytes(8, "big")
        if last is not None and certificate is not None:
            raise GbcsValueError("a Supplementary Originator Counter and a certificate never stand together")
        if last is not None:
            out += last.to_bytes(8, "big")
        if certificate is not None:
            out += certificate
        return out

    @classmethod
    def from_bytes(cls, data: bytes, offset: int = 0) -> OtherInformation:
        """Read the octets inside the length; ``offset`` is where they stand in the message, for errors."""
        size = len(data)
        if size not in {2, 10, 18, 26} and size <= 26:
            raise GbcsDecodeError("other_information", offset, f"{size} octets is none of the five known forms")
        if size == 18:  # the commonest but one
            return cls(*_REMOTE_PARTY.unpack(data))
        code = int.from_bytes(data[:2], "big")
        if size == 2:
            return cls(code)
        party = data[2:10]
        if size == 10:
            return cls(code, party)
        counter = int.from_bytes(data[10:18], "big")
        if size == 26:
            return cls(code, party, counter, int.from_bytes(data[18:26], "big"))
        if data[18] != 0x30:
            raise GbcsDecodeError("other_information", offset + 18, "more than 26 octets must hold a DER certificate")
        return cls(code, party, counter, None, data[18:])


@dataclass(frozen=True, slots=True)
class GroupingHeader:
    """Who says what kind of thing to whom, under which counter (section 3.3)."""

    cra: Cra
    originator_counter: int
    business_originator_id: bytes
    business_target_id: bytes
    other_information: OtherInformation
    date_time: bytes = b""

    @property
    def message_code(self) -> int:
        """The 16-bit code that names the use case."""
        return self.other_information.message_code

    def to_bytes(self) -> bytes:
        """From the transaction-id length up to and including other-information: what follows the ``DF`` tag."""
        if not 0 <= self.originator_counter < 1 << 64:
            raise GbcsValueError("an Originator Counter has 64 bits")
        if len(self.business_originator_id) != ENTITY_ID_SIZE or len(self.business_target_id) != ENTITY_ID_SIZE:
            raise GbcsValueError("a Business Originator or Target ID has 8 octets")
        if len(self.date_time) not in {0, DATE_TIME_SIZE}:
            raise GbcsValueError("the header's date-time is empty or has 12 octets")
        other = self.other_information.to_bytes()
        fixed = _FIXED.pack(
            9, self.cra, self.originator_counter, 8, self.business_originator_id, 8, self.business_target_id
        )
        return b"".join((fixed, bytes((len(self.date_time),)), self.date_time, encode_length(len(other)), other))


class _ReadFrom:
    """A place for the octets a message was read from. No field of the value: never compared, copied or replaced."""

    __slots__ = ("read_from",)
    read_from: bytes


@dataclass(frozen=True, slots=True)
class Message(_ReadFrom):
    """One whole GBCS message, read but not judged.

    ``signature`` is ``None`` when even its length is absent (a Pre-Command), ``b""`` for length zero, else r ‖ s.
    ``mac`` is ``None`` when there is no MAC header, else 12 octets.
    """

    header: GroupingHeader
    content: bytes
    signature: bytes | None
    mac: bytes | None

    @property
    def kind(self) -> Kind:
        """Pre-Command, Command, Response or Alert."""
        if self.signature is None:
            return Kind.PRE_COMMAND
        return _KIND_BY_CRA[self.header.cra]


_CRAS: Final = {cra.value: cra for cra in Cra}
_CRAS_BY_START: Final = {9 << 8 | cra.value: cra for cra in Cra}
_PLAIN_OTHERS: Final[dict[int, OtherInformation]] = {}
_KIND_BY_CRA: Final = {Cra.COMMAND: Kind.COMMAND, Cra.RESPONSE: Kind.RESPONSE, Cra.ALERT: Kind.ALERT}


def to_be_signed(message: Message) -> bytes:
    """The octets a signature covers: after the ``DF`` tag, up to the end of the content (section 4.1)."""
    data = getattr(message, "read_from", None)
    if data is None:
        return _write_to_be_signed(message)
    behind = 0 if message.signature is None else 1 + len(message.signature)
    if message.mac is None:
        return data[1 : len(data) - behind]  # type: ignore[no-any-return]
    return data[_mac_header(len(data))[1] + 1 : len(data) - behind - MAC_SIZE]  # type: ignore[no-any-return]


def df_part(message: Message) -> bytes:
    """From the ``DF`` tag to the end of the signature: what a MAC covers (section 4.3)."""
    data = getattr(message, "read_from", None)
    if data is None:
        return _write_df(message)
    return data if message.mac is None else data[_mac_header(len(data))[1] : -MAC_SIZE]  # type: ignore[no-any-return]


def _write_to_be_signed(message: Message) -> bytes:
    return b"".join((message.header.to_bytes(), encode_length(len(message.content)), message.content))


def _write_df(message: Message) -> bytes:
    start = bytes((TAG_GENERAL_SIGNING,)) + _write_to_be_signed(message)
    if message.signature is None:
        return start
    if len(message.signature) not in {0, SIGNATURE_SIZE}:
        raise GbcsValueError("a signature is empty or has 64 octets")
    return b"".join((start, bytes((len(message.signature),)), message.signature))


def wrap_with_mac(df: bytes, mac: bytes) -> bytes:
    """Put the MAC header before a DF part and the MAC behind it (section 3.2)."""
    if len(mac) != MAC_SIZE:
        raise GbcsValueError("a GBCS MAC has 12 octets")
    length = encode_length(len(SECURITY_HEADER) + len(df) + MAC_SIZE)
    return b"".join((MAC_HEADER_START, length, SECURITY_HEADER, df, mac))


@lru_cache(_SIZES_KEPT)
def _mac_header(size: int) -> tuple[bytes, int]:
    """What every message of so many octets that has a MAC begins with, up to its ``DF`` tag, and where that stands.

    There is one such beginning for each size, as the only thing in it that changes is a length in its shortest form.
    """
    for octets in (1, 2, 3):
        length = encode_length(size - len(MAC_HEADER_START) - octets)
        if len(length) == octets:
            start = b"".join((MAC_HEADER_START, length, SECURITY_HEADER))
            return start + bytes((TAG_GENERAL_SIGNING,)), len(start)
    return b"no message has this size", 0


def encode_message(message: Message) -> bytes:
    """The octets of a message, written anew; raises ``GbcsValueError`` for what the standard has no form for."""
    df = _write_df(message)
    if message.mac is None:
        return df
    if message.signature is None:
        raise GbcsValueError("a Pre-Command carries no MAC")
    return wrap_with_mac(df, message.mac)


Envelope: TypeAlias = tuple[GroupingHeader, bytes, bytes | None, bytes | None]
"""The four parts of a message: header, content, signature, MAC."""


def parse_message(data: bytes) -> Message:
    """Read one whole message; raises ``GbcsDecodeError`` for anything else, blocks of a longer one included."""
    message = _new(_OpenMessage)
    message.header, message.content, message.signature, message.mac = _read_usual(data) or _read_carefully(data)
    message.read_from = data
    message.__class__ = Message
    return message  # type: ignore[no-any-return]


def read_envelope(data: bytes) -> Envelope:
    """As ``parse_message``, for who needs the parts and not the message."""
    return _read_usual(data) or _read_carefully(data)


def _read_usual(data: bytes) -> Envelope | None:
    """The parts of a message of the usual form; ``None`` for any other octets, whatever is the matter with them."""
    size = len(data)
    if not _USUAL_SIZE <= size <= MESSAGE_SIZE_MAX:
        return None
    beginning, at = _mac_header(size)
    if data.startswith(beginning):
        end = size - MAC_SIZE
        mac = data[end:]
    elif data[0] == TAG_GENERAL_SIGNING:
        at, end, mac = 0, size, None
    else:
        return None
    try:
        start, counter, eight, originator, eight_again, target, code, length = _USUAL_HEADER.unpack_from(data, at)
    except StructError:
        return None
    cra, other, date_time = _CRAS_BY_START.get(start), _PLAIN_OTHERS.get(code), b""
    if cra is None or not eight == 8 == eight_again:
        return None
    at += _USUAL_SIZE
    if other is None:  # one in five has a date-time, or other-information that says more
        try:
            date_time, other, at = _read_rest_of_header(data, at - _USUAL_SIZE + 1 + _FIXED.size, end)
            length = data[at]
        except (GbcsDecodeError, IndexError):
            return None
        at += 1
    if length >= 0x80:
        if end - at < 0x80:
            return None
        if length == 0x81 and data[at] >= 0x80:
            at, length = at + 1, data[at]
        elif length == 0x82 and data[at]:
            at, length = at + 2, data[at] << 8 | data[at + 1]
        else:
            return None
    content_end = at + length
    left = end - content_end  # for the signature and its length
    if left == 1 and not data[content_end]:
        signature = b""
    elif left == 1 + SIGNATURE_SIZE and data[content_end] == SIGNATURE_SIZE:
        signature = data[content_end + 1 : end]
    elif not left and mac is None and cra is Cra.COMMAND:
        signature = None
    else:
        return None
    header = _new(_OpenHeader)
    header.cra, header.originator_counter = cra, counter
    header.business_originator_id, header.business_target_id = originator, target
    header.other_information, header.date_time = other, date_time
    header.__class__ = GroupingHeader
    return header, data[at:content_end], signature, mac


def _read_carefully(data: bytes) -> Envelope:
    """The parts of any message, or the error that says what is wrong."""
    size = len(data)
    if size > MESSAGE_SIZE_MAX:
        raise GbcsDecodeError("message", MESSAGE_SIZE_MAX, f"longer than {MESSAGE_SIZE_MAX} octets")
    if data.startswith(MAC_HEADER_START):
        length, start = read_length(data, 7, "mac_header")
        if length != size - start:
            raise GbcsDecodeError("mac_header", 7, f"announces {length} octets where {size - start} follow")
        if length < len(SECURITY_HEADER) + MAC_SIZE:
            raise GbcsDecodeError("mac_header", 7, "too short to hold a MAC")
        if not data.startswith(SECURITY_HEADER, start):
            raise GbcsDecodeError("mac_header", start, "the security header must be 11 00000000")
        end = size - MAC_SIZE
        return _parse_df(data, start + 5, end, data[end:])
    if data.startswith(b"\xdf"):
        return _parse_df(data, 0, size, None)
    if not size:
        raise GbcsDecodeError("message", 0, "there is nothing here")
    if data[0] != TAG_GENERAL_CIPHERING:
        raise GbcsDecodeError("message", 0, f"a message begins with DD or DF, not {data[0]:02X}")
    if size > 1 and data[1] == BLOCK_HEADER_MARK:
        raise GbcsDecodeError("mac_header", 1, "this is one block of a longer message; join its blocks first")
    raise GbcsDecodeError("mac_header", 0, "the six fields after DD must be empty")


def read_header(data: bytes) -> GroupingHeader:
    """Only the grouping header, or the routing header of a block: what a hub or an agent needs to pass a message on.

    Nothing after the header is looked at. Raises ``GbcsDecodeError``.
    """
    if data[:1] == b"\xdd":
        if data[1:2] == b"\x09":
            return _parse_header(data, 1, len(data))[0]
        if data[:7] != MAC_HEADER_START:
            raise GbcsDecodeError("mac_header", 0, "the six fields after DD must be empty")
        _length, start = read_length(data, 7, "mac_header")
        offset = start + len(SECURITY_HEADER)
    else:
        offset = 0
    if data[offset : offset + 1] != b"\xdf":
        raise GbcsDecodeError("grouping_header", offset, "a grouping header begins with DF")
    return _parse_header(data, offset + 1, len(data))[0]


def _parse_header(data: bytes, offset: int, end: int) -> tuple[GroupingHeader, int]:
    """Read from the transaction-id length; returns the header and where the content's length stands."""
    if end - offset < _SHORTEST_HEADER_SIZE:
        raise GbcsDecodeError("grouping_header", offset, "cut short")
    nine, flag, counter, eight, originator, eight_again, target = _FIXED.unpack_from(data, offset)
    if nine != 9:
        raise GbcsDecodeError("transaction_id", offset, "its length must be 9")
    cra = _CRAS.get(flag)
    if cra is None:
        raise GbcsDecodeError("cra_flag", offset + 1, f"{flag:02X} is not 01 Command, 02 Response or 03 Alert")
    if eight != 8:
        raise GbcsDecodeError("business_originator_id", offset + 10, "its length must be 8")
    if eight_again != 8:
        raise GbcsDecodeError("business_target_id", offset + 19, "its length must be 8")
    date_time, other, at = _read_rest_of_header(data, offset + _FIXED.size, end)
    return GroupingHeader(cra, counter, originator, target, other, date_time), at


def _read_rest_of_header(data: bytes, at: int, end: int) -> tuple[bytes, OtherInformation, int]:
    """Date-time, other-information, and where the content's length stands."""
    if data[at]:
        date_time, at = _read_date_time(data, at, end)
    else:
        date_time, at = b"", at + 1
    return date_time, *_read_other(data, at, end)


def _plain_other(code: int) -> OtherInformation:
    """The one value of a message code; its key is what ``_read_usual`` finds, an empty date-time and ``02`` before."""
    key = 2 << 16 | code
    other = _PLAIN_OTHERS.get(key)
    if other is None:
        if len(_PLAIN_OTHERS) >= _PLAIN_CODES_MAX:
            _PLAIN_OTHERS.clear()
        other = _PLAIN_OTHERS[key] = OtherInformation(code)
    return other


def _read_other(data: bytes, at: int, end: int) -> tuple[OtherInformation, int]:
    size, start = data[at], at + 1
    if size >= 0x80:
        size, start = read_length(data, at, "other_information")
    after = start + size
    if after > end:
        raise GbcsDecodeError("other_information", at, f"announces {size} octets where {end - start} follow")
    if size == 2:
        return _plain_other(data[start] << 8 | data[start + 1]), after
    return OtherInformation.from_bytes(data[start:after], start), after


def _read_date_time(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    size = data[at]
    if size != DATE_TIME_SIZE:
        raise GbcsDecodeError("date_time", at, "the header's date-time is empty or has 12 octets")
    after = at + 1 + DATE_TIME_SIZE
    if after >= end:
        raise GbcsDecodeError("date_time", at, "cut short")
    return data[at + 1 : after], after


def _parse_df(data: bytes, offset: int, end: int, mac: bytes | None) -> Envelope:
    """Read a DF part that fills ``data[offset:end]`` exactly."""
    if end - offset < 1 or data[offset] != TAG_GENERAL_SIGNING:
        raise GbcsDecodeError("grouping_header", offset, "a grouping header begins with DF")
    header, at = _parse_header(data, offset + 1, end)
    if at >= end:
        raise GbcsDecodeError("content", at, "its length is missing")
    size, start = data[at], at + 1
    if size >= 0x80:
        size, start = read_length(data, at, "content")
    at = start + size
    if at > end:
        raise GbcsDecodeError("content", start, f"announces {size} octets where {end - start} follow")
    content = data[start:at]
    if at == end:
        if mac is not None or header.cra is not Cra.COMMAND:
            raise GbcsDecodeError("signature", at, "its length is missing")
        signature = None
    else:
        size = data[at]
        if size not in {0, SIGNATURE_SIZE}:
            raise GbcsDecodeError("signature", at, f"its length must be 00 or 40, not {size:02X}")
        if at + 1 + size != end:
            raise GbcsDecodeError("signature", at, f"announces {size} octets where {end - at - 1} follow")
        signature = data[at + 1 : end]
    return header, content, signature, mac


_new = object.__new__
_OpenHeader = open_twin(GroupingHeader)
_OpenMessage = open_twin(Message)
