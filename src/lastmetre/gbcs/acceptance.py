"""Where a Command is accepted or refused, and where a Response is believed. Written to be read aloud.

A device accepts a Command when, in this order (reference: gbcs-messages 12.3; no public text fixes the order, so it
is an INFERENCE, and each step has its test):

1. its envelope is well formed and says Command;
2. it is addressed to this device;
3. its message code is known and this type of device supports it (judged here, answered only after step 7);
4. its Business Originator holds one of the device's trust anchor cells, in a role that may say this;
5. its counter is above all that this party said before (top-ups: not in the UTRN Counter Cache);
6. its protection is exactly what its use case asks for, and its MAC was made for this device by the access control
   broker;
7. its signature, where the use case is critical, was made by the originator named in the header;
8. its content can be read, and belongs to this counter.

Nothing is executed, stored or answered before all eight hold. A refusal is silent on the wire: its reason is for the
device's own log, and only some reasons raise an Alert. Which road a Command took is not asked: nothing here could tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from lastmetre.gbcs.catalogue import Lane, Protection, Role, UseCase, UseCaseKind, use_case
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.keys import KeyUse, SharedSecret
from lastmetre.gbcs.message import Cra, GroupingHeader, Kind, Message, parse_message
from lastmetre.gbcs.payload import Payload, decode_payload
from lastmetre.gbcs.protect import CryptoRefused, verify_mac, verify_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.counters import CounterState


class Reason(Enum):
    """Why a Command was refused: the words for the local log, and the Alert code raised, if any (section 10.2)."""

    MALFORMED = ("is not a well-formed GBCS message", None)
    NOT_A_COMMAND = ("is a GBCS message, but not a Command", None)
    OTHER_TARGET = ("is addressed to another device", None)
    NOT_SUPPORTED = ("is a Command this device does not support", 0x8F85)
    NO_AUTHORITY = ("comes from a party that may not send this Command", 0x8F30)
    COUNTER_USED = ("carries a counter that is not above what was accepted before", None)
    UTRN_COUNTER_USED = ("is a top-up whose counter was used already", 0x8F51)
    WRONG_PROTECTION = ("is not protected as its use case must be", 0x8F3D)
    MAC_REFUSED = ("carries a MAC that was not made for it by the access control broker", 0x8F3D)
    SIGNATURE_REFUSED = ("carries a signature that its originator did not make", 0x8F3D)
    CONTENT_REFUSED = ("has a content that cannot be read", 0x8F1E)

    def __init__(self, words: str, alert_code: int | None) -> None:
        self.words = words
        self.alert_code = alert_code


@dataclass(frozen=True, slots=True)
class Accepted:
    """A Command to be executed, once: by whom it was said, in which lane its counter counts, and what it asks."""

    message: Message
    use_case: UseCase
    role: Role
    payload: Payload


@dataclass(frozen=True, slots=True)
class Refused:
    """A Command that changes nothing. ``header`` is there when it could be read; ``detail`` is for the local log."""

    reason: Reason
    header: GroupingHeader | None = None
    detail: str = ""


class Device(Protocol):
    """What a device must know to judge a Command."""

    @property
    def entity_id(self) -> bytes:
        """Its own identifier."""

    @property
    def device_type(self) -> str:
        """Its type as the catalogue writes it: ESME, GSME, ..."""

    @property
    def supported(self) -> frozenset[int]:
        """The message codes it can execute."""

    @property
    def trust_anchors(self) -> Mapping[tuple[Role, KeyUse], Certificate]:
        """The certificates it holds, by cell: role and key use."""

    @property
    def counters(self) -> CounterState:
        """What it accepted before."""

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """Agree a secret between its own key agreement key and another party's."""


