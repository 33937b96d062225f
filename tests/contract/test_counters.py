"""Counters on PostgreSQL with a mark beside it: two workers, a killed one and its successor never share a value."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from lastmetre.links.order_store import prepare_schema
from lastmetre.links.postgres import APPLICATION_ROLE, EmbeddedPostgres

_WORKER = """
import asyncio, sys
from pathlib import Path
from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.counter_marks import FileMarks
from lastmetre.links.order_store import open_store
from lastmetre.supplier.counter_marks import open_counters

async def main():
    async with open_store(sys.argv[1]) as store:
        with FileMarks(Path(sys.argv[2])) as marks:
            counters = await open_counters(store, marks)
            for _ in range(int(sys.argv[3])):
                print(await counters.next_counter(bytes(8), Lane.TOP_UP, 1), flush=True)

asyncio.run(main())
"""


def test_two_workers_a_killed_one_and_its_successor(tmp_path: Path) -> None:
    """Each value that any of them was given is given to nobody else, and the marks file is shared without harm."""

    async def worker(url: str, count: int) -> asyncio.subprocess.Process:
        arguments = [sys.executable, "-c", _WORKER, url, str(tmp_path / "marks"), str(count)]
        return await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)

    async def drill(url: str) -> None:
        victim, other = await worker(url, 100_000), await worker(url, 150)
        assert victim.stdout is not None
        given = [int(await victim.stdout.readline()) for _ in range(50)]
        victim.kill()
        rest, _ = await victim.communicate()
        given += [int(line) for line in rest.decode().splitlines(keepends=True) if line.endswith("\n")]
        successor = await worker(url, 150)
        for process in (other, successor):
            told, _ = await process.communicate()
            assert process.returncode == 0
            given += [int(line) for line in told.split()]
        assert len(given) >= 350
        assert len(set(given)) == len(given)

    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "store")
        try:
            urls = server.start()
            prepare_schema(urls.owner, APPLICATION_ROLE)
            asyncio.run(drill(urls.application))
        finally:
            server.remove()
