"""Zigbee Cluster Library commands as GBCS uses them: attribute types, profile-wide and cluster commands (section 8).

Rules this module keeps:

* ``encode_zcl(decode_zcl(...)) == payload`` for every payload accepted; a payload fills its octets to the last one.
* Cluster commands are data: ``COMMANDS`` has one row for each, and one reader and one writer serve them all.
  A new command is a new row.
* Integers are little-endian. A string of length ``FF`` is the library's "no value" and is ``None`` here.
* A command the table does not know is a ``GbcsDecodeError``: nobody can say where its fields end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from struct import Struct, unpack
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.records import open_twin
from lastmetre.gbcs.zcl_commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterable

CLUSTER_NAMES: Final[dict[int, str]] = {
    0x0000: "Basic",
    0x0700: "Price",
    0x0702: "Metering",
    0x0703: "Messaging",
    0x0705: "Prepayment",
    0x0707: "Calendar",
    0x0708: "Device Management",
    0x0709: "Events",
}
"""Source: section 8.3."""

STATUS_NAMES: Final[dict[int, str]] = {
    0x00: "success",
    0x01: "failure",
    0x7E: "not authorised",
    0x80: "malformed",
    0x81: "unsupported cluster command",
    0x82: "unsupported general command",
    0x85: "invalid field",
    0x86: "unsupported attribute",
    0x87: "invalid value",
    0x89: "insufficient space",
    0x8B: "not found",
    0x8D: "invalid type",
    0x94: "timeout",
    0xC0: "hardware failure",
}
"""Source: section 8.1, last paragraph."""

STATUS_SUCCESS: Final = 0x00

READ_ATTRIBUTES: Final = 0x00
READ_ATTRIBUTES_RESPONSE: Final = 0x01
DEFAULT_RESPONSE: Final = 0x0B

FRAME_CLUSTER_SPECIFIC: Final = 0x01
FRAME_FROM_SERVER: Final = 0x08
FRAME_NO_DEFAULT_RESPONSE: Final = 0x10
FRAME_CONTROL_KNOWN: Final = FRAME_CLUSTER_SPECIFIC | FRAME_FROM_SERVER | FRAME_NO_DEFAULT_RESPONSE
"""Bits of the frame control that GBCS sets; the manufacturer bit and the reserved ones never are (section 8.1)."""


SIZES: Final[dict[str, int]] = {
    "u8": 1,
    "u16": 2,
    "u24": 3,
    "u32": 4,
    "u48": 6,
    "i32": 4,
    "b8": 1,
    "b16": 2,
    "b32": 4,
    "e8": 1,
    "utc": 4,  # seconds since 2000-01-01T00:00:00Z
}
"""Octets of each whole-number type; only ``i32`` is signed. ``os`` is a length octet and octets, ``date`` four octets
(year less 1900, month, day, day of week), ``o19`` nineteen octets kept as they are."""

_STRUCT_CODES: Final[dict[str, str]] = {
    "i32": "i",
    **{name: {1: "B", 2: "H", 4: "I"}[size] for name, size in SIZES.items() if size in {1, 2, 4} and name != "i32"},
}
"""The types that ``struct`` can read."""

FIXED_OCTETS: Final[dict[str, int]] = {"date": 4, "o19": 19}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a command: a plain one, or rows of plain ones.

    ``count_size`` is the size of the count before the rows; zero when the rows run to the end.
    """

    name: str
    type: str
    optional: bool = False
    count_size: int = 0
    row: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A row of ``COMMANDS``, ready for use.

    ``head`` reads the fields up to the first that has no fixed size of 1, 2 or 4 octets in one go; ``rest`` follows.
    """

    cluster: int
    from_server: bool
    command_id: int
    name: str
    fields: tuple[Field, ...]
    source: str
    head: Struct
    head_names: tuple[str, ...]
    rest: tuple[Field, ...]


_FIELD_TEXT: Final = re.compile(r"(\w+):(?:(u8|u16)?\*\{([^}]*)\}|(\w+)(\?)?)")


def _fields(text: str) -> tuple[Field, ...]:
    fields = []
    for name, count_type, row, type_, optional in _FIELD_TEXT.findall(text):
        if row:
            fields.append(Field(name, "rows", count_size=SIZES.get(count_type, 0), row=_fields(row)))
        else:
            fields.append(Field(name, type_, optional=bool(optional)))
    return tuple(fields)


def _layout(cluster: int, from_server: bool, command_id: int, name: str, text: str, source: str) -> Layout:
    fields = _fields(text)
    head = list(takewhile(lambda field: field.type in _STRUCT_CODES and not field.optional, fields))
    return Layout(
        cluster,
        from_server,
        command_id,
        name,
        fields,
        source,
        Struct("<" + "".join(_STRUCT_CODES[field.type] for field in head)),
        tuple(field.name for field in head),
        fields[len(head) :],
    )


LAYOUTS: Final[dict[tuple[int, bool, int], Layout]] = {row[:3]: _layout(*row) for row in COMMANDS}
"""Every cluster command by cluster, direction and command id."""

LAYOUTS_BY_NAME: Final[dict[str, Layout]] = {layout.name: layout for layout in LAYOUTS.values()}


# --- values ----------------------------------------------------------------------------------------------------------

Plain: TypeAlias = int | bytes | None
Row: TypeAlias = tuple[tuple[str, Plain], ...]
ZclValue: TypeAlias = Plain | tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class ZclCommand:
    """A cluster command: its fields by name, in the order of the octets."""

    cluster: int
    from_server: bool
    command_id: int
    fields: tuple[tuple[str, ZclValue], ...]

    @property
    def name(self) -> str:
        """The command's name, such as ``PublishPrice``."""
        layout = LAYOUTS.get((self.cluster, self.from_server, self.command_id))
        return layout.name if layout else "unknown"

    def __getitem__(self, field: str) -> ZclValue:
        for name, value in self.fields:
            if name == field:
                return value
        raise KeyError(field)


