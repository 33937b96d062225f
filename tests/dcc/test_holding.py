"""Requests the DSP holds: for a date, for the one before, for a person. Each with real documents through the door."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from lastmetre.dcc.anomalies import AnomalyRules, ValueThreshold, VolumeThreshold
from lastmetre.dcc.dsp import DspOptions
from lastmetre.dcc.holding import HoldLimits
from lastmetre.dcc.inventory import Registration, UserRole
from lastmetre.dcc.ports import HeldKind, OutboxKind
from lastmetre.duis.documents import LocalCommand, OtherMessage, ResponseMessage
from lastmetre.duis.xml import Element
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.protect import verify_mac
from tests import own_world as own
from tests.dsp_world import (
    World,
    after,
    arm,
    at_date,
    code,
    inventory,
    local_command,
    read_balance,
    request,
    returned,
    top_up,
)
from tests.own_world import BROKER, ESME, NOW, OTHER_SUPPLIER, SUPPLIER

if TYPE_CHECKING:
    from lastmetre.duis.documents import Request

NEVER = "3000-12-31T00:00:00Z"


def outcome(world: World, asked: Request) -> list[str]:
    """The codes that wait to be pushed under this RequestID."""
    wanted = asked.header.request_id
    return [code(found) for found in world.documents() if found.header.request_id == wanted]


def answered(world: World, command: bytes) -> None:
    """The meter carries a Command out, and its Response comes up."""
    (response,) = own.meter().receive(command, NOW)
    world.from_wan(response)


# --- dates


def test_a_request_for_later_is_made_when_its_date_comes() -> None:
    """CV1 with a date of pattern DSP: I99 now, nothing sealed; at the date an immediate Command goes down the WAN."""
    world = World()
    assert code(world.post(at_date(read_balance(5, 1), NOW + 3_600))) == "I99"
    world.later(3_599)
    assert world.down() == []
    assert [held.kind for held in world.held()] == [HeldKind.LATER]
    world.later(1)
    (command,) = world.down()
    message = parse_message(command)
    verify_mac(message, own.secret(BROKER, ESME))
    assert message.header.originator_counter == 5
    payload = decode_payload(message.header.message_code, message.header.cra, message.content)
    assert isinstance(payload, AccessRequest)
    assert world.held() == ()
    world.later(3_600)
    assert world.down() == [command]


def test_what_is_due_together_is_made_in_order_of_dates_also_after_a_restart() -> None:
    """Accepted in one order, due in another, with the DSP down in between: made by date, each once."""
    world = World()
    for counter, delay in ((5, 300), (6, 100), (7, 200)):
        assert code(world.post(at_date(read_balance(counter, 1), NOW + delay))) == "I99"
    world.now += 1_000
    world.restart()
    world.dsp.chores()
    counters = [parse_message(command).header.originator_counter for command in world.down()]
    assert counters == [6, 7]
    # 5 was due last: the meter would refuse a counter below those it has seen, so its User is told instead.
    assert outcome(world, read_balance(5)) == ["E41"]


def test_a_date_in_the_past_is_now() -> None:
    """A date that has come is no reason to wait."""
    world = World()
    assert code(world.post(at_date(read_balance(5, 1), NOW - 1))) == "I99"
    assert len(world.down()) == 1


def test_the_date_of_the_year_3000_cancels_what_is_held() -> None:
    """Only this User's, for this device and service; each is told so, and a second cancellation finds nothing."""
    world = World()
    world.post(at_date(read_balance(5, 1), NOW + 3_600))
    world.post(at_date(read_balance(6, 1), NOW + 7_200))
    assert code(world.post(at_date(read_balance(7, 1), NEVER))) == "I99"
    assert outcome(world, read_balance(5)) == ["E48"]
    assert outcome(world, read_balance(6)) == ["E48"]
    assert world.held() == ()
    world.later(10_000)
    assert world.down() == []
    assert code(world.post(at_date(read_balance(8, 1), NEVER))) == "I99"
    assert [told["count"] for told in world.told.of("held_requests_cancelled")] == ["2", "0"]


def test_a_request_held_over_a_change_of_supplier_is_not_made() -> None:
    """Who may ask is decided by the day the Command is made (T59)."""
    rows = (
        Registration(UserRole.IMPORT_SUPPLIER, SUPPLIER, 0, NOW + 100),
        Registration(UserRole.IMPORT_SUPPLIER, OTHER_SUPPLIER, NOW + 100),
    )
    world = World(devices=inventory(registrations=rows))
    world.post(at_date(read_balance(5, 1), NOW + 200))
    world.later(200)
    assert world.down() == []
    assert outcome(world, read_balance(5)) == ["E4"]


