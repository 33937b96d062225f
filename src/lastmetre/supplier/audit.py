"""The audit: append-only, each entry bound to the one before it by SHA-256.

An entry's hash is SHA-256 over the UTF-8 JSON object of its fields, keys sorted, no spaces, non-ASCII characters as
they are:

    {"at", "detail", "documents": {name: SHA-256 in hex}, "event", "from", "order_id", "previous", "seq", "to"}

``seq`` starts at 1 and has no gaps; ``previous`` is the hash of entry ``seq - 1`` in hex, 64 zeros for the first;
``from`` and ``to`` are null where no state changed. Anybody can check a copy with these lines alone. What the chain
cannot show is a cut at its end: publish its head elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.supplier.errors import AuditBroken

if TYPE_CHECKING:
    from collections.abc import Iterable

GENESIS: Final = bytes(32)
"""What the first entry names as its predecessor."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, before it has its place in the chain."""

    order_id: str
    at: int
    event: str
    from_state: str | None = None
    to_state: str | None = None
    detail: str = ""
    documents: tuple[tuple[str, bytes], ...] = ()
    """Name and SHA-256 of each document stored with it."""


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry in its place."""

    seq: int
    entry: Entry
    previous: bytes
    hash: bytes


def chain(entry: Entry, last: ChainedEntry | None) -> ChainedEntry:
    """Gives the entry its place after ``last``."""
    seq = 1 if last is None else last.seq + 1
    previous = GENESIS if last is None else last.hash
    return ChainedEntry(seq, entry, previous, entry_hash(seq, entry, previous))


def entry_hash(seq: int, entry: Entry, previous: bytes) -> bytes:
    """SHA-256 of the entry in the form that the module's docstring gives."""
    fields = {
        "at": entry.at,
        "detail": entry.detail,
        "documents": {name: digest.hex() for name, digest in entry.documents},
        "event": entry.event,
        "from": entry.from_state,
        "order_id": entry.order_id,
        "previous": previous.hex(),
        "seq": seq,
        "to": entry.to_state,
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


def verify(entries: Iterable[ChainedEntry], last: ChainedEntry | None = None) -> ChainedEntry | None:
    """Checks entries that follow ``last``; returns the new head, raises ``AuditBroken`` at the first fault."""
    for found in entries:
        expected = chain(found.entry, last)
        if found.seq != expected.seq:
            raise AuditBroken(found.seq, f"stands where entry {expected.seq} should")
        if found.previous != expected.previous:
            raise AuditBroken(found.seq, "does not name its predecessor's hash")
        if found.hash != expected.hash:
            raise AuditBroken(found.seq, "was changed after it was written")
        last = found
    return last
