"""Building blocks of GBZ payloads: a ZCL command with its constants, its times of issue and the names of its fields.

What every sample has alike (transform A6) is filled in here, so that a rule says only what comes from the request:
provider 0, empty labels, tariff 1, and the time of issue as event, calendar and message identifier.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.rules import Part, frame_of
from lastmetre.duis.use_cases.terms import Show, Term, plain, text, zigbee_activation, zigbee_date
from lastmetre.gbcs.build.zigbee import CONSTANTS, ISSUER_TIMES, Send
from lastmetre.gbcs.zcl import CLUSTER_NAMES, LAYOUTS_BY_NAME, Field, ReadAttributes, ZclCommand, zcl_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.duis.use_cases.rules import Asked
    from lastmetre.gbcs.build.zigbee import GbzCommand

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


def send(
    asked: Asked,
    command: str,
    name: str,
    common: Mapping[str, object] = MappingProxyType({}),
    /,
    *,
    terms: Mapping[str, object] = MappingProxyType({}),
    from_date_time: int | None = None,
    **fields: object,
) -> Part:
    """A ZCL command by its name in ``gbcs.zcl_commands``. ``name`` is what the component is called.

    Fields are given by name, those that several components have alike as ``common``; rows are tuples of dictionaries.
    ``terms`` names fields otherwise than by the words of the standard: each a ``Term``, or its name.
    """
    layout = LAYOUTS_BY_NAME[command]
    given = {**common, **fields}
    values: dict[str, object] = {}
    issuer_times = set()
    for field in layout.fields:
        if field.name in given:
            values[field.name] = given[field.name]
        elif field.name in ISSUER_TIMES:
            values[field.name] = asked.issued
            issuer_times.add(field.name)
        elif not field.optional:
            values[field.name] = CONSTANTS[field.name]
    parts = tuple(_term(field, name, terms.get(field.name)) for field in layout.fields if field.name in values)
    body = zcl_command(command, **values)
    return Part(name, layout.cluster, body, Term("", parts=parts), frozenset(issuer_times), from_date_time)


def read(cluster: int, *attribute_ids: int) -> Part:
    """Ask for attributes of a cluster."""
    name = f"read of the {CLUSTER_NAMES[cluster]} attributes"
    each = Term(f"attribute in the {name}", lambda value: f"0x{value:04X}" if isinstance(value, int) else plain(value))
    return Part(name, cluster, ReadAttributes(attribute_ids), Term("", parts=(Term(name, each=each),)))


def say(
    asked: Asked, values: GbzCommand, name: str, terms: Mapping[str, object] = MappingProxyType({}), /
) -> tuple[Part, ...]:
    """The one component that ``gbcs.build`` makes of values, with what it and its fields are called here."""
    code = values.message_codes[0]
    (layout,) = values.sends(code)
    (component,) = values.components(frame_of(asked, code))
    body = component.body
    assert isinstance(layout, Send), "reads have names of their own"
    assert isinstance(body, ZclCommand), "nothing in a Command is encrypted"
    fields = LAYOUTS_BY_NAME[layout.command].fields
    there = {field for field, _ in body.fields}
    parts = tuple(_term(field, name, terms.get(field.name)) for field in fields if field.name in there)
    issuer_times = frozenset(there & ISSUER_TIMES - layout.fields.keys())
    return (Part(name, component.cluster, body, Term("", parts=parts), issuer_times, component.from_date_time),)