def test_what_was_due_long_ago_is_not_made_late() -> None:
    """The DSP was down for two days: the User gets E30 and no Command of the day before yesterday."""
    world = World(options=DspOptions(limits=HoldLimits(late_max_s=3_600)))
    world.post(at_date(read_balance(5, 1), NOW + 10))
    world.now += 2 * 86_400
    world.restart()
    world.dsp.chores()
    assert world.down() == []
    assert outcome(world, read_balance(5)) == ["E30"]


def test_a_held_request_blocks_no_other() -> None:
    """A high counter held for next year does not shut out the lower ones of today."""
    world = World()
    world.post(at_date(read_balance(500, 1), NOW + 3_600))
    assert code(world.post(read_balance(6))) == "I0"
    assert code(world.post(at_date(read_balance(500, 1), NOW + 3_600))) == "I99"  # the same document again
    assert len(world.held()) == 1


def test_both_roads_at_a_date() -> None:
    """CV3 with a date: at the date the Command goes down, and its copy to the User, with the same octets."""
    world = World()
    world.post(at_date(read_balance(5, 3), NOW + 60))
    assert world.documents() == []
    world.later(60)
    (copy,) = world.documents()
    assert world.down() == [local_command(copy)]


# --- sequences


def test_a_sequence_goes_on_when_the_one_before_has_succeeded() -> None:
    """Three requests at once: each waits for the success of the one before it, over a restart."""
    world = World()
    first, second, third = (read_balance(counter, 1) for counter in (5, 6, 7))
    assert code(world.post(first)) == "I99"
    assert code(world.post(after(second, first))) == "I99"
    assert code(world.post(after(third, second))) == "I99"
    (command,) = world.down()
    answered(world, command)
    assert len(world.down()) == 1  # not before the DSP looks
    world.restart()
    world.dsp.chores()
    assert len(world.down()) == 2
    assert [held.after_request_id for held in world.held()] == [str(second.header.request_id)]
    answered(world, world.down()[1])
    world.dsp.chores()
    assert [parse_message(command).header.originator_counter for command in world.down()] == [5, 6, 7]
    assert world.held() == ()


def test_a_sequence_ends_when_one_fails() -> None:
    """No Response in time ends everything that waits behind it (E46), once."""
    world = World()
    first, second, third = top_up(1, 100, 1), read_balance(6, 1), read_balance(7, 1)
    world.post(first)
    world.post(after(second, first))
    world.post(after(third, second))
    (command,) = world.down()
    world.now += 4_000
    with world.store.change() as change:
        change.mark_sent(str(first.header.request_id), NOW)
    world.dsp.egress.give_up_unanswered()
    world.dsp.chores()
    assert outcome(world, first) == ["E21"]
    assert outcome(world, second) == ["E46"]
    assert outcome(world, third) == ["E46"]
    assert world.down() == [command]
    assert world.held() == ()
    assert code(world.post(after(read_balance(9, 1), third))) == "E46"


def test_a_response_that_says_no_ends_a_sequence() -> None:
    """The meter refuses a token that is not its own: that is an answer, and no success."""
    world = World()
    digits = own.top_up_digits(9, 100)
    first = request("2.2", Element("TopUpDevice", children=(Element("UTRN", digits),)), 1, 1 << 32)
    world.post(first)
    world.post(after(read_balance(6, 1), first))
    (command,) = world.down()
    (response,) = own.meter().receive(command, NOW)
    world.from_wan(response)
    with world.store.change() as change:
        kept = change.command_of_request(str(first.header.request_id))
    assert kept is not None
    assert kept.succeeded is False
    world.dsp.chores()
    assert outcome(world, read_balance(6)) == ["E46"]


def test_a_sequence_waits_a_day_and_no_longer() -> None:
    """The one before was transformed and never sent: in the end the User is told."""
    world = World(options=DspOptions(limits=HoldLimits(sequence_wait_s=600)))
    world.post(arm(5))
    assert code(world.post(after(read_balance(6, 1), arm(5)))) == "I99"
    world.later(599)
    assert outcome(world, read_balance(6)) == []
    world.later(1)
    assert outcome(world, read_balance(6)) == ["E46"]


