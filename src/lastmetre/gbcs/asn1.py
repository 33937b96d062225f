"""ASN.1 payloads: credentials, join and unjoin, firmware, clock, device logs (gbcs-messages section 9).

Rules this module keeps:

* One class per payload; the message code and the CRA flag say which one it is (``SCHEMAS``).
* ``encode_asn1(decode_asn1(x)) == x``. Lengths longer than need be, which some devices send, are a property of the
  value (``long_lengths``) and exist only in Responses and Alerts; for anything else they are errors.
* Certificates are kept as DER; ``certificates`` reads them. Codes a device may extend stay plain integers, with
  enumerations beside them for the known ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias

from lastmetre.gbcs.axdr import BitString
from lastmetre.gbcs.catalogue import Role as Role  # noqa: PLC0414 - offered here beside the other codes
from lastmetre.gbcs.der import (
    TAG_ENUMERATED,
    Alone,
    Bits,
    Choice,
    Codec,
    Member,
    Null,
    Octets,
    Raw,
    Reader,
    Sequence,
    SequenceOf,
    Time,
    Whole,
    Writer,
)
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError

COMMAND, RESPONSE, ALERT = 1, 2, 3
"""The CRA flags, as numbers: this module stands below ``message``."""

KEY_USAGE_DIGITAL_SIGNATURE: Final = BitString(1, b"\x80")
KEY_USAGE_KEY_AGREEMENT: Final = BitString(5, b"\x08")
KEY_USAGE_KEY_CERT_SIGN: Final = BitString(6, b"\x04")
"""The three key usages of section 2.2."""

TIME_NEVER: Final = "99991231235959Z"
"""The execution time that cancels (section 10.3)."""


class CellUsage(IntEnum):
    """What a trust anchor cell is for."""

    MANAGEMENT = 0
    PREPAYMENT_TOP_UP = 1


class DeviceType(IntEnum):
    """Device types (section 2.1)."""

    GSME = 0
    ESME = 1
    CHF = 2
    GPF = 3
    HCALCS = 4
    PPMID = 5
    TYPE_2 = 6


class CredentialStatus(IntEnum):
    """What became of one cell or role (section 9.2, Status)."""

    SUCCESS = 0
    BAD_CERTIFICATE = 5
    NO_TRUST_ANCHOR = 10
    INSUFFICIENT_MEMORY = 17
    TRUST_ANCHOR_NOT_FOUND = 25
    RESOURCES_BUSY = 30
    OTHER = 127


class UpdateMode(IntEnum):
    """Who replaces whose credentials (section 9.2, Mode). 0 and 1 are deduced from message codes [I]."""

    ROOT_BY_SUPPLIER = 0
    ROOT_BY_WAN_PROVIDER = 1
    SUPPLIER_BY_SUPPLIER = 2
    NETWORK_OPERATOR_BY_NETWORK_OPERATOR = 3
    ACCESS_CONTROL_BROKER_BY_ACB = 4
    WAN_PROVIDER_BY_WAN_PROVIDER = 5
    TRANS_COS_BY_TRANS_COS = 6
    SUPPLIER_BY_TRANS_COS = 7
    ANY_EXCEPT_ABNORMAL_ROOT_BY_RECOVERY = 8
    ANY_BY_CONTINGENCY = 9
    LOAD_CONTROLLER_BY_LOAD_CONTROLLER = 10
    LOAD_CONTROLLER_BY_SUPPLIER = 11


# --- shared types (section 9.2) --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CellId:
    """A trust anchor cell of a device: whose key, for what."""

    role: int
    key_usage: BitString
    cell_usage: int = 0


@dataclass(frozen=True, slots=True)
class SpecialistCounter:
    """The counter of a special purpose: usage 0 is prepayment top-up."""

    usage: int
    counter: int


@dataclass(frozen=True, slots=True)
class RoleCounter:
    """The lowest counter a device will still take from a role."""

    role: int
    floor: int
    specialist: tuple[SpecialistCounter, ...] | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A device in a device log."""

    device_id: bytes
    type: int


