"""Commands about the device itself (ASN.1): firmware (CS06, CS08), its own keys (CS02c-e), joins (CS03, CS04, CS07).

The same for every kind of device, on what all of them remember (``own_memory``). Pure: a state and a Command give a
state and an answer. ``fault`` is for test benches: the answer's code instead of what would be found, with nothing done.

Who joins whom by which method is the table ``JOINABLE``. A certificate that comes with a join (method C) must be the
other device's own, for key agreement; that the other device is no impostor is vouched for by the Command's signature
(DESIGN CHOICE: an emulated device pins no authority of devices).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    ActivateFirmware,
    DeviceType,
    FirmwareOutcome,
    FirmwareVersion,
    IssueCredentials,
    IssueCredentialsResponse,
    Join,
    JoinDetails,
    JoinResponse,
    LogEntry,
    ProvideDeviceCertificate,
    ProvideDeviceCertificateResponse,
    Unjoin,
    UnjoinResponse,
    UpdateDeviceCertificate,
    UpdateDeviceCertificateResponse,
)
from lastmetre.gbcs.certificates import (
    HARDWARE_MODULE_NAME,
    CertificateRefused,
    CertificateRule,
    Usage,
    parse_certificate,
)
from lastmetre.gbcs.keys import KeyUse
from lastmetre.home.own_memory import OwnMemory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.axdr import BitString
    from lastmetre.gbcs.certificates import Certificate

S = TypeVar("S", bound=OwnMemory)

JOIN_LOG_SIZE: Final = 16
"""Devices a meter may be joined with (DESIGN CHOICE)."""
A_INITIATOR, A_RESPONDER, METHOD_B, METHOD_C = 0, 1, 2, 3
METHOD_OF_CODE: Final[Mapping[int, int]] = {
    0x000D: A_INITIATOR,
    0x00AB: A_RESPONDER,
    0x000E: METHOD_B,
    0x00AF: METHOD_C,
}
"""Which method a join's message code says (section 9.3)."""
JOINABLE: Final[Mapping[tuple[DeviceType, int], tuple[frozenset[DeviceType], str]]] = {
    (DeviceType.ESME, A_INITIATOR): (
        frozenset({DeviceType.HCALCS, DeviceType.PPMID, DeviceType.TYPE_2}), "CS03A1; INFERENCE, transform B8",
    ),
    (DeviceType.HCALCS, A_RESPONDER): (frozenset({DeviceType.ESME}), "published CS03A2"),
    (DeviceType.PPMID, A_RESPONDER): (frozenset({DeviceType.ESME}), "published CS03A2"),
    (DeviceType.GSME, METHOD_B): (frozenset({DeviceType.GPF}), "published CS03B: a PPMID is refused with 2"),
    (DeviceType.GSME, METHOD_C): (frozenset({DeviceType.PPMID}), "published CS03C"),
    (DeviceType.PPMID, METHOD_C): (frozenset({DeviceType.GSME}), "published CS03C"),
    (DeviceType.GPF, A_INITIATOR): (frozenset({DeviceType.PPMID, DeviceType.TYPE_2}), "INFERENCE from GCS59, GCS62"),
}  # fmt: skip
"""(device, method): whom it joins that way, and the source. What has no row is refused."""
WRONG_CODE, WRONG_METHOD, OTHER_TYPE_LISTED, LOG_FULL, BAD_CERTIFICATE = 1, 2, 3, 4, 11
_HARDWARE_TYPE: Final = bytes.fromhex("06062b0601040101")


def use_of(key_usage: BitString) -> KeyUse | None:
    """The use that a key usage names."""
    uses = {KEY_USAGE_DIGITAL_SIGNATURE: KeyUse.DIGITAL_SIGNATURE, KEY_USAGE_KEY_AGREEMENT: KeyUse.KEY_AGREEMENT}
    return uses.get(key_usage)


def activate_firmware(state: S, command: ActivateFirmware, fault: int | None) -> tuple[S, FirmwareOutcome]:
    """Put a distributed image in force: 0 done, 1 no image at all, 2 none with this hash."""
    if fault is not None:
        return state, FirmwareOutcome(fault, state.firmware_version)
    for image in state.images:
        if image.image_hash == command.image_hash:
            rest = tuple(each for each in state.images if each != image)
            return replace(state, firmware_version=image.version, images=rest), FirmwareOutcome(0, image.version)
    return state, FirmwareOutcome(2 if state.images else 1, state.firmware_version)


NO_VERSION: Final = bytes(4)


def firmware_version(state: OwnMemory, fault: int | None) -> FirmwareVersion:
    """CS08: the version in force."""
    return FirmwareVersion(state.firmware_version, 0) if fault is None else FirmwareVersion(NO_VERSION, fault)


def join(state: S, command: Join, kind: DeviceType, message_code: int, fault: int | None) -> tuple[S, JoinResponse]:
    """Put a device into the table of joined ones; joining again is well (DESIGN CHOICE)."""
    if fault is not None:
        return state, JoinResponse(fault)
    if METHOD_OF_CODE.get(message_code) != command.method:
        return state, JoinResponse(WRONG_CODE)
    allowed, _source = JOINABLE.get((kind, command.method), (frozenset(), ""))
    if command.type not in allowed:
        return state, JoinResponse(WRONG_METHOD)
    if command.method == METHOD_C and not _is_partners(command.certificate, command.other_device):
        return state, JoinResponse(BAD_CERTIFICATE)
    return enter(state, LogEntry(command.other_device, command.type), command.certificate)