def test_an_unverified_response_by_hand_moves_no_sequence() -> None:
    """SRV 8.13 with a Response that only the User can check: recorded, and the next request still waits."""
    world = World()
    first = read_balance(5, 2)
    command = world.local_command(first)
    world.post(after(read_balance(6, 1), first))
    (response,) = own.meter().receive(command, NOW)
    assert code(world.post(returned(1, response))) == "I99"
    world.dsp.chores()
    assert world.down() == []
    # The same Response by WAN is taken at its word.
    world.from_wan(response)
    world.dsp.chores()
    assert len(world.down()) == 1


def test_a_critical_request_in_a_sequence() -> None:
    """A verified success by SRV 8.13 lets the next one go; a Signed Pre-Command may wait as well."""
    world = World()
    first, second = arm(5), arm(6)
    command = world.local_command(world.sign_off(first, 6))
    held = after(world.sign_off(second, 5), first)
    assert code(world.post(held)) == "I99"
    (response,) = own.meter().receive(command, NOW)
    assert code(world.post(returned(1, response))) == "I99"
    world.dsp.chores()
    (sent,) = world.down()
    assert parse_message(sent).signature


# --- anomalies


def rules(*volumes: VolumeThreshold, values: tuple[ValueThreshold, ...] = ()) -> DspOptions:
    """A DSP with thresholds."""
    return DspOptions(rules=AnomalyRules(volumes, values))


def quarantine_alerts(world: World) -> list[str]:
    """The kinds of threshold that the User was told of."""
    bodies = [found.body for found in world.documents() if isinstance(found.body, OtherMessage)]
    paths = [body.element.find("DCCAlert/QuarantinedRequest") for body in bodies]
    return [path.children[0].name for path in paths if path is not None]


def test_what_is_over_the_volume_is_quarantined_and_released_by_a_person() -> None:
    """The third Command of an hour waits: visible, told to the User, not lost by a restart, made when released."""
    world = World(options=rules(VolumeThreshold(2, 3_600, "4.18", source="supplier, 2026")))
    assert [code(world.post(read_balance(counter, 1))) for counter in (5, 6, 7)] == ["I99"] * 3
    assert len(world.down()) == 2
    assert quarantine_alerts(world) == ["ADUserThresholdBreach"]
    world.restart()
    (waiting,) = world.dsp.quarantine()
    assert waiting.request_id == str(read_balance(7).header.request_id)
    assert "2 of 4.18" in waiting.reason
    world.later(100_000)
    assert len(world.down()) == 2
    assert world.dsp.decide(waiting.number, release=True, person="A. Person", reason="meter exchange week")
    assert not world.dsp.decide(waiting.number, release=False, person="B. Person", reason="too late")
    world.dsp.chores()
    assert len(world.down()) == 3
    assert world.dsp.quarantine() == ()
    with world.store.change() as change:
        (decision,) = change.decisions()
    assert (decision.person, decision.reason, decision.release) == ("A. Person", "meter exchange week", True)
    assert (decision.request_id, decision.done_at) == (waiting.request_id, world.now)


def test_a_rejected_request_is_told_and_audited() -> None:
    """A person says no: no Command, E47 to the User, and who it was stays on record over a restart."""
    world = World(options=rules(VolumeThreshold(0, 60, "4.18", of_dcc=True)))
    world.post(read_balance(5, 1))
    assert quarantine_alerts(world) == ["ADDCCThresholdBreach"]
    (waiting,) = world.dsp.quarantine()
    world.dsp.decide(waiting.number, release=False, person="A. Person", reason="nobody ordered this")
    world.restart()
    world.dsp.chores()
    assert world.down() == []
    assert outcome(world, read_balance(5)) == ["E47"]
    (told,) = world.told.of("quarantine_decided")
    assert told["reason"] == "nobody ordered this"


def test_the_window_slides() -> None:
    """An hour after the first, there is room for one more; local delivery counts like the WAN."""
    world = World(options=rules(VolumeThreshold(2, 3_600)))
    world.local_command(read_balance(5, 2))
    world.later(1_800)
    world.local_command(top_up(1, 100))
    assert code(world.post(read_balance(6, 2))) == "I99"  # quarantined: no Command in the answer
    world.later(1_801)
    assert world.local_command(read_balance(7, 2))
    assert len(world.dsp.quarantine()) == 1


