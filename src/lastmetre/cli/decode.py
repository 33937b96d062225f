"""``lastmetre decode``: one message in words, or as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lastmetre.cli.inputs import read_message
from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.catalogue import use_case
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Message, parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.payload_words import describe
from lastmetre.gbcs.verdicts import Judgement, Verdict, judge
from lastmetre.links.errors import LinkError
from lastmetre.links.keystore import Keyring

if TYPE_CHECKING:
    from pathlib import Path

Lines = list[tuple[str, str]]


def run_decode(
    argument: str, *, keys: Path | None, certificates: Path | None, as_json: bool, passphrase_file: Path | None = None
) -> None:
    """Print what the message says; raises ``ProblemError`` for what is no message or no key store."""
    data = read_message(argument)
    try:
        message = parse_message(data)
    except GbcsDecodeError as error:
        raise ProblemError(f"this is no GBCS message: {error}") from error
    judgement = None
    if keys is not None or certificates is not None:
        try:
            judgement = judge(
                message, Keyring.open(certificates=certificates, keys=keys, password=read_passphrase(passphrase_file))
            )
        except LinkError as error:
            raise ProblemError(str(error)) from error
    sections = [("Message", _message_lines(message, len(data))), ("Protection", _protection_lines(message, judgement))]
    sections.append(("Content", _content_lines(message)))
    if as_json:
        print(json.dumps({name.lower(): dict(_unique(lines)) for name, lines in sections}, indent=2))
        return
    width = max(len(label) for _name, lines in sections for label, _text in lines)
    for name, lines in sections:
        print(name)
        for label, text in lines:
            print(f"  {label:<{width}}  {text}")


def _unique(lines: Lines) -> Lines:
    """Labels made unique, so that JSON loses none."""
    seen: dict[str, int] = {}
    unique = []
    for label, text in lines:
        seen[label] = seen.get(label, 0) + 1
        unique.append((label if seen[label] == 1 else f"{label} ({seen[label]})", text))
    return unique


def _message_lines(message: Message, size: int) -> Lines:
    header = message.header
    case = use_case(header.message_code)
    name = f"{case.name} {case.title}" if case else "no use case that we know"
    other = header.other_information
    lines = [
        ("kind", f"{message.kind.value}, {size} octets"),
        ("use case", f"{name} (message code {header.message_code:04X})"),
        ("from", f"{header.business_originator_id.hex('-').upper()} (Business Originator ID)"),
        ("to", f"{header.business_target_id.hex('-').upper()} (Business Target ID)"),
        ("originator counter", _counter_words(header.originator_counter)),
    ]
    if header.date_time:
        lines.append(("device time", header.date_time.hex()))
    if other.supplementary_remote_party_id is not None:
        lines.append(("on behalf of", f"{other.supplementary_remote_party_id.hex('-').upper()} (Supplementary)"))
    if other.supplementary_remote_party_counter is not None:
        lines.append(("its counter", str(other.supplementary_remote_party_counter)))
    if other.supplementary_originator_counter is not None:
        lines.append(("suppl. originator counter", str(other.supplementary_originator_counter)))
    if other.supplementary_certificate is not None:
        lines.append(("its certificate", f"{len(other.supplementary_certificate)} octets of DER"))
    return lines


def _counter_words(counter: int) -> str:
    high, low = divmod(counter, 1 << 32)
    return f"{counter} (UTRN counter {high} << 32)" if high and not low else str(counter)


def _protection_lines(message: Message, judgement: Judgement | None) -> Lines:
    mac = "none" if message.mac is None else message.mac.hex()
    signature = "none yet: this is to be signed" if message.signature is None else message.signature.hex() or "none"
    lines = [("MAC", mac), ("signature", signature)]
    if judgement is None:
        if message.mac is not None or message.signature:
            lines.append(("verdict", "not checked: give --keys and --certificates"))
        return lines
    for label, verdict, words in (
        ("MAC verdict", judgement.mac, judgement.mac_words),
        ("signature verdict", judgement.signature, judgement.signature_words),
    ):
        if verdict is not Verdict.ABSENT:
            lines.append((label, f"{verdict.value}: {words}"))
    return lines


def _content_lines(message: Message) -> Lines:
    header = message.header
    try:
        payload = decode_payload(header.message_code, header.cra, message.content)
    except GbcsDecodeError as error:
        return [("unreadable", str(error)), ("octets", message.content.hex())]
    return describe(payload)
