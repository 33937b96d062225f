"""Components of GBZ payloads with the names of their values. The components themselves are made by ``gbcs.build``."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.duis.use_cases.rules import Part, frame_of
from lastmetre.duis.use_cases.terms import Show, Term, plain, text, zigbee_activation, zigbee_date
from lastmetre.gbcs.build.zigbee import ISSUER_TIMES, Send
from lastmetre.gbcs.zcl import CLUSTER_NAMES, LAYOUTS_BY_NAME, Field, ReadAttributes, ZclCommand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.duis.use_cases.rules import Asked
    from lastmetre.gbcs.build.zigbee import GbzCommand
    from lastmetre.gbcs.gbz import Component

_SHOWS: Final[Mapping[str, Show]] = MappingProxyType({"utc": zigbee_activation, "date": zigbee_date, "os": text})


def _term(field: Field, name: str, given: object) -> Term:
    if isinstance(given, Term):
        return given
    show = _SHOWS.get(field.type, plain)
    if not field.row:
        return Term(str(given) if given else f"{field.name.replace('_', ' ')} of the {name}", show)
    parts = tuple(Term(part.name.replace("_", " "), _SHOWS.get(part.type, plain)) for part in field.row)
    each = str(given) if given else f"{name} {field.name.removesuffix('s').replace('_', ' ')}"
    return Term(each, each=Term(each, parts=parts))


def read(cluster: int, *attribute_ids: int) -> Part:
    """Ask for attributes of a cluster."""
    name = f"read of the {CLUSTER_NAMES[cluster]} attributes"
    each = Term(f"attribute in the {name}", lambda value: f"0x{value:04X}" if isinstance(value, int) else plain(value))
    return Part(name, cluster, ReadAttributes(attribute_ids), Term("", parts=(Term(name, each=each),)))


Named: TypeAlias = "tuple[str, Mapping[str, object]]"
"""What a component is called, and its fields otherwise than by the words of the standard: each a ``Term`` or a name."""


def say(
    asked: Asked, values: GbzCommand, name: str, terms: Mapping[str, object] = MappingProxyType({}), /
) -> tuple[Part, ...]:
    """The one component that ``gbcs.build`` makes of values, with what it and its fields are called here."""
    return say_all(asked, values, (name, terms))


def say_all(asked: Asked, values: GbzCommand, *names: Named, code: int | None = None) -> tuple[Part, ...]:
    """The components that ``gbcs.build`` makes of values, each with its names; reads of attributes name themselves."""
    code = values.message_codes[0] if code is None else code
    left = iter(names)
    parts = []
    for layout, component in zip(values.sends(code), values.components(frame_of(asked, code)), strict=True):
        if isinstance(layout, Send):
            parts.append(_part(layout, component, *next(left)))
        else:
            parts.append(read(layout.cluster, *layout.attribute_ids))
    assert next(left, None) is None, "every name is of a component"
    return tuple(parts)


def _part(layout: Send, component: Component, name: str, terms: Mapping[str, object]) -> Part:
    body = component.body
    assert isinstance(body, ZclCommand), "nothing in a Command is encrypted"
    fields = LAYOUTS_BY_NAME[layout.command].fields
    there = {field for field, _ in body.fields}
    parts = tuple(_term(field, name, terms.get(field.name)) for field in fields if field.name in there)
    issuer_times = frozenset(there & ISSUER_TIMES - layout.fields.keys())
    return Part(name, component.cluster, body, Term("", parts=parts), issuer_times, component.from_date_time)
