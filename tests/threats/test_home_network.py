"""Attacks by certificate, by road, by radio, by field tool and by guessing, on a whole home (threats 3.1, 3.2, 3.6)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs.acceptance import NotVerified, Verified, check_response
from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    ActivateFirmware,
    ActivateFirmwareResponse,
    Asn1,
    CellId,
    Join,
    JoinResponse,
    Replacement,
    UpdateControl,
    UpdateCredentials,
    UpdateCredentialsResponse,
    decode_asn1,
    encode_asn1,
)
from lastmetre.gbcs.blocks import split
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, CertificateRule, parse_certificate
from lastmetre.gbcs.keys import KeyUse, SharedSecret, agree
from lastmetre.gbcs.message import Cra, Kind, OtherInformation, parse_message
from lastmetre.gbcs.protect import signed_df
from lastmetre.gbcs.zcl import zcl_command
from lastmetre.han.limits import WAKE_INTERVAL_S
from lastmetre.home.block_door import TRANSFERS_MAX, BlockDoor
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState
from lastmetre.home.hub_policy import Refusal
from lastmetre.home.own_memory import Image
from lastmetre.home.ports import MemoryStore
from lastmetre.home.supply import Supply
from tests import gas_world as gas
from tests import own_world as own
from tests.home import test_esme_credentials as credentials
from tests.home.test_hht import FieldVisit
from tests.home.test_premises import Home
from tests.own_world import DS, ESME, KA, NOW, PPMID, SUPPLIER
from tests.threats.the_home import GPF, executed, identity, untouched

if TYPE_CHECKING:
    from collections.abc import Callable

POINT = b"\x03\x42\x00\x04"
"""How an uncompressed P-256 point begins in a certificate."""


def spoiled(der: bytes, how: str) -> bytes:
    """A certificate whose public key is none."""
    at = der.index(POINT) + len(POINT)
    x, y = der[at : at + 32], der[at + 32 : at + 64]
    points = {
        "not on the curve": x + bytes((y[0] ^ 1,)) + y[1:],
        "zero": bytes(64),
        "beyond the field": b"\xff" * 64,
        "another's x": bytes((x[0] ^ 1,)) + x[1:] + y,
    }
    bad = der[:at] + points[how] + der[at + 64 :]
    # Its Subject Key Identifier follows from the bad point, so that nothing but the point is wrong with it.
    return bad.replace(identifier(der[at - 1 : at + 64]), identifier(b"\x04" + points[how]))


def identifier(point: bytes) -> bytes:
    """The key identifier of a point: four bits 0100 and sixty of its SHA-1 (RFC 5280 4.2.1.2, method 2)."""
    digest = int.from_bytes(hashlib.sha1(point, usedforsecurity=False).digest(), "big")
    return (0x4 << 60 | digest & (1 << 60) - 1).to_bytes(8, "big")


@pytest.mark.parametrize("how", ["not on the curve", "zero", "beyond the field", "another's x"])
def test_a_key_that_is_none_enters_no_cell_and_no_join(how: str) -> None:
    """T09: CS02b and CS03C with a bad point: refused before any agreement; cells and partners stay."""
    meter = credentials.meter()
    bad = spoiled(credentials.certificate(KA).der, how)
    with pytest.raises(CertificateRefused) as refused:
        parse_certificate(bad)
    assert refused.value.rule is CertificateRule.CURVE
    control = UpdateControl(2, 9, authorising_cell=CellId(2, KEY_USAGE_DIGITAL_SIGNATURE), new_floor=0)
    target = CellId(2, KEY_USAGE_KEY_AGREEMENT)
    update = UpdateCredentials(control, (Replacement(bad, target),), (credentials.authority().der,))
    head = replace(own.header("ECS44", 9), other_information=OtherInformation(0x0102))
    (response,) = meter.receive(own.critical(head, encode_asn1(Asn1(update))), NOW)
    answer = credentials.answer(response)
    assert isinstance(answer, UpdateCredentialsResponse)
    assert answer.outcome is not None
    assert [each.status for each in answer.outcome.replacements] == [5]
    assert meter.trust_anchors[Role.SUPPLIER, KA] == own.certificate(SUPPLIER, KA)

    device = gas.meter()
    stranger = bytes.fromhex("00005eef100000c4")
    ppmid = own.certificate(stranger, KA).der
    before = dict(device.partners)
    assert join_by_certificate(device, 9, stranger, spoiled(ppmid, how)) == 11
    assert device.partners == before
    assert join_by_certificate(device, 10, stranger, ppmid) == 0
    assert set(device.partners) == {*before, stranger}


def join_by_certificate(device: Gsme, counter: int, other: bytes, der: bytes | None) -> int:
    """CS03C: what the gas meter answers."""
    content = encode_asn1(Asn1(Join(3, other, 5, der)))
    (response,) = device.receive(own.critical(own.header("CS03C", counter, target=gas.GSME), content), NOW)
    value = decode_asn1(0x00AF, int(Cra.RESPONSE), parse_message(response).content).value
    assert isinstance(value, JoinResponse)
    return value.result


BAD: dict[str, tuple[Callable[[], Certificate], int]] = {
    "of another authority": (lambda: credentials.certificate(KA, key_number=5002), 10),
    "in another role": (lambda: credentials.certificate(KA, role=Role.NETWORK_OPERATOR), 5),
    "for another use": (lambda: credentials.certificate(DS), 5),
    "not valid yet": (lambda: credentials.certificate(KA, from_year=2030), 10),
    "of another device": (lambda: own.certificate(own.OTHER_ESME, KA), 5),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", ["ESME", "GSME"])
def test_a_bad_certificate_takes_no_cell_and_moves_no_counter(kind: str, bad: str) -> None:
    """T10: one bad certificate by rule, at both meters: the cell rolls back to what it held, the counters hold."""
    make, status = BAD[bad]
    target = ESME if kind == "ESME" else gas.GSME
    made = replace(identity(target), authorities=(credentials.authority(),))
    meter = credentials.meter() if kind == "ESME" else Gsme(made, MemoryStore(), own.Told(), new=GasState())
    control = UpdateControl(2, 9, authorising_cell=CellId(2, KEY_USAGE_DIGITAL_SIGNATURE), new_floor=0)
    replacement = Replacement(make().der, CellId(2, KEY_USAGE_KEY_AGREEMENT))
    content = encode_asn1(Asn1(UpdateCredentials(control, (replacement,), (credentials.authority().der,))))
    head = replace(own.header("ECS44", 9, target=target), other_information=OtherInformation(0x0102))
    (response,) = meter.receive(own.critical(head, content), NOW)
    value = decode_asn1(0x0102, int(Cra.RESPONSE), parse_message(response).content).value
    assert isinstance(value, UpdateCredentialsResponse)
    assert value.outcome is not None
    assert [each.status for each in value.outcome.replacements] == [status]
    assert meter.trust_anchors[Role.SUPPLIER, KA] == own.certificate(SUPPLIER, KA)
    assert meter.state.counters.high_water(Role.SUPPLIER) == 9


def test_a_gas_join_by_certificate_must_name_its_owner() -> None:
    """T10: no certificate, a signing one, another device's: the PPMID-to-be stays a stranger to the gas meter."""
    device = gas.meter()
    stranger = bytes.fromhex("00005eef100000c4")
    for counter, der in enumerate((None, own.certificate(stranger, DS).der, own.certificate(PPMID, KA).der), 1):
        assert join_by_certificate(device, counter, stranger, der) == 11
    assert stranger not in device.partners


