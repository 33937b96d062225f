"""A day in the life of one home: the same from the same seed, octet for octet, and read by Wireshark."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lastmetre.cli.capture_day import CHF, ESME, GSME, HHT, NETWORK_KEY, PPMID, DayRun, play_day
from lastmetre.cli.home_build import link_key
from lastmetre.gbcs.message import Cra, parse_message

if TYPE_CHECKING:
    from pathlib import Path

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@pytest.fixture(scope="module")
def day() -> DayRun:
    """The day of seed 1."""
    return play_day(1)


def told(day: DayRun, event: str) -> list[dict[str, object]]:
    """The values of every telling of one event."""
    return [dict(values) for name, values in day.told if name == event]


def test_the_same_seed_gives_the_same_file(day: DayRun, tmp_path: Path) -> None:
    """By another process, with other hashes: octet for octet. Another seed gives another file."""
    out = tmp_path / "day.pcap"
    command = [sys.executable, "-m", "lastmetre", "capture", "day", "--seed", "1", "--out", str(out)]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)
    assert out.read_bytes() == day.capture()
    assert play_day(2).capture() != day.capture()


def test_everything_of_the_day_happened(day: DayRun) -> None:
    """Joins and the field visit, prepayment, top-ups, gas wakes, the tap-off, the long Command, the lost WAN."""
    words = [values["words"] for values in told(day, "ppmid_screen_changed")]
    assert "electricity: code accepted" in words
    assert "electricity: emergency credit accepted" in words
    assert "gas: accepted" in words
    assert len(day.responses) == 2
    assert [values["use_case"] for values in told(day, "gas_copy_changed")] == ["GCS01b", "GCS01b"]
    assert len(told(day, "gas_meter_slept")) == 48
    assert {values["after"] for values in told(day, "supply_changed")} >= {"on", "off: credit used up"}
    assert "ECS01a" in [values["use_case"] for values in told(day, "meter_command_accepted")]
    assert told(day, "hub_stored_for_wan")
    assert len(told(day, "device_log_changed")) == 2  # the terminal came, and went by itself
    assert Cra.ALERT in {parse_message(message).header.cra for message in day.wan}


def tshark(capture: Path, display: str, *fields: str, options: tuple[str, ...] = ()) -> list[str]:
    """What tshark shows of the frames that pass a display filter."""
    command = ["tshark", "-r", str(capture), "-Y", display, "-T", "fields", *options]
    for field in fields:
        command += ["-e", field]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@needs_tshark
def test_wireshark_names_every_message_and_finds_none_malformed(day: DayRun, tmp_path: Path) -> None:
    """GET, GET-RESPONSE, PUT, GBT blocks, every Command, Response and Alert by its use case."""
    capture = tmp_path / "day.pcap"
    capture.write_bytes(day.capture())
    assert tshark(capture, "_ws.malformed or _ws.unreassembled", "frame.number") == []
    named = tshark(capture, "gbcs_message or gbcs_tunnel", "_ws.col.Info")
    assert len(named) > 30
    assert not [line for line in named if "Unknown" in line]
    for expected in ("PUT, Response, PCS01", "GET-RESPONSE, Command, GCS01b", "GBT block 1", "Command, ECS01a",
                     "Response, ECS19"):  # fmt: skip
        assert any(line.startswith(expected) for line in named), expected
    assert tshark(capture, "wpan.cmd", "wpan.cmd") == ["0x01", "0x02"]


@needs_tshark
def test_the_secured_day_says_the_same_to_who_has_the_keys(day: DayRun, tmp_path: Path) -> None:
    """Network and link keys given: the same Commands and Responses are named; without keys, nothing is."""
    capture = tmp_path / "secured.pcap"
    capture.write_bytes(play_day(1, secured=True).capture())
    pairs = ((CHF, ESME), (CHF, GSME), (CHF, PPMID), (CHF, HHT), (ESME, PPMID))
    keys = [NETWORK_KEY, *(link_key(NETWORK_KEY, one, other) for one, other in pairs)]
    options = [
        part for n, key in enumerate(keys) for part in ("-o", f'uat:zigbee_pc_keys:"{key.hex()}","Normal","{n}"')
    ]
    named = tshark(capture, "gbcs_message", "_ws.col.Info", options=tuple(options))
    plain = tmp_path / "plain.pcap"
    plain.write_bytes(day.capture())
    assert named == tshark(plain, "gbcs_message", "_ws.col.Info")
    assert tshark(capture, "_ws.malformed", "frame.number", options=tuple(options)) == []
    assert tshark(capture, "gbcs_message", "_ws.col.Info") == []
