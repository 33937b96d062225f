"""Reading and writing the JSON of version 0, one strict form each way. Not public: use ``envelope`` and ``receipts``.

The canonical form: the fields in their fixed order, no space, ASCII only, binary as padded base64, identifiers and
digests as lower-case hex. ``read_object`` finds the plain mistakes and names the field; ``require_canonical`` refuses
every other way of writing the same thing, so that two readers can never read one document differently (T44).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import TYPE_CHECKING, Final, NoReturn

from lastmetre.relay.errors import RelayDecodeError
from lastmetre.relay.limits import DIGEST_OCTETS, ENTITY_ID_OCTETS, ORDER_ID_CHARACTERS_MAX, REASON_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION: Final = 0

_ORDER_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{ORDER_ID_CHARACTERS_MAX}}}")
_REASON = re.compile(rf"[a-z0-9_]{{1,{REASON_CHARACTERS_MAX}}}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")

Object = dict[str, object]


def order_id_fault(value: str) -> str | None:
    """Why ``value`` is no order id, or ``None``."""
    return None if _ORDER_ID.fullmatch(value) else "not_an_order_id"


def reason_fault(value: str) -> str | None:
    """Why ``value`` is no reason token, or ``None``."""
    return None if _REASON.fullmatch(value) else "not_a_token"


def write_object(fields: Mapping[str, object]) -> bytes:
    """The canonical form of ``fields``, behind the version."""
    whole = {"version": VERSION, **fields}
    return json.dumps(whole, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def base64_text(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def read_object(data: bytes, what: str, octets_max: int, names: Iterable[str]) -> Object:
    """The fields of a version 0 document, each exactly once and no other."""
    if len(data) > octets_max:
        raise RelayDecodeError(what, "too_long")
    try:
        value = json.loads(data.decode("ascii"), object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except (ValueError, RecursionError):
        raise RelayDecodeError(what, "not_json") from None
    if not isinstance(value, dict):
        raise RelayDecodeError(what, "not_an_object")
    if type(value.get("version")) is not int or value["version"] != VERSION:
        raise RelayDecodeError("version", "unknown_version")
    expected = {"version", *names}
    for name in sorted(expected - value.keys()):
        raise RelayDecodeError(name, "missing")
    if value.keys() - expected:
        raise RelayDecodeError(what, "unknown_field")  # its name is theirs, and never repeated
    return value


def require_canonical(data: bytes, encoded: bytes, what: str) -> None:
    """Refuse any spelling but ours."""
    if data != encoded:
        raise RelayDecodeError(what, "not_canonical")


def read_text(value: Object, name: str) -> str:
    """A string."""
    text = value[name]
    if not isinstance(text, str):
        raise RelayDecodeError(name, "not_text")
    return text


def read_number(value: Object, name: str) -> int:
    """A whole number; true and 1.0 are none."""
    number = value[name]
    if type(number) is not int:
        raise RelayDecodeError(name, "not_a_whole_number")
    return number


def read_order_id(value: Object) -> str:
    """An order id."""
    text = read_text(value, "order_id")
    fault = order_id_fault(text)
    if fault:
        raise RelayDecodeError("order_id", fault)
    return text


def read_digest(value: Object) -> bytes:
    """A SHA-256 in lower-case hex."""
    return _read_hex(value, "digest", DIGEST_OCTETS)


def read_entity_id(value: Object, name: str) -> bytes:
    """An Entity Identifier in lower-case hex."""
    return _read_hex(value, name, ENTITY_ID_OCTETS)


def _read_hex(value: Object, name: str, octets: int) -> bytes:
    text = read_text(value, name)
    if len(text) != 2 * octets or not _HEX.fullmatch(text):
        raise RelayDecodeError(name, "not_lower_case_hex")
    return bytes.fromhex(text)


def read_base64(value: Object, name: str) -> bytes:
    """Binary data."""
    try:
        return base64.b64decode(read_text(value, name), validate=True)
    except (binascii.Error, ValueError):
        raise RelayDecodeError(name, "not_base64") from None


def sha256(data: bytes) -> bytes:
    """The digest that names a Command."""
    return hashlib.sha256(data).digest()


def _no_duplicates(pairs: list[tuple[str, object]]) -> Object:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name twice")
    return value


def _no_constants(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
