"""A filled-in, commented skeleton of any of the 129 requests, for a person to complete.

What a request may hold is data (``shapes.txt``, whose first lines explain its notation). A skeleton has every element
that must be there, with a value that the schema takes; what may be left out stands in comments, and of alternatives
the first is taken unless another is chosen by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from lastmetre.duis.catalogue import NON_CRITICAL, NON_DEVICE, TRANSFORM, service_request
from lastmetre.duis.documents import SCHEMA_VERSION
from lastmetre.duis.errors import DuisError, DuisValueError
from lastmetre.duis.identifiers import RequestID, entity_text
from lastmetre.duis.xml import DS, SR

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE: Final = re.compile(r"( *)([\w()]+)(\?|\{\d+,(?:\d+|\*)\})?((?: @\w+\([^)]*\))*)(?: (=|:) (.*))?")
_ATTRIBUTE: Final = re.compile(r" @(\w+)\(([^)]*)\)")

INT_MAX: Final = {"short": 2**15 - 1, "int": 2**31 - 1, "unsignedShort": 2**16 - 1, "unsignedInt": 2**32 - 1}


@dataclass(frozen=True, slots=True)
class Shape:
    """One line of a shape: an element, or a choice or sequence of those below it."""

    name: str
    least: int = 1
    most: int | None = 1
    attributes: tuple[tuple[str, str], ...] = ()
    values: str | None = None
    inside: tuple[Shape, ...] = ()

    @property
    def is_element(self) -> bool:
        """Whether it is an element of its own."""
        return not self.name.startswith("(")

    def names(self) -> set[str]:
        """The names by which an alternative can be chosen: its own, or those of its first elements."""
        return {self.name} if self.is_element else {name for shape in self.inside for name in shape.names()}


def _quantity(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 1, 1
    if text == "?":
        return 0, 1
    least, most = text[1:-1].split(",")
    return int(least), None if most == "*" else int(most)


class _Reader:
    """Reads ``shapes.txt``."""

    def __init__(self, text: str) -> None:
        self._sections: dict[str, list[str]] = {}
        section: list[str] = []
        for line in text.splitlines():
            if line.startswith(("request ", "group ")):
                section = self._sections[line] = []
            elif line.strip() and not line.startswith("#"):
                section.append(line)

    def request(self, variant: str) -> Shape:
        """The shape of a request's body element."""
        (shape,) = self._block(self._sections[f"request {variant}"], 1)
        return shape

    def _block(self, lines: list[str], indent: int) -> tuple[Shape, ...]:
        shapes = []
        at = 0
        while at < len(lines):
            end = at + 1
            while end < len(lines) and len(lines[end]) - len(lines[end].lstrip(" ")) > indent:
                end += 1
            shapes.append(self._shape(lines[at], lines[at + 1 : end], indent))
            at = end
        return tuple(shapes)

    def _shape(self, line: str, below: list[str], indent: int) -> Shape:
        match = _LINE.fullmatch(line)
        if match is None or len(match.group(1)) != indent:
            raise DuisError(f"shapes.txt cannot be read at {line!r}")
        _, name, quantity, attributes, mark, rest = match.groups()
        inside = self._block(below, indent + 1)
        if mark == ":":
            inside = self._block(self._sections[f"group {rest}"], 1)
        least, most = _quantity(quantity)
        found = tuple(_ATTRIBUTE.findall(attributes or ""))
        return Shape(name, least, most, found, rest if mark == "=" else None, inside)


@cache
def _reader() -> _Reader:
    return _Reader(files(__package__).joinpath("shapes.txt").read_text(encoding="utf-8"))


@cache
def shape_of(variant: str) -> Shape:
    """What the body element of a request may hold."""
    if service_request(variant) is None:
        raise DuisValueError(f"there is no Service Reference Variant {variant}")
    return _reader().request(variant)


# --- writing


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

    def _one(self, shape: Shape, level: int, number: int) -> Iterator[str]:
        pad = "  " * level
        attributes = "".join(f" {name}={quoteattr(self._value(kind, number))}" for name, kind in shape.attributes)
        if shape.values is not None:
            text = escape(self._value(shape.values, 1))
            yield f"{pad}<sr:{shape.name}{attributes}>{text}</sr:{shape.name}> <!-- {_words(shape.values)} -->"
        elif shape.inside:
            yield f"{pad}<sr:{shape.name}{attributes}>"
            for inner in shape.inside:
                yield from self.element(inner, level + 1)
            yield f"{pad}</sr:{shape.name}>"
        else:
            yield f"{pad}<sr:{shape.name}{attributes}/>"

    def _hint(self, shape: Shape) -> str:
        if not shape.is_element:
            return ", ".join(sorted(shape.names()))
        if shape.values is not None:
            value = self._value(shape.values, 1).replace("--", "- -")
            return f"<sr:{shape.name}>{escape(value)}</sr:{shape.name}> {_words(shape.values)}"
        inside = ", ".join(inner.name for inner in shape.inside if inner.is_element)
        return f"{shape.name}{f' with {inside}' if inside else ''}"

    def _value(self, kind: str, number: int) -> str:
        """A value that the schema takes; ``number`` counts repeated elements, for their indexes."""
        word, _, rest = kind.partition(" ")
        if word in _FIXED:
            return _FIXED[word]
        if word == "one":
            return rest.removeprefix("of ").split(" | ")[0]
        if word in ("entity", "entities"):
            return entity_text(self._target)
        if word == "requestID":
            return str(RequestID(self._target, self._target, 1))
        if word.startswith("decimal") or word == "number":
            return _number(word, rest, number)
        least = int(rest.partition("..")[0] or 0) if rest else 0
        if word == "digits":
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
    "positiveInteger": "1",
    "nonNegativeInteger": "0",
    **dict.fromkeys(INT_MAX, "0"),
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


def _words(kind: str) -> str:
    """What a comment says of a value."""
    word, _, rest = kind.partition(" ")
    names = {
        "dateTime": "date and time, UTC; 3000-12-31T00:00:00Z cancels",
        "boolean": "true or false",
        "entity": "entity identifier",
        "entities": "entity identifiers with commas between them",
        "base64": "base64",
        "requestID": "identifier of a request",
        "digits": "digits",
        "hex": "hexadecimal octets",
        "text": "text",
    }
    if word == "one":
        return rest.removeprefix("of ").replace("--", "- -")
    if word in INT_MAX:
        low = 0 if word.startswith("u") else -INT_MAX[word] - 1
        return f"whole number {low} to {INT_MAX[word]}"
    shown = rest.replace("..", " to ") if rest else ""
    if word.startswith("decimal"):
        return f"decimal number {shown}".strip()
    if word == "number":
        return f"whole number {shown}".strip()
    return f"{names.get(word, word)} {shown}".strip()
