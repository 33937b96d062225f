"""The Smart Metering Inventory: which devices exist, where they hang, and who is registered for them.

Rules this module keeps (reference: duis 1.4; transform A1, A7):

* A device is known by its entity identifier. Its type, GBCS version and variant decide which use case is built.
* Registration says which User acts in which role, and since when: never the request itself. It stands against the MPxN
  of a supply; a meter belongs to whoever is registered for its MPxNs, all else in the home to those of its meters. A
  row may also name a device alone, which is for tests and small worlds.
* Every device but a hub hangs on a hub that the inventory knows, or on none yet; SM WAN coverage is the hub's.
* Rows are values. The ``Inventory`` holds the present ones: those of the settings first, and over them what the store
  kept of changes by requests and Responses. A change is written to the store first, and seen here once that has ended
  well (``Pending``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from lastmetre.dcc.errors import SettingsRefused
from lastmetre.dcc.ports import DeviceRow
from lastmetre.gbcs.catalogue import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lastmetre.dcc.ports import DspChange

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
    INTERMITTENT = "intermittent"
    """At some times of day only: ``wan_model`` has the schedule."""
    GOOD = "good"


NO_HUB: Final = bytes(8)
"""The hub of a device that hangs on none."""

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


EXPORT_ROLES: Final = frozenset({UserRole.EXPORT_SUPPLIER})
NETWORK_ROLES: Final = frozenset({UserRole.ELECTRICITY_DISTRIBUTOR, UserRole.GAS_TRANSPORTER})
METER_ROLES: Final = MappingProxyType(
    {
        DeviceType.ESME: frozenset(
            {UserRole.IMPORT_SUPPLIER, UserRole.EXPORT_SUPPLIER, UserRole.ELECTRICITY_DISTRIBUTOR}
        ),
        DeviceType.GSME: frozenset({UserRole.GAS_SUPPLIER, UserRole.GAS_TRANSPORTER}),
        DeviceType.GPF: frozenset({UserRole.GAS_SUPPLIER, UserRole.GAS_TRANSPORTER}),
    }
)
"""Which roles belong to which kind of meter. A Gas Proxy Function stands for the gas meters of its home."""


@dataclass(frozen=True, slots=True)
class MpxnRegistration:
    """Who acts in which role for a supply; ``mpxn`` is an MPAN or MPRN."""

    mpxn: str
    registration: Registration


@dataclass(frozen=True, slots=True)
class Mpxns:
    """The supplies of a meter (duis 1.4, schema 5.4). A gas meter has an import MPRN alone."""

    import_mpxn: str | None = None
    secondary_import_mpan: str | None = None
    export_mpan: str | None = None

    def of_role(self, role: UserRole) -> frozenset[str]:
        """The supplies for which a registration in this role makes its User one of this meter's."""
        named = (self.export_mpan,) if role in EXPORT_ROLES else (self.import_mpxn, self.secondary_import_mpan)
        both = (*named, self.export_mpan) if role in NETWORK_ROLES else named
        return frozenset(mpxn for mpxn in both if mpxn)


