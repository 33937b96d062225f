"""Joining and unjoining devices, and the Gas Proxy Function's log of who is joined (transform B8)."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.asn1 import (
    Asn1,
    DeviceType,
    Join,
    LogEntry,
    ReadJoinDetails,
    Unjoin,
    UpdateDeviceCertificate,
    encode_asn1,
)
from lastmetre.gbcs.asn1 import RestoreDeviceLog as RestoreLog
from lastmetre.gbcs.build.checks import Checked, EntityId
from lastmetre.gbcs.build.frame import Command, Found, Frame
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.payload import Payload

METHOD_A_METER, METHOD_A_OTHER, METHOD_B, METHOD_C = range(4)


@dataclass(frozen=True, slots=True)
class Der:
    """One whole DER sequence; what is in it is not looked into."""

    def check(self, value: bytes, where: str) -> None:
        """Raise ``GbcsValueError`` unless ``value`` is one."""
        try:
            encode_asn1(Asn1(UpdateDeviceCertificate(value)))
        except GbcsValueError:
            raise GbcsValueError(f"{where} must be a certificate as DER, and nothing else") from None


Certificate: TypeAlias = Annotated[bytes, Der()]


class _Join(Command):
    __slots__ = ()
    _METHOD: ClassVar[int]
    other_device: bytes
    other_device_type: DeviceType

    def _write(self, frame: Frame) -> Payload:
        del frame
        certificate = getattr(self, "certificate", None)
        return Asn1(Join(self._METHOD, self.other_device, self.other_device_type.value, certificate))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        join: Any = payload
        found.put("other_device", join.value.other_device)
        found.put("other_device_type", DeviceType(join.value.type))
        if join.value.certificate is not None:
            found.put("certificate", join.value.certificate)


@dataclass(frozen=True, slots=True)
class JoinMethodAByMeter(_Join):
    """CS03A1: to the meter, about a device of type 1."""

    CODES: ClassVar = (0x000D,)
    _METHOD: ClassVar = METHOD_A_METER

    other_device: EntityId
    other_device_type: DeviceType


@dataclass(frozen=True, slots=True)
class JoinMethodAByOther(_Join):
    """CS03A2: to the device of type 1, about the meter."""

    CODES: ClassVar = (0x00AB,)
    _METHOD: ClassVar = METHOD_A_OTHER

    other_device: EntityId
    other_device_type: DeviceType


@dataclass(frozen=True, slots=True)
class JoinMethodB(_Join):
    """CS03B: between a gas meter and its proxy."""

    CODES: ClassVar = (0x000E,)
    _METHOD: ClassVar = METHOD_B

    other_device: EntityId
    other_device_type: DeviceType


@dataclass(frozen=True, slots=True)
class JoinMethodC(_Join):
    """CS03C: with the other device's key agreement certificate, which one published Command (an error case) lacks."""

    CODES: ClassVar = (0x00AF,)
    _METHOD: ClassVar = METHOD_C

    other_device: EntityId
    other_device_type: DeviceType
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class UnjoinDevice(Command):
    """CS04AC (methods A and C), CS04B."""

    CODES: ClassVar = (0x000F, 0x0010)

    other_device: EntityId

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(Unjoin(self.other_device))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        unjoin: Any = payload
        found.put("other_device", unjoin.value.other_device)


@dataclass(frozen=True, slots=True)
class ReadJoins(Command):
    """CS07: which devices a device is joined to."""

    CODES: ClassVar = (0x0013,)

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(ReadJoinDetails())

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        """There is nothing to find."""


@dataclass(frozen=True, slots=True)
class JoinedDevice(Checked):
    """A device of the proxy's log."""

    device: EntityId
    device_type: DeviceType


@dataclass(frozen=True, slots=True)
class RestoreProxyLog(Command):
    """GCS59: the device log of the Gas Proxy Function that was replaced."""

    CODES: ClassVar = (0x008C,)

    log: tuple[JoinedDevice, ...]

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(RestoreLog(tuple(LogEntry(each.device, each.device_type.value) for each in self.log)))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        restore: Any = payload
        entries = restore.value.log
        found.put("log", tuple(JoinedDevice(entry.device_id, DeviceType(entry.type)) for entry in entries))


COMMANDS: Final = (
    JoinMethodAByMeter,
    JoinMethodAByOther,
    JoinMethodB,
    JoinMethodC,
    UnjoinDevice,
    ReadJoins,
    RestoreProxyLog,
)
