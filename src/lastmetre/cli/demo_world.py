"""The demo's world: a test SMKI, settings files, and every party as a process of its own on this machine.

Only settings files and the links' sockets cross from one process to another. What a process tells (JSON lines on its
standard output) is collected here for the screen and for ``events.jsonl``; nothing is fed back.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse
from lastmetre.links.faceplate import ask_faceplate
from lastmetre.links.pki import DeviceIdentity, Organisation, RelayIdentity, TestSmki, TlsIdentity, XmlIdentity
from lastmetre.links.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from lastmetre.cli.screen import Event, Screen

READY_TIMEOUT_S: Final = 60.0
"""How long a process may take to start; PostgreSQL's first start makes the supplier the slowest."""
STOP_TIMEOUT_S: Final = 10.0
MARK: Final = ".lastmetre-demo"
"""Names a folder as one of ours, which the next run may empty."""
LOOPBACK: Final = "127.0.0.1"

BROKER_ID: Final = bytes.fromhex("00005eef10000003")
ACB: Final = bytes.fromhex("00005eef10000002")
SUPPLIER: Final = bytes.fromhex("00005eef10000010")


@dataclass(frozen=True, slots=True)
class Home:
    """One home of the story. Its ids are EUI-64s from the range for documentation (00-00-5E-EF-10-00-00-xx)."""

    letter: str
    words: str
    first_id: int
    supplier_knows_wan: str
    dsp_knows_wan: str
    has_agent: bool
    balance: int
    supply: str

    def _id(self, offset: int) -> bytes:
        return bytes.fromhex("00005eef100000") + bytes((self.first_id + offset,))

    @property
    def esme(self) -> bytes:
        """The electricity meter."""
        return self._id(0)

    @property
    def hub(self) -> bytes:
        """The Communications Hub."""
        return self._id(2)

    @property
    def ppmid(self) -> bytes:
        """The PPMID, and its agent."""
        return self._id(4)

    @property
    def party(self) -> str:
        """The name of its process and of its folders."""
        return f"home-{self.letter.lower()}"


HOMES: Final = (
    Home(
        "A", "never had WAN; its prepaid supply went off by credit", 0xA0, "none", "none",
        has_agent=True, balance=-250_000, supply="OFF_BY_CREDIT",
    ),
    Home(
        "B", "its WAN is down; its supply was disabled by the supplier", 0xB0, "down", "none",
        has_agent=True, balance=1_200_000, supply="OFF_BY_COMMAND",
    ),
    Home(
        "C", "has good WAN; its supply was disabled by the supplier", 0xC0, "good", "good",
        has_agent=False, balance=900_000, supply="OFF_BY_COMMAND",
    ),
)  # fmt: skip

SHORT_PPMID: Final = 0x4A21
SHORT_ESME: Final = 0x1001


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def toml(settings: Mapping[str, Any]) -> str:
    """Settings as TOML: plain values first, then tables, then arrays of tables."""
    lines = []
    tables = []
    for key, value in settings.items():
        if isinstance(value, dict):
            tables.append(f"\n[{key}]\n{toml(value)}")
        elif isinstance(value, list) and value and isinstance(value[0], dict) and key != "registrations":
            tables.extend(f"\n[[{key}]]\n{toml(row)}" for row in value)
        else:
            lines.append(f"{key} = {_toml_value(value)}\n")
    return "".join(lines) + "".join(tables)


def _toml_value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) else str(value)


class Party:
    """One process: started, listened to, stopped, or killed."""

    def __init__(self, world: World, name: str, label: str, arguments: list[str]) -> None:
        self.name = name
        self.label = label
        self._world = world
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.ready: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start it; ``ready`` is set when it says so."""
        if self.ready.done():
            self.ready = asyncio.get_running_loop().create_future()
        log = self._world.out / "logs" / f"{self.name}.log"
        with log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "lastmetre", *self._arguments,
                stdout=asyncio.subprocess.PIPE, stderr=errors, stdin=asyncio.subprocess.DEVNULL, limit=1 << 20,
            )  # fmt: skip
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                event: Event = json.loads(line)
                if event.get("event") == "ready" and not self.ready.done():
                    self.ready.set_result(event)
                self._world.told(self, event)
        status = await self._process.wait()
        if not self.ready.done():
            log = self._world.out / "logs" / f"{self.name}.log"
            tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            self.ready.set_exception(
                ProblemError(f"{self.name} ended at once with status {status}: {tail[0]}", EXIT_FAILED)
            )

    async def wait_ready(self) -> Event:
        """Its ready event; raises ``ProblemError`` when it ends or takes too long."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.ready), READY_TIMEOUT_S)
        except TimeoutError:
            raise ProblemError(f"{self.name} did not start within {READY_TIMEOUT_S:.0f} s", EXIT_FAILED) from None

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end, and see that it does."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)