def enter(state: S, entry: LogEntry, certificate: bytes | None = None) -> tuple[S, JoinResponse]:
    """An entry of the table of joined devices."""
    held = dict(state.joined)
    if held.get(entry.device_id, entry.type) != entry.type:
        return state, JoinResponse(OTHER_TYPE_LISTED)
    others = tuple(each for each in state.joined if each[0] != entry.device_id)
    if len(others) >= JOIN_LOG_SIZE:
        return state, JoinResponse(LOG_FULL)
    partners = tuple(each for each in state.partner_certificates if each[0] != entry.device_id)
    return (
        replace(
            state,
            joined=(*others, (entry.device_id, int(entry.type))),
            partner_certificates=partners if certificate is None else (*partners, (entry.device_id, certificate)),
            unjoined=tuple(device_id for device_id in state.unjoined if device_id != entry.device_id),
        ),
        JoinResponse(0),
    )


def _is_partners(der: bytes | None, device_id: bytes) -> bool:
    certificate = _read(der) if der is not None else None
    return certificate is not None and certificate.usage is Usage.KEY_AGREEMENT and certificate.entity_id == device_id


def _read(der: bytes) -> Certificate | None:
    try:
        return parse_certificate(der)
    except CertificateRefused:
        return None


def unjoin(state: S, command: Unjoin, made_with: frozenset[bytes], fault: int | None) -> tuple[S, UnjoinResponse]:
    """Take a device out of the table; ``made_with`` are partners that it has without a Command."""
    if fault is not None:
        return state, UnjoinResponse(fault)
    gone = command.other_device
    others = tuple(entry for entry in state.joined if entry[0] != gone)
    first = gone in made_with - set(state.unjoined)
    if others == state.joined and not first:
        return state, UnjoinResponse(1)
    return (
        replace(
            state,
            joined=others,
            partner_certificates=tuple(each for each in state.partner_certificates if each[0] != gone),
            unjoined=(*state.unjoined, gone) if first else state.unjoined,
        ),
        UnjoinResponse(0),
    )


def join_details(state: OwnMemory, fault: int | None) -> JoinDetails:
    """The table of joined devices."""
    if fault is not None:
        return JoinDetails(fault)
    return JoinDetails(0, tuple(LogEntry(device_id, kind) for device_id, kind in state.joined))


# --- the device's own keys -------------------------------------------------------------------------------------------


def issue_credentials(
    state: S,
    command: IssueCredentials,
    new_key: ec.EllipticCurvePrivateKey,
    device_id: bytes,
    fault: int | None,
) -> tuple[S, IssueCredentialsResponse]:
    """Make a key pair and ask for its certificate (CS02c); a pair that waited for its certificate is forgotten."""
    use = use_of(command.key_usage)
    if fault is not None or use is None:
        return state, IssueCredentialsResponse(1 if fault is None else fault)
    public = new_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    private = new_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    others = tuple(entry for entry in state.issued_keys if entry[0] != use.value)
    state = replace(state, issued_keys=(*others, (use.value, public, private)))
    return state, IssueCredentialsResponse(_request(new_key, use, device_id))


def _request(key: ec.EllipticCurvePrivateKey, use: KeyUse, device_id: bytes) -> bytes:
    """A PKCS#10 request with no subject, one key usage and the device's name, as published ones have."""
    value = _HARDWARE_TYPE + b"\x04\x08" + device_id
    name = x509.OtherName(HARDWARE_MODULE_NAME, b"\x30" + bytes((len(value),)) + value)
    usage = x509.KeyUsage(
        digital_signature=use is KeyUse.DIGITAL_SIGNATURE,
        key_agreement=use is KeyUse.KEY_AGREEMENT,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
    )
    return builder.sign(key, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def update_certificate(
    state: S, command: UpdateDeviceCertificate, device_id: bytes, fault: int | None
) -> tuple[S, UpdateDeviceCertificateResponse]:
    """Take the certificate of a key pair that waits for it; from then on that pair is the device's (CS02d)."""
    if fault is not None:
        return state, UpdateDeviceCertificateResponse(fault)
    try:
        certificate = parse_certificate(command.certificate)
    except CertificateRefused as refused:
        usages = {CertificateRule.NO_USAGE, CertificateRule.TWO_USAGES, CertificateRule.WRONG_USAGE}
        return state, UpdateDeviceCertificateResponse(3 if refused.rule in usages else 1)
    if certificate.entity_id != device_id:
        return state, UpdateDeviceCertificateResponse(2)
    uses = {Usage.DIGITAL_SIGNATURE: KeyUse.DIGITAL_SIGNATURE, Usage.KEY_AGREEMENT: KeyUse.KEY_AGREEMENT}
    use = uses.get(certificate.usage)
    if use is None:
        return state, UpdateDeviceCertificateResponse(3)
    waiting = [entry for entry in state.issued_keys if entry[0] == use.value]
    if not waiting:
        return state, UpdateDeviceCertificateResponse(4)
    public = certificate.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if waiting[0][1] != public:
        return state, UpdateDeviceCertificateResponse(5)
    held = tuple(entry for entry in state.device_certificates if entry[0] != use.value)
    return (
        replace(
            state,
            issued_keys=tuple(entry for entry in state.issued_keys if entry[0] != use.value),
            device_certificates=(*held, (use.value, certificate.der)),
            device_keys=(*(each for each in state.device_keys if each[0] != use.value), (use.value, waiting[0][2])),
        ),
        UpdateDeviceCertificateResponse(0),
    )


def provide_certificate(
    command: ProvideDeviceCertificate, held: dict[KeyUse, bytes], fault: int | None
) -> ProvideDeviceCertificateResponse:
    """Give out one of the device's certificates (CS02e): 1 for an unknown use, 2 for none held."""
    if fault is not None:
        return ProvideDeviceCertificateResponse(fault)
    use = use_of(command.key_usage)
    if use is None:
        return ProvideDeviceCertificateResponse(1)
    return ProvideDeviceCertificateResponse(held.get(use, 2))
