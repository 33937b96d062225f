"""Attacks on origin, integrity, counters and time, against every kind of device of a home (threats 3.1 and 3.2)."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    ActivateFirmware,
    Asn1,
    CellId,
    Replacement,
    RoleCounter,
    UpdateControl,
    UpdateCredentials,
    encode_asn1,
)
from lastmetre.gbcs.axdr import LongUnsigned, NullData, OctetString
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.datetimes import date_time_from_unix, unix_from_generalized
from lastmetre.gbcs.dlms import AccessRequest, Action, Get, Obis, decode_data_notification, encode_access_request
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.message import Cra, GroupingHeader, Kind, OtherInformation, encode_message, parse_message
from lastmetre.gbcs.protect import pre_command, seal, sign_pre_command, unsigned_df
from lastmetre.home.esme import Esme
from lastmetre.home.own_memory import Image
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import MeterState
from lastmetre.home.supply import Supply
from tests import gas_world as gas
from tests import own_world as own
from tests.home import test_esme_credentials as credentials
from tests.home.test_esme import configure
from tests.own_world import BROKER, DS, ESME, KA, NOW, PP, PPMID
from tests.threats.the_home import KINDS, HomeDevice, arm_gas, esme, executed, gsme, identity, untouched

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.home.gas.gsme import Gsme

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
CRITICAL = [kind for kind in KINDS if kind.name in {"ESME", "GSME"}]
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's base point."""


@each_kind
def test_a_flipped_bit_is_refused(kind: HomeDevice) -> None:
    """T01: every octet of a Command with one bit flipped, every bit of its first and last 40 octets: nothing moves."""
    device, command = kind.make(), kind.command(9)
    before = untouched(device)
    for place in range(len(command)):
        thorough = place < 40 or place >= len(command) - 40
        for bit in range(8) if thorough else (place % 8,):
            flipped = bytearray(command)
            flipped[place] ^= 1 << bit
            assert not executed(device.receive(bytes(flipped), NOW)), (place, bit)
    assert untouched(device) == before
    assert executed(device.receive(command, NOW))


@pytest.mark.parametrize("kind", CRITICAL, ids=lambda kind: kind.name)
def test_a_signature_cannot_be_left_out(kind: HomeDevice) -> None:
    """T02: a critical Command under a good MAC without its signature is refused: its code decides what must be."""
    device, message = kind.make(), parse_message(kind.command(9))
    stripped = seal(unsigned_df(message.header, message.content), own.secret(BROKER, kind.entity_id))
    assert not executed(device.receive(stripped, NOW))
    assert device.state.counters.ordinary == ()


@pytest.mark.parametrize("signer", [own.NETWORK_OPERATOR, own.OTHER_SUPPLIER, BROKER, ESME, PPMID])
@pytest.mark.parametrize("kind", CRITICAL, ids=lambda kind: kind.name)
def test_a_signature_in_another_role_is_refused(kind: HomeDevice, signer: bytes) -> None:
    """T03: real keys of others, under the supplier's name and under their own: only the cell's own key signs."""
    device, message = kind.make(), parse_message(kind.command(9))
    before = untouched(device)
    for named in (message.header, replace(message.header, business_originator_id=signer)):
        forged = own.critical(named, message.content, signer)
        assert not executed(device.receive(forged, NOW))
    assert untouched(device) == before


@each_kind
def test_a_mac_by_anybody_but_the_broker_is_refused(kind: HomeDevice) -> None:
    """T04: the supplier's, another meter's and a stranger's secrets, and the broker's with parties swapped."""
    device, message = kind.make(), parse_message(kind.command(9))
    df_part = unsigned_df(message.header, message.content)
    if message.signature:
        df_part = sign_pre_command(pre_command(message.header, message.content), own.private_key(own.SUPPLIER, DS))
    before = untouched(device)
    secrets = [
        own.secret(own.SUPPLIER, kind.entity_id),
        own.secret(own.OTHER_SUPPLIER, kind.entity_id),
        own.secret(BROKER, own.OTHER_ESME),
    ]
    for secret in secrets:
        assert not executed(device.receive(seal(df_part, secret), NOW))
    swapped = replace(
        message.header,
        business_originator_id=message.header.business_target_id,
        business_target_id=message.header.business_originator_id,
    )
    mac = parse_message(seal(unsigned_df(swapped, message.content), own.secret(BROKER, kind.entity_id))).mac
    assert not executed(device.receive(encode_message(replace(message, mac=mac)), NOW))
    assert untouched(device) == before
    assert executed(device.receive(seal(df_part, own.secret(BROKER, kind.entity_id)), NOW))


