"""The access control broker's key at work: it seals Commands, and checks the Responses made for it.

Rules this module keeps (reference: gbcs-messages 4.1, 4.3, 4.4):

* A Command is sealed once, by the ACB's key agreement key and the target device's; the signed part is not touched.
* A Response is believed when the device signed it, or made its MAC for the ACB. One whose MAC was made for a User
  cannot be checked here: it is *unverified*, which is neither good nor bad.
* The private key stays behind the key store's port; agreed secrets are kept, bounded, and never shown.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from lastmetre.dcc.errors import RequestRefused
from lastmetre.gbcs.acceptance import Doubt, NotVerified, check_response
from lastmetre.gbcs.keys import KeyUse, SecretCache
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.protect import CryptoRefused, seal, sign_pre_command, verify_mac, verify_signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.dcc.ports import CertificateStore, KeyStore
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import SharedSecret
    from lastmetre.gbcs.message import Message


class Verdict(StrEnum):
    """What the DSP can say of a device's Response."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    """Its MAC is for the User, who alone can check it."""
    REFUSED = "refused"


class Judged(NamedTuple):
    """A verdict and, for the DSP's own events, why."""

    verdict: Verdict
    reason: str


class Broker:
    """The access control broker: one identity, its key behind a port."""

    def __init__(self, acb_id: bytes, keys: KeyStore, certificates: CertificateStore) -> None:
        self._acb_id = acb_id
        self._keys = keys
        self._certificates = certificates
        self._secrets = SecretCache()

    @property
    def entity_id(self) -> bytes:
        """The ACB's identifier."""
        return self._acb_id

    def device_certificate(self, device_id: bytes, use: KeyUse) -> Certificate | None:
        """The device's certificate for a use, if it is known."""
        return self._certificates.find_certificate(device_id, use)

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """Agree a secret between the ACB's key and another party's."""
        return self._secrets.agree(self._keys.private_key(self._acb_id, KeyUse.KEY_AGREEMENT), public_key)

    def sign(self, message: bytes) -> bytes:
        """A Command of the ACB's own, signed by it: joins and unjoins of a PPMID, handovers (transform A2)."""
        return sign_pre_command(message, self._keys.private_key(self._acb_id, KeyUse.DIGITAL_SIGNATURE))

    def seal(self, df: bytes, target_id: bytes) -> bytes:
        """The finished Command: MAC header, the unchanged DF part, MAC; ``RequestRefused`` without a certificate."""
        certificate = self.device_certificate(target_id, KeyUse.KEY_AGREEMENT)
        if certificate is None:
            # E5: the device cannot be addressed in its present state (DESIGN CHOICE).
            raise RequestRefused("E5", f"there is no key agreement certificate of {target_id.hex()}")
        return seal(df, self.agree(certificate.public_key))

    def judge_alert(self, message: Message) -> Judged:
        """What can be said of an Alert: a signature is checked, a MAC only when it was made for the ACB."""
        header = message.header
        use = KeyUse.DIGITAL_SIGNATURE if message.signature else KeyUse.KEY_AGREEMENT
        certificate = self.device_certificate(header.business_originator_id, use)
        if certificate is None:
            return Judged(Verdict.REFUSED, "comes from a device whose certificate is not known")
        if not message.signature and message.mac and header.business_target_id != self._acb_id:
            return Judged(Verdict.UNVERIFIED, "its MAC was made for the User")
        try:
            if message.signature:
                verify_signature(message, certificate.public_key)
            else:
                verify_mac(message, self.agree(certificate.public_key))
        except CryptoRefused:
            return Judged(Verdict.REFUSED, "was not made by the device")
        return Judged(Verdict.VERIFIED, "")

    def judge_response(self, message: bytes, response: GroupingHeader) -> Judged:
        """What can be said of a Response whose header was read from these bytes."""
        judged = check_response(message, _answered(response), self)
        if not isinstance(judged, NotVerified):
            return Judged(Verdict.VERIFIED, "")
        if judged.doubt is Doubt.FOR_THE_BROKER:
            # gbcs says "another party's" from a supplier's point of view; here that party is the User.
            return Judged(Verdict.UNVERIFIED, "its MAC was made for the User")
        return Judged(Verdict.REFUSED, f"{judged.doubt.value}{': ' if judged.detail else ''}{judged.detail}")


def _answered(response: GroupingHeader) -> GroupingHeader:
    """The header of the Command this Response claims to answer: whether there is one is asked of the store."""
    return GroupingHeader(
        Cra.COMMAND,
        response.originator_counter,
        response.business_target_id,
        response.business_originator_id,
        OtherInformation(response.message_code),
    )
