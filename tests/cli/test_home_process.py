"""``serve home`` with gas, proxy and the hub's own function: composed, alive on its air, restarted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from lastmetre.cli.home_process import HomeSettings, run_home
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse
from lastmetre.links.faceplate import FaceplateRefused, ask_faceplate
from lastmetre.links.pki import DeviceIdentity, Organisation, TestSmki

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lastmetre.links.faceplate import Answer

TOKEN = "in front of the gas meter"
IDS = {name: f"00005eef100000{number}" for name, number in
       (("esme", "a0"), ("gsme", "a1"), ("chf", "a2"), ("gpf", "a3"), ("ppmid", "a4"))}  # fmt: skip
SUPPLIER, BROKER = "00005eef10000010", "00005eef10000002"


@pytest.fixture
def settings(tmp_path: Path) -> HomeSettings:
    """A home with everything, its keys made for the occasion."""
    smki = TestSmki(tmp_path / "smki", now=dt.datetime.now(dt.UTC))
    smki.add_organisation(Organisation("supplier", bytes.fromhex(SUPPLIER), Role.SUPPLIER, tuple(KeyUse)))
    smki.add_organisation(Organisation("dcc", bytes.fromhex(BROKER), Role.ACCESS_CONTROL_BROKER))
    for device_id in IDS.values():
        smki.add_device(DeviceIdentity("home-a", bytes.fromhex(device_id)))
    raw = {
        "hub_id": IDS["chf"],
        "certificates": str(smki.certificates),
        "keys": str(smki.party("home-a") / "keys"),
        "store": str(tmp_path / "esme.sqlite"),
        "hub_store": str(tmp_path / "hub.sqlite"),
        "capture": str(tmp_path / "hub.pcap"),
        "esme": {"id": IDS["esme"]},
        "ppmid": {"id": IDS["ppmid"]},
        "gsme": {
            "id": IDS["gsme"],
            "store": str(tmp_path / "gsme.sqlite"),
            "balance": -5,
            "mode": "prepayment",
            "valve": "OFF_BY_CREDIT",
            "proxy_id": IDS["gpf"],
            "proxy_store": str(tmp_path / "gpf.sqlite"),
        },
        "chf": {"store": str(tmp_path / "chf.sqlite")},
        "anchors": {"supplier": SUPPLIER, "access_control_broker": BROKER},
        "faceplate": {"token": TOKEN},
    }
    return msgspec.convert(raw, HomeSettings)


@contextlib.asynccontextmanager
async def running(settings: HomeSettings, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[int]:
    """The home as a task; the port of its faceplate."""
    ending = asyncio.Event()
    task = asyncio.create_task(run_home(settings, ending))
    try:
        port = None
        async with asyncio.timeout(20):
            while port is None:
                assert not task.done(), task.result()
                await asyncio.sleep(0.02)
                events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
                port = next((event["faceplate_port"] for event in events if event["event"] == "ready"), None)
        yield port
    finally:
        ending.set()
        await task


async def press(port: int, button: str) -> Answer:
    """Somebody presses a button."""
    return await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "press", "button": button})


def test_a_home_with_gas_lives_and_remembers(settings: HomeSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Emergency credit at the gas meter, the valve opened by the customer, and both still so after a restart."""

    async def live() -> None:
        async with running(settings, capsys) as port:
            shown = await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "display"})
            assert isinstance(shown["gas"], dict)
            assert (shown["gas"]["balance"], shown["gas"]["mode"]) == (-5, "prepayment")
            assert not (await press(port, "open-gas-valve"))["done"]
            assert (await press(port, "gas-emergency-credit"))["done"]
            assert (await press(port, "open-gas-valve"))["done"]
            with pytest.raises(FaceplateRefused, match="buttons are"):
                await press(port, "self-destruct")
        async with running(settings, capsys) as port:
            shown = await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "display"})
            assert isinstance(shown["gas"], dict)
            assert shown["gas"]["supply"] == "on"

    asyncio.run(live())


def test_the_gas_meter_s_wakes_are_on_the_air(settings: HomeSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """It wakes at its start and when told to, reports to its mirror and sleeps again within seconds: told each time."""

    async def slept(told: list[str], times: int) -> None:
        async with asyncio.timeout(20):
            while told.count("gas_meter_slept") < times:
                await asyncio.sleep(0.05)
                told += [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]

    async def live() -> None:
        told: list[str] = []
        async with running(settings, capsys) as port:
            await slept(told, 1)
            await press(port, "wake-gas-meter")
            await slept(told, 2)
        assert "gas_reported" in told

    asyncio.run(live())
