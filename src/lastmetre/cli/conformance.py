"""``lastmetre conformance rtds``: every message of a Reference Test Data Set read, written and checked.

For each file: decoded and encoded again; through JSON text and encoded again; MAC and signature judged; encrypted parts
opened. What the keys at hand cannot tell is *unverifiable*: counted apart, and no failure. A file that cannot be read,
that comes back different, or in which anything is invalid, is named with the stage, the place and the reason.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lastmetre.cli.inputs import FILE_SIZE_MAX
from lastmetre.cli.keyrings import Keys
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.gbcs import encode, from_json, to_json
from lastmetre.gbcs.decoded import DecodedMessage
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsError
from lastmetre.gbcs.gbz import Gbz, GbzAlert
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.opening import open_parts
from lastmetre.gbcs.verdicts import Keyring, Verdict, judge
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lastmetre.gbcs.message import Message
    from lastmetre.gbcs.payload import Payload

SUFFIX: Final = ".hex"
STAGES: Final = ("read", "decode", "encode", "JSON", "MAC", "signature", "encrypted part")
"""What may fail, in the order of trying."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing wrong with one file; ``offset`` counts octets of the message."""

    file: str
    stage: str
    reason: str
    offset: int | None = None


@dataclass(slots=True)
class Tally:
    """What was counted: messages by kind and by payload, verdicts by stage, and every failure."""

    files: int = 0
    same: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    payloads: Counter[str] = field(default_factory=Counter)
    verdicts: dict[str, Counter[str]] = field(
        default_factory=lambda: {stage: Counter() for stage in ("MAC", "signature", "encrypted part")}
    )
    failures: list[Failure] = field(default_factory=list)
    unverifiable: list[Failure] = field(default_factory=list)


def run_rtds(directory: Path, *, certificates: Path, keys: Path, passphrase_file: Path | None, as_json: bool) -> int:
    """Check a release, print what was found, and return the exit status; ``ProblemError`` for unusable arguments."""
    if not directory.is_dir():
        raise ProblemError(f"{directory} is no directory")
    ring = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file).ring
    files = sorted(path for path in directory.rglob("*") if path.suffix.lower() == SUFFIX and path.is_file())
    if not files:
        raise ProblemError(f"there is no {SUFFIX.upper()} file below {directory}")
    tally = Tally()
    try:
        for path in files:
            _check_file(path, str(path.relative_to(directory)), ring, tally)
    except LinkError as error:
        raise ProblemError(str(error)) from error
    print(json.dumps(_as_json(tally), indent=2) if as_json else "\n".join(_as_lines(tally)))
    return EXIT_FAILED if tally.failures else 0


# --- one file --------------------------------------------------------------------------------------------------------


def _check_file(path: Path, name: str, ring: Keyring, tally: Tally) -> None:
    tally.files += 1
    try:
        octets = _read(path)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        tally.failures.append(Failure(name, "read", words or "cannot be read"))
        return
    try:
        envelope = parse_message(octets)
        message = DecodedMessage.from_message(envelope)
    except GbcsDecodeError as error:
        tally.failures.append(Failure(name, "decode", f"{error.field}: {error.reason}", error.offset))
        return
    tally.kinds[message.kind.value] += 1
    tally.payloads[payload_name(message.payload)] += 1
    differences = list(_differences(message, octets, name))
    tally.failures += differences
    tally.same += not differences
    _judge(envelope, message, ring, name, tally)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(FILE_SIZE_MAX + 1)
    if len(data) > FILE_SIZE_MAX:
        raise ValueError("longer than any GBCS message")
    try:
        return bytes.fromhex(data.decode("ascii"))
    except ValueError:
        raise ValueError("holds something else than hexadecimal digits") from None


def payload_name(payload: Payload) -> str:
    """The kind of payload, as the catalogue names it."""
    if isinstance(payload, AccessRequest | AccessResponse | DataNotification):
        return "DLMS"
    return "GBZ" if isinstance(payload, Gbz | GbzAlert) else "ASN.1"


def _differences(message: DecodedMessage, octets: bytes, name: str) -> Iterator[Failure]:
    """Written again from its values, and from its JSON text, a message must be the same octet for octet."""
    for stage in ("encode", "JSON"):
        try:
            if stage == "JSON":
                again = encode(from_json(json.loads(json.dumps(to_json(message), allow_nan=False))))
            else:
                again = encode(message)
        except (GbcsError, ValueError) as error:
            yield Failure(name, stage, str(error))
            continue
        if again != octets:
            pairs = enumerate(zip(octets, again, strict=False))
            place = next((at for at, (one, other) in pairs if one != other), min(len(octets), len(again)))
            here, there = octets[place : place + 4].hex(), again[place : place + 4].hex()
            yield Failure(name, stage, f"has {here or 'nothing'} where {there or 'nothing'} is written", place)


def _judge(envelope: Message, message: DecodedMessage, ring: Keyring, name: str, tally: Tally) -> None:
    judgement = judge(envelope, ring)
    found = [
        ("MAC", judgement.mac, judgement.mac_words),
        ("signature", judgement.signature, judgement.signature_words),
        *(
            ("encrypted part", part.verdict, f"number {part.number}: {part.words}")
            for part in open_parts(message, ring)
        ),
    ]
    for stage, verdict, words in found:
        tally.verdicts[stage][verdict.value] += 1
        if verdict is Verdict.INVALID:
            tally.failures.append(Failure(name, stage, words))
        elif verdict is Verdict.UNVERIFIABLE:
            tally.unverifiable.append(Failure(name, stage, words))


# --- what is told ----------------------------------------------------------------------------------------------------


def _as_json(tally: Tally) -> dict[str, Any]:
    return {
        "files": tally.files,
        "same": tally.same,
        "kinds": dict(sorted(tally.kinds.items())),
        "payloads": dict(sorted(tally.payloads.items())),
        "verdicts": {stage: dict(sorted(counts.items())) for stage, counts in tally.verdicts.items()},
        "failures": [_failure_json(failure) for failure in tally.failures],
        "unverifiable": [_failure_json(failure) for failure in tally.unverifiable],
        "conforms": not tally.failures,
    }


def _failure_json(failure: Failure) -> dict[str, Any]:
    return {"file": failure.file, "stage": failure.stage, "offset": failure.offset, "reason": failure.reason}


def _as_lines(tally: Tally) -> Iterator[str]:
    for title, failures in (("Differs or is invalid:", tally.failures), ("Unverifiable:", tally.unverifiable)):
        if failures:
            yield title
        for failure in failures:
            place = "" if failure.offset is None else f" at octet {failure.offset}"
            yield f"  {failure.file}: {failure.stage}{place}: {failure.reason}"
    yield f"{tally.files} files, {tally.same} the same when written again, also through JSON"
    for label, counts in (("kinds", tally.kinds), ("payloads", tally.payloads)):
        yield f"  {label:<16}" + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    columns = [verdict.value for verdict in Verdict]
    yield " " * 18 + "".join(f"{column:>14}" for column in columns)
    for stage, counts in tally.verdicts.items():
        yield f"  {stage:<16}" + "".join(f"{counts[column]:>14}" for column in columns)
    count = len(tally.failures)
    yield f"{count} failure{'s' * (count != 1)}" if count else "nothing differs, nothing is invalid"
