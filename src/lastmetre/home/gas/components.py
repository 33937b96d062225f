"""What each component of a GBZ payload does to a gas meter, and what it is answered with.

Rules this module keeps (reference: gbcs-messages 8.1, 8.3, 10.3, and the shapes of the reference Responses):

* Responses follow the Commands' order and repeat their sequence numbers; a request without a response of its own is
  answered by a Default Response in the other direction.
* A component that fails stops the rest: they are answered with command FF and status failure. Not found stops nothing.
* Reading never changes anything. Nothing here knows keys: a top-up's code is judged by whoever calls.
* One row of ``HANDLERS`` for each command a gas meter executes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from lastmetre.gbcs.datetimes import zigbee_from_unix
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz
from lastmetre.gbcs.zcl import (
    AttributeRecord,
    DefaultResponse,
    ReadAttributes,
    ReadAttributesResponse,
    ZclBody,
    ZclCommand,
    encode_zcl,
    zcl_command,
)
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import history, money
from lastmetre.home.gas.calendars import KIND_OF_ASKED, KIND_OF_TYPE, NON_DISABLEMENT, TARIFF, named, rows
from lastmetre.home.gas.state import SECURITY_LOG, GasState

SUCCESS, FAILURE, UNSUPPORTED, INVALID_FIELD, UNSUPPORTED_ATTRIBUTE, INVALID_VALUE, NOT_FOUND = (
    0x00, 0x01, 0x81, 0x85, 0x86, 0x87, 0x8B,
)  # fmt: skip
NOT_EXECUTED: Final = DefaultResponse(0xFF, FAILURE)
FROM_SERVER: Final = 0x08
QUIET: Final = 0x10
QUIET_READS: Final = frozenset({0x0074, 0x009F, 0x00B6, 0x00B8})
"""Use cases whose Read Attributes Responses set "disable default response" (as the reference Responses do)."""
QUIET_COMMANDS: Final = frozenset(
    {
        "PublishDayProfile", "PublishWeekProfile", "PublishSeasons", "PublishSpecialDays", "ChangePaymentModeResponse",
        "PublishEventLog", "PublishSnapshot", "PublishPrepaySnapshot", "GetSampledDataResponse", "PublishTopUpLog",
        "PublishDebtLog",
    }
)  # fmt: skip

NEW_BEHAVIOURS: Final = {0x810E: 0x03, 0x8154: 0x03, 0x8155: 0x03, 0x81C4: 0x03, 0x81C5: 0x03}
"""What a new meter does about the non-critical events it knows: it logs them. DESIGN CHOICE."""

TopUp: TypeAlias = Callable[[GasState, bytes, int], tuple[GasState, int | None]]
"""Judge a code and credit it: state, digits, source; the amount credited, or ``None``."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a component may know besides the state: the meter's time, the use case, and how to judge a code."""

    now: int
    message_code: int
    top_up: TopUp
    faults: Mapping[int, int] = field(default_factory=dict)
    """For test benches: items that fail, with their status. Attributes that are read count as an item each."""
    earliest: int | None = None
    """The From Date Time of the component, seconds since 2000."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a component: the new state and bodies to answer with, or a status when there is none."""

    state: GasState
    status: int = SUCCESS
    bodies: tuple[ZclCommand, ...] = ()


Handler: TypeAlias = Callable[[GasState, ZclCommand, Context], Done]


def execute(state: GasState, payload: Gbz, context: Context) -> tuple[GasState, Gbz, bool]:
    """Execute a payload: the new state, the answers, and whether all of it succeeded."""
    answers: list[Component] = []
    stopped = False
    succeeded = True
    item = 0
    for component in payload.components:
        first, item = item, item + _size(component)
        if stopped:
            answers.append(_answer(component, NOT_EXECUTED, context))
            continue
        state, bodies, status = _execute_one(state, component, context, first)
        answers += [_answer(component, body, context) for body in bodies]
        succeeded &= status == SUCCESS
        stopped = status not in {SUCCESS, NOT_FOUND}
    return state, Gbz(tuple(answers)), succeeded


def _size(component: Component) -> int:
    """How many items a component counts for."""
    return len(component.body.attribute_ids) if isinstance(component.body, ReadAttributes) else 1


