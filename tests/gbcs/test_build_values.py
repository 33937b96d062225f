"""Records of values: every Command of the catalogue has one, values survive their payload, wrong ones are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastmetre.gbcs import build
from lastmetre.gbcs.build import alerts_and_events, auxiliary, credentials, gas, logs, prepayment, reads, supply, tariff
from lastmetre.gbcs.build.calendars import ScheduleEntry
from lastmetre.gbcs.build.times import activation
from lastmetre.gbcs.catalogue import Role, UseCaseKind, catalogue
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.message import Cra, Kind, OtherInformation, parse_message
from lastmetre.gbcs.payload import decode_payload, encode_payload
from tests.gbcs.build_strategies import records

SUPPLIER, METER, BROKER = (bytes.fromhex(f"00005eef100000{end}") for end in ("10", "a0", "02"))
ISSUED_AT = 1_420_070_400
COMMAND_CODES = sorted(row.message_code for row in catalogue().values() if row.kind is UseCaseKind.COMMAND)

RECORDS = list(dict.fromkeys(build.command_classes().values()))


def test_every_command_of_the_catalogue_has_a_record() -> None:
    """All 207 Commands can be built, and nothing that is none."""
    assert len(COMMAND_CODES) == 207
    assert sorted(build.command_classes()) == COMMAND_CODES


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.data())
@pytest.mark.parametrize(
    "record", RECORDS, ids=lambda record: ".".join((record.__module__.rpartition(".")[2], record.__name__))
)
def test_values_survive_their_payload(record: Any, data: st.DataObject) -> None:
    """Any allowed values make a payload that can be written, and that tells them again."""
    values = data.draw(records(record))
    code = data.draw(st.sampled_from(values.message_codes))
    counter = data.draw(st.integers(0, (1 << 63) - 1))
    payload = values.payload(counter, message_code=code, issued_at=ISSUED_AT, requester_id=SUPPLIER, target_id=METER)
    assert decode_payload(code, Cra.COMMAND, encode_payload(payload)) == payload
    found = record.read_back(payload, code)
    again = found.values.payload(
        counter, message_code=code, issued_at=ISSUED_AT, requester_id=SUPPLIER, target_id=METER
    )
    assert again == payload
    if record not in _SAID_OTHERWISE:
        assert found.values == values
    assert found.when is build.NOW


_SAID_OTHERWISE: set[Any] = {
    *(tariff.SetTariff, tariff.SetPrice, tariff.SetSecondaryTariff, tariff.SetSecondaryPrice),
    *(reads.ReadLog, logs.ReadGasLog, logs.ReadGasEventLog),
    alerts_and_events.ConfigureAlerts,
}
"""Prices of zero at the end are as good as prices left out, the end of a log is cut to what 32 bits hold, and of alert
codes the low octet is all there is."""


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (prepayment.TopUp, {"utrn": "1234"}, "TopUp.utrn must be 20 digits"),
    (prepayment.AdjustMeterBalance, {"adjustment_millipence": 2**31}, "from -2147483648 to 2147483647"),
    (prepayment.AdjustMeterBalance, {"adjustment_millipence": True}, "must be a whole number"),
    (prepayment.AdjustMeterBalance, {"adjustment_millipence": "5"}, "must be a whole number"),
    (supply.SynchroniseClock, {"not_before_at": 10, "not_after_at": 9}, "must not lie before"),
    (build.settings.SendMessage, {"message": ""}, "has 0 characters; it must have 1 to 116"),
    (build.settings.SendMessage, {"message": "£5"}, "printable ASCII"),
    (build.settings.ResetMaximumDemand, {}, "names no register"),
    (build.settings.ResetVoltageCounters, {"phases": 2}, "from 1 to 1, or 3"),
    (auxiliary.SwitchLoad, {"load": 6, "action": auxiliary.LoadAction.RESET}, "from 1 to 5"),
    (auxiliary.SwitchLoad, {"load": 1, "action": 0x20}, "one of ACTIVATE, DEACTIVATE, RESET"),
    (auxiliary.SwitchLoad, {"load": 1, "action": auxiliary.LoadAction.ACTIVATE}, "duration_minutes"),
    (auxiliary.SetBoostButton, {"loads": (1, 1), "add": True}, "none twice"),
    (build.hub.RemoveDevice, {"device": b"short"}, "has 5 octets; it must have 8"),
    (reads.ReadLog, {"start_at": 0, "end_at": 1}, "from 946684800"),
    (gas.ConfigureEvents, {"configurations": []}, "must be a tuple"),
    (build.hub.ConfigureSubGhz, dict.fromkeys(build.checks.hints_of(build.hub.ConfigureSubGhz), 0), "must be a tuple"),
    (ScheduleEntry, {"script": 32, "at": build.TimeOfDay(), "days_of_week": (2, 1)}, "in order"),
    (tariff.Switch, {"at": build.TimeOfDay(), "register": 1, "block_set": 1}, "not both"),
    (credentials.ActivateFirmwareImage, {"image_hash": bytes(31)}, "it must have 32"),
]


@pytest.mark.parametrize(("record", "fields", "told"), REFUSED, ids=lambda part: getattr(part, "__name__", None))
def test_values_out_of_range_are_refused(record: Any, fields: dict[str, Any], told: str) -> None:
    """A wrong value is refused when the record is made, with what is allowed."""
    with pytest.raises(GbcsValueError) as refused:
        record(**fields)
    assert told in str(refused.value)


def test_a_schedule_cannot_name_a_day_that_is_not_defined() -> None:
    """Entries refer to the special days of the same Command."""
    entry = ScheduleEntry(32, build.TimeOfDay(6), special_days=(1,))
    with pytest.raises(GbcsValueError, match="only 0 are defined"):
        auxiliary.SetControllerSchedule(schedule=(entry,))


def _adjust(**more: Any) -> build.BuiltCommand:
    values = prepayment.AdjustMeterBalance(500)
    return build.command("ECS04a", values, originator=SUPPLIER, target=METER, counter=1001, **more)


def test_a_critical_command_is_a_pre_command() -> None:
    """ECS04a is to be signed: what is built is a Pre-Command; a read is a DF part with an empty signature."""
    built = _adjust()
    assert built.signed
    assert parse_message(built.message).kind is Kind.PRE_COMMAND
    plain = build.command("ECS82", reads.ReadAttributes(), originator=SUPPLIER, target=METER, counter=1001)
    assert not plain.signed
    assert parse_message(plain.message).signature == b""


def test_the_name_must_fit_the_values() -> None:
    """Values of one use case under the name of another, or an unknown name, make nothing."""
    for name in ("ECS04b", "ECS999"):
        with pytest.raises(GbcsValueError, match=f"does not hold the values of {name}"):
            build.command(name, prepayment.AdjustMeterBalance(1), originator=SUPPLIER, target=METER, counter=1)
    with pytest.raises(GbcsValueError, match="is the name of no Command"):
        build.command_class("ECS999")
    assert build.command_class("ECS08") is build.command_class("ecs08a") is prepayment.UpdatePrepaymentConfiguration


def test_the_form_follows_the_message_code() -> None:
    """ECS08 and ECS08a have the same values and another attribute; a payload of one is none of the other's."""
    values = prepayment.UpdatePrepaymentConfiguration(1, 2, 3, 4, 5, 6)
    old, new = (values.payload(1, message_code=code) for code in (0x001F, 0x00DE))
    assert old != new
    with pytest.raises(GbcsValueError, match="is no UpdatePrepaymentConfiguration"):
        prepayment.UpdatePrepaymentConfiguration.from_payload(old, 0x00DE)
    with pytest.raises(GbcsValueError, match="goes with 00DE, 001F"):
        values.payload(1, message_code=0x0020)


