"""The DSP's store in memory (implements ``dcc.ports.DspStore``); each transaction may be the last thing it does."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from lastmetre.dcc.ports import (
    KeptReply,
    LaneMarks,
    LocalResponse,
    OutboxItem,
    OutboxKind,
    PreCommandRecord,
    SealedCommand,
    Stage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.gbcs.catalogue import Lane
    from lastmetre.sim.parties import Life


@dataclass(slots=True)
class DspMemory:
    """What is on the disk. Its values are never changed in place, so a shallow copy is a savepoint."""

    replies: dict[tuple[str, Stage], KeptReply] = field(default_factory=dict)
    lanes: dict[tuple[bytes, bytes, Lane], LaneMarks] = field(default_factory=dict)
    pre_commands: dict[str, PreCommandRecord] = field(default_factory=dict)
    broker_counters: dict[bytes, int] = field(default_factory=dict)
    commands: dict[str, SealedCommand] = field(default_factory=dict)
    outbox: dict[int, OutboxItem] = field(default_factory=dict)
    alerts: dict[tuple[bytes, int], bool] = field(default_factory=dict)
    local_responses: dict[int, LocalResponse] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)


class MemoryDspStore:
    """One life's door to the disk."""

    def __init__(self, memory: DspMemory, life: Life) -> None:
        self._memory = memory
        self._life = life

    @contextlib.contextmanager
    def change(self) -> Iterator[MemoryDspChange]:
        """One transaction."""
        self._life.check()
        before = {f.name: dict(getattr(self._memory, f.name)) for f in fields(DspMemory)}
        change = MemoryDspChange(self._memory)
        try:
            yield change
            if change.wrote:
                self._life.write("commit", "before")
        except BaseException:
            for name, value in before.items():
                setattr(self._memory, name, value)
            raise
        if change.wrote:
            self._life.write("commit", "after")


class MemoryDspChange:
    """Reading and writing inside one transaction."""

    def __init__(self, memory: DspMemory) -> None:
        self._memory = memory
        self.wrote = False

    def _next(self, name: str) -> int:
        self.wrote = True
        self._memory.numbers[name] = self._memory.numbers.get(name, 0) + 1
        return self._memory.numbers[name]

    def reply(self, request_id: str, stage: Stage) -> KeptReply | None:
        """As in the port."""
        return self._memory.replies.get((request_id, stage))

    def keep_reply(self, request_id: str, stage: Stage, reply: KeptReply) -> None:
        """As in the port."""
        assert (request_id, stage) not in self._memory.replies, "answered twice"
        self.wrote = True
        self._memory.replies[request_id, stage] = reply

    def lane(self, originator_id: bytes, target_id: bytes, lane: Lane) -> LaneMarks:
        """As in the port."""
        return self._memory.lanes.get((originator_id, target_id, lane), LaneMarks())

    def set_lane(self, originator_id: bytes, target_id: bytes, lane: Lane, marks: LaneMarks) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.lanes[originator_id, target_id, lane] = marks

    def pre_command(self, request_id: str) -> PreCommandRecord | None:
        """As in the port."""
        return self._memory.pre_commands.get(request_id)

    def keep_pre_command(self, request_id: str, record: PreCommandRecord) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.pre_commands[request_id] = record

    def next_broker_counter(self, target_id: bytes) -> int:
        """As in the port."""
        return self._next(f"broker {target_id.hex()}")

    def keep_command(self, command: SealedCommand) -> None:
        """As in the port."""
        same = self.command(command.target_id, command.originator_id, command.counter)
        assert same is None, "sealed twice under one counter"
        assert command.request_id not in self._memory.commands, "sealed twice for one request"
        self.wrote = True
        self._memory.commands[command.request_id] = command

    def command(self, target_id: bytes, originator_id: bytes, counter: int) -> SealedCommand | None:
        """As in the port."""
        wanted = (target_id, originator_id, counter)
        kept = self._memory.commands.values()
        return next((c for c in kept if (c.target_id, c.originator_id, c.counter) == wanted), None)

    def command_of_request(self, request_id: str) -> SealedCommand | None:
        """As in the port."""
        return self._memory.commands.get(request_id)

    def _mark(self, request_id: str, field_name: str, at: int) -> None:
        command = self._memory.commands.get(request_id)
        if command is not None and getattr(command, field_name) is None:
            self.wrote = True
            self._memory.commands[request_id] = replace(command, **{field_name: at})  # type: ignore[arg-type]

    def mark_sent(self, request_id: str, at: int) -> None:
        """As in the port."""
        self._mark(request_id, "sent_at", at)

    def mark_answered(self, request_id: str, at: int) -> None:
        """As in the port."""
        self._mark(request_id, "answered_at", at)

    def mark_given_up(self, request_id: str, at: int) -> None:
        """As in the port."""
        self._mark(request_id, "given_up_at", at)

    def unanswered(self, sent_before: int) -> tuple[SealedCommand, ...]:
        """As in the port."""
        return tuple(
            command
            for command in self._memory.commands.values()
            if command.sent_at is not None and command.sent_at < sent_before
            if command.answered_at is None and command.given_up_at is None
        )

    def put_out(self, kind: OutboxKind, to_id: bytes, body: bytes, request_id: str | None, at: int) -> None:
        """As in the port."""
        number = self._next("outbox")
        self._memory.outbox[number] = OutboxItem(number, kind, to_id, body, request_id, at)

    def outbox(self) -> tuple[OutboxItem, ...]:
        """As in the port."""
        return tuple(self._memory.outbox.values())

    def take_out(self, number: int) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.outbox.pop(number, None)

    def keep_alert(self, device_id: bytes, counter: int) -> bool:
        """As in the port."""
        if (device_id, counter) in self._memory.alerts:
            return False
        self.wrote = True
        self._memory.alerts[device_id, counter] = True
        return True

    def keep_local_response(self, response: LocalResponse) -> None:
        """As in the port."""
        self._memory.local_responses[self._next("local response")] = response

    def local_responses(self) -> tuple[LocalResponse, ...]:
        """As in the port."""
        return tuple(self._memory.local_responses.values())
