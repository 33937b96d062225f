"""The agent's decisions: what it takes, what it offers, what it says, and when it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lastmetre.agent.core import Binding, Offer, StoreAndForward
from lastmetre.agent.limits import (
    COMMANDS_OPEN_MAX,
    OFFER_RETRY_S,
    REMEMBER_S,
    RESPONSES_PER_COMMAND_MAX,
)
from lastmetre.agent.states import MOVES, OPEN, Happening, State
from lastmetre.gbcs.message import Cra
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.relay import ReceiptKind, encode_envelope, make_envelope
from tests.agent_world import (
    ELSEWHERE,
    ESME,
    GPF,
    HUB,
    NOW,
    TOP_UP,
    Told,
    answer,
    collect,
    command,
    envelope,
    make_agent,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAgentStore]:
    """A new store on the disk."""
    with SqliteAgentStore(tmp_path / "agent.db") as opened:
        yield opened


def _offer(agent: StoreAndForward, now: int = NOW) -> Offer:
    offer = agent.next_offer(now)
    assert offer is not None
    return offer


def _send(agent: StoreAndForward, now: int = NOW) -> Offer:
    offer = _offer(agent, now)
    agent.transfer_accepted(offer, now)
    return offer


def test_a_command_goes_up_unchanged_and_its_response_comes_back(store: SqliteAgentStore) -> None:
    """The main job: TAKEN, TAKEN_BY_TUNNEL, RESPONSE, in that order, with the very bytes of both messages."""
    told = Told()
    agent = make_agent(store, told)
    agent.take(envelope("order-1", command(7)), NOW)
    assert [receipt.kind for receipt in collect(agent)] == [ReceiptKind.TAKEN]
    assert _send(agent, NOW + 1) == Offer("order-1", command(7), (command(7),))
    agent.from_tunnel(answer(7), NOW + 2)
    by_tunnel, response = collect(agent)
    assert (by_tunnel.kind, by_tunnel.at, by_tunnel.message) == (ReceiptKind.TAKEN_BY_TUNNEL, NOW + 1, None)
    assert (response.kind, response.at, response.message) == (ReceiptKind.RESPONSE, NOW + 2, answer(7))
    assert response.digest == plain("order-1", 7).digest
    assert agent.next_offer(NOW + 3) is None
    assert told.facts("response_received")["message"] == answer(7).hex()
    happened = ["command_taken", "command_offered", "command_taken_by_tunnel", "response_received"]
    assert [name for name in told.names() if name in happened] == happened


def test_it_is_stored_before_it_is_acknowledged(store: SqliteAgentStore) -> None:
    """When ``take`` returns, Command and receipt are in the store together: another agent on it has both."""
    make_agent(store).take(envelope("order-1", command(7)), NOW)
    successor = make_agent(store)
    assert [receipt.kind for receipt in collect(successor)] == [ReceiptKind.TAKEN]
    assert _offer(successor).command == command(7)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (envelope("order-1", command(7), hub=ELSEWHERE), "another_hub"),
        (envelope("order-1", command(7, ELSEWHERE), to=ELSEWHERE), "another_device"),
        (envelope("order-1", command(7, GPF)), "target_is_not_the_commands"),
        (envelope("order-1", command(7, ELSEWHERE)), "target_is_not_the_commands"),
        (envelope("order-1", answer(7, cra=Cra.RESPONSE), to=ESME), "not_a_command"),
        (envelope("order-1", b"\xdd\x00 not a message"), "not_a_command"),
        (envelope("order-1", b"\xdd" + command(7)[command(7).index(b"\xdf") + 1 :]), "not_a_command"),
        (encode_envelope(plain("order-1", 7))[:-1], None),
        (b"", None),
    ],
)
def test_what_is_not_for_this_agent_is_refused(store: SqliteAgentStore, data: bytes, reason: str | None) -> None:
    """T30 in part: a refusal names its reason, keeps nothing, offers nothing; unaddressable bytes are told only."""
    told = Told()
    agent = make_agent(store, told)
    addressable = agent.take(data, NOW)
    receipts = collect(agent)
    assert agent.next_offer(NOW) is None
    assert store.count() == 0
    if reason is None:
        assert (addressable, receipts) == (False, [])
        assert told.names()[-1] == "envelope_unreadable"
    else:
        assert [(receipt.kind, receipt.reason) for receipt in receipts] == [(ReceiptKind.REFUSED, reason)]
        assert told.facts("command_refused") == {"order_id": "order-1", "reason": reason}


def test_a_command_that_fails_its_digest_is_refused_by_name(store: SqliteAgentStore) -> None:
    """The refusal carries the order and the digest that the envelope claimed."""
    agent = make_agent(store)
    good = encode_envelope(plain("order-1", 7))
    claimed = plain("order-1", 8).digest
    assert agent.take(good.replace(plain("order-1", 7).digest, claimed), NOW)
    (receipt,) = collect(agent)
    assert (receipt.kind, receipt.reason, receipt.digest) == (
        ReceiptKind.REFUSED,
        "malformed",
        claimed,
    )


def test_any_device_may_be_allowed(store: SqliteAgentStore) -> None:
    """Bound to a hub without a list of devices, the agent carries for every device behind it, and for no other hub."""
    agent = StoreAndForward(Binding(HUB), store, Told(), None)
    agent.take(envelope("order-1", command(7, ELSEWHERE), to=ELSEWHERE), NOW)
    agent.take(envelope("order-2", command(8), hub=ELSEWHERE), NOW)
    assert [receipt.kind for receipt in collect(agent)] == [ReceiptKind.TAKEN, ReceiptKind.REFUSED]


def test_the_same_order_again_is_answered_not_offered_again(store: SqliteAgentStore) -> None:
    """A repeated envelope repeats the latest receipt, in every state, even when its other fields changed."""
    agent = make_agent(store)
    for state, kind in (
        ("taken", ReceiptKind.TAKEN),
        ("sent", ReceiptKind.TAKEN_BY_TUNNEL),
        ("answered", ReceiptKind.RESPONSE),
    ):
        if state == "sent":
            _send(agent)
        if state == "answered":
            agent.from_tunnel(answer(7), NOW)
        agent.take(envelope("order-1", command(7)), NOW)
        agent.take(envelope("order-1", command(7), expires_at=NOW + 1), NOW)
        agent.take(envelope("order-1", command(7), hub=ELSEWHERE), NOW)
        receipts = collect(agent)
        assert [receipt.kind for receipt in receipts] == [kind], state  # one waits: a repeat is not queued twice
        agent.take(envelope("order-1", command(7)), NOW)
        assert collect(agent) == receipts
    assert agent.next_offer(NOW) is None


def test_an_order_id_is_never_used_for_other_bytes(store: SqliteAgentStore) -> None:
    """The second Command under a used order id is refused under its own digest; the first goes on."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7)), NOW)
    agent.take(envelope("order-1", command(8)), NOW)
    taken, refused = collect(agent)
    assert (taken.kind, refused.kind, refused.reason) == (
        ReceiptKind.TAKEN,
        ReceiptKind.REFUSED,
        "order_id_used_before",
    )
    assert refused.digest == plain("order-1", 8).digest
    assert _send(agent).command == command(7)


