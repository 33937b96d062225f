"""The DSP dies before and after its durable writes, and starts again: nothing is lost and nothing doubled (R6).

A hundred requests of every sort (by WAN, local, critical, top-ups, for a date, in a sequence, to the DCC itself) with a
real meter below; whoever spoke to a DSP that died says the same again, as a User, a hub and a Receive Response service
do. What is seen from outside must be what one uninterrupted life shows.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import pytest

from lastmetre.dcc.ports import Service
from lastmetre.duis.documents import build_signed_request, signed_pre_command
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import sign_pre_command
from lastmetre.sim.memory_dsp import MemoryDspStore
from tests import own_world as own
from tests.dsp_world import (
    SERVICES,
    World,
    after,
    arm,
    at_date,
    code,
    local_command,
    pre_command,
    read,
    read_balance,
    returned,
    top_up,
    xml_signer,
)
from tests.own_world import DS, NOW, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.duis.documents import Request
    from lastmetre.home.esme import Esme
    from lastmetre.sim.parties import Life

_T = TypeVar("_T")
PENCE = 100


class Killed(BaseException):
    """The process is dead."""


class Doom:
    """Decides which of the writes are the last of a life (stands where ``sim.parties.Life`` does)."""

    def __init__(self, kill: Callable[[int], bool]) -> None:
        self.writes = 0
        self.kills = 0
        self._kill = kill

    def check(self) -> None:
        """The process lives until a write."""

    def write(self, _name: str, _place: str) -> None:
        """Before or after a commit."""
        self.writes += 1
        if self._kill(self.writes):
            self.kills += 1
            raise Killed


class Mortal(World):
    """A DSP that dies at its writes and is started again by whoever finds it dead."""

    def __init__(self, kill: Callable[[int], bool]) -> None:
        self.doom = Doom(kill)
        super().__init__()

    def _open(self) -> None:
        super()._open()
        life: Life = self.doom  # type: ignore[assignment]  # the two methods a store calls
        self.store._life = life

    def until_done(self, call: Callable[[], _T]) -> _T:
        """Say it again to every next life, until one has heard it to the end."""
        while True:
            try:
                return call()
            except Killed:
                self.restart()


@dataclass
class Outside:
    """The User, the hub and the meter around a DSP."""

    world: Mortal
    answers: dict[bytes, set[bytes]] = field(default_factory=dict)
    pushed: list[bytes] = field(default_factory=list)
    commands: dict[int, set[bytes]] = field(default_factory=dict)
    meter: Esme = field(default_factory=lambda: own.meter(balance=0))
    responses: dict[bytes, list[bytes]] = field(default_factory=dict)

    def ask(self, asked: Request) -> bytes:
        """One request, until it is answered; then once more, for the same answer."""
        document = build_signed_request(asked, xml_signer(SUPPLIER))
        service = SERVICES.get(asked.header.command_variant, Service.NON_DEVICE)
        for _ in range(2):
            answer = self.world.until_done(lambda: self.world.dsp.answer(service, SUPPLIER, document))
            self.answers.setdefault(document, set()).add(answer)
        return answer

    def settle(self) -> None:
        """Everything leaves, is executed and answered, until the DSP has nothing left to do."""
        while True:
            self.world.until_done(self._chores)
            items = self.world.until_done(self._outbox)
            if not items:
                return
            for item in items:
                self.world.until_done(lambda item=item: self._leave(item))  # type: ignore[misc]
            self.pushed += [document for _, document in self.world.users.pushed]
            self.world.users.pushed.clear()
            sent, self.world.wan.sent = self.world.wan.sent, []
            for hub_id, command in sent:
                for message in self.execute(command):
                    self.world.until_done(
                        lambda hub_id=hub_id, message=message: self.world.from_wan(message, hub_id)  # type: ignore[misc]
                    )

    def _chores(self) -> None:
        self.world.dsp.chores()

    def _outbox(self) -> tuple[object, ...]:
        with self.world.store.change() as change:
            return change.outbox()

    def _leave(self, item: object) -> None:
        asyncio.run(_discreet(self.world.dsp.egress._leave(item)))  # type: ignore[arg-type]

    def execute(self, command: bytes) -> list[bytes]:
        """What the meter says; asked again it says the same, for the hub keeps a Response until it is taken."""
        if command not in self.responses:
            self.responses[command] = self.meter.receive(command, NOW)
        self.commands.setdefault(parse_message(command).header.originator_counter, set()).add(command)
        return self.responses[command]


async def _discreet(leaving: object) -> None:
    """``asyncio.run`` treats a foreign BaseException as the end of the world; it passes through here as it is."""
    await leaving  # type: ignore[misc]


def a_hundred(outside: Outside, count: int) -> list[str]:
    """Requests of every sort in the order of their counters; the codes they were answered with."""
    codes, before = [], None
    for counter in range(1, count + 1):
        match counter % 6:
            case 0:
                asked = read_balance(counter, 1)
                before = asked
            case 1 if before is not None:
                asked = after(read_balance(counter, 1), before)
            case 2:
                asked = top_up(counter, PENCE, 1)
            case 3:
                octets = pre_command(read(outside.ask(arm(counter))))
                signed = sign_pre_command(octets, own.private_key(SUPPLIER, DS))
                asked = signed_pre_command(arm(counter), signed, 5)
            case 4:
                outside.settle()  # what is carried by hand must not overtake what is on the air
                command = local_command(read(outside.ask(read_balance(counter, 2))))
                (response,) = outside.execute(command)
                asked = returned(counter, response)
            case _:
                asked = read_balance(counter, 3)
        codes.append(code(read(outside.ask(asked))))
        if counter % 6 == 1:  # the one before and this one were asked at once; nothing may overtake them
            outside.settle()
    dated = [at_date(read_balance(count + number, 1), NOW + 60 * number) for number in range(1, count // 25 + 2)]
    codes += [code(read(outside.ask(asked))) for asked in dated]
    outside.settle()
    for _ in dated:
        outside.world.now += 60
        outside.settle()
    return codes


def seen(outside: Outside) -> tuple[dict[str, int], dict[int, int], int]:
    """By RequestID how many different documents were pushed; Commands by counter; the meter's balance."""
    pushed: dict[str, set[bytes]] = {}
    for document in outside.pushed:
        pushed.setdefault(str(read(document).header.request_id), set()).add(document)
    commands = {counter: len(octets) for counter, octets in outside.commands.items()}
    return {key: len(found) for key, found in pushed.items()}, commands, outside.meter.state.balance