def accept_command(data: bytes, device: Device) -> Accepted | Refused:
    """Judge one received Command. Pure: the device's state is read, never changed."""
    try:
        message = parse_message(data)
    except GbcsDecodeError as error:
        return Refused(Reason.MALFORMED, None, str(error))
    header = message.header
    if message.kind is not Kind.COMMAND:
        return Refused(Reason.NOT_A_COMMAND, header)

    if header.business_target_id != device.entity_id:
        return Refused(Reason.OTHER_TARGET, header)

    case = use_case(header.message_code)
    known = case is not None and case.kind is UseCaseKind.COMMAND
    supported = known and header.message_code in device.supported

    role = _role_of(header.business_originator_id, device)
    if role is None:
        return Refused(Reason.NO_AUTHORITY, header)
    if known and case is not None and role not in case.originators:
        return Refused(Reason.NO_AUTHORITY, header, f"{role.name} may not send {case.name}")

    lane = case.lane if case is not None else Lane.ORDINARY
    if device.counters.refuses(role, lane, header.originator_counter):
        return Refused(Reason.UTRN_COUNTER_USED if lane is Lane.TOP_UP else Reason.COUNTER_USED, header)

    protection = command_protection(case, role) if case is not None else Protection.MAC
    refused = _check_protection(message, protection, role, device)
    if refused is not None:
        return Refused(refused, header)
    if case is None or not supported:
        return Refused(Reason.NOT_SUPPORTED, header)

    try:
        payload = decode_payload(header.message_code, Cra.COMMAND, message.content)
    except GbcsDecodeError as error:
        return Refused(Reason.CONTENT_REFUSED, header, str(error))
    invoke_id = getattr(payload, "invoke_id", None)
    if invoke_id is not None and invoke_id != header.originator_counter & 0xFFFFFF:
        return Refused(Reason.CONTENT_REFUSED, header, "the invoke id does not repeat the counter")
    return Accepted(message, case, role, payload)


def _role_of(originator_id: bytes, device: Device) -> Role | None:
    """The role in which a party is known to a device: that of the cell its certificate fills."""
    for (role, _use), certificate in device.trust_anchors.items():
        if certificate.entity_id == originator_id:
            return role
    return None


def command_protection(case: UseCase, role: Role) -> Protection:
    """What a Command of this use case must carry when this role says it (section 4.4 and its exceptions)."""
    if case.protection is not Protection.BY_ORIGINATOR:
        return case.protection
    return Protection.MAC if role is Role.ACCESS_CONTROL_BROKER else Protection.SIGNATURE


def _check_protection(message: Message, protection: Protection, role: Role, device: Device) -> Reason | None:
    """Steps 6 and 7. What must be there is decided by the use case, never by what happens to be present."""
    wants_mac = protection in {Protection.MAC, Protection.MAC_AND_SIGNATURE}
    wants_signature = protection in {Protection.SIGNATURE, Protection.MAC_AND_SIGNATURE}
    if wants_mac is (message.mac is None) or wants_signature is not bool(message.signature):
        return Reason.WRONG_PROTECTION
    if wants_mac:
        broker = device.trust_anchors.get((Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT))
        if broker is None:
            return Reason.MAC_REFUSED
        try:
            verify_mac(message, device.agree(broker.public_key))
        except CryptoRefused:
            return Reason.MAC_REFUSED
    if wants_signature:
        signer = device.trust_anchors.get((role, KeyUse.DIGITAL_SIGNATURE))
        if signer is None or signer.entity_id != message.header.business_originator_id:
            return Reason.SIGNATURE_REFUSED
        try:
            verify_signature(message, signer.public_key)
        except CryptoRefused:
            return Reason.SIGNATURE_REFUSED
    return None


# --- Commands of one device to another -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AcceptedFromPartner:
    """A Command of another device on the HAN, to be executed once."""

    message: Message
    use_case: UseCase
    partner_id: bytes
    payload: Payload


class PartneredDevice(Device, Protocol):
    """A device that was joined with others, whose key agreement certificates it holds (join method C)."""

    @property
    def partners(self) -> Mapping[bytes, Certificate]:
        """Key agreement certificates of the devices it was joined with, by their ids."""

    def partner_counter(self, partner_id: bytes) -> int:
        """The highest counter accepted from a partner; zero before any."""