# --- CS02a/f: provide security credential details --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CredentialsQuery:
    """CS02a/f Command: which roles' credentials are wanted, and by which cell the asker is authorised."""

    authorising: CellId
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HeldCredential:
    """One certificate a device holds, by its subject and key."""

    key_usage: BitString
    cell_usage: int
    subject_unique_id: bytes
    subject_key_id: bytes


@dataclass(frozen=True, slots=True)
class RoleCredentials:
    """What a device holds of one role; counter and cells only on success."""

    role: int
    status: int
    current_counter: int | None = None
    cells: tuple[HeldCredential, ...] | None = None


@dataclass(frozen=True, slots=True)
class CredentialsDetails:
    """CS02a/f Response."""

    roles: tuple[RoleCredentials, ...]


# --- CS02b/g: update security credentials ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpdateControl:
    """Who replaces what, under which counter, and where counters start afterwards."""

    mode: int
    authorising_counter: int
    plaintext_symmetric_key: bytes | None = None
    apply_time_checks: int | None = None
    authorising_cell: CellId | None = None
    new_floor: int | None = None
    new_specialist_floor: tuple[SpecialistCounter, ...] | None = None
    other_changes: tuple[RoleCounter, ...] | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """A certificate (DER) and the cell it goes to."""

    certificate: bytes
    target: CellId


@dataclass(frozen=True, slots=True)
class UpdateCredentials:
    """CS02b/g Command. ``path``: certificates (DER) that lead from the new ones to the root."""

    control: UpdateControl
    replacements: tuple[Replacement, ...]
    path: tuple[bytes, ...]
    execution_time: str | None = None


@dataclass(frozen=True, slots=True)
class ReplacementOutcome:
    """What became of one cell: identifiers before and after."""

    cell: CellId
    status: int
    old_subject_id: bytes
    old_key_id: bytes
    new_subject_id: bytes
    new_key_id: bytes


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """What became of an update of credentials."""

    authorising_counter: int
    mode: int
    counter_changes: tuple[RoleCounter, ...]
    replacements: tuple[ReplacementOutcome, ...]


@dataclass(frozen=True, slots=True)
class UpdateCredentialsResponse:
    """CS02b/g Response; the outcome is absent when the update is future dated or cancelled."""

    outcome: UpdateOutcome | None = None
    accepted: None = None


@dataclass(frozen=True, slots=True)
class UpdateCredentialsAlert:
    """00CB, 0124: a future-dated update was carried out, or failed."""

    alert_code: int
    execution_time: str
    outcome: UpdateOutcome


# --- CS02c/d/e: the device's own certificates ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IssueCredentials:
    """CS02c Command: make a key pair and ask for its certificate."""

    key_usage: BitString


@dataclass(frozen=True, slots=True)
class IssueCredentialsResponse:
    """CS02c Response: a PKCS#10 request (DER), or 1 invalidKeyUsage, 2 keyPairGenerationFailed, 3 requestFailed."""

    result: bytes | int


@dataclass(frozen=True, slots=True)
class UpdateDeviceCertificate:
    """CS02d Command: the device's new certificate (DER)."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class UpdateDeviceCertificateResponse:
    """CS02d Response: 0 ok, or 1 to 7 why not (section 9.3)."""

    result: int


@dataclass(frozen=True, slots=True)
class ProvideDeviceCertificate:
    """CS02e Command: which of the device's certificates is wanted."""

    key_usage: BitString


@dataclass(frozen=True, slots=True)
class ProvideDeviceCertificateResponse:
    """CS02e Response: a certificate (DER), or 1 invalidKeyUsage, 2 noneHeld, 3 retrievalFailure."""

    result: bytes | int


