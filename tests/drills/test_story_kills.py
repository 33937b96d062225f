"""R06, and a part of R01: the demo's story, the supplier's worker and the database killed in each step.

Every party is a real process. In each step the worker gets SIGKILL as soon as the API has taken an order, and
once it lives again, PostgreSQL's first process gets SIGKILL and is started anew. The story's own checks stay as they
are: what the meters show, how each order ends. Only one deadline is longer, as a worker's jobs wait for its successor.
A caller whom the API fails while the database is away asks again, with the same Idempotency-Key.

`make drills` plays all six steps (about a minute), plain tests the first two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import uuid
from typing import TYPE_CHECKING, Any

import httpx

from lastmetre.cli.audit_verify import verify
from lastmetre.cli.demo import Story
from lastmetre.cli.demo_world import Home, World, database_folder, prepare_folder, remove_database
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.screen import Screen
from lastmetre.links.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 6 if "LASTMETRE_DRILL_SEEDS" in os.environ else 2
ENDS = {2: ["confirmed"] * 2 + ["expired_unsent"], 6: ["confirmed"] * 4 + ["expired_unsent", "unknown"]}
OUTAGE_S = 30.0
STEP_6_DEADLINE_S = 15


class _Disturbed(World):
    """The demo's world, that says when an order was placed, and asks again while the database is away."""

    placed = asyncio.Event()

    async def order(self, home: Home, service: str, road: str, deadline_s: int, **values: int) -> dict[str, Any]:
        if service == "disable_supply":
            deadline_s = STEP_6_DEADLINE_S
        self._client.headers["Idempotency-Key"] = f"story-{uuid.uuid4().hex}"
        async with asyncio.timeout(OUTAGE_S):
            while True:
                with contextlib.suppress(ProblemError, httpx.TransportError):
                    order = await super().order(home, service, road, deadline_s, **values)
                    break
                await asyncio.sleep(0.1)
        if road != "wan" or service != "read_meter_balance":  # that one only waits
            self.placed.set()
        return order

    async def get_order(self, order_id: str) -> dict[str, Any]:
        async with asyncio.timeout(OUTAGE_S):
            while True:
                with contextlib.suppress(ProblemError, httpx.TransportError):
                    return await super().get_order(order_id)
                await asyncio.sleep(0.1)


async def _disturb(world: _Disturbed, server: EmbeddedPostgres) -> None:
    """One death of the worker, one of the database."""
    await world.placed.wait()
    since = world.event_count
    os.kill(_worker_pid(world), signal.SIGKILL)
    await world.until(
        "the worker's next life",
        lambda _label, event: event["event"] == "part_started_again" and event["role"] == "worker",
        since=since,
    )
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(server.start)


def _worker_pid(world: World) -> int:
    """The latest life's."""
    pids = [event["worker_pid"] for _label, event in world.events if "worker_pid" in event]
    again = [
        event["pid"]
        for _label, event in world.events
        if event["event"] == "part_started_again" and event["role"] == "worker"
    ]
    return int((pids + again)[-1])


def test_r06_the_story_with_worker_and_database_killed_in_each_step(tmp_path: Path) -> None:
    """R06: every order ends as in the undisturbed story, meters execute each Command once, the audit holds."""
    out = tmp_path / "out"
    prepare_folder(out)
    try:
        audit = asyncio.run(_play(out))
    finally:
        remove_database(out)
    verify([json.dumps(entry) for entry in audit])
    ends = {entry["order_id"]: entry["to"] for entry in audit if entry["order_id"] and entry["to"]}
    assert sorted(ends.values()) == ENDS[STEPS]
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "meter_command_accepted" for event in events) == ENDS[STEPS].count("confirmed"), (
        "a Command ran twice, or never"
    )
    died = [event for event in events if event["event"] == "part_died" and event["role"] == "worker"]
    assert len(died) >= STEPS


async def _play(out: Path) -> list[dict[str, Any]]:
    with (out.parent / "screen.txt").open("w") as file:
        screen = Screen(as_json=False, out=file)
        world = _Disturbed(out, screen, bearer="https")
        smki = world.make_smki()
        world.write_settings(smki)
        async with world.running(smki):
            server, story = EmbeddedPostgres(database_folder(out)), Story(world, screen)
            steps = (story.step_1, story.step_2, story.step_3, story.step_4, story.step_5, story.step_6)
            for step in steps[:STEPS]:
                world.placed = asyncio.Event()
                if step == story.step_5:  # it places no order: what goes up again comes while the supplier is down
                    world.placed.set()
                async with asyncio.TaskGroup() as together:
                    together.create_task(_disturb(world, server))
                    together.create_task(step())
            audit = await world.audit()
            server.stop()  # ours is only a share; the parties still use it
            return audit