_new = object.__new__
_OpenCommand = open_twin(ZclCommand)


@dataclass(frozen=True, slots=True)
class ReadAttributes:
    """Ask for attributes."""

    attribute_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AttributeRecord:
    """One attribute read: type and value are ``None`` unless ``status`` is success; a value may be ``None`` itself."""

    attribute_id: int
    status: int
    type: int | None = None
    value: Plain = None


_OpenRecord = open_twin(AttributeRecord)


@dataclass(frozen=True, slots=True)
class ReadAttributesResponse:
    """The attributes asked for."""

    records: tuple[AttributeRecord, ...]


@dataclass(frozen=True, slots=True)
class DefaultResponse:
    """What became of a request that has no response of its own."""

    command_id: int
    status: int


ZclBody: TypeAlias = ZclCommand | ReadAttributes | ReadAttributesResponse | DefaultResponse


def zcl_command(command: str, /, **fields: object) -> ZclCommand:
    """Make a cluster command from its name and fields; rows are given as lists of dictionaries.

    Raises ``GbcsValueError`` when a field is missing or unknown. Values are checked when it is encoded.
    """
    layout = LAYOUTS_BY_NAME.get(command)
    if layout is None:
        raise GbcsValueError(f"{command} is no cluster command of GBCS; see COMMANDS")
    return ZclCommand(
        layout.cluster, layout.from_server, layout.command_id, _arrange(layout.name, layout.fields, fields)
    )


def _arrange(where: str, wanted: tuple[Field, ...], given: dict[str, object]) -> tuple[tuple[str, ZclValue], ...]:
    unknown = given.keys() - {field.name for field in wanted}
    if unknown:
        raise GbcsValueError(f"{where} has no field {', '.join(sorted(unknown))}")
    out: list[tuple[str, ZclValue]] = []
    for field in wanted:
        if field.name not in given:
            if field.optional:
                continue
            raise GbcsValueError(f"{where} needs {field.name}")
        value = given[field.name]
        if field.row:
            rows = value if isinstance(value, list | tuple) else ()
            out.append((field.name, tuple(_arrange_row(f"{where}.{field.name}", field.row, row) for row in rows)))
        elif value is None or isinstance(value, int | bytes):
            out.append((field.name, value))
        else:
            raise GbcsValueError(f"{where}.{field.name} is a whole number or octets, not {value!r}")
    return tuple(out)


def _arrange_row(where: str, wanted: tuple[Field, ...], given: object) -> Row:
    if not isinstance(given, dict):
        raise GbcsValueError(f"{where}: each row is a dictionary of its fields")
    row: list[tuple[str, Plain]] = []
    for name, value in _arrange(where, wanted, given):
        if isinstance(value, tuple):
            raise GbcsValueError(f"{where}: rows do not nest")
        row.append((name, value))
    return tuple(row)