# --- CS03, CS04, CS07: joining ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Join:
    """CS03 Command. ``method``: 0 A-initiator, 1 A-responder, 2 B, 3 C."""

    method: int
    other_device: bytes
    type: int
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class JoinResponse:
    """CS03 Response: 0 ok, or 1 to 13 why not (section 9.3)."""

    result: int


@dataclass(frozen=True, slots=True)
class Unjoin:
    """CS04 Command."""

    other_device: bytes


@dataclass(frozen=True, slots=True)
class UnjoinResponse:
    """CS04 Response: 0 ok, 1 notInLog, 2 other."""

    result: int


@dataclass(frozen=True, slots=True)
class ReadJoinDetails:
    """CS07 Command."""


@dataclass(frozen=True, slots=True)
class JoinDetails:
    """CS07 Response: 0 ok and the log, or 1 readFailure."""

    result: int
    log: tuple[LogEntry, ...] | None = None


# --- firmware --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActivateFirmware:
    """CS06 Command. ``counter`` repeats the Originator Counter."""

    image_hash: bytes
    counter: int
    execution_time: str | None = None


@dataclass(frozen=True, slots=True)
class FirmwareOutcome:
    """0 ok, 1 noImage, 2 hashMismatch, 3 activationFailure; and the version now running."""

    result: int
    firmware_version: bytes


@dataclass(frozen=True, slots=True)
class ActivateFirmwareResponse:
    """CS06 Response; the outcome is ``None`` when the activation is future dated or cancelled."""

    outcome: FirmwareOutcome | None = None


@dataclass(frozen=True, slots=True)
class ActivateFirmwareAlert:
    """00CA: a future-dated activation was carried out, or failed."""

    alert_code: int
    execution_time: str
    counter: int
    outcome: FirmwareOutcome


@dataclass(frozen=True, slots=True)
class ReadFirmwareVersion:
    """CS08 Command."""


@dataclass(frozen=True, slots=True)
class FirmwareVersion:
    """CS08 Response: the version, and 0 ok or 1 failure."""

    firmware_version: bytes
    result: int


@dataclass(frozen=True, slots=True)
class FirmwareActivatedAlert:
    """CS09 Alert of a PPMID: 0 ok or 1 failure."""

    alert_code: int
    time: str
    firmware_version: bytes
    result: int


@dataclass(frozen=True, slots=True)
class FirmwareTransferAlert:
    """CCS08 Alert of a CHF: 0 ok, 1 imageDiscarded, 2 hardwareMismatch, 3 transferFailure."""

    alert_code: int
    time: str
    device: bytes
    firmware_version: bytes
    result: int


# --- gas clock, device logs of the GPF -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetClock:
    """GCS28 Command: the meter may set its clock if the time lies between these."""

    not_before: str
    not_after: str


@dataclass(frozen=True, slots=True)
class ClockResponse:
    """GCS28 Response: the device's time, 0 reliable, 1 invalid, 2 unreliable."""

    device_time: str
    result: int


@dataclass(frozen=True, slots=True)
class RestoreDeviceLog:
    """GCS59 Command."""

    log: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class RestoredEntry:
    """What became of one entry; ``join_response`` as in ``JoinResponse``."""

    entry: LogEntry
    join_response: int


@dataclass(frozen=True, slots=True)
class RestoreDeviceLogResponse:
    """GCS59 Response."""

    results: tuple[RestoredEntry, ...]


@dataclass(frozen=True, slots=True)
class DeviceLogAlert:
    """GCS62 Alert: the GPF's device log, for safe keeping."""

    alert_code: int
    time: str
    log: tuple[LogEntry, ...]


