"""A device's keys and trust anchors, and the messages it makes with them.

The same for every kind of device: it agrees secrets with its key agreement key, answers a Command in the form its use
case asks for, and raises Alerts under a counter of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from lastmetre.gbcs.catalogue import Protection, Role
from lastmetre.gbcs.keys import KeyUse, SecretCache, SharedSecret
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.protect import seal, signed_df, unsigned_df

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.acceptance import Accepted
    from lastmetre.gbcs.certificates import Certificate

GENERIC_CRITICAL_ALERT = 0x1000
"""Message code of an Alert that carries nothing but its alert code and time (gbcs-messages 10.1)."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who a device is: its id, its two private keys, and the trust anchor cells it was made with.

    ``authorities`` are the roots, or pinned issuing authorities, below which new certificates must be. ``agree_with``
    takes the place of the key agreement key, for a test bench that holds the other side's keys only.
    """

    entity_id: bytes
    signing_key: ec.EllipticCurvePrivateKey = field(repr=False)
    agreement_key: ec.EllipticCurvePrivateKey = field(repr=False)
    trust_anchors: Mapping[tuple[Role, KeyUse], Certificate]
    authorities: tuple[Certificate, ...] = ()
    certificates: Mapping[KeyUse, Certificate] = field(default_factory=lambda: MappingProxyType({}))
    """Its own certificates, to be given out (CS02e)."""
    agree_with: Callable[[ec.EllipticCurvePublicKey], SharedSecret] | None = field(
        default=None, repr=False, compare=False
    )
    _secrets: SecretCache = field(default_factory=lambda: SecretCache(size_max=32), repr=False, compare=False)

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """A secret with another party, from the cache where the pair is known."""
        if self.agree_with is not None:
            return self.agree_with(public_key)
        return self._secrets.agree(self.agreement_key, public_key)

    def response(
        self,
        accepted: Accepted,
        content: bytes,
        date_time: bytes,
        *,
        own_counter: int | None = None,
        trust_anchors: Mapping[tuple[Role, KeyUse], Certificate] | None = None,
    ) -> bytes:
        """The Response to an accepted Command: same counter and code, ids swapped, protected as its row says.

        ``own_counter`` is told when data is encrypted for a party whose certificate came with the Command (11.3);
        ``trust_anchors`` are those of now, where a Command has replaced some.
        """
        command = accepted.message.header
        other = command.other_information
        header = GroupingHeader(
            Cra.RESPONSE,
            command.originator_counter,
            self.entity_id,
            command.business_originator_id,
            OtherInformation(
                other.message_code,
                other.supplementary_remote_party_id,
                other.supplementary_remote_party_counter,
                own_counter,
            ),
            date_time if accepted.use_case.response_date_time else b"",
        )
        protection = accepted.use_case.response_protection
        if protection is Protection.BY_ORIGINATOR:
            protection = Protection.MAC if accepted.message.mac is not None else Protection.SIGNATURE
        if protection is Protection.SIGNATURE:
            return signed_df(header, content, self.signing_key)
        anchors = self.trust_anchors if trust_anchors is None else trust_anchors
        peer = anchors[accepted.role, KeyUse.KEY_AGREEMENT]
        return seal(unsigned_df(header, content), self.agree(peer.public_key))

    def critical_alert(self, counter: int, content: bytes) -> bytes | None:
        """A generic critical Alert to the supplier, signed; ``None`` for a device that knows no supplier."""
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.DIGITAL_SIGNATURE))
        if supplier is None or supplier.entity_id is None:
            return None
        return self.signed_alert(counter, supplier.entity_id, OtherInformation(GENERIC_CRITICAL_ALERT), content)

    def signed_alert(self, counter: int, target_id: bytes, other: OtherInformation, content: bytes) -> bytes:
        """Any signed Alert."""
        header = GroupingHeader(Cra.ALERT, counter, self.entity_id, target_id, other)
        return signed_df(header, content, self.signing_key)

    def mac_alert(self, counter: int, message_code: int, role: Role, content: bytes) -> bytes | None:
        """An Alert that carries a MAC for the party in a role; ``None`` for a device that knows no such party."""
        peer = self.trust_anchors.get((role, KeyUse.KEY_AGREEMENT))
        if peer is None or peer.entity_id is None:
            return None
        header = GroupingHeader(Cra.ALERT, counter, self.entity_id, peer.entity_id, OtherInformation(message_code))
        return seal(unsigned_df(header, content), self.agree(peer.public_key))
