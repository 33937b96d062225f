"""Where a Command is accepted or refused: each step of the order has its test, and nothing moves on a refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.acceptance import (
    Accepted,
    Doubt,
    NotVerified,
    Reason,
    Refused,
    Verified,
    accept_command,
    check_response,
)
from lastmetre.gbcs.catalogue import Role, UseCaseKind, catalogue
from lastmetre.gbcs.keys import agree
from lastmetre.gbcs.message import Cra, OtherInformation, encode_message, parse_message
from lastmetre.gbcs.protect import pre_command, seal, signed_df, unsigned_df
from lastmetre.home.supply import Supply
from tests import own_world as own
from tests.own_world import BROKER, DS, ESME, KA, NETWORK_OPERATOR, NOW, OTHER_ESME, OTHER_SUPPLIER, PP, SUPPLIER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse, SharedSecret


def refusal(data: bytes, *, device: object = None) -> Reason:
    """Judge a message at a new meter; it must be refused."""
    verdict = accept_command(data, own.meter() if device is None else device)  # type: ignore[arg-type]
    assert isinstance(verdict, Refused), verdict
    return verdict.reason


def test_an_authentic_command_is_accepted() -> None:
    """The plain case, critical and not: otherwise every refusal below would prove nothing."""
    for data in (own.arm(1), own.read_balance(1), own.top_up(1, own.top_up_digits(1, 100))):
        verdict = accept_command(data, own.meter())
        assert isinstance(verdict, Accepted)
        assert verdict.role is Role.SUPPLIER


@pytest.mark.parametrize("make", [lambda: own.arm(7), lambda: own.read_balance(7)], ids=["critical", "non-critical"])
def test_t01_every_flipped_bit_is_refused_and_moves_nothing(make: object) -> None:
    """T01: any single bit of a Command flipped: no Response, the meter behaves as before."""
    data: bytes = make()  # type: ignore[operator]
    meter = own.meter(supply=Supply.OFF_BY_COMMAND)
    before = meter.state.behaviour()
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        answers = meter.receive(bytes(flipped), NOW)
        assert meter.state.behaviour() == before, bit
        assert all(parse_message(answer).header.cra is Cra.ALERT for answer in answers), bit
    assert [parse_message(answer).header.cra for answer in meter.receive(data, NOW)] == [Cra.RESPONSE]


def test_a_command_cut_at_any_length_is_refused() -> None:
    """However much of a Command arrives, short of all of it, nothing happens and nothing is answered."""
    data = own.arm(7)
    meter = own.meter()
    before = meter.state.behaviour()
    for size in range(len(data)):
        assert meter.receive(data[:size], NOW) == []
    assert meter.receive(data + b"\x00", NOW) == []
    assert meter.state.behaviour() == before


def test_t02_a_stripped_signature_is_refused() -> None:
    """T02: a critical Command with signature length zero and a right MAC is refused, for every critical code."""
    for case in catalogue().values():
        if case.kind is not UseCaseKind.COMMAND or not case.critical or Role.SUPPLIER not in case.originators:
            continue
        head = replace(own.header("ECS44", 9), other_information=OtherInformation(case.message_code))
        stripped = seal(unsigned_df(head, own.supply_script(9, 54)), own.secret(BROKER, ESME))
        assert refusal(stripped) is Reason.WRONG_PROTECTION, case.name


def test_a_signature_without_its_mac_is_refused() -> None:
    """A critical Command that skipped the access control broker is refused."""
    head = own.header("ECS44", 9)
    assert refusal(signed_df(head, own.supply_script(9, 54), own.private_key(SUPPLIER, DS))) is Reason.WRONG_PROTECTION


def test_a_signature_where_none_is_due_is_refused() -> None:
    """A non-critical Command takes no signature, not even a right one: one form only."""
    message = parse_message(own.read_balance(9))
    df = signed_df(message.header, message.content, own.private_key(SUPPLIER, DS))
    assert refusal(seal(df, own.secret(BROKER, ESME))) is Reason.WRONG_PROTECTION


@pytest.mark.parametrize("signer", [NETWORK_OPERATOR, OTHER_SUPPLIER, BROKER, ESME], ids=lambda value: value.hex())
def test_t03_a_real_signature_by_somebody_else_is_refused(signer: bytes) -> None:
    """T03: a valid signature, but made by another party than the header names."""
    head = own.header("ECS44", 9)
    assert refusal(own.critical(head, own.supply_script(9, 54), signer)) is Reason.SIGNATURE_REFUSED


@pytest.mark.parametrize("originator", [NETWORK_OPERATOR, BROKER], ids=["network operator", "broker"])
def test_t03_a_role_without_authority_is_refused(originator: bytes) -> None:
    """T03: a known party, rightly signed, in a role that may not say this."""
    assert refusal(own.arm(9, originator=originator)) is Reason.NO_AUTHORITY


def test_t03_an_unknown_supplier_is_refused() -> None:
    """T03: another supplier's own, genuine Command: this meter holds no cell for it."""
    assert refusal(own.arm(9, originator=OTHER_SUPPLIER)) is Reason.NO_AUTHORITY


def test_t04_a_mac_by_another_key_is_refused() -> None:
    """T04: MACs made by the supplier, by the meter's other pairs, or for another meter."""
    head, content = own.header("ECS82", 9), parse_message(own.read_balance(9)).content
    for maker in (own.secret(SUPPLIER, ESME), own.secret(SUPPLIER, ESME, PP), own.secret(BROKER, OTHER_ESME)):
        assert refusal(seal(unsigned_df(head, content), maker)) is Reason.MAC_REFUSED