Asn1Command: TypeAlias = (
    CredentialsQuery
    | UpdateCredentials
    | IssueCredentials
    | UpdateDeviceCertificate
    | ProvideDeviceCertificate
    | Join
    | Unjoin
    | ReadJoinDetails
    | ActivateFirmware
    | ReadFirmwareVersion
    | SetClock
    | RestoreDeviceLog
)
Asn1Response: TypeAlias = (
    CredentialsDetails
    | UpdateCredentialsResponse
    | IssueCredentialsResponse
    | UpdateDeviceCertificateResponse
    | ProvideDeviceCertificateResponse
    | JoinResponse
    | UnjoinResponse
    | JoinDetails
    | ActivateFirmwareResponse
    | FirmwareVersion
    | ClockResponse
    | RestoreDeviceLogResponse
)
Asn1Alert: TypeAlias = (
    UpdateCredentialsAlert | ActivateFirmwareAlert | FirmwareActivatedAlert | FirmwareTransferAlert | DeviceLogAlert
)


@dataclass(frozen=True, slots=True)
class Asn1:
    """An ASN.1 payload. ``long_lengths``: position in reading order and octets of each length longer than need be."""

    value: Asn1Command | Asn1Response | Asn1Alert
    long_lengths: tuple[tuple[int, int], ...] = ()


# --- schemas ---------------------------------------------------------------------------------------------------------

_CODE = Whole(0, 0xFF)
_COUNTER = Whole(0, (1 << 63) - 1)
_ALERT_CODE = Whole(0, 0xFFFF)
_ID = Octets(8)
_USAGE = Bits()
_TIME = Time()
_CERTIFICATE = Raw()
_STATUS = Whole(0, 0xFF, tag=TAG_ENUMERATED)

_CELL_ID = Sequence(
    CellId, (Member("role", _CODE), Member("key_usage", _USAGE), Member("cell_usage", _CODE, default=0))
)
_SPECIALISTS = SequenceOf(Sequence(SpecialistCounter, (Member("usage", _CODE), Member("counter", _COUNTER))))
_ROLE_COUNTERS = SequenceOf(
    Sequence(
        RoleCounter,
        (Member("role", _CODE), Member("floor", _COUNTER), Member("specialist", _SPECIALISTS, optional=True)),
    )
)
_LOG_ENTRY = Sequence(LogEntry, (Member("device_id", _ID), Member("type", _CODE)))
_LOG = SequenceOf(_LOG_ENTRY)

_QUERY = Sequence(CredentialsQuery, (Member("authorising", _CELL_ID), Member("wanted", SequenceOf(_CODE))))
_HELD = Sequence(
    HeldCredential,
    (
        Member("key_usage", _USAGE),
        Member("cell_usage", _CODE, default=0),
        Member("subject_unique_id", _ID),
        Member("subject_key_id", _ID),
    ),
)
_DETAILS = Alone(
    CredentialsDetails,
    SequenceOf(
        Sequence(
            RoleCredentials,
            (
                Member("role", _CODE),
                Member("status", _STATUS),
                Member("current_counter", _COUNTER, optional=True),
                Member("cells", SequenceOf(_HELD), optional=True),
            ),
        )
    ),
    "roles",
)

_CONTROL = Sequence(
    UpdateControl,
    (
        Member("mode", _CODE),
        Member("plaintext_symmetric_key", Octets(), context=0, optional=True),
        Member("apply_time_checks", _CODE, context=1, optional=True),
        Member("authorising_cell", _CELL_ID, context=2, optional=True),
        Member("authorising_counter", _COUNTER, context=3),
        Member("new_floor", _COUNTER, context=4, optional=True),
        Member("new_specialist_floor", _SPECIALISTS, context=5, optional=True),
        Member("other_changes", _ROLE_COUNTERS, context=6, optional=True),
    ),
)
_UPDATE = Sequence(
    UpdateCredentials,
    (
        Member("control", _CONTROL),
        Member(
            "replacements",
            SequenceOf(Sequence(Replacement, (Member("certificate", _CERTIFICATE), Member("target", _CELL_ID)))),
        ),
        Member("path", SequenceOf(_CERTIFICATE)),
        Member("execution_time", _TIME, optional=True),
    ),
)
_REPLACEMENT_OUTCOME = Sequence(
    ReplacementOutcome,
    (
        Member("cell", _CELL_ID),
        Member("status", _STATUS),
        Member("old_subject_id", _ID),
        Member("old_key_id", _ID),
        Member("new_subject_id", _ID),
        Member("new_key_id", _ID),
    ),
)
_OUTCOME = Sequence(
    UpdateOutcome,
    (
        Member("authorising_counter", _COUNTER),
        Member("mode", _CODE),
        Member("counter_changes", _ROLE_COUNTERS),
        Member("replacements", SequenceOf(_REPLACEMENT_OUTCOME)),
    ),
)
_UPDATE_RESPONSE = Sequence(
    UpdateCredentialsResponse, (Member("accepted", Null()), Member("outcome", _OUTCOME, optional=True))
)
_UPDATE_ALERT = Sequence(
    UpdateCredentialsAlert,
    (Member("alert_code", _ALERT_CODE), Member("execution_time", _TIME), Member("outcome", _OUTCOME)),
)

