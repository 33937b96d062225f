"""The hub under ``permit``: what passes, what does not, and what it remembers. The rules themselves: tests/relay."""

from __future__ import annotations

import json

import pytest

from lastmetre.gbcs.blocks import split
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, read_header
from lastmetre.gbcs.protect import seal, unsigned_df
from lastmetre.home.comms_hub import GAS_MESSAGE_SIZE_MAX, RATE_PER_MINUTE, Deliver
from lastmetre.home.hub_policy import PCS01, Policy, Refusal
from lastmetre.home.permit_gate import RECORDS_PER_MINUTE
from lastmetre.home.supply import Supply
from lastmetre.relay.permit import QUESTION, Road, Status
from lastmetre.relay.permit_rules import COMMAND_WAIT_S
from tests import own_world as own
from tests.own_world import BROKER, CHF, ESME, NOW, PPMID, SUPPLIER
from tests.permit_world import GPF, GSME, HHT, PermitHub, record_for

ARM = own.arm(9)


def a_command(counter: int = 1, *, target: bytes = GSME, size: int = 20, code: int = 0x0082) -> bytes:
    """A Command as the hub sees it: a header and octets."""
    header = GroupingHeader(Cra.COMMAND, counter, SUPPLIER, target, OtherInformation(code))
    return seal(unsigned_df(header, bytes(size)), own.secret(BROKER, ESME))


def test_a_command_passes_with_its_permit_and_not_without() -> None:
    """Without one it is dropped and logged; with one it goes to the meter, byte for byte, once per permit sent."""
    one = PermitHub()
    assert one.up(ARM) == []
    assert one.last == ("no-permit", None)
    assert one.ask(record_for(ARM)).status is Status.ACCEPTED
    assert one.up(ARM) == [Deliver(ESME, ARM)]
    assert one.up(own.arm(10)) == []
    assert one.last == ("no-permit", None)


def test_what_today_accepts_needs_no_permit() -> None:
    """PCS01 of the PPMID's own passes as ever; the WAN passes everything; Responses and Alerts need none."""
    one = PermitHub()
    header = GroupingHeader(Cra.COMMAND, 1, PPMID, GSME, OtherInformation(PCS01))
    own_top_up = seal(unsigned_df(header, b"digits"), own.secret(PPMID, GSME))
    one.up(own_top_up)
    assert one.hub.fetch(GSME, NOW) == (own_top_up, 0)
    assert one.hub.from_wan(ARM, NOW) == [Deliver(ESME, ARM)]
    answer = own.meter(supply=Supply.OFF_BY_COMMAND).receive(ARM, NOW)[0]
    assert one.up(answer, ESME) == [Deliver(None, answer)]


@pytest.mark.parametrize("policy", [Policy.TODAY, Policy.PROPOSED])
def test_a_hub_that_does_not_know_permits_is_unharmed(policy: Policy) -> None:
    """Permit and question are dropped as malformed, no answer goes on the air, and what follows is judged as ever."""
    one, plain = PermitHub(policy=policy), PermitHub(policy=policy, gate=False)
    for record in (record_for(ARM), QUESTION):
        assert one.up(record) == plain.up(record) == []
        assert one.last == plain.last == ("malformed", None)
    assert one.up(ARM) == plain.up(ARM) == ([] if policy is Policy.TODAY else [Deliver(ESME, ARM)])


def test_permit_without_a_gate_is_today() -> None:
    """A hub without its keys at hand passes nothing that needs a permit."""
    one = PermitHub(gate=False)
    assert one.up(record_for(ARM)) == one.up(ARM) == []
    assert [event.refusal for event in one.hub.log] == [Refusal.MALFORMED, Refusal.NO_PERMIT]


def test_a_hand_held_terminal_needs_a_permit_by_setting_only() -> None:
    """Off: the HHT passes as ever, and its permit is malformed. On: nothing without one, made for that road."""
    one = PermitHub()
    assert one.up(record_for(ARM, carrier_id=HHT, road=Road.HHT), HHT) == []
    assert one.up(ARM, HHT) == [Deliver(ESME, ARM)]
    one.settings.hht_needs_permit = True
    second = own.arm(10)
    assert one.up(second, HHT) == []
    assert one.ask(record_for(second, carrier_id=HHT), HHT).status is Status.CARRIER
    assert one.carry(record_for(second, carrier_id=HHT, road=Road.HHT), second, carrier=HHT) == [second]


def test_a_wrong_command_is_answered_with_its_status() -> None:
    """The permit names one Command: another one is refused on both sides, log and answer."""
    one = PermitHub()
    one.ask(record_for(ARM))
    (delivery,) = one.up(own.arm(10))
    assert (delivery.device_id, delivery.message[2]) == (PPMID, Status.COMMAND_DIGEST)
    assert one.last == ("permit-refused", "COMMAND_DIGEST")


