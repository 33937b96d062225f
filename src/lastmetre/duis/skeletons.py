"""A filled-in, commented skeleton of any of the 129 requests, for a person to complete.

What a request may hold is data (``shapes.txt``). A skeleton has every element
that must be there, with a value that the schema takes; what may be left out stands in comments, and of alternatives
the first is taken unless another is chosen by name.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from lastmetre.duis.catalogue import NON_CRITICAL, NON_DEVICE, TRANSFORM, service_request
from lastmetre.duis.documents import SCHEMA_VERSION
from lastmetre.duis.errors import DuisValueError
from lastmetre.duis.identifiers import RequestID, entity_text
from lastmetre.duis.kinds import INTEGERS, describe
from lastmetre.duis.shapes import Shape, shape_of
from lastmetre.duis.xml import DS, SR

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL: Final = MappingProxyType(
    {
        "6.18.2": frozenset({"MaxDemandActivePowerImportValue"}),
        "6.22": frozenset({"x810D"}),
        "8.11": frozenset({"AddDeviceToCHFWhitelist"}),
    }
)
"""Optional elements taken where nothing is chosen: without them the schema is content, but nothing is asked for."""


def skeleton(variant: str, originator: bytes, target: bytes, counter: int, choose: frozenset[str] = frozenset()) -> str:
    """The request as indented, commented XML, valid by the schema but for its missing signature.

    ``choose`` names alternatives and optional elements to take. Raises ``DuisValueError`` for a name that is none.
    """
    row = service_request(variant)
    shape = shape_of(variant)
    assert row is not None, "it has a shape"
    unknown = choose - _all_names(shape)
    if unknown:
        raise DuisValueError(f"{row.element} has no {', '.join(sorted(unknown))}")
    choose = choose or USUAL.get(variant, choose)
    allowed = NON_DEVICE if row.non_device else TRANSFORM if row.critical else NON_CRITICAL
    command_variant = min(allowed)
    how = "or 2 or 3: local delivery" if allowed is NON_CRITICAL else "the only one for this service"
    body = "\n".join(_Writer(choose, target).element(shape, 2))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- {row.variant} {row.name}. Fill in, then sign with: lastmetre duis sign. -->
<sr:Request xmlns:sr="{SR}" xmlns:ds="{DS}" schemaVersion="{SCHEMA_VERSION}">
  <sr:Header>
    <!-- originator, target (the device, or the DCC itself), and the originator's counter, which only rises -->
    <sr:RequestID>{RequestID(originator, target, counter)}</sr:RequestID>
    <sr:CommandVariant>{command_variant}</sr:CommandVariant> <!-- {how} -->
    <sr:ServiceReference>{row.service_reference}</sr:ServiceReference>
    <sr:ServiceReferenceVariant>{row.variant}</sr:ServiceReferenceVariant>
  </sr:Header>
  <sr:Body>
{body}
  </sr:Body>
</sr:Request>
"""


def _all_names(shape: Shape) -> set[str]:
    return {shape.name} | {name for inner in shape.inside for name in _all_names(inner)}


