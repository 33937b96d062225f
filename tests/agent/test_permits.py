"""A permit ahead of its Command: what the agent does with the hub's answer, and what it says of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from lastmetre.agent import runner as runner_module
from lastmetre.agent.errors import TunnelDownError
from lastmetre.agent.limits import ANSWERS_PER_PERMIT_MAX, NONCE_WAIT_S
from lastmetre.agent.runner import Runner
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.relay import CommandClass, Receipt, ReceiptKind, encode_envelope, make_envelope
from lastmetre.relay.permit import NO_NONCE, QUESTION, Answer, Status, decode_answer, encode_answer
from tests.agent_world import ESME, HUB, NOW, Told, answer, collect, command, make_agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lastmetre.agent.core import StoreAndForward

NONCE = b"a nonce!"


def permit(serial: int) -> bytes:
    """A record with a serial; the agent reads no more of it."""
    return b"\x50\x01\x01\x00" + serial.to_bytes(8, "big") + bytes(116)


def said(status: Status, serial: int = 5, *, clock: bool = True, nonce: bytes = NO_NONCE) -> bytes:
    """The hub's record."""
    return encode_answer(Answer(status, clock, serial, NOW, nonce))


def content(order_id: str, counter: int, *, serial: int = 5, expires_at: int = NOW + 600) -> bytes:
    """The content of an envelope with a permit; top-ups, so that several may be open."""
    top_up, sent = CommandClass.TOP_UP, command(counter)
    return encode_envelope(
        make_envelope(order_id, HUB, ESME, expires_at, sent, command_class=top_up, permit=permit(serial))
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAgentStore]:
    """A new store on the disk."""
    with SqliteAgentStore(tmp_path / "agent.db") as opened:
        yield opened


class Hub:
    """A tunnel whose hub answers each record as the script says; an answer may be nothing."""

    def __init__(self, *script: bytes | Exception | None) -> None:
        self._script = list(script)
        self.passed_up: list[bytes] = []
        self.runner: Runner | None = None

    async def transfer(self, message: bytes) -> None:
        """The port's method."""
        self.passed_up.append(message)
        following = self._script.pop(0) if self._script else None
        if isinstance(following, Exception):
            raise following
        if following is not None and self.runner is not None:
            self.runner.message_from_tunnel(following)


class Silence:
    """A bearer that brings and takes nothing."""

    async def next_envelope(self) -> bytes | None:
        """Never."""
        await asyncio.get_running_loop().create_future()
        return None

    async def stored(self) -> None:
        """Nothing."""

    async def hand_on(self, _receipt: bytes) -> None:
        """Never."""
        await asyncio.get_running_loop().create_future()


class StillClock:
    """A clock in the test's hands."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> int:
        """The port's method."""
        return self.at


def offer_once(core: StoreAndForward, hub: Hub, *, clock: StillClock | None = None) -> list[bytes]:
    """Let the runner work until it has nothing to do; what went up."""

    async def run() -> None:
        runner = hub.runner = Runner(core, Silence(), hub, clock or StillClock(), lambda: 0.0, Told())
        task = asyncio.create_task(runner.run())
        for _ in range(40):
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    return hub.passed_up


def answers(receipts: list[Receipt]) -> list[Status]:
    """What the supplier hears the hub said."""
    return [decode_answer(one.permit_answer).status for one in receipts if one.permit_answer is not None]


def kinds(receipts: list[Receipt]) -> list[ReceiptKind]:
    """Kinds of receipts."""
    return [one.kind for one in receipts]


def test_an_accepted_permit_has_its_command_follow(store: SqliteAgentStore) -> None:
    """Permit, answer, Command; nothing of the acceptance is reported: it proves nothing."""
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    assert offer_once(agent, Hub(said(Status.ACCEPTED), answer(7))) == [permit(5), command(7)]
    assert kinds(collect(agent)) == [ReceiptKind.TAKEN, ReceiptKind.RESPONSE]


