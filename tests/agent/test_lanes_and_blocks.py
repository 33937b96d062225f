"""What the class of a Command, a permit, its length and signed time change in what the agent does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.agent.core import Binding, StoreAndForward
from lastmetre.agent.limits import BLOCK_OCTETS, TUNNEL_MESSAGE_OCTETS_MAX
from lastmetre.gbcs.blocks import Joiner
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.relay import CommandClass, ReceiptKind, encode_envelope, make_envelope
from tests.agent_world import ESME, GPF, HUB, NOW, Told, answer, collect, command, make_agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORDINARY, SUPPLY, TOP_UP = CommandClass.ORDINARY, CommandClass.SUPPLY, CommandClass.TOP_UP
PERMIT, NEWER_PERMIT = bytes([0x50]) * 128, bytes([0x50, 1]) * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAgentStore]:
    """A new store on the disk."""
    with SqliteAgentStore(tmp_path / "agent.db") as opened:
        yield opened


def content(order_id: str, counter: int, command_class: CommandClass = ORDINARY, **more: Any) -> bytes:
    """The content of an envelope to the ESME."""
    target = more.pop("target", ESME)
    sent = more.pop("sent", None) or command(counter, target)
    expires_at = more.pop("expires_at", NOW + 600)
    return encode_envelope(make_envelope(order_id, HUB, target, expires_at, sent, command_class=command_class, **more))


# Supersession


@pytest.mark.parametrize("offered", [False, True])
def test_a_later_command_supersedes_the_earlier(store: SqliteAgentStore, *, offered: bool) -> None:
    """The earlier is never offered again, over a restart too, and the receipt says whether it ever was."""
    agent = make_agent(store)
    agent.take(content("first", 7), NOW)
    if offered:
        offer = agent.next_offer(NOW)
        assert offer is not None
        agent.transfer_failed(offer, "no_answer", NOW)
    agent.take(content("second", 8, SUPPLY), NOW + 1)
    successor = make_agent(store)
    offer = successor.next_offer(NOW + 400)
    assert offer is not None
    assert offer.order_id == "second"
    ends = {one.order_id: one.reason for one in collect(successor) if one.kind is ReceiptKind.EXPIRED}
    assert ends == {"first": "superseded_offered" if offered else "superseded_not_offered"}


def test_an_earlier_one_that_comes_late_is_refused(store: SqliteAgentStore) -> None:
    """A cloud that held the first back until the second was taken achieves nothing (T31, T36)."""
    agent = make_agent(store)
    agent.take(content("second", 8), NOW)
    agent.take(content("first", 7), NOW)
    assert [(one.order_id, one.reason) for one in collect(agent)] == [("second", None), ("first", "superseded")]


def test_lanes_and_devices_are_apart(store: SqliteAgentStore) -> None:
    """A top-up neither supersedes nor is superseded, and another device's counters are its own."""
    agent = make_agent(store)
    agent.take(content("ordinary", 7), NOW)
    agent.take(content("top-up", 9 << 32, TOP_UP), NOW)
    agent.take(content("old-top-up", 8 << 32, TOP_UP), NOW)
    agent.take(content("gas", 9, target=GPF), NOW)
    agent.expire(NOW)
    assert {one.order_id for one in store.open_commands()} == {"ordinary", "top-up", "old-top-up", "gas"}


def test_one_on_its_way_up_is_superseded_afterwards(store: SqliteAgentStore) -> None:
    """What the hub takes just then is told as taken; it is not offered again, and its Response still counts."""
    agent = make_agent(store)
    agent.take(content("first", 7), NOW)
    offer = agent.next_offer(NOW)
    assert offer is not None
    agent.take(content("second", 8), NOW)
    agent.expire(NOW)
    agent.transfer_accepted(offer, NOW)
    agent.expire(NOW)
    agent.from_tunnel(answer(7), NOW)
    said = [(one.kind.value, one.reason) for one in collect(agent) if one.order_id == "first"]
    assert said == [
        ("taken", None), ("taken_by_tunnel", None), ("expired", "superseded_offered"), ("response", None),
    ]  # fmt: skip


# Permits


def test_a_permit_goes_ahead_of_its_command(store: SqliteAgentStore) -> None:
    """Alone, in a transfer of its own, and only when the envelope has one; it survives a restart."""
    make_agent(store).take(content("order-1", 7, permit=PERMIT), NOW)
    offer = make_agent(store).next_offer(NOW)
    assert offer is not None
    assert (offer.permit, offer.messages) == (PERMIT, (command(7),))