# --- reading ---------------------------------------------------------------------------------------------------------


def decode_zcl(  # what a payload is hangs on four facts of the frame around it
    cluster: int, frame_control: int, command_id: int, data: bytes, start: int = 0, end: int | None = None
) -> ZclBody:
    """Read the ZCL payload that fills ``data[start:end]``; frame control and command id say what it is."""
    stop = len(data) if end is None else end
    if frame_control & ~FRAME_CONTROL_KNOWN:
        raise GbcsDecodeError("zcl.frame_control", start, f"{frame_control:02X} sets bits GBCS does not use")
    if not frame_control & FRAME_CLUSTER_SPECIFIC:
        return _read_profile_wide(command_id, data, start, stop)
    from_server = bool(frame_control & FRAME_FROM_SERVER)
    layout = LAYOUTS.get((cluster, from_server, command_id))
    fields: tuple[tuple[str, ZclValue], ...]
    if layout is None:
        side = "server" if from_server else "client"
        raise GbcsDecodeError("zcl", start, f"cluster {cluster:04X} has no command {command_id:02X} from the {side}")
    head = layout.head
    at = start + head.size
    if at > stop:
        # Field by field, so that the error names the field that is cut short.
        fields, at = _read_fields(layout.name, layout.fields, data, start, stop)
    else:
        fields = tuple(zip(layout.head_names, head.unpack_from(data, start)))  # noqa: B905 - made together
        if layout.rest:
            more, at = _read_fields(layout.name, layout.rest, data, at, stop)
            fields += more
    if at != stop:
        raise GbcsDecodeError(f"zcl.{layout.name}", at, f"{stop - at} octets follow its end")
    command = _new(_OpenCommand)
    command.cluster, command.from_server, command.command_id = cluster, from_server, command_id
    command.fields = fields
    command.__class__ = ZclCommand
    return command  # type: ignore[no-any-return]


def _read_fields(
    where: str, fields: tuple[Field, ...], data: bytes, at: int, end: int
) -> tuple[tuple[tuple[str, ZclValue], ...], int]:
    out: list[tuple[str, ZclValue]] = []
    for field in fields:
        if field.optional and at == end:
            continue
        value: ZclValue
        if field.row:
            value, at = _read_rows(where, field, data, at, end)
        else:
            value, at = _read_plain(where, field, data, at, end)
        out.append((field.name, value))
    return tuple(out), at


def _read_plain(where: str, field: Field, data: bytes, at: int, end: int) -> tuple[Plain, int]:
    type_ = field.type
    size = SIZES.get(type_)
    if size is not None:
        after = at + size
        if after > end:
            raise GbcsDecodeError(f"zcl.{where}.{field.name}", at, "cut short")
        return int.from_bytes(data[at:after], "little", signed=type_ == "i32"), after
    if type_ == "os":
        return _read_string(f"zcl.{where}.{field.name}", data, at, end, 1)
    after = at + FIXED_OCTETS[type_]
    if after > end:
        raise GbcsDecodeError(f"zcl.{where}.{field.name}", at, "cut short")
    return data[at:after], after


def _read_string(field: str, data: bytes, at: int, end: int, length_size: int) -> tuple[bytes | None, int]:
    """Read a length (one or two octets) and so many octets; all ones as the length mean that there is no value."""
    start = at + length_size
    if start > end:
        raise GbcsDecodeError(field, at, "its length is missing")
    length = int.from_bytes(data[at:start], "little")
    if length == (1 << 8 * length_size) - 1:
        return None, start
    after = start + length
    if after > end:
        raise GbcsDecodeError(field, at, f"announces {length} octets where {end - start} follow")
    return data[start:after], after


def _read_rows(where: str, field: Field, data: bytes, at: int, end: int) -> tuple[tuple[Row, ...], int]:
    rows: list[Row] = []
    count = -1
    if field.count_size:
        start = at + field.count_size
        if start > end:
            raise GbcsDecodeError(f"zcl.{where}.{field.name}", at, "its count is missing")
        count = int.from_bytes(data[at:start], "little")
        at = start
    while len(rows) < count or (count < 0 and at < end):
        row: list[tuple[str, Plain]] = []
        for part in field.row:
            value, at = _read_plain(where, part, data, at, end)
            row.append((part.name, value))
        rows.append(tuple(row))
    return tuple(rows), at


