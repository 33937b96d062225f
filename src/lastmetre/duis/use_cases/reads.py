"""Reads (transform B3, B11): what to read is data in ``reads.toml``; three forms of asking for it are code.

Plain attributes; log entries of a period by selective access; and objects behind a data protection object, whose
Response comes back encrypted for the User (transform A5).
"""

from __future__ import annotations

import tomllib
from functools import partial
from importlib.resources import files
from typing import Any, Final

from lastmetre.duis.use_cases.rules import NEWER_CODES, NEWEST_CODES, Asked, Item, Rule, say
from lastmetre.duis.use_cases.terms import Term, moment, obis, zigbee_time
from lastmetre.duis.use_cases.values import instant, words
from lastmetre.gbcs.build import reads as build

_VERSIONS: Final = {"newer": NEWER_CODES, "newest": NEWEST_CODES}


def _period(asked: Asked) -> tuple[int, int]:
    return instant(asked.body, "ReadLogPeriod/StartDateTime"), instant(asked.body, "ReadLogPeriod/EndDateTime")


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


def _fill_plain(asked: Asked, code: int) -> tuple[Item, ...]:
    targets = build.read_lists()[code]
    terms = (Term(f"value asked of {each.class_id}/{each.obis}") for each in targets for _ in each.attributes)
    values = build.ReadLog(*_period(asked)) if code in build.ReadLog.CODES else build.ReadAttributes()
    return say(asked, values, *terms, code=code)


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


def _fill_protected(asked: Asked, code: int) -> tuple[Item, ...]:
    of_period = code in build.ReadProtectedLog.CODES
    values = build.ReadProtectedLog(*_period(asked)) if of_period else build.ReadProtected()
    return say(asked, values, _PROTECTED, code=code)


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
    fill = _fill_protected if build.read_lists()[row["code"]][0].kind == "protected" else _fill_plain
    return Rule(
        use_case,
        row["code"],
        (row["srv"],),
        partial(fill, code=row["code"]),
        frozenset({row["device"]}),
        partial(_applies, row=row),
        row["source"],
    )


def _load() -> tuple[Rule, ...]:
    table = tomllib.loads(files(__package__).joinpath("reads.toml").read_text(encoding="utf-8"))
    return tuple(_rule(use_case, row) for use_case, row in table["reads"].items())


RULES: Final = _load()
