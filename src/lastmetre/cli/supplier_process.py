"""``lastmetre serve supplier``: the delivery service as a process. Its settings, and how its parts fit together.

Settings, in TOML (paths are taken from the working directory; ids are 16 hexadecimal digits)::

    entity_id = "00005eef10000010"       # the Business Originator of every Command
    dsp_id = "00005eef10000002"          # who signs what comes from the DCC
    certificates = "smki/certificates"   # everybody's
    keys = "smki/parties/supplier/keys"  # the supplier's own only
    passphrase_file = "smki.passphrase"  # leave it out where keys are not encrypted

    # [hsm]                              # where a token holds keys, as in the DSP's settings (docs/dcc.md)

    [store]                              # the embedded PostgreSQL in a folder of ours ...
    folder = "supplier/postgres"
    # owner_url = "postgresql://..."     # ... or any PostgreSQL: its owner runs migrations,
    # application_url = "postgresql://..." # a plain role does everything else

    [api]
    port = 8000                          # 0, the default of every port, takes any; the ready event tells which
    token = "..."

    [tls]
    ca = "smki/tls/ca.pem"
    certificate = "smki/parties/supplier/tls.pem"
    key = "smki/parties/supplier/tls.key"

    [relay]                              # apart from every other key; never the SMKI signing key (docs/relay.md)
    key = "smki/parties/supplier/relay.key"
    certificates = "smki/relay"          # the agents', each as <its entity id>.pem

    [duis]
    url = "https://localhost:9080"       # the DSP's services
    receive_port = 9090                  # our Receive Response

    [bearer]
    kind = "https"                       # agents poll us; or "mqtt"
    port = 9443                          # https: where we listen; mqtt: the broker's port
    # host = "127.0.0.1"                 # mqtt: the broker's name
    # [bearer.also]                      # the other kind beside it, for agents that move between them

    [[device]]
    device_id = "00005eef100000a0"
    hub_id = "00005eef100000a2"
    agent_id = "00005eef100000a4"        # the PPMID whose agent carries Commands; leave out where there is none
    wan = "none"                         # or "down", or "good"
    type = "ESME"                        # the default
    gbcs_version = "4.3"                 # the default
    permits = false                      # true where the hub wants relay permits (its policy is "permit")

    [policy]                             # all optional
    file = "roads.toml"                  # see lastmetre policy check; these count more than what it says
    redeliver_after_s = 5
    resend_after_s = 5
    resend_max_s = 300
    return_responses = true
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import random
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import httpx
import msgspec
from psycopg.conninfo import conninfo_to_dict

from lastmetre.cli.key_settings import HsmSettings  # noqa: TC001 - msgspec reads it
from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.processes import tell_line
from lastmetre.cli.settings import LOOPBACK, EntityId, Port, TlsFiles
from lastmetre.cli.supplier_roles import ALL, die_with_starter, end_with_starter, ports_before, run_parts
from lastmetre.links.bearer_https import create_bearer_app
from lastmetre.links.counter_marks import CounterMarksError, FileMarks
from lastmetre.links.counter_service import CounterService
from lastmetre.links.duis_http import DspClient, DuisLinkError, DuisRefused, create_receive_response_app
from lastmetre.links.duis_schema import violations_by
from lastmetre.links.http_server import serve
from lastmetre.links.keystore import Keyring, KeyStoreError
from lastmetre.links.order_store import open_store, prepare_schema
from lastmetre.links.permit_http import PermitClient
from lastmetre.links.postgres import DatabaseUrls, EmbeddedPostgres
from lastmetre.links.queue_pg import open_queue, prepare_queue
from lastmetre.links.relay_cose import RelayKeyError, SealedOutbox, SupplierSide, load_agents, load_relay_key
from lastmetre.links.supplier_api import create_supplier_api
from lastmetre.links.tls import client_context, server_context
from lastmetre.supplier.clock import AHEAD_MAX_S, SteadyClock, check_start
from lastmetre.supplier.counter_marks import Counters, open_counters
from lastmetre.supplier.delivery import Delivery
from lastmetre.supplier.desk import OrderDesk
from lastmetre.supplier.errors import (
    ClockBehind,
    CountersBehind,
    DspUnreachable,
    DspWillNotRead,
    PolicyRefused,
    SupplierError,
)
from lastmetre.supplier.keys import SupplierKeys
from lastmetre.supplier.permits import PermitDesk
from lastmetre.supplier.policy import default_policy, read_policy
from lastmetre.supplier.roads import Device, RoadPolicy, WanCoverage
from lastmetre.supplier.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from typing import Any

    from lastmetre.links.order_store import PostgresOrderStore
    from lastmetre.links.queue_pg import PgQueue

Seconds = Annotated[int, msgspec.Meta(ge=1)]
Token = Annotated[str, msgspec.Meta(min_length=16)]


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the orders are kept: a folder for the embedded server, or two URLs."""

    folder: str | None = None
    owner_url: str | None = None
    application_url: str | None = None


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The API; its token is shown by every caller."""

    token: Token
    host: str = LOOPBACK
    port: Port = 0


class RelaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The supplier's relay key, and the folder of the agents' relay certificates."""

    key: str
    certificates: str


class DuisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The DSP's services, and our Receive Response."""

    url: str
    receive_host: str = LOOPBACK
    receive_port: Port = 0
    duis_schema: str | None = None
    """A folder with the official DUIS schema: what the DSP sends is validated against it too."""


class BearerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the PPMIDs' agents reach us."""

    kind: Literal["https", "mqtt"] = "https"
    host: str = LOOPBACK
    port: Port = 0
    also: BearerSettings | None = None


class DeviceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device, and what leads to it."""

    device_id: EntityId
    hub_id: EntityId
    wan: WanCoverage
    agent_id: EntityId | None = None
    type: str = "ESME"
    gbcs_version: str = "4.3"
    priority_services: bool = False
    vendor: str = ""
    mpxn: Annotated[str, msgspec.Meta(pattern="^([0-9]{6,13})?$")] = ""
    """The supply point it measures, by which orders may name it."""
    permits: bool = False
    """Whether its hub wants relay permits (policy ``permit``)."""


class PolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How roads are used: a policy file (``lastmetre policy check``), and single settings that count more."""

    file: str | None = None
    redeliver_after_s: Seconds | None = None
    resend_after_s: Seconds | None = None
    resend_max_s: Seconds | None = None
    return_responses: bool | None = None


class SupplierSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything ``serve supplier`` reads from its file."""

    entity_id: EntityId
    dsp_id: EntityId
    certificates: str
    keys: str
    store: StoreSettings
    api: ApiSettings
    tls: TlsFiles
    relay: RelaySettings
    duis: DuisSettings
    device: tuple[DeviceRow, ...]
    bearer: BearerSettings = BearerSettings()
    policy: PolicySettings = PolicySettings()
    passphrase_file: str | None = None
    hsm: HsmSettings | None = None
    clock_ahead_max_s: int = AHEAD_MAX_S
    counter_marks: str | None = None
    """A file that no restore of the database reaches: how far counters were given out."""
    counters_resynchronised: bool = False
    counter_service: str | None = None
    """Another head-end's service that gives out counters (``links.counter_service``), instead of counting here."""


COUNTER_TIMEOUT_S = 5.0


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """UTC, milliseconds since 1970."""
        return time.time_ns() // 1_000_000


class Dsp:
    """``supplier.ports.DspPort`` over HTTPS: the link's errors in the supplier's words."""

    def __init__(self, client: DspClient) -> None:
        self._client = client

    async def transform(self, xml: bytes) -> bytes:
        """Command Variant 4."""
        return await self._ask(self._client.transform, xml)

    async def send_command(self, xml: bytes) -> bytes:
        """Command Variants 1, 3, 5 and 7."""
        return await self._ask(self._client.send_command, xml)

    async def non_device(self, xml: bytes) -> bytes:
        """Command Variants 2, 6 and 8."""
        return await self._ask(self._client.non_device, xml)

    async def _ask(self, service: Callable[[bytes], Awaitable[bytes]], xml: bytes) -> bytes:
        try:
            return await service(xml)
        except DuisLinkError as error:
            raise DspUnreachable(str(error)) from error
        except DuisRefused as error:
            raise DspWillNotRead(str(error)) from error


async def run_supplier(
    settings: SupplierSettings, ending: asyncio.Event, *, role: str = ALL, config: Path | None = None
) -> None:
    """Run the delivery service, or one part of it, until ``ending`` is set; a fault ends it, for its starter to see."""
    if role == ALL:
        assert config is not None, "the parts read the settings themselves"
        _keys(settings), _devices(settings), _policy(settings.policy)  # what is wrong is said once, before they start
        await run_parts(config, ending)
        return
    async with contextlib.AsyncExitStack() as stack:
        part = await _open_part(settings, stack)
        die_with_starter()
        running = [end_with_starter(ending)]
        facts = await (_api_part if role == "api" else _worker_part)(settings, part, stack, running)
        tell_line("ready", party="supplier", role=role, pid=os.getpid(), **facts)
        await _until_ending(running, ending)


@dataclass(frozen=True, slots=True)
class _Part:
    """What every part of the service needs."""

    store: PostgresOrderStore
    queue: PgQueue
    counters: Counters
    clock: SteadyClock
    keys: SupplierKeys
    devices: dict[bytes, Device]
    policy: RoadPolicy
    tls: tuple[Path, Path, Path, bytes | None]

    @property
    def common(self) -> dict[str, Any]:
        """What desk, delivery and worker take by the same names."""
        return {
            "store": self.store, "keys": self.keys, "devices": self.devices, "clock": self.clock,
            "policy": self.policy, "tell": tell_line,
        }  # fmt: skip


