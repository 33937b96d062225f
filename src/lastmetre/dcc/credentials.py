"""Whose XML signatures the DSP believes: the Users' certificates, by issuer and serial number, and its own identity.

Rules this module keeps (reference: duis 3, 3.2):

* A certificate counts when it belongs to a User of the DCC, is for digital signatures, was issued by an authority this
  DSP trusts, and is in date now. Its name and number alone prove nothing.
* A User that has an XML signing certificate signs documents with that one alone. One that has none signs with its GBCS
  key, as the published test PKI has it. The DSP does the same with its Responses.
* An XML signing certificate says nothing of what its holder is: that is the role in its GBCS certificate.
* That a certificate is believed does not say that its holder may ask: that is ``access_control``.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from lastmetre.dcc.errors import SettingsRefused
from lastmetre.duis.signature import Signer, normalise_issuer
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, Usage, check_issued_by, parse_certificate
from lastmetre.gbcs.keys import KeyUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import CertificateStore, Clock, KeyStore, XmlIdentities
    from lastmetre.duis.signature import SignerCertificate


class UserCertificates:
    """Finds the certificate a request's signature names, among those of the DCC's Users."""

    def __init__(
        self,
        user_ids: Iterable[bytes],
        certificates: CertificateStore,
        issuers: tuple[Certificate, ...],
        clock: Clock,
        xml: XmlIdentities | None = None,
    ) -> None:
        self._issuers = {normalise_issuer(issuer.subject_name): issuer for issuer in issuers}
        self._clock = clock
        self._signing: dict[bytes, Certificate] = {}
        self._documents: dict[tuple[str, int], Certificate] = {}
        for user_id in user_ids:
            signing = certificates.find_certificate(user_id, KeyUse.DIGITAL_SIGNATURE)
            if signing is not None:
                self._signing[user_id] = signing
            own = None if xml is None else xml.find_xml_signer(user_id)
            document = signing if own is None else own
            if document is not None and (own is None or own.role == Role.XML_SIGN_USER):
                self._documents[normalise_issuer(document.issuer_name), document.serial_number] = document

    def find(self, issuer_name: str, serial_number: int) -> Certificate | None:
        """The certificate of this issuer and number that signs a User's documents, if it may be believed now."""
        certificate = self._documents.get((normalise_issuer(issuer_name), serial_number))
        return certificate if certificate is not None and self._believed(certificate) else None

    def of_user(self, user_id: bytes) -> Certificate | None:
        """A User's signing certificate, if it may be believed now: for the GBCS signature in a Signed Pre-Command."""
        certificate = self._signing.get(user_id)
        return certificate if certificate is not None and self._believed(certificate) else None

    def role_behind(self, certificate: SignerCertificate) -> int | None:
        """The remote party role of whoever signed a document, by its GBCS certificate if this one is for XML alone."""
        if certificate.role != Role.XML_SIGN_USER or certificate.entity_id is None:
            return certificate.role
        signing = self.of_user(certificate.entity_id)
        return None if signing is None else signing.role

    def _believed(self, certificate: Certificate) -> bool:
        issuer = self._issuers.get(normalise_issuer(certificate.issuer_name))
        if issuer is None or certificate.entity_id is None:
            return False
        now = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        try:
            check_issued_by(certificate, issuer, at=now, usage=Usage.DIGITAL_SIGNATURE)
        except CertificateRefused:
            return False
        return True


class DeviceCertificates:
    """Certificates as they are kept, but a device's own newer ones (CS02d) before its older."""

    def __init__(self, certificates: CertificateStore, inventory: Inventory) -> None:
        self._certificates = certificates
        self._inventory = inventory
        self._parsed: dict[bytes, Certificate] = {}

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """An entity's certificate for one use, or ``None``."""
        device = self._inventory.device(entity_id)
        der = None if device is None else dict(device.certificates).get(use.value)
        if der is None:
            return self._certificates.find_certificate(entity_id, use)
        if der not in self._parsed:
            self._parsed[der] = parse_certificate(der)
        return self._parsed[der]


def dsp_signer(
    dsp_id: bytes, keys: KeyStore, certificates: CertificateStore, xml: XmlIdentities | None = None
) -> Signer:
    """The identity that signs Responses; raises ``SettingsRefused`` when half of it is missing."""
    own = None if xml is None else xml.find_xml_signer(dsp_id)
    if xml is not None and own is not None:
        key = xml.find_xml_signing_key(dsp_id)
        if key is None or own.role != Role.XML_SIGN_DSP:
            raise SettingsRefused(f"the DSP's XML signing certificate, {dsp_id.hex()}, has no key or another role")
        return Signer(key, own.issuer_name, own.serial_number)
    certificate = certificates.find_certificate(dsp_id, KeyUse.DIGITAL_SIGNATURE)
    if certificate is None:
        raise SettingsRefused(f"there is no signing certificate of the DSP, {dsp_id.hex()}")
    private_key = keys.private_key(dsp_id, KeyUse.DIGITAL_SIGNATURE)
    return Signer(private_key, certificate.issuer_name, certificate.serial_number)
