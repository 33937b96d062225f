"""``lastmetre serve dcc``: the DSP as a process. Its settings, and how its rooms and links are put together.

Settings, in TOML (paths are taken from the working directory; ids are 16 hexadecimal digits)::

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
    permits = "dcc/permits.sqlite"       # serials of relay permits; leave it out, and none are made

    [tls]
    ca = "smki/tls/ca.pem"
    certificate = "smki/parties/dcc/tls.pem"
    key = "smki/parties/dcc/tls.key"

    [hsm]                                # where a token holds keys: those it has are taken from it
    module = "/usr/lib/softhsm/libsofthsm2.so"
    token = "lastmetre"
    pin_file = "hsm.pin"                 # leave it out to give LASTMETRE_HSM_PIN in the environment

    [[user]]
    id = "00005eef10000010"
    roles = ["IS"]
    receive_url = "https://localhost:9090/duis/v1/responses"

    [[device]]
    id = "00005eef100000a2"
    type = "CHF"
    wan = "none"                         # or "good", the default; on hubs only

    [[device]]
    id = "00005eef100000a0"
    type = "ESME"
    hub = "00005eef100000a2"
    esme_variant = "A"
    registrations = [{ role = "IS", user = "00005eef10000010" }]
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from lastmetre.cli.dcc_database import open_dsp_store
from lastmetre.cli.key_settings import HsmSettings, check_own_keys, open_keyring
from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.processes import tell_line
from lastmetre.cli.settings import EntityId, Moment, Port, TlsFiles  # noqa: TC001 - msgspec reads them
from lastmetre.dcc.dsp import Dsp
from lastmetre.dcc.egress import Waits
from lastmetre.dcc.errors import SettingsRefused
from lastmetre.dcc.inventory import (
    Device,
    DeviceStatus,
    DeviceType,
    Inventory,
    Registration,
    User,
    UserRole,
    UserStatus,
    WanCoverage,
)
from lastmetre.dcc.permits import Permits
from lastmetre.dcc.sealing import Broker
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, parse_certificate
from lastmetre.gbcs.keys import KeyUse
from lastmetre.links.duis_http import ReceiveResponseClient, create_dsp_app
from lastmetre.links.http_server import serve
from lastmetre.links.keystore import KeyStoreError
from lastmetre.links.permit_http import add_permit_route
from lastmetre.links.permit_store import PermitStoreError, SqlitePermitStore
from lastmetre.links.tls import client_context, server_context
from lastmetre.links.wan import WanGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.dcc.ports import DspStore, Users
    from lastmetre.links.keystore import Keyring

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


class DeviceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device of the inventory; a hub is its own hub."""

    id: EntityId
    type: DeviceType
    hub: EntityId | None = None
    status: DeviceStatus = DeviceStatus.COMMISSIONED
    gbcs_version: str = "4.3"
    esme_variant: str | None = None
    wan: WanCoverage = WanCoverage.GOOD
    registrations: tuple[RegistrationRow, ...] = ()


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
    wan_wait_s: Seconds = Waits().wan_wait_s
    response_wait_s: Seconds = Waits().response_wait_s
    passphrase_file: str | None = None
    database_folder: str | None = None
    database_owner_url: str | None = None
    permits: str | None = None
    """A file where the serials of relay permits are kept; without it none are made."""
    hsm: HsmSettings | None = None


