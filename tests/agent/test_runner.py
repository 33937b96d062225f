"""The agent's loops over ports that fail: what is retried, what is dropped, what ends the program."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from lastmetre.agent.errors import BearerDownError, ReceiptRefusedError, StoreError, TunnelDownError
from lastmetre.agent.runner import Runner
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.relay import ReceiptKind, decode_receipt
from lastmetre.relay.backoff import Backoff
from tests.agent_world import NOW, Told, answer, command, envelope, make_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from lastmetre.agent.core import StoreAndForward


class ScriptedBearer:
    """A supplier that gives envelopes, and fails when the script says so."""

    def __init__(self, *envelopes: bytes | Exception) -> None:
        self._envelopes = list(envelopes)
        self.refusals: list[Exception] = []
        self.receipts: list[bytes] = []
        self.stored_calls = 0
        self.changed = asyncio.Condition()

    async def next_envelope(self) -> bytes | None:
        """The next of the script, then nothing for ever."""
        if not self._envelopes:
            await asyncio.get_running_loop().create_future()
        following = self._envelopes.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    async def stored(self) -> None:
        """Count it."""
        self.stored_calls += 1

    async def hand_on(self, receipt: bytes) -> None:
        """Take it, unless the script refuses."""
        if self.refusals:
            raise self.refusals.pop(0)
        async with self.changed:
            self.receipts.append(receipt)
            self.changed.notify_all()

    async def until(self, kind: ReceiptKind) -> list[ReceiptKind]:
        """Wait for a receipt of that kind; the kinds so far."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: kind in self.kinds())
        return self.kinds()

    def kinds(self) -> list[ReceiptKind]:
        """What the supplier has heard."""
        return [decode_receipt(receipt).kind for receipt in self.receipts]


class ScriptedTunnel:
    """A hub that fails as often as it is told to, then takes everything and answers."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.passed_up: list[bytes] = []
        self.runner: Runner | None = None

    async def transfer(self, message: bytes) -> None:
        """The port's method."""
        if self.failures:
            self.failures -= 1
            raise TunnelDownError("no_answer")
        self.passed_up.append(message)
        assert self.runner is not None
        self.runner.message_from_tunnel(answer(7))


class SteppingClock:
    """A minute passes with every look, so that no pause is waited for; or none, when the test moves it."""

    def __init__(self, step_s: int = 60) -> None:
        self._step_s = step_s
        self.at = NOW

    def now(self) -> int:
        """The port's method."""
        self.at += self._step_s
        return self.at


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAgentStore]:
    """A new store on the disk."""
    with SqliteAgentStore(tmp_path / "agent.db") as opened:
        yield opened


@contextlib.asynccontextmanager
async def running(
    core: StoreAndForward,
    bearer: ScriptedBearer,
    tunnel: ScriptedTunnel,
    told: Told,
    clock: SteppingClock | None = None,
) -> AsyncIterator[asyncio.Task[None]]:
    """The loops at work."""
    runner = tunnel.runner = Runner(core, bearer, tunnel, clock or SteppingClock(), lambda: 0.0, told)
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_main_job_through_outages(store: SqliteAgentStore) -> None:
    """A bearer that is down twice and a tunnel that fails once end in RESPONSE, each receipt once, told once."""

    async def story() -> None:
        told = Told()
        down = BearerDownError("no route")
        long_envelope = envelope("order-1", command(7), expires_at=NOW + 86_400)
        bearer = ScriptedBearer(down, down, long_envelope)
        bearer.refusals = [down]
        tunnel = ScriptedTunnel(failures=1)
        async with running(make_agent(store, told), bearer, tunnel, told):
            assert await bearer.until(ReceiptKind.RESPONSE) == [ReceiptKind.TAKEN, ReceiptKind.RESPONSE]
        assert tunnel.passed_up == [command(7)]
        assert bearer.stored_calls == 1
        assert told.names().count("command_offered") == 2
        assert "bearer_lost" in told.names()
        assert told.names()[-1] != "bearer_lost"

    asyncio.run(story())


def test_a_refused_receipt_does_not_hold_up_the_next(store: SqliteAgentStore) -> None:
    """The supplier will not have the first: it is told and dropped, the others arrive."""

    async def story() -> None:
        told = Told()
        bearer = ScriptedBearer(envelope("order-1", command(7), expires_at=NOW + 86_400))
        bearer.refusals = [ReceiptRefusedError("order_id_unknown")]
        async with running(make_agent(store, told), bearer, ScriptedTunnel(), told):
            await bearer.until(ReceiptKind.RESPONSE)
        assert told.facts("receipt_refused")["reason"] == "order_id_unknown"
        assert store.waiting_receipt_count() == 0

    asyncio.run(story())


def test_a_store_that_fails_ends_the_program(store: SqliteAgentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """R08: nothing is acknowledged that was not stored; the loops end with the store's error."""

    def full(*_arguments: object) -> None:
        raise StoreError("disk full")

    async def story() -> None:
        told = Told()
        bearer = ScriptedBearer(envelope("order-1", command(7), expires_at=NOW + 86_400))
        monkeypatch.setattr(store, "add", full)
        async with running(make_agent(store, told), bearer, ScriptedTunnel(), told) as task:
            with pytest.raises(ExceptionGroup) as ended:
                await asyncio.wait_for(task, 10)
        assert ended.value.subgroup(StoreError) is not None
        assert bearer.stored_calls == 0
        assert not bearer.receipts

    asyncio.run(story())


def test_a_tunnel_that_opens_too_late_gets_nothing(store: SqliteAgentStore) -> None:
    """I3: the hub comes back at the very second of expiry: the order ends as expired, never offered."""

    async def story() -> None:
        told = Told()
        clock = SteppingClock(step_s=0)
        bearer = ScriptedBearer(envelope("order-1", command(7), expires_at=NOW + 200))
        tunnel = ScriptedTunnel()
        async with running(make_agent(store, told, open_tunnel=False), bearer, tunnel, told, clock):
            await bearer.until(ReceiptKind.TAKEN)
            clock.at = NOW + 200
            assert tunnel.runner is not None
            tunnel.runner.tunnel_opened()
            assert await bearer.until(ReceiptKind.EXPIRED) == [ReceiptKind.TAKEN, ReceiptKind.EXPIRED]
        assert decode_receipt(bearer.receipts[-1]).reason == "not_offered"
        assert not tunnel.passed_up

    asyncio.run(story())


def test_waits_grow_to_a_bound_and_are_spread() -> None:
    """Full jitter: from nothing up to a bound that doubles until five minutes, and starts again after a success."""
    most = Backoff(lambda: 1.0)
    assert [most.failed() for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    most.succeeded()
    assert most.failed() == 1
    least = Backoff(lambda: 0.0)
    assert [least.failed() for _ in range(5)] == [0] * 5
