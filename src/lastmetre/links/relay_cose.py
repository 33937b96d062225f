"""Signs, encrypts and opens what supplier and agent say to each other, and holds their relay keys.

``SealedOutbox`` stands between the supplier's core and its bearers, ``SealedBearer`` between a bearer and the agent:
inside they speak contents, outside nothing but COSE goes (``relay.cose_form``, decision 5). The library draws the
ephemeral key and the signatures' nonces itself; the initialisation vector is drawn here.

Rules this module keeps: the form of a message is checked before the library sees it; a message that cannot be opened
tells nobody why but our own screen; a relay certificate counts only when the transport's CA issued it, to that entity,
and today lies within its time.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from cwt import COSE, COSEKey, CWTError, Recipient
from cwt.algs.ec2 import EC2Key

from lastmetre.links.errors import LinkError
from lastmetre.links.keystore import KeyStoreError, load_private_key
from lastmetre.relay import RelayDecodeError
from lastmetre.relay.cose_form import (
    A128GCM,
    ALG,
    ECDH_ES_HKDF_256,
    ES256,
    IV,
    IV_OCTETS,
    KEY_ID,
    RELAY_USE,
    envelope_bound_to,
    kdf_context,
    key_id,
    receipt_bound_to,
    recipients_key_id,
    signers_key_id,
)
from lastmetre.relay.limits import CONTENT_OCTETS_MAX, ENVELOPE_OCTETS_MAX, RECEIPT_OCTETS_MAX

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cwt.cose_key_interface import COSEKeyInterface

    from lastmetre.agent.ports import Bearer
    from lastmetre.supplier.ports import Outbox

    Tell = Callable[..., None]

_KEY_ID: Final = 2
_ALGORITHM: Final = 3
"""Of a COSE_Key (RFC 9052 section 7.1)."""
_FAILURES: Final = (CWTError, ValueError, TypeError, LookupError, AttributeError)
"""All that the library raises for octets that are not what they should be."""


class RelayKeyError(LinkError):
    """A relay key or certificate cannot be used; the text says which file and why."""


# Keys


def load_relay_key(path: Path, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """A party's own relay key."""
    try:
        key = load_private_key(path, passphrase)
    except KeyStoreError as error:
        raise RelayKeyError(str(error)) from error
    if not isinstance(key.curve, ec.SECP256R1):
        raise RelayKeyError(f"{path} is not a P-256 key: make one with the relay profile")
    return key


def load_relay_certificates(
    path: Path, ca: Path, entity_id: bytes, now: dt.datetime
) -> list[ec.EllipticCurvePublicKey]:
    """The public keys of an entity: those in ``path`` that hold now. Two of them, while a new one takes over."""
    try:
        issuer = x509.load_pem_x509_certificate(ca.read_bytes())
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RelayKeyError(f"cannot read the relay certificate {path}: {error}") from error
    keys = [key for key in (_public_key(one, issuer, entity_id, now) for one in certificates) if key is not None]
    if not keys:
        raise RelayKeyError(
            f"{path} holds no relay certificate for {entity_id.hex()} that {ca} issued and that is valid"
        )
    return keys


def _public_key(
    certificate: x509.Certificate, issuer: x509.Certificate, entity_id: bytes, now: dt.datetime
) -> ec.EllipticCurvePublicKey | None:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    key = certificate.public_key()
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return None
    if [name.value for name in names] != [entity_id.hex()]:
        return None
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return None
    if not _is_for_relays(certificate):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None


def _is_for_relays(certificate: x509.Certificate) -> bool:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return [use.dotted_string for use in uses] == [RELAY_USE]


def load_agents(
    folder: Path, ca: Path, agent_ids: Iterable[bytes], now: dt.datetime
) -> dict[bytes, list[ec.EllipticCurvePublicKey]]:
    """The public keys of the agents whose certificates lie in a folder as ``<entity id>.pem``."""
    files = {agent_id: folder / f"{agent_id.hex()}.pem" for agent_id in agent_ids}
    return {
        agent_id: load_relay_certificates(path, ca, agent_id, now) for agent_id, path in files.items() if path.exists()
    }


def _cose_key(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey, algorithm: int) -> COSEKeyInterface:
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return COSEKey.new({**EC2Key.to_cose_key(key), _KEY_ID: key_id(public), _ALGORITHM: algorithm})


# One signature, one encryption


def sign(content: bytes, key: ec.EllipticCurvePrivateKey, bound_to: bytes) -> bytes:
    """A COSE_Sign1 around a content."""
    signed = COSE.new().encode_and_sign(
        content,
        _cose_key(key, ES256),
        protected={ALG: ES256},
        unprotected={KEY_ID: key_id(key.public_key())},
        external_aad=bound_to,
    )
    return bytes(signed)


def open_signed(
    data: bytes, keys: Mapping[bytes, ec.EllipticCurvePublicKey], bound_to: bytes, what: str, octets_max: int
) -> bytes:
    """The content of a COSE_Sign1 by one of ``keys``; raises ``RelayDecodeError``."""
    key = keys.get(signers_key_id(data, what, octets_max))
    if key is None:
        raise RelayDecodeError(what, "another_key")
    try:
        return bytes(COSE.new().decode(data, _cose_key(key, ES256), external_aad=bound_to))
    except _FAILURES:
        raise RelayDecodeError(what, "not_opened") from None


