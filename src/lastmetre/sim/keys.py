"""A test SMKI made of numbers: keys and certificates of every party of the world. They protect nothing.

Everything is kept between runs of one process: a certificate costs more than a simulated hour.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Certificate, Usage
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.smki import DEVICE_NOT_AFTER, issuer_name, make_certificate, organisation_name

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPPLIER: Final = bytes.fromhex("00005eef10000010")
BROKER: Final = bytes.fromhex("00005eef10000002")

_ORGANISATIONS: Final = {SUPPLIER: Role.SUPPLIER, BROKER: Role.ACCESS_CONTROL_BROKER}
_ISSUER: Final = issuer_name("simulated world", Role.ISSUING_AUTHORITY)
_FROM: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_UNTIL: Final = dt.datetime(2046, 1, 1, tzinfo=dt.UTC)
_ISSUER_SCALAR: Final = 1000


@cache
def private_key(entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
    """The same key for the same name, always."""
    scalar = int.from_bytes(entity_id, "big") * 8 + list(KeyUse).index(use) + 1001
    return ec.derive_private_key(scalar, ec.SECP256R1())


@cache
def certificate(entity_id: bytes, use: KeyUse) -> Certificate:
    """The certificate of a key."""
    role = _ORGANISATIONS.get(entity_id)
    usage = Usage.DIGITAL_SIGNATURE if use is KeyUse.DIGITAL_SIGNATURE else Usage.KEY_AGREEMENT
    return make_certificate(
        subject=x509.Name([]) if role is None else organisation_name("simulated world", role, entity_id),
        public_key=private_key(entity_id, use).public_key(),
        usage=usage,
        issuer=_ISSUER,
        issuer_key=ec.derive_private_key(_ISSUER_SCALAR, ec.SECP256R1()),
        serial_number=int.from_bytes(entity_id[4:], "big") * 8 + list(KeyUse).index(use) + 1,
        not_before=_FROM,
        not_after=DEVICE_NOT_AFTER if role is None else _UNTIL,
        device_id=entity_id if role is None else None,
    )


@cache
def issuing_authority() -> Certificate:
    """The authority behind them all."""
    key = ec.derive_private_key(_ISSUER_SCALAR, ec.SECP256R1())
    return make_certificate(
        subject=_ISSUER,
        public_key=key.public_key(),
        usage=Usage.CERT_SIGN,
        issuer=_ISSUER,
        issuer_key=key,
        serial_number=1,
        not_before=_FROM,
        not_after=_UNTIL,
    )


@cache
def anchors() -> Mapping[tuple[Role, KeyUse], Certificate]:
    """The trust anchor cells of every meter here."""
    return {
        (Role.SUPPLIER, KeyUse.DIGITAL_SIGNATURE): certificate(SUPPLIER, KeyUse.DIGITAL_SIGNATURE),
        (Role.SUPPLIER, KeyUse.KEY_AGREEMENT): certificate(SUPPLIER, KeyUse.KEY_AGREEMENT),
        (Role.SUPPLIER, KeyUse.PREPAYMENT): certificate(SUPPLIER, KeyUse.PREPAYMENT),
        (Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT): certificate(BROKER, KeyUse.KEY_AGREEMENT),
    }


class OwnKeys:
    """A key store with the keys of one party."""

    def __init__(self, entity_id: bytes) -> None:
        self._entity_id = entity_id

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        """Its own; nobody else's may be asked for."""
        assert entity_id == self._entity_id, f"{self._entity_id.hex()} asked for the key of {entity_id.hex()}"
        return private_key(entity_id, use)


class Certificates:
    """Everybody's certificates."""

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """Made when first asked for."""
        return certificate(entity_id, use)
