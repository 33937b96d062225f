"""The code road: twenty digits entered at the meter, as the PPMID of today does; what the agent says of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from lastmetre.agent.core import Binding, StoreAndForward
from lastmetre.agent.errors import TunnelDownError
from lastmetre.agent.runner import Runner
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.relay import CommandClass, ReceiptKind, encode_envelope, make_envelope
from tests import own_world as own
from tests.agent.test_permits import Hub, Silence, StillClock
from tests.agent_world import ESME, GPF, HUB, NOW, Told, collect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGITS = own.top_up_digits(5, 1_500)


class Keypad:
    """Enters codes at a real meter; the first answers may get lost."""

    def __init__(self, losses: int = 0) -> None:
        self.meter = own.meter(balance=0)
        self.losses = losses
        self.entered: list[tuple[bytes, str]] = []

    async def enter(self, device_id: bytes, digits: str) -> bool:
        """The port's method."""
        self.entered.append((device_id, digits))
        done = self.meter.customer_top_up(digits)
        if self.losses:
            self.losses -= 1
            raise TunnelDownError("no_answer")
        return done


def content(target: bytes = ESME, digits: str = DIGITS) -> bytes:
    """An envelope with a code."""
    return encode_envelope(
        make_envelope("order-1", HUB, target, NOW + 600, digits.encode(), command_class=CommandClass.CODE)
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAgentStore]:
    """A new store on the disk."""
    with SqliteAgentStore(tmp_path / "agent.db") as opened:
        yield opened


def make_agent(store: SqliteAgentStore, told: Told | None = None) -> StoreAndForward:
    """An agent that can enter codes at the electricity meter."""
    agent = StoreAndForward(Binding(HUB, frozenset({ESME, GPF}), frozenset({ESME})), store, told or Told(), None)
    agent.tunnel_opened()
    return agent


def work(agent: StoreAndForward, keypad: Keypad, hub: Hub | None = None, clock: StillClock | None = None) -> Hub:
    """Let the runner work for a moment."""
    tunnel = hub or Hub()

    async def run() -> None:
        runner = tunnel.runner = Runner(agent, Silence(), tunnel, clock or StillClock(), lambda: 0.0, Told(), keypad)
        task = asyncio.create_task(runner.run())
        for _ in range(40):
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    return tunnel


def test_a_code_is_entered_at_the_meter_and_not_passed_up(store: SqliteAgentStore) -> None:
    """Taken, entered once, accepted: the credit is there, nothing went up the tunnel."""
    agent, keypad = make_agent(store), Keypad()
    agent.take(content(), NOW)
    assert work(agent, keypad).passed_up == []
    assert keypad.entered == [(ESME, DIGITS)]
    assert keypad.meter.state.balance == 1_500_000
    receipts = collect(agent)
    assert [(one.kind, one.outcome) for one in receipts] == [
        (ReceiptKind.TAKEN, None), (ReceiptKind.ENTERED, "accepted"),
    ]  # fmt: skip
    work(agent, keypad)
    assert len(keypad.entered) == 1


def test_a_code_the_meter_refuses_is_told_as_refused(store: SqliteAgentStore) -> None:
    """Wrong digits: the meter says no, and so does the receipt."""
    agent, keypad = make_agent(store), Keypad()
    wrong = DIGITS[:-1] + str((int(DIGITS[-1]) + 1) % 10)
    agent.take(content(digits=wrong), NOW)
    work(agent, keypad)
    assert collect(agent)[-1].outcome == "refused"
    assert keypad.meter.state.balance == 0


def test_a_refusal_after_silence_says_so(store: SqliteAgentStore) -> None:
    """The first entry worked and its answer was lost: the second is refused as used; the credit came once."""
    agent, keypad, clock = make_agent(store), Keypad(losses=1), StillClock()
    agent.take(content(), NOW)
    work(agent, keypad, clock=clock)
    assert collect(agent)[-1].kind is ReceiptKind.TAKEN
    clock.at += 60
    work(agent, keypad, clock=clock)
    assert collect(agent)[-1].outcome == "refused_after_silence"
    assert len(keypad.entered) == 2
    assert keypad.meter.state.balance == 1_500_000


def test_a_code_survives_a_restart(store: SqliteAgentStore) -> None:
    """Stored before it is acknowledged, entered by the next life of the agent."""
    make_agent(store).take(content(), NOW)
    keypad = Keypad()
    work(make_agent(store), keypad)
    assert keypad.meter.state.balance == 1_500_000


def test_an_expired_code_is_not_entered(store: SqliteAgentStore) -> None:
    """I3 holds for digits too."""
    agent, keypad, clock = make_agent(store), Keypad(), StillClock()
    agent.take(content(), NOW)
    clock.at += 600
    work(agent, keypad, clock=clock)
    assert keypad.entered == []
    assert collect(agent)[-1].reason == "not_offered"


def test_codes_are_for_devices_that_take_them(store: SqliteAgentStore) -> None:
    """The gas proxy has no keypad road here: refused, as is every device of an agent without one."""
    agent = make_agent(store)
    agent.take(content(GPF), NOW)
    assert collect(agent)[-1].reason == "another_device"
    plain = StoreAndForward(Binding(HUB), store, Told(), None)
    plain.take(content(), NOW)
    assert collect(plain)[-1].reason == "another_device"


def test_the_digits_are_never_told(store: SqliteAgentStore) -> None:
    """Whoever reads the agent's events cannot key them in elsewhere first."""
    told = Told()
    agent = make_agent(store, told)
    agent.take(content(), NOW)
    work(agent, Keypad())
    assert DIGITS not in str(told.events)
    assert DIGITS.encode().hex() not in str(told.events)
    assert told.facts("code_entered") == {"order_id": "order-1", "outcome": "accepted"}