@each_kind
def test_a_response_or_alert_is_no_command(kind: HomeDevice) -> None:
    """T05: the flag changed in either direction, with the MAC kept or made for the other flag: never executed."""
    device, message = kind.make(), parse_message(kind.command(9))
    before = untouched(device)
    for flag in (Cra.RESPONSE, Cra.ALERT):
        header = replace(message.header, cra=flag)
        sealed_otherwise = seal(unsigned_df(header, message.content), own.secret(BROKER, kind.entity_id))
        relabelled = replace(parse_message(sealed_otherwise), header=message.header)
        for forged in (encode_message(replace(message, header=header)), sealed_otherwise, encode_message(relabelled)):
            assert not executed(device.receive(forged, NOW))
    assert untouched(device) == before


def test_parts_of_good_messages_make_no_good_message() -> None:
    """T06: header, content, signature and MAC of six valid Commands, spliced in pairs: only whole ones run."""
    commands = [
        own.arm(9),
        own.arm(10),
        own.critical(own.header("ECS43", 11), own.supply_script(11, 52)),
        own.read_balance(12),
        own.read_balance(13),
        own.top_up(14, own.top_up_digits(14, 500)),
    ]
    device = esme()
    before = untouched(device)
    for one, other in permutations(map(parse_message, commands), 2):
        for spliced in (
            replace(one, header=other.header),
            replace(one, content=other.content),
            replace(one, signature=other.signature),
            replace(one, mac=other.mac),
            replace(one, content=other.content, signature=other.signature),
            replace(one, signature=other.signature, mac=other.mac),
        ):
            data = encode_message(spliced)
            if data not in commands:
                assert not executed(device.receive(data, NOW))
    assert untouched(device) == before


def test_a_command_runs_at_the_device_it_names_alone() -> None:
    """T07: each device's Command to every device of the home and to another home's meter: one of them executes it."""
    for kind in KINDS:
        command = kind.command(9)
        for other in KINDS:
            device = other.make()
            before = untouched(device)
            assert executed(device.receive(command, NOW)) is (other is kind)
            assert (untouched(device) == before) is (other is not kind)
        neighbour = own.meter(entity_id=own.OTHER_ESME)
        assert neighbour.receive(command, NOW) == []


def test_a_signature_has_one_form_and_another_does_not_run_twice() -> None:
    """T08: zero, too large, cut, long, DER signatures are refused; r with n - s may pass, but the counter is used."""
    message = parse_message(own.arm(9))
    assert message.signature
    r, s = (int.from_bytes(message.signature[place : place + 32], "big") for place in (0, 32))

    def raw(first: int, second: int) -> bytes:
        return first.to_bytes(32, "big") + second.to_bytes(32, "big")

    df_part = pre_command(message.header, message.content)
    bad = [raw(0, s), raw(r, 0), raw(N, s), raw(r, N), raw(r, s)[:-1], raw(r, s) + b"\x00", encode_dss_signature(r, s)]
    device = esme()
    before = untouched(device)
    for signature in bad:
        try:
            sealed = seal(df_part + bytes((len(signature),)) + signature, own.secret(BROKER, ESME))
        except GbcsError:  # our own library does not even seal it
            sealed = own.arm(9).replace(b"\x40" + message.signature, bytes((len(signature),)) + signature)
        assert not executed(device.receive(sealed, NOW))
    assert untouched(device) == before
    twin = seal(df_part + b"\x40" + raw(r, N - s), own.secret(BROKER, ESME))
    answers = [device.receive(each, NOW) for each in (own.arm(9), twin, own.arm(9))]
    assert [executed(each) for each in answers] == [True, False, False]