@pytest.mark.parametrize("first", ["wan", "ppmid"])
def test_one_command_by_two_roads_runs_once(first: str) -> None:
    """T16: in both orders, and with the hub's own rule off: one execution, the second refused by its counter."""
    home = Home()
    home.run(60)
    home.premises.wan_connected(home.at)
    home.premises.hub.settings.drop_repeats = False
    roads: list[Callable[[], None]] = [
        lambda: home.premises.from_wan(own.arm(9), home.now, home.at),
        lambda: home.pass_up(own.arm(9)),
    ]
    for send in roads if first == "wan" else reversed(roads):
        send()
        home.run(5)
    refused = [event.reason for event in home.meter.state.security_log]
    assert refused == ["COUNTER_USED"]
    assert home.meter.state.supply is Supply.ARMED


def test_neither_calendar_nor_restart_stretches_a_visit() -> None:
    """T19: an hour, a day, ten years back, and a restart for each hour: eighteen hours in all, never more."""
    visit = FieldVisit()
    assert visit.joins()
    spent = 0
    for skew in (0, -3_600, -86_400, -315_360_000, 0):
        left = visit.chf.hht_clock(NOW + spent + skew, 3_600)
        spent += 3_600
        assert left <= 18 * 3_600 - spent
    for _hour in range(18):
        left = visit.chf.hht_clock(NOW - 315_360_000, 3_600)
    assert left == 0


