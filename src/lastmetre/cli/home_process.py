"""``lastmetre serve home``: a Communications Hub and its meters as a process.

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
    hub_store = "home-a/hub.sqlite"      # what the hub keeps through a power cut; leave it out for nothing

    [esme]
    id = "00005eef100000a0"
    short_address = 0x1001
    balance = -250000                    # thousandths of a penny; when the meter is new
    supply = "OFF_BY_CREDIT"             # or ON, ARMED, OFF_BY_COMMAND; when the meter is new

    [ppmid]                              # leave it out where there is none
    id = "00005eef100000a4"
    short_address = 0x4A21

    [gsme]                               # leave it out where there is no gas
    id = "00005eef100000a1"
    short_address = 0x9D03
    store = "home-a/gsme.sqlite"
    balance = 1000000                    # thousandths of a penny; when the meter is new
    mode = "prepayment"                  # or "credit"; when the meter is new
    valve = "ON"                         # or ARMED, OFF_BY_CREDIT, OFF_BY_COMMAND; when the meter is new
    proxy_id = "00005eef100000a3"        # the gas proxy in the hub; leave it out for none
    proxy_store = "home-a/gpf.sqlite"

    [chf]                                # the hub's own function: Device Log, CCS01 to CCS07, HHT; needs the hub's keys
    store = "home-a/chf.sqlite"

    [anchors]                            # whom the meters trust
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

The faceplate does ``{"do": "display"}``, ``{"do": "press", "button": ...}`` with the meters' own buttons
``enable-supply``, ``emergency-credit``, ``open-gas-valve``, ``gas-emergency-credit`` and ``wake-gas-meter``,
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
from typing import TYPE_CHECKING, Literal

import msgspec

from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.processes import tell_line
from lastmetre.cli.settings import EntityId, Pan, Port, Short, TlsFiles  # noqa: TC001 - msgspec reads them
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse
from lastmetre.han import Device, Event, Heard, Hub, SleepyDevice
from lastmetre.home.chf import Chf, ChfState, Listed, link_key_hash
from lastmetre.home.comms_hub import CommsHub, HubSettings, LogEntry
from lastmetre.home.esme import Esme
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState, Valve
from lastmetre.home.gpf import Gpf
from lastmetre.home.hht import HhtDesk
from lastmetre.home.hub_policy import DeviceType, Policy
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.premises import Gas, Neighbour, Parts, Premises, Radios
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
    from collections.abc import Callable, Mapping

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.home.ports import DeviceStore
    from lastmetre.links.faceplate import Answer, Handler

TICK_S = 10.0
"""How often the home looks at the time."""
PREPAYMENT_MODE = 0x0097


class EsmeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The electricity meter, as it is when new."""

    id: EntityId
    short_address: Short = 0x1001
    balance: int = 0
    supply: Literal["ON", "ARMED", "OFF_BY_CREDIT", "OFF_BY_COMMAND"] = "ON"


class GsmeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gas meter, as it is when new, and its proxy in the hub."""

    id: EntityId
    store: str
    short_address: Short = 0x9D03
    balance: int = 0
    mode: Literal["prepayment", "credit"] = "credit"
    valve: Literal["ON", "ARMED", "OFF_BY_CREDIT", "OFF_BY_COMMAND"] = "ON"
    proxy_id: EntityId | None = None
    proxy_store: str | None = None


class ChfRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hub's own function."""

    store: str


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
    gsme: GsmeRow | None = None
    chf: ChfRow | None = None
    hub_store: str | None = None
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
        home = _Home(settings, lambda path: stack.enter_context(SqliteDeviceStore(Path(path))))
        stack.callback(home.premises.meter.save)
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
        tasks = [
            asyncio.create_task(home.pump.run(air.send)),
            asyncio.create_task(ending.wait()),
            asyncio.create_task(home.let_time_pass()),
        ]
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

    def __init__(self, settings: HomeSettings, open_store: Callable[[str], DeviceStore]) -> None:
        self.capture: Capture | None = None
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._ring = _open_ring(settings)
        self._settings = settings
        hub_id = bytes.fromhex(settings.hub_id)
        neighbours = _neighbours(settings)
        meter_id = bytes.fromhex(settings.esme.id)
        meter = Esme(
            self._identity(meter_id),
            open_store(settings.store),
            tell_line,
            new=MeterState(settings.esme.balance, Supply[settings.esme.supply]),
        )
        shorts = {device_id: neighbour.short_address for device_id, neighbour in neighbours.items()}
        peers = {
            device_id: short
            for device_id, short in shorts.items()
            if neighbours[device_id].device_type is DeviceType.PPMID
        }
        gas_ids = [bytes.fromhex(settings.gsme.id)] if settings.gsme is not None else []
        radios = Radios(
            Hub(hub_id, settings.pan_id, shorts, first_counter=secrets.randbelow(256), gas=gas_ids),
            Device(meter_id, shorts[meter_id], settings.pan_id, hub_id, peers, first_counter=secrets.randbelow(256)),
        )
        log = tuple(LogEntry(device_id, neighbour.device_type) for device_id, neighbour in neighbours.items())
        hub_memory = open_store(settings.hub_store) if settings.hub_store is not None else None
        parts = self._parts(open_store, neighbours)
        if parts.gpf is not None:
            log = (*log, LogEntry(parts.gpf.entity_id, DeviceType.GPF))
        hub = CommsHub(hub_id, log, HubSettings(Policy(settings.policy)), tell_line, hub_memory)
        self.premises = Premises(hub, meter, radios, self._out.put_nowait, tell_line, parts)
        self.pump: Pump[Heard[Event]] = Pump(self.premises.medium, self._happened, on_turn=self._record)
        self.wan = self._wan_link(settings)

    def _parts(self, open_store: Callable[[str], DeviceStore], neighbours: dict[bytes, Neighbour]) -> Parts:
        """The gas meter, the proxy and the hub's own function, as far as the settings name them."""
        settings = self._settings
        hub_id = bytes.fromhex(settings.hub_id)
        chf = None
        if settings.chf is not None:
            now = int(time.time())
            log = tuple(
                Listed(device_id, neighbour.device_type, link_key_hash(device_id, neighbour.key), now)
                for device_id, neighbour in neighbours.items()
            )
            chf = Chf(
                self._identity(hub_id, (Role.ACCESS_CONTROL_BROKER,)),
                open_store(settings.chf.store),
                tell_line,
                new=ChfState(log, changed_at=now, extended_pan_id=hub_id),
            )
        desk = HhtDesk(chf, time.monotonic()) if chf is not None else None
        row = settings.gsme
        if row is None:
            return Parts(chf=chf, neighbours=neighbours, desk=desk)
        gsme_id = bytes.fromhex(row.id)
        mode = PREPAYMENT_MODE if row.mode == "prepayment" else zcl.CREDIT_MODE
        new = GasState(Valve[row.valve], attributes={zcl.CREDIT: row.balance, zcl.CONFIGURATION: mode})
        gsme = Gsme(self._identity(gsme_id), open_store(row.store), tell_line, new=new, partners=self._partners())
        radio = SleepyDevice(
            gsme_id,
            row.short_address,
            settings.pan_id,
            hub_id,
            first_counter=secrets.randbelow(256),
            reports=gsme.reports,
        )
        gpf = None
        if row.proxy_id is not None and row.proxy_store is not None:
            gpf = Gpf(
                self._identity(bytes.fromhex(row.proxy_id)),
                open_store(row.proxy_store),
                tell_line,
                new=GasState(),
                gsme_id=gsme_id,
                gsme_signing=self._certificate(gsme_id, KeyUse.DIGITAL_SIGNATURE),
            )
        return Parts(Gas(gsme, radio), chf, gpf, neighbours, desk)

    def _identity(self, device_id: bytes, roles: tuple[Role, ...] | None = None) -> DeviceIdentity:
        """A device's keys, and the certificates it trusts when new: all of them, or those of some roles."""
        try:
            anchors = _anchors(self._settings.anchors, self._ring)
            return DeviceIdentity(
                device_id,
                self._ring.private_key(device_id, KeyUse.DIGITAL_SIGNATURE),
                self._ring.private_key(device_id, KeyUse.KEY_AGREEMENT),
                {cell: anchor for cell, anchor in anchors.items() if roles is None or cell[0] in roles},
            )
        except KeyStoreError as error:
            raise ProblemError(str(error)) from error

    def _certificate(self, device_id: bytes, use: KeyUse) -> Certificate:
        try:
            return self._ring.certificate(device_id, use)
        except KeyStoreError as error:
            raise ProblemError(str(error)) from error

    def _partners(self) -> dict[bytes, Certificate]:
        """Whom the gas meter was joined with: the PPMID, by its key agreement certificate."""
        if self._settings.ppmid is None:
            return {}
        ppmid_id = bytes.fromhex(self._settings.ppmid.id)
        return {ppmid_id: self._certificate(ppmid_id, KeyUse.KEY_AGREEMENT)}

    async def let_time_pass(self) -> None:
        """Minutes for meters and hub: what is due happens though nothing arrives."""
        while True:
            self.premises.tick(self.pump.now(), int(time.time()))
            self.pump.wake()
            await asyncio.sleep(TICK_S)

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
            parts = self.premises.parts
            return {
                **self.premises.meter.display(),
                "gas": parts.gas.meter.display() if parts.gas is not None else None,
                "gas_copy": parts.gpf.display() if parts.gpf is not None else None,
                "policy": hub.settings.policy.value,
                "drop_repeats": hub.settings.drop_repeats,
                "wan": wan,
                "counters": {role.name: counter for role, counter in self.premises.meter.state.counters.ordinary},
                "utrn_cache": list(self.premises.meter.state.counters.utrn_cache),
            }

        async def press(request: Mapping[str, object]) -> Answer:
            button = request.get("button")
            if button == "enable-supply":
                return {"done": self.premises.meter.customer_enable()}
            if button == "emergency-credit":
                return {"done": self.premises.meter.customer_emergency_credit()}
            gas, now = self.premises.parts.gas, int(time.time())
            if gas is not None and button == "open-gas-valve":
                return {"done": gas.meter.customer_open(now)}
            if gas is not None and button == "gas-emergency-credit":
                return {"done": gas.meter.customer_emergency_credit(now)}
            if gas is not None and button == "wake-gas-meter":
                gas.radio.wake(self.pump.now())
                self.pump.wake()
                return {"done": True}
            raise FaceplateRefused("the meters' buttons are: enable-supply, emergency-credit, open-gas-valve, "
                                   "gas-emergency-credit, wake-gas-meter")  # fmt: skip

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


