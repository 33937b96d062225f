"""The DSP as a User meets it: real signed XML in, real sealed Commands out, judged by a real meter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.dcc.ports import NotADocument, Service
from lastmetre.duis.documents import DeviceAlert, GbcsPayload, ResponseMessage, build_signed_request, signed_pre_command
from lastmetre.duis.xml import Element
from lastmetre.gbcs.message import Cra, GroupingHeader, parse_message
from lastmetre.gbcs.protect import seal, sign_pre_command, unsigned_df, verify_mac, verify_signature
from lastmetre.home.supply import Supply
from tests import own_world as own
from tests.dsp_world import (
    GSME,
    World,
    arm,
    code,
    local_command,
    pre_command,
    read,
    read_balance,
    request,
    returned,
    top_up,
    xml_signer,
)
from tests.own_world import BROKER, DS, ESME, NOW, OTHER_SUPPLIER, PPMID, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SINCE_2000_S = 946_684_800
"""Unix seconds at 2000-01-01, where ZigBee's time begins."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A DSP on a new store."""
    made = World(tmp_path / "dsp.sqlite")
    yield made
    made.close()


def test_a_critical_request_becomes_a_command_the_meter_executes(world: World) -> None:
    """CV4, User's signature, CV6: the Command carries both protections, and the meter arms the supply."""
    signed = world.signed(arm(10))
    command = local_command(world.post(signed_pre_command(arm(10), signed, 6)))
    message = parse_message(command)
    verify_mac(message, own.secret(BROKER, ESME))
    verify_signature(message, own.certificate(SUPPLIER, DS).public_key)
    assert signed in command
    meter = own.meter(balance=5_000, supply=Supply.OFF_BY_COMMAND)
    (response,) = meter.receive(command, NOW)
    assert meter.state.supply is Supply.ARMED
    assert code(world.post(returned(1, response, arm(10).header.request_id))) == "I99"
    (told,) = world.told.of("local_response_recorded")
    assert told["verdict"] == "verified"


def test_a_top_up_becomes_a_command_the_meter_executes(world: World) -> None:
    """CV2: the Command carries the MAC alone, and the meter's balance rises by the UTRN's value."""
    command = world.local_command(top_up(7, 1_500))
    message = parse_message(command)
    verify_mac(message, own.secret(BROKER, ESME))
    assert message.signature == b""
    meter = own.meter(balance=0, supply=Supply.ON)
    (response,) = meter.receive(command, NOW)
    assert meter.state.balance == 1_500_000
    # Its Response is MACed for the supplier: the DSP records it and can say nothing of it.
    assert code(world.post(returned(1, response))) == "I99"
    (told,) = world.told.of("local_response_recorded")
    assert told["verdict"] == "unverified"
    with world.store.change() as change:
        (record,) = change.local_responses()
        command_kept = change.command(ESME, SUPPLIER, 7 << 32)
    assert record.message == response
    assert command_kept is not None
    assert command_kept.answered_at is None


def test_a_top_up_does_not_block_the_next_ordinary_request(world: World) -> None:
    """A top-up's huge counter counts in its own lane only."""
    world.local_command(top_up(7, 100))
    world.local_command(read_balance(11))
    assert code(world.post(read_balance(10))) == "E41"


def test_top_ups_may_come_out_of_order_as_the_meter_takes_them(world: World) -> None:
    """The meter keeps the hundred highest counters: an older one that it can place is sealed, and credited (12.2)."""
    meter = own.meter(balance=0)
    for counter in (7, 3, 5):
        (response,) = meter.receive(world.local_command(top_up(counter, 100)), NOW)
        assert response
    assert meter.state.balance == 300_000
    for counter in range(8, 105):
        world.local_command(top_up(counter, 100))
    with world.store.change() as change:
        assert len(change.top_ups(SUPPLIER, ESME)) == 100
    # A hundred higher ones are known: the meter could not place this one any more.
    assert code(world.post(top_up(2, 100))) == "E41"
    assert code(world.post(top_up(4, 100))) == "I0"


def test_the_same_document_gets_the_same_answer_and_moves_nothing(world: World) -> None:
    """A User that lost the answer asks again with the same bytes; the Command is not sealed anew."""
    first = build_signed_request(read_balance(5), xml_signer(SUPPLIER))
    answers = {world.dsp.answer(Service.NON_DEVICE, SUPPLIER, first) for _ in range(3)}
    assert len(answers) == 1
    assert len(world.told.of("command_sealed")) == 1
    assert len(world.told.of("request_repeated")) == 2


