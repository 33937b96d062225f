"""DLMS payloads and values in the JSON form (``json_form`` has the rules).

A value is an object with one member, the name of its type: ``{"long-unsigned": 51}``. Dates, texts and numbers that
travel as octets have their meaning in ``words``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lastmetre.gbcs import words as in_words
from lastmetre.gbcs.axdr import (
    TAGS,
    TYPE_NAMES,
    Array,
    ArrayType,
    BitString,
    Boolean,
    CompactArray,
    Data,
    Date,
    DateTime,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Float32,
    Float64,
    Integer,
    Long,
    Long64,
    Long64Unsigned,
    LongUnsigned,
    NullData,
    OctetString,
    SimpleType,
    Structure,
    StructureType,
    Time,
    Unsigned,
    Utf8String,
    VisibleString,
)
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    Action,
    DataNotification,
    Get,
    GetWithSelection,
    ItemResult,
    Obis,
    Set,
    Spec,
)
from lastmetre.gbcs.json_parts import (
    TEXT_OR_HEX,
    At,
    Definitions,
    Either,
    Form,
    Keyed,
    ListOf,
    Member,
    Named,
    Nothing,
    Option,
    Record,
    Schema,
    Tagged,
    Text,
    Truth,
    Whole,
    Wrap,
    always,
    code,
    octets,
)

OBIS: Final = Text(
    r"[0-9]{1,3}-[0-9]{1,3}:[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", "an OBIS code A-B:C.D.E.F", str, Obis.parse
)

# --- values ----------------------------------------------------------------------------------------------------------


def _padding_is_zero(value: BitString) -> bool:
    spare = 8 * len(value.value) - value.bit_count
    return not spare or not value.value[-1] & ((1 << spare) - 1)


def _bits_from_text(text: str) -> BitString:
    size = (len(text) + 7) // 8
    return BitString(len(text), int(text.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big"))


BITS_MAX: Final = 1 << 19
"""Bits in one string, at most: as many as a message has."""

PLAIN_BITS: Final = Text(f"[01]{{0,{BITS_MAX}}}", "bits, as 0 and 1,", lambda value: value.bits, _bits_from_text)

_BITS: Final = Either(
    (
        Option("string", _padding_is_zero, PLAIN_BITS),
        Option(
            "object",
            always,
            Record(BitString, (Member("bit_count", Whole(0, BITS_MAX)), Member("value", octets()))),
        ),
    )
)
"""Bits as text; with their octets where the padding is not zero."""

_BOOLEAN: Final = Either(
    (
        Option("boolean", lambda value: value.raw in {0x00, 0xFF}, Wrap(Boolean, "value", Truth())),
        Option("integer", always, Wrap(lambda raw: Boolean(bool(raw), raw), "raw", Whole(0, 0xFF))),
    )
)
"""True or false; its octet where that is neither 00 nor FF."""


def _whole(cls: type, bits: int, *, signed: bool) -> Wrap:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return Wrap(cls, "value", Whole(low, high))


_SIMPLE_TYPES: Final = {name: SimpleType(tag) for tag, name in TYPE_NAMES.items() if tag not in {0x01, 0x02, 0x13}}

_DESCRIPTION: Final[Named] = Named(
    "compact-array-type",
    lambda: Either(
        (
            Option(
                "string",
                lambda value: isinstance(value, SimpleType),
                Text(
                    "|".join(_SIMPLE_TYPES),
                    "the name of a simple type",
                    lambda value: TYPE_NAMES[value.tag],
                    _SIMPLE_TYPES.__getitem__,
                ),
            ),
            Option(
                "object",
                always,
                Keyed(
                    (
                        (
                            "array",
                            ArrayType,
                            Record(ArrayType, (Member("count", Whole(0, 0xFFFF)), Member("element", _DESCRIPTION))),
                        ),
                        ("structure", StructureType, Wrap(StructureType, "elements", ListOf(_DESCRIPTION))),
                    )
                ),
            ),
        )
    ),
)

DATA: Final[Named] = Named("data", lambda: _DATA)
"""Any DLMS value."""

_ELEMENTS: Final = ListOf(DATA)

_FORMS: Final[tuple[tuple[type, Form], ...]] = (
    (NullData, Nothing(NullData())),
    (Array, Wrap(Array, "elements", _ELEMENTS)),
    (Structure, Wrap(Structure, "elements", _ELEMENTS)),
    (Boolean, _BOOLEAN),
    (BitString, _BITS),
    (DoubleLong, _whole(DoubleLong, 32, signed=True)),
    (DoubleLongUnsigned, _whole(DoubleLongUnsigned, 32, signed=False)),
    (OctetString, Wrap(OctetString, "value", octets())),
    (VisibleString, Wrap(VisibleString, "value", TEXT_OR_HEX)),
    (Utf8String, Wrap(Utf8String, "value", TEXT_OR_HEX)),
    (Integer, _whole(Integer, 8, signed=True)),
    (Long, _whole(Long, 16, signed=True)),
    (Unsigned, _whole(Unsigned, 8, signed=False)),
    (LongUnsigned, _whole(LongUnsigned, 16, signed=False)),
    (CompactArray, Record(CompactArray, (Member("description", _DESCRIPTION), Member("elements", _ELEMENTS)))),
    (Long64, _whole(Long64, 64, signed=True)),
    (Long64Unsigned, _whole(Long64Unsigned, 64, signed=False)),
    (Enum, _whole(Enum, 8, signed=False)),
    (Float32, Wrap(Float32, "value", octets(4))),
    (Float64, Wrap(Float64, "value", octets(8))),
    (DateTime, Wrap(DateTime, "value", octets(12))),
    (Date, Wrap(Date, "value", octets(5))),
    (Time, Wrap(Time, "value", octets(4))),
)

_DATA: Final[Keyed] = Keyed(tuple((TYPE_NAMES[TAGS[cls]], cls, form) for cls, form in _FORMS), in_words.hidden_words)

# --- payloads --------------------------------------------------------------------------------------------------------

_INVOKE_ID: Final = Whole(0, (1 << 24) - 1)
_CLASS_ID: Final = Member("class_id", Whole(0, 0xFFFF))
_ATTRIBUTE: Final = Member("attribute", Whole(-128, 127))
_NULL: Final = NullData()
_PLACE: Final = (_CLASS_ID, Member("obis", OBIS), _ATTRIBUTE)

_SPEC: Final = Tagged(
    "do",
    (
        ("get", Get, Record(Get, _PLACE, in_words.spec_name)),
        ("set", Set, Record(Set, _PLACE, in_words.spec_name)),
        (
            "action",
            Action,
            Record(Action, (_CLASS_ID, Member("obis", OBIS), Member("method", Whole(-128, 127))), in_words.spec_name),
        ),
        (
            "get-with-selection",
            GetWithSelection,
            Record(
                GetWithSelection,
                (*_PLACE, Member("selector", Whole(0, 0xFF)), Member("parameter", DATA)),
                in_words.spec_name,
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class _ItemForm:
    """One item of a request: its specification's members, and its value unless that is null-data."""

    def write(self, value: Any) -> dict[str, Any]:
        """One object for the pair."""
        spec, data = value
        return _SPEC.write(spec) | ({} if data == _NULL else {"value": DATA.write(data)})

    def read(self, json: Any, at: At) -> tuple[Spec, Data]:
        """The pair."""
        if not isinstance(json, dict) or "value" not in json:
            return _SPEC.read(json, at), _NULL
        data = DATA.read(json["value"], at / "value")
        return _SPEC.read({name: item for name, item in json.items() if name != "value"}, at), data

    def schema(self, definitions: Definitions) -> Schema:
        """Any specification, with a value."""
        schema = _SPEC.schema(definitions)
        for choice in schema["anyOf"]:
            choice["properties"]["value"] = DATA.schema(definitions)
        return schema


_KINDS: Final = ("get", "set", "action")
_RESULT: Final = Record(
    ItemResult,
    (
        Member(
            "kind",
            Text("|".join(_KINDS), "get, set or action", lambda kind: _KINDS[kind - 1], lambda t: _KINDS.index(t) + 1),
        ),
        Member("result", Whole(0, 0xFF)),
        Member("data", DATA, optional=True, default=_NULL),
    ),
    lambda value: in_words.result_words(value.result),
)

ACCESS_REQUEST: Final = Record(
    AccessRequest, (Member("invoke_id", _INVOKE_ID), Member("items", ListOf(Named("item", _ItemForm))))
)
ACCESS_RESPONSE: Final = Record(
    AccessResponse, (Member("invoke_id", _INVOKE_ID), Member("results", ListOf(Named("result", lambda: _RESULT))))
)
DATA_NOTIFICATION: Final = Record(
    DataNotification,
    (
        Member("invoke_id", _INVOKE_ID),
        Member("alert_code", code(4)),
        Member("date_time", octets(12)),
        Member("extra", _ELEMENTS, optional=True, default=()),
    ),
    lambda value: {"date_time": in_words.date_time_words(value.date_time)},
)
