"""Reading the maps of version 1, field by field. Not public: use ``envelope`` and ``receipts``.

A document is a CBOR map with small whole numbers as keys, one spelling each way (``cbor_form``). A field that is not
known is refused: what a signer says and a reader skips is how two of them come to differ.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from lastmetre.relay.cbor_form import read, write
from lastmetre.relay.errors import RelayDecodeError
from lastmetre.relay.limits import DIGEST_OCTETS, ENTITY_ID_OCTETS, ORDER_ID_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
_VERSION_KEY: Final = 1
_ORDER_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{ORDER_ID_CHARACTERS_MAX}}}")

Fields = dict[str, object]


def order_id_fault(value: str) -> str | None:
    """Why ``value`` is no order id, or ``None``."""
    return None if _ORDER_ID.fullmatch(value) else "not_an_order_id"


def write_map(keys: Mapping[str, int], values: Mapping[str, object]) -> bytes:
    """The document: the version, and every value that is not ``None``."""
    said = {keys[name]: value for name, value in values.items() if value is not None}
    return write({_VERSION_KEY: VERSION, **said})


def read_map(data: bytes, what: str, octets_max: int, keys: Mapping[str, int], optional: frozenset[str]) -> Fields:
    """The fields of a version 1 document, by name; those left out are left out."""
    value = read(data, what, octets_max)
    if not isinstance(value, dict):
        raise RelayDecodeError(what, "not_a_map")
    version = value.pop(_VERSION_KEY, None)
    if type(version) is not int or version != VERSION:
        raise RelayDecodeError("version", "unknown_version")
    names = {key: name for name, key in keys.items()}
    if value.keys() - names.keys():
        raise RelayDecodeError(what, "unknown_field")
    fields = {names[key]: said for key, said in value.items()}
    for name in keys:
        if name not in fields and name not in optional:
            raise RelayDecodeError(name, "missing")
    return fields


def read_number(fields: Fields, name: str) -> int:
    """A whole number."""
    number = fields[name]
    if type(number) is not int:
        raise RelayDecodeError(name, "not_a_whole_number")
    return number


def read_octets(fields: Fields, name: str) -> bytes:
    """Octets."""
    octets = fields[name]
    if type(octets) is not bytes:
        raise RelayDecodeError(name, "not_octets")
    return octets


def read_order_id(fields: Fields) -> str:
    """An order id."""
    text = fields["order_id"]
    if not isinstance(text, str):
        raise RelayDecodeError("order_id", "not_text")
    fault = order_id_fault(text)
    if fault:
        raise RelayDecodeError("order_id", fault)
    return text


def read_digest(fields: Fields) -> bytes:
    """A SHA-256."""
    digest = read_octets(fields, "digest")
    if len(digest) != DIGEST_OCTETS:
        raise RelayDecodeError("digest", "not_a_sha_256")
    return digest


def read_entity_id(fields: Fields, name: str) -> bytes:
    """An Entity Identifier."""
    entity_id = read_octets(fields, name)
    if len(entity_id) != ENTITY_ID_OCTETS:
        raise RelayDecodeError(name, "not_an_entity_id")
    return entity_id


def sha256(data: bytes) -> bytes:
    """The digest that names a Command."""
    return hashlib.sha256(data).digest()
