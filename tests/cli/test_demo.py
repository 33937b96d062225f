"""The main job with real processes: the story, what is left when a process dies in it, and what tshark says of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.cli.demo_world import HOMES, World, prepare_folder, remove_database
from lastmetre.cli.screen import SENTENCES, Screen, pounds, sentence
from lastmetre.links.mosquitto import find_mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

HOME_A, HOME_B, _HOME_C = HOMES

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``lastmetre demo`` as a user does."""
    command = [sys.executable, "-m", "lastmetre", "demo", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    """One run of the story by HTTPS; its folder and its output."""
    out = tmp_path_factory.mktemp("demo") / "out"
    yield out, demo("--out", str(out))
    remove_database(out)


def test_the_story_comes_out_as_told(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """All six steps, exit status 0, and every hop on the screen in words."""
    out, done = played
    assert done.returncode == 0, done.stdout + done.stderr
    words = done.stdout
    for step in range(1, 7):
        assert f"\n{step}. " in words
    for hop in (
        "no WAN here",
        "expired unsent",
        "CS01a checked and sealed",
        "passes CS01a up the Zigbee tunnel, byte for byte",
        "addressee, counter, MAC and signature right: ECS08a executed",
        "Response verified: made by the meter",
        "the meter's answer: accepted",
        "sent by SM WAN",
        "drops ECS44, by PPMID: duplicate",
        "a counter that is not above what was accepted before",
        "a top-up whose counter was used already",
        "drops ECS43, by PPMID: code-not-allowed (rule: today)",
    ):
        assert hop in words, hop
    assert "?" not in words, "a sentence lacks a value"
    assert str(out / "audit.jsonl") in words


def test_the_orders_ended_as_the_audit_says(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Four confirmed, one expired unsent, one unknown; nothing was sealed for the one that expired."""
    out, _done = played
    entries = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    last: dict[str, str] = {}
    for entry in entries:
        if entry["order_id"] and entry["to"]:
            last[entry["order_id"]] = entry["to"]
    assert sorted(last.values()) == ["confirmed"] * 4 + ["expired_unsent", "unknown"]
    (expired,) = [order_id for order_id, state in last.items() if state == "expired_unsent"]
    assert not any(entry["to"] == "sealed" for entry in entries if entry["order_id"] == expired)


def test_the_messages_written_are_the_messages_sent(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Each message file decodes by the program itself, its protection valid with the run's own keys."""
    out, _done = played
    files = sorted((out / "messages").glob("*.hex"))
    assert len(files) == 7
    keys = out / "smki" / "parties" / "dcc" / "keys"
    command = next(file for file in files if "arm_supply" in file.name and "command" in file.name)
    done = subprocess.run(
        [sys.executable, "-m", "lastmetre", "decode", str(command), "--keys", str(keys), "--certificates",
         str(out / "smki" / "certificates")],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.count("valid: made") == 2


@needs_tshark
def test_tshark_names_every_use_case_and_finds_nothing_malformed(
    played: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """An independent dissector: Command and Response of each step, PECS03 as its plain ZCL command."""
    out, _done = played
    expected = {
        "home-a": {"Command, CS01a", "Response, CS01a", "Command, ECS08a", "Response, ECS08a", "Local Change Supply",
                   "Command, ECS43", "Alert, Generic Critical Alert"},
        "home-b": {"Command, ECS44", "Response, ECS44", "Local Change Supply"},
        "home-c": {"Command, ECS44", "Response, ECS44"},
    }  # fmt: skip
    for name, wanted in expected.items():
        read = subprocess.run(
            ["tshark", "-r", str(out / "captures" / f"{name}.pcap"), "-T", "fields", "-e", "_ws.col.Info", "-e",
             "_ws.malformed"],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert "Malformed" not in read.stdout
        for words in wanted:
            assert words in read.stdout, f"{words} in {name}"


@needs_mosquitto
def test_the_story_by_mqtt(tmp_path: Path) -> None:
    """The same story through a broker, as JSON for machines."""
    done = demo("--out", str(tmp_path / "out"), "--bearer", "mqtt", "--json")
    remove_database(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(event["event"] == "order_confirmed" for event in events) == 4


def test_the_story_under_permit(tmp_path: Path) -> None:
    """The same story with relay permits, hubs that know no time included; step 5 ends at the gate; tshark agrees."""
    out = tmp_path / "out"
    done = demo("--out", str(out), "--policy", "permit")
    remove_database(out)
    assert done.returncode == 0, done.stdout + done.stderr
    for hop in (
        "relay permit 1 for hub A2: this Command, this PPMID",
        "the hub says of the permit: nonce",
        "keeps the Command: the hub would not have it behind this permit (nonce)",
        "the hub says of the permit: accepted",
        "drops ECS44, by PPMID: no-permit (rule: permit)",
        "drops a relay permit, by PPMID: permit-refused, no handover left (rule: permit)",
        "drops ECS43, by PPMID: code-not-allowed (rule: today)",
    ):
        assert hop in done.stdout, hop
    assert "duplicate" not in done.stdout
    if shutil.which("tshark") is None:
        return
    for capture in sorted((out / "captures").glob("*.pcap")):
        read = subprocess.run(["tshark", "-r", str(capture), "-V"], check=True, capture_output=True, text=True)
        assert "Malformed" not in read.stdout
        if capture.name != "home-c.pcap":
            assert "500101" in read.stdout.replace(":", ""), "a permit was on the air"


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """``--out`` on a folder with other things in it: one line, exit status 2, nothing touched."""
    (tmp_path / "thesis.txt").write_text("mine")
    done = demo("--out", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def play(tmp_path: Path, story: Callable[[World], Coroutine[Any, Any, None]]) -> list[dict[str, Any]]:
    """Run a story of the test's own in the demo's world; returns everything that was told."""
    out = tmp_path / "out"
    prepare_folder(out)

    async def run() -> None:
        with (tmp_path / "screen.txt").open("w") as screen:
            world = World(out, Screen(as_json=False, out=screen), bearer="https")
            smki = world.make_smki()
            world.write_settings(smki)
            async with world.running(smki):
                await story(world)

    try:
        asyncio.run(run())
    finally:
        remove_database(out)
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]


async def until(world: World, order: dict[str, Any], state: str) -> dict[str, Any]:
    """Wait for an order's state."""
    async with asyncio.timeout(40):
        async for view in _views(world, order):
            if view["state"] == state:
                return view
    raise AssertionError


async def _views(world: World, order: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    while True:
        yield await world.get_order(order["order_id"])
        await asyncio.sleep(0.05)


def test_an_agent_killed_after_it_stored_a_command_still_delivers_it_once(tmp_path: Path) -> None:
    """The hub is off, the agent stores the Command and is killed; hub and agent come back: confirmed, executed once."""

    async def story(world: World) -> None:
        hub, agent = world.parties["home-a"], world.parties["agent-a"]
        await hub.kill()
        order = await world.order(HOME_A, "top_up", "ppmid", deadline_s=60, amount_pence=700)
        await world.until("the agent stored it", lambda label, event: event["event"] == "command_taken")
        await agent.kill()
        await hub.start()
        await hub.wait_ready()
        await agent.start()
        await until(world, order, "confirmed")
        shown = await world.at_home(HOME_A, "display")
        assert shown["balance"] == HOME_A.balance + 700_000

    events = play(tmp_path, story)
    executed = [event for event in events if event["event"] == "meter_command_accepted"]
    assert len(executed) == 1
    assert sum(event["event"] == "command_taken" for event in events) == 1


def test_killing_the_hub_process_stops_delivery(tmp_path: Path) -> None:
    """Nothing but the sockets connects them: without home B's hub the Command stays at large; with it, it arrives."""

    async def story(world: World) -> None:
        hub = world.parties["home-b"]
        await hub.kill()
        order = await world.order(HOME_B, "arm_supply", "ppmid", deadline_s=60)
        await world.until("the agent stored it", lambda label, event: event["event"] == "command_taken")
        await until(world, order, "at_large")
        killed_at = world.event_count
        await hub.start()
        await hub.wait_ready()
        await until(world, order, "confirmed")
        names = [event["event"] for _label, event in world.events[:killed_at]]
        assert "meter_command_accepted" not in names
        assert "command_taken_by_tunnel" not in names

    events = play(tmp_path, story)
    assert sum(event["event"] == "meter_command_accepted" for event in events) == 1


def test_every_sentence_says_its_values() -> None:
    """Money is money, verdicts are words, and a value an event lacks is a question mark, not a crash."""
    assert pounds(-250_000) == "-£2.50"
    told = sentence("meter A", {"event": "balance_changed", "before": -1_000, "after": 2_000_000})
    assert told == "balance -£0.01 -> £20.00"
    assert all(sentence("supplier", {"event": name.split()[-1], "before": 0, "after": 0}) for name in SENTENCES)
    assert sentence("supplier", {"event": "no such event"}) is None