def encrypt(signed: bytes, to: ec.EllipticCurvePublicKey, supplier_id: bytes, agent_id: bytes) -> bytes:
    """A COSE_Encrypt around a signed content, for one agent."""
    recipient = Recipient.new(
        protected={ALG: ECDH_ES_HKDF_256},
        unprotected={KEY_ID: key_id(to)},
        recipient_key=_cose_key(to, ECDH_ES_HKDF_256),
        context=kdf_context(supplier_id, agent_id),
    )
    sealed = COSE.new().encode_and_encrypt(
        signed,
        protected={ALG: A128GCM},
        unprotected={IV: secrets.token_bytes(IV_OCTETS)},
        recipients=[recipient],
        external_aad=envelope_bound_to(supplier_id, agent_id),
    )
    return bytes(sealed)


def decrypt(
    data: bytes, keys: Mapping[bytes, ec.EllipticCurvePrivateKey], supplier_id: bytes, agent_id: bytes
) -> bytes:
    """The signed content in a COSE_Encrypt for one of ``keys``; raises ``RelayDecodeError``."""
    key = keys.get(recipients_key_id(data, ENVELOPE_OCTETS_MAX))
    if key is None:
        raise RelayDecodeError("envelope", "another_key")
    try:
        signed = COSE.new().decode(
            data,
            _cose_key(key, ECDH_ES_HKDF_256),
            context=kdf_context(supplier_id, agent_id),
            external_aad=envelope_bound_to(supplier_id, agent_id),
        )
        return bytes(signed)
    except _FAILURES:
        raise RelayDecodeError("envelope", "not_opened") from None


# The two sides


@dataclass(frozen=True, slots=True)
class SupplierSide:
    """The supplier's relay key, and the agents' public ones."""

    supplier_id: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    agents: Mapping[bytes, list[ec.EllipticCurvePublicKey]]

    def seal(self, agent_id: bytes, content: bytes) -> bytes:
        """An envelope for one agent, encrypted to its latest key."""
        signed = sign(content, self.key, envelope_bound_to(self.supplier_id, agent_id))
        return encrypt(signed, self.agents[agent_id][-1], self.supplier_id, agent_id)

    def open(self, agent_id: bytes, receipt: bytes) -> bytes:
        """The content of a receipt that this agent signed."""
        keys = {key_id(key): key for key in self.agents.get(agent_id, [])}
        bound_to = receipt_bound_to(self.supplier_id, agent_id)
        return open_signed(receipt, keys, bound_to, "receipt", RECEIPT_OCTETS_MAX)


@dataclass(frozen=True, slots=True)
class AgentSide:
    """The agent's relay key, and the supplier's public ones."""

    agent_id: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    supplier_id: bytes
    suppliers_keys: list[ec.EllipticCurvePublicKey]

    def open(self, envelope: bytes) -> bytes:
        """The content of an envelope that the supplier made for this agent."""
        own = {key_id(self.key.public_key()): self.key}
        signed = decrypt(envelope, own, self.supplier_id, self.agent_id)
        keys = {key_id(key): key for key in self.suppliers_keys}
        bound_to = envelope_bound_to(self.supplier_id, self.agent_id)
        return open_signed(signed, keys, bound_to, "envelope", CONTENT_OCTETS_MAX + 512)

    def sign(self, receipt: bytes) -> bytes:
        """A receipt under this agent's signature."""
        return sign(receipt, self.key, receipt_bound_to(self.supplier_id, self.agent_id))


class SealedOutbox:
    """``supplier.ports.Outbox`` for bearers: sealed envelopes out, signed receipts in.

    An agent without a relay certificate gets nothing: its orders stay in the inner outbox for another road.
    """

    def __init__(self, inner: Outbox, side: SupplierSide, tell: Tell) -> None:
        self._inner = inner
        self._side = side
        self._tell = tell
        self._unknown: set[bytes] = set()

    async def next_envelope(self, agent_id: bytes, wait_s: float) -> bytes | None:
        """As in the port."""
        if agent_id not in self._side.agents:
            if agent_id not in self._unknown:
                self._unknown.add(agent_id)
                self._tell("agent_without_relay_certificate", agent_id=agent_id.hex())
            await asyncio.sleep(wait_s)
            return None
        content = await self._inner.next_envelope(agent_id, wait_s)
        return None if content is None else self._side.seal(agent_id, content)

    async def receipt(self, agent_id: bytes, receipt: bytes) -> None:
        """As in the port."""
        try:
            content = self._side.open(agent_id, receipt)
        except RelayDecodeError as error:
            self._tell("receipt_not_opened", agent_id=agent_id.hex(), field=error.field, reason=error.reason)
            raise
        await self._inner.receipt(agent_id, content)


class SealedBearer:
    """``agent.ports.Bearer`` over any other: opens what comes, signs what goes."""

    def __init__(self, inner: Bearer, side: AgentSide, tell: Tell) -> None:
        self._inner = inner
        self._side = side
        self._tell = tell

    async def next_envelope(self) -> bytes | None:
        """The content of the next envelope. What cannot be opened becomes no octets at all, which decode to nothing."""
        envelope = await self._inner.next_envelope()
        if envelope is None:
            return None
        try:
            return self._side.open(envelope)
        except RelayDecodeError as error:
            self._tell("envelope_not_opened", field=error.field, reason=error.reason)
            return b""

    async def stored(self) -> None:
        """As in the port."""
        await self._inner.stored()

    async def hand_on(self, receipt: bytes) -> None:
        """As in the port."""
        await self._inner.hand_on(self._side.sign(receipt))
