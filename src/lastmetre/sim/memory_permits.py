"""The permits' store in memory (implements ``dcc.ports.PermitStore``); a commit may be the last thing it does."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.dcc.ports import PermitRecord
    from lastmetre.sim.parties import Life


@dataclass(slots=True)
class PermitMemory:
    """What is on the disk."""

    serials: dict[bytes, int] = field(default_factory=dict)
    voids: dict[bytes, int] = field(default_factory=dict)
    records: list[PermitRecord] = field(default_factory=list)


class MemoryPermitStore:
    """One life's door to the disk."""

    def __init__(self, memory: PermitMemory, life: Life) -> None:
        self._memory = memory
        self._life = life

    @contextlib.contextmanager
    def change(self) -> Iterator[MemoryPermitChange]:
        """One transaction."""
        self._life.check()
        memory = self._memory
        before = dict(memory.serials), dict(memory.voids), list(memory.records)
        try:
            yield MemoryPermitChange(memory)
            self._life.write("permit", "before")
        except BaseException:
            memory.serials, memory.voids, memory.records = before
            raise
        self._life.write("permit", "after")


class MemoryPermitChange:
    """Reading and writing inside one transaction."""

    def __init__(self, memory: PermitMemory) -> None:
        self._memory = memory

    def next_serial(self, hub_id: bytes) -> int:
        """As in the port."""
        self._memory.serials[hub_id] = self._memory.serials.get(hub_id, 0) + 1
        return self._memory.serials[hub_id]

    def void_below(self, hub_id: bytes) -> int:
        """As in the port."""
        return self._memory.voids.get(hub_id, 0)

    def void(self, hub_id: bytes) -> int:
        """As in the port."""
        self._memory.voids[hub_id] = self._memory.serials.get(hub_id, 0) + 1
        return self._memory.voids[hub_id]

    def keep(self, record: PermitRecord) -> None:
        """As in the port."""
        known = {(one.hub_id, one.serial) for one in self._memory.records}
        assert (record.hub_id, record.serial) not in known, "a serial was given twice"
        self._memory.records.append(record)

    def issued(self, request_id: str, since_at: int) -> int:
        """As in the port."""
        return sum(one.request_id == request_id and one.issued_at > since_at for one in self._memory.records)

    def records(self, hub_id: bytes) -> tuple[PermitRecord, ...]:
        """As in the port."""
        return tuple(one for one in self._memory.records if one.hub_id == hub_id)
