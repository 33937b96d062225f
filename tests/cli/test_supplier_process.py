"""``lastmetre serve supplier`` and ``serve dcc`` as processes: real sockets, keys and PostgreSQL; kills and restarts.

The test is the PPMID's agent, by the real HTTPS bearer, and the home: a real meter core with keys from disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse
from lastmetre.home.esme import Esme
from lastmetre.home.identity import DeviceIdentity as HomeIdentity
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import MeterState
from lastmetre.home.supply import Supply
from lastmetre.links.bearer_https import HttpsBearer
from lastmetre.links.keystore import Keyring
from lastmetre.links.pki import DeviceIdentity, Organisation, RelayIdentity, TestSmki, TlsIdentity
from lastmetre.links.postgres import EmbeddedPostgres
from lastmetre.links.relay_cose import AgentSide, SealedBearer, load_relay_certificates, load_relay_key
from lastmetre.links.tls import client_context
from lastmetre.relay import Envelope, Receipt, ReceiptKind, decode_envelope, encode_receipt
from tests.own_world import BROKER, CHF, ESME, PPMID, SUPPLIER, Told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DEADLINE_S = 90.0
TOKEN = "0123456789abcdef"
DS, KA, PP = KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT, KeyUse.PREPAYMENT


@dataclass
class Place:
    """A test SMKI on disk, settings for both processes, and free ports between them."""

    directory: Path
    smki: TestSmki
    ports: dict[str, int]

    def tls(self, party: str) -> tuple[Path, Path, Path]:
        home = self.smki.party(party)
        return self.smki.tls_ca, home / "tls.pem", home / "tls.key"

    @property
    def store(self) -> Path:
        return self.directory / "postgres"

    def _tls_table(self, party: str) -> str:
        ca, certificate, key = self.tls(party)
        return f'[tls]\nca = "{ca}"\ncertificate = "{certificate}"\nkey = "{key}"\n'

    def config(self, party: str) -> Path:
        """The settings file of a party."""
        text = f'certificates = "{self.smki.certificates}"\nkeys = "{self.smki.party(party) / "keys"}"\n'
        text += self._dcc() if party == "dcc" else self._supplier()
        path = self.directory / f"{party}.toml"
        path.write_text(text)
        return path

    def _dcc(self) -> str:
        registrations = f'registrations = [{{ role = "IS", user = "{SUPPLIER.hex()}" }}]'
        return f"""
acb_id = "{BROKER.hex()}"
database = "embedded"
database_folder = "{self.store}"
duis_port = {self.ports["duis"]}
{self._tls_table("dcc")}
[[user]]
id = "{SUPPLIER.hex()}"
roles = ["IS"]
receive_url = "https://localhost:{self.ports["receive"]}/duis/v1/responses"
[[device]]
id = "{CHF.hex()}"
type = "CHF"
wan = "none"
{registrations}
[[device]]
id = "{ESME.hex()}"
type = "ESME"
hub = "{CHF.hex()}"
esme_variant = "A"
{registrations}
"""

    def _supplier(self) -> str:
        return f"""
entity_id = "{SUPPLIER.hex()}"
dsp_id = "{BROKER.hex()}"
{self._tls_table("supplier")}
[relay]
key = "{self.smki.party("supplier") / "relay.key"}"
certificates = "{self.smki.relay_certificates}"
[store]
folder = "{self.store}"
[api]
token = "{TOKEN}"
[duis]
url = "https://localhost:{self.ports["duis"]}"
receive_port = {self.ports["receive"]}
[policy]
redeliver_after_s = 1
resend_after_s = 1
[[device]]
device_id = "{ESME.hex()}"
hub_id = "{CHF.hex()}"
agent_id = "{PPMID.hex()}"
wan = "none"
"""


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Everything on disk; the database server is stopped and removed at the end, whatever happened."""
    directory = Path(tempfile.mkdtemp())
    smki = TestSmki(directory / "smki", now=dt.datetime.now(dt.UTC))
    smki.add_all(
        [
            Organisation("dcc", BROKER, Role.ACCESS_CONTROL_BROKER),
            Organisation("supplier", SUPPLIER, Role.SUPPLIER, (DS, KA, PP)),
            DeviceIdentity("home", ESME),
            TlsIdentity("dcc", BROKER),
            TlsIdentity("supplier", SUPPLIER),
            TlsIdentity("agent", PPMID),
            RelayIdentity("supplier", SUPPLIER),
            RelayIdentity("agent", PPMID),
        ]
    )
    place = Place(directory, smki, {"duis": free_port(), "receive": free_port()})
    yield place
    EmbeddedPostgres(place.store).remove()
    shutil.rmtree(directory)