def test_one_command_is_held_under_one_order(store: SqliteAgentStore) -> None:
    """Another order with the same originator, target and counter is refused, whether its bytes differ or not."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7)), NOW)
    agent.take(envelope("order-2", command(7)), NOW)
    agent.take(envelope("order-3", command(7, content=b"other")), NOW)
    assert [receipt.reason for receipt in collect(agent)] == [
        None,
        "held_under_another_order",
        "held_under_another_order",
    ]


def test_an_expired_command_may_come_again_with_more_time(store: SqliteAgentStore) -> None:
    """A new order for the same bytes after expiry is taken, and the Response goes to that order."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7), expires_at=NOW + 5), NOW)
    agent.expire(NOW + 5)
    agent.take(envelope("order-2", command(7)), NOW + 6)
    agent.take(envelope("order-3", command(7, content=b"other")), NOW + 6)
    _send(agent, NOW + 7)
    agent.from_tunnel(answer(7), NOW + 8)
    assert [(receipt.order_id, receipt.kind.value) for receipt in collect(agent)] == [
        ("order-1", "taken"),
        ("order-1", "expired"),
        ("order-2", "taken"),
        ("order-3", "refused"),
        ("order-2", "taken_by_tunnel"),
        ("order-2", "response"),
    ]


def test_expiry_is_exact(store: SqliteAgentStore) -> None:
    """Offered one second before its expiry, dropped at it, refused when it comes at it (I3)."""
    agent = make_agent(store)
    agent.take(envelope("late", command(1), expires_at=NOW), NOW)
    agent.take(envelope("last", command(2), expires_at=NOW + 1), NOW)
    agent.take(envelope("drop", command(3), expires_at=NOW + 1), NOW)
    assert _send(agent).order_id == "last"
    assert agent.next_wake_at() == 0  # "drop" may be offered now
    assert agent.next_offer(NOW + 1) is None
    said = [(receipt.order_id, receipt.kind.value, receipt.reason) for receipt in collect(agent)]
    assert said == [
        ("late", "expired", "not_offered"),
        ("last", "taken", None),
        ("drop", "taken", None),
        ("last", "taken_by_tunnel", None),
        ("last", "expired", "offered"),
        ("drop", "expired", "not_offered"),
    ]
    assert agent.next_wake_at() is None