class World:
    """Every party of the demo, on this machine, below one folder."""

    def __init__(self, out: Path, screen: Screen, *, bearer: str, policy: str = "proposed") -> None:
        self.out = out
        self.bearer = bearer
        self.policy = policy
        self._screen = screen
        self.events: list[tuple[str, Event]] = []
        self._changed = asyncio.Condition()
        self._log = (out / "events.jsonl").open("a")
        self._token = secrets.token_hex(16)
        self._ports = {name: free_port() for name in ("api", "receive", "bearer", "duis", "wan")}
        self._air = {home.letter: free_port() for home in HOMES}
        self.parties: dict[str, Party] = {}
        self._client = httpx.AsyncClient(
            base_url=f"http://{LOOPBACK}:{self._ports['api']}",
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=30,
            trust_env=False,
        )

    # --- making it ---

    def make_smki(self) -> TestSmki:
        """Keys and certificates: each party its own. Unencrypted: they serve this run and no other."""
        smki = TestSmki(self.out / "smki", now=dt.datetime.now(dt.UTC))
        smki.add_all(
            [
                Organisation("supplier", SUPPLIER, Role.SUPPLIER, tuple(KeyUse)),
                Organisation("dcc", ACB, Role.ACCESS_CONTROL_BROKER),
                XmlIdentity("supplier", SUPPLIER),
                XmlIdentity("dcc", ACB, Role.XML_SIGN_DSP),
                TlsIdentity("supplier", SUPPLIER),
                RelayIdentity("supplier", SUPPLIER),
                TlsIdentity("dcc", ACB),
                TlsIdentity("broker", BROKER_ID),
            ]
        )
        for home in HOMES:
            smki.add_all([DeviceIdentity(home.party, home.esme), TlsIdentity(home.party, home.hub)])
            if self.policy == "permit":
                smki.add_all([DeviceIdentity(home.party, home.hub)])
            if home.has_agent:
                agent = f"agent-{home.letter.lower()}"
                smki.add_all([TlsIdentity(agent, home.ppmid), RelayIdentity(agent, home.ppmid)])
        return smki

    def write_settings(self, smki: TestSmki) -> None:
        """One settings file for each process."""
        self._add("supplier", "supplier", ["serve", "supplier"], self._supplier_settings(smki))
        self._add("dcc", "DSP", ["serve", "dcc"], self._dcc_settings(smki))
        for home in HOMES:
            self._add(home.party, f"home {home.letter}", ["serve", "home"], self._home_settings(smki, home))
            if home.has_agent:
                letter = home.letter.lower()
                self._add(f"agent-{letter}", f"agent {home.letter}", ["agent"], self._agent_settings(smki, home))

    def _add(self, name: str, label: str, command: list[str], settings: Mapping[str, Any]) -> None:
        path = self.out / "settings" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_text(toml(settings))
        path.chmod(0o600)
        (self.out / "state" / name).mkdir(parents=True, exist_ok=True)
        self.parties[name] = Party(self, name, label, [*command, "--config", str(path)])

    def _tls(self, smki: TestSmki, party: str) -> dict[str, str]:
        directory = smki.party(party)
        return {
            "ca": str(smki.tls_ca),
            "certificate": str(directory / "tls.pem"),
            "key": str(directory / "tls.key"),
        }

    def _supplier_settings(self, smki: TestSmki) -> dict[str, Any]:
        return {
            "entity_id": SUPPLIER.hex(),
            "dsp_id": ACB.hex(),
            "certificates": str(smki.certificates),
            "keys": str(smki.party("supplier") / "keys"),
            "store": {"folder": str(database_folder(self.out))},
            "api": {"port": self._ports["api"], "token": self._token},
            "tls": self._tls(smki, "supplier"),
            "relay": {
                "key": str(smki.party("supplier") / "relay.key"),
                "certificates": str(smki.relay_certificates),
            },
            "duis": {
                "url": f"https://{LOOPBACK}:{self._ports['duis']}",
                "receive_port": self._ports["receive"],
            },
            "bearer": {"kind": self.bearer, "port": self._ports["bearer"]},
            "device": [
                {
                    "device_id": home.esme.hex(),
                    "hub_id": home.hub.hex(),
                    "wan": home.supplier_knows_wan,
                    **({"agent_id": home.ppmid.hex()} if home.has_agent else {}),
                    **({"permits": True} if self.policy == "permit" else {}),
                }
                for home in HOMES
            ],
        }

    def _dcc_settings(self, smki: TestSmki) -> dict[str, Any]:
        devices: list[dict[str, Any]] = []
        for home in HOMES:
            devices.append({"id": home.hub.hex(), "type": "CHF", "wan": home.dsp_knows_wan})
            if home.has_agent and self.policy == "permit":
                devices.append({"id": home.ppmid.hex(), "type": "PPMID", "hub": home.hub.hex()})
            registration = {"role": "IS", "user": SUPPLIER.hex()}
            devices.append(
                {
                    "id": home.esme.hex(),
                    "type": "ESME",
                    "hub": home.hub.hex(),
                    "esme_variant": "A",
                    "registrations": [registration],
                }
            )
        return {
            "acb_id": ACB.hex(),
            "database": "embedded",
            "database_folder": str(database_folder(self.out)),
            "certificates": str(smki.certificates),
            "keys": str(smki.party("dcc") / "keys"),
            "duis_port": self._ports["duis"],
            "wan_port": self._ports["wan"],
            **({"permits": True} if self.policy == "permit" else {}),
            "tls": self._tls(smki, "dcc"),
            "user": [
                {
                    "id": SUPPLIER.hex(),
                    "roles": ["IS"],
                    "receive_url": f"https://{LOOPBACK}:{self._ports['receive']}/duis/v1/responses",
                }
            ],
            "device": devices,
        }

    def _home_settings(self, smki: TestSmki, home: Home) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "hub_id": home.hub.hex(),
            "air_port": self._air[home.letter],
            "capture": str(self.out / "captures" / f"{home.party}.pcap"),
            "certificates": str(smki.certificates),
            "keys": str(smki.party(home.party) / "keys"),
            "store": str(self.out / "state" / home.party / "esme.sqlite"),
            "esme": {
                "id": home.esme.hex(),
                "short_address": SHORT_ESME,
                "balance": home.balance,
                "supply": home.supply,
            },
            "anchors": {"supplier": SUPPLIER.hex(), "access_control_broker": ACB.hex()},
            "faceplate": {"token": self._token},
        }
        if self.policy != "proposed":
            state = self.out / "state" / home.party
            settings |= {"policy": self.policy, "hub_store": str(state / "hub.sqlite")}
        if self.policy == "permit":  # the hub checks permits with its own keys
            settings["chf"] = {"store": str(self.out / "state" / home.party / "chf.sqlite")}
        if home.has_agent:
            settings["ppmid"] = {"id": home.ppmid.hex(), "short_address": SHORT_PPMID}
        if home.dsp_knows_wan == "good":
            settings["wan"] = {"port": self._ports["wan"], "gateway_id": ACB.hex()}
            settings["tls"] = self._tls(smki, home.party)
        return settings

    def _agent_settings(self, smki: TestSmki, home: Home) -> dict[str, Any]:
        letter = home.letter.lower()
        scheme = "https" if self.bearer == "https" else "mqtts"
        return {
            "agent_id": home.ppmid.hex(),
            "hub_id": home.hub.hex(),
            "device_ids": [home.esme.hex()],
            "supplier_id": SUPPLIER.hex(),
            "bearer": self.bearer,
            "url": f"{scheme}://{LOOPBACK}:{self._ports['bearer']}",
            "store": str(self.out / "state" / f"agent-{letter}" / "agent.sqlite"),
            "tls": self._tls(smki, f"agent-{letter}"),
            "relay": {
                "key": str(smki.party(f"agent-{letter}") / "relay.key"),
                "supplier": str(smki.relay_certificates / f"{SUPPLIER.hex()}.pem"),
            },
            "air": {
                "hub_port": self._air[home.letter],
                "pan_id": 0x1A62,
                "short_address": SHORT_PPMID,
                "esme_id": home.esme.hex(),
                "esme_short_address": SHORT_ESME,
            },
            "faceplate": {"token": self._token, "pass_up": True},
        }

    # --- running it ---

    @contextlib.asynccontextmanager
    async def running(self, smki: TestSmki) -> AsyncIterator[None]:
        """Every process, until the block ends."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            if self.bearer == "mqtt":
                await self._start_broker(stack, smki)
            for party in self.parties.values():
                stack.push_async_callback(party.stop)
                await party.start()
            for party in self.parties.values():
                await party.wait_ready()
            yield

    async def _start_broker(self, stack: contextlib.AsyncExitStack, smki: TestSmki) -> None:
        from lastmetre.links.mosquitto import BrokerFiles, mosquitto_config, running_mosquitto

        directory = smki.party("broker")
        files = BrokerFiles(smki.tls_ca, directory / "tls.pem", directory / "tls.key")
        folder = (self.out / "state" / "broker").resolve()
        port = self._ports["bearer"]
        config = mosquitto_config(folder, LOOPBACK, port, files, [SUPPLIER])
        await stack.enter_async_context(running_mosquitto(config, LOOPBACK, port))

    async def _close(self) -> None:
        await self._client.aclose()
        self._log.close()

    def told(self, party: Party, event: Event) -> None:
        """A process told something: to the file, the screen, and whoever waits for it."""
        label = _label(party.label, event)
        self._log.write(json.dumps({**event, "party": label}) + "\n")
        self._log.flush()
        self.events.append((label, event))
        self._screen.event(label, event)
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(
        self, what: str, happened: Callable[[str, Event], bool], *, timeout_s: float = 30.0, since: int = 0
    ) -> Event:
        """Wait for an event; raises ``ProblemError`` saying what was awaited when it does not come."""

        def found() -> Event | None:
            return next((event for label, event in self.events[since:] if happened(label, event)), None)

        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise ProblemError(
                f"the story stopped: {what} did not happen within {timeout_s:.0f} s", EXIT_FAILED
            ) from None
        event = found()
        assert event is not None
        return event

    @property
    def event_count(self) -> int:
        """How many events were told so far; a place to wait from."""
        return len(self.events)

    # --- asking its parties ---

    async def order(self, home: Home, service: str, road: str, deadline_s: int, **values: int) -> dict[str, Any]:
        """Place an order at the supplier's API."""
        body = {
            "device_id": home.esme.hex(), "service": service, "values": values, "roads": [road],
            "deadline_s": deadline_s, "reason": "demo", "ordered_by": "the first operator",
        }  # fmt: skip
        order = self._answer(await self._client.post("/orders", json=body))
        if not order["needs_approval"]:
            return order
        approval = {"approved_by": "the second operator"}
        return self._answer(await self._client.post(f"/orders/{order['order_id']}/approve", json=approval))

    async def get_order(self, order_id: str) -> dict[str, Any]:
        """What is known of an order."""
        return self._answer(await self._client.get(f"/orders/{order_id}"))

    async def audit(self) -> list[dict[str, Any]]:
        """The whole audit."""
        entries: list[dict[str, Any]] = self._answer(await self._client.get("/audit", params={"limit": 10_000}))[
            "entries"
        ]
        return entries

    def _answer(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise ProblemError(f"the supplier's API refused: {answer.text}", EXIT_FAILED)
        read: dict[str, Any] = answer.json()
        return read

    async def at_home(self, home: Home, do: str, **request: object) -> dict[str, Any]:
        """Stand in front of a home's meter and hub."""
        return await self._faceplate(home.party, do, request)

    async def at_ppmid(self, home: Home, do: str, **request: object) -> dict[str, Any]:
        """Stand in front of a home's PPMID."""
        return await self._faceplate(f"agent-{home.letter.lower()}", do, request)

    async def _faceplate(self, party: str, do: str, request: Mapping[str, object]) -> dict[str, Any]:
        ready = await self.parties[party].wait_ready()
        return dict(await ask_faceplate(LOOPBACK, ready["faceplate_port"], self._token, {"do": do, **request}))


def _label(label: str, event: Event) -> str:
    """A home's process speaks for its hub and for its meter."""
    if not label.startswith("home "):
        return label
    letter = label.removeprefix("home ")
    name = str(event.get("event", ""))
    return f"meter {letter}" if name.startswith(("meter_", "balance_", "supply_")) else f"hub {letter}"


def database_folder(out: Path) -> Path:
    """Where a run's PostgreSQL has its folder."""
    return out / "state" / "supplier" / "postgres"


def remove_database(out: Path) -> None:
    """Stop a run's PostgreSQL and delete its data, which need not all lie below the run's folder."""
    if database_folder(out).is_dir():
        EmbeddedPostgres(database_folder(out)).remove()


def prepare_folder(out: Path) -> None:
    """An empty folder for the run; one that an earlier run made is emptied, any other is left alone."""
    if out.exists() and not out.is_dir():
        raise ProblemError(f"{out} is a file; name a folder with --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise ProblemError(f"{out} is not empty and not from an earlier demo; name another folder with --out")
        remove_database(out)
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text("Made by `lastmetre demo`, which empties this folder when it runs again.\n")
    for name in ("captures", "logs", "messages", "state"):
        (out / name).mkdir(exist_ok=True)
    if os.geteuid() == 0:  # the database server then runs as another user, who must be able to reach its folder
        out.chmod(0o755)