async def run_dcc(settings: DccSettings, ending: asyncio.Event) -> None:
    """Run the DSP until ``ending`` is set. A fault in the way out ends the process, for its starter to see."""
    passphrase = read_passphrase(settings.passphrase_file)
    tls = settings.tls.opened_with(passphrase)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(open_dsp_store(settings))
        keyring = _keyring(settings, stack)
        users = await stack.enter_async_context(ReceiveResponseClient(client_context(*tls)))
        inventory = _inventory(settings)
        # The gateway and the DSP need each other; the DSP is there before the gateway listens.
        gateway = WanGateway(
            server_context(*tls),
            lambda hub_id, message: dsp.take_from_wan(hub_id, message),  # noqa: PLW0108
            admit=inventory.has_hub,
            on_connected=lambda hub_id: dsp.hub_connected(hub_id),  # noqa: PLW0108
            on_disconnected=lambda hub_id: dsp.hub_disconnected(hub_id),  # noqa: PLW0108
        )
        dsp = _dsp(settings, keyring, inventory, store, gateway, users)
        await gateway.start(settings.wan_host, settings.wan_port)
        stack.push_async_callback(gateway.close)
        app = create_dsp_app(dsp)
        if settings.permits is not None:
            add_permit_route(app, _permits(settings, keyring, inventory, store, stack))
        served = await stack.enter_async_context(
            serve(app, settings.duis_host, settings.duis_port, server_context(*tls))
        )
        tell_line("ready", party="dcc", duis_port=served.port, wan_port=gateway.port)
        await _until_ending(dsp, ending)


async def _until_ending(dsp: Dsp, ending: asyncio.Event) -> None:
    way_out = asyncio.create_task(dsp.egress.run())
    end = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait((way_out, end), return_when=asyncio.FIRST_COMPLETED)
    finally:
        end.cancel()
        way_out.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await way_out


def _dsp(
    settings: DccSettings, keyring: Keyring, inventory: Inventory, store: DspStore, wan: WanGateway, users: Users
) -> Dsp:
    with _problems():
        return Dsp(
            dsp_id=bytes.fromhex(settings.acb_id),
            inventory=inventory,
            keys=keyring,
            certificates=keyring,
            xml=keyring,
            issuers=_issuers(settings),
            store=store,
            wan=wan,
            users=users,
            tell=tell_line,
            clock=lambda: int(time.time()),
            waits=Waits(wan_wait_s=settings.wan_wait_s, response_wait_s=settings.response_wait_s),
        )


def _permits(
    settings: DccSettings, keyring: Keyring, inventory: Inventory, store: DspStore, stack: contextlib.AsyncExitStack
) -> Permits:
    """The maker of relay permits, beside DUIS."""
    assert settings.permits is not None
    try:
        memory = stack.enter_context(SqlitePermitStore(Path(settings.permits)))
    except PermitStoreError as error:
        raise ProblemError(str(error)) from error
    return Permits(
        broker=Broker(bytes.fromhex(settings.acb_id), keyring, keyring),
        inventory=lambda: inventory,
        commands=store,
        store=memory,
        tell=tell_line,
        clock=lambda: int(time.time()),
    )


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    """What the settings have wrong becomes one clear line."""
    try:
        yield
    except (SettingsRefused, KeyStoreError, CertificateRefused, OSError) as error:
        raise ProblemError(str(error)) from error


def _keyring(settings: DccSettings, stack: contextlib.AsyncExitStack) -> Keyring:
    keyring = open_keyring(
        stack, certificates=settings.certificates, keys=settings.keys, passphrase_file=settings.passphrase_file,
        hsm=settings.hsm,
    )  # fmt: skip
    check_own_keys(keyring, bytes.fromhex(settings.acb_id), (KeyUse.KEY_AGREEMENT, KeyUse.DIGITAL_SIGNATURE))
    return keyring


def _issuers(settings: DccSettings) -> tuple[Certificate, ...]:
    with _problems():
        return tuple(parse_certificate((Path(settings.certificates) / name).read_bytes()) for name in settings.issuers)


def _inventory(settings: DccSettings) -> Inventory:
    with _problems():
        return Inventory(map(_device, settings.device), map(_user, settings.user))


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
    )


def _registration(row: RegistrationRow) -> Registration:
    return Registration(
        role=row.role,
        user_id=bytes.fromhex(row.user),
        since_at=int(row.since.timestamp()) if row.since else 0,
        until_at=int(row.until.timestamp()) if row.until else None,
    )
