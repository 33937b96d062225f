"""Whether a body has the structure that schema 5.4 gives it, without the schema's files.

Rules kept here (reference: duis sections 1.2 to 1.4; the table is ``shapes.txt``):

* Every element stands where the table has it, as often as it may, with the attributes and the value it must have. The
  first that does not is named by its path, with what was expected there.
* Nothing that the schema takes is refused (tests/duis/test_structure.py lets the official schema judge).
* What was found right is remembered for short values and for small groups of them, such as dates: they come again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import DuisDecodeError
from lastmetre.duis.kinds import describe, fits
from lastmetre.duis.shapes import shape_of_answer, shape_of_body

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lastmetre.duis.shapes import Shape
    from lastmetre.duis.xml import Element

KEPT_MAX: Final = 1_024
"""Values, and orders of elements, remembered for one place of the table; strangers cannot make it grow beyond."""
KEPT_SIZE_MAX: Final = 8
"""Children of the largest group remembered whole."""
KEPT_TEXT_MAX: Final = 40
"""Longest text remembered, as in ``xml``."""
SHOWN_MAX: Final = 40
NAMED_MAX: Final = 6
"""Names of expected elements that are listed."""
_XML_SPACE: Final = " \t\r\n"
_INSTANCE: Final = "{http://www.w3.org/2001/XMLSchema-instance}"


class _Misplaced(Exception):
    """The elements do not follow each other as the table has it."""

    def __init__(self, at: int, expected: Sequence[str]) -> None:
        super().__init__()
        self.at = at
        self.expected = expected


class _Particle:
    """What may stand at a place: an element, or a choice or sequence, so many times."""

    __slots__ = ("first", "inside", "is_choice", "least", "most", "node", "nullable")

    def __init__(self, shape: Shape) -> None:
        self.nullable: bool
        self.least = shape.least
        self.most = shape.most
        self.node = _Node(shape) if shape.is_element else None
        self.is_choice = shape.name == "(choice)"
        self.inside = () if shape.is_element else tuple(map(_Particle, shape.inside))
        if shape.is_element:
            once = False
            self.first = frozenset({shape.name})
        elif self.is_choice:
            once = any(inner.nullable for inner in self.inside)
            self.first = frozenset().union(*(inner.first for inner in self.inside))
        else:
            once = all(inner.nullable for inner in self.inside)
            self.first = _first_of(self.inside)
        self.nullable = once or shape.least == 0

    def take(self, names: tuple[str, ...], at: int, found: list[_Node], room: list[str]) -> int:
        """How far this particle reaches from ``at``; ``room`` gathers what more could have stood where it stopped.

        One name decides which way to go, since no model of the schema is ambiguous.
        """
        count = 0
        start = at
        while (self.most is None or count < self.most) and at < len(names) and names[at] in self.first:
            at = self._once(names, at, found, room)
            count += 1
        if count < self.least and not self.nullable:
            raise _Misplaced(at, sorted(self.first))
        if self.most is None or count < self.most:
            if at > start:
                room.clear()
            room.extend(sorted(self.first))
        elif at > start:
            room.clear()
        return at

    def _once(self, names: tuple[str, ...], at: int, found: list[_Node], room: list[str]) -> int:
        if self.node is not None:
            found.append(self.node)
            return at + 1
        if self.is_choice:
            chosen = next(inner for inner in self.inside if names[at] in inner.first)
            return chosen.take(names, at, found, room)
        for inner in self.inside:
            at = inner.take(names, at, found, room)
        return at


def _first_of(particles: tuple[_Particle, ...]) -> frozenset[str]:
    first: frozenset[str] = frozenset()
    for particle in particles:
        first |= particle.first
        if not particle.nullable:
            break
    return first


class _Wrong(Exception):
    """Something is not as the table has it; every element around it puts its step in front."""

    def __init__(self, reason: str, *steps: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps = list(steps)


class _Node:
    """An element of the table, ready to be held against one of a document."""

    __slots__ = ("_attributes", "_fits", "_kind", "_model", "_orders", "kept", "name")

    def __init__(self, shape: Shape) -> None:
        self.name = shape.name
        self._attributes = shape.attributes
        self._kind = shape.values
        self._fits = None if shape.values is None else fits(shape.values)
        self._model = tuple(map(_Particle, shape.inside))
        self._orders: dict[tuple[str, ...], tuple[_Node, ...]] = {}
        self.kept: set[Element] = set()

    def check(self, element: Element) -> bool:
        """Hold the element against the table, and everything inside it; whether it is remembered."""
        if self._kind == "any":
            return False
        _, text, children, attributes = element
        if attributes or self._attributes:
            self._check_attributes(dict(attributes))
        keep = len(text) <= KEPT_TEXT_MAX and len(children) <= KEPT_SIZE_MAX
        if self._fits is not None and self._kind is not None:
            if children:
                raise _Wrong(f"is not expected in {self.name}", children[0].name)
            if not self._fits(text):
                raise _Wrong(f"{_shown(text)} is not as expected: {describe(self._kind)}")
        else:
            # Space stands between elements, so not in an element that can have none.
            if text and (not self._model or text.strip(_XML_SPACE)):
                raise _Wrong(f"the text {_shown(text)} is not expected there")
            if children or self._model:
                keep = self._check_children(children) and keep
        if keep:
            if len(self.kept) >= KEPT_MAX:
                self.kept.clear()
            self.kept.add(element)
        return keep

    def _check_children(self, children: tuple[Element, ...]) -> bool:
        """Hold the children against the model; whether all of them are remembered."""
        names = tuple([child[0] for child in children])
        nodes = self._orders.get(names)
        if nodes is None:
            nodes = self._order(names)
            if len(names) <= KEPT_MAX:
                if len(self._orders) >= KEPT_MAX:
                    self._orders.clear()
                self._orders[names] = nodes
        all_kept = True
        for child, node in zip(children, nodes, strict=True):
            if child not in node.kept:
                try:
                    all_kept = node.check(child) and all_kept
                except _Wrong as wrong:
                    wrong.steps.insert(0, _step(child, children))
                    raise
        return all_kept

    def _order(self, names: tuple[str, ...]) -> tuple[_Node, ...]:
        found: list[_Node] = []
        room: list[str] = []
        at = 0
        try:
            for particle in self._model:
                at = particle.take(names, at, found, room)
        except _Misplaced as misplaced:
            raise _misplaced(names, misplaced.at, misplaced.expected, self.name) from None
        if at < len(names):
            raise _misplaced(names, at, (*room, f"the end of {self.name}"), self.name)
        return tuple(found)

    def _check_attributes(self, given: dict[str, str]) -> None:
        for name, kind in self._attributes:
            value = given.pop(name, None)
            if value is None:
                raise _Wrong(f"is missing; expected: {describe(kind)}", f"@{name}")
            if not fits(kind)(value):
                raise _Wrong(f"{_shown(value)} is not as expected: {describe(kind)}", f"@{name}")
        for name in given:
            # A hint where a schema can be found, or of which type an element is, says nothing that is read here.
            if not name.startswith(_INSTANCE):
                raise _Wrong("is not expected there", f"@{name}")


def _misplaced(names: tuple[str, ...], at: int, expected: Sequence[str], where: str) -> _Wrong:
    wanted = " or ".join(dict.fromkeys(expected)) if len(expected) <= NAMED_MAX else f"{expected[0]} and others"
    if at >= len(names):
        return _Wrong(f"{where} ends where {wanted} is expected")
    how = "once more " if names[at] in names[:at] else ""
    return _Wrong(f"is not expected {how}there; expected: {wanted}", names[at])


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}...")


def _step(child: Element, siblings: tuple[Element, ...]) -> str:
    """The child's name, with its number where there are several: ``SpecialDay[3]``."""
    same = [sibling for sibling in siblings if sibling.name == child.name]
    if len(same) == 1:
        return child.name
    number = next(number for number, sibling in enumerate(same, 1) if sibling is child)
    return f"{child.name}[{number}]"


