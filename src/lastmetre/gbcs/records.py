"""Frozen records made quickly, for the few places where a great many are made.

A frozen dataclass sets its own fields through ``object.__setattr__``, which costs three times what an open one costs.
Readers that make every record of a message therefore fill an *open twin*, a class of the same fields that is not
frozen, and then turn it into the frozen class, before anybody else has seen it:

    header = object.__new__(_OpenHeader)
    header.cra, header.originator_counter = cra, counter
    ...
    header.__class__ = GroupingHeader

A record of one field is made by ``object.__new__`` and its ``slot_setter``; a row of them by ``make_many``, without a
step of Python for each.

What comes out is an ordinary instance of the frozen class. Every field must be set, and no ``__post_init__`` runs: this
is for values a reader has checked already. Measured in docs/speed.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def open_twin(cls: type) -> Any:
    """The open twin of a frozen slots dataclass; ``Any``, as it becomes another class after it was made."""
    twin_fields = [(field.name, field.type) for field in fields(cls)]
    return make_dataclass(f"Open{cls.__name__}", twin_fields, bases=cls.__bases__, slots=True, eq=False, repr=False)


def slot_setter(cls: type, field: str) -> Callable[[Any, object], None]:
    """What sets a slot past the frozen class; it serves all classes that have inherited the slot from the same base."""
    owner = next(base for base in cls.__mro__ if field in vars(base))
    setter: Callable[[Any, object], None] = vars(owner)[field].__set__
    return setter


def make_many(classes: Iterable[type], setter: Callable[[Any, object], None], values: Iterable[object]) -> list[Any]:
    """One record of each class with its one value."""
    made: list[Any] = list(map(object.__new__, classes))
    deque(map(setter, made, values), maxlen=0)
    return made