def test_one_users_volume_is_not_anothers() -> None:
    """A threshold for one User leaves the rest alone."""
    world = World(options=rules(VolumeThreshold(0, 60, user_id=OTHER_SUPPLIER)))
    assert code(world.post(read_balance(5, 2))) == "I0"


def test_a_released_local_command_comes_by_receive_response() -> None:
    """CV2: nobody waits for the answer any more, so the Command is pushed to its User."""
    world = World(options=rules(VolumeThreshold(0, 60)))
    assert code(world.post(read_balance(5, 2))) == "I99"
    (waiting,) = world.dsp.quarantine()
    world.dsp.decide(waiting.number, release=True, person="A. Person", reason="fine")
    world.dsp.chores()
    pushed = world.documents()[-1]
    assert isinstance(pushed.body, ResponseMessage)
    assert isinstance(pushed.body.payload, LocalCommand)
    verify_mac(parse_message(pushed.body.payload.gbcs_payload), own.secret(BROKER, ESME))


def test_a_top_up_too_large_is_quarantined_by_its_value() -> None:
    """The UTRN's value can be read in its digits: 25 pounds is allowed, 26 waits."""
    limit = ValueThreshold("2.2", "UTRN", most=Decimal(2_500), source="supplier")
    world = World(options=rules(values=(limit,)))
    assert code(world.post(top_up(1, 2_500))) == "I0"
    assert code(world.post(top_up(2, 2_600))) == "I99"
    assert quarantine_alerts(world) == ["ADAttributeLimitsBreach"]
    (waiting,) = world.dsp.quarantine()
    assert waiting.reason == "UTRN is 2600; anything to 2500 is allowed (supplier)"


def test_a_value_in_a_critical_request_is_read_before_it_is_gbcs() -> None:
    """Transform answers; the Signed Pre-Command, in which nothing can be read, is what waits."""
    limit = ValueThreshold("7.12", "RandomisedOffsetLimit", least=Decimal(600))
    world = World(options=rules(values=(limit,)))
    for counter, seconds, held in ((5, "600", 0), (6, "599", 1)):
        body = Element("SetRandomisedOffsetLimit", children=(Element("RandomisedOffsetLimit", seconds),))
        signed = world.sign_off(request("7.12", body, 4, counter), 5)
        assert code(world.post(signed)) == "I99"
        assert len(world.dsp.quarantine()) == held
    assert len(world.down()) == 1
    (waiting,) = world.dsp.quarantine()
    world.dsp.decide(waiting.number, release=True, person="A. Person", reason="a trial")
    world.dsp.chores()
    assert len(world.down()) == 2
    assert parse_message(world.down()[1]).signature


def test_a_counter_far_ahead_waits_for_a_person() -> None:
    """One wild counter, once sealed, would shut out every later Command: it is quarantined instead (T17)."""
    world = World()
    wild = read_balance((1 << 63) - 1, 1)
    assert code(world.post(wild)) == "I99"
    assert world.down() == []
    assert code(world.post(read_balance(5, 1))) == "I99"
    assert len(world.down()) == 1
    (waiting,) = world.dsp.quarantine()
    world.dsp.decide(waiting.number, release=False, person="A. Person", reason="typing error")
    world.dsp.chores()
    assert outcome(world, wild) == ["E47"]


def test_a_decision_about_nothing_changes_nothing() -> None:
    """A number that is not in quarantine takes no decision."""
    world = World()
    world.post(at_date(read_balance(5, 1), NOW + 60))
    (held,) = world.held()
    assert not world.dsp.decide(held.number, release=True, person="A. Person", reason="?")
    assert not world.dsp.decide(99, release=True, person="A. Person", reason="?")


@pytest.mark.parametrize("kind", [OutboxKind.WAN, OutboxKind.PUSH])
def test_released_too_late_for_its_counter(kind: OutboxKind) -> None:
    """While one waited in quarantine a later one was sealed: released, it is told E41 and no Command is made."""
    world = World(options=rules(VolumeThreshold(1, 60, "4.18")))
    variant = 1 if kind is OutboxKind.WAN else 2
    world.post(read_balance(5, variant))
    world.post(read_balance(6, variant))
    world.later(61)
    world.post(read_balance(7, variant))
    (waiting,) = world.dsp.quarantine()
    world.dsp.decide(waiting.number, release=True, person="A. Person", reason="fine")
    world.dsp.chores()
    assert outcome(world, read_balance(6))[-1] == "E41"
    assert len(world.told.of("command_sealed")) == 2
