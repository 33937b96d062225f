"""The DSP's store in memory (implements ``dcc.ports.DspStore``); each transaction may be the last thing it does."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from lastmetre.dcc.ports import (
    Decision,
    DeviceRow,
    HeldKind,
    HeldRequest,
    HubAbsence,
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
    held: dict[int, HeldRequest] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    uses: dict[int, tuple[bytes, str, int]] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    top_ups: dict[tuple[bytes, bytes, int], bool] = field(default_factory=dict)
    devices: dict[bytes, DeviceRow] = field(default_factory=dict)
    absences: dict[bytes, HubAbsence] = field(default_factory=dict)
    blocks: dict[bytes, tuple[tuple[bytes, int], ...]] = field(default_factory=dict)


class MemoryDspStore:
    """One life's door to the disk; without a life, of a process that does not die."""

    def __init__(self, memory: DspMemory, life: Life | None = None) -> None:
        self._memory = memory
        self._life = life

    @contextlib.contextmanager
    def change(self) -> Iterator[MemoryDspChange]:
        """One transaction."""
        if self._life is not None:
            self._life.check()
        before = {f.name: dict(getattr(self._memory, f.name)) for f in fields(DspMemory)}
        change = MemoryDspChange(self._memory)
        try:
            yield change
            if change.wrote and self._life is not None:
                self._life.write("commit", "before")
        except BaseException:
            for name, value in before.items():
                setattr(self._memory, name, value)
            raise
        if change.wrote and self._life is not None:
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

    def mark_answered(self, request_id: str, at: int, *, succeeded: bool | None = None) -> None:
        """As in the port."""
        command = self._memory.commands.get(request_id)
        if command is not None and command.answered_at is None:
            self.wrote = True
            self._memory.commands[request_id] = replace(command, answered_at=at, succeeded=succeeded)

    def mark_tried(self, request_id: str, at: int) -> None:
        """As in the port."""
        command = self._memory.commands.get(request_id)
        if command is not None:
            self.wrote = True
            self._memory.commands[request_id] = replace(command, tries=command.tries + 1, tried_at=at)

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

    def destinations(self) -> frozenset[tuple[OutboxKind, bytes]]:
        """As in the port."""
        return frozenset((item.kind, item.to_id) for item in self._memory.outbox.values())

    def next_out(self, kind: OutboxKind, to_id: bytes) -> OutboxItem | None:
        """As in the port."""
        return next((item for item in self._memory.outbox.values() if (item.kind, item.to_id) == (kind, to_id)), None)

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

    def hold(self, held: HeldRequest) -> int:
        """As in the port."""
        assert self.held_of(held.request_id) is None, "held twice"
        number = self._next("held")
        self._memory.held[number] = replace(held, number=number)
        return number

    def held(self, number: int) -> HeldRequest | None:
        """As in the port."""
        return self._memory.held.get(number)

    def held_requests(self, kind: HeldKind | None = None) -> tuple[HeldRequest, ...]:
        """As in the port."""
        return tuple(held for _, held in sorted(self._memory.held.items()) if kind in {None, held.kind})

    def held_of(self, request_id: str) -> HeldRequest | None:
        """As in the port."""
        return next((held for held in self._memory.held.values() if held.request_id == request_id), None)

    def due(self, at: int) -> tuple[HeldRequest, ...]:
        """As in the port."""
        timed = [(h.due_at, h.number, h) for h in self._memory.held.values() if h.due_at is not None and h.due_at <= at]
        return tuple(held for _, _, held in sorted(timed, key=lambda row: row[:2]))

    def move_due(self, number: int, due_at: int) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.held[number] = replace(self._memory.held[number], due_at=due_at)

    def let_go(self, number: int) -> bool:
        """As in the port."""
        if self._memory.held.pop(number, None) is None:
            return False
        self.wrote = True
        return True

    def fail_request(self, request_id: str, at: int) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.failed.setdefault(request_id, at)

    def failed_request(self, request_id: str) -> bool:
        """As in the port."""
        return request_id in self._memory.failed

    def note_use(self, user_id: bytes, service_reference_variant: str, at: int) -> None:
        """As in the port."""
        self._memory.uses[self._next("use")] = (user_id, service_reference_variant, at)

    def uses(self, user_id: bytes, service_reference_variant: str | None, since_at: int) -> int:
        """As in the port."""
        return sum(
            user == user_id and service_reference_variant in {None, variant} and at >= since_at
            for user, variant, at in self._memory.uses.values()
        )

    def forget_uses(self, before_at: int) -> None:
        """As in the port."""
        old = [number for number, (_, _, at) in self._memory.uses.items() if at < before_at]
        self.wrote = self.wrote or bool(old)
        for number in old:
            del self._memory.uses[number]

    def decide(self, decision: Decision) -> bool:
        """As in the port."""
        if decision.number in self._memory.decisions:
            return False
        self.wrote = True
        self._memory.decisions[decision.number] = decision
        return True

    def undone_decisions(self) -> tuple[Decision, ...]:
        """As in the port."""
        return tuple(decision for decision in self._memory.decisions.values() if decision.done_at is None)

    def mark_decision_done(self, number: int, request_id: str | None, at: int) -> None:
        """As in the port."""
        self.wrote = True
        done = replace(self._memory.decisions[number], request_id=request_id, done_at=at)
        self._memory.decisions[number] = done

    def decisions(self) -> tuple[Decision, ...]:
        """As in the port."""
        return tuple(self._memory.decisions.values())

    def keep_top_up(self, originator_id: bytes, target_id: bytes, counter: int) -> None:
        """As in the port."""
        assert (originator_id, target_id, counter) not in self._memory.top_ups, "a top-up sealed twice"
        self.wrote = True
        self._memory.top_ups[originator_id, target_id, counter] = True

    def top_ups(self, originator_id: bytes, target_id: bytes) -> tuple[int, ...]:
        """As in the port."""
        mine = [key[2] for key in self._memory.top_ups if key[:2] == (originator_id, target_id)]
        return tuple(sorted(mine, reverse=True)[:100])

    def keep_device(self, row: DeviceRow) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.devices[row.device_id] = row

    def devices(self) -> tuple[DeviceRow, ...]:
        """As in the port."""
        return tuple(row for _, row in sorted(self._memory.devices.items()))

    def hub_away(self, hub_id: bytes, at: int) -> None:
        """As in the port."""
        if hub_id not in self._memory.absences:
            self.wrote = True
            self._memory.absences[hub_id] = HubAbsence(hub_id, at)

    def hub_back(self, hub_id: bytes) -> HubAbsence | None:
        """As in the port."""
        absence = self._memory.absences.pop(hub_id, None)
        self.wrote = self.wrote or absence is not None
        return absence

    def absences(self) -> tuple[HubAbsence, ...]:
        """As in the port."""
        return tuple(sorted(self._memory.absences.values(), key=lambda absence: (absence.since_at, absence.hub_id)))

    def mark_absence_told(self, hub_id: bytes, at: int) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.absences[hub_id] = replace(self._memory.absences[hub_id], told_at=at)

    def keep_block(self, transfer: bytes, block: bytes, at: int) -> None:
        """As in the port."""
        kept = self._memory.blocks.get(transfer, ())
        if block not in [one for one, _ in kept]:
            self.wrote = True
            self._memory.blocks[transfer] = (*kept, (block, at))

    def blocks(self, transfer: bytes) -> tuple[bytes, ...]:
        """As in the port."""
        return tuple(block for block, _ in self._memory.blocks.get(transfer, ()))

    def transfers(self) -> int:
        """As in the port."""
        return len(self._memory.blocks)

    def drop_blocks(self, transfer: bytes) -> None:
        """As in the port."""
        self.wrote = True
        self._memory.blocks.pop(transfer, None)

    def drop_old_blocks(self, before_at: int) -> int:
        """As in the port."""
        old = [transfer for transfer, kept in self._memory.blocks.items() if kept[0][1] < before_at]
        self.wrote = self.wrote or bool(old)
        for transfer in old:
            del self._memory.blocks[transfer]
        return len(old)
