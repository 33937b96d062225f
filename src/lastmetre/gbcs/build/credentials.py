"""Credentials and firmware (transform B6, B7): what a device holds, what it is to hold, what it is to run."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Final

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    KEY_USAGE_KEY_CERT_SIGN,
    ActivateFirmware,
    Asn1,
    CellId,
    CellUsage,
    CredentialsQuery,
    IssueCredentials,
    ProvideDeviceCertificate,
    ReadFirmwareVersion,
    Replacement,
    RoleCounter,
    SpecialistCounter,
    UpdateControl,
    UpdateCredentials,
    UpdateDeviceCertificate,
    UpdateMode,
)
from lastmetre.gbcs.build.checks import Checked, Counter, Size
from lastmetre.gbcs.build.frame import Command, Found, Frame
from lastmetre.gbcs.build.joining import Certificate
from lastmetre.gbcs.build.times import when_of_generalized
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.payload import Payload

FIRMWARE_HASH_SIZE: Final = 32


class KeyUsage(Enum):
    """What a key is for."""

    DIGITAL_SIGNATURE = KEY_USAGE_DIGITAL_SIGNATURE
    KEY_AGREEMENT = KEY_USAGE_KEY_AGREEMENT
    KEY_CERT_SIGN = KEY_USAGE_KEY_CERT_SIGN


# --- CS02a, CS02f: which certificates are held


@dataclass(frozen=True, slots=True)
class ReadCredentials(Command):
    """CS02a and CS02f: which certificates a device holds of these roles. ``asker``: by whose key the asker may ask."""

    CODES: ClassVar = (0x0008, 0x011B)

    roles: tuple[Role, ...]
    asker: Role = Role.ACCESS_CONTROL_BROKER
    asker_usage: KeyUsage = KeyUsage.KEY_AGREEMENT

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(CredentialsQuery(CellId(self.asker, self.asker_usage.value), tuple(map(int, self.roles))))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        query: Any = payload
        found.put("asker", Role(query.value.authorising.role))
        found.put("asker_usage", KeyUsage(query.value.authorising.key_usage))
        found.put("roles", tuple(map(Role, query.value.wanted)))


# --- CS02b, CS02g: another party's certificates


@dataclass(frozen=True, slots=True)
class NewCertificate(Checked):
    """A certificate and the cell it goes to."""

    certificate: Certificate
    role: Role
    usage: KeyUsage
    purpose: CellUsage = CellUsage.MANAGEMENT


@dataclass(frozen=True, slots=True)
class CounterFloor(Checked):
    """The lowest counter that a device will still take from a role, and from its prepayment top-ups."""

    role: Role
    floor: Counter
    top_up_floor: Counter | None = None


MODE_CODES: Final = {
    UpdateMode.ROOT_BY_SUPPLIER: 0x0100,
    UpdateMode.ROOT_BY_WAN_PROVIDER: 0x0101,
    UpdateMode.SUPPLIER_BY_SUPPLIER: 0x0102,
    UpdateMode.NETWORK_OPERATOR_BY_NETWORK_OPERATOR: 0x0103,
    UpdateMode.ACCESS_CONTROL_BROKER_BY_ACB: 0x0104,
    UpdateMode.WAN_PROVIDER_BY_WAN_PROVIDER: 0x0105,
    UpdateMode.TRANS_COS_BY_TRANS_COS: 0x0106,
    UpdateMode.SUPPLIER_BY_TRANS_COS: 0x0107,
    UpdateMode.ANY_EXCEPT_ABNORMAL_ROOT_BY_RECOVERY: 0x0108,
    UpdateMode.ANY_BY_CONTINGENCY: 0x0109,
    UpdateMode.LOAD_CONTROLLER_BY_LOAD_CONTROLLER: 0x0125,
    UpdateMode.LOAD_CONTROLLER_BY_SUPPLIER: 0x0126,
}
"""The message code of each way to replace credentials; the modes of 0x0100 and 0x0101 are deduced [I]."""

SKIP_TIME_CHECKS: Final = 1


@dataclass(frozen=True, slots=True)
class UpdateSecurityCredentials(Command):
    """CS02b, CS02g: who replaces whose certificates; the mode chooses the message code.

    ``floor`` and ``top_up_floor`` are of the party that authorises, ``other_floors`` of others. ``path`` leads from the
    new certificates to the root.
    """

    CODES: ClassVar = tuple(MODE_CODES.values())

    mode: UpdateMode
    authorised_by: Role | None
    certificates: tuple[NewCertificate, ...]
    path: tuple[Certificate, ...] = ()
    floor: Counter | None = None
    top_up_floor: Counter | None = None
    other_floors: tuple[CounterFloor, ...] | None = None
    apply_time_checks: bool = True
    plaintext_symmetric_key: Annotated[bytes, Size(1, 64)] | None = None

    @property
    def message_codes(self) -> tuple[int, ...]:
        """By the mode."""
        return (MODE_CODES[self.mode],)

    def _write(self, frame: Frame) -> Payload:
        control = UpdateControl(
            mode=self.mode,
            authorising_counter=frame.originator_counter,
            plaintext_symmetric_key=self.plaintext_symmetric_key,
            apply_time_checks=None if self.apply_time_checks else SKIP_TIME_CHECKS,
            authorising_cell=None
            if self.authorised_by is None
            else CellId(self.authorised_by, KEY_USAGE_DIGITAL_SIGNATURE),
            new_floor=self.floor,
            new_specialist_floor=_special(self.top_up_floor),
            other_changes=None
            if self.other_floors is None
            else tuple(RoleCounter(each.role, each.floor, _special(each.top_up_floor)) for each in self.other_floors),
        )
        replacements = tuple(
            Replacement(each.certificate, CellId(each.role, each.usage.value, each.purpose))
            for each in self.certificates
        )
        return Asn1(UpdateCredentials(control, replacements, self.path, frame.activation.generalized))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        asn1: Any = payload
        update: UpdateCredentials = asn1.value
        control, cell = update.control, update.control.authorising_cell
        found.put_around("originator_counter", control.authorising_counter)
        found.put_around("when", when_of_generalized(update.execution_time))
        others = control.other_changes
        found.values.update(
            mode=UpdateMode(control.mode),
            authorised_by=None if cell is None else Role(cell.role),
            certificates=tuple(_new_certificate(each) for each in update.replacements),
            path=update.path,
            floor=control.new_floor,
            top_up_floor=_top_up(control.new_specialist_floor),
            other_floors=None
            if others is None
            else tuple(CounterFloor(Role(each.role), each.floor, _top_up(each.specialist)) for each in others),
            apply_time_checks=control.apply_time_checks is None,
            plaintext_symmetric_key=control.plaintext_symmetric_key,
        )


def _special(floor: int | None) -> tuple[SpecialistCounter, ...] | None:
    return None if floor is None else (SpecialistCounter(CellUsage.MANAGEMENT, floor),)


def _top_up(counters: tuple[SpecialistCounter, ...] | None) -> int | None:
    if counters is None:
        return None
    (only,) = counters
    return only.counter


def _new_certificate(replacement: Replacement) -> NewCertificate:
    target = replacement.target
    usage = KeyUsage(target.key_usage)
    return NewCertificate(replacement.certificate, Role(target.role), usage, CellUsage(target.cell_usage))


# --- CS02c, CS02d, CS02e: the device's own certificates


@dataclass(frozen=True, slots=True)
class IssueDeviceCredentials(Command):
    """CS02c: make a key pair and ask for its certificate."""

    CODES: ClassVar = (0x000A,)

    usage: KeyUsage

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(IssueCredentials(self.usage.value))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        issue: Any = payload
        found.put("usage", KeyUsage(issue.value.key_usage))


@dataclass(frozen=True, slots=True)
class ReplaceDeviceCertificate(Command):
    """CS02d: the device's new certificate."""

    CODES: ClassVar = (0x000B,)

    certificate: Certificate

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(UpdateDeviceCertificate(self.certificate))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        update: Any = payload
        found.put("certificate", update.value.certificate)