def test_a_silent_hub_gets_the_command(store: SqliteAgentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that knows no permits says nothing; the Command follows all the same."""
    monkeypatch.setattr(runner_module, "PERMIT_ANSWER_S", 0.002)
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    assert offer_once(agent, Hub()) == [permit(5), command(7)]
    assert kinds(collect(agent)) == [ReceiptKind.TAKEN, ReceiptKind.TAKEN_BY_TUNNEL]


def test_a_refused_permit_holds_the_command_back(store: SqliteAgentStore) -> None:
    """The Command does not go up, is not marked as offered, and the supplier gets the hub's record as it came."""
    told = Told()
    agent = make_agent(store, told)
    agent.take(content("order-1", 7), NOW)
    assert offer_once(agent, Hub(said(Status.TIME))) == [permit(5)]
    receipts = collect(agent)
    assert receipts[-1] == Receipt(
        "order-1", ReceiptKind.PERMIT_ANSWERED, NOW, receipts[0].digest, permit_answer=said(Status.TIME)
    )
    assert told.facts("command_not_offered") == {"order_id": "order-1", "permit": "time"}
    agent.expire(NOW + 600)
    assert [one.reason for one in collect(agent)] == ["not_offered"]


def test_another_permit_sets_it_going_again(store: SqliteAgentStore) -> None:
    """Refused, it waits; with the next permit it goes, and only then counts as offered."""
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    assert offer_once(agent, Hub(said(Status.TIME))) == [permit(5)]
    assert offer_once(agent, Hub()) == []
    agent.take(content("order-1", 7, serial=6), NOW)
    assert offer_once(agent, Hub(said(Status.ACCEPTED, 6), answer(7))) == [permit(6), command(7)]


def test_a_hub_without_time_is_asked_for_a_nonce(store: SqliteAgentStore) -> None:
    """TIME from an unreliable clock: the question follows, and the nonce goes to the supplier."""
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    hub = Hub(said(Status.TIME, clock=False), said(Status.NONCE, 0, clock=False, nonce=NONCE))
    assert offer_once(agent, hub) == [permit(5), QUESTION]
    receipts = collect(agent)
    assert answers(receipts) == [Status.TIME, Status.NONCE]
    assert receipts[-1].permit_answer == said(Status.NONCE, 0, clock=False, nonce=NONCE)


def test_others_wait_while_a_nonce_is_awaited(store: SqliteAgentStore) -> None:
    """A second question would kill the first nonce: another Command waits a minute, no longer."""
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    agent.take(content("order-2", 8, serial=9), NOW)
    hub = Hub(said(Status.TIME, clock=False), said(Status.NONCE, 0, clock=False, nonce=NONCE))
    assert offer_once(agent, hub) == [permit(5), QUESTION]
    assert agent.next_offer(NOW + NONCE_WAIT_S - 1) is None
    clock = StillClock()
    clock.at += NONCE_WAIT_S - 1
    agent.take(content("order-1", 7, serial=6), clock.at)
    hub = Hub(said(Status.ACCEPTED, 6), answer(7), said(Status.ACCEPTED, 9), answer(8))
    assert offer_once(agent, hub, clock=clock) == [permit(6), command(7), permit(9), command(8)]


def test_without_a_nonce_it_tries_again_after_a_pause(store: SqliteAgentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub says TIME and no nonce: the same permit later, not at once."""
    monkeypatch.setattr(runner_module, "PERMIT_ANSWER_S", 0.002)
    agent, clock = make_agent(store), StillClock()
    agent.take(content("order-1", 7), NOW)
    assert offer_once(agent, Hub(said(Status.TIME, clock=False)), clock=clock) == [permit(5), QUESTION]
    clock.at += 60
    assert offer_once(agent, Hub(said(Status.ACCEPTED), answer(7)), clock=clock) == [permit(5), command(7)]


@pytest.mark.parametrize("status", [Status.TIME, Status.NONCE])
def test_a_permit_that_never_comes_is_asked_for_again(store: SqliteAgentStore, status: Status) -> None:
    """The receipt or the envelope got lost: after a pause the old permit goes again, and the hub's word with it."""
    agent, clock = make_agent(store), StillClock()
    agent.take(content("order-1", 7), NOW)
    serial, nonce = (5, NO_NONCE) if status is Status.TIME else (0, NONCE)
    script = [said(Status.TIME, clock=status is Status.TIME), said(status, serial, nonce=nonce)]
    offer_once(agent, Hub(*script), clock=clock)
    clock.at += 59
    assert offer_once(agent, Hub(), clock=clock) == []
    clock.at += 300 if status is Status.TIME else 1
    assert offer_once(agent, Hub(said(Status.ACCEPTED), answer(7)), clock=clock) == [permit(5), command(7)]


def test_a_permit_that_is_here_before_the_refusal_is_used(store: SqliteAgentStore) -> None:
    """A quick supplier: the next permit comes while the runner still thinks about the last one's refusal."""
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    offer = agent.next_offer(NOW)
    assert offer is not None
    agent.from_tunnel(said(Status.TIME), NOW)
    agent.take(content("order-1", 7, serial=6), NOW)
    agent.permit_refused(offer, NOW)
    again = agent.next_offer(NOW)
    assert again is not None
    assert again.permit == permit(6)


def test_what_the_hub_says_of_the_command_is_reported(store: SqliteAgentStore) -> None:
    """A refusal that comes behind the Command goes to the supplier; the tunnel took it all the same."""
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    offer_once(agent, Hub(said(Status.ACCEPTED), said(Status.COMMAND_DIGEST)))
    receipts = collect(agent)
    assert answers(receipts) == [Status.COMMAND_DIGEST]
    assert ReceiptKind.TAKEN_BY_TUNNEL in kinds(receipts)


def test_a_command_that_expired_behind_its_permit_does_not_go(store: SqliteAgentStore) -> None:
    """I3: the hub took its time over the permit; past the expiry nothing follows."""
    agent = make_agent(store)
    agent.take(content("order-1", 7, expires_at=NOW + 60), NOW)
    offer = agent.next_offer(NOW)
    assert offer is not None
    assert not agent.command_follows(offer, NOW + 60)
    agent.expire(NOW + 60)
    assert [one.reason for one in collect(agent)][-1] == "not_offered"
    assert agent.next_offer(NOW + 60) is None


def test_a_response_behind_the_permit_ends_it(store: SqliteAgentStore) -> None:
    """It came by another road meanwhile: the Command does not go up any more."""
    agent = make_agent(store)
    agent.take(content("order-1", 7), NOW)
    offer = agent.next_offer(NOW)
    assert offer is not None
    agent.from_tunnel(answer(7), NOW)
    assert not agent.command_follows(offer, NOW)
    assert kinds(collect(agent)) == [ReceiptKind.TAKEN, ReceiptKind.RESPONSE]


def test_a_tunnel_that_fails_at_the_permit_is_tried_again(store: SqliteAgentStore) -> None:
    """Permit and Command again after a pause; nothing was offered."""
    agent, clock = make_agent(store), StillClock()
    agent.take(content("order-1", 7), NOW)
    assert offer_once(agent, Hub(TunnelDownError("no_answer")), clock=clock) == [permit(5)]
    clock.at += 60
    assert offer_once(agent, Hub(said(Status.ACCEPTED), answer(7)), clock=clock) == [permit(5), command(7)]


def test_a_hub_cannot_fill_the_store_with_its_answers(store: SqliteAgentStore) -> None:
    """Four for a permit; unasked ones, those about nothing and broken ones are ignored by name."""
    told = Told()
    agent = make_agent(store, told)
    agent.from_tunnel(said(Status.TIME, 0), NOW)
    agent.take(content("order-1", 7), NOW)
    agent.from_tunnel(said(Status.TIME), NOW)
    assert agent.next_offer(NOW) is not None
    collect(agent)
    for number in range(ANSWERS_PER_PERMIT_MAX + 3):
        agent.from_tunnel(encode_answer(Answer(Status.TIME, True, 5, NOW + number)), NOW)
    agent.from_tunnel(said(Status.TIME, 77), NOW)
    agent.from_tunnel(said(Status.TIME)[:-1], NOW)
    assert len(collect(agent)) == ANSWERS_PER_PERMIT_MAX
    assert told.facts("tunnel_message_ignored")["reason"] == "permit_answer_not_one"
    assert [one.order_id for one in store.open_commands()] == ["order-1"]
