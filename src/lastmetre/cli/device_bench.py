"""A fresh device on the bench, for published Commands: the device's side of keys that only others published.

Rules kept here:

* A device's private keys are nobody's: what it agrees with an organisation is computed from that organisation's side,
  and it signs with a key made up for the bench.
* The device is new each time. What a published Command takes for granted (an image distributed before, a device joined
  before, a key pair that waits) is told with the verdict; so is every result code that was injected.
* The issuing authority that every published certificate names is pinned: the root above it is not published.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lastmetre.cli.gas_ground import LIVED, closed, lived
from lastmetre.gbcs.asn1 import (
    ActivateFirmware,
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    DeviceType,
    JoinDetails,
    ReadJoinDetails,
    Unjoin,
    UnjoinResponse,
    UpdateCredentials,
    UpdateDeviceCertificate,
    UpdateDeviceCertificateResponse,
)
from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, check_signed_by, parse_certificate
from lastmetre.gbcs.datetimes import CosemDateTime
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.keys import KeyUse, SharedSecret, agree
from lastmetre.gbcs.protect import CryptoRefused, decrypt_attribute, encryption_key
from lastmetre.home.chf import Chf, ChfState, Listed
from lastmetre.home.esme import Esme
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState
from lastmetre.home.gpf import Gpf
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.own_device import OwnDevice, OwnState
from lastmetre.home.own_memory import Image
from lastmetre.home.ports import MemoryStore
from lastmetre.home.sapc import Sapc
from lastmetre.home.state import Clock, MeterState
from lastmetre.home.supply import Supply
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lastmetre.gbcs.message import GroupingHeader, Message
    from lastmetre.gbcs.payload import Payload
    from lastmetre.gbcs.verdicts import Keyring
    from lastmetre.home.ports import EventValue

METER_ROLES: Final = (
    Role.SUPPLIER,
    Role.NETWORK_OPERATOR,
    Role.ACCESS_CONTROL_BROKER,
    Role.TRANSITIONAL_COS,
    Role.RECOVERY,
    Role.LOAD_CONTROLLER,
)
ROLES: Final[Mapping[str, tuple[Role, ...]]] = {
    "ESME": METER_ROLES,
    "SAPC": METER_ROLES,
    "GSME": (Role.SUPPLIER, Role.ACCESS_CONTROL_BROKER, Role.TRANSITIONAL_COS, Role.RECOVERY),
    "GPF": (
        Role.SUPPLIER, Role.NETWORK_OPERATOR, Role.ACCESS_CONTROL_BROKER, Role.TRANSITIONAL_COS, Role.RECOVERY,
        Role.WAN_PROVIDER,
    ),
    "CHF": (Role.ACCESS_CONTROL_BROKER, Role.TRANSITIONAL_COS, Role.RECOVERY, Role.WAN_PROVIDER),
    "PPMID": (Role.SUPPLIER, Role.ACCESS_CONTROL_BROKER),
    "HCALCS": (Role.SUPPLIER, Role.ACCESS_CONTROL_BROKER),
}  # fmt: skip
"""Whose cells a kind of device has: no meter knows a WAN provider, no gas meter a network operator (the published CS02a
Responses say so); the rest is who may speak to it in the catalogue."""
BROKER_SIGNS: Final = frozenset({"CHF", "PPMID", "HCALCS"})
"""Kinds that hold the broker's signing key too: the CHF's CS02a Response shows it, a join by the broker needs it."""
KINDS: Final = ("ESME", "GSME", "GPF", "CHF", "PPMID", "HCALCS", "SAPC")
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

    def _anchors(self, kind: str, speaker: tuple[bytes, Role | None]) -> dict[tuple[Role, KeyUse], Certificate]:
        """One organisation for each role: the one that speaks, else the first.

        A speaker that updates the cells of a role it has no certificate for holds those cells now: a handover.
        """
        originator_id, authorising = speaker
        anchors = {}
        for role in ROLES[kind]:
            ids = self._roles.get(role, ())
            holds = originator_id in ids or role is authorising
            chosen = originator_id if holds else next(iter(ids), None)
            for use in KeyUse:
                certificate = self._certificate(chosen, use) if chosen is not None else None
                if certificate is None and role is authorising and use is KeyUse.PREPAYMENT:
                    # The broker that holds a supplier's cells has one key for both uses (published handover).
                    certificate = self._certificate(originator_id, KeyUse.KEY_AGREEMENT)
                signs = (role, use) == (Role.ACCESS_CONTROL_BROKER, KeyUse.DIGITAL_SIGNATURE)
                if certificate is not None and not (signs and kind not in BROKER_SIGNS):
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

    def device(self, device_id: bytes, speaker: tuple[bytes, Role | None], start: Ground) -> BenchDevice:
        """A device of its kind with these cells, in this state."""
        certificates = {
            use: certificate
            for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT)
            if (certificate := self._certificate(device_id, use)) is not None
        }
        identity = DeviceIdentity(
            device_id,
            self._signing_key,
            self._signing_key,
            self._anchors(start.kind, speaker),
            authorities=self.authorities,
            certificates=certificates,
            agree_with=lambda public_key: self._agree_as(device_id, public_key),
        )
        store, state, faults = MemoryStore(), start.state, start.faults
        match start.kind, state:
            case "ESME" | "SAPC", MeterState():
                maker = Esme if start.kind == "ESME" else Sapc
                return maker(identity, store, _untold, new=state, faults=faults, new_key=lambda: self._signing_key)
            case "GSME", GasState():
                return Gsme(identity, store, _untold, new=state, faults=faults, new_key=lambda: self._signing_key)
            case "GPF", GasState():
                return Gpf(identity, store, _untold, new=state, gsme_id=bytes(8), gsme_signing=None, faults=faults)
            case "CHF", ChfState():
                return Chf(identity, store, _untold, new=state, faults=faults, new_key=lambda: self._signing_key)
            case kind, OwnState():
                return OwnDevice(DeviceType[kind], identity, store, _untold, new=state, faults=faults)
            case _:
                raise TypeError(f"{start.kind} has no state of this form")

    def open_data(self, wire: bytes, header: GroupingHeader) -> bytes | None:
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
            return decrypt_attribute(wire, key, device_id)
        except CryptoRefused:
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


BenchState = MeterState | GasState | ChfState | OwnState
BenchDevice = Esme | Gsme | Chf | OwnDevice


@dataclass(frozen=True, slots=True)
class Ground:
    """What a device is and starts from; the words for what of it was taken for granted; the faults it is given."""

    kind: str
    state: BenchState
    taken: tuple[str, ...] = ()
    faults: Mapping[int, int] = field(default_factory=dict)


def _new(kind: str) -> BenchState:
    """A device that never lived."""
    match kind:
        case "ESME" | "SAPC":
            return MeterState(0, Supply.ON, clock=_CLOCK_NEVER_SET)
        case "GSME" | "GPF":
            return GasState()
        case "CHF":
            return ChfState()
        case _:
            return OwnState()


def grounds(kind: str, command: Payload, answers: tuple[Payload, ...], at: int, status: int) -> tuple[Ground, ...]:
    """The states a Command may start from: a new device's, else with what must have happened before.

    ``status`` is the clock status that the published Response carries; a gas device's clock is taken to be in it.
    """
    new = Ground(kind, _new(kind))
    if isinstance(command, Asn1):
        return tuple(_own_grounds(new, command, answers)) or (_clock_never_set(new),)
    if isinstance(new.state, GasState):
        first = Ground(
            kind, replace(new.state, clock_status=status), (f"a clock in status {status}",) if status else ()
        )
        assert isinstance(first.state, GasState)
        return (
            first,
            Ground(kind, lived(first.state, command, answers, at), (*first.taken, LIVED)),
            Ground(kind, closed(first.state), (*first.taken, "the valve closed before")),
        )
    if isinstance(new.state, MeterState) and kind == "ESME":
        return new, Ground(kind, replace(new.state, twin=True), ("a second element",))
    if isinstance(new.state, ChfState) and isinstance(command, AccessRequest):
        named = [value.value for _spec, value in command.items if isinstance(value, OctetString)]
        log = tuple(Listed(device_id) for device_id in named)
        return new, Ground(kind, replace(new.state, device_log=log), ("the device listed before",))
    return (new,)


def _clock_never_set(start: Ground) -> Ground:
    """A device that knows no time: published certificates are younger than the published clocks."""
    match start.state:
        case GasState():
            return replace(start, state=replace(start.state, clock_status=_CLOCK_NEVER_SET.status))
        case ChfState():
            return replace(start, state=replace(start.state, clock_set=False))
        case _:
            return start


def _own_grounds(new: Ground, command: Asn1, answers: tuple[Payload, ...]) -> Iterator[Ground]:
    """What a Command about the device itself takes for granted, if its published answers went well."""
    values = [answer.value for answer in answers if isinstance(answer, Asn1)]
    match command.value:
        case ActivateFirmware(image_hash=image_hash):
            outcomes = [
                value.outcome for value in values if isinstance(value, ActivateFirmwareResponse | ActivateFirmwareAlert)
            ]
            outcome = next((each for each in outcomes if each is not None), None)
            if outcome is None:
                return
            state = replace(new.state, firmware_version=outcome.firmware_version)
            if outcome.result:
                yield Ground(new.kind, state, ("firmware version",))
            else:
                image = Image(image_hash, outcome.firmware_version)
                words = ("an image distributed before, and its version",)
                yield Ground(new.kind, replace(state, images=(image,)), words)
        case Unjoin(other_device=other) if UnjoinResponse(0) in values:
            words = ("the other device joined before",)
            yield Ground(new.kind, replace(new.state, joined=((other, int(DeviceType.HCALCS)),)), words)
        case ReadJoinDetails():
            logs = [value.log for value in values if isinstance(value, JoinDetails) and value.log is not None]
            if logs:
                state = replace(new.state, joined=tuple((each.device_id, int(each.type)) for each in logs[0]))
                yield Ground(new.kind, state, ("the other devices joined before",))
        case UpdateDeviceCertificate(certificate=der) if UpdateDeviceCertificateResponse(0) in values:
            certificate = parse_certificate(der)
            use = KeyUse.DIGITAL_SIGNATURE if certificate.usage == "digitalSignature" else KeyUse.KEY_AGREEMENT
            public = certificate.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            state = replace(new.state, issued_keys=((use.value, public, b""),))
            yield Ground(new.kind, state, ("a key pair that waits",))
        case _:
            return


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
