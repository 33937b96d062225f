"""A fresh electricity meter on the bench, for published Commands: the meter's side of keys that only others published.

Rules kept here:

* The meter's private keys are nobody's: what it agrees with an organisation is computed from that organisation's side,
  and it signs with a key made up for the bench.
* The meter is new each time. What a published Command takes for granted (an image distributed before, a device joined
  before, a key pair that waits) is told with the verdict; so is every result code that was injected.
* The issuing authority that every published certificate names is pinned: the root above it is not published.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lastmetre.gbcs.asn1 import (
    ActivateFirmware,
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    Unjoin,
    UnjoinResponse,
    UpdateCredentials,
    UpdateDeviceCertificate,
    UpdateDeviceCertificateResponse,
)
from lastmetre.gbcs.axdr import decode_data
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, check_signed_by, parse_certificate
from lastmetre.gbcs.datetimes import CosemDateTime
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.keys import KeyUse, SharedSecret, agree
from lastmetre.gbcs.protect import CryptoRefused, decrypt_attribute, encryption_key
from lastmetre.home.esme import Esme
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.own_memory import Image
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import Clock, MeterState
from lastmetre.home.supply import Supply
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.message import GroupingHeader, Message
    from lastmetre.gbcs.payload import Payload
    from lastmetre.gbcs.verdicts import Keyring
    from lastmetre.home.ports import EventValue

ROLES: Final = (
    Role.SUPPLIER,
    Role.NETWORK_OPERATOR,
    Role.ACCESS_CONTROL_BROKER,
    Role.TRANSITIONAL_COS,
    Role.RECOVERY,
    Role.LOAD_CONTROLLER,
)
"""Whose cells an electricity meter has; it knows no WAN provider (the published CS02a Response says so)."""
_CLOCK_NEVER_SET: Final = Clock(status=1)


class Bench:
    """Keys and certificates of the organisations, and meters made from them."""

    def __init__(self, keyring: Keyring, roles: Mapping[Role, tuple[bytes, ...]], authorities: Iterable[bytes]) -> None:
        self._keyring = keyring
        self._roles = roles
        self._parties: set[bytes] = {party for ids in roles.values() for party in ids}
        self._signing_key = ec.derive_private_key(2, ec.SECP256R1())
        self.authorities = tuple(self._pinned(authorities))

    def _pinned(self, candidates: Iterable[bytes]) -> Iterable[Certificate]:
        """Those authorities that really issued a published certificate of an organisation."""
        published = [
            certificate
            for party in sorted(self._parties)
            for use in KeyUse
            if (certificate := self._certificate(party, use)) is not None
        ]
        for der in sorted(set(candidates)):
            try:
                authority = parse_certificate(der)
            except CertificateRefused:
                continue
            if any(_issued(certificate, authority) for certificate in published):
                yield authority

    def _certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """A certificate at hand; one that is not what its file is named (some published ones) is none."""
        try:
            return self._keyring.find_certificate(entity_id, use)
        except LinkError:
            return None

    def add_party(self, entity_id: bytes) -> None:
        """Somebody who spoke in the messages: a key of theirs may be needed."""
        self._parties.add(entity_id)

    def _anchors(self, originator_id: bytes) -> dict[tuple[Role, KeyUse], Certificate]:
        """One organisation for each role: the one that speaks, else the first."""
        anchors = {}
        for role in ROLES:
            ids = self._roles.get(role, ())
            chosen = originator_id if originator_id in ids else next(iter(ids), None)
            for use in KeyUse:
                certificate = self._certificate(chosen, use) if chosen is not None else None
                # A broker's signing key is no cell of a meter.
                if certificate is not None and (role, use) != (Role.ACCESS_CONTROL_BROKER, KeyUse.DIGITAL_SIGNATURE):
                    anchors[role, use] = certificate
        return anchors

    def _agree_as(self, device_id: bytes, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """What the device would agree with a party, from the party's side; refuses when that key is not published."""
        device = self._certificate(device_id, KeyUse.KEY_AGREEMENT)
        for party in sorted(self._parties):
            for use in (KeyUse.KEY_AGREEMENT, KeyUse.PREPAYMENT):
                private = self._keyring.find_private_key(party, use)
                if device and private and private.public_key().public_numbers() == public_key.public_numbers():
                    return agree(private, device.public_key)
        raise CryptoRefused

    def meter(self, device_id: bytes, originator_id: bytes, state: MeterState, faults: Mapping[int, int]) -> Esme:
        """A meter with these cells, in this state."""
        certificates = {
            use: certificate
            for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT)
            if (certificate := self._certificate(device_id, use)) is not None
        }
        identity = DeviceIdentity(
            device_id,
            self._signing_key,
            self._signing_key,
            self._anchors(originator_id),
            authorities=self.authorities,
            certificates=certificates,
            agree_with=lambda public_key: self._agree_as(device_id, public_key),
        )
        return Esme(identity, MemoryStore(), _untold, new=state, faults=faults, new_key=lambda: self._signing_key)

    def open_data(self, wire: bytes, header: GroupingHeader) -> Data | None:
        """What is inside a protected answer with this header, or ``None`` where no published key opens it."""
        other = header.other_information
        party, counter = header.business_target_id, header.originator_counter
        if other.supplementary_remote_party_id is not None:
            party = other.supplementary_remote_party_id
            counter = other.supplementary_originator_counter or counter
        private = self._keyring.find_private_key(party, KeyUse.KEY_AGREEMENT)
        device = self._certificate(header.business_originator_id, KeyUse.KEY_AGREEMENT)
        if private is None or device is None:
            return None
        device_id = header.business_originator_id
        secret = agree(private, device.public_key)
        try:
            key = encryption_key(secret, device_id=device_id, counter=counter, recipient_id=party)
            return decode_data(decrypt_attribute(wire, key, device_id))[0]
        except (CryptoRefused, GbcsDecodeError):
            return None


