"""Hypothesis strategies for every payload GBCS has, made from the same tables the code reads by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from lastmetre.gbcs import asn1, axdr, der, dlms, gbz, payload, zcl

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data, TypeDescription


def _number(cls: type[Any], bits: int, *, signed: bool) -> st.SearchStrategy[Any]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.integers(low, high).map(cls)


def _octets(cls: type[Any], size: int | None = None) -> st.SearchStrategy[Any]:
    return st.binary(min_size=size or 0, max_size=size or 200).map(cls)


bit_strings = st.integers(0, 40).flatmap(
    lambda count: st.binary(min_size=(count + 7) // 8, max_size=(count + 7) // 8).map(
        lambda octets: axdr.BitString(count, octets)
    )
)

SIMPLE: dict[int, st.SearchStrategy[Data]] = {
    0x00: st.just(axdr.NullData()),
    0x03: st.integers(0, 255).map(lambda raw: axdr.Boolean(bool(raw), raw)),
    0x04: bit_strings,
    0x05: _number(axdr.DoubleLong, 32, signed=True),
    0x06: _number(axdr.DoubleLongUnsigned, 32, signed=False),
    0x09: _octets(axdr.OctetString),
    0x0A: _octets(axdr.VisibleString),
    0x0C: _octets(axdr.Utf8String),
    0x0F: _number(axdr.Integer, 8, signed=True),
    0x10: _number(axdr.Long, 16, signed=True),
    0x11: _number(axdr.Unsigned, 8, signed=False),
    0x12: _number(axdr.LongUnsigned, 16, signed=False),
    0x14: _number(axdr.Long64, 64, signed=True),
    0x15: _number(axdr.Long64Unsigned, 64, signed=False),
    0x16: _number(axdr.Enum, 8, signed=False),
    0x17: _octets(axdr.Float32, 4),
    0x18: _octets(axdr.Float64, 8),
    0x19: _octets(axdr.DateTime, 12),
    0x1A: _octets(axdr.Date, 5),
    0x1B: _octets(axdr.Time, 4),
}
"""A strategy per tag that has no parts."""

_descriptions: st.SearchStrategy[TypeDescription] = st.recursive(
    st.sampled_from(sorted(SIMPLE.keys() - {0x00})).map(axdr.SimpleType),
    lambda inner: st.one_of(
        st.builds(axdr.ArrayType, st.integers(1, 3), inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: axdr.StructureType(tuple(parts))),
    ),
    max_leaves=4,
)


def _described(description: TypeDescription) -> st.SearchStrategy[Data]:
    if isinstance(description, axdr.SimpleType):
        return SIMPLE[description.tag]
    if isinstance(description, axdr.ArrayType):
        return st.tuples(*[_described(description.element)] * description.count).map(axdr.Array)
    return st.tuples(*map(_described, description.elements)).map(axdr.Structure)


compact_arrays = _descriptions.flatmap(
    lambda description: st.lists(_described(description), max_size=4).map(
        lambda elements: axdr.CompactArray(description, tuple(elements))
    )
)

data_values: st.SearchStrategy[Data] = st.recursive(
    st.one_of(*SIMPLE.values(), compact_arrays),
    lambda inner: st.lists(inner, max_size=4).flatmap(
        lambda elements: st.sampled_from([axdr.Array(tuple(elements)), axdr.Structure(tuple(elements))])
    ),
    max_leaves=8,
)

# --- DLMS ---

_obis = st.binary(min_size=6, max_size=6).map(dlms.Obis)
_place = (st.integers(0, 0xFFFF), _obis, st.integers(-128, 127))
_specs = st.one_of(
    st.builds(dlms.Get, *_place),
    st.builds(dlms.Set, *_place),
    st.builds(dlms.Action, *_place),
    st.builds(dlms.GetWithSelection, *_place, st.integers(0, 255), data_values),
)
_invoke_ids = st.integers(0, (1 << 24) - 1)
_item_results = st.builds(dlms.ItemResult, st.integers(1, 3), data_values, st.integers(0, 255))

access_requests = st.builds(
    dlms.AccessRequest, _invoke_ids, st.lists(st.tuples(_specs, data_values), max_size=5).map(tuple)
)
access_responses = st.builds(dlms.AccessResponse, _invoke_ids, st.lists(_item_results, max_size=5).map(tuple))
data_notifications = st.builds(
    dlms.DataNotification,
    _invoke_ids,
    st.integers(0, 0xFFFF),
    st.binary(min_size=12, max_size=12),
    st.lists(data_values, max_size=4).map(tuple),
)

# --- GBZ ---


def _field(field: zcl.Field) -> st.SearchStrategy[Any]:
    if field.row:
        return st.lists(
            st.tuples(*[st.tuples(st.just(part.name), _field(part)) for part in field.row]), max_size=4
        ).map(tuple)
    if field.type == "os":
        return st.one_of(st.none(), st.binary(max_size=254))
    if field.type in zcl.FIXED_OCTETS:
        return st.binary(min_size=zcl.FIXED_OCTETS[field.type], max_size=zcl.FIXED_OCTETS[field.type])
    bits = 8 * zcl.SIZES[field.type]
    return (
        st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if field.type == "i32" else st.integers(0, (1 << bits) - 1)
    )


def cluster_commands(layout: zcl.Layout) -> st.SearchStrategy[zcl.ZclCommand]:
    """Commands of one layout, with its optional fields or without."""

    def make(fields: tuple[zcl.Field, ...]) -> st.SearchStrategy[zcl.ZclCommand]:
        pairs = [st.tuples(st.just(field.name), _field(field)) for field in fields]
        return st.tuples(*pairs).map(
            lambda values: zcl.ZclCommand(layout.cluster, layout.from_server, layout.command_id, values)
        )

    needed = tuple(field for field in layout.fields if not field.optional)
    return st.one_of(make(layout.fields), make(needed))


def _attribute_values() -> st.SearchStrategy[tuple[int, Any]]:
    choices = []
    for type_, (size, signed) in zcl.NUMBER_TYPES.items():
        low, high = (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)
        choices.append(st.tuples(st.just(type_), st.integers(low, high)))
    octets = st.one_of(st.none(), st.binary(max_size=254))
    choices += [st.tuples(st.just(type_), octets) for type_ in zcl.STRING_TYPES]
    return st.one_of(*choices)


_ids = st.integers(0, 0xFFFF)
_records = st.one_of(
    st.builds(zcl.AttributeRecord, _ids, st.integers(1, 255)),
    st.builds(lambda number, pair: zcl.AttributeRecord(number, 0, *pair), _ids, _attribute_values()),
)
zcl_bodies: st.SearchStrategy[zcl.ZclBody] = st.one_of(
    st.sampled_from(list(zcl.LAYOUTS.values())).flatmap(cluster_commands),
    st.lists(_ids, max_size=5).map(lambda ids: zcl.ReadAttributes(tuple(ids))),
    st.lists(_records, max_size=4).map(lambda records: zcl.ReadAttributesResponse(tuple(records))),
    st.builds(zcl.DefaultResponse, st.integers(0, 255), st.integers(0, 255)),
)


@st.composite
def components(draw: st.DrawFn) -> gbz.Component:
    """Components, plain or encrypted, with or without From Date Time."""
    sequence, when = draw(st.integers(0, 255)), draw(st.one_of(st.none(), st.integers(0, 0xFFFF_FFFF)))
    quiet = draw(st.sampled_from([0, zcl.FRAME_NO_DEFAULT_RESPONSE]))
    if draw(st.booleans()):
        body = draw(zcl_bodies)
        if isinstance(body, zcl.ZclCommand):
            control = zcl.FRAME_CLUSTER_SPECIFIC | (zcl.FRAME_FROM_SERVER if body.from_server else 0)
            return gbz.Component(body.cluster, control | quiet, sequence, body, when)
        return gbz.Component(draw(_ids), draw(st.sampled_from([0, 8])) | quiet, sequence, body, when)
    octet = st.integers(0, 255)
    hidden = gbz.EncryptedZcl(
        draw(octet), draw(octet), draw(st.binary(max_size=60)), draw(st.binary(min_size=12, max_size=12))
    )
    return gbz.Component(draw(_ids), draw(st.sampled_from([0, 1, 8, 9])) | quiet, sequence, hidden, when)


gbz_payloads = st.lists(components(), min_size=1, max_size=4).map(lambda parts: gbz.Gbz(tuple(parts)))

_alert_head = (st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF))
_octet = st.integers(0, 255)
GBZ_ALERTS: dict[int, st.SearchStrategy[gbz.GbzAlert]] = {
    0x00CD: st.builds(
        gbz.GbzAlert,
        *_alert_head,
        st.builds(gbz.FutureDatedZcl, _ids, st.integers(0, (1 << 64) - 1), _ids, _octet, _octet),
    ),
    0x00CF: st.builds(gbz.GbzAlert, *_alert_head, _octets(gbz.ImageHash, 32)),
    0x00F2: st.builds(gbz.GbzAlert, *_alert_head, _ids.map(gbz.AlertNumber)),
    0x008B: st.builds(gbz.GbzAlert, *_alert_head, components()),
    0x1000: st.builds(gbz.GbzAlert, *_alert_head, st.one_of(st.none(), _ids.map(gbz.AlertNumber))),
    0x2222: st.builds(gbz.GbzAlert, *_alert_head, st.binary(min_size=1, max_size=9).map(gbz.AlertOctets)),
}
"""Alerts by message code; 2222 stands for a use case unknown here."""

# --- ASN.1 ---


def _raw_sequence(content: bytes) -> bytes:
    return b"\x30" + der.der_length(len(content)) + content


_bits = st.tuples(st.binary(min_size=1, max_size=3), st.integers(0, 7)).map(
    lambda pair: axdr.BitString(
        8 * len(pair[0]) - pair[1], pair[0][:-1] + bytes((pair[0][-1] >> pair[1] << pair[1] & 0xFF,))
    )
)
_times = st.sampled_from(["20150101000000Z", "20231231235959Z", asn1.TIME_NEVER])


def values_of(codec: der.Codec) -> st.SearchStrategy[Any]:
    """Values of any type ``asn1`` puts together."""
    match codec:
        case der.Whole():
            return st.integers(codec.low, codec.high)
        case der.Octets():
            return st.binary(min_size=codec.size or 0, max_size=codec.size or 20)
        case der.Bits():
            return _bits
        case der.Null():
            return st.none()
        case der.Time():
            return _times
        case der.Raw():
            return st.binary(max_size=300).map(_raw_sequence)
        case der.SequenceOf():
            return st.lists(values_of(codec.element), max_size=3).map(tuple)
        case der.Sequence():
            members = {
                member.name: st.one_of(st.none(), values_of(member.codec))
                if member.optional
                else values_of(member.codec)
                for member in codec.members
            }
            return st.builds(codec.cls, **members)
        case der.Choice():
            return st.one_of(*[values_of(option) for _type, option in codec.options])
        case der.Alone():
            inner = values_of(codec.inner)
            return st.builds(codec.cls) if codec.member is None else inner.map(codec.cls)
    raise AssertionError(codec)


@st.composite
def coded_payloads(draw: st.DrawFn) -> tuple[int, int, payload.Payload]:
    """A message code, a CRA flag and a payload that goes with them: every form there is."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return 0x0019, 1, draw(access_requests)
    if kind == 1:
        return 0x0019, 2, draw(access_responses)
    if kind == 2:
        return 0x00CC, 3, draw(data_notifications)
    if kind == 3:
        return 0x006B, draw(st.integers(1, 2)), draw(gbz_payloads)
    if kind == 4:
        code = draw(st.sampled_from(sorted(GBZ_ALERTS)))
        return code, 3, draw(GBZ_ALERTS[code])
    code, cra = draw(st.sampled_from(sorted(asn1.SCHEMAS)))
    return code, cra, asn1.Asn1(draw(values_of(asn1.SCHEMAS[code, cra])))