_FIRMWARE_OUTCOME = Sequence(FirmwareOutcome, (Member("result", _CODE), Member("firmware_version", Octets(4))))
_BYTES_OR_CODE = Choice(((bytes, _CERTIFICATE), (int, _CODE)))

_JOIN = Sequence(
    Join,
    (
        Member("method", _CODE),
        Member("other_device", _ID),
        Member("type", _CODE),
        Member("certificate", _CERTIFICATE, optional=True),
    ),
)
_JOIN_RESPONSE = Alone(JoinResponse, _CODE)
_UNJOIN, _UNJOIN_RESPONSE = Alone(Unjoin, _ID, "other_device"), Alone(UnjoinResponse, _CODE)
_RESTORED = Sequence(RestoredEntry, (Member("entry", _LOG_ENTRY), Member("join_response", _CODE)))

SCHEMAS: Final[dict[tuple[int, int], Codec]] = {
    # By message code and CRA flag; source: section 9.3 for every row.
    **{(code, COMMAND): _QUERY for code in (0x0008, 0x011B)},
    **{(code, RESPONSE): _DETAILS for code in (0x0008, 0x011B)},
    **{(code, COMMAND): _UPDATE for code in (*range(0x0100, 0x010A), 0x0125, 0x0126)},
    **{(code, RESPONSE): _UPDATE_RESPONSE for code in (*range(0x0100, 0x010A), 0x0125, 0x0126)},
    **{(code, ALERT): _UPDATE_ALERT for code in (0x00CB, 0x0124)},
    (0x000A, COMMAND): Sequence(IssueCredentials, (Member("key_usage", _USAGE),)),
    (0x000A, RESPONSE): Alone(IssueCredentialsResponse, _BYTES_OR_CODE),
    (0x000B, COMMAND): Alone(UpdateDeviceCertificate, _CERTIFICATE, "certificate"),
    (0x000B, RESPONSE): Alone(UpdateDeviceCertificateResponse, _CODE),
    (0x000C, COMMAND): Sequence(ProvideDeviceCertificate, (Member("key_usage", _USAGE),)),
    (0x000C, RESPONSE): Alone(ProvideDeviceCertificateResponse, _BYTES_OR_CODE),
    **{(code, COMMAND): _JOIN for code in (0x000D, 0x000E, 0x00AB, 0x00AF)},
    **{(code, RESPONSE): _JOIN_RESPONSE for code in (0x000D, 0x000E, 0x00AB, 0x00AF)},
    **{(code, COMMAND): _UNJOIN for code in (0x000F, 0x0010)},
    **{(code, RESPONSE): _UNJOIN_RESPONSE for code in (0x000F, 0x0010)},
    (0x0012, COMMAND): Sequence(
        ActivateFirmware,
        (Member("image_hash", Octets(32)), Member("counter", _COUNTER), Member("execution_time", _TIME, optional=True)),
    ),
    (0x0012, RESPONSE): Alone(
        ActivateFirmwareResponse, Choice(((type(None), Null()), (FirmwareOutcome, _FIRMWARE_OUTCOME))), "outcome"
    ),
    (0x00CA, ALERT): Sequence(
        ActivateFirmwareAlert,
        (
            Member("alert_code", _ALERT_CODE),
            Member("execution_time", _TIME),
            Member("counter", _COUNTER),
            Member("outcome", _FIRMWARE_OUTCOME),
        ),
    ),
    (0x0013, COMMAND): Alone(ReadJoinDetails, Null(), None),
    (0x0013, RESPONSE): Sequence(JoinDetails, (Member("result", _CODE), Member("log", _LOG, optional=True))),
    (0x0129, COMMAND): Alone(ReadFirmwareVersion, Null(), None),
    (0x0129, RESPONSE): Sequence(FirmwareVersion, (Member("firmware_version", Octets(4)), Member("result", _CODE))),
    (0x012B, ALERT): Sequence(
        FirmwareActivatedAlert,
        (
            Member("alert_code", _ALERT_CODE),
            Member("time", _TIME),
            Member("firmware_version", Octets()),
            Member("result", _CODE),
        ),
    ),
    (0x0128, ALERT): Sequence(
        FirmwareTransferAlert,
        (
            Member("alert_code", _ALERT_CODE),
            Member("time", _TIME),
            Member("device", _ID),
            Member("firmware_version", Octets()),
            Member("result", _CODE),
        ),
    ),
    (0x007F, COMMAND): Sequence(SetClock, (Member("not_before", _TIME), Member("not_after", _TIME))),
    (0x007F, RESPONSE): Sequence(ClockResponse, (Member("device_time", _TIME), Member("result", _CODE))),
    (0x008C, COMMAND): Sequence(RestoreDeviceLog, (Member("log", _LOG),)),
    (0x008C, RESPONSE): Sequence(RestoreDeviceLogResponse, (Member("results", SequenceOf(_RESTORED)),)),
    (0x00B2, ALERT): Sequence(
        DeviceLogAlert, (Member("alert_code", _ALERT_CODE), Member("time", _TIME), Member("log", _LOG))
    ),
}