async def _open_part(settings: SupplierSettings, stack: contextlib.AsyncExitStack) -> _Part:
    tls = settings.tls.opened_with(read_passphrase(settings.passphrase_file))
    keys, devices, policy = _keys(settings), _devices(settings), _policy(settings.policy)
    store, queue = await stack.enter_async_context(_store(settings.store))
    clock = await _steady_clock(store, settings.clock_ahead_max_s)
    counters = await _counters(settings, store, stack)
    return _Part(store, queue, counters, clock, keys, devices, policy, tls)


async def _api_part(
    settings: SupplierSettings,
    part: _Part,
    stack: contextlib.AsyncExitStack,
    running: list[Coroutine[Any, Any, None]],
) -> dict[str, int]:
    """Everything that others call: the API, Receive Response, the agents' bearer."""
    wanted = any(device.permits for device in part.devices.values())
    permits = await _permits(settings, part.tls, stack) if wanted else None
    delivery = Delivery(permits=permits, **part.common)
    desk = OrderDesk(new_id=lambda: uuid.uuid4().hex, counters=part.counters, **part.common)
    before = ports_before()
    api = create_supplier_api(desk, settings.api.token)
    api_port = before.get("api_port", settings.api.port)
    served_api = await stack.enter_async_context(serve(api, settings.api.host, api_port, None))
    duis = settings.duis
    receive = create_receive_response_app(delivery.receive_response, violations_by(duis.duis_schema))
    receive_port = before.get("receive_port", duis.receive_port)
    served_duis = await stack.enter_async_context(
        serve(receive, duis.receive_host, receive_port, server_context(*part.tls))
    )
    bearer_port = await _bearer(settings, delivery, part.tls, stack, running)
    return {"api_port": served_api.port, "receive_port": served_duis.port, "bearer_port": bearer_port}


async def _worker_part(
    settings: SupplierSettings,
    part: _Part,
    stack: contextlib.AsyncExitStack,
    running: list[Coroutine[Any, Any, None]],
) -> dict[str, int]:
    """What moves orders on: as many of these as the load wants, on any machine that reaches the database."""
    client = await stack.enter_async_context(DspClient(settings.duis.url, client_context(*part.tls)))
    worker = Worker(dsp=Dsp(client), counters=part.counters, random=random.random, **part.common)
    worker.attach(part.queue)
    running.append(part.queue.run())
    return {}


def _policy(settings: PolicySettings) -> RoadPolicy:
    """The policy file's, or the one that comes along; single settings beside it count more."""
    try:
        policy = default_policy() if settings.file is None else read_policy(Path(settings.file).read_text("utf-8"))
    except OSError as error:
        raise ProblemError(f"cannot read the road policy {settings.file}: {error.strerror}") from error
    except PolicyRefused as error:
        raise ProblemError(f"the road policy {settings.file} is not taken: {error}") from error
    single = {name: value for name, value in msgspec.structs.asdict(settings).items() if name != "file"}
    return replace(policy, **{name: value for name, value in single.items() if value is not None})


async def _permits(
    settings: SupplierSettings, tls: tuple[Path, Path, Path, bytes | None], stack: contextlib.AsyncExitStack
) -> PermitDesk:
    """The way to relay permits: the DSP's, beside DUIS."""
    client = await stack.enter_async_context(PermitClient(settings.duis.url, client_context(*tls)))
    return PermitDesk(client, bytes.fromhex(settings.entity_id))


async def _counters(
    settings: SupplierSettings, store: PostgresOrderStore, stack: contextlib.AsyncExitStack
) -> Counters:
    """The store's own counters, those with marks outside it, or another head-end's."""
    if settings.counter_service is not None and settings.counter_marks is not None:
        raise ProblemError("counters come from counter_service or have counter_marks, not both: two would count apart")
    if settings.counter_service is not None:
        context = client_context(*settings.tls.opened_with(read_passphrase(settings.passphrase_file)))
        client = await stack.enter_async_context(httpx.AsyncClient(verify=context, timeout=COUNTER_TIMEOUT_S))
        return CounterService(client, settings.counter_service, bytes.fromhex(settings.entity_id), store)
    if settings.counter_marks is None:
        return store
    try:
        marks = stack.enter_context(FileMarks(Path(settings.counter_marks)))
        return await open_counters(store, marks, resynchronised=settings.counters_resynchronised)
    except (CounterMarksError, CountersBehind) as error:
        raise ProblemError(str(error)) from error


