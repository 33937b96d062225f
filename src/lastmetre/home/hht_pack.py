"""Packs for the field: Commands for one hub, signed by who made them; Responses, brought back.

The form is JSON and this project's own (DESIGN CHOICE: no public text describes one). A pack's signature keeps a tool
from carrying what nobody gave it; what a Command may do is still judged by its target alone. Rules: a pack names its
hub and its time; it is read only with the certificate of the party it names, and only whole.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lastmetre.gbcs.protect import CryptoRefused, check_signature, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate

VERSION: Final = 1
COMMANDS_MAX: Final = 200
PACK_OCTETS_MAX: Final = 4_000_000
_SIGNED_AS: Final = b"lastmetre hht pack 1\n"


class PackRefused(Exception):
    """A pack cannot be used; the words say why."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Commands for one hub."""

    hub_id: bytes
    issuer_id: bytes
    issued_at: int
    commands: tuple[bytes, ...]


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
    if not 1 <= len(pack.commands) <= COMMANDS_MAX:
        raise PackRefused(f"a pack holds 1 to {COMMANDS_MAX} Commands, not {len(pack.commands)}")
    body = _body(pack)
    return json.dumps({**body, "signature": sign(_covered(body), signing_key).hex()}, indent=1).encode()


def decode_pack(data: bytes, issuer: Certificate) -> Pack:
    """Read a pack; raises ``PackRefused`` unless its issuer signed it."""
    if len(data) > PACK_OCTETS_MAX:
        raise PackRefused(f"is longer than {PACK_OCTETS_MAX} octets")
    try:
        raw = json.loads(data)
        signature = bytes.fromhex(raw.pop("signature"))
        pack = Pack(
            bytes.fromhex(raw["hub"]),
            bytes.fromhex(raw["issuer"]),
            int(raw["issued_at"]),
            tuple(base64.b64decode(command, validate=True) for command in raw["commands"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise PackRefused(f"is no pack of Commands: {type(error).__name__}") from error
    if raw.get("version") != VERSION or len(pack.commands) > COMMANDS_MAX:
        raise PackRefused("is a pack of another version, or holds too many Commands")
    if pack.issuer_id != issuer.entity_id:
        raise PackRefused("names another issuer than the certificate given")
    try:
        check_signature(signature, _covered(_body(pack)), issuer.public_key)
    except CryptoRefused:
        raise PackRefused("was not signed by its issuer, or was changed since") from None
    return pack


def encode_responses(pack: Pack, responses: tuple[bytes, ...], failed: tuple[tuple[int, str], ...]) -> bytes:
    """What the tool brings back: Responses as they came, and the numbers of Commands without one."""
    raw = {
        "version": VERSION,
        "hub": pack.hub_id.hex(),
        "issuer": pack.issuer_id.hex(),
        "issued_at": pack.issued_at,
        "responses": [base64.b64encode(response).decode() for response in responses],
        "failed": [{"command": number, "reason": reason} for number, reason in failed],
    }
    return json.dumps(raw, indent=1).encode()
