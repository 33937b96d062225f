"""Commands about the device itself (ASN.1): firmware (CS06), its own keys (CS02c-e), joins (CS03, CS04, CS07).

Pure: a state and a Command give a state and an answer. ``fault`` is for test benches: the answer's code instead of what
would be found, with nothing done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    ActivateFirmware,
    DeviceType,
    FirmwareOutcome,
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

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.axdr import BitString
    from lastmetre.home.state import MeterState

JOIN_LOG_SIZE: Final = 16
"""Devices a meter may be joined with (DESIGN CHOICE)."""
_METHOD_A_INITIATOR: Final = 0
_JOINABLE: Final = frozenset({DeviceType.HCALCS, DeviceType.PPMID, DeviceType.TYPE_2})
"""What an electricity meter may join with by method A (INFERENCE from transform B8)."""
_HARDWARE_TYPE: Final = bytes.fromhex("06062b0601040101")


def use_of(key_usage: BitString) -> KeyUse | None:
    """The use that a key usage names."""
    uses = {KEY_USAGE_DIGITAL_SIGNATURE: KeyUse.DIGITAL_SIGNATURE, KEY_USAGE_KEY_AGREEMENT: KeyUse.KEY_AGREEMENT}
    return uses.get(key_usage)


def activate_firmware(
    state: MeterState, command: ActivateFirmware, fault: int | None
) -> tuple[MeterState, FirmwareOutcome]:
    """Put a distributed image in force: 0 done, 1 no image at all, 2 none with this hash."""
    if fault is not None:
        return state, FirmwareOutcome(fault, state.firmware_version)
    for image in state.images:
        if image.image_hash == command.image_hash:
            rest = tuple(each for each in state.images if each != image)
            return replace(state, firmware_version=image.version, images=rest), FirmwareOutcome(0, image.version)
    return state, FirmwareOutcome(2 if state.images else 1, state.firmware_version)


def join(state: MeterState, command: Join, fault: int | None) -> tuple[MeterState, JoinResponse]:
    """Put a device into the table of joined ones; joining again is well (DESIGN CHOICE)."""
    if fault is not None:
        return state, JoinResponse(fault)
    if command.method != _METHOD_A_INITIATOR:
        return state, JoinResponse(1)
    if command.type not in _JOINABLE:
        return state, JoinResponse(3)
    others = tuple(entry for entry in state.joined if entry[0] != command.other_device)
    if len(others) >= JOIN_LOG_SIZE:
        return state, JoinResponse(4)
    return replace(state, joined=(*others, (command.other_device, command.type))), JoinResponse(0)


def unjoin(state: MeterState, command: Unjoin, fault: int | None) -> tuple[MeterState, UnjoinResponse]:
    """Take a device out of the table."""
    if fault is not None:
        return state, UnjoinResponse(fault)
    others = tuple(entry for entry in state.joined if entry[0] != command.other_device)
    if others == state.joined:
        return state, UnjoinResponse(1)
    return replace(state, joined=others), UnjoinResponse(0)


def join_details(state: MeterState, fault: int | None) -> JoinDetails:
    """The table of joined devices."""
    if fault is not None:
        return JoinDetails(fault)
    return JoinDetails(0, tuple(LogEntry(device_id, kind) for device_id, kind in state.joined))


# --- the device's own keys -------------------------------------------------------------------------------------------


def issue_credentials(
    state: MeterState,
    command: IssueCredentials,
    new_key: ec.EllipticCurvePrivateKey,
    device_id: bytes,
    fault: int | None,
) -> tuple[MeterState, IssueCredentialsResponse]:
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
    state: MeterState, command: UpdateDeviceCertificate, device_id: bytes, fault: int | None
) -> tuple[MeterState, UpdateDeviceCertificateResponse]:
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
