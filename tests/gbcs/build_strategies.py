"""Hypothesis strategies for the records of ``gbcs.build``, made from the rules beside their fields."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from hypothesis import strategies as st

from lastmetre.gbcs.build.calendars import ScheduleEntry
from lastmetre.gbcs.build.checks import Digits, Size, Whole, hints_of
from lastmetre.gbcs.build.joining import Der
from lastmetre.gbcs.build.times import Date
from lastmetre.gbcs.errors import GbcsValueError

_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
ROWS_TRIED_MAX = 4


def _sized(base: Any, rule: Size) -> st.SearchStrategy[Any]:
    if base is bytes:
        return st.binary(min_size=rule.low, max_size=min(rule.high, 64))
    if base is str:
        return st.text(_PRINTABLE, min_size=rule.low, max_size=rule.high)
    each = of_hint(get_args(base)[0])
    most = max(rule.low, min(rule.high, ROWS_TRIED_MAX))
    sizes = [st.lists(each, min_size=rule.low, max_size=most)]
    sizes += [st.lists(each, min_size=size, max_size=size) for size in sorted(rule.also)]
    return st.one_of(sizes).map(tuple)


def _whole(rule: Whole) -> st.SearchStrategy[int]:
    return st.integers(rule.low, rule.high) | (st.sampled_from(sorted(rule.also)) if rule.also else st.nothing())


def of_hint(hint: Any) -> st.SearchStrategy[Any]:
    """Values that an annotation allows."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, rule = get_args(hint)
        if isinstance(rule, Digits):
            return st.text("0123456789", min_size=rule.count, max_size=rule.count)
        if isinstance(rule, Der):
            return st.binary(max_size=100).map(lambda octets: bytes((0x30, len(octets))) + octets)
        return _whole(rule) if isinstance(rule, Whole) else _sized(base, rule)
    if origin in {Union, UnionType}:
        return st.one_of([st.none() if each is NoneType else of_hint(each) for each in get_args(hint)])
    if origin is tuple:
        return st.lists(of_hint(get_args(hint)[0]), max_size=ROWS_TRIED_MAX).map(tuple)
    if hint is bool:
        return st.booleans()
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return records(hint)


@cache
def records(record: type) -> st.SearchStrategy[Any]:
    """Records of a kind, those left out that contradict themselves."""
    if record is ScheduleEntry:
        return _entries()
    if record is Date:
        return st.builds(Date, *(of_hint(hint) for hint in hints_of(Date).values())).filter(_for_gas)

    def make(values: dict[str, Any]) -> Any:
        if "schedule" in values or "non_disablement_schedule" in values:
            values = _with_days_in_reach(values)
        try:
            return record(**values)
        except GbcsValueError:
            return None

    hints = {name: of_hint(hint) for name, hint in hints_of(record).items()}
    fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(hints)
    return fields.map(make).filter(lambda made: made is not None)


def _for_gas(date: Date) -> bool:
    return date.year is None or 1900 <= date.year < 2155


def _entries() -> st.SearchStrategy[ScheduleEntry]:
    def days(highest: int) -> st.SearchStrategy[tuple[int, ...]]:
        return st.sets(st.integers(1, highest)).map(sorted).map(tuple)

    script, at, *_, start, end = (of_hint(hint) for hint in hints_of(ScheduleEntry).values())
    return st.builds(ScheduleEntry, script, at, days(7), days(ROWS_TRIED_MAX), start, end)


def _with_days_in_reach(values: dict[str, Any]) -> dict[str, Any]:
    count = len(values["special_days"])
    name = "schedule" if "schedule" in values else "non_disablement_schedule"
    entries = (replace(each, special_days=tuple(d for d in each.special_days if d <= count)) for each in values[name])
    return values | {name: tuple(entries)}