class Process:
    """A party's process and the events it told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    async def event(self, name: str, **facts: object) -> dict[str, Any]:
        """The next event of this name with these facts."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            event: dict[str, Any] = json.loads(line)
            self.events.append(event)
            if event["event"] == name and facts.items() <= event.items():
                return event
        raise AssertionError(f"the process ended before it told {name}: {self.events}")


@contextlib.asynccontextmanager
async def serve(place: Place, party: str, *, kill: bool = False) -> AsyncIterator[Process]:
    """A party as a process, ended by SIGTERM with exit status 0, or killed."""
    command = [sys.executable, "-c", "from lastmetre.cli import main; main()", "serve", party]
    command += ["--config", str(place.config(party))]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield Process(process)
        if not kill:
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Home:
    """The agent by its real bearer, and a real meter behind it."""

    def __init__(self, place: Place) -> None:
        self.context = client_context(*place.tls("agent"))
        self.told = Told()
        self.relay = AgentSide(
            PPMID,
            load_relay_key(place.smki.party("agent") / "relay.key"),
            SUPPLIER,
            load_relay_certificates(
                place.smki.relay_certificates / f"{SUPPLIER.hex()}.pem",
                place.smki.tls_ca,
                SUPPLIER,
                dt.datetime.now(dt.UTC),
            ),
        )
        keyring = Keyring.open(certificates=place.smki.certificates, keys=place.smki.party("home") / "keys")
        cells = [(Role.SUPPLIER, SUPPLIER, use) for use in (DS, KA, PP)]
        cells.append((Role.ACCESS_CONTROL_BROKER, BROKER, KA))
        anchors = {(role, use): keyring.certificate(entity, use) for role, entity, use in cells}
        identity = HomeIdentity(ESME, keyring.private_key(ESME, DS), keyring.private_key(ESME, KA), anchors)
        self.meter = Esme(identity, MemoryStore(), Told(), new=MeterState(-1_000, Supply.OFF_BY_COMMAND))

    @contextlib.asynccontextmanager
    async def bearer(self, port: int) -> AsyncIterator[SealedBearer]:
        async with HttpsBearer(f"https://localhost:{port}", self.context, SUPPLIER) as bearer:
            yield SealedBearer(bearer, self.relay, self.told)

    def receipt(self, envelope: Envelope, kind: ReceiptKind, message: bytes | None = None) -> bytes:
        return encode_receipt(Receipt(envelope.order_id, kind, int(time.time()), envelope.digest, message))

    async def fetch(self, bearer: SealedBearer) -> Envelope:
        """The next envelope, taken."""
        envelope = None
        while envelope is None:
            envelope = await bearer.next_envelope()
        read = decode_envelope(envelope)
        await bearer.hand_on(self.receipt(read, ReceiptKind.TAKEN))
        return read

    def execute(self, envelope: Envelope) -> bytes:
        (response,) = self.meter.receive(envelope.command, int(time.time()))
        return self.receipt(envelope, ReceiptKind.RESPONSE, response)


class Desk:
    """A caller of the API."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", trust_env=False) as client:
            answer = await client.request(method, path, headers=headers, **more)
        answer.raise_for_status()
        return answer.json()

    async def place(
        self, service: str, *, roads: tuple[str, ...] = ("ppmid",), deadline_s: int = 600, **values: int
    ) -> str:
        body = {
            "device_id": ESME.hex(), "service": service, "values": values, "roads": roads, "deadline_s": deadline_s,
        }  # fmt: skip
        return str((await self.ask("POST", "/orders", json=body))["order_id"])


def run(coroutine: object) -> None:
    """Run one test's coroutine; it hangs no longer than the deadline."""
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))  # type: ignore[arg-type]


