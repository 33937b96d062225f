"""Whose XML signatures the DSP believes: the Users' certificates, by issuer and serial number, and its own identity.

Rules this module keeps (reference: duis 3, 3.2):

* A certificate counts when it belongs to a User of the DCC, is for digital signatures, was issued by an authority this
  DSP trusts, and is in date now. Its name and number alone prove nothing.
* That a certificate is believed does not say that its holder may ask: that is ``access_control``.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from lastmetre.dcc.errors import SettingsRefused
from lastmetre.duis.signature import Signer, normalise_issuer
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, Usage, check_issued_by
from lastmetre.gbcs.keys import KeyUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lastmetre.dcc.ports import CertificateStore, Clock, KeyStore


class UserCertificates:
    """Finds the certificate a request's signature names, among those of the DCC's Users."""

    def __init__(
        self,
        user_ids: Iterable[bytes],
        certificates: CertificateStore,
        issuers: tuple[Certificate, ...],
        clock: Clock,
    ) -> None:
        self._issuers = {normalise_issuer(issuer.subject_name): issuer for issuer in issuers}
        self._clock = clock
        self._found: dict[tuple[str, int], Certificate] = {}
        for user_id in user_ids:
            certificate = certificates.find_certificate(user_id, KeyUse.DIGITAL_SIGNATURE)
            if certificate is not None:
                self._found[normalise_issuer(certificate.issuer_name), certificate.serial_number] = certificate

    def find(self, issuer_name: str, serial_number: int) -> Certificate | None:
        """The certificate of this issuer and number, if it may be believed now."""
        certificate = self._found.get((normalise_issuer(issuer_name), serial_number))
        issuer = self._issuers.get(normalise_issuer(issuer_name))
        if certificate is None or issuer is None or certificate.entity_id is None:
            return None
        now = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        try:
            check_issued_by(certificate, issuer, at=now, usage=Usage.DIGITAL_SIGNATURE)
        except CertificateRefused:
            return None
        return certificate

    def of_user(self, user_id: bytes) -> Certificate | None:
        """A User's signing certificate, if it may be believed now: for the GBCS signature in a Signed Pre-Command."""
        for (issuer_name, serial_number), certificate in self._found.items():
            if certificate.entity_id == user_id:
                return self.find(issuer_name, serial_number)
        return None


def dsp_signer(dsp_id: bytes, keys: KeyStore, certificates: CertificateStore) -> Signer:
    """The identity that signs Responses; raises ``SettingsRefused`` when its certificate is missing."""
    certificate = certificates.find_certificate(dsp_id, KeyUse.DIGITAL_SIGNATURE)
    if certificate is None:
        raise SettingsRefused(f"there is no signing certificate of the DSP, {dsp_id.hex()}")
    private_key = keys.private_key(dsp_id, KeyUse.DIGITAL_SIGNATURE)
    return Signer(private_key, certificate.issuer_name, certificate.serial_number)
