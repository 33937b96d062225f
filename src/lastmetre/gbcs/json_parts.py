"""Small forms that say how one kind of value stands in JSON; ``json_form`` puts the form of a message together.

Each form writes a value, reads it back and says its JSON Schema, so the three cannot drift apart. Rules kept here:

* Reading refuses what writing would not make, up to the case of hexadecimal digits; every refusal is a
  ``GbcsValueError`` that begins with the place, such as ``$.payload.items[2].value``.
* A whole number that a reader might hold as a double (over 53 bits) is a string of decimal digits.
* ``words`` beside a value are for people. They are never read, and may change at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from lastmetre.gbcs.errors import GbcsValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Any: JSON has no one Python type, and a form's value is whatever its class says.
Schema = dict[str, Any]
Definitions = dict[str, Schema]

WORDS: Final = "words"
"""The member that is for people."""

DEPTH_MAX: Final = 100
"""Deepest nesting read: more than any message needs, less than would trouble the interpreter."""

EXACT_MAX: Final = (1 << 53) - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 8259, section 6)."""


class At:
    """A place in a JSON document, as an error names it."""

    __slots__ = ("depth", "parent", "step")

    def __init__(self, parent: At | None = None, step: str = "$") -> None:
        self.parent = parent
        self.step = step
        self.depth: int = 0 if parent is None else parent.depth + 1
        if self.depth > DEPTH_MAX:
            raise self.wrong(f"nested deeper than {DEPTH_MAX}")

    def __truediv__(self, step: str | int) -> At:
        if isinstance(step, int):
            return At(self, f"[{step}]")
        return At(self, f".{step}" if step.isidentifier() else f"[{step[:40]!r}]")

    def __str__(self) -> str:
        steps = []
        here: At | None = self
        while here is not None:
            steps.append(here.step)
            here = here.parent
        return "".join(reversed(steps))

    def wrong(self, why: str) -> GbcsValueError:
        """The error to raise for what stands here."""
        return GbcsValueError(f"{self}: {why}")


def kind_of(json: Any) -> str:
    """What JSON calls this, in one word."""
    for kind, types in _KINDS:
        if isinstance(json, types):
            return kind
    return type(json).__name__


_KINDS: Final[tuple[tuple[str, type | tuple[type, ...]], ...]] = (
    ("boolean", bool),  # before integer: Python's booleans are whole numbers too
    ("integer", int),
    ("number", float),
    ("string", str),
    ("object", dict),
    ("array", (list, tuple)),
    ("null", type(None)),
)


def _expect(json: Any, kind: str, at: At) -> Any:
    if kind_of(json) != kind:
        raise at.wrong(f"{'an' if kind[0] in 'aoi' else 'a'} {kind} is due, not {kind_of(json)}")
    return json


class Form(Protocol):
    """How one kind of value stands in JSON."""

    def write(self, value: Any) -> Any:
        """The value as JSON."""

    def read(self, json: Any, at: At) -> Any:
        """The value that stands at this place."""

    def schema(self, definitions: Definitions) -> Schema:
        """What JSON Schema says of it; what is used often goes to the definitions."""


# --- plain values ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds; a string of digits when it may be too large for a double."""

    low: int
    high: int

    @property
    def as_text(self) -> bool:
        """Whether it is written as a string."""
        return self.high > EXACT_MAX or self.low < -EXACT_MAX

    def write(self, value: Any) -> Any:
        """The number, or its digits."""
        return str(int(value)) if self.as_text else int(value)

    def read(self, json: Any, at: At) -> int:
        """The number, within its bounds."""
        if self.as_text:
            text = _expect(json, "string", at)
            if not _DECIMAL.fullmatch(text):
                raise at.wrong("a whole number in decimal digits is due")
            value = int(text)
        else:
            value = _expect(json, "integer", at)
        if not self.low <= value <= self.high:
            raise at.wrong(f"it must lie between {self.low} and {self.high}")
        return value

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - a form's signature
        """Bounds where JSON Schema can say them."""
        if self.as_text:
            return {"type": "string", "pattern": f"^(?:{_DECIMAL.pattern})$"}
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


