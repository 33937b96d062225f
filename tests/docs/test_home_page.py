"""``docs/home.md`` says what is so: its settings file is read, its timers are compared, its frames are sent."""

from __future__ import annotations

import fnmatch
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from lastmetre.cli import home_settings
from lastmetre.cli.home_settings import HomeSettings, PremisesSettings
from lastmetre.han import Device, Event, Hub, Medium, MessageReceived
from tests import own_world as own
from tests.own_world import CHF, ESME, PPMID

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "home.md").read_text("utf-8")
PAN = 0x1A62
OCTETS = re.compile(r"((?:[0-9a-f]{2})+(?: (?:[0-9a-f]{2})+)*)(?:  |$)")


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def walk() -> list[bytes]:
    """The frames of the walk: tunnels, a Command passed up by the PPMID, the meter's answer."""
    hub = Hub(CHF, PAN, {ESME: 0x1001, PPMID: 0x4A21}, first_counter=0)
    meter = Device(ESME, 0x1001, PAN, CHF, {PPMID: 0x4A21}, first_counter=0)
    ppmid = Device(PPMID, 0x4A21, PAN, CHF, {ESME: 0x1001}, first_counter=0)
    air: Medium[Event] = Medium({0: hub, 0x1001: meter, 0x4A21: ppmid})
    for second in range(3):
        air.tick(float(second))
    ppmid.send(own.read_balance(1001), 5.0)
    for heard in air.settle(5.0):
        if isinstance(heard.event, MessageReceived):
            hub.send(ESME, heard.event.data, 5.0)
    for heard in air.settle(5.0):
        if isinstance(heard.event, MessageReceived):
            meter.send(own.meter().receive(heard.event.data, own.NOW)[0], 5.0)
    air.settle(5.0)
    return air.heard()


def shown_frames() -> list[bytes]:
    """The frames the page takes apart: each line begins with octets, words follow."""
    frames = []
    for block in blocks("frames"):
        for paragraph in block.strip().split("\n\n"):
            octets = [
                re.match(r"((?:[0-9a-f]{2})+(?: (?:[0-9a-f]{2})+)*)(?:  |$)", line) for line in paragraph.split("\n")
            ]
            assert all(octets), paragraph
            frames.append(bytes.fromhex("".join(found.group(1) for found in octets if found)))
    return frames


def test_the_frames_of_the_walk_are_those_on_the_air() -> None:
    """In their order, octet for octet."""
    air = iter(walk())
    shown = shown_frames()
    assert len(shown) >= 8
    for frame in shown:
        assert frame in air, frame.hex()  # an iterator: what was passed does not come again


def test_the_premises_file_is_one() -> None:
    """It is read as it stands, and its homes have what the page says."""
    (text,) = blocks("toml")
    homes = list(msgspec.toml.decode(text, type=PremisesSettings, strict=True).homes())
    assert [home.hub_id for home in homes] == ["00005eef100000a2", "00005eef100000b2"]
    assert homes[0].ppmid is not None
    assert homes[0].ppmid.inside
    assert homes[1].air_port is None


def test_every_name_of_the_settings_is_on_the_page() -> None:
    """A setting that is not explained does not exist for anybody."""
    rows = [value for name, value in vars(home_settings).items() if name.endswith("Row")]
    names = {name for row in (*rows, HomeSettings, PremisesSettings) for name in row.__struct_fields__}
    missing = {name for name in names if not re.search(rf"\b{name}\b", PAGE)} - {"shelf"}
    assert not missing


def test_the_timers_are_the_program_s() -> None:
    """Every row of the table names a constant and its value."""
    rows = re.findall(r"^\| `([a-z_.]+)\.([A-Z_]+)` \| ([0-9.]+) \|", PAGE, re.MULTILINE)
    assert len(rows) > 25
    for module, name, value in rows:
        assert getattr(importlib.import_module(f"lastmetre.{module}"), name) == float(value), name


def test_the_console_says_what_the_page_says(tmp_path: Path) -> None:
    """Its commands run in an empty folder; three dots stand for any text."""
    (block,) = blocks("console")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert fnmatch.fnmatchcase(done.stdout, expected.replace("...", "*")), done.stdout
