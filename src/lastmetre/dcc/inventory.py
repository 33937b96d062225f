"""The Smart Metering Inventory: which devices exist, where they hang, and who is registered for them.

Rules this module keeps (reference: duis 1.4; transform A7):

* A device is known by its entity identifier. Its type, GBCS version and variant decide which use case is built.
* Registration says which User acts for a device in which role, and since when: never the request itself.
* Every device but a hub hangs on a hub that the inventory knows; SM WAN coverage is the hub's.
* Values only: a change makes a new inventory.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from lastmetre.dcc.errors import SettingsRefused
from lastmetre.gbcs.catalogue import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

_Row = TypeVar("_Row")


class DeviceType(StrEnum):
    """The inventory's device types (duis 1.4)."""

    ESME = "ESME"
    GSME = "GSME"
    GPF = "GPF"
    CHF = "CHF"
    HCALCS = "HCALCS"
    PPMID = "PPMID"
    IHD = "IHD"
    CAD = "CAD"


class DeviceStatus(StrEnum):
    """The inventory's device statuses (duis 1.4)."""

    PENDING = "Pending"
    WHITELISTED = "Whitelisted"
    INSTALLED_NOT_COMMISSIONED = "InstalledNotCommissioned"
    COMMISSIONED = "Commissioned"
    DECOMMISSIONED = "Decommissioned"
    WITHDRAWN = "Withdrawn"
    SUSPENDED = "Suspended"
    RECOVERY = "Recovery"
    RECOVERED = "Recovered"


class UserRole(StrEnum):
    """The roles in which a User asks (duis section 4)."""

    IMPORT_SUPPLIER = "IS"
    EXPORT_SUPPLIER = "ES"
    GAS_SUPPLIER = "GS"
    ELECTRICITY_DISTRIBUTOR = "ED"
    GAS_TRANSPORTER = "GT"
    REGISTERED_SUPPLIER_AGENT = "RSA"
    OTHER_USER = "OU"


CERTIFICATE_ROLES: Final = MappingProxyType(
    {
        UserRole.IMPORT_SUPPLIER: Role.SUPPLIER,
        UserRole.EXPORT_SUPPLIER: Role.SUPPLIER,
        UserRole.GAS_SUPPLIER: Role.SUPPLIER,
        UserRole.ELECTRICITY_DISTRIBUTOR: Role.NETWORK_OPERATOR,
        UserRole.GAS_TRANSPORTER: Role.NETWORK_OPERATOR,
        UserRole.REGISTERED_SUPPLIER_AGENT: Role.OTHER,
        UserRole.OTHER_USER: Role.OTHER,
    }
)
"""Which remote party role the certificate of a User in each role has. INFERENCE from gbcs-messages 2.1."""


class UserStatus(StrEnum):
    """Whether a User may use the DCC's services at all."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class WanCoverage(StrEnum):
    """Whether the SM WAN reaches a hub's premises."""

    NONE = "none"
    GOOD = "good"


ESME_VARIANT_STARTS: Final = ("A", "B", "C")
"""Single element, twin element, polyphase; further letters name auxiliary functions (schema 5.4; INFERENCE)."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One User acts for a device in one role, from ``since_at`` until before ``until_at``."""

    role: UserRole
    user_id: bytes
    since_at: int = 0
    until_at: int | None = None

    def holds(self, at: int) -> bool:
        """Whether the registration is in force at this time."""
        return self.since_at <= at and (self.until_at is None or at < self.until_at)


@dataclass(frozen=True, slots=True)
class Device:
    """One row of the inventory. ``hub_id`` is the device's own id for a hub; ``wan_coverage`` counts for hubs only."""

    device_id: bytes
    device_type: DeviceType
    status: DeviceStatus
    gbcs_version: str
    hub_id: bytes
    registrations: tuple[Registration, ...] = ()
    esme_variant: str | None = None
    wan_coverage: WanCoverage = WanCoverage.GOOD

    def roles_of(self, user_id: bytes, at: int) -> frozenset[UserRole]:
        """In which roles this User is registered for the device at this time."""
        return frozenset(row.role for row in self.registrations if row.user_id == user_id and row.holds(at))


@dataclass(frozen=True, slots=True)
class User:
    """An organisation that may ask, the roles it has acceded in, and where it takes Responses."""

    user_id: bytes
    roles: frozenset[UserRole]
    status: UserStatus
    receive_url: str

    @property
    def certificate_roles(self) -> frozenset[Role]:
        """The remote party roles its certificates may have."""
        return frozenset(CERTIFICATE_ROLES[role] for role in self.roles)


class Inventory:
    """Devices and Users by their entity identifiers, checked against each other when made."""

    __slots__ = ("devices", "users")

    def __init__(self, devices: Iterable[Device], users: Iterable[User]) -> None:
        """Raises ``SettingsRefused`` for a row that stands twice or names a hub or User that is not there."""
        self.devices = MappingProxyType(_by_id("device", ((row.device_id, row) for row in devices)))
        self.users = MappingProxyType(_by_id("user", ((row.user_id, row) for row in users)))
        for device in self.devices.values():
            name = device.device_id.hex()
            hub = self.devices.get(device.hub_id)
            if hub is None or hub.device_type is not DeviceType.CHF:
                raise SettingsRefused(f"device {name}: its hub {device.hub_id.hex()} is no CHF of the inventory")
            if (device.device_type is DeviceType.CHF) is not (device.hub_id == device.device_id):
                raise SettingsRefused(f"device {name}: a CHF, and only a CHF, is its own hub")
            if device.esme_variant is not None and not device.esme_variant.startswith(ESME_VARIANT_STARTS):
                raise SettingsRefused(f"device {name}: an ESMEVariant starts with A, B or C")
            for row in device.registrations:
                user = self.users.get(row.user_id)
                if user is None or row.role not in user.roles:
                    raise SettingsRefused(f"device {name}: {row.user_id.hex()} is no User in the role {row.role}")

    def device(self, device_id: bytes) -> Device | None:
        """The device of this identifier, if the inventory has it."""
        return self.devices.get(device_id)

    def user(self, user_id: bytes) -> User | None:
        """The User of this identifier, if there is one."""
        return self.users.get(user_id)

    def has_hub(self, hub_id: bytes) -> bool:
        """Whether a hub of this identifier may connect."""
        hub = self.devices.get(hub_id)
        return hub is not None and hub.device_type is DeviceType.CHF

    def coverage(self, device: Device) -> WanCoverage:
        """SM WAN coverage where the device is."""
        return self.devices[device.hub_id].wan_coverage


def _by_id(kind: str, rows: Iterable[tuple[bytes, _Row]]) -> dict[bytes, _Row]:
    found: dict[bytes, _Row] = {}
    for entity_id, row in rows:
        if len(entity_id) != 8:
            raise SettingsRefused(f"{kind} {entity_id.hex()}: an entity identifier has 8 octets")
        if entity_id in found:
            raise SettingsRefused(f"{kind} {entity_id.hex()} stands twice")
        found[entity_id] = row
    return found