_DECIMAL: Final = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Truth:
    """True or false."""

    def write(self, value: Any) -> bool:
        """As it is."""
        return bool(value)

    def read(self, json: Any, at: At) -> bool:
        """As it is."""
        return bool(_expect(json, "boolean", at))

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - a form's signature
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Nothing:
    """JSON's null, for one value."""

    value: Any = None

    def write(self, value: Any) -> None:
        """Null."""

    def read(self, json: Any, at: At) -> Any:
        """The one value."""
        _expect(json, "null", at)
        return self.value

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - a form's signature
        """Null."""
        return {"type": "null"}


@dataclass(frozen=True, slots=True)
class Text:
    """A value written as a string of one pattern. ``due`` says in words what must stand there."""

    pattern: str
    due: str
    to_text: Callable[[Any], str]
    from_text: Callable[[str], Any]

    def write(self, value: Any) -> str:
        """The string."""
        return self.to_text(value)

    def read(self, json: Any, at: At) -> Any:
        """The value of the string, if it follows the pattern."""
        text = _expect(json, "string", at)
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise at.wrong(f"{self.due} is due")
        try:
            return self.from_text(text)
        except ValueError as error:
            raise at.wrong(str(error)) from None

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - a form's signature
        """A string of this pattern."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


def octets(size: int | None = None) -> Text:
    """Octets as hexadecimal, lower case; of one size, or of any."""
    digits = "(?:[0-9A-Fa-f]{2})" + ("*" if size is None else f"{{{size}}}")
    return Text(digits, f"{'' if size is None else f'{size} '}octets in hexadecimal", bytes.hex, bytes.fromhex)


def code(digits: int) -> Text:
    """A number that the standard writes in hexadecimal, upper case, all digits."""
    return Text(
        f"[0-9A-Fa-f]{{{digits}}}",
        f"a number of {digits} hexadecimal digits",
        lambda value: f"{value:0{digits}X}",
        lambda text: int(text, 16),
    )


# --- put together ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One way in ``Either``: the JSON kind it is told by, which values it is for, and its form."""

    kind: str
    fits: Callable[[Any], bool]
    form: Form


@dataclass(frozen=True, slots=True)
class Either:
    """One of several forms, told apart by their kinds of JSON."""

    options: tuple[Option, ...]

    def write(self, value: Any) -> Any:
        """In the first form that is for the value."""
        for option in self.options:
            if option.fits(value):
                return option.form.write(value)
        raise GbcsValueError(f"{value!r} has no form in JSON")

    def read(self, json: Any, at: At) -> Any:
        """In the form this kind of JSON is of."""
        kind = kind_of(json)
        for option in self.options:
            if option.kind == kind:
                return option.form.read(json, at)
        raise at.wrong(f"one of {', '.join(option.kind for option in self.options)} is due, not {kind}")

    def schema(self, definitions: Definitions) -> Schema:
        """Any of them."""
        return {"anyOf": [option.form.schema(definitions) for option in self.options]}


def nullable(kind: str, form: Form) -> Either:
    """A form whose value may be ``None``."""
    return Either((Option("null", lambda value: value is None, Nothing()), Option(kind, always, form)))


def always(_value: Any) -> bool:
    """For the option that takes what the others leave."""
    return True


@dataclass(frozen=True, slots=True)
class Wrap:
    """A class that holds one thing: written as the thing alone."""

    cls: Callable[[Any], Any]
    attribute: str
    form: Form

    def write(self, value: Any) -> Any:
        """The thing."""
        return self.form.write(getattr(value, self.attribute))

    def read(self, json: Any, at: At) -> Any:
        """The class around the thing."""
        return self.cls(self.form.read(json, at))

    def schema(self, definitions: Definitions) -> Schema:
        """That of the thing."""
        return self.form.schema(definitions)


