"""Alerts: what a device says unasked, future-dated execution included (gbcs-messages 10.1).

One record for each kind of Alert, with what it tells beside its code and time. ``alert`` puts the code, the time and
the header around it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.asn1 import (
    ActivateFirmwareAlert,
    Asn1,
    Asn1Alert,
    DeviceLogAlert,
    FirmwareActivatedAlert,
    FirmwareTransferAlert,
    UpdateCredentialsAlert,
)
from lastmetre.gbcs.axdr import Array, BitString, Data, OctetString, Structure, Unsigned, Utf8String
from lastmetre.gbcs.build.built import Built
from lastmetre.gbcs.build.checks import Checked, EntityId, Moment, Size, UInt8, UInt16, Whole
from lastmetre.gbcs.build.hub import ConfigureSubGhz
from lastmetre.gbcs.build.reads import protection
from lastmetre.gbcs.build.shapes import INVOKE_ID_MASK
from lastmetre.gbcs.catalogue import Protection, UseCaseKind, use_case
from lastmetre.gbcs.datetimes import date_time_from_unix, zigbee_from_unix
from lastmetre.gbcs.dlms import DataNotification, Obis
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import AlertNumber, AlertSpecific, Component, FutureDatedZcl, GbzAlert, ImageHash
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation

if TYPE_CHECKING:
    from lastmetre.gbcs.payload import Payload

ALERT_EXECUTED: Final = 0x8F66
ALERT_FAILED: Final = 0x8F67
"""A future-dated Command was executed, or failed (section 10.2)."""

UInt64: TypeAlias = Annotated[int, Whole(0, (1 << 64) - 1)]
Digest: TypeAlias = Annotated[bytes, Size(32, 32)]


def _os(value: int, size: int) -> OctetString:
    return OctetString(value.to_bytes(size, "big"))


def _time(at: int) -> OctetString:
    return OctetString(date_time_from_unix(at))


@dataclass(frozen=True, slots=True)
class AlertValues(Checked):
    """What an Alert tells beside its code and time. ``CODES``: the message codes it can be sent under."""

    CODES: ClassVar[tuple[int, ...]] = ()

    def extra(self) -> tuple[Data, ...]:
        """What follows the time in the DLMS form."""
        raise GbcsValueError(f"{type(self).__name__} has no DLMS form")

    def specific(self) -> AlertSpecific | None:
        """What follows the time in the GBZ form."""
        raise GbcsValueError(f"{type(self).__name__} has no GBZ form")


@dataclass(frozen=True, slots=True)
class Generic(AlertValues):
    """GCA, GNCA: the code says it all. A ``user_interface_command`` (8161, 8162) exists in the GBZ form only."""

    CODES: ClassVar = (0x1000, 0x1001)

    user_interface_command: UInt16 | None = None

    def extra(self) -> tuple[Data, ...]:
        """Nothing."""
        if self.user_interface_command is not None:
            raise GbcsValueError("Generic.user_interface_command has no DLMS form")
        return ()

    def specific(self) -> AlertSpecific | None:
        """The command, if any."""
        command = self.user_interface_command
        return None if command is None else AlertNumber(command)


@dataclass(frozen=True, slots=True)
class FutureDatedAttribute(AlertValues):
    """FDA-DLMS: which attribute took effect, of which Command."""

    CODES: ClassVar = (0x00CC,)

    message_code: UInt16
    originator_counter: UInt64
    class_id: UInt16
    obis: Obis
    attribute: Annotated[int, Whole(0, 127)]

    def extra(self) -> tuple[Data, ...]:
        """Nineteen octets."""
        counter = self.originator_counter.to_bytes(8, "big")
        ends = self.message_code.to_bytes(2, "big") + counter + self.class_id.to_bytes(2, "big")
        return (OctetString(ends + self.obis.raw + bytes((self.attribute,))),)


@dataclass(frozen=True, slots=True)
class FutureDatedComponent(AlertValues):
    """FDA-GBZ: which component took effect, of which Command."""

    CODES: ClassVar = (0x00CD,)

    message_code: UInt16
    originator_counter: UInt64
    cluster: UInt16
    frame_control: UInt8
    command_id: UInt8

    def specific(self) -> AlertSpecific | None:
        """The component's name."""
        return FutureDatedZcl(
            self.message_code, self.originator_counter, self.cluster, self.frame_control, self.command_id
        )


@dataclass(frozen=True, slots=True)
class FirmwareReceived(AlertValues):
    """FDRA: the SHA-256 of the image that arrived."""

    CODES: ClassVar = (0x00CE, 0x00CF)

    image_hash: Digest

    def extra(self) -> tuple[Data, ...]:
        """The digest."""
        return (OctetString(self.image_hash),)

    def specific(self) -> AlertSpecific | None:
        """The digest."""
        return ImageHash(self.image_hash)