def test_only_what_can_wait_takes_a_time() -> None:
    """A future date goes into every place for it, is read back, and is refused by a Command that has none."""
    values = prepayment.SetPrepaymentMode(0, suspend_debt_when_disabled=True, suspend_debt_in_emergency_credit=False)
    for when in (build.NOW, build.CANCEL, 1_800_000_000):
        payload = values.payload(1, when=when)
        assert isinstance(payload, AccessRequest)
        assert [data for _, data in payload.items[-2:]] == [activation(when).dlms] * 2
        assert prepayment.SetPrepaymentMode.read_back(payload).when == when
    with pytest.raises(GbcsValueError, match="no place for a time of activation"):
        _adjust(when=1_800_000_000)


def test_gas_commands_need_the_time_of_their_issue() -> None:
    """Event identifiers are the time of issue; a time that 32 bits cannot say is refused."""
    values = gas.SetCreditMode()
    with pytest.raises(GbcsValueError, match="issued_at"):
        values.payload(1)
    with pytest.raises(GbcsValueError, match="2136"):
        values.payload(1, issued_at=ISSUED_AT, when=5_300_000_000)
    assert gas.SetCreditMode.read_back(values.payload(1, issued_at=ISSUED_AT)).issued_at == ISSUED_AT


def test_a_party_that_speaks_for_another_names_it() -> None:
    """The supplementary party stands in the header, and an encrypted answer is for it."""
    other = OtherInformation(0, SUPPLIER, 77)
    values = reads.ReadProtected()
    built = build.command("ECS17b", values, originator=BROKER, target=METER, counter=5, supplementary=other)
    assert built.header.other_information == OtherInformation(0x0027, SUPPLIER, 77)
    assert SUPPLIER in built.content
    assert BROKER not in built.content
    with pytest.raises(GbcsValueError, match="leave it 0"):
        _adjust(supplementary=OtherInformation(0x0020, SUPPLIER, 77))


def test_protection_by_originator() -> None:
    """CS02a is sealed for the access control broker and signed for others."""
    values = credentials.ReadCredentials((Role.SUPPLIER,))
    for role, signed in ((Role.ACCESS_CONTROL_BROKER, False), (Role.SUPPLIER, True)):
        built = build.command("CS02a", values, originator=BROKER, target=METER, counter=5, originator_role=role)
        assert built.signed is signed


def test_a_strange_payload_is_refused() -> None:
    """Of the records, only the right one reads a payload."""
    payload = gas.ResetBalanceInCreditMode().payload(1, issued_at=ISSUED_AT)
    for code, record in build.command_classes().items():
        if record is gas.ResetBalanceInCreditMode:
            assert record.read_back(payload, code).values == record()
            continue
        with pytest.raises(GbcsValueError, match="this payload is no "):
            record.read_back(payload, code)