@cache
def uninterrupted() -> tuple[Outside, list[str]]:
    """A hundred requests in one life."""
    return play(lambda _write: False, 100)


def play(kill: Callable[[int], bool], count: int) -> tuple[Outside, list[str]]:
    """One whole story."""
    outside = Outside(Mortal(kill))
    codes = a_hundred(outside, count)
    assert all(len(found) == 1 for found in outside.answers.values()), "one document, two answers"
    memory = outside.world.memory
    assert not memory.held
    assert not memory.outbox
    sealed = [command for command in memory.commands.values() if command.route.value != "local"]
    assert all(command.answered_at is not None for command in sealed)
    return outside, codes


def test_one_uninterrupted_life() -> None:
    """What the others are held against: every request good, every Command once, every top-up credited."""
    outside, codes = uninterrupted()
    pushed, commands, balance = seen(outside)
    assert set(codes) == {"I99"}
    assert set(commands.values()) == {1}
    assert len(commands) == 105, "five of them at their dates"
    assert balance == PENCE * 1_000 * len([n for n in range(1, 101) if n % 6 == 2])
    assert max(pushed.values()) <= 2  # CV3: the copy and the Response


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_write_of_a_hundred_requests(seed: int) -> None:
    """Dozens of deaths in a hundred requests, before and after commits: the same is seen as in one life."""
    whole, codes = uninterrupted()
    luck = random.Random(seed)
    outside, again = play(lambda _write: luck.random() < 0.08, 100)
    assert outside.world.doom.kills > 50
    assert again == codes
    assert seen(outside) == seen(whole)


def test_killed_at_every_single_write_once() -> None:
    """A small story, and each of its writes the last of a life in turn."""
    whole, codes = play(lambda _write: False, 7)
    wanted, writes = seen(whole), whole.world.doom.writes
    assert writes > 50
    for write in range(1, writes + 1):
        outside, again = play(lambda number, write=write: number == write, 7)  # type: ignore[misc]
        assert outside.world.doom.kills == 1
        assert again == codes, write
        assert seen(outside) == wanted, write


def test_the_memory_of_tests_forgets_what_was_not_committed() -> None:
    """The harness itself: a kill before a commit leaves nothing, one after it leaves all."""
    for at, left in ((1, 0), (2, 1)):
        world = Mortal(lambda write, at=at: write == at)  # type: ignore[misc]
        assert isinstance(world.store, MemoryDspStore)
        with pytest.raises(Killed):
            world.post(read_balance(5, 1))
        assert len(world.memory.commands) == left
