"""``lastmetre serve home``: a Communications Hub and its electricity meter as a process.

Settings, in TOML (paths are taken from the working directory; ids are 16 hexadecimal digits)::

    hub_id = "00005eef100000a2"
    policy = "proposed"                  # or "today"
    air_port = 17754                     # where radios of other processes send; 0 takes any, the ready event tells
    pan_id = 0x1A62
    capture = "home-a/hub.pcap"          # leave it out for none
    certificates = "smki/certificates"   # everybody's: the trust anchors are taken from it when the meter is new
    keys = "smki/parties/home-a/keys"    # the meter's own only
    passphrase_file = "smki.passphrase"  # leave it out where keys are not encrypted
    store = "home-a/esme.sqlite"

    [esme]
    id = "00005eef100000a0"
    short_address = 0x1001
    balance = -250000                    # thousandths of a penny; when the meter is new
    supply = "OFF_BY_CREDIT"             # or ON, ARMED, OFF_BY_COMMAND; when the meter is new

    [ppmid]                              # leave it out where there is none
    id = "00005eef100000a4"
    short_address = 0x4A21

    [anchors]                            # whom the meter trusts
    supplier = "00005eef10000010"
    access_control_broker = "00005eef10000002"

    [wan]                                # leave it out where there is no SM WAN
    port = 9081
    gateway_id = "00005eef10000002"

    [tls]                                # needed with [wan] only
    ca = "smki/tls/ca.pem"
    certificate = "smki/parties/home-a/tls.pem"
    key = "smki/parties/home-a/tls.key"

    [faceplate]                          # leave it out, and nobody can look or press
    token = "at least sixteen characters"
    port = 0

The faceplate does ``{"do": "display"}``, ``{"do": "press", "button": "enable-supply"}`` (the meter's own button),
``{"do": "set", "policy": "today"}`` and ``{"do": "set", "drop_repeats": false}``, and ``{"do": "hub-log"}``.

Events besides those of ``lastmetre.home``: ``ready`` (party, hub_id, air_port, faceplate_port), ``wan_up``,
``wan_down``, ``hub_set`` (policy, drop_repeats).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.processes import tell_line
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse
from lastmetre.han import Device, Event, Heard, Hub
from lastmetre.home.comms_hub import CommsHub, HubSettings, LogEntry
from lastmetre.home.esme import Esme
from lastmetre.home.hub_policy import DeviceType, Policy
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.premises import Premises, Radios
from lastmetre.home.state import MeterState
from lastmetre.home.supply import Supply
from lastmetre.links.air import LOOPBACK, Pump, open_air
from lastmetre.links.capture import Capture
from lastmetre.links.device_store import SqliteDeviceStore
from lastmetre.links.faceplate import FaceplateRefused, serve_faceplate
from lastmetre.links.keystore import Keyring, KeyStoreError
from lastmetre.links.tls import client_context
from lastmetre.links.wan import WanLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.links.faceplate import Answer, Handler

EntityId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Short = Annotated[int, msgspec.Meta(ge=1, le=0xFFF7)]
Pan = Annotated[int, msgspec.Meta(ge=0, le=0xFFFE)]


class EsmeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The electricity meter, as it is when new."""

    id: EntityId
    short_address: Short = 0x1001
    balance: int = 0
    supply: Literal["ON", "ARMED", "OFF_BY_CREDIT", "OFF_BY_COMMAND"] = "ON"


class PpmidRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The PPMID: a radio in another process."""

    id: EntityId
    short_address: Short = 0x4A21


class AnchorRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the meter trusts when new."""

    supplier: EntityId
    access_control_broker: EntityId
    network_operator: EntityId | None = None


class WanRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The way to the DSP's gateway."""

    port: Port
    gateway_id: EntityId
    host: str = LOOPBACK


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hub's identity towards the gateway."""

    ca: str
    certificate: str
    key: str


class FaceplateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The front of meter and hub, for demonstrations."""

    token: str
    port: Port = 0


class HomeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything ``serve home`` reads from its file."""

    hub_id: EntityId
    certificates: str
    keys: str
    store: str
    esme: EsmeRow
    anchors: AnchorRow
    ppmid: PpmidRow | None = None
    policy: Literal["today", "proposed"] = "proposed"
    air_port: Port = 0
    pan_id: Pan = 0x1A62
    capture: str | None = None
    wan: WanRow | None = None
    tls: TlsFiles | None = None
    faceplate: FaceplateSettings | None = None
    passphrase_file: str | None = None


async def run_home(settings: HomeSettings, ending: asyncio.Event) -> None:
    """Run one home until ``ending`` is set. A store or capture that fails ends it, for its starter to see."""
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(SqliteDeviceStore(Path(settings.store)))
        home = _Home(settings, store)
        if settings.capture is not None:
            home.capture = stack.enter_context(Capture(Path(settings.capture)))
        shorts = [settings.ppmid.short_address] if settings.ppmid else []
        air = await stack.enter_async_context(open_air(settings.air_port, shorts, home.pump.feed))
        faceplate_port = None
        if settings.faceplate is not None:
            front = settings.faceplate
            faceplate_port = await stack.enter_async_context(
                serve_faceplate(LOOPBACK, front.port, front.token, home.handlers())
            )
        tell_line("ready", party="home", hub_id=settings.hub_id, air_port=air.port, faceplate_port=faceplate_port)
        tasks = [asyncio.create_task(home.pump.run(air.send)), asyncio.create_task(ending.wait())]
        if home.wan is not None:
            tasks += [asyncio.create_task(home.wan.run()), asyncio.create_task(home.send_by_wan())]
        try:
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Home:
    """The parts of one home and the clock that drives them."""

    def __init__(self, settings: HomeSettings, store: SqliteDeviceStore) -> None:
        self.capture: Capture | None = None
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        meter_id, hub_id = bytes.fromhex(settings.esme.id), bytes.fromhex(settings.hub_id)
        shorts = {meter_id: settings.esme.short_address}
        log = [LogEntry(meter_id, DeviceType.ESME)]
        peers = {}
        if settings.ppmid is not None:
            ppmid_id = bytes.fromhex(settings.ppmid.id)
            peers = {ppmid_id: settings.ppmid.short_address}
            log.append(LogEntry(ppmid_id, DeviceType.PPMID))
        meter = Esme(
            _identity(settings),
            store,
            tell_line,
            new=MeterState(settings.esme.balance, Supply[settings.esme.supply]),
        )
        radios = Radios(
            Hub(hub_id, settings.pan_id, {**shorts, **peers}, first_counter=secrets.randbelow(256)),
            Device(
                meter_id,
                settings.esme.short_address,
                settings.pan_id,
                hub_id,
                peers,
                first_counter=secrets.randbelow(256),
            ),
        )
        hub = CommsHub(hub_id, tuple(log), HubSettings(Policy(settings.policy)), tell_line)
        self.premises = Premises(hub, meter, radios, self._out.put_nowait, tell_line)
        self.pump: Pump[Heard[Event]] = Pump(self.premises.medium, self._happened, on_turn=self._record)
        self.wan = self._wan_link(settings)

    def _happened(self, heard: Heard[Event]) -> None:
        self.premises.happened(heard, self.pump.now(), int(time.time()))

    def _record(self) -> None:
        for frame in self.premises.medium.heard():
            if self.capture is not None:
                self.capture.write(frame)

    # --- the SM WAN ---

    def _wan_link(self, settings: HomeSettings) -> WanLink | None:
        if settings.wan is None:
            return None
        if settings.tls is None:
            raise ProblemError("[wan] needs [tls]: the gateway knows a hub by its certificate")
        files = settings.tls
        context = client_context(
            Path(files.ca), Path(files.certificate), Path(files.key), read_passphrase(settings.passphrase_file)
        )
        return WanLink(
            settings.wan.host,
            settings.wan.port,
            context,
            self._from_wan,
            gateway_id=bytes.fromhex(settings.wan.gateway_id),
            on_change=self._wan_changed,
        )

    async def _from_wan(self, message: bytes) -> None:
        self.premises.from_wan(message, self.pump.now(), int(time.time()))
        self.pump.wake()

    def _wan_changed(self, connected: bool) -> None:
        if connected:
            tell_line("wan_up", hub_id=self.premises.hub.chf_id.hex())
            self.premises.wan_connected(int(time.time()))
        else:
            tell_line("wan_down", hub_id=self.premises.hub.chf_id.hex())
            self.premises.hub.wan_lost()

    async def send_by_wan(self) -> None:
        """Hand what is for the WAN to the link; what it does not take is stored by the hub."""
        assert self.wan is not None
        while True:
            message = await self._out.get()
            if not await self.wan.send(message):
                self.premises.hub.keep_for_wan(message, int(time.time()))

    # --- in front of the meter ---

    def handlers(self) -> Mapping[str, Handler]:
        """What somebody in the home can see and do."""

        async def display(_request: Mapping[str, object]) -> Answer:
            hub = self.premises.hub
            wan = "none" if self.wan is None else ("up" if self.wan.is_connected else "down")
            return {
                **self.premises.meter.display(),
                "policy": hub.settings.policy.value,
                "drop_repeats": hub.settings.drop_repeats,
                "wan": wan,
                "counters": {role.name: counter for role, counter in self.premises.meter.state.counters.ordinary},
                "utrn_cache": list(self.premises.meter.state.counters.utrn_cache),
            }

        async def press(request: Mapping[str, object]) -> Answer:
            if request.get("button") != "enable-supply":
                raise FaceplateRefused("the meter's button is: enable-supply")
            return {"done": self.premises.meter.customer_enable()}

        async def change(request: Mapping[str, object]) -> Answer:
            hub = self.premises.hub
            policy, repeats = request.get("policy"), request.get("drop_repeats")
            if policy is not None:
                if policy not in set(Policy):
                    raise FaceplateRefused(f"policy is one of: {', '.join(Policy)}")
                hub.settings.policy = Policy(str(policy))
            if isinstance(repeats, bool):
                hub.settings.drop_repeats = repeats
            tell_line(
                "hub_set",
                hub_id=hub.chf_id.hex(),
                policy=hub.settings.policy.value,
                drop_repeats=hub.settings.drop_repeats,
            )
            return {"policy": hub.settings.policy.value, "drop_repeats": hub.settings.drop_repeats}

        async def hub_log(_request: Mapping[str, object]) -> Answer:
            return {
                "log": [
                    {"at": event.at, "road": event.road, "reason": event.refusal, "message_code": event.message_code}
                    for event in self.premises.hub.log
                ]
            }

        return {"display": display, "press": press, "set": change, "hub-log": hub_log}