def _read_profile_wide(command_id: int, data: bytes, at: int, end: int) -> ZclBody:
    if command_id == READ_ATTRIBUTES:
        if (end - at) % 2:
            raise GbcsDecodeError("zcl.ReadAttributes", end, "an attribute id has two octets")
        return ReadAttributes(unpack(f"<{(end - at) // 2}H", data[at:end]))
    if command_id == READ_ATTRIBUTES_RESPONSE:
        records = []
        while at < end:
            record, at = _read_record(data, at, end)
            records.append(record)
        return ReadAttributesResponse(tuple(records))
    if command_id == DEFAULT_RESPONSE:
        if end - at != 2:
            raise GbcsDecodeError("zcl.DefaultResponse", at, f"has two octets, not {end - at}")
        return _default_response(data[at], data[at + 1])
    raise GbcsDecodeError("zcl", at, f"GBCS uses no profile-wide command {command_id:02X}")


@lru_cache(1_024)
def _default_response(command_id: int, status: int) -> DefaultResponse:
    """One value for all equal ones: a third of all components are default responses."""
    return DefaultResponse(command_id, status)


def _read_record(data: bytes, at: int, end: int) -> tuple[AttributeRecord, int]:
    if at + 3 > end:
        raise GbcsDecodeError("zcl.ReadAttributesResponse", at, "cut short")
    attribute_id, status = data[at] | data[at + 1] << 8, data[at + 2]
    at += 3
    if status != STATUS_SUCCESS:
        return AttributeRecord(attribute_id, status), at
    if at >= end:
        raise GbcsDecodeError("zcl.ReadAttributesResponse", at, "the attribute's type is missing")
    type_ = data[at]
    at += 1
    if type_ in STRING_TYPES:
        value, at = _read_string("zcl.ReadAttributesResponse", data, at, end, STRING_TYPES[type_])
        return AttributeRecord(attribute_id, status, type_, value), at
    if type_ not in NUMBER_TYPES:
        raise GbcsDecodeError("zcl.ReadAttributesResponse", at - 1, f"{type_:02X} is no known attribute type")
    size, signed = NUMBER_TYPES[type_]
    after = at + size
    if after > end:
        raise GbcsDecodeError("zcl.ReadAttributesResponse", at, "the attribute's value is cut short")
    record = _OpenRecord(attribute_id, status, type_, int.from_bytes(data[at:after], "little", signed=signed))
    record.__class__ = AttributeRecord
    return record, after


# --- writing ---------------------------------------------------------------------------------------------------------


def encode_zcl(body: ZclBody) -> bytes:
    """The ZCL payload: everything behind the frame control, sequence number and command id."""
    if isinstance(body, ZclCommand):
        layout = LAYOUTS.get((body.cluster, body.from_server, body.command_id))
        if layout is None:
            raise GbcsValueError(f"cluster {body.cluster:04X} has no command {body.command_id:02X} in this direction")
        out = bytearray()
        _write_fields(out, layout, body.fields)
        return bytes(out)
    if isinstance(body, ReadAttributes):
        return b"".join(_number(attribute_id, 2, "attribute id") for attribute_id in body.attribute_ids)
    if isinstance(body, ReadAttributesResponse):
        return b"".join(map(_record, body.records))
    return _number(body.command_id, 1, "command id") + _number(body.status, 1, "status")


def frame_of(body: ZclBody) -> tuple[bool, int]:
    """Whether a body is cluster-specific, and its command id: what the ZCL header says of it."""
    if isinstance(body, ZclCommand):
        return True, body.command_id
    if isinstance(body, ReadAttributes):
        return False, READ_ATTRIBUTES
    return False, READ_ATTRIBUTES_RESPONSE if isinstance(body, ReadAttributesResponse) else DEFAULT_RESPONSE


def field_size(field: Field, value: ZclValue) -> int:
    """How many octets a field of a cluster command takes."""
    if isinstance(value, tuple):
        parts = {part.name: part for part in field.row}
        return field.count_size + sum(field_size(parts[name], plain) for row in value for name, plain in row)
    if field.type == "os":
        return 1 + (len(value) if isinstance(value, bytes) else 0)
    return SIZES.get(field.type) or FIXED_OCTETS[field.type]


