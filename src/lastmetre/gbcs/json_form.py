"""Messages as JSON and back: a stable, readable form, number 1, with a JSON Schema (``message.schema.json``).

Rules this module keeps:

* ``encode(from_json(to_json(decode(x)))) == x`` for every message ``decode`` takes; ``to_json`` gives only what JSON
  has, so ``json.dumps`` needs no help.
* One thing is said once. Numbers and octets are what counts; ``words`` beside them, and at the top ``kind``,
  ``use_case`` and ``verdicts``, are for people: they are never read, and may change at any time.
* Identifiers and octets are lower-case hexadecimal, codes upper-case, counters strings of decimal digits, DLMS values
  objects with the type's name as their one member.
* Anything else raises ``GbcsValueError`` that begins with the place, such as ``$.header.other_information``.

A change that a reader of form 1 would notice makes form 2. The schema is made from the same tables as reading and
writing (``message_schema``); a test keeps the file beside this module up to date.
"""

from __future__ import annotations

from typing import Any, Final

from lastmetre.gbcs import words as in_words
from lastmetre.gbcs.asn1 import Asn1
from lastmetre.gbcs.catalogue import use_case
from lastmetre.gbcs.decoded import DecodedMessage
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, DataNotification
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Gbz, GbzAlert
from lastmetre.gbcs.json_asn1 import ASN1
from lastmetre.gbcs.json_dlms import ACCESS_REQUEST, ACCESS_RESPONSE, DATA_NOTIFICATION
from lastmetre.gbcs.json_gbz import GBZ, GBZ_ALERT
from lastmetre.gbcs.json_parts import (
    At,
    Definitions,
    Either,
    Member,
    Named,
    Nothing,
    Option,
    Record,
    Schema,
    Tagged,
    Text,
    Whole,
    always,
    code,
    nullable,
    object_schema,
    octets,
    read_object,
)
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation

FORM: Final = 1
"""The number of this form; it stands in every document."""

FOR_PEOPLE: Final = frozenset({"kind", "use_case", "verdicts"})
"""Members of the document that are not read."""

SCHEMA_FILE: Final = "message.schema.json"
"""The JSON Schema, beside this module."""


def to_json(message: DecodedMessage) -> dict[str, Any]:
    """The message as what JSON has: objects, arrays, strings, whole numbers, true, false, null."""
    case = use_case(message.header.message_code)
    return {
        "form": FORM,
        "kind": message.kind.value,
        "use_case": {"name": case.name, "title": case.title} if case else None,
        **_MESSAGE.write(message),
    }


def from_json(document: dict[str, Any]) -> DecodedMessage:
    """The message a document says; raises ``GbcsValueError`` naming the place of what it cannot say."""
    at = At()
    found = read_object(document, _DOCUMENT, at, FOR_PEOPLE)
    del found["form"]
    try:
        found["header"].to_bytes()
    except GbcsValueError as error:
        raise (at / "header").wrong(str(error)) from None
    return DecodedMessage(**found)


def message_schema() -> Schema:
    """The JSON Schema of the form."""
    definitions: Definitions = {"words": {"description": "For people; never read, and may change at any time."}}
    body = object_schema(_DOCUMENT, definitions)
    body["properties"] |= {name: {"$ref": "#/$defs/words"} for name in sorted(FOR_PEOPLE)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A GBCS message, form 1",
        "description": "What lastmetre.gbcs.to_json writes and from_json reads.",
        **body,
        "$defs": dict(sorted(definitions.items())),
    }


_ID: Final = octets(8)
_COUNTER: Final = Whole(0, (1 << 64) - 1)

_OTHER_INFORMATION: Final = Record(
    OtherInformation,
    (
        Member("message_code", code(4)),
        Member("supplementary_remote_party_id", _ID, optional=True),
        Member("supplementary_remote_party_counter", _COUNTER, optional=True),
        Member("supplementary_originator_counter", _COUNTER, optional=True),
        Member("supplementary_certificate", octets(), optional=True),
    ),
    in_words.member_words,
)

_HEADER: Final = Record(
    GroupingHeader,
    (
        Member(
            "cra",
            Text(
                "|".join(cra.name.lower() for cra in Cra),
                "command, response or alert",
                lambda cra: Cra(cra).name.lower(),
                lambda text: Cra[text.upper()],
            ),
        ),
        Member("originator_counter", _COUNTER),
        Member("business_originator_id", _ID),
        Member("business_target_id", _ID),
        Member(
            "date_time",
            Either(
                (Option("null", lambda octets_: octets_ == b"", Nothing(b"")), Option("string", always, octets(12)))
            ),
        ),
        Member("other_information", _OTHER_INFORMATION),
    ),
    lambda header: {"date_time": in_words.date_time_words(header.date_time)} if header.date_time else None,
)

_PAYLOAD: Final = Tagged(
    "type",
    (
        ("access-request", AccessRequest, ACCESS_REQUEST),
        ("access-response", AccessResponse, ACCESS_RESPONSE),
        ("data-notification", DataNotification, DATA_NOTIFICATION),
        ("gbz", Gbz, GBZ),
        ("gbz-alert", GbzAlert, GBZ_ALERT),
        ("asn1", Asn1, ASN1),
    ),
)

_SIGNATURE: Final = nullable(
    "string", Text("(?:(?:[0-9A-Fa-f]{2}){64})?", "nothing, or 64 octets,", bytes.hex, bytes.fromhex)
)
"""Null: even its length is absent, as in a Pre-Command. Empty: length zero."""

_MESSAGE: Final = Record(
    DecodedMessage,
    (
        Member("header", Named("header", lambda: _HEADER)),
        Member("payload", Named("payload", lambda: _PAYLOAD)),
        Member("signature", _SIGNATURE),
        Member("mac", nullable("string", octets(12))),
    ),
)
_DOCUMENT: Final = (Member("form", Whole(FORM, FORM)), *_MESSAGE.members)
