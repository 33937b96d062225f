"""Packs for the field: Commands for one hub, signed by who made them; Responses, brought back.

The form is JSON and this project's own (DESIGN CHOICE: no public text describes one). A pack's signature keeps a tool
from carrying what nobody gave it; what a Command may do is still judged by its target alone. Rules:

* A pack names its hub and its time, and holds whole GBCS Commands for the devices behind that hub, in their order.
* It is read only with the certificate of the party it names, and only whole: a changed, cut or foreign pack is refused
  with words that say why.
* The pack of Responses is not signed: each Response proves itself to who can check it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Kind, parse_message
from lastmetre.gbcs.protect import CryptoRefused, check_signature, sign
from lastmetre.relay.errors import RelayError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate

VERSION: Final = 1
COMMANDS_MAX: Final = 200
PACK_OCTETS_MAX: Final = 4_000_000
_SIGNED_AS: Final = b"lastmetre hht pack 1\n"
_BAD_JSON: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error)


class PackRefused(RelayError):
    """A pack cannot be used; the words say why and stand behind "the pack"."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Commands for one hub."""

    hub_id: bytes
    issuer_id: bytes
    issued_at: int
    commands: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FieldResponses:
    """What a tool brought back: Responses as they came, and the numbers of Commands without one."""

    hub_id: bytes
    issuer_id: bytes
    issued_at: int
    responses: tuple[bytes, ...]
    failed: tuple[tuple[int, str], ...] = ()


def _body(pack: Pack) -> dict[str, Any]:
    return {
        "version": VERSION,
        "hub": pack.hub_id.hex(),
        "issuer": pack.issuer_id.hex(),
        "issued_at": pack.issued_at,
        "commands": [base64.b64encode(command).decode() for command in pack.commands],
    }


def _covered(body: dict[str, Any]) -> bytes:
    return _SIGNED_AS + json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def encode_pack(pack: Pack, signing_key: ec.EllipticCurvePrivateKey) -> bytes:
    """A pack, signed."""
    _check_commands(pack.commands)
    body = _body(pack)
    return json.dumps({**body, "signature": sign(_covered(body), signing_key).hex()}, indent=1).encode()


def pack_issuer(data: bytes) -> bytes:
    """Who a pack says made it, so that the right certificate can be found; nothing is proven by it."""
    try:
        return _entity(_object(data)["issuer"])
    except _BAD_JSON as error:
        raise PackRefused(f"is no pack of Commands: {type(error).__name__}") from error


def decode_pack(data: bytes, issuer: Certificate) -> Pack:
    """Read a pack; raises ``PackRefused`` unless its issuer signed it."""
    try:
        raw = _object(data)
        version, signature = raw["version"], bytes.fromhex(raw.pop("signature"))
        commands = tuple(base64.b64decode(command, validate=True) for command in raw["commands"])
        pack = Pack(_entity(raw["hub"]), _entity(raw["issuer"]), int(raw["issued_at"]), commands)
    except _BAD_JSON as error:
        raise PackRefused(f"is no pack of Commands: {type(error).__name__}") from error
    if version != VERSION:
        raise PackRefused(f"is of version {version!r}; this program reads version {VERSION}")
    if pack.issuer_id != issuer.entity_id:
        raise PackRefused("names another issuer than the certificate given")
    try:
        # Over the octets as they came, read and written once more: a field too many is a changed pack.
        check_signature(signature, _covered(raw), issuer.public_key)
    except (CryptoRefused, ValueError):
        raise PackRefused("was not signed by its issuer, or was changed since") from None
    _check_commands(pack.commands)
    return pack


def place_in_pack(data: bytes, command: bytes) -> int | None:
    """Where a Command stands in a pack of one's own, kept as it left; its signature is not looked at again."""
    try:
        commands = [base64.b64decode(one, validate=True) for one in _object(data)["commands"]]
    except _BAD_JSON as error:
        raise PackRefused(f"is no pack of Commands: {type(error).__name__}") from error
    return commands.index(command) if command in commands else None


def _object(data: bytes) -> dict[str, Any]:
    if len(data) > PACK_OCTETS_MAX:
        raise PackRefused(f"is longer than {PACK_OCTETS_MAX} octets")
    raw = json.loads(data)
    if not isinstance(raw, dict):
        raise TypeError
    return raw


def _entity(text: str) -> bytes:
    entity_id = bytes.fromhex(text)
    if len(entity_id) != 8:
        raise ValueError
    return entity_id


def _check_commands(commands: tuple[bytes, ...]) -> None:
    if not 1 <= len(commands) <= COMMANDS_MAX:
        raise PackRefused(f"holds {len(commands)} Commands; 1 to {COMMANDS_MAX} are right")
    for number, command in enumerate(commands):
        try:
            kind = parse_message(command).kind
        except GbcsDecodeError:
            kind = None
        if kind is not Kind.COMMAND:
            raise PackRefused(f"holds something at place {number} that is no whole GBCS Command")


def encode_responses(brought: FieldResponses) -> bytes:
    """The pack of Responses."""
    raw = {
        "version": VERSION,
        "hub": brought.hub_id.hex(),
        "issuer": brought.issuer_id.hex(),
        "issued_at": brought.issued_at,
        "responses": [base64.b64encode(response).decode() for response in brought.responses],
        "failed": [{"command": number, "reason": reason} for number, reason in brought.failed],
    }
    return json.dumps(raw, indent=1).encode()


def decode_responses(data: bytes) -> FieldResponses:
    """Read a pack of Responses. Its Responses are claims until each is verified."""
    try:
        raw = _object(data)
        brought = FieldResponses(
            _entity(raw["hub"]),
            _entity(raw["issuer"]),
            int(raw["issued_at"]),
            tuple(base64.b64decode(response, validate=True) for response in raw["responses"]),
            tuple((int(entry["command"]), str(entry["reason"])) for entry in raw["failed"]),
        )
        version = raw["version"]
    except _BAD_JSON as error:
        raise PackRefused(f"is no pack of Responses: {type(error).__name__}") from error
    if version != VERSION:
        raise PackRefused(f"is of version {version!r}; this program reads version {VERSION}")
    return brought