@each_kind
def test_what_ran_does_not_run_again(kind: HomeDevice) -> None:
    """T13: at once, years later, after a restart and after other Commands: refused by its counter."""
    store = MemoryStore()
    device = kind.make(store)
    command = kind.command(9)
    assert executed(device.receive(command, NOW))
    before = device.state.counters
    for again, at in ((device, NOW), (kind.make(store), NOW + 5), (kind.make(store), NOW + 40_000_000)):
        if isinstance(again, Esme):
            again.state = replace(again.state, updated_at=0)  # the years between are not lived through
        assert not executed(again.receive(command, at))
        assert again.state.counters == before
    assert executed(kind.make(store).receive(kind.command(10), NOW + 40_000_000))


@pytest.mark.parametrize("lower", [0, 1, 8])
def test_new_firmware_forgets_no_counter(lower: int) -> None:
    """T13: after CS06 activated an image, Commands from before are still refused, reads too."""
    store = MemoryStore()
    device = esme(store)
    device.state = replace(device.state, images=(Image(b"\x07" * 32, b"\x02\x00\x00\x00"),))
    old = own.read_balance(lower) if lower else own.arm(8)
    device.receive(own.arm(8), NOW)
    content = encode_asn1(Asn1(ActivateFirmware(b"\x07" * 32, 9)))
    assert executed(device.receive(own.critical(own.header("CS06", 9), content), NOW))
    assert device.state.firmware_version == b"\x02\x00\x00\x00"
    assert not executed(esme(store).receive(old, NOW))


@pytest.mark.parametrize("kind", CRITICAL, ids=lambda kind: kind.name)
def test_a_held_command_is_dead_once_it_is_superseded(kind: HomeDevice) -> None:
    """T14, at the meter: held back, a Command runs for as long as nothing newer did; after that never."""
    held = kind.command(9)
    device = kind.make()
    assert executed(device.receive(kind.command(10), NOW))
    before = device.state.counters
    assert not executed(device.receive(held, NOW + 86_400))
    assert device.state.counters == before
    assert executed(kind.make().receive(held, NOW + 86_400))


def test_of_two_in_the_wrong_order_the_late_one_is_refused() -> None:
    """T15, at the meter: off then armed, delivered the other way round, leaves what was sent last in force."""
    off, armed = own.critical(own.header("ECS43", 9), own.supply_script(9, 52)), own.arm(10)
    device = own.meter(supply=Supply.ON, balance=5_000)
    assert [executed(device.receive(each, NOW)) for each in (armed, off)] == [True, False]
    assert device.state.supply is Supply.ON


def test_the_highest_counter_blocks_only_until_credentials_change() -> None:
    """T17, at the meter: 2^64-1 is accepted once and blocks what is below; a change of supplier opens the role."""
    tcos = own.OTHER_SUPPLIER
    cells = {(Role.TRANSITIONAL_COS, use): own.certificate(tcos, use) for use in (DS, KA)}
    made = replace(identity(ESME), trust_anchors=own.anchors() | cells, authorities=(credentials.authority(),))
    device = Esme(made, MemoryStore(), own.Told(), new=MeterState(0, Supply.OFF_BY_COMMAND))
    top = (1 << 64) - 1
    assert executed(device.receive(own.arm(top), NOW))
    assert not executed(device.receive(own.arm(10), NOW))
    floor = RoleCounter(int(Role.SUPPLIER), 0)
    control = UpdateControl(7, 1, authorising_cell=CellId(5, KEY_USAGE_DIGITAL_SIGNATURE), other_changes=(floor,))
    usages = {DS: (KEY_USAGE_DIGITAL_SIGNATURE, 0), KA: (KEY_USAGE_KEY_AGREEMENT, 0), PP: (KEY_USAGE_KEY_AGREEMENT, 1)}
    replacements = tuple(
        Replacement(credentials.certificate(use).der, CellId(2, *usage)) for use, usage in usages.items()
    )
    value = UpdateCredentials(control, replacements, (credentials.authority().der,))
    head = GroupingHeader(Cra.COMMAND, 1, tcos, ESME, OtherInformation(0x0107))
    assert executed(device.receive(own.critical(head, encode_asn1(Asn1(value))), NOW))
    assert executed(device.receive(own.arm(1, originator=credentials.NEW_SUPPLIER), NOW))
    assert not executed(device.receive(own.arm(top), NOW))