def test_counters_and_answers_survive_a_restart(world: World) -> None:
    """After a restart a used counter is still used, an old answer is still the answer, a Pre-Command can be sealed."""
    signed = world.sign_off(arm(20))
    world.local_command(read_balance(21))
    lost = build_signed_request(read_balance(22), xml_signer(SUPPLIER))
    answer = world.dsp.answer(Service.NON_DEVICE, SUPPLIER, lost)
    world.restart()
    assert world.dsp.answer(Service.NON_DEVICE, SUPPLIER, lost) == answer
    assert code(world.post(read_balance(22, 2, target=ESME))) == "I0"  # the very same document, made again
    assert code(world.post(top_up(1, 100))) == "I0"
    assert code(world.post(arm(22))) == "E41"
    # 20 was transformed but 22 has been sealed meanwhile: the meter would refuse it.
    assert code(world.post(signed)) == "E41"
    late = world.sign_off(arm(23))
    world.restart()
    local_command(world.post(late))


def test_a_changed_signed_pre_command_is_refused(world: World) -> None:
    """One bit of difference between what was transformed and what was signed: nothing is sealed (E42)."""
    octets = bytearray(pre_command(world.post(arm(30))))
    octets[-1] ^= 1
    signed = sign_pre_command(bytes(octets), own.private_key(SUPPLIER, DS))
    assert code(world.post(signed_pre_command(arm(30), signed, 6))) == "E42"
    assert not world.told.of("command_sealed")


@pytest.mark.parametrize("signer", [OTHER_SUPPLIER, BROKER, own.NETWORK_OPERATOR])
def test_a_pre_command_signed_by_another_is_refused(world: World, signer: bytes) -> None:
    """A real key in the wrong hands does not make a Signed Pre-Command (E43, T03)."""
    octets = pre_command(world.post(arm(31)))
    signed = sign_pre_command(octets, own.private_key(signer, DS))
    assert code(world.post(signed_pre_command(arm(31), signed, 6))) == "E43"
    assert not world.told.of("command_sealed")


def test_what_is_not_a_signed_pre_command_is_refused(world: World) -> None:
    """Unsigned, sealed already, cut short, transformed never, or for another service: E42 each time."""
    unsigned = pre_command(world.post(arm(32)))
    signed = sign_pre_command(unsigned, own.private_key(SUPPLIER, DS))
    for octets in (unsigned, unsigned + b"\x00", own.arm(32), signed[:-1], b""):
        assert code(world.post(signed_pre_command(arm(32), octets, 6))) == "E42"
    assert code(world.post(signed_pre_command(arm(33), signed, 6))) == "E42"
    disable = request("7.2", Element("DisableSupply"), 4, 32)
    assert code(world.post(signed_pre_command(disable, signed, 6))) == "E42"
    local_command(world.post(signed_pre_command(arm(32), signed, 6)))
    # The same RequestID with another Command Variant is another document; the first answer stands.
    assert code(world.post(signed_pre_command(arm(32), signed, 5))) == "E40"


def test_another_document_under_a_used_request_id_is_refused(world: World) -> None:
    """A RequestID names one document for ever (E40)."""
    world.local_command(read_balance(40))
    assert code(world.post(read_balance(40, 1))) == "E40"


def test_bytes_that_are_no_request_have_no_answer(world: World) -> None:
    """What cannot be read gets no signed answer: there is no RequestID to answer to."""
    for document in (b"", b"<x/>", b"<!DOCTYPE x><x/>", build_signed_request(arm(1), xml_signer(SUPPLIER))[:-5]):
        with pytest.raises(NotADocument):
            world.dsp.answer(Service.TRANSFORM, SUPPLIER, document)
    assert all(told["code"] is None for told in world.told.of("request_refused"))