def accept_from_partner(data: bytes, device: PartneredDevice) -> AcceptedFromPartner | Refused:
    """Judge a Command that another device sent (PCS01, PCS02): the same steps, with the partner in the broker's place.

    No access control broker has seen it: its MAC is made with the two devices' own keys, it carries no signature, and
    only the use cases that name the partner's kind as their originating device may be said this way.
    """
    try:
        message = parse_message(data)
    except GbcsDecodeError as error:
        return Refused(Reason.MALFORMED, None, str(error))
    header = message.header
    if message.kind is not Kind.COMMAND:
        return Refused(Reason.NOT_A_COMMAND, header)
    if header.business_target_id != device.entity_id:
        return Refused(Reason.OTHER_TARGET, header)
    partner = device.partners.get(header.business_originator_id)
    case = use_case(header.message_code)
    if partner is None or case is None or case.originating_device is None:
        return Refused(Reason.NO_AUTHORITY, header)
    if header.originator_counter <= device.partner_counter(header.business_originator_id):
        return Refused(Reason.COUNTER_USED, header)
    if message.mac is None or message.signature:
        return Refused(Reason.WRONG_PROTECTION, header)
    try:
        verify_mac(message, device.agree(partner.public_key))
    except CryptoRefused:
        return Refused(Reason.MAC_REFUSED, header)
    if header.message_code not in device.supported:
        return Refused(Reason.NOT_SUPPORTED, header)
    try:
        payload = decode_payload(header.message_code, Cra.COMMAND, message.content)
    except GbcsDecodeError as error:
        return Refused(Reason.CONTENT_REFUSED, header, str(error))
    return AcceptedFromPartner(message, case, header.business_originator_id, payload)


# --- Responses -------------------------------------------------------------------------------------------------------


class Doubt(Enum):
    """Why a Response was not believed, for the local log."""

    MALFORMED = "is not a well-formed GBCS message"
    NOT_A_RESPONSE = "is a GBCS message, but not a Response"
    OTHER_COMMAND = "does not answer this Command: ids, counter or message code differ"
    WRONG_PROTECTION = "is not protected as a Response of its use case must be"
    NOT_AUTHENTIC = "was not made by the device"
    FOR_THE_BROKER = "carries a MAC that only the access control broker can check"


@dataclass(frozen=True, slots=True)
class Verified:
    """A Response that the device itself made, to this very Command."""

    message: Message
    use_case: UseCase


@dataclass(frozen=True, slots=True)
class NotVerified:
    """A Response that proves nothing."""

    doubt: Doubt
    detail: str = ""


class ResponseKeys(Protocol):
    """What the party that sent a Command must hold to believe its Response."""

    @property
    def entity_id(self) -> bytes:
        """The party's own identifier: only Responses to it can be checked by it."""

    def device_certificate(self, device_id: bytes, use: KeyUse) -> Certificate | None:
        """The device's certificate for a use, if it is known."""

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """Agree a secret between the party's own key agreement key and a device's."""


def answers(response: GroupingHeader, command: GroupingHeader) -> bool:
    """Whether a Response's header answers a Command's: same counter and code, ids swapped (section 1)."""
    return (
        response.cra is Cra.RESPONSE
        and response.originator_counter == command.originator_counter
        and response.message_code == command.message_code
        and response.business_originator_id == command.business_target_id
        and response.business_target_id == command.business_originator_id
    )


_SIGNED: Final = frozenset({Protection.SIGNATURE})


def check_response(data: bytes, command: GroupingHeader, keys: ResponseKeys) -> Verified | NotVerified:
    """Judge a received Response against the Command it should answer. Pure."""
    try:
        message = parse_message(data)
    except GbcsDecodeError as error:
        return NotVerified(Doubt.MALFORMED, str(error))
    if message.kind is not Kind.RESPONSE:
        return NotVerified(Doubt.NOT_A_RESPONSE)
    if not answers(message.header, command):
        return NotVerified(Doubt.OTHER_COMMAND)
    case = use_case(command.message_code)
    if case is None:
        return NotVerified(Doubt.OTHER_COMMAND, "its use case is unknown")

    protection = case.response_protection
    if protection is Protection.BY_ORIGINATOR:
        protection = Protection.SIGNATURE if message.mac is None else Protection.MAC
    signed = protection in _SIGNED
    if signed is not bool(message.signature) or signed is not (message.mac is None):
        return NotVerified(Doubt.WRONG_PROTECTION)
    if not signed and message.header.business_target_id != keys.entity_id:
        return NotVerified(Doubt.FOR_THE_BROKER)
    use = KeyUse.DIGITAL_SIGNATURE if signed else KeyUse.KEY_AGREEMENT
    certificate = keys.device_certificate(message.header.business_originator_id, use)
    if certificate is None:
        return NotVerified(Doubt.NOT_AUTHENTIC, "the device's certificate is not known")
    try:
        if signed:
            verify_signature(message, certificate.public_key)
        else:
            verify_mac(message, keys.agree(certificate.public_key))
    except CryptoRefused:
        return NotVerified(Doubt.NOT_AUTHENTIC)
    return Verified(message, case)
