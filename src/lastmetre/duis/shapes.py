"""What the documents of schema 5.4 may hold, as data: the shapes of ``shapes.txt``, whose first lines explain it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from lastmetre.duis.catalogue import SIGNED_PRE_COMMAND, service_request, service_requests
from lastmetre.duis.errors import DuisError, DuisValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE: Final = re.compile(r"( *)([\w()]+)(\?|\{\d+,(?:\d+|\*)\})?((?: @\w+\([^)]*\))*)(?: (=|:) (.*))?")
_ATTRIBUTE: Final = re.compile(r" @(\w+)\(([^)]*)\)")
_SECTIONS: Final = ("request ", "payload ", "message ", "group ")


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
            if line.startswith(_SECTIONS):
                section = self._sections[line] = []
            elif line.strip() and not line.startswith("#"):
                section.append(line)

    def names(self, sort: str) -> tuple[str, ...]:
        """The names of all sections of a sort."""
        return tuple(title.removeprefix(f"{sort} ") for title in self._sections if title.startswith(f"{sort} "))

    def shape(self, title: str) -> Shape:
        """The one shape of a section."""
        (shape,) = self._block(self._sections[title], 1)
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
    return _reader().shape(f"request {variant}")


@cache
def _requests() -> Mapping[str, str]:
    titles = {row.element: f"request {variant}" for variant, row in service_requests().items()}
    return {**titles, SIGNED_PRE_COMMAND: "request signed"}


def shape_of_body(element: str) -> Shape | None:
    """What a request's body element of this name may hold; None when schema 5.4 has no such request."""
    title = _requests().get(element)
    return None if title is None else _reader().shape(title)


def shape_of_answer(element: str) -> Shape | None:
    """What a payload or a message of the DCC's own of this name may hold; None when the table has none."""
    for sort in ("payload", "message"):
        if element in _reader().names(sort):
            return _reader().shape(f"{sort} {element}")
    return None
