"""Frozen records made quickly, for the few places where a great many are made.

A frozen dataclass sets its own fields through ``object.__setattr__``, which costs three times what an open one costs.
Readers that make every record of a message therefore fill an *open twin*, a class of the same fields that is not
frozen, and then turn it into the frozen class, before anybody else has seen it:

    header = _OpenHeader(cra, counter, originator, target, other, date_time)
    header.__class__ = GroupingHeader

What comes out is an ordinary instance of the frozen class. A twin takes every field, in order, and runs no
``__post_init__``: it is for values a reader has checked already. Measured in docs/speed.md.
"""

from __future__ import annotations

from dataclasses import fields, make_dataclass
from typing import Any


def open_twin(cls: type) -> Any:
    """The open twin of a frozen slots dataclass; ``Any``, as it becomes another class after it was made."""
    twin_fields = [(field.name, field.type) for field in fields(cls)]
    return make_dataclass(f"Open{cls.__name__}", twin_fields, bases=cls.__bases__, slots=True, eq=False, repr=False)