@dataclass(frozen=True, slots=True)
class Device:
    """One row of the inventory. ``hub_id`` is the device's own id for a hub; ``wan_coverage`` counts for hubs only."""

    device_id: bytes
    device_type: DeviceType
    status: DeviceStatus
    gbcs_version: str
    hub_id: bytes
    """``NO_HUB``: notified before it was installed (SRV 12.2), or taken off its hub's log."""
    registrations: tuple[Registration, ...] = ()
    esme_variant: str | None = None
    wan_coverage: WanCoverage = WanCoverage.GOOD
    mpxns: Mpxns = Mpxns()
    manufacturer: str = ""
    model: str = ""
    smets_version: str | None = None
    firmware_version: str | None = None
    commissioned_on: str | None = None
    """The day, as 2026-11-23."""
    uprn: str | None = None
    post_code: str | None = None
    address_identifier: str | None = None
    csp_region: str | None = None
    joined: tuple[bytes, ...] = ()
    """Devices it has joined with (CS03)."""
    credentials: tuple[tuple[str, bytes], ...] = ()
    """Whose credentials it is known to hold, by role; empty: those of whoever is registered [I]."""
    device_log: tuple[tuple[bytes, str], ...] = ()
    """A Gas Proxy Function's log as it last said (GCS62): for GCS59."""
    hub_network: bytes | None = None
    hub_link_keys: tuple[tuple[bytes, bytes], ...] = ()
    """A hub's network and its devices' hashed link keys as it last said (CS14): for CCS03."""
    certificates: tuple[tuple[str, bytes], ...] = ()
    """Its own certificates (DER) by use, where they were replaced through the DSP (CS02d)."""
    deleted: bool = False
    """Taken out of the inventory by request (SRV 8.4): only the store remembers it."""

    def roles_of(self, user_id: bytes, at: int) -> frozenset[UserRole]:
        """In which roles a row of the device's own names this User at this time."""
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

    __slots__ = ("_by_hub", "_by_mpxn", "devices", "users")

    def __init__(
        self, devices: Iterable[Device], users: Iterable[User], registrations: Iterable[MpxnRegistration] = ()
    ) -> None:
        """Raises ``SettingsRefused`` for a row that stands twice or names a hub or User that is not there."""
        self.users = MappingProxyType(_by_id("user", ((row.user_id, row) for row in users)))
        self._by_mpxn: dict[str, tuple[Registration, ...]] = {}
        for row in registrations:
            self._check_user(f"MPxN {row.mpxn}", row.registration)
            self._by_mpxn[row.mpxn] = (*self._by_mpxn.get(row.mpxn, ()), row.registration)
        self._by_hub: dict[bytes, tuple[Device, ...]] = {}
        self.devices: Mapping[bytes, Device] = MappingProxyType({})
        self._take_rows(devices)

    def _check(self, device: Device) -> None:
        name = device.device_id.hex()
        hub = self.devices.get(device.hub_id)
        if device.hub_id != NO_HUB and (hub is None or hub.device_type is not DeviceType.CHF):
            raise SettingsRefused(f"device {name}: its hub {device.hub_id.hex()} is no CHF of the inventory")
        if (device.device_type is DeviceType.CHF) is not (device.hub_id == device.device_id):
            raise SettingsRefused(f"device {name}: a CHF, and only a CHF, is its own hub")
        if device.esme_variant is not None and not device.esme_variant.startswith(ESME_VARIANT_STARTS):
            raise SettingsRefused(f"device {name}: an ESMEVariant starts with A, B or C")
        for row in device.registrations:
            self._check_user(f"device {name}", row)

    def _check_user(self, name: str, row: Registration) -> None:
        user = self.users.get(row.user_id)
        if user is None or row.role not in user.roles:
            raise SettingsRefused(f"{name}: {row.user_id.hex()} is no User in the role {row.role}")

    def copy(self) -> Inventory:
        """One of one's own, with the same rows."""
        registrations = [MpxnRegistration(mpxn, row) for mpxn, rows in self._by_mpxn.items() for row in rows]
        return Inventory(self.devices.values(), self.users.values(), registrations)

    def take(self, devices: Iterable[Device]) -> None:
        """These devices are added, or stand in place of those with the same identifiers; deleted ones go."""
        rows = {**self.devices, **{device.device_id: device for device in devices}}
        self._take_rows(rows.values())

    def _take_rows(self, devices: Iterable[Device]) -> None:
        self.devices = MappingProxyType(_by_id("device", ((row.device_id, row) for row in devices if not row.deleted)))
        self._by_hub = {}
        for device in self.devices.values():
            self._check(device)
            if device.hub_id != NO_HUB:
                self._by_hub[device.hub_id] = (*self._by_hub.get(device.hub_id, ()), device)

    def load(self, change: DspChange) -> None:
        """Lay what the store kept over the settings; of a device in both, registrations and coverage stay theirs."""
        kept = []
        for device in map(read_device, change.devices()):
            set_ = self.devices.get(device.device_id)
            own = {} if set_ is None else {"registrations": set_.registrations, "wan_coverage": set_.wan_coverage}
            kept.append(replace(device, **own))  # type: ignore[arg-type]  # two fields of their own types
        self.take(kept)

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

    def on_hub(self, hub_id: bytes) -> tuple[Device, ...]:
        """The hub itself and every device on it."""
        return self._by_hub.get(hub_id, ())

    def with_mpxn(self, mpxn: str) -> tuple[Device, ...]:
        """The meters of a supply."""
        return tuple(
            device
            for device in self.devices.values()
            if mpxn in {device.mpxns.import_mpxn, device.mpxns.secondary_import_mpan, device.mpxns.export_mpan}
        )

    def coverage(self, device: Device) -> WanCoverage:
        """SM WAN coverage where the device is."""
        return WanCoverage.NONE if device.hub_id == NO_HUB else self.devices[device.hub_id].wan_coverage

    def registered(self, device: Device, at: int) -> tuple[Registration, ...]:
        """Every registration in force for a device at this time, whatever it stands against."""
        return tuple(row for row in self._registrations(device) if row.holds(at))

    def roles_of(self, device: Device, user_id: bytes, at: int) -> frozenset[UserRole]:
        """In which roles this User is registered for the device at this time."""
        return frozenset(row.role for row in self.registered(device, at) if row.user_id == user_id)

    def _registrations(self, device: Device) -> Iterator[Registration]:
        yield from device.registrations
        roles = METER_ROLES.get(device.device_type)
        meters = (device,) if device.device_type in METERS else self.on_hub(device.hub_id)
        for meter in meters:
            for role in METER_ROLES.get(meter.device_type, frozenset()) if meter.device_type in METERS else ():
                if roles is None or role in roles:
                    for mpxn in meter.mpxns.of_role(role):
                        yield from (row for row in self._by_mpxn.get(mpxn, ()) if row.role is role)


