"""Checks a copy of the supplier's audit, by the written rule alone: shares no code with the program that writes it.

It needs nothing but this file and Python; an assessor may take it away and read it in five minutes. The rule:

- A copy is one JSON object a line, in order. Its fields are ``seq at order_id event from to detail documents previous
  hash``, and no others.
- ``hash`` is SHA-256, in hex, of the UTF-8 text of the JSON object of all other fields: keys sorted, no spaces,
  non-ASCII characters as they are.
- ``seq`` starts at 1 and has no gaps; ``previous`` is the ``hash`` of the entry before, 64 zeros for the first.

A chain cannot show that its end was cut off. Whoever kept a *head* (seq and hash of an entry, published elsewhere at
the time) gives it: the copy must then hold that very entry.

    python audit_verify.py audit.ndjson [--head SEQ:HASH]
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ZEROS: Final = "0" * 64
HEX: Final = re.compile("[0-9a-f]{64}")
TEXTS: Final = ("order_id", "event", "detail")
FIELDS: Final = {"seq", "at", "from", "to", "documents", "previous", "hash", *TEXTS}


class ChainBroken(Exception):
    """The copy is not the audit as it was written; names the first entry that cannot stand where it stands."""

    def __init__(self, entry: int, why: str) -> None:
        super().__init__(f"entry {entry}: {why}")
        self.entry = entry
        self.why = why


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain, or one that was published: nothing up to it was changed if its hash is right."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


def read_head(text: str) -> Head:
    """From ``SEQ:HASH``; raises ``ValueError``."""
    seq, _, digest = text.strip().partition(":")
    if not seq.isdecimal() or not HEX.fullmatch(digest.lower()):
        raise ValueError(f"{text!r} is no head: it is written SEQ:HASH, the hash in 64 hexadecimal digits")
    return Head(int(seq), digest.lower())


def verify(lines: Iterable[str | bytes], published: Head | None = None) -> Head:
    """Checks a copy and returns its head; raises ``ChainBroken`` at the first entry that does not hold."""
    head = Head(0, ZEROS)
    held = published is None or published == head
    for line in lines:
        if not line.strip():
            continue
        head = _next(head, line)
        if published is not None and published.seq == head.seq:
            if published.hash != head.hash:
                raise ChainBroken(head.seq, "is another than the one whose hash was published")
            held = True
    if not held:
        assert published is not None
        raise ChainBroken(head.seq + 1, f"is missing: a head was published for entry {published.seq}")
    return head


def _next(head: Head, line: str | bytes) -> Head:
    expected = head.seq + 1
    entry = _entry(expected, line)
    if entry["seq"] != expected:
        raise ChainBroken(expected, f"is missing or out of order: entry {entry['seq']} stands in its place")
    if entry["previous"] != head.hash:
        raise ChainBroken(expected, "does not name the hash of the entry before it")
    stated = entry.pop("hash")
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        found = hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError:
        raise ChainBroken(expected, "holds text that is no text") from None
    if found != stated:
        raise ChainBroken(expected, "was changed after it was written: its hash is not that of its content")
    return Head(expected, found)


def _entry(expected: int, line: str | bytes) -> dict[str, object]:
    try:
        entry = json.loads(line, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise ChainBroken(expected, "cannot be read as JSON") from None
    if not isinstance(entry, dict):
        raise ChainBroken(expected, "is no JSON object")
    if entry.keys() != FIELDS:
        wrong = ", ".join(sorted(map(str, entry.keys() ^ FIELDS)))
        raise ChainBroken(expected, f"has other fields than an entry has: {wrong}")
    whole = all(type(entry[name]) is int for name in ("seq", "at"))
    texts = all(isinstance(entry[name], str) for name in TEXTS)
    states = all(entry[name] is None or isinstance(entry[name], str) for name in ("from", "to"))
    digests = all(isinstance(entry[name], str) and HEX.fullmatch(str(entry[name])) for name in ("previous", "hash"))
    documents = entry["documents"]
    named = isinstance(documents, dict) and all(
        isinstance(digest, str) and HEX.fullmatch(digest) for digest in documents.values()
    )
    if not (whole and texts and states and digests and named):
        raise ChainBroken(expected, "has a field of the wrong kind")
    return entry


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")  # which of the two is meant, readers disagree
    return found


def main(arguments: list[str]) -> int:
    """As a program of its own."""
    try:
        published = read_head(arguments[2]) if arguments[1:2] == ["--head"] else None
        with open(arguments[0], "rb") as file:  # noqa: PTH123 - nothing but the simplest
            head = verify(file, published)
    except (IndexError, OSError, ValueError, ChainBroken) as error:
        print(f"audit_verify: {error}", file=sys.stderr)
        return 1
    print(f"the chain holds up to {head}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