def record_size(record: AttributeRecord) -> int:
    """How many octets an attribute record takes."""
    return len(_record(record))


def _write_fields(out: bytearray, layout: Layout, values: Iterable[tuple[str, ZclValue]]) -> None:
    given = dict(values)
    if [name for name, _value in values] != [f.name for f in layout.fields if f.name in given or not f.optional]:
        raise GbcsValueError(f"{layout.name} has the fields {', '.join(field.name for field in layout.fields)}")
    for field in layout.fields:
        if field.name not in given:
            continue
        value = given[field.name]
        where = f"{layout.name}.{field.name}"
        if not field.row:
            if isinstance(value, tuple):
                raise GbcsValueError(f"{where} has no rows")
            _write_plain(out, where, field, value)
            continue
        if not isinstance(value, tuple):
            raise GbcsValueError(f"{where} has rows")
        if field.count_size:
            out += _number(len(value), field.count_size, f"count of {where}")
        for row in value:
            if [name for name, _ in row] != [part.name for part in field.row]:
                raise GbcsValueError(f"a row of {where} has {', '.join(part.name for part in field.row)}")
            for part, (_name, plain) in zip(field.row, row, strict=True):
                _write_plain(out, where, part, plain)


def _write_plain(out: bytearray, where: str, field: Field, value: Plain) -> None:
    size = SIZES.get(field.type)
    if size is not None:
        out += _number(value, size, where, signed=field.type == "i32")
    elif field.type == "os":
        out += _string(value, 1, where)
    elif isinstance(value, bytes) and len(value) == FIXED_OCTETS[field.type]:
        out += value
    else:
        raise GbcsValueError(f"{where} has {FIXED_OCTETS[field.type]} octets")


def _number(value: Plain, size: int, where: str, *, signed: bool = False) -> bytes:
    try:
        return value.to_bytes(size, "little", signed=signed)  # type: ignore[union-attr]
    except (OverflowError, AttributeError):
        raise GbcsValueError(f"{where}: {value!r} is no {'signed ' * signed}number of {size} octets") from None


def _string(value: Plain, length_size: int, where: str) -> bytes:
    none = (1 << 8 * length_size) - 1
    if value is None:
        return none.to_bytes(length_size, "little")
    if not isinstance(value, bytes) or len(value) >= none:
        raise GbcsValueError(f"{where} is a string of less than {none} octets")
    return len(value).to_bytes(length_size, "little") + value


def _record(record: AttributeRecord) -> bytes:
    head = _number(record.attribute_id, 2, "attribute id") + _number(record.status, 1, "status")
    where = f"attribute {record.attribute_id:04X}"
    if record.status != STATUS_SUCCESS:
        if record.type is not None or record.value is not None:
            raise GbcsValueError(f"{where} was not read, so it has no type and no value")
        return head
    type_ = record.type
    if type_ in STRING_TYPES:
        return head + bytes((type_,)) + _string(record.value, STRING_TYPES[type_], where)
    if type_ not in NUMBER_TYPES:
        raise GbcsValueError(f"{where}: {type_!r} is no known attribute type")
    size, signed = NUMBER_TYPES[type_]
    return head + bytes((type_,)) + _number(record.value, size, where, signed=signed)


NUMBER_TYPES: Final[dict[int, tuple[int, bool]]] = {
    **{0x08 + extra: (1 + extra, False) for extra in range(8)},  # data8 .. data64
    0x10: (1, False),  # boolean
    **{0x18 + extra: (1 + extra, False) for extra in range(8)},  # map8 .. map64
    **{0x20 + extra: (1 + extra, False) for extra in range(8)},  # u8 .. u64
    **{0x28 + extra: (1 + extra, True) for extra in range(8)},  # i8 .. i64
    0x30: (1, False),  # enum8
    0x31: (2, False),  # enum16
    0xE2: (4, False),  # UTC
}
"""Octets and sign of number types. Source: section 8.2 for 18, 19, 20-23, 25, 2B, 30; the rest is the library's own
regular numbering, not seen in the published messages [I]."""

STRING_TYPES: Final[dict[int, int]] = {0x41: 1, 0x42: 1, 0x43: 2, 0x44: 2}
"""Octets of the length of string types. Source: section 8.2 for 41 and 42; 43 and 44 as before [I]."""