def _open_ring(settings: HomeSettings) -> Keyring:
    try:
        passphrase = read_passphrase(settings.passphrase_file)
        return Keyring.open(certificates=Path(settings.certificates), keys=Path(settings.keys), password=passphrase)
    except KeyStoreError as error:
        raise ProblemError(str(error)) from error


def _neighbours(settings: HomeSettings) -> dict[bytes, Neighbour]:
    """Every radio within reach of the hub. Their link keys are provisioned: made from their ids (DESIGN CHOICE)."""
    rows = (
        (settings.esme, DeviceType.ESME),
        (settings.gsme, DeviceType.GSME),
        (settings.ppmid, DeviceType.PPMID),
    )
    return {
        bytes.fromhex(row.id): Neighbour(kind, row.short_address, b"provisioned " + bytes.fromhex(row.id))
        for row, kind in rows
        if row is not None
    }


def _anchors(row: AnchorRow, ring: Keyring) -> dict[tuple[Role, KeyUse], Certificate]:
    supplier, broker = bytes.fromhex(row.supplier), bytes.fromhex(row.access_control_broker)
    cells = {(Role.SUPPLIER, use): ring.certificate(supplier, use) for use in KeyUse}
    cells[Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT] = ring.certificate(broker, KeyUse.KEY_AGREEMENT)
    if row.network_operator is not None:
        operator = bytes.fromhex(row.network_operator)
        for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT):
            cells[Role.NETWORK_OPERATOR, use] = ring.certificate(operator, use)
    return cells
