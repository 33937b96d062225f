"""Puts one home together from its settings: hub, meters, proxy and PPMID, with their keys, stores and radios.

Time and chance come from outside (``World``), so that a home made twice from the same world is the same home.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import CertificateRefused, parse_certificate
from lastmetre.gbcs.keys import KeyUse
from lastmetre.han import Device, Hub, Security, SleepyDevice
from lastmetre.home.chf import Chf, ChfState, Listed, link_key_hash
from lastmetre.home.comms_hub import CommsHub, HubSettings, LogEntry
from lastmetre.home.esme import Esme
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState, Valve
from lastmetre.home.gpf import Gpf
from lastmetre.home.hht import HhtDesk
from lastmetre.home.household import Household
from lastmetre.home.hub_policy import DeviceType, Policy
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.load import HourlyLoad
from lastmetre.home.permit_gate import PermitGate
from lastmetre.home.ppmid import Partners, Ppmid
from lastmetre.home.premises import Gas, Neighbour, Parts, Premises, Radios
from lastmetre.home.state import MeterState
from lastmetre.home.supply import Supply
from lastmetre.links.errors import LinkError
from lastmetre.relay.permit_rules import Hub as PermitHub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.cli.home_settings import GsmeRow, HomeSettings, LoadRow
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.han.node import Node
    from lastmetre.home.ports import DeviceStore, Tell
    from lastmetre.links.keystore import Keyring

_OWN_USES = (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT)
"""A device gives out its own certificates for these (CS02e)."""
PREPAYMENT_MODE: Final = 0x0097
DAY_S: Final = 86_400
_FRAMES_SINCE: Final = 1_700_000_000
_FRAMES_PER_S: Final = 8
"""Frame counters begin at eight for each second since November 2023: above any of a life before, for seventeen years
(DESIGN CHOICE)."""


@dataclass(frozen=True, slots=True)
class World:
    """What a home has from outside: keys, places for states, an ear for events, two clocks and chance."""

    ring: Keyring
    open_store: Callable[[str], DeviceStore]
    tell: Tell
    to_wan: Callable[[bytes], None]
    now: Callable[[], float]
    at: int
    random: Callable[[int], bytes]

    def octet(self) -> int:
        """One octet of chance."""
        return self.random(1)[0]


def build_home(settings: HomeSettings, world: World, *, place: float = 0.0) -> Household:
    """One home. ``place`` (0 to 1) says where in the common round its ticks come, so that homes do not tick at once."""
    builder = _Builder(settings, world)
    gas = settings.gsme
    flow = None if gas is None or not gas.litres_per_day else _gas_flow(gas.litres_per_day)
    tick_at = world.now() + settings.tick_s * place
    return Household(builder.premises(), tick_s=settings.tick_s, tick_at=tick_at, gas_flow=flow)


class _Builder:
    """The parts of one home, in the order in which they need one another."""

    def __init__(self, settings: HomeSettings, world: World) -> None:
        self._settings = settings
        self._world = world
        self._hub_id = bytes.fromhex(settings.hub_id)
        self._meter_id = bytes.fromhex(settings.esme.id)
        self._neighbours = {
            device_id: Neighbour(kind, short, self._link_key(self._hub_id, device_id))
            for device_id, (kind, short) in self._devices().items()
        }
        self._authorities = tuple(_authority(Path(path)) for path in settings.authorities)

    def premises(self) -> Premises:
        """Everything put together."""
        settings, world = self._settings, self._world
        meter = Esme(
            self._identity(self._meter_id),
            world.open_store(settings.store),
            world.tell,
            new=MeterState(settings.esme.balance, Supply[settings.esme.supply]),
            load=_load(settings.esme.load),
        )
        radios = self._radios()
        chf = self._chf()
        gas = self._gas()
        gpf = self._gpf()
        desk = HhtDesk(chf, world.now()) if chf is not None else None
        parts = Parts(gas, chf, gpf, self._neighbours, desk, self._terminals(), self._ppmid(radios))
        return Premises(self._hub(chf, gpf), meter, radios, world.to_wan, world.tell, parts)

    def _devices(self) -> dict[bytes, tuple[DeviceType, int]]:
        """Every radio within reach of the hub, but for terminals."""
        settings = self._settings
        rows = (
            (settings.esme, DeviceType.ESME),
            (settings.gsme, DeviceType.GSME),
            (settings.ppmid, DeviceType.PPMID),
        )
        return {bytes.fromhex(row.id): (kind, row.short_address) for row, kind in rows if row is not None}

    def _terminals(self) -> dict[bytes, Neighbour]:
        row = self._settings.hht
        if row is None:
            return {}
        return {
            (device_id := bytes.fromhex(text)): Neighbour(
                DeviceType.HHT, row.short_address, self._link_key(self._hub_id, device_id)
            )
            for text in row.ids
        }

    # --- the hub ---

    def _hub(self, chf: Chf | None, gpf: Gpf | None) -> CommsHub:
        settings, world = self._settings, self._world
        log = [LogEntry(device_id, neighbour.device_type) for device_id, neighbour in self._neighbours.items()]
        if gpf is not None:
            log.append(LogEntry(gpf.entity_id, DeviceType.GPF))
        memory = settings.hub_store or (f"{settings.hub_id}/hub" if settings.shelf else None)
        switches = HubSettings(Policy(settings.policy), hht_needs_permit=settings.hht_needs_permit)
        store = None if memory is None else world.open_store(memory)
        return CommsHub(self._hub_id, tuple(log), switches, world.tell, store, self._permits(chf))

    def _permits(self, chf: Chf | None) -> PermitGate | None:
        """The gate for relay permits, where the hub has keys to check them with."""
        settings = self._settings
        if chf is None:
            if settings.policy == Policy.PERMIT.value:
                raise ProblemError('policy = "permit" needs [chf]: the hub checks permits with its own keys')
            return None
        broker_id = bytes.fromhex(settings.anchors.access_control_broker)
        secret = chf.agree(self._certificate(broker_id, KeyUse.KEY_AGREEMENT).public_key)
        proxy = settings.gsme.proxy_id if settings.gsme is not None else None
        gpf_id = bytes.fromhex(proxy or settings.hub_id)
        return PermitGate(PermitHub(self._hub_id, gpf_id, broker_id, secret), self._world.now, self._world.random)

    def _chf(self) -> Chf | None:
        settings, world = self._settings, self._world
        if settings.chf is None:
            return None
        log = tuple(
            Listed(device_id, neighbour.device_type, link_key_hash(device_id, neighbour.key), world.at)
            for device_id, neighbour in self._neighbours.items()
        )
        return Chf(
            self._identity(self._hub_id, (Role.ACCESS_CONTROL_BROKER,)),
            world.open_store(self._store_name(settings.chf.store, "chf")),
            world.tell,
            new=ChfState(log, changed_at=world.at, extended_pan_id=self._hub_id),
        )

    def _radios(self) -> Radios:
        settings = self._settings
        shorts = {device_id: neighbour.short_address for device_id, neighbour in self._neighbours.items()}
        gas_ids = [bytes.fromhex(settings.gsme.id)] if settings.gsme is not None else []
        ppmids = {bytes.fromhex(row.id): row.short_address for row in [settings.ppmid] if row is not None}
        hub = Hub(self._hub_id, settings.pan_id, shorts, first_counter=self._world.octet(), gas=gas_ids)
        meter = Device(
            self._meter_id,
            shorts[self._meter_id],
            settings.pan_id,
            self._hub_id,
            ppmids,
            first_counter=self._world.octet(),
        )
        self._secure(hub.node, [*shorts])
        self._secure(meter.node, [self._hub_id, *ppmids])
        return Radios(hub, meter)

    # --- gas ---

    def _gas(self) -> Gas | None:
        settings, row = self._settings, self._settings.gsme
        if row is None:
            return None
        gsme_id = bytes.fromhex(row.id)
        mode = PREPAYMENT_MODE if row.mode == "prepayment" else zcl.CREDIT_MODE
        new = GasState(Valve[row.valve], attributes={zcl.CREDIT: row.balance, zcl.CONFIGURATION: mode})
        store = self._world.open_store(self._store_name(row.store, "gsme"))
        meter = Gsme(self._identity(gsme_id), store, self._world.tell, new=new, partners=self._partners())
        radio = SleepyDevice(
            gsme_id,
            row.short_address,
            settings.pan_id,
            self._hub_id,
            first_counter=self._world.octet(),
            reports=meter.reports,
        )
        self._secure(radio.node, [self._hub_id])
        return Gas(meter, radio)

    def _gpf(self) -> Gpf | None:
        row = self._settings.gsme
        if row is None or row.proxy_id is None:
            return None
        return Gpf(
            self._identity(bytes.fromhex(row.proxy_id)),
            self._world.open_store(self._store_name(row.proxy_store, "gpf")),
            self._world.tell,
            new=GasState(),
            gsme_id=bytes.fromhex(row.id),
            gsme_signing=self._certificate(bytes.fromhex(row.id), KeyUse.DIGITAL_SIGNATURE),
        )

    def _partners(self) -> dict[bytes, Certificate]:
        """Whom the gas meter was joined with: the PPMID, by its key agreement certificate."""
        if self._settings.ppmid is None:
            return {}
        ppmid_id = bytes.fromhex(self._settings.ppmid.id)
        return {ppmid_id: self._certificate(ppmid_id, KeyUse.KEY_AGREEMENT)}

    # --- the PPMID ---

    def _ppmid(self, radios: Radios) -> Ppmid | None:
        settings, row = self._settings, self._settings.ppmid
        if row is None or not row.inside:
            if row is not None and settings.security is not None:
                raise ProblemError("a PPMID in another process has no Zigbee keys yet; say inside = true in [ppmid]")
            return None
        ppmid_id = bytes.fromhex(row.id)
        peers = {self._meter_id: radios.meter.node.short_address}
        radio = Device(
            ppmid_id, row.short_address, settings.pan_id, self._hub_id, peers, first_counter=self._world.octet()
        )
        self._secure(radio.node, [self._hub_id, self._meter_id])
        partners = Partners(self._meter_id, *self._gas_partner(settings.gsme))
        store = self._world.open_store(self._store_name(row.store, "ppmid"))
        identity = self._identity(ppmid_id, (Role.ACCESS_CONTROL_BROKER,))
        return Ppmid(identity, radio, partners, store, self._world.tell)

    def _gas_partner(self, row: GsmeRow | None) -> tuple[Certificate | None, bytes | None]:
        if row is None:
            return None, None
        gsme_id = bytes.fromhex(row.id)
        return self._certificate(gsme_id, KeyUse.KEY_AGREEMENT), gsme_id

    # --- names, keys ---

    def _store_name(self, given: str, part: str) -> str:
        if self._settings.shelf:
            return f"{self._settings.hub_id}/{part}"
        if not given:
            raise ProblemError(f'the {part} needs a store of its own: say store = "..." (proxy_store for the gpf)')
        return given

    def _link_key(self, one: bytes, other: bytes) -> bytes:
        """The link key two devices share. In the clear there is none; what the Device Log hashes stands in for it."""
        security = self._settings.security
        if security is None:
            return b"provisioned " + other
        return link_key(bytes.fromhex(security.network_key), one, other)

    def _secure(self, node: Node, peers: list[bytes]) -> None:
        security = self._settings.security
        if security is not None:
            links = {peer: self._link_key(node.eui64, peer) for peer in peers}
            node.security = Security(
                bytes.fromhex(security.network_key), links, first_counter=first_frame_counter(self._world.at)
            )

    def _identity(self, device_id: bytes, roles: tuple[Role, ...] | None = None) -> DeviceIdentity:
        """A device's keys, and the certificates it trusts when new: all of them, or those of some roles."""
        anchors = self._anchors()
        return DeviceIdentity(
            device_id,
            self._private_key(device_id, KeyUse.DIGITAL_SIGNATURE),
            self._private_key(device_id, KeyUse.KEY_AGREEMENT),
            {cell: anchor for cell, anchor in anchors.items() if roles is None or cell[0] in roles},
            self._authorities,
            self._own_certificates(device_id),
        )

    def _own_certificates(self, device_id: bytes) -> dict[KeyUse, Certificate]:
        """The certificates a device can give out; none where the settings' folder has none of it."""
        held = {}
        for use in _OWN_USES:
            with contextlib.suppress(LinkError):
                held[use] = self._world.ring.certificate(device_id, use)
        return held

    def _private_key(self, device_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        try:
            return self._world.ring.private_key(device_id, use)
        except LinkError as error:
            raise ProblemError(str(error)) from error

    def _certificate(self, device_id: bytes, use: KeyUse) -> Certificate:
        try:
            return self._world.ring.certificate(device_id, use)
        except LinkError as error:
            raise ProblemError(str(error)) from error

    def _anchors(self) -> Mapping[tuple[Role, KeyUse], Certificate]:
        row = self._settings.anchors
        supplier, broker = bytes.fromhex(row.supplier), bytes.fromhex(row.access_control_broker)
        cells = {(Role.SUPPLIER, use): self._certificate(supplier, use) for use in KeyUse}
        cells[Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT] = self._certificate(broker, KeyUse.KEY_AGREEMENT)
        if row.network_operator is not None:
            operator = bytes.fromhex(row.network_operator)
            for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT):
                cells[Role.NETWORK_OPERATOR, use] = self._certificate(operator, use)
        return cells


def link_key(network_key: bytes, one: bytes, other: bytes) -> bytes:
    """The link key of two devices: made from the network's, whichever of them is named first (DESIGN CHOICE)."""
    low, high = sorted((one, other))
    return sha256(b"lastmetre link key" + network_key + low + high).digest()[:16]


def first_frame_counter(at: int) -> int:
    """Where a node's frame counters begin in a life that starts at this time."""
    return max(0, at - _FRAMES_SINCE) * _FRAMES_PER_S & 0xFFFF_FFFF


def _authority(path: Path) -> Certificate:
    try:
        return parse_certificate(path.read_bytes())
    except (OSError, CertificateRefused) as error:
        raise ProblemError(f"{path} is no certificate of an authority: {error}") from error


def _load(row: LoadRow) -> HourlyLoad:
    watts = (row.watts,) * 24 if isinstance(row.watts, int) else tuple(row.watts)
    return HourlyLoad(watts, row.reactive_percent, row.export_watts, voltages=tuple(row.voltages))


def _gas_flow(litres_per_day: int) -> Callable[[int, int], int]:
    """The same all day, in whole litres that add up."""
    return lambda since, until: litres_per_day * until // DAY_S - litres_per_day * since // DAY_S