def test_a_changed_document_is_refused(world: World) -> None:
    """A document altered after it was signed moves nothing (E1)."""
    document = build_signed_request(read_balance(50), xml_signer(SUPPLIER)).replace(b":50<", b":51<")
    assert code(world.post(document, service=Service.NON_DEVICE)) == "E1"
    assert not world.told.of("command_sealed")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda _command, response: response[:-1], "E081301"),
        (lambda command, _response: command, "E081303"),
        (lambda _command, response: response[:-1] + bytes((response[-1] ^ 1,)), "E081302"),
        (lambda _command, _response: own.meter().receive(own.arm(61), NOW)[0], "E081303"),
    ],
)
def test_what_a_device_did_not_say_cannot_be_returned(
    world: World, make: Callable[[bytes, bytes], bytes], expected: str
) -> None:
    """SRV 8.13 takes a Response of the device to a Command of this User, and nothing else."""
    command = local_command(world.post(world.sign_off(arm(60))))
    (response,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(command, NOW)
    assert code(world.post(returned(1, make(command, response)))) == expected
    assert not world.told.of("local_response_recorded")


def test_a_returned_response_names_the_request_it_answers(world: World) -> None:
    """The OriginalRequestID, when given, must be that of the Command answered."""
    command = local_command(world.post(world.sign_off(arm(70))))
    (response,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(command, NOW)
    assert code(world.post(returned(1, response, arm(71).header.request_id))) == "E081303"
    assert code(world.post(returned(2, response, arm(70).header.request_id))) == "I99"


def test_a_copy_by_wan_of_a_returned_response_is_harmless(world: World) -> None:
    """The same Response by the WAN, after it came back verified by the User, is not pushed again."""
    command = local_command(world.post(world.sign_off(arm(80))))
    (response,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(command, NOW)
    world.post(returned(1, response))
    world.dsp._responses.take_from_wan(own.CHF, response)
    assert len(world.told.of("response_repeated")) == 1
    with world.store.change() as change:
        assert change.outbox() == ()


def test_a_response_by_wan_is_pushed_once(world: World) -> None:
    """What the meter answers by WAN goes into the outbox once, whoever can check it, and a repeat does not."""
    for number in (0, 1):
        assert code(world.post(read_balance(90, 1) if number == 0 else world.sign_off(arm(91), 5))) == "I99"
        with world.store.change() as change:
            (item,) = (item for item in change.outbox() if item.kind == "wan")
            change.take_out(item.number)
        (response,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(item.body, NOW)
        assert world.dsp._responses.take_from_wan(own.CHF, response)
        assert not world.dsp._responses.take_from_wan(own.CHF, response)
        assert world.told.of("response_from_wan")[number]["verdict"] == ("unverified", "verified")[number]
    with world.store.change() as change:
        pushed = [item for item in change.outbox() if item.kind == "push"]
    assert len(pushed) == 2


def test_a_forged_response_by_wan_goes_no_further(world: World) -> None:
    """A changed signed Response, one from another hub, one to no Command, and noise are dropped and named."""
    world.post(world.sign_off(arm(95), 5))
    with world.store.change() as change:
        (item,) = change.outbox()
    (response,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(item.body, NOW)
    changed = response[:-1] + bytes((response[-1] ^ 1,))
    unasked = own.meter(supply=Supply.OFF_BY_COMMAND).receive(own.arm(96), NOW)[0]
    for hub_id, message in ((own.CHF, changed), (own.PPMID, response), (own.CHF, unasked), (own.CHF, b"\xdf\x09")):
        assert not world.dsp._responses.take_from_wan(hub_id, message)
    assert len(world.told.of("message_dropped")) == 4
    with world.store.change() as change:
        assert change.outbox() == (item,)


def test_both_roads_carry_the_same_octets(world: World) -> None:
    """CV3 and CV7: the copy for the User is the Command that leaves by WAN, byte for byte."""
    for critical in (False, True):
        assert code(world.post(world.sign_off(arm(101), 7) if critical else read_balance(100, 3))) == "I99"
        with world.store.change() as change:
            by_wan, pushed = change.outbox()
            change.take_out(by_wan.number)
            change.take_out(pushed.number)
        assert local_command(read(pushed.body)) == by_wan.body


def test_where_no_wan_reaches_both_roads_become_one(world: World) -> None:
    """CV3 for a home without WAN: the User gets its copy, nothing waits for a hub that never comes."""
    assert code(world.post(read_balance(110, 3, target=own.OTHER_ESME))) == "I99"
    with world.store.change() as change:
        (item,) = change.outbox()
    assert item.kind == "push"
    assert world.told.of("command_sealed")[0]["route"] == "local"


def test_pushed_responses_say_what_they_answer(world: World) -> None:
    """The document pushed for a device's Response carries RequestID, its mirror as ResponseID, and the message."""
    world.post(read_balance(120, 1))
    with world.store.change() as change:
        (item,) = change.outbox()
        change.take_out(item.number)
    (message,) = own.meter().receive(item.body, NOW)
    world.dsp._responses.take_from_wan(own.CHF, message)
    with world.store.change() as change:
        (pushed,) = change.outbox()
    response = read(pushed.body)
    request_id = read_balance(120).header.request_id
    assert response.header.request_id == request_id
    assert response.header.response_id == request_id.response_id
    assert isinstance(response.body, ResponseMessage)
    assert response.body.payload == GbcsPayload(message)


def test_the_broker_speaks_for_a_user_the_device_does_not_know(world: World) -> None:
    """A read of the hub goes out in the ACB's name under its own counter; the answer, MACed for it, is verified."""
    counters = []
    for counter in (130, 131):
        asked = request("6.30", Element("ReadCHFSubGHzConfiguration"), 1, counter, target=own.CHF)
        assert code(world.post(asked)) == "I99"
        with world.store.change() as change:
            (item,) = (item for item in change.outbox() if item.kind == "wan")
            change.take_out(item.number)
        command = parse_message(item.body)
        verify_mac(command, own.secret(BROKER, own.CHF))
        header, other = command.header, command.header.other_information
        assert header.business_originator_id == BROKER
        assert (other.supplementary_remote_party_id, other.supplementary_remote_party_counter) == (SUPPLIER, counter)
        counters.append(header.originator_counter)
        answer = GroupingHeader(Cra.RESPONSE, header.originator_counter, own.CHF, BROKER, replace(
            other, supplementary_originator_counter=1
        ))  # fmt: skip
        response = seal(unsigned_df(answer, b"\xda"), own.secret(own.CHF, BROKER))
        assert world.dsp._responses.take_from_wan(own.CHF, response)
        assert world.told.of("response_from_wan")[-1]["verdict"] == "verified"
        forged = response[:-1] + bytes((response[-1] ^ 1,))
        assert not world.dsp._responses.take_from_wan(own.CHF, forged)
    assert counters == [1, 2]
    with world.store.change() as change:
        assert [item.to_id for item in change.outbox()] == [SUPPLIER, SUPPLIER]


def test_alerts_by_wan_reach_the_user_once(world: World) -> None:
    """A meter's signed Alert is pushed as a Device Alert with its code; a repeat and a forged one are not."""
    meter = own.meter()
    refused = own.critical(own.header("ECS44", 140), own.supply_script(140, 54), own.OTHER_SUPPLIER)
    (alert,) = meter.receive(refused, NOW)
    assert world.dsp._responses.take_from_wan(own.CHF, alert)
    assert not world.dsp._responses.take_from_wan(own.CHF, alert)
    assert not world.dsp._responses.take_from_wan(own.CHF, alert[:-1] + bytes((alert[-1] ^ 1,)))
    with world.store.change() as change:
        (item,) = change.outbox()
    assert item.to_id == SUPPLIER
    body = read(item.body).body
    assert isinstance(body, DeviceAlert)
    assert (body.alert_code, body.gbcs_payload) == (0x8F3D, alert)
    (told,) = world.told.of("alert_from_wan")
    assert told["verdict"] == "verified"
    assert len(world.told.of("message_dropped")) == 1


def test_a_command_from_the_wan_goes_nowhere(world: World) -> None:
    """What comes up the WAN is never a Command, however well it is protected."""
    command = world.local_command(read_balance(150))
    header = replace(parse_message(command).header, business_originator_id=ESME, business_target_id=SUPPLIER)
    sealed = seal(unsigned_df(header, b"\xd9"), own.secret(ESME, BROKER))
    assert not world.dsp._responses.take_from_wan(own.CHF, sealed)
    assert "Command" in str(world.told.of("message_dropped")[0]["reason"])


def test_another_user_cannot_return_a_response(world: World) -> None:
    """A Response to one supplier's Command, handed back by another, is refused and records nothing (T24)."""
    command = local_command(world.post(world.sign_off(arm(160))))
    (response,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(command, NOW)
    stolen = returned(1, response, originator=OTHER_SUPPLIER)
    assert code(world.post(stolen, caller=OTHER_SUPPLIER)) == "E081303"
    assert code(world.post(returned(1, response))) == "I99"


def test_a_gas_command_carries_the_dsps_own_time_of_issue(world: World) -> None:
    """GCS39: the issuer event identifier is the DSP's time when it made the Pre-Command, not a frozen one."""
    message = parse_message(pre_command(world.post(arm(10, target=GSME))))
    assert message.header.message_code == 0x0085
    issued = NOW - SINCE_2000_S
    assert issued.to_bytes(4, "little") in message.content


def test_what_the_dcc_signs_itself_is_signed_and_sealed(world: World) -> None:
    """Unjoining a PPMID, which knows the broker alone: its Command carries the broker's signature and MAC."""
    other = Element("OtherDeviceID", "00-00-5E-EF-10-00-00-A0")
    body = Element("UnjoinServiceNonCritical", children=(other,))
    command = parse_message(world.local_command(request("8.8.2", body, 2, 10, target=PPMID)))
    assert command.header.message_code == 0x000F
    assert command.header.business_originator_id == BROKER
    assert command.header.other_information.supplementary_remote_party_id == SUPPLIER
    verify_signature(command, own.certificate(BROKER, DS).public_key)
    verify_mac(command, own.secret(BROKER, PPMID))