@dataclass(frozen=True, slots=True)
class ReadDeviceCertificate(Command):
    """CS02e."""

    CODES: ClassVar = (0x000C,)

    usage: KeyUsage

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(ProvideDeviceCertificate(self.usage.value))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        provide: Any = payload
        found.put("usage", KeyUsage(provide.value.key_usage))


# --- CS06, CS08: firmware


@dataclass(frozen=True, slots=True)
class ActivateFirmwareImage(Command):
    """CS06: run the image with this SHA-256."""

    CODES: ClassVar = (0x0012,)

    image_hash: Annotated[bytes, Size(FIRMWARE_HASH_SIZE, FIRMWARE_HASH_SIZE)]

    def _write(self, frame: Frame) -> Payload:
        return Asn1(ActivateFirmware(self.image_hash, frame.originator_counter, frame.activation.generalized))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        activate: Any = payload
        found.put("image_hash", activate.value.image_hash)
        found.put_around("originator_counter", activate.value.counter)
        found.put_around("when", when_of_generalized(activate.value.execution_time))


@dataclass(frozen=True, slots=True)
class ReadDeviceFirmwareVersion(Command):
    """CS08: of a PPMID or an HCALCS."""

    CODES: ClassVar = (0x0129,)

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(ReadFirmwareVersion())

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        """There is nothing to find."""


COMMANDS: Final = (
    ReadCredentials,
    UpdateSecurityCredentials,
    IssueDeviceCredentials,
    ReplaceDeviceCertificate,
    ReadDeviceCertificate,
    ActivateFirmwareImage,
    ReadDeviceFirmwareVersion,
)