def test_a_transfer_under_way_is_not_expired_beneath_it(store: SqliteAgentStore) -> None:
    """Its end is waited for, so that the receipts tell what was seen: taken by the tunnel, then expired."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7), expires_at=NOW + 1), NOW)
    offer = _offer(agent)
    agent.expire(NOW + 2)
    agent.transfer_accepted(offer, NOW + 2)
    agent.expire(NOW + 2)
    assert [receipt.kind.value for receipt in collect(agent)] == ["taken", "taken_by_tunnel", "expired"]


def test_a_power_cut_during_a_transfer_is_not_forgotten(store: SqliteAgentStore) -> None:
    """A Command that may be at large is never called ``not_offered``."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7), expires_at=NOW + 1), NOW)
    _offer(agent)
    successor = make_agent(store)
    successor.expire(NOW + 1)
    assert [receipt.reason for receipt in collect(successor)] == [None, "offered"]


def test_a_late_response_is_still_passed_on(store: SqliteAgentStore) -> None:
    """After expiry the truth is still wanted: the order ends as the supplier judges."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7), expires_at=NOW + 1), NOW)
    _send(agent)
    agent.expire(NOW + 1)
    agent.from_tunnel(answer(7), NOW + 500)
    assert [receipt.kind.value for receipt in collect(agent)] == ["taken", "taken_by_tunnel", "expired", "response"]


def test_a_clock_set_back_revives_nothing(store: SqliteAgentStore) -> None:
    """R09: time never runs backwards; with a clock at 1970 nothing is offered until signed time or a right clock."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(1), expires_at=NOW + 10), NOW)
    agent.take(envelope("order-2", command(2), expires_at=NOW + 1_000), NOW + 20)
    told = Told()
    successor = make_agent(store, told)
    assert successor.next_offer(0) is None
    successor.take(envelope("order-3", command(3), expires_at=NOW + 15), 0)
    assert [(receipt.order_id, receipt.kind.value) for receipt in collect(successor)][-1] == ("order-3", "expired")
    assert successor.next_offer(1) is None
    helped = make_envelope("order-4", HUB, ESME, NOW + 1_000, command(4), command_class=TOP_UP, sent_at=NOW + 30)
    successor.take(encode_envelope(helped), 1)
    assert _offer(successor, now=2).order_id == "order-2"
    assert _offer(make_agent(store), now=NOW + 31).order_id == "order-2"
    assert told.names().count("clock_behind") == told.names().count("clock_right_again") == 1


def test_commands_go_up_one_at_a_time_in_order_of_arrival(store: SqliteAgentStore) -> None:
    """The agent orders nothing: while one is on its way no other is offered, then the next that came."""
    agent = make_agent(store)
    for number in (5, 3, 9):
        agent.take(envelope(f"order-{number}", command(number)), NOW)
    offers = []
    for _ in range(3):
        offer = _offer(agent)
        assert agent.next_offer(NOW) is None
        agent.transfer_accepted(offer, NOW)
        offers.append(offer.command)
    assert offers == [command(5), command(3), command(9)]


