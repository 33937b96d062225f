"""``serve supplier`` in its parts: the API and the worker are processes of their own; this starts both and keeps them.

Rules this module keeps:

- A part that dies is started again on the ports it had; callers and agents find it where it was. One that cannot start
  ends everything with its own words, since starting it again would not help.
- What the parts tell passes through line by line; *ready* is told once, when all are.
- A part lives no longer than its starter: it ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.cli.processes import tell_line

if TYPE_CHECKING:
    from pathlib import Path

ROLES: Final = ("api", "worker")
ALL: Final = "all"
PORTS: Final = "LASTMETRE_SUPPLIER_PORTS"
"""The ports a part had before, for its next life."""
STARTED: Final = "LASTMETRE_SUPPLIER_PART"
LINE_MAX: Final = 2**24
"""An event carries a message in hex at most a few times."""
_PR_SET_PDEATHSIG: Final = 1
AGAIN_S: Final = 0.5
ENDING_S: Final = 20.0


class _Part:
    """One role's process, through all its lives."""

    def __init__(self, role: str, config: Path, everybody: _Parts) -> None:
        self.role = role
        self.ready: dict[str, Any] | None = None
        self._config = config
        self._everybody = everybody
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Starts it, passes on what it tells, and starts it again when it dies."""
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "lastmetre", "serve", "supplier", "--config", str(self._config),
                "--role", self.role, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                limit=LINE_MAX, env=os.environ | {STARTED: self.role, PORTS: json.dumps(self._ports())},
            )  # fmt: skip
            self._process = process
            await self._pass_on(process)
            code = await process.wait()
            if self.ready is None:
                raise ProblemError(f"the supplier's {self.role} did not start; see above", code or EXIT_FAILED)
            tell_line("part_died", party="supplier", role=self.role, exit_code=code)
            await asyncio.sleep(AGAIN_S)

    def _ports(self) -> dict[str, int]:
        return {name: port for name, port in (self.ready or {}).items() if name.endswith("_port")}

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if b'"event": "ready"' in line:
                again = self.ready is not None
                self.ready = json.loads(line)
                if again:
                    tell_line("part_started_again", party="supplier", role=self.role, pid=process.pid)
                else:
                    self._everybody.tell_ready()
            else:
                self._everybody.pass_on(line.decode())

    async def end(self) -> None:
        """Asks it to end, and waits."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(ENDING_S):
                await process.wait()
        except TimeoutError:
            process.kill()


class _Parts:
    """All of them."""

    def __init__(self, config: Path) -> None:
        self.parts = [_Part(role, config, self) for role in ROLES]
        self._held: list[str] | None = []

    def pass_on(self, line: str) -> None:
        """What a part told; held back until all are ready, so that *ready* comes first as with one process."""
        if self._held is not None:
            self._held.append(line)
        else:
            sys.stdout.write(line)
            sys.stdout.flush()

    def tell_ready(self) -> None:
        """Tells it once, when all are."""
        if all(part.ready is not None for part in self.parts):
            facts: dict[str, Any] = {}
            for part in self.parts:
                assert part.ready is not None
                facts |= {name: value for name, value in part.ready.items() if name.endswith("_port")}
                facts[f"{part.role}_pid"] = part.ready["pid"]
            tell_line("ready", party="supplier", **facts)
            held, self._held = self._held or [], None
            for line in held:
                self.pass_on(line)


async def run_parts(config: Path, ending: asyncio.Event) -> None:
    """Keeps API and worker running until ``ending`` is set."""
    everybody = _Parts(config)
    tasks = [asyncio.create_task(part.run()) for part in everybody.parts]
    end = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait((*tasks, end), return_when=asyncio.FIRST_COMPLETED)
    finally:
        end.cancel()
        failed = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(part.end() for part in everybody.parts))
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in failed:
        task.result()


def ports_before() -> dict[str, int]:
    """The ports this part had in its life before; nothing in its first."""
    ports: dict[str, int] = json.loads(os.environ.get(PORTS, "{}"))
    return ports


def die_with_starter() -> None:
    """Where the system can do it: whoever kills the service kills its parts, at once and not a moment later."""
    if STARTED in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def end_with_starter(ending: asyncio.Event) -> None:
    """Sets ``ending`` when whoever started this part is gone; waits for ever where it was started by hand."""
    if STARTED not in os.environ:
        await asyncio.Event().wait()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    ending.set()
