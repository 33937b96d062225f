"""The way out: the outbox's items leave by SM WAN or to a User's Receive Response service, however long it takes.

Rules this module keeps:

* What is in the outbox was decided and stored before; here it only leaves. An item is taken out after it left, so a
  crash between the two sends the very same bytes once more: hub, device and User know a repeat when they see one.
* One worker per destination, in the order put out; one that cannot be reached holds up nobody else.
* A hub that does not connect within ``wan_wait_s``: the User is told E20. A Command sent by WAN and not answered within
  ``response_wait_s``: E21, once; a Response that comes later is handed on all the same (DESIGN CHOICE: both times).
* Where ``resend_after_s`` says so, a Command without a Response is sent again, the very same octets, up to
  ``sends_max`` times in all: its counter makes that harmless.
* A User that refuses a document (HTTP 400) will not see it again.
* Whatever else waits for its time (``chores``) is looked at whenever the outbox is.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.dcc.access_control import Code
from lastmetre.dcc.inventory import WanCoverage
from lastmetre.dcc.ports import OutboxKind, PushOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import Clock, DspStore, OutboxItem, SealedCommand, Tell, Users, WanDoor
    from lastmetre.dcc.replies import Replies

Destination = tuple[OutboxKind, bytes]


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the way out is patient."""

    wan_wait_s: int = 60
    intermittent_wait_s: int = 86_400
    """As ``wan_wait_s`` where the WAN reaches a hub at times only: a day, so that its window comes."""
    response_wait_s: int = 3_600
    """A GSME sleeps for half an hour between wake-ups, and its answer may take one more."""
    retry_first_s: float = 0.5
    retry_max_s: float = 30.0
    resend_after_s: int = 0
    """Zero: a Command is sent once. The link itself repeats what is lost; this is for a WAN model that loses more."""
    sends_max: int = 3
    tick_s: float = 5.0
    """How often times are looked at when nothing else happens."""


class Egress:
    """Empties the outbox for as long as ``run`` runs."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        store: DspStore,
        wan: WanDoor,
        users: Users,
        replies: Replies,
        tell: Tell,
        clock: Clock,
        waits: Waits | None = None,
        chores: Callable[[], None] = lambda: None,
    ) -> None:
        self._chores = chores
        self._inventory = inventory
        self._store = store
        self._wan = wan
        self._users = users
        self._replies = replies
        self._tell = tell
        self._clock = clock
        self._waits = waits or Waits()
        self._poked = asyncio.Event()
        self._workers: dict[Destination, asyncio.Event] = {}

    def poke(self) -> None:
        """Something new is in the outbox, or a hub has connected."""
        self._poked.set()

    async def run(self) -> None:
        """Work until cancelled; an error in a worker is an error of ours and ends everything."""
        async with asyncio.TaskGroup() as workers:
            while True:
                self._poked.clear()
                self._chores()
                self.give_up_unanswered()
                self.send_again()
                for destination in self._destinations():
                    wake = self._workers.get(destination)
                    if wake is not None:
                        wake.set()
                    else:
                        self._workers[destination] = asyncio.Event()
                        workers.create_task(self._work(destination))
                await _set_within(self._poked, self._waits.tick_s)

    def give_up_unanswered(self) -> None:
        """Tell the Users of Commands that left by WAN and brought no Response in time (E21)."""
        now = self._clock()
        given_up = []
        with self._store.change() as change:
            for command in change.unanswered(now - self._waits.response_wait_s):
                change.mark_given_up(command.request_id, now)
                reply = self._replies.failure(command, Code.NO_RESPONSE, now)
                change.put_out(OutboxKind.PUSH, command.user_id, reply, command.request_id, now)
                given_up.append(command)
        for command in given_up:
            self._tell_of("command_not_answered", command, code=Code.NO_RESPONSE.value)

    def send_again(self) -> None:
        """Put Commands without a Response out once more, if there is still a try left."""
        if not self._waits.resend_after_s:
            return
        now = self._clock()
        before = now - self._waits.resend_after_s
        with self._store.change() as change:
            waiting = {item.request_id for item in change.outbox() if item.kind is OutboxKind.WAN}
            again = [
                command
                for command in change.unanswered(before)
                if command.tries < self._waits.sends_max and (command.tried_at or now) < before
                if command.request_id not in waiting
            ]
            for command in again:
                change.mark_tried(command.request_id, now)
                change.put_out(OutboxKind.WAN, command.hub_id, command.command, command.request_id, now)
        for command in again:
            self._tell_of("command_sent_again", command, hub_id=command.hub_id.hex())

    def _destinations(self) -> set[Destination]:
        with self._store.change() as change:
            return set(change.destinations())

    async def _work(self, destination: Destination) -> None:
        wake = self._workers[destination]
        wait_s = self._waits.retry_first_s
        try:
            while (item := self._next(destination)) is not None:
                wake.clear()
                if await self._leave(item):
                    wait_s = self._waits.retry_first_s
                    continue
                await _set_within(wake, wait_s)
                wait_s = min(wait_s * 2, self._waits.retry_max_s)
        finally:
            del self._workers[destination]

    def _next(self, destination: Destination) -> OutboxItem | None:
        with self._store.change() as change:
            return change.next_out(*destination)

    async def _leave(self, item: OutboxItem) -> bool:
        """Whether this item is done with."""
        return await (self._leave_by_wan(item) if item.kind is OutboxKind.WAN else self._push(item))

    async def _leave_by_wan(self, item: OutboxItem) -> bool:
        sent = await self._wan.send(item.to_id, item.body)
        now = self._clock()
        if not sent and now - item.put_at < self._patience_s(item.to_id):
            return False
        with self._store.change() as change:
            change.take_out(item.number)
            command = change.command_of_request(item.request_id or "")
            if command is not None and sent:
                change.mark_sent(command.request_id, now)
            elif command is not None:
                change.mark_given_up(command.request_id, now)
                reply = self._replies.failure(command, Code.CANNOT_COMMUNICATE, now)
                change.put_out(OutboxKind.PUSH, command.user_id, reply, command.request_id, now)
        if command is not None and sent:
            self._tell_of("command_sent_by_wan", command, hub_id=item.to_id.hex())
        elif command is not None:
            self._tell_of("command_not_sent", command, hub_id=item.to_id.hex(), code=Code.CANNOT_COMMUNICATE.value)
            self.poke()
        return True

    def _patience_s(self, hub_id: bytes) -> int:
        hub = self._inventory.device(hub_id)
        intermittent = hub is not None and hub.wan_coverage is WanCoverage.INTERMITTENT
        return self._waits.intermittent_wait_s if intermittent else self._waits.wan_wait_s

    async def _push(self, item: OutboxItem) -> bool:
        user = self._inventory.user(item.to_id)
        outcome = PushOutcome.REFUSED if user is None else await self._users.push(user.receive_url, item.body)
        if outcome is PushOutcome.NOT_REACHED:
            return False
        with self._store.change() as change:
            change.take_out(item.number)
        event = "response_pushed" if outcome is PushOutcome.ACCEPTED else "push_refused"
        self._tell(event, request_id=item.request_id, user_id=item.to_id.hex())
        return True

    def _tell_of(self, event: str, command: SealedCommand, **more: str) -> None:
        self._tell(event, request_id=command.request_id, device_id=command.target_id.hex(), **more)


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set or the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