def test_a_command_that_will_not_go_does_not_hold_up_the_rest(store: SqliteAgentStore) -> None:
    """T35: after a failure it pauses, longer each time, while others pass; the bytes stay the same."""
    agent = make_agent(store)
    agent.take(envelope("bad", command(1)), NOW)
    agent.take(envelope("good", command(2)), NOW)
    now = NOW
    agent.transfer_failed(_offer(agent), "no_answer", now)
    assert _send(agent).order_id == "good"
    for pause_s in OFFER_RETRY_S:
        assert agent.next_wake_at() == now + pause_s
        assert agent.next_offer(now + pause_s - 1) is None
        now += pause_s
        offer = _offer(agent, now)
        assert offer == Offer("bad", command(1), (command(1),))
        agent.transfer_failed(offer, "no_answer", now)
    assert agent.next_wake_at() == now + OFFER_RETRY_S[-1]


def test_what_has_no_response_is_offered_again_after_a_restart_or_a_new_tunnel(store: SqliteAgentStore) -> None:
    """Byte-identical, without a second TAKEN_BY_TUNNEL; what was answered stays answered."""
    agent = make_agent(store)
    agent.take(envelope("open", command(1)), NOW)
    agent.take(envelope("done", command(2)), NOW)
    first = [_send(agent), _send(agent)]
    agent.from_tunnel(answer(2), NOW)
    assert agent.next_offer(NOW) is None
    collect(agent)
    agent.tunnel_opened()
    assert _send(agent) == first[0]
    assert agent.next_offer(NOW) is None
    successor = make_agent(store)
    assert _send(successor) == first[0]
    assert successor.next_offer(NOW) is None
    assert collect(successor) == []


def test_nothing_is_offered_to_a_closed_tunnel(store: SqliteAgentStore) -> None:
    """Offers begin when the hub opens the tunnel and stop when it goes."""
    agent = make_agent(store, open_tunnel=False)
    agent.take(envelope("order-1", command(7)), NOW)
    assert agent.next_offer(NOW) is None
    assert agent.next_wake_at() == NOW + 3_600
    agent.tunnel_opened()
    agent.transfer_failed(_offer(agent), "closed", NOW)
    agent.tunnel_closed()
    assert agent.next_offer(NOW + 60) is None
    agent.tunnel_opened()
    assert _offer(agent, NOW + 61).command == command(7)


def test_a_response_may_overtake_the_acknowledgement(store: SqliteAgentStore) -> None:
    """Events come in any order: the Response closes the order, the late acknowledgement changes nothing."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7)), NOW)
    offer = _offer(agent)
    agent.from_tunnel(answer(7), NOW)
    agent.transfer_accepted(offer, NOW)
    assert [receipt.kind.value for receipt in collect(agent)] == ["taken", "response"]
    assert agent.next_offer(NOW) is None


def test_a_response_by_another_road_stops_the_offer(store: SqliteAgentStore) -> None:
    """The meter answered before the agent offered: nothing is sent up any more."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7)), NOW)
    agent.from_tunnel(answer(7), NOW)
    assert agent.next_offer(NOW) is None
    assert [receipt.kind.value for receipt in collect(agent)] == ["taken", "response"]


