"""GBZ payloads in the JSON form (``json_form`` has the rules).

A cluster command is named by its cluster, its direction (in the frame control) and its command id; its fields are those
of ``zcl_commands``. Times count seconds since 2000 and have their meaning in ``words``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from lastmetre.gbcs import words as in_words
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import (
    AlertNumber,
    AlertOctets,
    Component,
    EncryptedZcl,
    FutureDatedZcl,
    Gbz,
    GbzAlert,
    ImageHash,
)
from lastmetre.gbcs.json_parts import (
    TEXT_OR_HEX_OR_NULL,
    At,
    Definitions,
    Form,
    ListOf,
    Member,
    Named,
    Pairs,
    Record,
    Schema,
    Tagged,
    Under,
    Whole,
    code,
    object_schema,
    octets,
    read_object,
)
from lastmetre.gbcs.zcl import (
    FIXED_OCTETS,
    FRAME_CLUSTER_SPECIFIC,
    FRAME_FROM_SERVER,
    FRAME_NO_DEFAULT_RESPONSE,
    LAYOUTS,
    NUMBER_TYPES,
    SIZES,
    STRING_TYPES,
    AttributeRecord,
    DefaultResponse,
    Field,
    Layout,
    ReadAttributes,
    ReadAttributesResponse,
    ZclCommand,
)

_OCTET: Final = Whole(0, 0xFF)
_SECONDS: Final = Whole(0, 0xFFFF_FFFF)


def _number(size: int, *, signed: bool) -> Whole:
    bits = 8 * size
    return Whole(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else Whole(0, (1 << bits) - 1)


# --- cluster commands ------------------------------------------------------------------------------------------------


def _field(field: Field) -> Form:
    if field.row:
        return ListOf(Pairs(_members(field.row), lambda row: in_words.field_words(field.row, row)))
    if field.type == "os":
        return TEXT_OR_HEX_OR_NULL
    size = FIXED_OCTETS.get(field.type)
    return octets(size) if size else _number(SIZES[field.type], signed=field.type == "i32")


def _members(fields: tuple[Field, ...]) -> tuple[Member, ...]:
    return tuple(Member(field.name, _field(field), optional=field.optional) for field in fields)


@cache
def _fields(layout: Layout) -> Pairs:
    return Pairs(_members(layout.fields), lambda pairs: in_words.field_words(layout.fields, pairs))


# --- profile-wide commands -------------------------------------------------------------------------------------------

_VALUES: Final[dict[int, Form]] = {
    **{type_: _number(size, signed=signed) for type_, (size, signed) in NUMBER_TYPES.items()},
    **dict.fromkeys(STRING_TYPES, TEXT_OR_HEX_OR_NULL),
}
"""The form of a value, by its attribute type."""


@dataclass(frozen=True, slots=True)
class _RecordForm:
    """One attribute read: type and value only on success."""

    def write(self, value: AttributeRecord) -> dict[str, Any]:
        """An object; the status in words unless it is success."""
        out = _HEAD.write(value)
        if value.type is not None:
            if value.type not in _VALUES:
                raise GbcsValueError(f"{value.type:02X} is no known attribute type")
            out |= {"type": f"{value.type:02X}", "value": _VALUES[value.type].write(value.value)}
        return out

    def read(self, json: Any, at: At) -> AttributeRecord:
        """The record; the type says how the value is written."""
        if not isinstance(json, dict) or "type" not in json:
            return AttributeRecord(**read_object(json, _HEAD_MEMBERS, at))
        type_ = code(2).read(json["type"], at / "type")
        if type_ not in _VALUES:
            raise (at / "type").wrong(f"{type_:02X} is no known attribute type")
        return AttributeRecord(
            **read_object(json, (*_HEAD_MEMBERS, Member("type", code(2)), Member("value", _VALUES[type_])), at)
        )

    def schema(self, definitions: Definitions) -> Schema:
        """Without value, or with one of its type."""
        choices = [object_schema(_HEAD_MEMBERS, definitions)]
        for type_, form in sorted(_VALUES.items()):
            choice = object_schema((*_HEAD_MEMBERS, Member("type", code(2)), Member("value", form)), definitions)
            choice["properties"]["type"] = _either_case(type_, 2)
            choices.append(choice)
        return {"anyOf": choices}


_HEAD_MEMBERS: Final = (Member("attribute_id", code(4)), Member("status", _OCTET))
_HEAD: Final = Record(AttributeRecord, _HEAD_MEMBERS, lambda value: in_words.status_words(value.status))

# --- components ------------------------------------------------------------------------------------------------------


def _either_case(value: int, digits: int) -> Schema:
    """The schema of one hexadecimal number, in either case."""
    pattern = "".join(f"[{digit}{digit.lower()}]" if digit.isalpha() else digit for digit in f"{value:0{digits}X}")
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


@dataclass(frozen=True, slots=True)
class _Command:
    """A cluster command before its cluster and direction are known."""

    command_id: int
    fields: Any


_PLAIN_BODIES: Final = Tagged(
    "type",
    (
        ("read-attributes", ReadAttributes, Record(ReadAttributes, (Member("attribute_ids", ListOf(code(4))),))),
        (
            "read-attributes-response",
            ReadAttributesResponse,
            Record(ReadAttributesResponse, (Member("records", ListOf(Named("attribute-record", _RecordForm))),)),
        ),
        (
            "default-response",
            DefaultResponse,
            Record(
                DefaultResponse,
                (Member("command_id", code(2)), Member("status", _OCTET)),
                lambda value: in_words.status_words(value.status),
            ),
        ),
        (
            "encrypted",
            EncryptedZcl,
            Record(
                EncryptedZcl,
                (
                    Member("command_id", code(2)),
                    Member("frame_counter", _OCTET),
                    Member("ciphertext", octets()),
                    Member("tag", octets(12)),
                ),
            ),
        ),
    ),
)
_CLUSTER_COMMAND: Final = "cluster-command"


@dataclass(frozen=True, slots=True)
class _Body:
    """A component's body, in the cluster and direction that are given."""

    cluster: int
    from_server: bool

    def write(self, value: Any) -> dict[str, Any]:
        """A cluster command by its id and fields, or one of the plain bodies."""
        if not isinstance(value, ZclCommand):
            return _PLAIN_BODIES.write(value)
        layout = LAYOUTS.get((value.cluster, value.from_server, value.command_id))
        if layout is None:
            raise GbcsValueError(f"cluster {value.cluster:04X} has no command {value.command_id:02X} in this direction")
        return {
            "type": _CLUSTER_COMMAND,
            "command_id": f"{value.command_id:02X}",
            "fields": _fields(layout).write(value.fields),
        }

    def read(self, json: Any, at: At) -> Any:
        """The body; a cluster command must be one of ``zcl_commands``."""
        if not isinstance(json, dict) or json.get("type") != _CLUSTER_COMMAND:
            return _PLAIN_BODIES.read(json, at)
        if "command_id" not in json:
            raise at.wrong("command_id is missing")
        command_id = code(2).read(json["command_id"], at / "command_id")
        layout = LAYOUTS.get((self.cluster, self.from_server, command_id))
        if layout is None:
            side = "server" if self.from_server else "client"
            raise (at / "command_id").wrong(
                f"cluster {self.cluster:04X} has no command {command_id:02X} from the {side}"
            )
        rest = {name: item for name, item in json.items() if name != "type"}
        found = read_object(rest, (Member("command_id", code(2)), Member("fields", _fields(layout))), at)
        return ZclCommand(self.cluster, self.from_server, command_id, found["fields"])

    def schema(self, definitions: Definitions) -> Schema:
        """Of the plain bodies alone; ``_ComponentForm`` adds the commands."""
        return _PLAIN_BODIES.schema(definitions)


