"""Requests made from values: valid by the official schema, equal to the published ones, and refused when impossible."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.duis import compose
from lastmetre.duis.correlate import Agreed, compare_pre_command
from lastmetre.duis.documents import Request, build_request, parse_request
from lastmetre.duis.errors import DuisValueError
from lastmetre.duis.identifiers import RequestID
from lastmetre.duis.transform import DeviceFacts, transform
from tests.duis.support import DSP, METER, SUPPLIER, assert_schema_valid, templates
from tests.shared_data import needs_duis

ESME = DeviceFacts("ESME", known_remote_parties=frozenset({SUPPLIER}))
CONFIGURATION = compose.PrepayConfiguration(
    30, -5000, 100, 200, 5_000_000, 1_000_000, (compose.SpecialDay(12, 25), compose.SpecialDay(None, None, 2031))
)
DEBT = {
    "time_debt_register_1": 30000,
    "time_debt_register_2": 15000,
    "payment_debt_register": 50000,
    "debt_recovery_per_payment": 1000,
}
REQUESTS = [
    compose.top_up(SUPPLIER, METER, 12884901888, "73946144332040217315"),
    compose.activate_emergency_credit(SUPPLIER, METER, 1000),
    compose.adjust_meter_balance(SUPPLIER, METER, 1003, 1200000),
    compose.reset_meter_balance(SUPPLIER, METER, 1, compose.PaymentMode.CREDIT),
    compose.set_credit_mode(SUPPLIER, METER, 1),
    compose.set_prepayment_mode(
        SUPPLIER,
        METER,
        1,
        disablement_threshold=-200,
        suspend_debt_disabled=True,
        suspend_debt_emergency=False,
        execution_at=1_894_698_000,
    ),
    compose.update_debt(
        SUPPLIER,
        METER,
        1001,
        **DEBT,
        recovery_1=compose.DebtRecovery(3, -1),
        recovery_2=compose.DebtRecovery(15, -1),
    ),
    compose.update_prepay_configuration(SUPPLIER, METER, 1, CONFIGURATION),
    compose.enable_supply(SUPPLIER, METER, 1),
    compose.disable_supply(SUPPLIER, METER, 1),
    compose.arm_supply(SUPPLIER, METER, 1),
    compose.read_supply_status(SUPPLIER, METER, 1, 3),
    compose.read_meter_balance(SUPPLIER, METER, 1, 1),
    compose.read_prepayment_configuration(SUPPLIER, METER, 1),
    compose.synchronise_clock(SUPPLIER, METER, 1000, at=1_420_070_350, tolerance_s=60),
    compose.return_local_command_response(SUPPLIER, DSP, 1001, b"\xdf\x09\x02"),
    compose.return_local_command_response(SUPPLIER, DSP, 1001, b"\xdf\x09\x02", RequestID(SUPPLIER, METER, 1000)),
]


@needs_duis
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.body.name)
def test_every_request_is_valid_and_reads_back(request_: Request) -> None:
    """What is composed is valid by the official schema, fits its service, and reads back as it was."""
    document = build_request(request_)
    assert_schema_valid(document)
    assert parse_request(document) == request_
    assert request_.misfit is None


@needs_duis
@pytest.mark.parametrize(
    ("use_case", "request_"),
    [
        ("CS01a_2.2", REQUESTS[0]),
        ("ECS04a_1.5", REQUESTS[2]),
        ("ECS07_2.3", REQUESTS[6]),
        ("ECS42_7.1", REQUESTS[8]),
        ("ECS43_7.2", REQUESTS[9]),
        ("ECS44_7.3", REQUESTS[10]),
        ("ECS45_7.4", REQUESTS[11]),
        ("ECS82_4.18", REQUESTS[12]),
    ],
)
def test_equal_to_the_published_request(use_case: str, request_: Request) -> None:
    """From the values of a published request the very same body is made."""
    published = [parse_request(path.read_bytes()) for path in templates() if path.name.startswith(f"{use_case}_")]
    assert published
    assert request_.body in [request.body for request in published]


def test_local_delivery_is_the_default() -> None:
    """Non-critical requests are made for local delivery, critical ones for the Transform service."""
    variants = {request.header.service_reference_variant: request.header.command_variant for request in REQUESTS}
    assert (variants["2.2"], variants["7.3"], variants["8.13"], variants["4.13"]) == (2, 4, 8, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: compose.top_up(SUPPLIER, METER, 1, "1234"),
        lambda: compose.top_up(SUPPLIER, METER, 1, "٤" * 20),
        lambda: compose.top_up(SUPPLIER, METER, 1, "1" * 20, command_variant=4),
        lambda: compose.adjust_meter_balance(SUPPLIER, METER, 1, 2**31),
        lambda: compose.synchronise_clock(SUPPLIER, METER, 1, at=0, tolerance_s=86_401),
        lambda: compose.update_prepay_configuration(SUPPLIER, METER, 1, replace(CONFIGURATION, non_disablement=())),
        lambda: compose.update_prepay_configuration(
            SUPPLIER, METER, 1, replace(CONFIGURATION, special_days=CONFIGURATION.special_days * 11)
        ),
        lambda: compose.update_prepay_configuration(
            SUPPLIER, METER, 1, replace(CONFIGURATION, debt_recovery_rate_cap=-1)
        ),
        lambda: compose.DebtRecovery(1, 1, "WEEKLY").element("ElecDebtRecovery1"),
        lambda: compose.NonDisablement("PAUSE", "18:00:00", "65535-01-01", "65535-12-31").element(),
        lambda: compose.make_request("0.0", SUPPLIER, METER, 1),
        lambda: compose.make_request("7.3", SUPPLIER, METER, 2**64),
    ],
)
def test_impossible_values_are_refused(make: object) -> None:
    """What the schema or the service cannot hold is refused when it is asked for."""
    with pytest.raises(DuisValueError):
        make()  # type: ignore[operator]


INT_32 = st.integers(-(2**31), 2**31 - 1)


@given(
    st.builds(
        compose.PrepayConfiguration,
        st.integers(0, 65535),
        INT_32,
        INT_32,
        INT_32,
        INT_32,
        INT_32,
        st.lists(
            st.builds(compose.SpecialDay, st.integers(1, 12) | st.none(), st.integers(1, 31) | st.none()), max_size=20
        ).map(tuple),
    ),
    st.integers(0, 2**64 - 1),
    st.integers(1_500_000_000, 4_000_000_000) | st.none() | st.just(32_535_129_600),
)
def test_any_configuration_travels_and_agrees(
    configuration: compose.PrepayConfiguration, counter: int, execution_at: int | None
) -> None:
    """Whatever the settings: written, read, transformed and correlated, they agree with themselves."""
    request = compose.update_prepay_configuration(SUPPLIER, METER, counter, configuration, execution_at=execution_at)
    received = parse_request(build_request(request))
    assert received == request
    assert isinstance(compare_pre_command(request, transform(received, ESME).message, ESME), Agreed)