def _execute_one(
    state: GasState, component: Component, context: Context, first: int
) -> tuple[GasState, tuple[ZclBody, ...], int]:
    body = component.body
    if isinstance(body, ReadAttributes):
        records = tuple(
            AttributeRecord(number, context.faults[item])
            if item in context.faults
            else _record(state, component.cluster, number)
            for item, number in enumerate(body.attribute_ids, first)
        )
        worst = max((record.status for record in records), default=SUCCESS)
        return state, (ReadAttributesResponse(records),), worst
    if first in context.faults:
        status = context.faults[first]
        own = FAILED_ANSWERS.get(body.name) if isinstance(body, ZclCommand) else None
        return state, (own or DefaultResponse(component.command_id, status),), status
    handler = HANDLERS.get(body.name) if isinstance(body, ZclCommand) else None
    if handler is None or not isinstance(body, ZclCommand):
        return state, (DefaultResponse(component.command_id, UNSUPPORTED),), UNSUPPORTED
    done = handler(state, body, replace(context, earliest=component.from_date_time))
    if done.bodies:
        return done.state, done.bodies, done.status
    return done.state, (DefaultResponse(body.command_id, done.status),), done.status


NO_SAMPLE: Final = 0xFFFF
FAILED_ANSWERS: Final = {
    "StartSampling": zcl_command("StartSamplingResponse", sample_id=NO_SAMPLE),
    "ClearEventLogRequest": zcl_command("ClearEventLogResponse", cleared=0),
}
"""Requests whose failure has a form of its own (published GCS31, CS11)."""


def _record(state: GasState, cluster: int, number: int) -> AttributeRecord:
    value = state.read((cluster, number))
    if value is None:
        return AttributeRecord(number, UNSUPPORTED_ATTRIBUTE)
    return AttributeRecord(number, SUCCESS, zcl.ATTRIBUTES[cluster, number].type, value)


def _answer(component: Component, body: ZclBody, context: Context) -> Component:
    """The answer to a component: the same cluster and sequence, the other direction."""
    asked_server = not component.frame_control & FROM_SERVER
    if isinstance(component.body, ZclCommand) and component.body.name == "GetEventConfiguration":
        asked_server = True  # as the published failure of GCS20r has it
    control = FROM_SERVER if asked_server else 0
    if isinstance(body, ZclCommand):
        control = (FROM_SERVER if body.from_server else 0) | 0x01
        control |= QUIET if body.name in QUIET_COMMANDS else 0
    elif isinstance(body, ReadAttributesResponse) and context.message_code in QUIET_READS:
        control |= QUIET
    return Component(component.cluster, control, component.sequence, body)


# --- fields ----------------------------------------------------------------------------------------------------------


def _int(command: ZclCommand, field: str) -> int:
    value = command[field]
    if not isinstance(value, int):
        raise GbcsValueError(f"{command.name}.{field} is no number")
    return value


def _octets(command: ZclCommand, field: str) -> bytes:
    value = command[field]
    return value if isinstance(value, bytes) else b""


# --- tariff ----------------------------------------------------------------------------------------------------------


def _tariff_information(state: GasState, command: ZclCommand, context: Context) -> Done:
    values = {
        zcl.STANDING_CHARGE: _int(command, "standing_charge"),
        zcl.TARIFF_UNIT: _int(command, "unit"),
        zcl.CURRENCY: _int(command, "currency"),
        zcl.TRAILING_DIGIT: _int(command, "trailing_digit"),
        zcl.THRESHOLD_MULTIPLIER: _int(command, "multiplier"),
        zcl.THRESHOLD_DIVISOR: _int(command, "divisor"),
    }
    state = history.take(state, history.TARIFF_CHANGED, context.now)
    return Done(state.with_values(values).publish("tariff-information", command))