@dataclass(frozen=True, slots=True)
class _ComponentForm:
    """One component of a GBZ payload."""

    def _members(self, body: _Body) -> tuple[Member, ...]:
        return (
            Member("cluster", code(4)),
            Member("frame_control", code(2)),
            Member("sequence", _OCTET),
            Member("from_date_time", _SECONDS, optional=True),
            Member("body", body),
        )

    def write(self, value: Component) -> dict[str, Any]:
        """An object that names the command in words."""
        body = _Body(value.cluster, bool(value.frame_control & FRAME_FROM_SERVER))
        return Record(Component, self._members(body), in_words.component_title).write(value)

    def read(self, json: Any, at: At) -> Component:
        """The component: cluster and frame control first, as the body hangs on them."""
        known = {"cluster": 0, "frame_control": 0}
        if isinstance(json, dict):
            for name, digits in (("cluster", 4), ("frame_control", 2)):
                if name in json:
                    known[name] = code(digits).read(json[name], at / name)
        body = _Body(known["cluster"], bool(known["frame_control"] & FRAME_FROM_SERVER))
        return Component(**read_object(json, self._members(body), at))

    def schema(self, definitions: Definitions) -> Schema:
        """A component with a plain body, or one for each cluster command."""
        return {
            "anyOf": [
                object_schema(self._members(_Body(0, from_server=False)), definitions),
                *(_command_schema(layout, self, definitions) for layout in LAYOUTS.values()),
            ]
        }

    def members(self) -> tuple[Member, ...]:
        """The members, for the schema of one command."""
        return self._members(_Body(0, from_server=False))