@dataclass(frozen=True, slots=True)
class IntegrityIssue(AlertValues):
    """MIIWA: 0 other, 1 NVM, 2 program execution ... 9 unspecified (section 10.1)."""

    CODES: ClassVar = (0x00F0, 0x00F2)

    issue: UInt16

    def extra(self) -> tuple[Data, ...]:
        """Two octets."""
        return (_os(self.issue, 2),)

    def specific(self) -> AlertSpecific | None:
        """A number."""
        return AlertNumber(self.issue)


@dataclass(frozen=True, slots=True)
class MessageDropped(AlertValues):
    """FTDRP, DBCH10: the message that was not delivered, or discarded."""

    CODES: ClassVar = (0x00D5, 0x0114)

    originator: EntityId
    target: EntityId
    cra: Cra
    counter: UInt64

    def extra(self) -> tuple[Data, ...]:
        """Twenty-five octets."""
        return (OctetString(self.originator + self.target + bytes((self.cra,)) + self.counter.to_bytes(8, "big")),)


@dataclass(frozen=True, slots=True)
class LoggedDevice(Checked):
    """A device of the hub's log, with the hash of its link key if there is one."""

    device: EntityId
    link_key_hash: Annotated[bytes, Size(0, 0, frozenset({16}))] = b""


@dataclass(frozen=True, slots=True)
class DeviceLogChanged(AlertValues):
    """CS14: the hub's device log, for safe keeping."""

    CODES: ClassVar = (0x0018,)

    backed_up_at: Moment
    network_id: EntityId
    devices: tuple[LoggedDevice, ...]

    def extra(self) -> tuple[Data, ...]:
        """One structure; the devices are an array, as in the published Alert."""
        devices = tuple(Structure((OctetString(each.device), OctetString(each.link_key_hash))) for each in self.devices)
        return (Structure((_time(self.backed_up_at), OctetString(self.network_id), Array(devices))),)


@dataclass(frozen=True, slots=True)
class SupplyRestored(AlertValues):
    """ECS80: when the supply failed, and when it came back."""

    CODES: ClassVar = (0x0067,)

    outage_start_at: Moment
    outage_end_at: Moment

    def extra(self) -> tuple[Data, ...]:
        """Two times."""
        return (_time(self.outage_start_at), _time(self.outage_end_at))


@dataclass(frozen=True, slots=True)
class SubGhzDevice(AlertValues):
    """DBCH06 (duty cycle), DBCH11 (no more capacity): the device it is about."""

    CODES: ClassVar = (0x0110, 0x0115)

    device: EntityId

    def extra(self) -> tuple[Data, ...]:
        """Its identifier."""
        return (OctetString(self.device),)


@dataclass(frozen=True, slots=True)
class SubGhzChannelChanged(AlertValues):
    """DBCH07: the new channel as a mask, and an octet whose meaning the reference does not tell."""

    CODES: ClassVar = (0x0111,)

    channel_mask: BitString
    octet: UInt8

    def extra(self) -> tuple[Data, ...]:
        """One structure."""
        return (Structure((self.channel_mask, _os(self.octet, 1))),)


@dataclass(frozen=True, slots=True)
class SubGhzScanAssessed(AlertValues):
    """DBCH08: two octets of outcome."""

    CODES: ClassVar = (0x0112,)

    first: UInt8
    second: UInt8

    def extra(self) -> tuple[Data, ...]:
        """One structure."""
        return (Structure((_os(self.first, 1), _os(self.second, 1))),)


@dataclass(frozen=True, slots=True)
class SubGhzConfigured(AlertValues):
    """DBCH09: the settings now in force, as ``hub.ConfigureSubGhz`` sets them."""

    CODES: ClassVar = (0x0113,)

    settings: ConfigureSubGhz

    def extra(self) -> tuple[Data, ...]:
        """One structure."""
        payload: Any = self.settings.payload(0)
        ((_, data),) = payload.items
        return (data,)


@dataclass(frozen=True, slots=True)
class CommandNotSupported(AlertValues):
    """ECS100: the Command that was refused."""

    CODES: ClassVar = (0x0120,)

    message_code: UInt16
    originator_counter: UInt64

    def extra(self) -> tuple[Data, ...]:
        """Ten octets."""
        return (OctetString(self.message_code.to_bytes(2, "big") + self.originator_counter.to_bytes(8, "big")),)


@dataclass(frozen=True, slots=True)
class ControllerLimited(AlertValues):
    """ECS101: a limit of a controller's level was taken."""

    CODES: ClassVar = (0x0121,)

    controller: UInt8
    start_at: Moment
    end_at: Moment
    level: UInt8

    def extra(self) -> tuple[Data, ...]:
        """Four values."""
        return (Unsigned(self.controller), _time(self.start_at), _time(self.end_at), Unsigned(self.level))