def _value_class(codec: Codec) -> type:
    if not isinstance(codec, Sequence | Alone):
        raise TypeError("a payload's schema makes a value of a class of its own")
    return codec.cls


_CODEC_BY_CLASS: Final[dict[type, Codec]] = {_value_class(codec): codec for codec in SCHEMAS.values()}
_COMMANDS: Final = frozenset(_value_class(codec) for (_code, cra), codec in SCHEMAS.items() if cra == COMMAND)


def decode_asn1(message_code: int, cra: int, data: bytes) -> Asn1:
    """Read the ASN.1 payload that fills ``data``."""
    codec = SCHEMAS.get((message_code, cra))
    if codec is None:
        raise GbcsDecodeError("asn1", 0, f"message code {message_code:04X} with CRA flag {cra} has no ASN.1 payload")
    reader = Reader(data, allow_long_lengths=cra != COMMAND)
    value: Any
    value, at = codec.read(reader, 0, len(data), codec.tag, _value_class(codec).__name__)
    if at != len(data):
        raise GbcsDecodeError("asn1", at, f"{len(data) - at} octets follow its end")
    return Asn1(value, tuple(reader.long_lengths))


def encode_asn1(payload: Asn1) -> bytes:
    """The octets of an ASN.1 payload."""
    cls = type(payload.value)
    codec = _CODEC_BY_CLASS.get(cls)
    if codec is None:
        raise GbcsValueError(f"{cls.__name__} is no ASN.1 payload")
    if payload.long_lengths and cls in _COMMANDS:
        raise GbcsValueError("only device-made payloads may have lengths longer than need be")
    writer = Writer(dict(payload.long_lengths))
    octets = codec.write(writer, payload.value, codec.tag, cls.__name__)
    if writer.long_lengths:
        raise GbcsValueError(f"there is no length at position {min(writer.long_lengths)} to be made longer")
    return octets