class _Writer:
    """Writes shapes as indented elements."""

    def __init__(self, choose: frozenset[str], target: bytes) -> None:
        self._choose = choose
        self._target = target

    def element(self, shape: Shape, level: int) -> Iterator[str]:
        """The lines of one particle, repeated as often as it must be there."""
        pad = "  " * level
        if shape.least == 0 and not self._chosen(shape):
            yield f"{pad}<!-- optional: {self._hint(shape)} -->"
            return
        times = max(shape.least, 1)
        for number in range(1, times + 1):
            if shape.name == "(choice)":
                yield from self._choice(shape, level)
            elif shape.name == "(all)":
                yield from self._sequence(shape, level, number)
            else:
                yield from self._one(shape, level, number)
        if shape.is_element and (shape.most is None or shape.most > times):
            yield f"{pad}<!-- {shape.name}: {'any number' if shape.most is None else f'up to {shape.most}'} -->"

    def _chosen(self, shape: Shape) -> bool:
        return bool(_all_names(shape) & self._choose)

    def _sequence(self, shape: Shape, level: int, number: int) -> Iterator[str]:
        for inner in shape.inside:
            if inner.is_element and inner.least == inner.most == 1:
                yield from self._one(inner, level, number)
            else:
                yield from self.element(inner, level)

    def _choice(self, shape: Shape, level: int) -> Iterator[str]:
        chosen = max(shape.inside, key=lambda inner: len(_all_names(inner) & self._choose))
        others = [" and ".join(sorted(inner.names())) for inner in shape.inside if inner is not chosen]
        if others:
            yield f"{'  ' * level}<!-- or instead: {', '.join(others)} -->"
        yield from self.element(chosen, level)

    def _one(self, shape: Shape, level: int, number: int, *, counted: int = 1) -> Iterator[str]:
        """One element, the ``number``-th of its name; ``counted``: the number of the group around it."""
        pad = "  " * level
        attributes = "".join(f" {name}={quoteattr(self._value(kind, number))}" for name, kind in shape.attributes)
        if shape.values is not None:
            text = escape(self._value(shape.values, counted))
            yield f"{pad}<sr:{shape.name}{attributes}>{text}</sr:{shape.name}> <!-- {_comment(shape.values)} -->"
        elif shape.inside:
            yield f"{pad}<sr:{shape.name}{attributes}>"
            for inner in shape.inside:
                if number > 1 and inner.values is not None and inner.least == inner.most == 1:
                    yield from self._one(inner, level + 1, 1, counted=number)
                else:
                    yield from self.element(inner, level + 1)
            yield f"{pad}</sr:{shape.name}>"
        else:
            yield f"{pad}<sr:{shape.name}{attributes}/>"

    def _hint(self, shape: Shape) -> str:
        if not shape.is_element:
            return ", ".join(sorted(shape.names()))
        if shape.values is not None:
            value = self._value(shape.values, 1).replace("--", "- -")
            return f"<sr:{shape.name}>{escape(value)}</sr:{shape.name}> {_comment(shape.values)}"
        inside = ", ".join(inner.name for inner in shape.inside if inner.is_element)
        return f"{shape.name}{f' with {inside}' if inside else ''}"

    def _value(self, kind: str, number: int) -> str:
        """A value that the schema takes; ``number`` counts repeated elements, for their indexes."""
        word, _, rest = kind.partition(" ")
        if word in _FIXED:
            return _FIXED[word]
        if word == "one":
            return rest.removeprefix("token ").removeprefix("of ").split(" | ")[0]
        if word in ("entity", "entities"):
            return entity_text(self._target)
        if word == "requestID":
            return str(RequestID(self._target, self._target, 1))
        if word.startswith("decimal") or word == "number":
            return _number(word, rest, number)
        least = int(rest.partition("..")[0] or 0) if rest else 0
        if word in ("digits", "phone"):
            return "0" * max(least, 1)
        if word == "hex":
            return "00" * max(least, 1)
        if word == "base64":
            return "MAA="
        return "x" * max(least, 1)


_FIXED: Final = {
    "dateTime": "2030-01-15T09:00:00Z",
    "date": "2030-01-15Z",
    "time": "00:00:00Z",
    "boolean": "true",
    **dict.fromkeys(INTEGERS, "0"),
}


def _number(word: str, bounds: str, number: int) -> str:
    """The lowest number allowed, counted on for repeated elements."""
    low, _, high = bounds.partition("..")
    places = int(word.removeprefix("decimal") or 0) if word.startswith("decimal") else 0
    if low.startswith(">"):
        return f"{float(low[1:]) + 10**-places:.{places}f}" if places else str(int(low[1:]) + 1)
    if not low:
        return high.lstrip("<") if high else "0"
    return low if places else str(int(low) + number - 1)


def _comment(kind: str) -> str:
    """What a comment says of a value; no comment holds two dashes."""
    return describe(kind).replace("--", "- -")