def _issued(certificate: Certificate, authority: Certificate) -> bool:
    try:
        check_signed_by(certificate, authority)
    except CertificateRefused:
        return False
    return True


def _untold(event: str, /, **values: EventValue) -> None:
    """Nobody watches the bench."""


# --- what a Command takes for granted --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ground:
    """The state a Command starts from, and the words for what of it was taken from the published messages."""

    state: MeterState
    taken: tuple[str, ...] = ()


def ground(command: Payload, answers: tuple[Payload, ...], *, twin: bool) -> Ground:
    """A new meter's state for a Command: what must have happened before it, if its published answers went well."""
    new = Ground(MeterState(0, Supply.ON, clock=_CLOCK_NEVER_SET, twin=twin), ("a second element",) if twin else ())
    if not isinstance(command, Asn1):
        return new
    values = [answer.value for answer in answers if isinstance(answer, Asn1)]
    match command.value:
        case ActivateFirmware(image_hash=image_hash):
            outcomes = [
                value.outcome for value in values if isinstance(value, ActivateFirmwareResponse | ActivateFirmwareAlert)
            ]
            outcome = next((each for each in outcomes if each is not None), None)
            if outcome is None:
                return new
            state = replace(new.state, firmware_version=outcome.firmware_version)
            if outcome.result:
                return Ground(state, ("firmware version",))
            image = Image(image_hash, outcome.firmware_version)
            return Ground(replace(state, images=(image,)), ("an image distributed before, and its version",))
        case Unjoin(other_device=other) if UnjoinResponse(0) in values:
            return Ground(replace(new.state, joined=((other, 4),)), ("the other device joined before",))
        case UpdateDeviceCertificate(certificate=der) if UpdateDeviceCertificateResponse(0) in values:
            certificate = parse_certificate(der)
            use = KeyUse.DIGITAL_SIGNATURE if certificate.usage == "digitalSignature" else KeyUse.KEY_AGREEMENT
            public = certificate.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return Ground(replace(new.state, issued_keys=((use.value, public, b""),)), ("a key pair that waits",))
        case _:
            return new


def authorities_in(payloads: Iterable[Payload]) -> Iterable[bytes]:
    """The certification paths in updates of credentials."""
    for payload in payloads:
        if isinstance(payload, Asn1) and isinstance(payload.value, UpdateCredentials):
            yield from payload.value.path


PUBLISHED_CLOCK_AT: Final = 1_420_070_400
"""2015-01-01: where the clocks of the published meters stand, as far as their Responses tell."""


def usual_time(messages: Iterable[Message]) -> int:
    """The time that most published Responses carry: their meter's clock."""
    times = Counter(message.header.date_time for message in messages if message.header.date_time)
    for raw, _count in times.most_common(1):
        return CosemDateTime.from_bytes(raw).unix_seconds() or PUBLISHED_CLOCK_AT
    return PUBLISHED_CLOCK_AT