_NODES: Final[dict[str, _Node]] = {}


def _node(name: str, shape_of: Callable[[str], Shape | None]) -> _Node | None:
    """The node of a body, made when it is first needed; nothing is kept of a name that the table does not have."""
    node = _NODES.get(name)
    if node is None:
        shape = shape_of(name)
        if shape is None:
            return None
        node = _NODES[name] = _Node(shape)
    return node


def _check(node: _Node | None, element: Element, where: str, unknown: str) -> None:
    if node is None:
        raise DuisDecodeError(f"{where}/{element.name[:SHOWN_MAX]}", unknown)
    try:
        node.check(element)
    except _Wrong as wrong:
        steps = "/".join(step[: 2 * SHOWN_MAX] for step in (where, element.name, *wrong.steps))
        raise DuisDecodeError(steps, wrong.reason) from None


def check_body(body: Element) -> None:
    """Refuse a request's body that is not as schema 5.4 has it: ``DuisDecodeError`` with path and expectation."""
    _check(_node(body.name, shape_of_body), body, "Body", "is no request of schema 5.4")


def check_answer(element: Element, where: str) -> None:
    """Refuse a payload or message of the DCC's own that is not as schema 5.4 has it; ``where``: what it stands in."""
    _check(_node(element.name, shape_of_answer), element, where, "is nothing that schema 5.4 has there")
