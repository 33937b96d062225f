"""``lastmetre serve home``: Communications Hubs and the devices behind them, as one process.

``--config FILE`` runs one home, ``--premises FILE`` the homes of a file (``docs/home.md`` has that form and every
name). All homes of a process are driven by one clockwork. The settings of one home, in
TOML (paths are taken from the working directory; ids are 16 hexadecimal digits)::

    hub_id = "00005eef100000a2"
    policy = "proposed"                  # or "today", or "permit"
    air_port = 17754                     # where radios of other processes send; 0 takes any, the ready event tells
    pan_id = 0x1A62
    capture = "home-a/hub.pcap"          # leave it out for none
    certificates = "smki/certificates"   # everybody's: the trust anchors are taken from it when the meter is new
    keys = "smki/parties/home-a/keys"    # the meter's own only
    passphrase_file = "smki.passphrase"  # leave it out where keys are not encrypted
    authorities = ["smki/certificates/root.pem"]  # below which a CS02b's certificates must be; none unless given
    tick_s = 10.0                        # how often time passes for devices to which nothing happens
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

    [hht]                                # terminals that may join in the hour after power-on; needs [chf]
    ids = ["00005eef100000a7"]

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
``{"do": "set", "policy": "today"}`` and ``{"do": "set", "drop_repeats": false}``, ``{"do": "hub-log"}`` and
``{"do": "time"}``. Where the PPMID is inside, also ``{"do": "ppmid", "enter": "20 digits", "fuel": "gas"}``, with
``"press": "emergency-credit"`` or ``"enable-supply"`` in place of ``enter``.

Events besides those of ``lastmetre.home``: ``ready`` (party, hub_id, air_port, faceplate_port; of a premises file once
for each home and then ``premises_ready`` with how many), ``wan_up``, ``wan_down``, ``hub_set`` (policy, drop_repeats).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lastmetre.cli.home_build import World, build_home
from lastmetre.cli.home_settings import HomeSettings, PremisesSettings
from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.processes import tell_line
from lastmetre.home.hub_policy import Policy
from lastmetre.links.air import LOOPBACK, Air, open_air
from lastmetre.links.capture import Capture
from lastmetre.links.clockwork import Clock, Clockwork
from lastmetre.links.device_store import DeviceShelf, SqliteDeviceStore
from lastmetre.links.faceplate import FaceplateRefused, serve_faceplate
from lastmetre.links.keystore import Keyring, KeyStoreError
from lastmetre.links.tls import client_context
from lastmetre.links.wan import WanLink

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any, TypeAlias

    from lastmetre.cli.home_settings import ClockRow
    from lastmetre.home.household import Household
    from lastmetre.home.ports import DeviceStore
    from lastmetre.links.faceplate import Answer, Handler

    Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

__all__ = ["HomeSettings", "PremisesSettings", "run_home", "run_premises"]

FUELS: Final = ("electricity", "gas")


async def run_home(settings: HomeSettings, ending: asyncio.Event) -> None:
    """Run one home until ``ending`` is set. A store or capture that fails ends it, for its starter to see."""
    async with contextlib.AsyncExitStack() as stack:
        clockwork = _clockwork(settings.clock)
        ring = _open_ring(settings.certificates, settings.keys, settings.passphrase_file)
        home = _Home(settings, ring, lambda path: stack.enter_context(SqliteDeviceStore(Path(path))), clockwork)
        await home.open(stack)
        await _run([clockwork.run, *home.tasks()], ending)


async def run_premises(settings: PremisesSettings, ending: asyncio.Event) -> None:
    """Run the homes of a file until ``ending`` is set: one clockwork, one file for all their states."""
    async with contextlib.AsyncExitStack() as stack:
        clockwork = _clockwork(settings.clock)
        shelf = stack.enter_context(DeviceShelf(Path(settings.store)))
        rings: dict[str, Keyring] = {}
        tasks: list[Work] = [clockwork.run]
        homes = list(settings.homes())
        for number, row in enumerate(homes):
            if row.keys not in rings:
                rings[row.keys] = _open_ring(row.certificates, row.keys, row.passphrase_file)
            home = _Home(row, rings[row.keys], shelf.store, clockwork, place=number / len(homes))
            await home.open(stack)
            tasks += home.tasks()
        tell_line("premises_ready", party="home", homes=len(homes))
        await _run(tasks, ending)


def _clockwork(row: ClockRow) -> Clockwork:
    starts_at = row.starts_at.timestamp() if row.starts_at is not None else None
    return Clockwork(Clock(speed=row.speed, starts_at=starts_at))


async def _run(work: list[Work], ending: asyncio.Event) -> None:
    """All of it until it is to end, or one of it fails."""
    tasks = [asyncio.create_task(part()) for part in work]
    tasks.append(asyncio.create_task(_until(ending)))
    try:
        done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(ending: asyncio.Event) -> None:
    await ending.wait()


class _Home:
    """One home and its ways out: air, WAN, faceplate, capture. The clockwork drives it."""

    def __init__(
        self,
        settings: HomeSettings,
        ring: Keyring,
        open_store: Callable[[str], DeviceStore],
        clockwork: Clockwork,
        *,
        place: float = 0.0,
    ) -> None:
        self._settings = settings
        self._clockwork = clockwork
        self._clock = clockwork.clock
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._capture: Capture | None = None
        self._air: Air | None = None
        clock = self._clock
        world = World(ring, open_store, tell_line, self._out.put_nowait, clock.now, clock.at(), secrets.token_bytes)
        self.household: Final[Household] = build_home(settings, world, place=place)
        self.premises: Final = self.household.premises
        self.wan: Final = self._wan_link(settings)

    async def open(self, stack: contextlib.AsyncExitStack) -> None:
        """Open what it speaks through, for as long as the stack stands."""
        settings = self._settings
        stack.callback(self.premises.meter.save)
        if settings.capture is not None:
            self._capture = stack.enter_context(Capture(Path(settings.capture)))
        if settings.air_port is not None:
            outside = [row.short_address for row in [settings.ppmid] if row is not None and not row.inside]
            self._air = await stack.enter_async_context(open_air(settings.air_port, outside, self._heard))
        faceplate_port = None
        if settings.faceplate is not None:
            front = settings.faceplate
            faceplate_port = await stack.enter_async_context(
                serve_faceplate(LOOPBACK, front.port, front.token, self.handlers())
            )
        self._clockwork.add(self)
        air_port = self._air.port if self._air is not None else None
        tell_line("ready", party="home", hub_id=settings.hub_id, air_port=air_port, faceplate_port=faceplate_port)

    def tasks(self) -> list[Work]:
        """What runs beside the clockwork."""
        return [] if self.wan is None else [self.wan.run, self._send_by_wan]

    # --- driven by the clockwork ---

    def next_due(self) -> float:
        """When it has something to do."""
        return self.household.next_due()

    def turn(self, now: float, at: int) -> None:
        """Do it; write down what was on the air, and send what is for radios outside."""
        self.household.turn(now, at)
        frames = self.household.heard()
        if self._capture is not None:
            at_us = self._clock.at_us()
            for frame in frames:
                self._capture.write(frame, at_us)
        for frame in self.household.outgoing():
            if self._air is not None:
                self._air.send(frame)

    def _heard(self, frame: bytes) -> None:
        self.household.feed(frame)
        self._clockwork.wake(self)

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
        self.premises.from_wan(message, self._clock.now(), self._clock.at())
        self._clockwork.wake(self)

    def _wan_changed(self, connected: bool) -> None:
        if connected:
            tell_line("wan_up", hub_id=self.premises.hub.chf_id.hex())
            self.premises.wan_connected(self._clock.at())
        else:
            tell_line("wan_down", hub_id=self.premises.hub.chf_id.hex())
            self.premises.hub.wan_lost()

    async def _send_by_wan(self) -> None:
        """Hand what is for the WAN to the link; what it does not take is stored by the hub."""
        assert self.wan is not None
        while True:
            message = await self._out.get()
            if not await self.wan.send(message):
                self.premises.hub.keep_for_wan(message, self._clock.at())

    # --- in front of the meter ---

    def handlers(self) -> Mapping[str, Handler]:
        """What somebody in the home can see and do."""
        return {
            "display": self._display,
            "press": self._press,
            "set": self._set,
            "hub-log": self._hub_log,
            "ppmid": self._ppmid,
            "time": self._time,
        }

    async def _time(self, _request: Mapping[str, object]) -> Answer:
        return {"at": self._clock.at()}

    async def _display(self, _request: Mapping[str, object]) -> Answer:
        hub, parts, meter = self.premises.hub, self.premises.parts, self.premises.meter
        wan = "none" if self.wan is None else ("up" if self.wan.is_connected else "down")
        return {
            **meter.display(),
            "gas": parts.gas.meter.display() if parts.gas is not None else None,
            "gas_copy": parts.gpf.display() if parts.gpf is not None else None,
            "ppmid": parts.ppmid.screen() if parts.ppmid is not None else None,
            "policy": hub.settings.policy.value,
            "drop_repeats": hub.settings.drop_repeats,
            "wan": wan,
            "counters": {role.name: counter for role, counter in meter.state.counters.ordinary},
            "utrn_cache": list(meter.state.counters.utrn_cache),
        }

    async def _press(self, request: Mapping[str, object]) -> Answer:
        button = request.get("button")
        if button == "enable-supply":
            return {"done": self.premises.meter.customer_enable()}
        if button == "emergency-credit":
            return {"done": self.premises.meter.customer_emergency_credit()}
        gas, at = self.premises.parts.gas, self._clock.at()
        if gas is not None and button == "open-gas-valve":
            return {"done": gas.meter.customer_open(at)}
        if gas is not None and button == "gas-emergency-credit":
            return {"done": gas.meter.customer_emergency_credit(at)}
        if gas is not None and button == "wake-gas-meter":
            gas.radio.wake(self._clock.now())
            self._clockwork.wake(self)
            return {"done": True}
        raise FaceplateRefused("the meters' buttons are: enable-supply, emergency-credit, open-gas-valve, "
                               "gas-emergency-credit, wake-gas-meter")  # fmt: skip

    async def _ppmid(self, request: Mapping[str, object]) -> Answer:
        ppmid, now = self.premises.parts.ppmid, self._clock.now()
        fuel, code, button = request.get("fuel", FUELS[0]), request.get("enter"), request.get("press")
        if ppmid is None or fuel not in FUELS:
            raise FaceplateRefused("there is no PPMID inside this process, or the fuel is neither electricity nor gas")
        if isinstance(code, str) and len(code) == 20 and code.isascii() and code.isdigit():
            ppmid.enter_code(code, str(fuel), now)
        elif button == "emergency-credit":
            ppmid.emergency_credit(str(fuel), now)
        elif button == "enable-supply" and fuel == FUELS[0]:
            ppmid.enable_supply(now)
        else:
            raise FaceplateRefused('say "enter" with twenty digits, or "press" with emergency-credit or enable-supply')
        self._clockwork.wake(self)
        return {"screen": ppmid.screen()}

    async def _set(self, request: Mapping[str, object]) -> Answer:
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

    async def _hub_log(self, _request: Mapping[str, object]) -> Answer:
        return {
            "log": [
                {"at": event.at, "road": event.road, "reason": event.refusal, "message_code": event.message_code}
                for event in self.premises.hub.log
            ]
        }


def _open_ring(certificates: str, keys: str, passphrase_file: str | None) -> Keyring:
    try:
        passphrase = read_passphrase(passphrase_file)
        return Keyring.open(certificates=Path(certificates), keys=Path(keys), password=passphrase)
    except KeyStoreError as error:
        raise ProblemError(str(error)) from error