METERS: Final = frozenset({DeviceType.ESME, DeviceType.GSME})
"""What has an MPxN of its own."""


class Pending:
    """Changed devices, written down in a change that has not ended yet. What is read here is as changed."""

    def __init__(self, inventory: Inventory, change: DspChange) -> None:
        self._inventory = inventory
        self._change = change
        self._changed: dict[bytes, Device] = {}

    def device(self, device_id: bytes) -> Device | None:
        """As ``Inventory.device``, changes of this change included."""
        found = self._changed.get(device_id) or self._inventory.device(device_id)
        return None if found is None or found.deleted else found

    def keep(self, device: Device) -> None:
        """A device as it is now. One that the inventory could not hold is not kept: what was, stays."""
        if device != self.device(device.device_id) and self._can_be(device):
            self._changed[device.device_id] = device
            self._change.keep_device(write_device(device))

    def _can_be(self, device: Device) -> bool:
        """What ``Inventory`` asks of a row, asked before it is written down."""
        hub = device if device.hub_id == device.device_id else self.device(device.hub_id)
        on_a_hub = device.hub_id == NO_HUB or (hub is not None and hub.device_type is DeviceType.CHF)
        is_hub = device.device_type is DeviceType.CHF
        return on_a_hub and is_hub is (device.hub_id == device.device_id)

    def apply(self) -> tuple[Device, ...]:
        """The change has ended well: this is the inventory now. What changed."""
        changed = tuple(self._changed.values())
        if changed:
            self._inventory.take(changed)
        return changed


def write_device(device: Device) -> DeviceRow:
    """A device as the store keeps it."""
    return DeviceRow(device.device_id, msgspec.json.encode(device).decode())


def read_device(row: DeviceRow) -> Device:
    """A device as the store kept it."""
    return msgspec.json.decode(row.body, type=Device)


def _by_id(kind: str, rows: Iterable[tuple[bytes, _Row]]) -> dict[bytes, _Row]:
    found: dict[bytes, _Row] = {}
    for entity_id, row in rows:
        if len(entity_id) != 8:
            raise SettingsRefused(f"{kind} {entity_id.hex()}: an entity identifier has 8 octets")
        if entity_id in found:
            raise SettingsRefused(f"{kind} {entity_id.hex()} stands twice")
        found[entity_id] = row
    return found