INSTANTS = {
    "clocks go forward": "20270328010000Z",
    "clocks go back": "20271031010000Z",
    "leap day": "20280229000000Z",
    "end of a month": "20270131235959Z",
    "end of a year": "20271231235959Z",
    "first second past 2^31": "20380119031408Z",
}


@pytest.mark.parametrize("when", INSTANTS.values(), ids=INSTANTS)
def test_what_is_set_for_later_comes_at_its_second_and_once(when: str) -> None:
    """T20: not a second early whatever the calendar does, then once, with the instant in its Alert."""
    at = unix_from_generalized(when)
    device = own.meter(balance=0, supply=Supply.ON)
    device.tick(at - 7_200)
    assert executed(device.receive(configure(1, "0-0:94.44.128.2", 77, date_time_from_unix(at)), at - 7_200))
    assert device.tick(at - 1) == []
    raised = [parse_message(alert) for alert in device.tick(at) + device.tick(at + 1) + device.tick(at + 86_400)]
    told = [decode_data_notification(message.content) for message in raised if message.header.message_code == 0x00CC]
    assert [(each.alert_code, each.date_time) for each in told] == [(0x8F66, date_time_from_unix(at))]


def test_authentic_is_not_enough_for_what_cannot_be_read() -> None:
    """T37, T38, T39: broken DER, A-XDR and ZCL under a good seal are refused with 8F1E; counters and state stay."""
    der = [b"\x30\x80\x00\x00", b"\x30\x81\x03\x02\x01\x01", b"\x30\x03\x02\x01\x01\x00", b"\x31\x00", b"\x30\x84\xff"]
    axdr = [
        b"\xd9",
        b"\xd9\x20\x00\x00\x09\x00\x84\xff\xff\xff\xff",
        b"\xd9\x20\x00\x00\x09\x00\x01\x01",
        b"\x01" * 900,
    ]
    zcl = [bytes.fromhex(each) for each in ("0109ff", "010900", "010901010702ffff", "0108010107020003010000")]
    cases: list[tuple[Callable[[], Esme | Gsme], bytes]] = [
        *((esme, own.critical(own.header("CS06", 9), content)) for content in der),
        *((esme, own.critical(own.header("ECS44", 9), content)) for content in axdr),
        *((gsme, own.non_critical(own.header("GCS60", 9, target=gas.GSME), content)) for content in zcl),
    ]
    for make, command in cases:
        device = make()
        before = untouched(device)
        (alert,) = map(parse_message, device.receive(command, NOW))
        assert alert.kind is Kind.ALERT
        assert b"\x8f\x1e" in alert.content[:12]
        assert untouched(device) == before


def test_one_reading_of_a_message_alone() -> None:
    """T44: the same Command with a longer length, a count that lies or octets behind it is no Command at all."""
    device, command = esme(), own.arm(9)
    before = untouched(device)
    assert command[6:8] == bytes((0, len(command) - 8)) or command[7] == 0x81
    for other in (command + b"\x00", command[:-1], b"\x00" + command, command[:7] + b"\x82\x00" + command[8:]):
        assert device.receive(other, NOW) == []
    assert untouched(device) == before
    assert executed(gsme().receive(arm_gas(9), NOW))


def test_a_code_twice_in_one_command_credits_nothing() -> None:
    """T13: one CS01a that enters the same code twice is refused whole; alone it is credited once."""
    device = own.meter(balance=0, supply=Supply.ON)
    counter = 5 << 32
    enter = Action(115, Obis.parse("0-0:19.40.0"), 1), OctetString(own.top_up_digits(5, 500).encode())
    read = Get(112, Obis.parse("0-0:19.10.0"), 2), NullData()
    for items in ((enter, enter), (enter, read), (enter, (Action(9, Obis.parse("0-0:10.0.106"), 1), LongUnsigned(51)))):
        content = encode_access_request(AccessRequest(counter & 0xFFFFFF, items))
        assert not executed(device.receive(own.non_critical(own.header("CS01a", counter), content), NOW))
    assert device.state.balance == 0
    assert executed(device.receive(own.top_up(5, own.top_up_digits(5, 500)), NOW))
    assert device.state.balance == 500_000
