"""Counters with a mark outside the database: a restored backup repeats none, and is noticed at the start."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.counter_marks import CounterMarksError, FileMarks
from lastmetre.supplier.counter_marks import AHEAD, Mark, open_counters
from lastmetre.supplier.errors import CountersBehind
from lastmetre.supplier.store_memory import MemoryOrderStore
from tests.own_world import ESME

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("lane", [Lane.ORDINARY, Lane.TOP_UP])
@pytest.mark.parametrize("later", [1, 200_000])
def test_a_restored_backup_repeats_no_counter(tmp_path: Path, lane: Lane, later: int) -> None:
    """Drill R07: within a reservation the next life skips it; behind it the start is refused and says what to do."""

    async def drill() -> None:
        store, used = MemoryOrderStore(), []
        with FileMarks(tmp_path / "marks") as marks:
            counters = await open_counters(store, marks)
            used.append(await counters.next_counter(ESME, lane, 1_000_000))
            backup = copy.copy(store._counters)
            used += [await counters.next_counter(ESME, lane, 1_000_000 + later + n) for n in range(3)]
        store._counters = backup
        with FileMarks(tmp_path / "marks") as marks:
            if later > AHEAD[lane]:
                with pytest.raises(CountersBehind, match=r"6\.24\.1"):
                    await open_counters(store, marks)
            counters = await open_counters(store, marks, resynchronised=True)
            used += [await counters.next_counter(ESME, lane, 1_000_000) for _ in range(3)]
        assert used == sorted(set(used))

    asyncio.run(drill())


def test_an_empty_store_behind_its_marks_is_refused(tmp_path: Path) -> None:
    """Another database is not this one, even when it is new."""

    async def drill() -> None:
        with FileMarks(tmp_path / "marks") as marks:
            marks.save(ESME, Lane.ORDINARY, Mark(5, 10))
            with pytest.raises(CountersBehind, match="knows of none"):
                await open_counters(MemoryOrderStore(), marks)

    asyncio.run(drill())


def test_the_mark_is_durable_before_the_value_is_used(tmp_path: Path) -> None:
    """What cannot be marked is not given out; inside a reservation nothing is written."""

    async def drill() -> None:
        path = tmp_path / "marks"
        with FileMarks(path) as marks:
            counters = await open_counters(MemoryOrderStore(), marks)
            value = await counters.next_counter(ESME, Lane.ORDINARY, 7)
            written = path.read_bytes()
            assert marks.load() == {(ESME, Lane.ORDINARY): Mark(value, value + AHEAD[Lane.ORDINARY])}
            await counters.next_counter(ESME, Lane.ORDINARY, 7)
            assert path.read_bytes() == written
        with pytest.raises(CounterMarksError):
            await counters.next_counter(ESME, Lane.TOP_UP, 7)

    asyncio.run(drill())


def test_several_processes_and_no_rubbish(tmp_path: Path) -> None:
    """Two workers share a file; a torn last line is cut off; any other line that is no mark is named."""
    path = tmp_path / "marks"
    with FileMarks(path) as marks, FileMarks(path) as other:
        marks.save(ESME, Lane.TOP_UP, Mark(0, 60))
        other.save(ESME, Lane.TOP_UP, Mark(1, 61))
        assert marks.load() == other.load()
    with path.open("ab") as file:
        file.write(b'["00005eef1000')
    with FileMarks(path) as marks:
        assert marks.load() == {(ESME, Lane.TOP_UP): Mark(1, 61)}
        marks.save(ESME, Lane.TOP_UP, Mark(70, 130))
        assert marks.load() == {(ESME, Lane.TOP_UP): Mark(70, 130)}
    path.write_bytes(path.read_bytes() + b"nothing\n")
    with FileMarks(path) as marks, pytest.raises(CounterMarksError, match="marks:4 is no mark"):
        marks.load()
