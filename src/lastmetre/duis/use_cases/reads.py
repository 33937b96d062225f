"""Reads (transform B3, B11): what to read is data in ``reads.toml``; three forms of asking for it are code.

Plain attributes; log entries of a period by selective access; and objects behind a data protection object, whose
Response comes back encrypted for the User (transform A5).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from lastmetre.duis.use_cases.rules import NEWER_CODES, NEWEST_CODES, Asked, Item, Rule, act
from lastmetre.duis.use_cases.terms import Term, moment, obis, zigbee_time
from lastmetre.duis.use_cases.values import date_time_octets, instant, log_seconds, words
from lastmetre.gbcs.axdr import (
    Array,
    Data,
    DoubleLongUnsigned,
    Enum,
    Integer,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
)
from lastmetre.gbcs.dlms import Get, GetWithSelection, Obis

if TYPE_CHECKING:
    from collections.abc import Iterator

RANGE_SELECTOR: Final = 1
"""Access selector of a profile: entries between two values of its clock column."""

_VERSIONS: Final = {"newer": NEWER_CODES, "newest": NEWEST_CODES}


@dataclass(frozen=True, slots=True)
class _Target:
    """One object of a read list and the attributes to read of it."""

    class_id: int
    obis: Obis
    attributes: tuple[int, ...]
    kind: str
    """Empty, or the word in front: log, range, protected."""


def _parse_target(text: str) -> _Target:
    kind, _, rest = text.rpartition(" ")
    place, *attributes = rest.split("#")
    class_id, _, obis = place.partition("/")
    return _Target(int(class_id), Obis.parse(obis), tuple(map(int, attributes)), kind)


def _period(asked: Asked) -> tuple[int, int]:
    start, end = instant(asked.body, "ReadLogPeriod/StartDateTime"), instant(asked.body, "ReadLogPeriod/EndDateTime")
    return start, end


_CLOCK_COLUMN: Final = Structure(
    (LongUnsigned(1), OctetString(Obis.parse("0-0:94.44.100.255").raw), Integer(2), LongUnsigned(0))
)


SELECTION: Final = Term(
    "log selection",
    parts=(
        Term(
            "column",
            parts=(Term("class"), Term("object", obis), Term("attribute"), Term("index")),
        ),
        Term("start", zigbee_time),
        Term("end", zigbee_time),
        Term("columns selected"),
    ),
)


def _by_period(asked: Asked) -> Structure:
    """Selective access: the clock column, from, to, all columns."""
    start, end = (DoubleLongUnsigned(log_seconds(at)) for at in _period(asked))
    return Structure((_CLOCK_COLUMN, start, end, Array(())))


def _fill_plain(asked: Asked, targets: tuple[_Target, ...]) -> tuple[Item, ...]:
    return tuple(item for target in targets for item in _plain_items(asked, target))


def _plain_items(asked: Asked, target: _Target) -> Iterator[Item]:
    term = Term(f"value asked of {target.class_id}/{target.obis}")
    for attribute in target.attributes:
        if target.kind == "log":
            selection = GetWithSelection(target.class_id, target.obis, attribute, RANGE_SELECTOR, _by_period(asked))
            yield Item(selection, NullData(), term)
        else:
            yield Item(Get(target.class_id, target.obis, attribute), NullData(), term)


_RESTRICTION: Final = Term(
    "period",
    parts=(Term("kind"), Term("period", parts=(Term("start", moment), Term("end", moment)))),
)
_PROTECTED: Final = Term(
    "protected read",
    parts=(
        Term("objects", each=Term("object", parts=(Term("class"), Term("name"), Term("attribute"), Term("index"),
                                                   _RESTRICTION))),
        Term("protection"),
    ),
)  # fmt: skip


def _protected_object(asked: Asked, target: _Target) -> Structure:
    restriction: tuple[Data, Data] = (Enum(0), NullData())
    if target.kind == "range":
        restriction = (Enum(1), Structure(tuple(OctetString(date_time_octets(at)) for at in _period(asked))))
    (attribute,) = target.attributes
    name = OctetString(target.obis.raw)
    return Structure((LongUnsigned(target.class_id), name, Integer(attribute), LongUnsigned(0), Structure(restriction)))


def _protection(asked: Asked) -> Structure:
    """Encrypted for the User: transaction identifier, originator, recipient, and key agreement as the means."""
    transaction = b"\x04" + asked.originator_counter.to_bytes(8, "big")
    means = Structure((Enum(2), Structure((OctetString(b"\x02"), OctetString(b"")))))
    parties = Structure(
        (OctetString(transaction), OctetString(asked.user_id), OctetString(asked.target_id), OctetString(b""), means)
    )
    return Structure((Enum(2), parties))


def _fill_protected(asked: Asked, targets: tuple[_Target, ...]) -> tuple[Item, ...]:
    protector, *objects = targets
    data = Structure(
        (Array(tuple(_protected_object(asked, target) for target in objects)), Array((_protection(asked),)))
    )
    return (act(f"{protector.class_id}/{protector.obis}", 1, data, _PROTECTED),)


def _applies(asked: Asked, row: dict[str, Any]) -> bool:
    version, phases, role = asked.device.version, asked.device.phases, asked.user_role
    if "since" in row and version < _VERSIONS[row["since"]]:
        return False
    if "before" in row and version >= _VERSIONS[row["before"]]:
        return False
    if "phases" in row and (phases > 1) != (row["phases"] > 1):
        return False
    if "log" in row and words(asked.body, "LogToRead") != row["log"]:
        return False
    return role == row.get("role", role) and role != row.get("not_role")


def _rule(use_case: str, row: dict[str, Any]) -> Rule:
    targets = tuple(_parse_target(text) for text in row["items"])
    fill = _fill_protected if targets[0].kind == "protected" else _fill_plain
    return Rule(
        use_case,
        row["code"],
        (row["srv"],),
        partial(fill, targets=targets),
        frozenset({row["device"]}),
        partial(_applies, row=row),
        row["source"],
    )


def _load() -> tuple[Rule, ...]:
    table = tomllib.loads(files(__package__).joinpath("reads.toml").read_text(encoding="utf-8"))
    return tuple(_rule(use_case, row) for use_case, row in table["reads"].items())


RULES: Final = _load()