def _command_schema(layout: Layout, form: _ComponentForm, definitions: Definitions) -> Schema:
    """The schema of the component that carries one cluster command."""
    fields = Named(f"command-{layout.name}", lambda: _fields(layout))
    control = FRAME_CLUSTER_SPECIFIC | (FRAME_FROM_SERVER if layout.from_server else 0)
    quiet = control | FRAME_NO_DEFAULT_RESPONSE
    body = object_schema((Member("command_id", code(2)), Member("fields", fields)), definitions)
    body["properties"] |= {"type": {"const": _CLUSTER_COMMAND}, "command_id": _either_case(layout.command_id, 2)}
    body["required"] = ["type", *body["required"]]
    schema = object_schema(form.members(), definitions)
    schema["properties"] |= {
        "cluster": _either_case(layout.cluster, 4),
        "frame_control": {"anyOf": [_either_case(control, 2), _either_case(quiet, 2)]},
        "body": body,
    }
    return schema


COMPONENT: Final = Named("component", _ComponentForm)
GBZ: Final = Record(Gbz, (Member("components", ListOf(COMPONENT)),))

# --- alerts ----------------------------------------------------------------------------------------------------------

_SPECIFIC: Final = Tagged(
    "type",
    (
        (
            "future-dated",
            FutureDatedZcl,
            Record(
                FutureDatedZcl,
                (
                    Member("message_code", code(4)),
                    Member("originator_counter", Whole(0, (1 << 64) - 1)),
                    Member("cluster", code(4)),
                    Member("frame_control", code(2)),
                    Member("command_id", code(2)),
                ),
                in_words.future_item,
            ),
        ),
        ("image-hash", ImageHash, Record(ImageHash, (Member("digest", octets(32)),))),
        ("number", AlertNumber, Record(AlertNumber, (Member("value", Whole(0, 0xFFFF)),))),
        ("component", Component, Under("component", COMPONENT)),
        ("octets", AlertOctets, Record(AlertOctets, (Member("octets", octets()),))),
    ),
)

GBZ_ALERT: Final = Record(
    GbzAlert,
    (
        Member("alert_code", code(4)),
        Member("time", _SECONDS),
        Member("specific", _SPECIFIC, optional=True),
    ),
    lambda value: {"time": in_words.zigbee_time(value.time)},
)