def test_a_newer_permit_has_the_command_offered_again(store: SqliteAgentStore) -> None:
    """The same order with another permit: the same Command again, behind the new one; with the same permit, nothing."""
    told = Told()
    agent = make_agent(store, told)
    agent.take(content("order-1", 7, permit=PERMIT), NOW)
    offer = agent.next_offer(NOW)
    assert offer is not None
    assert agent.command_follows(offer, NOW)
    agent.transfer_accepted(offer, NOW)
    agent.take(content("order-1", 7, permit=PERMIT), NOW)
    agent.take(content("order-1", 7), NOW)
    assert agent.next_offer(NOW) is None
    agent.take(content("order-1", 7, permit=NEWER_PERMIT), NOW)
    again = agent.next_offer(NOW)
    assert again is not None
    assert (again.permit, again.messages) == (NEWER_PERMIT, (command(7),))
    assert told.names().count("permit_renewed") == 1


# Blocks


@pytest.mark.parametrize("over", [0, 1, 3_000])
def test_a_long_command_goes_up_in_blocks(store: SqliteAgentStore, over: int) -> None:
    """Over 1,500 octets it is cut; each block fits a transfer, and joined they are the Command, octet for octet."""
    frame = len(command(7, content=bytes(1_400))) - 1_400
    sent = command(7, content=bytes(TUNNEL_MESSAGE_OCTETS_MAX + over - frame))
    assert len(sent) == TUNNEL_MESSAGE_OCTETS_MAX + over
    agent = make_agent(store)
    agent.take(content("long", 7, sent=sent, permit=PERMIT), NOW)
    offer = agent.next_offer(NOW)
    assert offer is not None
    assert (offer.permit, offer.command) == (PERMIT, sent)
    messages = offer.messages
    assert max(map(len, messages)) <= TUNNEL_MESSAGE_OCTETS_MAX
    if over == 0:
        assert messages == (sent,)
        return
    assert len(messages) == -(-len(sent) // BLOCK_OCTETS)
    joiner = Joiner()
    assert [joiner.add(block) for block in messages][-1] == sent


# Time


def test_signed_time_helps_a_lost_clock(store: SqliteAgentStore) -> None:
    """An agent that woke in 1970 learns the time from an envelope, keeps it over a restart, and expires by it."""
    agent = make_agent(store)
    agent.take(content("order-1", 7, sent_at=NOW), 5)
    assert [one.at for one in collect(agent)] == [NOW]
    assert agent.next_wake_at() is not None
    agent.expire(5 + 599)
    assert store.open_commands()
    agent.expire(5 + 600)
    assert not store.open_commands()
    assert store.latest_at() == NOW + 600
    agent.take(content("order-2", 8, expires_at=NOW + 600), 6)
    assert collect(make_agent(store))[-1].reason == "not_offered"


def test_a_slow_supplier_does_not_set_us_back(store: SqliteAgentStore) -> None:
    """A signed time before ours changes nothing."""
    agent = make_agent(store)
    agent.take(content("order-1", 7, sent_at=NOW - 5_000), NOW)
    assert [one.at for one in collect(agent)] == [NOW]


class Counted:
    """Seconds that really passed."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        """How many."""
        return self.s


@pytest.mark.parametrize("behind_s", [60, 3_600, 86_400, NOW - 5])
def test_a_clock_set_right_is_not_helped_twice(store: SqliteAgentStore, behind_s: int) -> None:
    """Signed time stood in for a clock set back; once the clock is set right the time is the clock's, at once."""
    counted = Counted()
    agent = StoreAndForward(Binding(HUB, frozenset({ESME})), store, Told(), counted)
    agent.tunnel_opened()
    agent.take(content("order-1", 7, sent_at=NOW), NOW - behind_s)
    counted.s += 30
    agent.take(content("order-2", 8, sent_at=NOW + 30), NOW - behind_s + 30)  # still behind: helped on
    assert [one.at for one in collect(agent)] == [NOW, NOW + 30]
    counted.s += 30
    assert agent.next_offer(NOW + 60) is not None  # set right: by half a minute, an hour, a day, or all of it
    collect(agent)
    agent.take(content("order-3", 9, sent_at=NOW + 60, expires_at=NOW + 120), NOW + 60)
    assert [(one.kind, one.at) for one in collect(agent)] == [(ReceiptKind.TAKEN, NOW + 60)]
    assert store.latest_at() == NOW + 60


def test_time_that_passes_is_not_a_clock_set_right(store: SqliteAgentStore) -> None:
    """R09: an agent that is helped on and sleeps for an hour is still helped on, and expires what expired meanwhile."""
    counted = Counted()
    agent = StoreAndForward(Binding(HUB, frozenset({ESME})), store, Told(), counted)
    agent.take(content("order-1", 7, sent_at=NOW), NOW - 86_400)
    counted.s += 3_600
    agent.expire(NOW - 86_400 + 3_600)
    assert not store.open_commands()
    assert store.latest_at() == NOW + 3_600