@dataclass(frozen=True, slots=True)
class ControllerLimitEnded(AlertValues):
    """ECS102: it ended, or was cancelled."""

    CODES: ClassVar = (0x0122,)

    controller: UInt8
    level: UInt8

    def extra(self) -> tuple[Data, ...]:
        """Two values."""
        return (Unsigned(self.controller), Unsigned(self.level))


@dataclass(frozen=True, slots=True)
class OperationalUpdate(AlertValues):
    """ECS200: a JSON object as octets of UTF-8."""

    CODES: ClassVar = (0x0123,)

    document: Annotated[bytes, Size(2, 60_000)]

    def extra(self) -> tuple[Data, ...]:
        """One string."""
        return (Utf8String(self.document),)


@dataclass(frozen=True, slots=True)
class BillingLog(AlertValues):
    """ECS68: the billing data log, encrypted (``protect.encrypt_attribute``) for the supplier."""

    CODES: ClassVar = (0x0061,)

    device: EntityId
    recipient: EntityId
    counter: UInt64
    ciphertext: Annotated[bytes, Size(17, 60_000)]

    def extra(self) -> tuple[Data, ...]:
        """Protection parameters and the octets."""
        return (Array((protection(self.counter, self.device, self.recipient),)), OctetString(self.ciphertext))


@dataclass(frozen=True, slots=True)
class GasBillingLog(AlertValues):
    """GCS53: the billing data log, in one encrypted component."""

    CODES: ClassVar = (0x008B,)

    component: Component

    def specific(self) -> AlertSpecific | None:
        """The component."""
        return self.component


ALERTS: Final = (
    Generic, FutureDatedAttribute, FutureDatedComponent, FirmwareReceived, IntegrityIssue, MessageDropped,
    DeviceLogChanged, SupplyRestored, SubGhzDevice, SubGhzChannelChanged, SubGhzScanAssessed, SubGhzConfigured,
    CommandNotSupported, ControllerLimited, ControllerLimitEnded, OperationalUpdate, BillingLog, GasBillingLog,
)  # fmt: skip

ASN1_CODES: Final[dict[type, tuple[int, ...]]] = {
    UpdateCredentialsAlert: (0x00CB, 0x0124),
    ActivateFirmwareAlert: (0x00CA,),
    FirmwareActivatedAlert: (0x012B,),
    FirmwareTransferAlert: (0x0128,),
    DeviceLogAlert: (0x00B2,),
}
"""ASN.1 Alerts are values of ``gbcs.asn1``, which carry code and time themselves."""

GBZ_FORMS: Final = frozenset({0x00CD, 0x00CF, 0x00F2, 0x008B})


@dataclass(frozen=True, slots=True)
class BuiltAlert(Built):
    """An Alert before signature and MAC."""

    WHAT: ClassVar = "Alert"


def alert(
    message_code: int,
    values: AlertValues | Asn1Alert,
    *,
    originator: bytes,
    target: bytes,
    counter: int,
    alert_code: int | None = None,
    at: int | None = None,
    zigbee: bool = False,
    supplementary: OtherInformation | None = None,
) -> BuiltAlert:
    """The Alert of a device. ``alert_code`` says what happened, ``at`` (Unix seconds) when.

    ``zigbee`` chooses the GBZ form where an Alert has both (the generic ones); an ASN.1 value has code and time inside.
    """
    row = use_case(message_code)
    codes = values.CODES if isinstance(values, AlertValues) else ASN1_CODES[type(values)]
    if row is None or row.kind is not UseCaseKind.ALERT or message_code not in codes:
        raise GbcsValueError(f"{type(values).__name__} does not hold what the Alert {message_code:04X} tells")
    other = supplementary or OtherInformation(message_code)
    if other.message_code != message_code:
        raise GbcsValueError(f"supplementary must have the message code {message_code:04X}")
    header = GroupingHeader(Cra.ALERT, counter, originator, target, other)
    signed = row.protection in {Protection.SIGNATURE, Protection.MAC_AND_SIGNATURE}
    if not isinstance(values, AlertValues):
        return BuiltAlert(header, Asn1(values), signed)
    if alert_code is None or at is None:
        raise GbcsValueError("an Alert needs alert_code and at, the time in Unix seconds")
    payload: Payload
    if zigbee or message_code in GBZ_FORMS:
        payload = GbzAlert(alert_code, zigbee_from_unix(at), values.specific())
    else:
        payload = DataNotification(counter & INVOKE_ID_MASK, alert_code, date_time_from_unix(at), values.extra())
    return BuiltAlert(header, payload, signed)
