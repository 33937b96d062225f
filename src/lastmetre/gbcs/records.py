"""Frozen records made quickly, for the few places where a great many are made.

A frozen dataclass sets its own fields through ``object.__setattr__``, which costs three times what an open one costs.
Readers that make every record of a message therefore fill an *open twin*, a class of the same fields that is not
frozen, and then turn it into the frozen class, before anybody else has seen it:

    header = _OpenHeader(cra, counter, originator, target, other, date_time)
    header.__class__ = GroupingHeader

A row of one-field records is made by ``make_many``, without a step of Python for each.

What comes out is an ordinary instance of the frozen class. A twin takes every field, in order, and runs no
``__post_init__``: it is for values a reader has checked already. Measured in docs/speed.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def open_twin(cls: type) -> Any:
    """The open twin of a frozen slots dataclass; ``Any``, as it becomes another class after it was made."""
    twin_fields = [(field.name, field.type) for field in fields(cls)]
    return make_dataclass(f"Open{cls.__name__}", twin_fields, bases=cls.__bases__, slots=True, eq=False, repr=False)


def make_many(classes: Iterable[type], field: str, values: Iterable[object], owner: type) -> list[Any]:
    """One record of each class with its one value; ``field`` is a slot of ``owner``, the class itself or its base."""
    made: list[Any] = list(map(object.__new__, classes))
    deque(map(vars(owner)[field].__set__, made, values), maxlen=0)
    return made
