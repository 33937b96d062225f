"""How the object tables are written: one row for each attribute, method and activation time, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lastmetre.home.attributes import Attribute, parse_attribute
from lastmetre.home.objects.shapes import Shape, parse_shape

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data


class Held(StrEnum):
    """Where the value of an attribute is."""

    READ_ONLY = "stored; only the meter itself changes it"
    WRITABLE = "stored; a Command may set it"
    LIVE = "told by the meter when asked: not stored as an attribute"


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute: its type, its value in a new meter (``None`` when live), and where that is known from."""

    attribute: Attribute
    shape: Shape
    new: Data | None
    held: Held
    source: str


def fixed(attribute: str, shape: str, new: Data, source: str) -> Row:
    """An attribute that is read, and that no Command sets."""
    return Row(parse_attribute(attribute), parse_shape(shape), new, Held.READ_ONLY, source)


def writable(attribute: str, shape: str, new: Data, source: str) -> Row:
    """An attribute that Commands set."""
    return Row(parse_attribute(attribute), parse_shape(shape), new, Held.WRITABLE, source)


def live(attribute: str, shape: str, source: str) -> Row:
    """An attribute whose value the meter works out when asked."""
    return Row(parse_attribute(attribute), parse_shape(shape), None, Held.LIVE, source)


class Becoming(StrEnum):
    """How a waiting value becomes the one in force."""

    AS_IT_IS = "as it is"
    IN_FORCE = "with the account's status 2 (in force) for its 1 (waiting)"
    IN_AN_ARRAY = "as the only element of an array"


@dataclass(frozen=True, slots=True)
class Move:
    """One waiting value, and where it goes."""

    passive: Attribute
    active: Attribute
    becoming: Becoming = Becoming.AS_IT_IS


@dataclass(frozen=True, slots=True)
class ActivationRow:
    """An attribute that holds a time, and what becomes active when it comes."""

    attribute: Attribute
    moves: tuple[Move, ...]
    source: str


def move(passive: str, active: str, becoming: Becoming = Becoming.AS_IT_IS) -> Move:
    """One waiting value, and where it goes, in text."""
    return Move(parse_attribute(passive), parse_attribute(active), becoming)


def activation(attribute: str, *moves: Move, source: str) -> ActivationRow:
    """An activation time and its moves."""
    return ActivationRow(parse_attribute(attribute), moves, source)
