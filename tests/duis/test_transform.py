"""Transform: the published messages are rebuilt octet for octet, and what cannot be built is said, not guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lastmetre.duis import compose
from lastmetre.duis.catalogue import service_requests
from lastmetre.duis.errors import TransformError
from lastmetre.duis.transform import DeviceFacts, Item, Sender, TransformResult, rules_of, supported, transform
from lastmetre.duis.xml import Element
from lastmetre.gbcs.axdr import BitString, DoubleLong, OctetString
from lastmetre.gbcs.catalogue import use_case
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.message import Kind, parse_message
from tests.duis.pairs import EXPECTED, Pair, golden_pairs, pairs
from tests.duis.support import DSP, METER, SUPPLIER
from tests.shared_data import needs_duis, needs_rtds

ESME = DeviceFacts("ESME", known_remote_parties=frozenset({SUPPLIER}))


def items_of(result: TransformResult) -> list[Item]:
    """The items of a DLMS command."""
    assert isinstance(result.filled, tuple)
    return [item for item in result.filled if isinstance(item, Item)]


@needs_duis
@needs_rtds
@pytest.mark.parametrize("pair", golden_pairs(), ids=lambda pair: pair.stem)
def test_published_messages_are_rebuilt(pair: Pair) -> None:
    """Header, content and (for critical requests) the whole Pre-Command equal the published octets."""
    result = transform(pair.request, pair.device, pair.sender)
    assert result.header == pair.command.header
    assert result.content == pair.command.content
    assert result.use_case.replace("/", "") in pair.stem
    assert (result.critical or result.signed_by_dcc) is bool(pair.command.signature)
    if pair.pre_command is not None:
        assert result.critical
        assert result.message == pair.pre_command


@needs_duis
@needs_rtds
def test_every_pair_is_rebuilt_or_known_to_contradict_itself() -> None:
    """All published pairs are rebuilt but for the few that are listed with a reason."""
    assert {pair.stem for pair in pairs() if pair.result.content != pair.command.content} <= EXPECTED.keys()
    assert len(golden_pairs()) >= len(pairs()) - len(EXPECTED)


@needs_duis
@needs_rtds
def test_device_types_derived_from_the_messages() -> None:
    """The type derived from the message code is the one that the published identifiers stand for."""
    kinds = {0xA0: "ESME", 0xA1: "GSME", 0xA2: "CHF", 0xA3: "GPF", 0xA4: "PPMID", 0xA5: "HCALCS", 0xA6: "ESME"}
    for pair in golden_pairs():
        # Both commands of a join to a proxy or a meter, and reads by either, have one code: the first type is taken.
        allowed = {kinds[pair.request.header.request_id.target[-1]], "ESME", "GSME"}
        assert pair.device.device_type in allowed, pair.stem


def test_every_device_request_has_rules_for_all_its_use_cases() -> None:
    """Each of the 113 requests for devices has a rule for every message code it may become, and no other."""
    rows = [row for row in service_requests().values() if not row.non_device]
    assert len(rows) == 113
    for row in rows:
        assert {rule.message_code for rule in rules_of(row.variant)} == row.message_codes, row.variant


def test_rules_agree_with_both_catalogues() -> None:
    """Every rule belongs to a service request that lists its code, and GBCS calls the code by the same name."""
    for variant in supported():
        for rule in rules_of(variant):
            known = use_case(rule.message_code)
            assert known is not None
            assert known.name == rule.use_case
            assert service_requests()[variant].critical <= known.critical
            assert rule.source.startswith("B")


def test_critical_and_other_messages_end_differently() -> None:
    """A Pre-Command ends with its content; a non-critical message ends with an empty signature."""
    arm = transform(compose.arm_supply(SUPPLIER, METER, 7), ESME)
    assert parse_message(arm.message).kind is Kind.PRE_COMMAND
    read = transform(compose.read_meter_balance(SUPPLIER, METER, 7), ESME)
    assert read.message.endswith(b"\x00")
    assert parse_message(read.message).signature == b""


def test_the_broker_speaks_for_an_unknown_user() -> None:
    """For a User the device does not know, the broker's id and counter stand in the header and the User's beside it."""
    stranger = replace(ESME, known_remote_parties=frozenset())
    request = compose.read_meter_balance(SUPPLIER, METER, 7)
    with pytest.raises(TransformError, match="broker"):
        transform(request, stranger)
    result = transform(request, stranger, Sender(broker_id=DSP, broker_counter=0x1_0000_0009))
    assert (result.header.business_originator_id, result.header.originator_counter) == (DSP, 0x1_0000_0009)
    beside = result.header.other_information
    assert (beside.supplementary_remote_party_id, beside.supplementary_remote_party_counter) == (SUPPLIER, 7)
    assert isinstance(result.payload, AccessRequest)
    assert result.payload.invoke_id == 9


def test_device_facts_choose_the_use_case() -> None:
    """The device's version decides between ECS08 and ECS08a, its second element adds charge links."""
    request = compose.update_prepay_configuration(
        SUPPLIER, METER, 1, compose.PrepayConfiguration(30, 5000, 100, 200, 5_000_000, 1_000_000)
    )
    assert transform(request, ESME).use_case == "ECS08a"
    assert transform(request, replace(ESME, gbcs_version="1.0")).use_case == "ECS08"
    credit = compose.set_credit_mode(SUPPLIER, METER, 1)
    single, twin = (len(transform(credit, replace(ESME, twin=twin)).content) for twin in (False, True))
    assert twin > single