def test_commands_for_the_hub_itself_need_the_flag() -> None:
    """A Device Log change by the PPMID's road passes only when the DSP said so."""
    for target in (CHF, GPF):
        sent = a_command(target=target, code=0x0001)
        assert PermitHub().carry(record_for(sent), sent) == []
        assert PermitHub().carry(record_for(sent, target_is_hub=True), sent) == [sent]


def test_the_book_survives_a_power_cut_with_what_it_let_pass() -> None:
    """Uses, digests, what is void and the floor are in the store in the step in which the Command left."""
    one = PermitHub()
    record = record_for(ARM, serial=500, void_below=400, max_handovers=1)
    assert one.carry(record, ARM) == [ARM]
    one.power_on()
    one.hub.wan_connected(NOW)
    assert one.ask(record).status is Status.NO_HANDOVER_LEFT
    assert one.ask(record_for(own.arm(11), serial=500)).status is Status.SERIAL_USED
    assert one.ask(record_for(own.arm(11), serial=399)).status is Status.VOID
    one.now = NOW - 3_600
    assert one.ask(record_for(own.arm(11), serial=501, issued_at=NOW - 9_000, not_before=NOW - 9_000,
                              not_after=NOW - 1, hold_until=NOW - 1)).status is Status.TIME  # fmt: skip


def test_nothing_leaves_before_the_book_is_saved() -> None:
    """A power cut at the save: the Command did not leave, and the permit is still good."""
    one = PermitHub()
    record = record_for(ARM, max_handovers=1)
    one.ask(record)
    save, one.store.save = one.store.save, _no_power  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="no power"):
        one.up(ARM)
    one.store.save = save  # type: ignore[method-assign]
    one.power_on()
    one.hub.wan_connected(NOW)
    assert one.carry(record, ARM) == [ARM]
    assert len(json.loads(one.store.state or b"")["permits"]["used"]) == 1


def _no_power(_state: bytes) -> None:
    raise OSError("no power")


def test_a_repeat_is_no_hand_over() -> None:
    """The permit allows three; a repeat that the hub drops as one does not use them up, nor does a full mailbox."""
    one = PermitHub()
    record = record_for(ARM, max_handovers=2)
    assert one.carry(record, ARM) == [ARM]
    for _ in range(2):
        assert one.carry(record, ARM) == []
        assert one.last == ("duplicate", None)
    one.power_on()  # what it handed over is forgotten, how often is not
    one.hub.wan_connected(NOW)
    assert one.carry(record, ARM) == [ARM]
    assert one.ask(record).status is Status.NO_HANDOVER_LEFT


def test_after_its_response_there_is_no_further_hand_over() -> None:
    """The hub saw the meter answer."""
    one = PermitHub()
    record = record_for(ARM)
    one.carry(record, ARM)
    one.up(own.meter(supply=Supply.OFF_BY_COMMAND).receive(ARM, NOW)[0], ESME)
    one.power_on()
    one.hub.wan_connected(NOW)
    assert one.ask(record).status is Status.NO_HANDOVER_LEFT


# Without time


def test_without_wan_time_only_a_nonce_helps() -> None:
    """Never had WAN: an ordinary permit fails at the time, its clock said to be unreliable; a nonce permit passes."""
    one = PermitHub(wan_time=False)
    refused = one.ask(record_for(ARM))
    assert (refused.status, refused.clock_reliable) == (Status.TIME, False)
    given = one.ask(QUESTION)
    assert given.status is Status.NONCE
    assert one.carry(record_for(ARM, hub_nonce=given.hub_nonce), ARM) == [ARM]
    second = own.arm(10)
    assert one.ask(record_for(second, hub_nonce=given.hub_nonce)).status is Status.TIME


def test_wan_time_counts_until_the_power_goes() -> None:
    """It keeps its clock when the WAN goes down; after a power cut it must hear the time anew."""
    one = PermitHub()
    one.hub.wan_lost()
    assert one.ask(record_for(ARM)).status is Status.ACCEPTED
    one.power_on()
    assert one.ask(record_for(ARM)).status is Status.TIME


def test_an_answer_that_cannot_be_handed_over_is_not_kept() -> None:
    """A nonce of yesterday is of no use to anybody."""
    one = PermitHub(wan_time=False)
    (delivery,) = one.up(QUESTION)
    one.hub.hand_over_failed(PPMID, delivery.message, NOW)
    assert one.hub.device_connected(PPMID, NOW) == []


def test_permits_and_questions_have_a_rate() -> None:
    """Thirty a minute; the next one gets no answer; a minute later it does. Commands keep their own rate."""
    one = PermitHub()
    for _ in range(RECORDS_PER_MINUTE):
        assert one.ask(QUESTION).status is Status.NONCE
    assert one.up(QUESTION) == []
    assert one.last == ("rate", None)
    one.later(60)
    assert one.ask(QUESTION).status is Status.NONCE
    for _ in range(RATE_PER_MINUTE + 1):
        one.up(ARM)
    assert one.last == ("rate", None)


