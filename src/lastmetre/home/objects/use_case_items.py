"""Which items a use case may ask of a meter: a table (``use_case_items.toml``) and the one question asked of it."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.dlms import Action, Get, GetWithSelection, Obis, Set
from lastmetre.home.attributes import Attribute, parse_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lastmetre.gbcs.dlms import Spec

Item = tuple[str, Attribute]
_LETTERS: Final[dict[type, str]] = {Get: "G", Set: "S", Action: "A", GetWithSelection: "L"}


@cache
def _table() -> Mapping[str, Mapping[str, list[str]]]:
    text = (files(__package__) / "use_case_items.toml").read_text("utf-8")
    table: Mapping[str, Mapping[str, list[str]]] = tomllib.loads(text)
    return table


@cache
def items_of(use_case_name: str) -> tuple[Item, ...] | None:
    """The items of a use case in order, or ``None`` for one without a list."""
    texts = _table()["items"].get(use_case_name)
    if texts is None:
        return None
    return tuple((text[0], parse_attribute(text[2:])) for text in texts)


@cache
def protected_by(protection_object: Obis) -> frozenset[Attribute]:
    """What may be read through a class 30 object."""
    return frozenset(
        parse_attribute(text)
        for name, texts in _table()["protected"].items()
        if Obis.parse(name) == protection_object
        for text in texts
    )


def item_of(spec: Spec) -> Item:
    """What an item asks for, in the table's words."""
    number = spec.method if isinstance(spec, Action) else spec.attribute
    return _LETTERS[type(spec)], Attribute(spec.class_id, spec.obis, number)


def belongs(use_case_name: str, specs: Iterable[Spec], *, in_order: bool) -> bool:
    """Whether these are items of this use case, and in its order where that counts."""
    allowed = items_of(use_case_name)
    if allowed is None:
        return False
    if not in_order:
        return all(item_of(spec) in allowed for spec in specs)
    rest = iter(allowed)
    return all(item_of(spec) in rest for spec in specs)