def test_dates_held_by_the_device_and_by_the_dcc() -> None:
    """A date goes into the command only where the device holds it; 3000-12-31 cancels."""
    for at, octets in (
        (None, "0000000000000000008000ff"),
        (1_894_698_000, "07ee010fff090000008000ff"),
        (32_535_129_600, "ffffffffffffffffff8000ff"),
    ):
        items = items_of(transform(compose.set_credit_mode(SUPPLIER, METER, 1, execution_at=at), ESME))
        assert items[-1].data == OctetString(bytes.fromhex(octets))
    read = compose.read_meter_balance(SUPPLIER, METER, 1)
    dated = replace(
        read, body=Element(read.body.name, children=(Element("ExecutionDateTime", "2030-01-15T09:00:00Z"),))
    )
    assert transform(dated, ESME).content == transform(read, ESME).content


def test_negative_amounts_and_hourly_debt() -> None:
    """Negative amounts are two's complement; an hour is 3600 seconds (inferred, no sample)."""
    items = items_of(transform(compose.adjust_meter_balance(SUPPLIER, METER, 1, -2000), ESME))
    assert items[0].data == DoubleLong(-2000)
    debt = compose.update_debt(
        SUPPLIER,
        METER,
        1,
        time_debt_register_1=-1,
        time_debt_register_2=2,
        payment_debt_register=3,
        debt_recovery_per_payment=10_000,
        recovery_1=compose.DebtRecovery(3, -1, "HOURLY"),
        recovery_2=compose.DebtRecovery(4, -2),
    )
    shown = {item.term.name: item.term.show(item.data) for item in items_of(transform(debt, ESME))}
    assert shown["debt recovery 1 period"] == "HOURLY (3600)"
    assert shown["time debt register 1"] == "-1"


def test_schedule_bits() -> None:
    """Days of the week are bits from Monday; special days are bits from the first that is defined."""
    entry = compose.NonDisablement("START", "18:00:00", "65535-01-01", "65535-12-31", frozenset({"Monday"}), (2,))
    configuration = compose.PrepayConfiguration(
        1, 2, 3, 4, 5, 6, (compose.SpecialDay(12, 25), compose.SpecialDay(1, 1)), (entry,)
    )
    items = items_of(transform(compose.update_prepay_configuration(SUPPLIER, METER, 1, configuration), ESME))
    schedule = next(item.data for item in items if item.term.name == "non-disablement schedule")
    values = schedule.elements[0].elements  # type: ignore[union-attr]
    assert values[6:8] == (BitString(7, b"\x80"), BitString(2, b"\x40"))
    assert values[8] == OctetString(bytes.fromhex("ffff0101ff"))


@pytest.mark.parametrize(
    ("variant", "children", "message"),
    [
        ("2.2", (Element("UTRN", "123"),), "20 digits"),
        ("2.2", (), "no UTRN"),
        ("1.5", (Element("PrepaymentMode", children=(Element("AdjustMeterBalance", "1e3"),)),), "whole number"),
        ("1.5", (Element("CreditMode", children=(Element("AdjustMeterBalance", str(2**31)),)),), "whole number"),
        ("1.6", (Element("Prepayment"),), "DisablementThreshold"),
        ("2.1", (Element("UpdatePrepayConfigGas"),), "UpdatePrepayConfigElectricity"),
        ("6.11", (Element("CurrentDateTime", "now"), Element("TolerancePeriod", "1")), "date and time"),
        ("1.1.1", (), "no ElecTariffElements"),
        ("6.18.2", (), "names no register"),
        ("6.14.1", (), "asks for nothing"),
        ("6.6", (), "no use case for a device of type ESME"),
        ("6.13", (Element("LogToRead", "GSMEEvent"),), "no use case"),
        ("8.2", (), "becomes no GBCS message"),
    ],
)
def test_what_cannot_be_built_is_said(variant: str, children: tuple[Element, ...], message: str) -> None:
    """A missing or impossible value, or a request without a rule, is named; nothing is guessed."""
    with pytest.raises(TransformError, match=message):
        transform(compose.make_request(variant, SUPPLIER, METER, 1, children), ESME)


def test_a_device_of_another_type_is_refused() -> None:
    """A rule for an ESME is not used for another device."""
    with pytest.raises(TransformError, match="PPMID"):
        transform(compose.arm_supply(SUPPLIER, METER, 1), replace(ESME, device_type="PPMID"))


def test_misfits_are_refused() -> None:
    """A request whose parts do not belong together, or that is signed already, is not transformed."""
    request = compose.arm_supply(SUPPLIER, METER, 1)
    with pytest.raises(TransformError, match="carried by"):
        transform(replace(request, body=Element("EnableSupply")), ESME)
    signed = replace(request, header=replace(request.header, command_variant=6), body=Element("SignedPreCommand"))
    with pytest.raises(TransformError, match="already"):
        transform(signed, ESME)