def test_a_false_response_does_not_shut_the_door_on_the_true_one(store: SqliteAgentStore) -> None:
    """T21: the agent cannot verify, so each different Response goes on, up to a bound, and none twice."""
    agent = make_agent(store)
    agent.take(envelope("order-1", command(7)), NOW)
    _send(agent)
    for number in range(RESPONSES_PER_COMMAND_MAX + 3):
        agent.from_tunnel(answer(7, content=b"%d" % number), NOW)
        agent.from_tunnel(answer(7, content=b"%d" % number), NOW)
    messages = [receipt.message for receipt in collect(agent) if receipt.message]
    assert messages == [answer(7, content=b"%d" % number) for number in range(RESPONSES_PER_COMMAND_MAX)]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (answer(8), "answers_nothing_held"),
        (answer(7, source=GPF), "answers_nothing_held"),
        (answer(7, cra=Cra.ALERT), "alert"),
        (command(7), "command"),
        (b"\xdd" + answer(7)[answer(7).index(b"\xdf") + 1 :], "block"),
        (b"", "empty_or_too_long"),
        (bytes(9_000), "empty_or_too_long"),
        (b"\x01\x02", "not_a_gbcs_message"),
        (answer(7)[:30], "not_a_gbcs_message"),
    ],
)
def test_other_messages_from_the_tunnel_are_left_to_other_roads(
    store: SqliteAgentStore, message: bytes, reason: str
) -> None:
    """Alerts go by WAN, foreign Responses are not ours, noise is noise: told, never receipted."""
    told = Told()
    agent = make_agent(store, told)
    agent.take(envelope("order-1", command(7)), NOW)
    _send(agent)
    collect(agent)
    agent.from_tunnel(message, NOW)
    assert told.facts("tunnel_message_ignored")["reason"] == reason
    assert collect(agent) == []


def test_a_response_matches_only_with_identifiers_swapped(store: SqliteAgentStore) -> None:
    """Two open Commands with one counter and different originators each get their own Response."""
    other = bytes.fromhex("00005eef10000011")
    agent = make_agent(store)
    agent.take(envelope("ours", command(7)), NOW)
    agent.take(envelope("theirs", command(7, originator=other)), NOW)
    agent.from_tunnel(answer(7), NOW)
    (receipt,) = [receipt for receipt in collect(agent) if receipt.kind is ReceiptKind.RESPONSE]
    assert receipt.order_id == "ours"


def test_the_store_does_not_overflow(store: SqliteAgentStore) -> None:
    """One more open Command than the bound is refused, and taken once there is room."""
    agent = make_agent(store)
    for number in range(COMMANDS_OPEN_MAX + 1):
        agent.take(envelope(f"order-{number}", command(number)), NOW)
    *taken, refused = collect(agent)
    assert len(taken) == COMMANDS_OPEN_MAX
    assert (refused.kind, refused.reason) == (ReceiptKind.REFUSED, "store_full")
    agent.from_tunnel(answer(0), NOW)
    agent.take(envelope(f"order-{COMMANDS_OPEN_MAX}", command(COMMANDS_OPEN_MAX)), NOW)
    assert [receipt.kind.value for receipt in collect(agent)] == ["response", "taken"]


def test_what_is_long_done_with_is_forgotten(store: SqliteAgentStore) -> None:
    """A week past expiry, and not a second before."""
    told = Told()
    agent = make_agent(store, told)
    agent.take(envelope("order-1", command(7), expires_at=NOW + 10), NOW)
    _send(agent)
    agent.from_tunnel(answer(7), NOW)
    agent.expire(NOW + 10 + REMEMBER_S)
    assert store.count() == 1
    agent.expire(NOW + 11 + REMEMBER_S)
    assert store.count() == 0
    assert told.facts("commands_forgotten") == {"count": 1}


def test_receipts_wait_until_the_bearer_has_them(store: SqliteAgentStore) -> None:
    """Looking at a receipt drops nothing; a refused one is dropped and told."""
    told = Told()
    agent = make_agent(store, told)
    agent.take(envelope("order-1", command(7)), NOW)
    agent.take(envelope("order-2", command(8), hub=ELSEWHERE), NOW)
    assert len(agent.waiting_receipts()) == len(make_agent(store).waiting_receipts()) == 2
    agent.receipt_refused(agent.waiting_receipts()[0], "unknown_order")
    assert told.facts("receipt_refused") == {"order_id": "order-1", "kind": "taken", "reason": "unknown_order"}
    assert [receipt.order_id for receipt in collect(agent)] == ["order-2"]


def test_the_table_of_states_is_whole() -> None:
    """Every open state can be offered and can expire; a Response is welcome in every state."""
    assert {state for state, happening in MOVES if happening is Happening.OFFER} == OPEN
    assert {state for state, happening in MOVES if happening is Happening.EXPIRE} == OPEN
    assert {state for state, happening in MOVES if happening is Happening.RESPONSE} == set(State)
    assert all(MOVES[state, Happening.RESPONSE] is State.ANSWERED for state in State)