def test_a_strangers_permit_writes_nothing() -> None:
    """What its MAC does not carry costs the hub's flash no write."""
    one = PermitHub()
    before = one.store.state
    record = record_for(ARM)
    assert one.ask(record[:-1] + bytes((record[-1] ^ 1,))).status is Status.MAC
    one.later(10)
    assert one.ask(record[:-1] + bytes((record[-1] ^ 1,))).status is Status.MAC
    assert one.store.state is before


# Long Commands


LONG = a_command(7, target=ESME, size=4_000)


def test_a_long_command_is_joined_judged_and_cut_again() -> None:
    """Nothing passes before the last block; then the whole of it, in the hub's own blocks."""
    one = PermitHub()
    blocks = split(LONG, 1_200)
    assert one.carry(record_for(LONG), *blocks[:-1]) == []
    assert [delivery.message for delivery in one.up(blocks[-1])] == split(LONG)


def test_blocks_without_a_permit_are_not_even_kept() -> None:
    """They are refused one by one, and no permit that comes later finds them."""
    one = PermitHub()
    blocks = split(LONG, 1_200)
    for block in blocks[:-1]:
        assert one.up(block) == []
        assert one.last == ("no-permit", None)
    assert one.carry(record_for(LONG), blocks[-1]) == []


def test_a_long_command_must_be_the_one_permitted() -> None:
    """One octet in one block: nothing passes, not even the good blocks."""
    one = PermitHub()
    other = a_command(7, target=ESME, size=4_000).replace(bytes(100), bytes(99) + b"\x01", 1)
    assert one.carry(record_for(LONG), *split(other, 1_200)) == []
    assert one.last == ("permit-refused", "COMMAND_DIGEST")


def test_one_transfer_at_a_time_and_a_minute_for_it() -> None:
    """Blocks of two Commands mixed end the transfer; one that takes longer than a minute is dropped."""
    one = PermitHub()
    blocks, others = split(LONG, 1_200), split(a_command(8, target=ESME, size=4_000), 1_200)
    assert one.carry(record_for(LONG), blocks[0], others[1], *blocks[1:]) == []
    one = PermitHub()
    assert one.carry(record_for(LONG), *blocks[:2]) == []
    one.later(COMMAND_WAIT_S + 1)
    assert [delivery.message for block in blocks[2:] for delivery in one.up(block)] == []
    assert one.last == ("no-permit", None)


# The gas mailbox


def test_the_gas_mailbox_asks_the_permit_again() -> None:
    """Accepted at noon, fetched half an hour later: until hold_until it goes; after it, it does not and is logged."""
    for wait_s, fetched in ((1_800, True), (1_801, False)):
        one = PermitHub()
        sent = a_command()
        assert one.carry(record_for(sent, hold_until=NOW + 1_800), sent) == []
        one.later(wait_s)
        assert one.hub.fetch(GSME, one.now) == ((sent, 0) if fetched else (None, 0))
        if not fetched:
            assert one.last == ("permit-refused", "TIME")


def test_what_became_void_does_not_leave_the_mailbox() -> None:
    """A later permit said so; what the WAN brought goes all the same, and so does what is put back in time."""
    one = PermitHub()
    sent, by_wan = a_command(1), a_command(2)
    one.carry(record_for(sent, serial=600), sent)
    one.hub.from_wan(by_wan, NOW)
    one.ask(record_for(ARM, serial=900, void_below=601))
    assert one.hub.fetch(GSME, NOW) == (by_wan, 0)
    assert one.last == ("permit-refused", "VOID")


def test_what_is_put_back_keeps_its_permit() -> None:
    """A meter that fell asleep while it was given a Command does not get it late either."""
    one = PermitHub()
    sent = a_command()
    one.carry(record_for(sent, hold_until=NOW + 1_800), sent)
    message, _ = one.hub.fetch(GSME, NOW)
    assert message == sent
    one.hub.hand_over_failed(GSME, sent, NOW)
    assert one.hub.fetch(GSME, NOW + 60) == (sent, 0)
    one.hub.hand_over_failed(GSME, sent, NOW)
    one.later(1_801)
    assert one.hub.fetch(GSME, one.now) == (None, 0)


def test_a_long_gas_command_waits_whole_or_not_at_all() -> None:
    """Its blocks fit the mailbox together, or none of them is taken and the hand-over does not count."""
    one = PermitHub()
    long = a_command(3, size=4_000)
    assert one.carry(record_for(long), *split(long, 1_200)) == []
    assert one.hub.waiting_for(GSME, NOW) == len(split(long))
    assert all(len(block) <= GAS_MESSAGE_SIZE_MAX for block in split(long))
    other = a_command(4, size=4_000)
    record = record_for(other, max_handovers=1)
    one.carry(record, *split(other, 1_200))
    assert (one.hub.waiting_for(GSME, NOW), one.last) == (len(split(long)), ("full", None))
    assert one.ask(record).status is Status.ACCEPTED
    assert read_header(other).business_target_id == GSME