@dataclass(frozen=True, slots=True)
class Under:
    """A value written as an object with one member that holds it."""

    name: str
    form: Form

    def write(self, value: Any) -> dict[str, Any]:
        """The object."""
        return {self.name: self.form.write(value)}

    def read(self, json: Any, at: At) -> Any:
        """What the member holds."""
        return read_object(json, (Member(self.name, self.form),), at)[self.name]

    def schema(self, definitions: Definitions) -> Schema:
        """An object with this member."""
        return object_schema((Member(self.name, self.form),), definitions)


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array of one form; its value is a tuple."""

    form: Form

    def write(self, value: Any) -> list[Any]:
        """The elements in order."""
        return [self.form.write(element) for element in value]

    def read(self, json: Any, at: At) -> tuple[Any, ...]:
        """The elements in order."""
        elements = _expect(json, "array", at)
        return tuple(self.form.read(element, at / place) for place, element in enumerate(elements))

    def schema(self, definitions: Definitions) -> Schema:
        """An array."""
        return {"type": "array", "items": self.form.schema(definitions)}


@dataclass(frozen=True, slots=True)
class Row:
    """An array of as many values as there are forms; its value is a tuple."""

    forms: tuple[Form, ...]

    def write(self, value: Any) -> list[Any]:
        """The values in order."""
        return [form.write(item) for form, item in zip(self.forms, value, strict=True)]

    def read(self, json: Any, at: At) -> tuple[Any, ...]:
        """The values in order."""
        items = _expect(json, "array", at)
        if len(items) != len(self.forms):
            raise at.wrong(f"{len(self.forms)} elements are due, not {len(items)}")
        return tuple(
            form.read(item, at / place) for place, (form, item) in enumerate(zip(self.forms, items, strict=True))
        )

    def schema(self, definitions: Definitions) -> Schema:
        """An array of this size."""
        return {
            "type": "array",
            "prefixItems": [form.schema(definitions) for form in self.forms],
            "minItems": len(self.forms),
            "maxItems": len(self.forms),
        }


def is_text(raw: bytes) -> bool:
    """Whether octets are printable UTF-8."""
    try:
        return raw.decode().isprintable()
    except UnicodeDecodeError:
        return False


_TEXT_OPTIONS: Final = (
    Option("string", is_text, Text(r"[\s\S]*", "text", bytes.decode, str.encode)),
    Option("object", always, Under("hex", octets())),
)
TEXT_OR_HEX: Final = Either(_TEXT_OPTIONS)
"""Octets that usually are text: a string, or ``{"hex": ...}`` for those that are not printable."""

TEXT_OR_HEX_OR_NULL: Final = Either((Option("null", lambda raw: raw is None, Nothing()), *_TEXT_OPTIONS))
"""The same, where there may be none."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object. An optional one is left out when its value is ``default``."""

    name: str
    form: Form
    optional: bool = False
    default: Any = None