def _price_matrix(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """Prices by tier (control 1: the id is the tier) or by block (control 0: the low four bits are the block)."""
    by_tier = bool(_int(command, "control") & 1)
    prices: dict[zcl.Key, zcl.Value] = dict.fromkeys((*zcl.BLOCK_PRICES, *zcl.TIER_PRICES), 0)
    for row in rows(command, "prices"):
        number, price = row["tier_and_block"], row["price"]
        if not isinstance(number, int) or not isinstance(price, int):
            return Done(state, INVALID_FIELD)
        keys = zcl.TIER_PRICES if by_tier else zcl.BLOCK_PRICES
        index = number - 1 if by_tier else number & 0x0F
        if not 0 <= index < len(keys):
            return Done(state, INVALID_VALUE)
        prices[keys[index]] = price
    return Done(state.with_values(prices).publish("price-matrix", command))


def _block_thresholds(state: GasState, command: ZclCommand, _context: Context) -> Done:
    given = [row["threshold"] for row in rows(command, "thresholds")]
    padded = [value if isinstance(value, int) else 0 for value in (*given, 0, 0, 0)]
    values: dict[zcl.Key, zcl.Value] = dict(zip(zcl.THRESHOLDS, padded, strict=False))
    return Done(state.with_values(values).publish("block-thresholds", command))


def _current_price(state: GasState, _command: ZclCommand, context: Context) -> Done:
    information = state.published.get("tariff-information", ())
    if not information:
        return Done(state, NOT_FOUND)
    (tariff,) = information
    tier = money.tier(state, context.now)
    body = zcl_command(
        "PublishPrice",
        provider=_int(tariff, "provider"),
        rate_label=_octets(tariff, "label"),
        issuer_event=_int(tariff, "issuer_event"),
        current_time=zigbee_from_unix(context.now),
        unit=state.number(zcl.TARIFF_UNIT),
        currency=state.number(zcl.CURRENCY),
        trailing_digit_and_tier=state.number(zcl.TRAILING_DIGIT) & 0xF0 | tier,
        tiers_and_register_tier=_int(tariff, "tiers") << 4 & 0xF0 | tier,
        start=_int(tariff, "start"),
        duration_minutes=0xFFFF,
        price=money.price(state, context.now),
    )
    return Done(state, bodies=(body,))


# --- calendars -------------------------------------------------------------------------------------------------------


def _calendar(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """A new calendar begins; its days, weeks, seasons and special days follow in the same Command."""
    kind = KIND_OF_TYPE.get(_int(command, "type"))
    return Done(state, INVALID_VALUE) if kind is None else Done(state.publish(kind, command))


def _calendar_part(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """A part of the calendar whose id it carries."""
    for kind in (TARIFF, NON_DISABLEMENT):
        calendar = state.published.get(kind, ())
        if calendar and calendar[0]["calendar"] == command["calendar"]:
            # Two calendars may have one id; days and special days say which they mean by their type.
            if "type" in dict(command.fields) and KIND_OF_TYPE.get(_int(command, "type")) != kind:
                continue
            return Done(state.publish(kind, *calendar, command))
    return Done(state, INVALID_FIELD)


_PARTS: Final = {
    "GetDayProfiles": "PublishDayProfile",
    "GetWeekProfiles": "PublishWeekProfile",
    "GetSeasons": "PublishSeasons",
    "GetSpecialDays": "PublishSpecialDays",
}


def _read_calendar(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """The parts of the calendar in force, by the id that stands for it or by its own."""
    asked = _int(command, "calendar")
    kind = KIND_OF_ASKED.get(asked)
    calendars = [kind] if kind is not None else [TARIFF, NON_DISABLEMENT]
    for name in calendars:
        calendar = state.published.get(name, ())
        if not calendar or (kind is None and calendar[0]["calendar"] != asked):
            continue
        parts = tuple(named(calendar, _PARTS[command.name]))
        if parts:
            return Done(state, bodies=parts)
    return Done(state, NOT_FOUND)


# --- prepayment ------------------------------------------------------------------------------------------------------


def _top_up(state: GasState, command: ZclCommand, context: Context) -> Done:
    source = _int(command, "originating_device")
    state, amount = context.top_up(state, _octets(command, "code"), source)
    body = zcl_command(
        "ConsumerTopUpResponse",
        result=SUCCESS if amount is not None else FAILURE,
        value=amount if amount is not None else -1,
        source=source,
        credit_remaining=state.number(zcl.CREDIT) if amount is not None else -1,
    )
    return Done(state, SUCCESS if amount is not None else FAILURE, (body,))


def _emergency_credit(state: GasState, _command: ZclCommand, context: Context) -> Done:
    following = money.take_emergency_credit(state, context.now)
    return Done(state, FAILURE) if following is None else Done(following)


def _payment_mode(state: GasState, command: ZclCommand, context: Context) -> Done:
    values: dict[zcl.Key, zcl.Value] = {zcl.CONFIGURATION: _int(command, "configuration")}
    cut_off = _int(command, "cut_off")
    if cut_off != -1:
        values[zcl.CUT_OFF] = cut_off
    state = history.take(state, history.MODE_CHANGED, context.now)
    state = money.settle(state.with_values(values), context.now)
    return Done(state, bodies=(payment_mode_response(state),))


def payment_mode_response(state: GasState) -> ZclCommand:
    """What a change of payment mode is answered with: the friendly credit calendar and the emergency credit."""
    calendar = state.published.get(NON_DISABLEMENT, ())
    return zcl_command(
        "ChangePaymentModeResponse",
        friendly_credit=1 if calendar else 0,
        calendar_id=_int(calendar[0], "calendar") if calendar else 0,
        emergency_limit=state.number(zcl.EMERGENCY_LIMIT),
        emergency_threshold=state.number(zcl.EMERGENCY_THRESHOLD),
    )


def _emergency_setup(state: GasState, command: ZclCommand, context: Context) -> Done:
    values = {
        zcl.EMERGENCY_LIMIT: _int(command, "limit"),
        zcl.EMERGENCY_THRESHOLD: _int(command, "threshold"),
    }
    return Done(money.settle(state.with_values(values), context.now))


def _debt_cap(state: GasState, command: ZclCommand, _context: Context) -> Done:
    return Done(state.with_values({zcl.DEBT_CAP: _int(command, "cap")}))


def _low_credit(state: GasState, command: ZclCommand, _context: Context) -> Done:
    return Done(state.with_values({zcl.LOW_CREDIT_WARNING: _int(command, "level")}))


def _credit_limit(state: GasState, command: ZclCommand, _context: Context) -> Done:
    values = {zcl.MAX_CREDIT: _int(command, "max_level"), zcl.MAX_TOP_UP: _int(command, "max_per_top_up")}
    return Done(state.with_values(values))


def _adjust(state: GasState, command: ZclCommand, context: Context) -> Done:
    """GCS40a to d: adjust or reset the prepayment balance (types 0 and 1) or the bill (types 3 and 2)."""
    kind, value = _int(command, "type"), _int(command, "value")
    if kind == 0:
        return Done(money.credit(state, value, context.now))
    if kind == 1:
        return Done(money.settle(state.with_values({zcl.CREDIT: 0}), context.now))
    if kind == 2:
        return Done(state.with_values({zcl.BILL_TO_DATE: 0}))
    if kind == 3:
        bill = state.number(zcl.BILL_TO_DATE) + value
        if not 0 <= bill <= 0xFFFFFFFF:
            return Done(state, INVALID_VALUE)
        return Done(state.with_values({zcl.BILL_TO_DATE: bill}))
    return Done(state, INVALID_FIELD)


def _change_debt(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """GCS04. Amount types come in pairs for the three debts: set, then add (INFERENCE from the published pairs)."""
    number, adds = divmod(_int(command, "amount_type"), 2)
    if number > 2:
        return Done(state, INVALID_FIELD)
    amount = _int(command, "amount") + (state.number(zcl.DEBT_AMOUNT[number]) if adds else 0)
    if not 0 <= amount <= 0xFFFFFFFF or _int(command, "recovery_amount") < 0:
        return Done(state, INVALID_VALUE)
    values: dict[zcl.Key, zcl.Value] = {zcl.DEBT_AMOUNT[number]: amount}
    if number == 2:
        values[zcl.DEBT_PERCENTAGE] = _int(command, "percentage")
    else:
        values[zcl.DEBT_RECOVERY[number]] = _int(command, "recovery_amount")
        values[zcl.DEBT_FREQUENCY[number]] = _int(command, "frequency")
    return Done(state.with_values(values))


# --- metering --------------------------------------------------------------------------------------------------------


def _change_supply(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """GCS32 closes, GCS39 arms. Status 2, on, is refused: gas is never opened from afar."""
    events = {0: money.ValveEvent.CLOSE_COMMAND, 1: money.ValveEvent.ARM_COMMAND}
    event = events.get(_int(command, "status"))
    following = money.after(state.valve, event) if event is not None else None
    if following is None:
        return Done(state, INVALID_VALUE)
    state = replace(state, valve=following)
    body = zcl_command(
        "SupplyStatusResponse",
        provider=_int(command, "provider"),
        issuer_event=_int(command, "issuer_event"),
        implementation=_int(command, "implementation"),
        status=state.valve.status,
    )
    return Done(state, bodies=(body,))


def _flow_threshold(state: GasState, command: ZclCommand, _context: Context) -> Done:
    fields = ("threshold", "unit", "multiplier", "divisor", "stabilisation", "measurement")
    values = {(zcl.METERING, 0x0B10 + number): _int(command, field) for number, field in enumerate(fields)}
    return Done(state.with_values(values))


def _supply_states(state: GasState, command: ZclCommand, _context: Context) -> Done:
    values = {
        (zcl.METERING, 0x0607): _int(command, "tamper"),
        (zcl.METERING, 0x0608): _int(command, "depletion"),
    }
    return Done(state.with_values(values).publish("supply-states", command))


def _conversion_factor(state: GasState, command: ZclCommand, _context: Context) -> Done:
    values = {
        zcl.CONVERSION_FACTOR: _int(command, "factor"),
        zcl.CONVERSION_DIGIT: _int(command, "trailing_digit"),
    }
    return Done(state.with_values(values))


def _calorific_value(state: GasState, command: ZclCommand, _context: Context) -> Done:
    values = {
        zcl.CALORIFIC_VALUE: _int(command, "calorific_value"),
        zcl.CALORIFIC_UNIT: _int(command, "unit"),
        zcl.CALORIFIC_DIGIT: _int(command, "trailing_digit"),
    }
    return Done(state.with_values(values))


def _snapshot(state: GasState, command: ZclCommand, _context: Context) -> Done:
    found = history.find(state, command, money=command.name == "GetPrepaySnapshot")
    return Done(state, NOT_FOUND) if found is None else Done(state, bodies=(found,))


def _samples(state: GasState, command: ZclCommand, context: Context) -> Done:
    found = history.samples(state, command, context.now)
    return Done(state, NOT_FOUND) if found is None else Done(state, bodies=(found,))


def _start_sampling(state: GasState, command: ZclCommand, context: Context) -> Done:
    """GCS31: the network data log begins now; its start time is taken from the meter's clock (DESIGN CHOICE)."""
    if _int(command, "type") != 0:
        return Done(state, FAILURE, (FAILED_ANSWERS["StartSampling"],))
    begun = history.start_network_log(state, _int(command, "interval_s"), _int(command, "max_samples"), context.now)
    if begun is None:
        return Done(state, FAILURE, (FAILED_ANSWERS["StartSampling"],))
    return Done(begun, bodies=(zcl_command("StartSamplingResponse", sample_id=history.NETWORK_SAMPLE),))


def _top_up_log(state: GasState, command: ZclCommand, context: Context) -> Done:
    found = history.top_ups(state, command, context.earliest)
    return Done(state, NOT_FOUND) if found is None else Done(state, bodies=(found,))


def _debt_log(state: GasState, command: ZclCommand, context: Context) -> Done:
    found = history.debt_payments(state, command, context.earliest)
    return Done(state, NOT_FOUND) if found is None else Done(state, bodies=(found,))


# --- device management, messages, logs -------------------------------------------------------------------------------


def _kept_as(name: str) -> Handler:
    """A command that is kept as a whole under a name."""

    def keep(state: GasState, command: ZclCommand, _context: Context) -> Done:
        return Done(state.publish(name, command))

    return keep


def _billing_period(state: GasState, _command: ZclCommand, _context: Context) -> Done:
    found = state.published.get("billing-period", ())
    return Done(state, bodies=found) if found else Done(state, NOT_FOUND)


def _site_id(state: GasState, command: ZclCommand, _context: Context) -> Done:
    return Done(state.with_values({zcl.SITE_ID: _octets(command, "site_id")}))


def _set_behaviours(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """Non-critical events only: what is critical, and the security log, cannot be configured (10.2)."""
    ids = [row["event_id"] for row in rows(command, "events")]
    if not all(isinstance(number, int) and 0x8000 <= number < 0x8200 for number in ids):
        return Done(state, INVALID_VALUE)
    changed = {number: _int(command, "configuration") for number in ids if isinstance(number, int)}
    return Done(replace(state, behaviours={**state.behaviours, **changed}))


def _read_behaviours(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """One event's behaviour, or with FF as its low octet all of the family's."""
    asked = _int(command, "event_id")
    found = {
        number: behaviour
        for number, behaviour in sorted({**NEW_BEHAVIOURS, **state.behaviours}.items())
        if number == asked or (asked & 0xFF == 0xFF and number >> 8 == asked >> 8)
    }
    if not found:
        return Done(state, NOT_FOUND)
    events = [{"event_id": number, "configuration": behaviour} for number, behaviour in found.items()]
    return Done(state, bodies=(zcl_command("ReportEventConfiguration", index=0, count=1, events=events),))


def _read_log(state: GasState, command: ZclCommand, _context: Context) -> Done:
    log, event_id = _int(command, "control_and_log") & 0x0F, _int(command, "event_id")
    start, end, offset = _int(command, "start"), _int(command, "end"), _int(command, "offset")
    entries = [
        {"log": entry.log, "event_id": entry.event_id, "time": zigbee_from_unix(entry.at), "data": entry.data}
        for entry in state.log
        if entry.log == log and event_id in {0, entry.event_id} and start <= zigbee_from_unix(entry.at) <= end
    ]
    count = _int(command, "count") or len(entries)
    body = zcl_command(
        "PublishEventLog", total=len(entries), index=0, count=1, control=0, events=entries[offset : offset + count]
    )
    return Done(state, bodies=(body,))


def _clear_log(state: GasState, command: ZclCommand, _context: Context) -> Done:
    """Clear a log; the security log stays. Answered with the bit of the log cleared."""
    log = _int(command, "log") & 0x0F
    if log == SECURITY_LOG or log > 7:  # the answer has a bit for each of eight
        return Done(state, FAILURE, (zcl_command("ClearEventLogResponse", cleared=0),))
    kept = tuple(entry for entry in state.log if entry.log != log)
    return Done(replace(state, log=kept), bodies=(zcl_command("ClearEventLogResponse", cleared=1 << log),))


HANDLERS: Final[dict[str, Handler]] = {
    "PublishTariffInformation": _tariff_information,
    "PublishPriceMatrix": _price_matrix,
    "PublishBlockThresholds": _block_thresholds,
    "GetCurrentPrice": _current_price,
    "PublishCalendar": _calendar,
    "PublishDayProfile": _calendar_part,
    "PublishWeekProfile": _calendar_part,
    "PublishSeasons": _calendar_part,
    "PublishSpecialDays": _calendar_part,
    "GetDayProfiles": _read_calendar,
    "GetWeekProfiles": _read_calendar,
    "GetSeasons": _read_calendar,
    "GetSpecialDays": _read_calendar,
    "ConsumerTopUp": _top_up,
    "SelectAvailableEmergencyCredit": _emergency_credit,
    "ChangePaymentMode": _payment_mode,
    "EmergencyCreditSetup": _emergency_setup,
    "SetOverallDebtCap": _debt_cap,
    "SetLowCreditWarningLevel": _low_credit,
    "SetMaximumCreditLimit": _credit_limit,
    "CreditAdjustment": _adjust,
    "ChangeDebt": _change_debt,
    "ChangeSupply": _change_supply,
    "SetUncontrolledFlowThreshold": _flow_threshold,
    "SetSupplyStatus": _supply_states,
    "PublishConversionFactor": _conversion_factor,
    "PublishCalorificValue": _calorific_value,
    "PublishBillingPeriod": _kept_as("billing-period"),
    "PublishBlockPeriod": _kept_as("block-period"),
    "GetBillingPeriod": _billing_period,
    "DisplayMessage": _kept_as("message"),
    "PublishChangeOfTenancy": _kept_as("tenancy"),
    "PublishChangeOfSupplier": _kept_as("supplier"),
    "RequestNewPasswordResponse": _kept_as("password"),
    "UpdateSiteID": _site_id,
    "UpdateCIN": _kept_as("cin"),
    "SetEventConfiguration": _set_behaviours,
    "GetEventConfiguration": _read_behaviours,
    "GetSnapshot": _snapshot,
    "GetPrepaySnapshot": _snapshot,
    "GetSampledData": _samples,
    "StartSampling": _start_sampling,
    "GetTopUpLog": _top_up_log,
    "GetDebtRepaymentLog": _debt_log,
    "GetEventLog": _read_log,
    "ClearEventLogRequest": _clear_log,
}


def plaintext_of(component: Component) -> bytes | None:
    """The octets of an answer that is to be encrypted: an attribute read or a publication; ``None`` for the rest."""
    body = component.body
    if isinstance(body, EncryptedZcl | DefaultResponse):
        return None
    return encode_zcl(body)
