"""The language of GB smart metering: GBCS messages read, written, protected and checked, with no input or output.

Bytes, keys and times come in as arguments; values and bytes go out. Nothing here opens a socket or a file, reads a
clock or draws a random number. Most users need five names, given here::

    decode(bytes) -> DecodedMessage      to_json(message) -> dict
    encode(message) -> bytes             from_json(dict) -> DecodedMessage

The modules, from the bytes upwards:

* ``axdr``, ``dlms``: DLMS COSEM payloads; ``zcl``, ``gbz``: Zigbee payloads; ``der``, ``asn1``: ASN.1 payloads
* ``payload``: any of the three, told apart by rule; ``message``: the envelope around it; ``decoded``: both as one value
* ``build``: Commands, Responses and Alerts from values
* ``blocks``: a message in pieces
* ``json_form`` and its parts: the JSON form; ``words``, ``payload_words``: for reading
* ``keys``, ``protect``, ``acceptance``, ``certificates``, ``utrn``, ``catalogue``: protection and meaning
* ``verdicts``, ``opening``: what the keys at hand say of a message somebody shows us

The five names are imported when they are first used, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lastmetre.gbcs.decoded import DecodedMessage, decode, encode
    from lastmetre.gbcs.json_form import from_json, to_json

__all__ = ["DecodedMessage", "decode", "encode", "from_json", "to_json"]

_HOMES: Final = {
    "DecodedMessage": "decoded",
    "decode": "decoded",
    "encode": "decoded",
    "from_json": "json_form",
    "to_json": "json_form",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
