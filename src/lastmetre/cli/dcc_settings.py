"""The settings file of ``lastmetre serve dcc``, and the core's own values made of it.

TOML (paths are taken from the working directory; ids are 16 hexadecimal digits)::

    acb_id = "00005eef10000002"          # the ACB, which is also the DSP that signs Responses
    database = "embedded"                # or any PostgreSQL: "postgresql://ROLE:PASSWORD@HOST/DATABASE", a plain role
    database_folder = "postgres"         # of the embedded server, which a supplier's [store] may share
    # database_owner_url = "postgresql://..." # who runs the migrations of a database by URL, where we shall
    certificates = "smki/certificates"   # everybody's; issuers are looked for in it
    keys = "smki/parties/dcc/keys"       # the ACB's own only
    passphrase_file = "smki.passphrase"  # leave it out where keys are not encrypted
    issuers = ["issuing-organisations.pem"]
    duis_port = 9080                     # 0 takes any free port; the ready event tells which
    wan_port = 9081
    permits = true                       # makes relay permits too (docs/permits.md); the default is not to

    [tls]
    ca = "smki/tls/ca.pem"
    certificate = "smki/parties/dcc/tls.pem"
    key = "smki/parties/dcc/tls.key"

    [hsm]                                # where a token holds keys: those it has are taken from it
    module = "/usr/lib/softhsm/libsofthsm2.so"
    token = "lastmetre"
    pin_file = "hsm.pin"                 # leave it out to give LASTMETRE_HSM_PIN in the environment

    [waits]                              # all optional; the values are those without it
    wan_wait_s = 60                      # for a hub that is not connected, before the User is told E20
    intermittent_wait_s = 86400          # the same where the WAN reaches a hub at times only
    response_wait_s = 3600               # for a Response, before the User is told E21
    resend_after_s = 0                   # a Command that brought no Response goes again after this; 0: once only
    sends_max = 3
    tick_s = 5.0                         # how often dates, decisions and outages are looked at
    outage_after_s = 180                 # a hub away so long is an outage, of which its Users are told; 0: never
    late_max_s = 86400                   # what was due for longer, the DSP being down, is not made (E30)
    sequence_wait_s = 86400              # for the request before it in a sequence (E46)

    [[volume]]                           # anomaly thresholds: what passes one waits for a person (lastmetre dcc)
    limit = 100                          # Commands ...
    window_s = 3600                      # ... in so long; of one User, for all services unless one is named
    service = "7.3"
    user = "00005eef10000010"
    of_dcc = false                       # whose threshold it is: the DCC's, or the User's own

    [[value]]
    service = "2.2"
    element = "UTRN"                     # anywhere in the request; a UTRN counts in pence
    least = 1
    most = 20000

    [[user]]
    id = "00005eef10000010"
    roles = ["IS"]
    receive_url = "https://localhost:9090/duis/v1/responses"

    [[device]]
    id = "00005eef100000a2"
    type = "CHF"
    wan = "intermittent"                 # or "none", or "good", the default; this and the next on hubs only
    wan_windows = ["06:30-08:00"]        # UTC, where it is intermittent
    wan_latency_s = 0.5                  # and up to so much more: wan_jitter_s
    wan_loss = 0.01                      # the share of messages that never arrive, each way

    [[device]]
    id = "00005eef100000a0"
    type = "ESME"
    hub = "00005eef100000a2"
    esme_variant = "A"
    mpxn = "1312345678111"               # also secondary_mpan, export_mpan; registrations below are by these
    manufacturer = "AB01"                # also model, smets_version, firmware_version, uprn, post_code,
                                         # address_identifier, csp_region: what SRV 8.2 and 12.1 tell
    registrations = [{ role = "IS", user = "00005eef10000010" }] # of this device alone: for small worlds

    [[registration]]                     # who acts for a supply, from when until when
    mpxn = "1312345678111"
    role = "IS"
    user = "00005eef10000010"
    since = 2026-04-01T00:00:00Z
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal  # noqa: TC003 - msgspec reads it
from typing import Annotated

import msgspec

from lastmetre.cli.key_settings import HsmSettings  # noqa: TC001 - msgspec reads them
from lastmetre.cli.settings import EntityId, Moment, Port, TlsFiles  # noqa: TC001
from lastmetre.dcc.anomalies import AnomalyRules, ValueThreshold, VolumeThreshold
from lastmetre.dcc.dsp import DspOptions
from lastmetre.dcc.egress import Waits
from lastmetre.dcc.holding import HoldLimits
from lastmetre.dcc.inventory import (
    Device,
    DeviceStatus,
    DeviceType,
    Inventory,
    MpxnRegistration,
    Mpxns,
    Registration,
    User,
    UserRole,
    UserStatus,
    WanCoverage,
)
from lastmetre.dcc.outages import OutageRules
from lastmetre.dcc.wan_model import WanProfile, Window

Seconds = Annotated[int, msgspec.Meta(ge=0)]


class UserRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One User of the DCC."""

    id: EntityId
    roles: tuple[UserRole, ...]
    receive_url: str
    status: UserStatus = UserStatus.ACTIVE


class RegistrationRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who acts for a device, from when until when."""

    role: UserRole
    user: EntityId
    since: Moment | None = None
    until: Moment | None = None


class MpxnRegistrationRow(RegistrationRow, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same for everything that belongs to a supply."""

    mpxn: str


class DeviceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device of the inventory; a hub is its own hub."""

    id: EntityId
    type: DeviceType
    hub: EntityId | None = None
    status: DeviceStatus = DeviceStatus.COMMISSIONED
    gbcs_version: str = "4.3"
    esme_variant: str | None = None
    wan: WanCoverage = WanCoverage.GOOD
    wan_windows: tuple[str, ...] = ()
    wan_latency_s: float = 0.0
    wan_jitter_s: float = 0.0
    wan_loss: float = 0.0
    registrations: tuple[RegistrationRow, ...] = ()
    mpxn: str | None = None
    secondary_mpan: str | None = None
    export_mpan: str | None = None
    manufacturer: str = ""
    model: str = ""
    smets_version: str | None = None
    firmware_version: str | None = None
    uprn: str | None = None
    post_code: str | None = None
    address_identifier: str | None = None
    csp_region: str | None = None


class WaitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the way out is patient (``dcc.egress.Waits``), when absence is an outage, how long requests are held."""

    wan_wait_s: Seconds = Waits().wan_wait_s
    intermittent_wait_s: Seconds = Waits().intermittent_wait_s
    response_wait_s: Seconds = Waits().response_wait_s
    resend_after_s: Seconds = Waits().resend_after_s
    sends_max: Seconds = Waits().sends_max
    tick_s: Annotated[float, msgspec.Meta(gt=0)] = Waits().tick_s
    outage_after_s: Seconds = OutageRules().after_s or 0
    late_max_s: Seconds = HoldLimits().late_max_s
    sequence_wait_s: Seconds = HoldLimits().sequence_wait_s


class VolumeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many Commands a User may have made in a while."""

    limit: Seconds
    window_s: Seconds
    service: str | None = None
    user: EntityId | None = None
    of_dcc: bool = False
    source: str = ""


class ValueRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Between which values an element of a request may lie."""

    service: str
    element: str
    least: Decimal | None = None
    most: Decimal | None = None
    user: EntityId | None = None
    source: str = ""


class DccSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything ``serve dcc`` reads from its file."""

    acb_id: EntityId
    database: str
    certificates: str
    keys: str
    tls: TlsFiles
    user: tuple[UserRow, ...]
    device: tuple[DeviceRow, ...]
    issuers: tuple[str, ...] = ("issuing-organisations.pem",)
    duis_host: str = "127.0.0.1"
    duis_port: Port = 0
    wan_host: str = "127.0.0.1"
    wan_port: Port = 0
    waits: WaitSettings = WaitSettings()
    registration: tuple[MpxnRegistrationRow, ...] = ()
    volume: tuple[VolumeRow, ...] = ()
    value: tuple[ValueRow, ...] = ()
    change_of_supplier_id: EntityId | None = None
    """The change of supplier party, where its keys are at hand too (SRV 6.23)."""
    passphrase_file: str | None = None
    database_folder: str | None = None
    database_owner_url: str | None = None
    permits: bool = False
    """Whether relay permits are made."""
    hsm: HsmSettings | None = None
    duis_schema: str | None = None
    """A folder with the official DUIS schema: requests are validated against it too."""


def inventory_of(settings: DccSettings) -> Inventory:
    """The inventory as it is when new; raises ``SettingsRefused``."""
    by_mpxn = (MpxnRegistration(row.mpxn, _registration(row)) for row in settings.registration)
    return Inventory(map(_device, settings.device), map(_user, settings.user), by_mpxn)


def waits_of(settings: DccSettings) -> Waits:
    """How long the way out is patient."""
    given = msgspec.structs.asdict(settings.waits)
    return Waits(**{field.name: given[field.name] for field in dataclasses.fields(Waits) if field.name in given})


def options_of(settings: DccSettings) -> DspOptions:
    """Thresholds, and what else a DSP may have or leave out."""
    cos_id = settings.change_of_supplier_id
    return DspOptions(
        rules=AnomalyRules(tuple(map(_volume, settings.volume)), tuple(map(_value, settings.value))),
        limits=HoldLimits(settings.waits.late_max_s, settings.waits.sequence_wait_s),
        outages=OutageRules(settings.waits.outage_after_s or None),
        change_of_supplier_id=None if cos_id is None else bytes.fromhex(cos_id),
    )


def wan_profiles_of(settings: DccSettings) -> dict[bytes, WanProfile]:
    """How the SM WAN is at each hub; raises ``SettingsRefused``."""
    hubs = [row for row in settings.device if row.type is DeviceType.CHF]
    return {bytes.fromhex(row.id): _profile(row) for row in hubs}


def _profile(row: DeviceRow) -> WanProfile:
    windows = tuple(map(Window.parse, row.wan_windows))
    return WanProfile(row.wan, windows, row.wan_latency_s, row.wan_jitter_s, row.wan_loss)


def _volume(row: VolumeRow) -> VolumeThreshold:
    return VolumeThreshold(row.limit, row.window_s, row.service, _id(row.user), row.of_dcc, row.source)


def _value(row: ValueRow) -> ValueThreshold:
    return ValueThreshold(row.service, row.element, row.least, row.most, _id(row.user), row.source)


def _id(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _user(row: UserRow) -> User:
    return User(bytes.fromhex(row.id), frozenset(row.roles), row.status, row.receive_url)


def _device(row: DeviceRow) -> Device:
    return Device(
        device_id=bytes.fromhex(row.id),
        device_type=row.type,
        status=row.status,
        gbcs_version=row.gbcs_version,
        hub_id=bytes.fromhex(row.hub or row.id),
        registrations=tuple(map(_registration, row.registrations)),
        esme_variant=row.esme_variant,
        wan_coverage=row.wan,
        mpxns=Mpxns(row.mpxn, row.secondary_mpan, row.export_mpan),
        manufacturer=row.manufacturer,
        model=row.model,
        smets_version=row.smets_version,
        firmware_version=row.firmware_version,
        uprn=row.uprn,
        post_code=row.post_code,
        address_identifier=row.address_identifier,
        csp_region=row.csp_region,
    )


def _registration(row: RegistrationRow) -> Registration:
    return Registration(
        role=row.role,
        user_id=bytes.fromhex(row.user),
        since_at=int(row.since.timestamp()) if row.since else 0,
        until_at=int(row.until.timestamp()) if row.until else None,
    )