def read_object(
    json: Any, members: tuple[Member, ...], at: At, ignored: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The members of an object that are there; refuses unknown ones and names missing ones."""
    given: Mapping[Any, Any] = _expect(json, "object", at)
    names = {member.name for member in members}
    for name in given:
        if name not in names and name != WORDS and name not in ignored:
            raise (at / str(name)).wrong(f"there is no such member; there are {', '.join(sorted(names))}")
    found: dict[str, Any] = {}
    for member in members:
        if member.name in given:
            found[member.name] = member.form.read(given[member.name], at / member.name)
        elif not member.optional:
            raise at.wrong(f"{member.name} is missing")
    return found


def object_schema(members: tuple[Member, ...], definitions: Definitions) -> Schema:
    """An object of these members and nothing else but words."""
    properties = {member.name: member.form.schema(definitions) for member in members}
    return {
        "type": "object",
        "properties": {**properties, WORDS: {"$ref": "#/$defs/words"}},
        "required": [member.name for member in members if not member.optional],
        "additionalProperties": False,
    }


def no_words(_value: Any) -> Any:
    """For values that need none."""
    return None


@dataclass(frozen=True, slots=True)
class Record:
    """An object for a class: a member per field, and words where there are some to say."""

    cls: Callable[..., Any]
    members: tuple[Member, ...]
    words: Callable[[Any], Any] = no_words

    def write(self, value: Any) -> dict[str, Any]:
        """The members that are not at their default."""
        out = {}
        for member in self.members:
            item = getattr(value, member.name)
            if not (member.optional and item == member.default):
                out[member.name] = member.form.write(item)
        words = self.words(value)
        if words:
            out[WORDS] = words
        return out

    def read(self, json: Any, at: At) -> Any:
        """The class from its members."""
        found = read_object(json, self.members, at)
        for member in self.members:
            found.setdefault(member.name, member.default)
        return self.cls(**found)

    def schema(self, definitions: Definitions) -> Schema:
        """An object."""
        return object_schema(self.members, definitions)


@dataclass(frozen=True, slots=True)
class Pairs:
    """An object for a tuple of (name, value) pairs in the order of ``members``."""

    members: tuple[Member, ...]
    words: Callable[[Any], Any] = no_words

    def write(self, value: Any) -> dict[str, Any]:
        """Each pair in its member's form."""
        forms = {member.name: member.form for member in self.members}
        out = {}
        for name, item in value:
            if name not in forms:
                raise GbcsValueError(f"there is no field {name}")
            out[name] = forms[name].write(item)
        words = self.words(value)
        if words:
            out[WORDS] = words
        return out

    def read(self, json: Any, at: At) -> tuple[tuple[str, Any], ...]:
        """The pairs that are there, in order."""
        found = read_object(json, self.members, at)
        return tuple((member.name, found[member.name]) for member in self.members if member.name in found)

    def schema(self, definitions: Definitions) -> Schema:
        """An object."""
        return object_schema(self.members, definitions)


@dataclass(frozen=True, slots=True)
class Tagged:
    """One of several objects, told by a member ``tag``: its name among ``options``, its class and its form."""

    tag: str
    options: tuple[tuple[str, type, Form], ...]

    def write(self, value: Any) -> dict[str, Any]:
        """The tag, then the members of the form."""
        for name, cls, form in self.options:
            if type(value) is cls:
                return {self.tag: name, **form.write(value)}
        raise GbcsValueError(f"a {type(value).__name__} has no form in JSON here")

    def read(self, json: Any, at: At) -> Any:
        """The value in the form the tag names."""
        given = _expect(json, "object", at)
        if self.tag not in given:
            raise at.wrong(f"{self.tag} is missing")
        named = _expect(given[self.tag], "string", at / self.tag)
        for name, _cls, form in self.options:
            if name == named:
                return form.read({key: item for key, item in given.items() if key != self.tag}, at)
        raise (at / self.tag).wrong(f"it must be one of {', '.join(name for name, _cls, _form in self.options)}")

    def schema(self, definitions: Definitions) -> Schema:
        """Any of the objects, each with its tag."""
        choices = []
        for name, _cls, form in self.options:
            schema = form.schema(definitions)
            schema["properties"] = {self.tag: {"const": name}, **schema["properties"]}
            schema["required"] = [self.tag, *schema["required"]]
            choices.append(schema)
        return {"anyOf": choices}


@dataclass(frozen=True, slots=True)
class Keyed:
    """One of several forms, told by the name of the one member of an object: its name, its class and its form."""

    options: tuple[tuple[str, type, Form], ...]
    words: Callable[[Any], Any] = no_words

    def write(self, value: Any) -> dict[str, Any]:
        """The object, with words if there are some to say."""
        for name, cls, form in self.options:
            if type(value) is cls:
                words = self.words(value)
                return {name: form.write(value), WORDS: words} if words else {name: form.write(value)}
        raise GbcsValueError(f"a {type(value).__name__} has no form in JSON here")

    def read(self, json: Any, at: At) -> Any:
        """The value under the member that is there."""
        given = [name for name in _expect(json, "object", at) if name != WORDS]
        if len(given) == 1:
            for name, _cls, form in self.options:
                if name == given[0]:
                    return form.read(json[name], at / name)
        raise at.wrong(f"one member is due, and one of {', '.join(name for name, _cls, _form in self.options)}")

    def schema(self, definitions: Definitions) -> Schema:
        """Any of the objects."""
        return {"anyOf": [object_schema((Member(name, form),), definitions) for name, _cls, form in self.options]}


@dataclass(frozen=True, slots=True)
class Named:
    """A form that the schema defines once and refers to; ``form`` is asked for late, so that it may hold itself."""

    name: str
    form: Callable[[], Form]

    def write(self, value: Any) -> Any:
        """As the form does."""
        return self.form().write(value)

    def read(self, json: Any, at: At) -> Any:
        """As the form does."""
        return self.form().read(json, at)

    def schema(self, definitions: Definitions) -> Schema:
        """A reference."""
        if self.name not in definitions:
            definitions[self.name] = {}
            definitions[self.name] = self.form().schema(definitions)
        return {"$ref": f"#/$defs/{self.name}"}