def test_orders_survive_a_kill_at_every_stage(place: Place) -> None:
    """Killed while the agent has the Command; started again: confirmed once, the Response returned to the DCC."""

    async def story() -> None:
        home = Home(place)
        async with serve(place, "dcc") as dcc:
            await dcc.event("ready")
            async with serve(place, "supplier", kill=True) as supplier:
                ready = await supplier.event("ready")
                desk = Desk(ready["api_port"])
                top_up = await desk.place("top_up", amount_pence=1_000)
                arm = await desk.place("arm_supply")
                waits = await desk.place("read_meter_balance", roads=("wan",), deadline_s=3)
                async with home.bearer(ready["bearer_port"]) as bearer:
                    envelopes = [await home.fetch(bearer), await home.fetch(bearer)]
                assert {envelope.order_id for envelope in envelopes} == {top_up, arm}
                assert (await desk.ask("GET", f"/orders/{waits}"))["why_waiting"] == "no WAN here"
            answers = [home.execute(envelope) for envelope in envelopes]
            async with serve(place, "supplier") as supplier:
                ready = await supplier.event("ready")
                desk = Desk(ready["api_port"])
                async with home.bearer(ready["bearer_port"]) as bearer:
                    for answer in answers * 2:
                        await bearer.hand_on(answer)
                returned = {(await dcc.event("local_response_recorded"))["message_code"] for _ in range(2)}
                assert returned == {"0007", "0051"}
                await supplier.event("order_expired_unsent", order_id=waits)
                orders = {order["order_id"]: order for order in (await desk.ask("GET", "/orders"))["orders"]}
                assert {order["state"] for order in (orders[top_up], orders[arm])} == {"confirmed"}
                assert orders[waits]["originator_counter"] is None
                entries = (await desk.ask("GET", "/audit"))["entries"]
                confirmed = [e["order_id"] for e in entries if e["to"] == "confirmed"]
                assert sorted(confirmed) == sorted([top_up, arm])
        assert home.meter.display()["balance"] == 999_000
        assert home.meter.state.supply is Supply.ARMED
        assert not EmbeddedPostgres(place.store).status().running

    run(story())


def test_the_dcc_is_away_and_comes_back(place: Place) -> None:
    """Placed while the DCC is down: it says what it waits for, and goes on by itself once the DCC is there."""

    async def story() -> None:
        home = Home(place)
        async with serve(place, "supplier") as supplier:
            ready = await supplier.event("ready")
            desk = Desk(ready["api_port"])
            order_id = await desk.place("read_supply_status")
            await supplier.event("order_waits", order_id=order_id)
            assert "cannot be reached" in (await desk.ask("GET", f"/orders/{order_id}"))["why_waiting"]
            async with serve(place, "dcc"), home.bearer(ready["bearer_port"]) as bearer:
                envelope = await home.fetch(bearer)
                await bearer.hand_on(home.execute(envelope))
                await supplier.event("order_confirmed", order_id=order_id)
                await supplier.event("response_returned_to_dcc", order_id=order_id)
            view = await desk.ask("GET", f"/orders/{order_id}")
            assert view["result"] == {"supply_state": "disabled"}

    run(story())


def test_a_killed_part_is_started_again(place: Place) -> None:
    """Kill -9 of the worker, then of the API: each comes back by itself on its ports; an order goes its way."""

    async def story() -> None:
        home = Home(place)
        async with serve(place, "dcc") as dcc, serve(place, "supplier") as supplier:
            await dcc.event("ready")
            ready = await supplier.event("ready")
            desk = Desk(ready["api_port"])
            for role in ("worker", "api"):
                os.kill(ready[f"{role}_pid"], signal.SIGKILL)
                await supplier.event("part_died", role=role)
                await supplier.event("part_started_again", role=role)
            order_id = await desk.place("read_supply_status")
            async with home.bearer(ready["bearer_port"]) as bearer:
                envelope = await home.fetch(bearer)
                await bearer.hand_on(home.execute(envelope))
                await supplier.event("order_confirmed", order_id=order_id)

    run(story())


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("[store]\nfolder", "[store]\nfloder", "floder"),
        (f'token = "{TOKEN}"', 'token = "short"', "token"),
        (f'entity_id = "{SUPPLIER.hex()}"', 'entity_id = "00005eef100000ff"', "private key"),
        ('wan = "none"', 'wan = "maybe"', "maybe"),
    ],
)
def test_wrong_settings_are_one_clear_line(place: Place, old: str, new: str, word: str) -> None:
    """Exit status 2 and one line that names what is wrong."""

    async def story() -> None:
        config = place.config("supplier")
        assert old in config.read_text()
        config.write_text(config.read_text().replace(old, new))
        command = [sys.executable, "-c", "from lastmetre.cli import main; main()", "serve", "supplier"]
        process = await asyncio.create_subprocess_exec(
            *command, "--config", str(config), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, shown = await process.communicate()
        assert process.returncode == 2
        assert word in shown.decode()
        assert len(shown.decode().splitlines()) == 1

    run(story())
