"""The supplier's keys, as its modules need them: to sign XML and GBCS, to believe the DSP and the devices.

Secrets agreed with devices are cached by both public keys (``gbcs.keys.SecretCache``), so that a new certificate never
meets an old secret.

DUIS documents are signed with an XML signing identity, apart from every GBCS key, where there is one (duis 3); likewise
the DSP's: where it has one, only that may sign what the DCC says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lastmetre.duis.signature import Signer, normalise_issuer
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse, SecretCache
from lastmetre.supplier.errors import OrderRefused, SupplierError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import SharedSecret
    from lastmetre.supplier.ports import CertificateStore, KeyStore


class XmlIdentities(Protocol):
    """Pairs that sign DUIS documents and nothing else."""

    def find_xml_signer(self, entity_id: bytes) -> Certificate | None:
        """The certificate of an entity's own XML signing identity, or ``None``."""

    def find_xml_signing_key(self, entity_id: bytes) -> ec.EllipticCurvePrivateKey | None:
        """The private key of an entity's own XML signing identity, or ``None``."""


class SupplierKeys:
    """One supplier's identity, and whom it believes. Fits ``gbcs.acceptance.ResponseKeys``."""

    def __init__(
        self, entity_id: bytes, dsp_id: bytes, keys: KeyStore, certificates: CertificateStore,
        xml: XmlIdentities | None = None,
    ) -> None:  # fmt: skip
        self._entity_id = entity_id
        self._dsp_id = dsp_id
        self._keys = keys
        self._certificates = certificates
        self._xml = xml
        self._secrets = SecretCache()

    @property
    def entity_id(self) -> bytes:
        """The supplier's own identifier: the Business Originator of its Commands."""
        return self._entity_id

    @property
    def dsp_id(self) -> bytes:
        """The DSP's identifier: who must have signed what comes from the DCC."""
        return self._dsp_id

    def check(self) -> None:
        """Asks for every key once, so that one that is missing is known at the start; raises the key store's error."""
        for use in KeyUse:
            self._keys.private_key(self._entity_id, use)
        if self._dsp_certificate() is None:
            raise SupplierError(f"there is no signing certificate of the DSP {self._dsp_id.hex()}")
        assert self.signer

    @property
    def signing_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs Pre-Commands."""
        return self._keys.private_key(self._entity_id, KeyUse.DIGITAL_SIGNATURE)

    @property
    def signer(self) -> Signer:
        """The identity of the XML signature: one of its own, or the key that signs Pre-Commands."""
        own = None if self._xml is None else self._xml.find_xml_signer(self._entity_id)
        if self._xml is not None and own is not None:
            key = self._xml.find_xml_signing_key(self._entity_id)
            if key is None or own.role != Role.XML_SIGN_USER:
                name = self._entity_id.hex()
                raise SupplierError(f"the XML signing certificate of {name} has no key here, or another role")
            return Signer(key, own.issuer_name, own.serial_number)
        certificate = self._certificates.find_certificate(self._entity_id, KeyUse.DIGITAL_SIGNATURE)
        if certificate is None:
            raise SupplierError(f"there is no signing certificate of {self._entity_id.hex()} to name in DUIS documents")
        return Signer(self.signing_key, certificate.issuer_name, certificate.serial_number)

    def _dsp_certificate(self) -> Certificate | None:
        """What the DSP signs documents with; an XML signing certificate only in the DSP's role."""
        own = None if self._xml is None else self._xml.find_xml_signer(self._dsp_id)
        if own is not None:
            return own if own.role == Role.XML_SIGN_DSP else None
        return self._certificates.find_certificate(self._dsp_id, KeyUse.DIGITAL_SIGNATURE)

    def find_dsp_certificate(self, issuer_name: str, serial_number: int) -> Certificate | None:
        """The DSP's signing certificate if that is the one named; no other may sign what the DCC says."""
        found = self._dsp_certificate()
        if found is None or found.serial_number != serial_number:
            return None
        return found if normalise_issuer(found.issuer_name) == normalise_issuer(issuer_name) else None

    def device_certificate(self, device_id: bytes, use: KeyUse) -> Certificate | None:
        """A device's certificate."""
        return self._certificates.find_certificate(device_id, use)

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """The secret between the supplier's key agreement key and a device's."""
        return self._secrets.agree(self._keys.private_key(self._entity_id, KeyUse.KEY_AGREEMENT), public_key)

    def prepayment_secret(self, device_id: bytes) -> SharedSecret:
        """The secret that makes a device's UTRNs; raises ``OrderRefused`` for a device without certificate."""
        certificate = self.device_certificate(device_id, KeyUse.KEY_AGREEMENT)
        if certificate is None:
            raise OrderRefused(
                f"no key agreement certificate of device {device_id.hex()} is known: no code can be made"
            )
        return self._secrets.agree(self._keys.private_key(self._entity_id, KeyUse.PREPAYMENT), certificate.public_key)