@pytest.mark.parametrize("cra", [Cra.RESPONSE, Cra.ALERT])
def test_t05_a_command_does_not_become_one_by_its_flag(cra: Cra) -> None:
    """T05: the flag changed and even the MAC made anew: not a Command; turned back, the MAC is wrong."""
    message = parse_message(own.read_balance(9))
    other = seal(unsigned_df(replace(message.header, cra=cra), message.content), own.secret(BROKER, ESME))
    assert refusal(other) is Reason.NOT_A_COMMAND
    turned = replace(parse_message(other), header=message.header)
    assert refusal(encode_message(turned)) is Reason.MAC_REFUSED


def test_t06_spliced_commands_are_refused() -> None:
    """T06: header, content, signature and MAC of two authentic Commands in every mixture."""
    one, other = (
        parse_message(own.arm(9)),
        parse_message(own.critical(own.header("ECS43", 10), own.supply_script(10, 52))),
    )
    parts = ("header", "content", "signature", "mac")
    for mask in range(1, 15):
        mixed = replace(one, **{part: getattr(other, part) for bit, part in enumerate(parts) if mask >> bit & 1})
        assert refusal(encode_message(mixed)) in {Reason.MAC_REFUSED, Reason.SIGNATURE_REFUSED}, mask


def test_t07_another_meters_command_is_refused() -> None:
    """T07: a genuine Command for one meter does nothing at another."""
    assert refusal(own.arm(9, target=OTHER_ESME)) is Reason.OTHER_TARGET


def test_t13_a_used_counter_is_refused_for_ever() -> None:
    """T13: an executed Command, or any lower counter, is refused; another party's counter is its own."""
    meter = own.meter(supply=Supply.OFF_BY_COMMAND)
    assert len(meter.receive(own.arm(9), NOW)) == 1
    assert refusal(own.arm(9), device=meter) is Reason.COUNTER_USED
    assert refusal(own.read_balance(8), device=meter) is Reason.COUNTER_USED
    assert isinstance(accept_command(own.read_balance(10), meter), Accepted)
    assert isinstance(accept_command(own.read_balance(1, originator=BROKER), meter), Accepted)


def test_a_command_the_meter_does_not_support_is_refused_only_when_authentic() -> None:
    """Step 3 speaks only after step 7: a forged Command learns nothing of what the meter supports."""
    head = own.header("GCS28", 9)
    assert refusal(own.critical(head, own.supply_script(9, 54))) is Reason.NOT_SUPPORTED
    forged = seal(unsigned_df(own.header("GCS09", 9), own.supply_script(9, 54)), own.secret(SUPPLIER, ESME))
    assert refusal(forged) is Reason.MAC_REFUSED
    genuine = own.non_critical(own.header("GCS09", 9), own.supply_script(9, 54))
    assert refusal(genuine) is Reason.NOT_SUPPORTED


def test_a_content_that_cannot_be_read_or_belongs_elsewhere_is_refused() -> None:
    """Step 8: garbage under a right MAC, and an invoke id that is not the counter's."""
    head = own.header("ECS82", 9)
    assert refusal(own.non_critical(head, b"\xd9 nonsense")) is Reason.CONTENT_REFUSED
    assert refusal(own.non_critical(head, parse_message(own.read_balance(8)).content)) is Reason.CONTENT_REFUSED


def test_a_pre_command_is_refused() -> None:
    """What the DCC returned to be signed is no Command."""
    assert refusal(pre_command(own.header("ECS44", 9), own.supply_script(9, 54))) is Reason.NOT_A_COMMAND


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    """No bytes at all make acceptance raise or accept."""
    assert refusal(data, device=_METER) in {Reason.MALFORMED, Reason.NOT_A_COMMAND, Reason.OTHER_TARGET}


_METER = own.meter()


class SupplierKeys:
    """What our supplier needs to believe a Response."""

    def __init__(self, entity_id: bytes = SUPPLIER) -> None:
        self.entity_id = entity_id

    def device_certificate(self, device_id: bytes, use: KeyUse) -> Certificate | None:
        return own.certificate(device_id, use)

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        return agree(own.private_key(self.entity_id, KA), public_key)


@pytest.mark.parametrize("make", [own.arm, own.read_balance])
def test_a_response_is_believed_only_as_the_device_made_it(make: object) -> None:
    """Every bit of a Response matters; a Response answers its own Command and no other."""
    command: bytes = make(9)  # type: ignore[operator]
    other: bytes = make(10)  # type: ignore[operator]
    (response,) = own.meter(supply=Supply.OFF_BY_COMMAND).receive(command, NOW)
    head = parse_message(command).header
    assert isinstance(check_response(response, head, SupplierKeys()), Verified)
    for bit in range(len(response) * 8):
        flipped = bytearray(response)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(check_response(bytes(flipped), head, SupplierKeys()), NotVerified), bit
    verdict = check_response(response, parse_message(other).header, SupplierKeys())
    assert verdict == NotVerified(Doubt.OTHER_COMMAND)
    assert check_response(command, head, SupplierKeys()) == NotVerified(Doubt.NOT_A_RESPONSE)


def test_a_response_for_the_broker_is_not_judged_by_the_supplier() -> None:
    """What is MACed for the access control broker stays unverified at the supplier, and says so."""
    command = own.read_balance(9, originator=BROKER)
    (response,) = own.meter().receive(command, NOW)
    verdict = check_response(response, parse_message(command).header, SupplierKeys())
    assert verdict == NotVerified(Doubt.FOR_THE_BROKER)
    assert isinstance(check_response(response, parse_message(command).header, SupplierKeys(BROKER)), Verified)