async def _steady_clock(store: PostgresOrderStore, ahead_max_s: int) -> SteadyClock:
    """The time of day, which never goes back behind what the store has seen."""
    wall, newest_at = SystemClock(), await store.newest_at()
    try:
        check_start(wall, newest_at, ahead_max_s)
    except ClockBehind as error:
        raise ProblemError(str(error)) from error
    return SteadyClock(wall, time.monotonic, newest_at)


async def _bearer(
    settings: SupplierSettings,
    delivery: Delivery,
    tls: tuple[Path, Path, Path, bytes | None],
    stack: contextlib.AsyncExitStack,
    running: list[Coroutine[Any, Any, None]],
) -> int:
    """Opens the ways to the agents; the port of the first, ours or the broker's."""
    agents = sorted({bytes.fromhex(row.agent_id) for row in settings.device if row.agent_id is not None})
    outbox = SealedOutbox(delivery, _relay_side(settings, agents), tell_line)
    ports: list[int] = []
    bearer: BearerSettings | None = settings.bearer
    while bearer is not None:
        if bearer.kind == "https":
            app = create_bearer_app(outbox)
            port = bearer.port if ports else ports_before().get("bearer_port", bearer.port)
            served = await stack.enter_async_context(serve(app, bearer.host, port, server_context(*tls)))
            ports.append(served.port)
        else:
            from lastmetre.links.bearer_mqtt import MqttHeadEnd

            us, context = bytes.fromhex(settings.entity_id), client_context(*tls)
            head_end = MqttHeadEnd(bearer.host, bearer.port, context, us, outbox, agents, random.random)
            running.append(head_end.run())
            ports.append(bearer.port)
        bearer = bearer.also
    return ports[0]


def _relay_side(settings: SupplierSettings, agents: list[bytes]) -> SupplierSide:
    """The keys of the relay protocol. An agent without a certificate is told of when it asks."""
    relay, ca = settings.relay, Path(settings.tls.ca)
    try:
        key = load_relay_key(Path(relay.key), read_passphrase(settings.passphrase_file))
        known = load_agents(Path(relay.certificates), ca, agents, dt.datetime.now(dt.UTC))
    except RelayKeyError as error:
        raise ProblemError(str(error)) from error
    return SupplierSide(bytes.fromhex(settings.entity_id), key, known)


async def _until_ending(running: list[Coroutine[Any, Any, None]], ending: asyncio.Event) -> None:
    tasks = [asyncio.create_task(work) for work in running]
    end = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait((*tasks, end), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*tasks, end):
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def _store(settings: StoreSettings) -> AsyncIterator[tuple[PostgresOrderStore, PgQueue]]:
    """The store and its queue, their schemas up to date. An embedded server stops with the last who uses it."""
    server = None
    if settings.folder is not None and settings.owner_url is None and settings.application_url is None:
        server = EmbeddedPostgres(Path(settings.folder))
        urls = await asyncio.to_thread(server.start)
    elif settings.folder is None and settings.owner_url is not None and settings.application_url is not None:
        urls = DatabaseUrls(settings.owner_url, settings.application_url)
    else:
        raise ProblemError("[store] needs either folder, or owner_url and application_url")
    try:
        role = conninfo_to_dict(urls.application).get("user")
        if not role:
            raise ProblemError("[store] application_url must name its role: postgresql://ROLE:PASSWORD@HOST/DATABASE")
        await asyncio.to_thread(prepare_schema, urls.owner, str(role))
        await asyncio.to_thread(prepare_queue, urls.owner, str(role))
        async with open_queue(urls.application) as queue, open_store(urls.application, queue) as store:
            yield store, queue
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)


def _keys(settings: SupplierSettings) -> SupplierKeys:
    try:
        passphrase = read_passphrase(settings.passphrase_file)
        token = None if settings.hsm is None else settings.hsm.open()  # for as long as the process lives
        keyring = Keyring.open(
            certificates=Path(settings.certificates), keys=Path(settings.keys), password=passphrase, token=token
        )
        keys = SupplierKeys(
            bytes.fromhex(settings.entity_id), bytes.fromhex(settings.dsp_id), keyring, keyring, keyring
        )
        keys.check()
    except (KeyStoreError, SupplierError) as error:
        raise ProblemError(str(error)) from error
    return keys


def _devices(settings: SupplierSettings) -> dict[bytes, Device]:
    devices = {}
    for row in settings.device:
        device_id = bytes.fromhex(row.device_id)
        if device_id in devices:
            raise ProblemError(f"device {row.device_id} stands twice in the settings")
        devices[device_id] = Device(
            device_id=device_id,
            hub_id=bytes.fromhex(row.hub_id),
            wan=row.wan,
            agent_id=None if row.agent_id is None else bytes.fromhex(row.agent_id),
            device_type=row.type,
            gbcs_version=row.gbcs_version,
            priority_services=row.priority_services,
            vendor=row.vendor,
            mpxn=row.mpxn,
            permits=row.permits,
        )
    return devices