def test_block_transfers_cannot_be_mixed_or_hoarded() -> None:
    """T42: gaps, a block that contradicts, endless first blocks: nothing joins wrongly and few are held."""
    whole = own.critical(own.header("ECS44", 9), bytes(3_000))
    blocks = split(whole)
    door = BlockDoor()
    assert [door.take(block, NOW) for block in (blocks[0], blocks[-1])] == [None, None]
    liar = bytearray(blocks[0])
    liar[-1] ^= 1
    assert door.take(bytes(liar), NOW) is None
    assert all(door.take(block, NOW) != whole for block in blocks[1:])
    for counter in range(10, 10 + 3 * TRANSFERS_MAX):
        assert door.take(split(own.critical(own.header("ECS44", counter), bytes(3_000)))[0], NOW) is None
    assert len(door._joiners) <= TRANSFERS_MAX
    assert [door.take(block, NOW) for block in blocks][-1] == whole


def test_a_flood_by_ppmid_starves_neither_wan_nor_alerts() -> None:
    """T45: a PPMID that never stops: what it sends is bounded, a Command by WAN runs and an Alert still leaves."""
    home = Home()
    home.run(60)
    home.premises.wan_connected(home.at)
    for counter in range(1, 60):
        home.pass_up(own.read_balance(counter))
        home.run(0.2)
    home.premises.from_wan(own.arm(1_000), home.now, home.at)
    home.run(20)
    assert home.meter.state.supply is Supply.ARMED
    assert Refusal.RATE in {event.refusal for event in home.premises.hub.log}
    wrong = own.non_critical(own.header("ECS44", 2_000), own.supply_script(2_000, 54))
    home.premises.from_wan(wrong, home.now, home.at)
    home.run(20)
    assert any(parse_message(message).kind is Kind.ALERT for message in home.wan)


def test_a_stranger_s_radio_reaches_nobody() -> None:
    """T46: who is not listed, and who speaks in another's name, gets no Command through; each is in the hub's log."""
    home = Home()
    home.run(60)
    hub = home.premises.hub
    before = untouched(home.meter), untouched(home.gsme)
    stranger = bytes.fromhex("00005eef100000c4")
    for sender in (stranger, ESME, gas.GSME, GPF):
        for command in (own.arm(9), own.read_balance(10), gas.top_up(6, 100)):
            assert all(d.device_id not in {ESME, gas.GSME} for d in hub.from_device(sender, command, home.at))
    assert {event.refusal for event in hub.log} >= {Refusal.NOT_IN_LOG}
    home.run(WAKE_INTERVAL_S)
    assert (untouched(home.meter), untouched(home.gsme)) == before


def test_a_stolen_terminal_has_an_hour_to_join_and_one_home() -> None:
    """T47: too late, twice, or after it left: no join; joined, it relays what it cannot make: its own words fail."""
    late = FieldVisit()
    late.now = 3_600.0
    assert not late.joins()
    visit = FieldVisit()
    assert visit.joins()
    assert not visit.joins()
    visit.run(30)
    before = untouched(visit.meter)
    visit.tool.commands = (own.arm(9, originator=own.OTHER_SUPPLIER),)
    visit.run(60)
    assert untouched(visit.meter) == before


