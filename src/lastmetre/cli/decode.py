"""``lastmetre decode``: one message in words, or as JSON.

The words show what the JSON form does not say outright: names, times, money, what encrypted parts hold when their key
is at hand, and on demand the octet at which each thing stands. The JSON is ``gbcs.to_json`` and a ``verdicts`` object.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lastmetre.cli.inputs import read_message
from lastmetre.cli.keyrings import Keys
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs import to_json
from lastmetre.gbcs.axdr import encode_length
from lastmetre.gbcs.catalogue import use_case
from lastmetre.gbcs.decoded import DecodedMessage, content_offset
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import Component
from lastmetre.gbcs.json_dlms import DATA
from lastmetre.gbcs.json_gbz import COMPONENT
from lastmetre.gbcs.message import MAC_SIZE, Message, parse_message
from lastmetre.gbcs.opening import OpenedPart, open_parts
from lastmetre.gbcs.payload_words import Line, describe_lines
from lastmetre.gbcs.verdicts import Judgement, Verdict, judge
from lastmetre.gbcs.words import certificate_lines, date_time_words
from lastmetre.links.errors import LinkError
from lastmetre.links.keystore import Keyring

if TYPE_CHECKING:
    from pathlib import Path

Sections = list[tuple[str, list[Line]]]

_NO_KEYS: Final = "not checked: give --keys and --certificates"


def run_decode(
    argument: str,
    *,
    keys: Path | None,
    certificates: Path | None,
    as_json: bool,
    passphrase_file: Path | None = None,
    offsets: bool = False,
    command: str | None = None,
) -> None:
    """Print what the message says; raises ``ProblemError`` for what is no message or no key store."""
    data = read_message(argument)
    message = _parse(data, "this")
    request = _request(command) if command is not None else None
    given = keys is not None or certificates is not None
    ring = Keyring(None, None)
    if given:
        ring = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file).ring
    try:
        judgement = judge(message, ring)
        decoded, opened, refusal = _read_content(message, ring)
    except LinkError as error:
        raise ProblemError(str(error)) from error
    if as_json:
        if decoded is None:
            raise ProblemError(f"its content cannot be read: {refusal}")
        print(json.dumps(to_json(decoded) | {"verdicts": _verdicts(judgement, opened)}, indent=2))
        return
    sections = [
        ("Message", _message_lines(message, len(data))),
        ("Protection", _protection_lines(message, judgement if given else None, len(data))),
        ("Content", _content_lines(message, decoded, opened if given else (), request, refusal)),
    ]
    _print(sections, offsets=offsets)


def _parse(data: bytes, what: str) -> Message:
    try:
        return parse_message(data)
    except GbcsDecodeError as error:
        raise ProblemError(f"{what} is no GBCS message: {error}") from error


def _request(argument: str) -> AccessRequest:
    """The payload of the Command that names what a Response answers."""
    try:
        payload = DecodedMessage.from_message(_parse(read_message(argument), "what --command names")).payload
    except GbcsDecodeError as error:
        raise ProblemError(f"the content of what --command names cannot be read: {error}") from error
    if not isinstance(payload, AccessRequest):
        raise ProblemError("what --command names has no DLMS request; other Responses name their parts themselves")
    return payload


def _read_content(
    message: Message, ring: Keyring
) -> tuple[DecodedMessage | None, tuple[OpenedPart, ...], GbcsDecodeError | None]:
    """The message with its payload and what its encrypted parts hold, or why it cannot be read."""
    try:
        decoded = DecodedMessage.from_message(message)
    except GbcsDecodeError as error:
        return None, (), error
    return decoded, open_parts(decoded, ring), None


def _verdicts(judgement: Judgement, opened: tuple[OpenedPart, ...]) -> dict[str, Any]:
    verdicts: dict[str, Any] = {
        "mac": {"verdict": judgement.mac.value, "words": judgement.mac_words},
        "signature": {"verdict": judgement.signature.value, "words": judgement.signature_words},
    }
    if opened:
        verdicts["encrypted"] = [_opened_json(part) for part in opened]
    return verdicts


def _opened_json(part: OpenedPart) -> dict[str, Any]:
    out: dict[str, Any] = {"number": part.number, "verdict": part.verdict.value, "words": part.words}
    if isinstance(part.content, Component):
        out["content"] = COMPONENT.write(part.content)
    elif part.content is not None:
        out["content"] = DATA.write(part.content)
    return out


def _print(sections: Sections, *, offsets: bool) -> None:
    """Sections with their labels in one column, and before them the octets where they stand when these are wanted."""
    width = max(len(line.label) for _name, lines in sections for line in lines)
    for name, lines in sections:
        print(name)
        for line in lines:
            place = f"{'' if line.offset is None else line.offset:>5}  " if offsets else ""
            print(f"  {place}{line.label:<{width}}  {line.text}".rstrip())


def _message_lines(message: Message, size: int) -> list[Line]:
    header = message.header
    case = use_case(header.message_code)
    name = f"{case.name} {case.title}" if case else "no use case that we know"
    header_at, other_at = _places(message)
    other = header.other_information
    originator, target = header.business_originator_id.hex("-").upper(), header.business_target_id.hex("-").upper()
    lines = [
        Line("kind", f"{message.kind.value}, {size} octets", header_at + 1),
        Line("use case", f"{name} (message code {header.message_code:04X})", other_at),
        Line("from", f"{originator} (Business Originator ID)", header_at + 11),
        Line("to", f"{target} (Business Target ID)", header_at + 20),
        Line("originator counter", _counter_words(header.originator_counter), header_at + 2),
    ]
    if header.date_time:
        lines.append(Line("device time", date_time_words(header.date_time), header_at + 29))
    if other.supplementary_remote_party_id is not None:
        words = f"{other.supplementary_remote_party_id.hex('-').upper()} (Supplementary Remote Party ID)"
        lines.append(Line("on behalf of", words, other_at + 2))
    if other.supplementary_remote_party_counter is not None:
        lines.append(Line("its counter", str(other.supplementary_remote_party_counter), other_at + 10))
    if other.supplementary_originator_counter is not None:
        lines.append(Line("suppl. originator counter", str(other.supplementary_originator_counter), other_at + 18))
    if other.supplementary_certificate is not None:
        said, parts = certificate_lines(other.supplementary_certificate)
        lines.append(Line("its certificate", said, other_at + 18))
        lines += [Line(f"  {label}", text) for label, text in parts]
    return lines


def _places(message: Message) -> tuple[int, int]:
    """Where the grouping header and its other-information begin, in octets from the start of the message."""
    header = message.header
    at = content_offset(message) - len(encode_length(len(message.content)))
    return at - len(header.to_bytes()), at - len(header.other_information.to_bytes())


def _counter_words(counter: int) -> str:
    high, low = divmod(counter, 1 << 32)
    return f"{counter} (UTRN counter {high} << 32)" if high and not low else str(counter)


def _protection_lines(message: Message, judgement: Judgement | None, size: int) -> list[Line]:
    mac_at = size - MAC_SIZE
    signature_at = (mac_at if message.mac is not None else size) - len(message.signature or b"")
    lines = [Line("MAC", "none")] if message.mac is None else [Line("MAC", message.mac.hex(), mac_at)]
    if message.signature is None:
        lines.append(Line("signature", "none yet: this is to be signed"))
    else:
        lines.append(Line("signature", message.signature.hex() or "none", signature_at - 1))
    if judgement is None:
        if message.mac is not None or message.signature:
            lines.append(Line("verdict", _NO_KEYS))
        return lines
    for label, verdict, words in (
        ("MAC verdict", judgement.mac, judgement.mac_words),
        ("signature verdict", judgement.signature, judgement.signature_words),
    ):
        if verdict is not Verdict.ABSENT:
            lines.append(Line(label, f"{verdict.value}: {words}"))
    return lines


def _content_lines(
    message: Message,
    decoded: DecodedMessage | None,
    opened: tuple[OpenedPart, ...],
    request: AccessRequest | None,
    refusal: GbcsDecodeError | None,
) -> list[Line]:
    start = content_offset(message)
    if decoded is None:
        at = None if refusal is None else refusal.offset
        return [Line("unreadable", str(refusal), at), Line("octets", message.content.hex(), start)]
    lines = describe_lines(decoded.payload, request=request, opened={part.number: part for part in opened})
    return [replace(line, offset=None if line.offset is None else start + line.offset) for line in lines]