def _identity(settings: HomeSettings) -> DeviceIdentity:
    """The meter's keys, and the certificates it trusts when new."""
    meter_id = bytes.fromhex(settings.esme.id)
    try:
        passphrase = read_passphrase(settings.passphrase_file)
        ring = Keyring.open(certificates=Path(settings.certificates), keys=Path(settings.keys), password=passphrase)
        return DeviceIdentity(
            meter_id,
            ring.private_key(meter_id, KeyUse.DIGITAL_SIGNATURE),
            ring.private_key(meter_id, KeyUse.KEY_AGREEMENT),
            _anchors(settings.anchors, ring),
        )
    except KeyStoreError as error:
        raise ProblemError(str(error)) from error


def _anchors(row: AnchorRow, ring: Keyring) -> dict[tuple[Role, KeyUse], Certificate]:
    supplier, broker = bytes.fromhex(row.supplier), bytes.fromhex(row.access_control_broker)
    cells = {(Role.SUPPLIER, use): ring.certificate(supplier, use) for use in KeyUse}
    cells[Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT] = ring.certificate(broker, KeyUse.KEY_AGREEMENT)
    if row.network_operator is not None:
        operator = bytes.fromhex(row.network_operator)
        for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT):
            cells[Role.NETWORK_OPERATOR, use] = ring.certificate(operator, use)
    return cells