@pytest.mark.parametrize("result", ["another image", "no image"])
def test_only_an_image_that_came_by_wan_is_activated(result: str) -> None:
    """T48: CS06 by any road names the hash of an image that the meter already has; else 2 or 1 and the old version."""
    meter = own.meter()
    if result == "another image":
        meter.state = replace(meter.state, images=(Image(b"\x07" * 32, b"\x02\x00\x00\x00"),))
    content = encode_asn1(Asn1(ActivateFirmware(b"\x08" * 32, 9)))
    (response,) = meter.receive(own.critical(own.header("CS06", 9), content), NOW)
    value = decode_asn1(0x0012, int(Cra.RESPONSE), parse_message(response).content).value
    assert isinstance(value, ActivateFirmwareResponse)
    assert value.outcome is not None
    assert value.outcome.result == (2 if result == "another image" else 1)
    assert meter.state.firmware_version == b"\x00\x00\x00\x01"
    other_counter = encode_asn1(Asn1(ActivateFirmware(b"\x07" * 32, 11)))
    assert not executed(meter.receive(own.critical(own.header("CS06", 10), other_counter), NOW))


class _Supplier:
    """What a supplier checks a Response with."""

    entity_id = SUPPLIER

    @staticmethod
    def device_certificate(device_id: bytes, use: KeyUse) -> Certificate | None:
        """The certificate of the one meter it knows."""
        return own.certificate(device_id, use) if device_id == ESME else None

    @staticmethod
    def agree(public_key: object) -> SharedSecret:
        """With the meter's key."""
        return agree(own.private_key(SUPPLIER, KA), public_key)  # type: ignore[arg-type]


def test_a_hub_that_lies_forges_no_answer() -> None:
    """T49: a Response with any octet altered, to another Command, or by the hub's own keys: none verifies."""
    command = own.arm(9)
    head = parse_message(command).header
    (genuine,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(command, NOW)
    assert isinstance(check_response(genuine, head, _Supplier()), Verified)
    for place in range(len(genuine)):
        lie = genuine[:place] + bytes((genuine[place] ^ 1,)) + genuine[place + 1 :]
        assert isinstance(check_response(lie, head, _Supplier()), NotVerified), place
    (other,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(own.arm(10), NOW)
    assert isinstance(check_response(other, head, _Supplier()), NotVerified)
    message = parse_message(genuine)
    by_hub = signed_df(message.header, message.content, own.private_key(own.CHF, DS))
    assert isinstance(check_response(by_hub, head, _Supplier()), NotVerified)


def test_guessing_at_the_gas_meter_waits_longer_each_time() -> None:
    """T50 by PPMID: after five wrong codes even the right one is not read for a minute; then it is credited."""
    meter = gas.meter()
    right = own.top_up_digits(7, 1_000, target=gas.GSME)
    wrong = own.top_up_digits(8, 1_000)
    before = meter.state.number((0x0705, 1))

    def enter(counter: int, digits: str, at: int) -> None:
        body = zcl_command("ConsumerTopUp", originating_device=2, code=digits.encode())
        meter.receive(gas.from_ppmid("PCS01", counter, body), at)

    for counter in range(1, 6):
        enter(counter, wrong, NOW)
    enter(6, right, NOW + 59)
    assert meter.state.number((0x0705, 1)) == before
    assert [entry.event_id for entry in meter.state.log if entry.event_id in {0x81C4, 0x81C5}] == [0x81C4, 0x81C5]
    enter(7, right, NOW + 60)
    assert meter.state.number((0x0705, 1)) == before + 1_000_000


def test_a_published_certificate_bit_by_bit() -> None:
    """T09, T10: no octet of a certificate can be changed, and it still be its authority's: all are refused."""
    good = credentials.certificate(KA)
    for place in range(0, len(good.der), 3):
        der = good.der[:place] + bytes((good.der[place] ^ 1,)) + good.der[place + 1 :]
        try:
            other = parse_certificate(der)
        except CertificateRefused:
            continue
        meter = credentials.meter()
        (response,) = meter.receive(credentials.update(9, {KA: other}), NOW)
        assert credentials.statuses(response) != [0], place
        assert meter.trust_anchors[Role.SUPPLIER, KA] == own.certificate(SUPPLIER, KA)
