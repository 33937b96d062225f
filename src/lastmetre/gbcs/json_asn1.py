"""ASN.1 payloads in the JSON form (``json_form`` has the rules): made from the same types that read and write DER.

Certificates and certification requests are their DER in hexadecimal; who they name stands in ``words``. Codes are
numbers, with their names in ``words``.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import Final

from lastmetre.gbcs import der
from lastmetre.gbcs import words as in_words
from lastmetre.gbcs.asn1 import Asn1
from lastmetre.gbcs.asn1_places import CODECS
from lastmetre.gbcs.datetimes import generalized_moment
from lastmetre.gbcs.json_dlms import PLAIN_BITS
from lastmetre.gbcs.json_parts import (
    Either,
    Form,
    ListOf,
    Member,
    Named,
    Nothing,
    Option,
    Record,
    Row,
    Tagged,
    Text,
    Whole,
    octets,
)


def _moment(text: str) -> str:
    if generalized_moment(text) is None:
        raise ValueError("there is no such time")
    return text


_TIME: Final = Text("[0-9]{14}Z", "a time YYYYMMDDHHMMSSZ", str, _moment)
_JSON_KINDS: Final[dict[type, str]] = {bytes: "string", int: "integer", type(None): "null"}


def _form(codec: der.Codec) -> Form:
    """The JSON form of an ASN.1 type."""
    match codec:
        case der.Whole():
            return Whole(codec.low, codec.high)
        case der.Octets():
            return octets(codec.size)
        case der.Bits():
            return PLAIN_BITS
        case der.Null():
            return Nothing()
        case der.Time():
            return _TIME
        case der.Raw():
            return octets()
        case der.SequenceOf():
            return ListOf(_form(codec.element))
        case der.Choice():
            return Either(tuple(_option(type_, option) for type_, option in codec.options))
        case der.Sequence():
            return Named(kebab(codec.cls), lambda: _record(codec))
    raise TypeError(f"{codec!r} has no form in JSON")


def _option(type_: type, codec: der.Codec) -> Option:
    return Option(_JSON_KINDS.get(type_, "object"), lambda value: isinstance(value, type_), _form(codec))


def _record(codec: der.Sequence | der.Alone) -> Record:
    """The object for a SEQUENCE, or for a payload that is one value. A NULL is nothing to be told."""
    words = in_words.member_words
    if isinstance(codec, der.Alone):
        members = () if codec.member is None else (Member(codec.member, _form(codec.inner)),)
        return Record(codec.cls, members, words)
    defaults = {field.name: None if field.default is MISSING else field.default for field in fields(codec.cls)}
    return Record(
        codec.cls,
        tuple(
            Member(
                member.name,
                _form(member.codec),
                optional=member.optional or member.default is not None,
                default=defaults[member.name],
            )
            for member in codec.members
            if not isinstance(member.codec, der.Null)
        ),
        words,
    )


def kebab(cls: type) -> str:
    """A class's name as the form writes it: ``JoinResponse`` is ``join-response``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


ASN1: Final = Record(
    Asn1,
    (
        Member("value", Tagged("structure", tuple((kebab(cls), cls, _record(codec)) for cls, codec in CODECS.items()))),
        Member("long_lengths", ListOf(Row((Whole(0, 0xFFFF), Whole(2, der.LENGTH_OCTETS_MAX)))), True, ()),
    ),
)
"""``long_lengths``: position in reading order and octets of each length longer than need be."""
