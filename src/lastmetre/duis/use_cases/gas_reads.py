"""Reads of a gas meter and its proxy (transform B3, B11): attributes are data, logs and snapshots three small forms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.rules import NEWER_CODES, NEWEST_CODES, Asked, Part, Rule
from lastmetre.duis.use_cases.terms import Term, zigbee_time
from lastmetre.duis.use_cases.values import instant, log_seconds, words, zigbee_seconds
from lastmetre.duis.use_cases.zigbee import read, send

if TYPE_CHECKING:
    from lastmetre.duis.use_cases.rules import Version

GSME: Final = frozenset({"GSME"})
GPF: Final = frozenset({"GPF"})
GAS: Final = GSME | GPF
"""The proxy answers reads in the meter's place with the same payload."""

# --- attributes, with the commands that some lists end with

BASIC, PRICE, METERING, PREPAYMENT = 0x0000, 0x0700, 0x0702, 0x0705

Lists = tuple[tuple[int, tuple[int, ...]], ...]


def _attributes(_: Asked, lists: Lists) -> tuple[Part, ...]:
    return tuple(read(cluster, *attributes) for cluster, attributes in lists)


def _calendar_reads(asked: Asked, kind: int, calendar: int) -> tuple[Part, ...]:
    """Everything of one calendar: days, weeks, seasons, special days."""
    everything = {"calendar": calendar, "start_id": 1, "count": 0}
    return (
        send(asked, "GetDayProfiles", "day profiles", everything),
        send(asked, "GetWeekProfiles", "week profiles", everything),
        send(asked, "GetSeasons", "seasons", calendar=calendar),
        send(asked, "GetSpecialDays", "special days", count=0, type=kind, calendar=calendar),
    )


CURRENT_CALENDAR, CURRENT_NON_DISABLEMENT = 0xFFFF_FFFF, 0xFFFF_FFFE
NON_DISABLEMENT_KIND: Final = 3

_PREPAYMENT_SETTINGS: Final[Lists] = (
    (PREPAYMENT, (0x0239, 0x0006, 0x0216, 0x0226, 0x0040, 0x0010, 0x0011, 0x0031, 0x0021, 0x0022, 0x0217, 0x0227)),
    (PRICE, (0x0617,)),
)
_TARIFF: Final[Lists] = (
    (PRICE, (0x0203, 0x0202, 0x0100, 0x0101, 0x0102, 0x0615, 0x0400, 0x0401, 0x0402, 0x0403, 0x0410, 0x0420, 0x0430,
             0x0440, 0x0616, 0x0617, 0x0301)),
)  # fmt: skip


def _prepayment_configuration(asked: Asked) -> tuple[Part, ...]:
    calendar = _calendar_reads(asked, NON_DISABLEMENT_KIND, CURRENT_NON_DISABLEMENT)
    return (*_attributes(asked, _PREPAYMENT_SETTINGS), *calendar)


def _tariff(asked: Asked) -> tuple[Part, ...]:
    price = send(asked, "GetCurrentPrice", "current price", options=0)
    return (*_attributes(asked, _TARIFF), *_calendar_reads(asked, 0, CURRENT_CALENDAR), price)


def _billing_calendar(asked: Asked) -> tuple[Part, ...]:
    given = {"earliest_start": 0, "min_issuer_event_id": 0xFFFF_FFFF, "count": 1}
    return (send(asked, "GetBillingPeriod", "billing period", given),)


ANY_EVENT: Final = 0x81FF


def _event_configuration(asked: Asked) -> tuple[Part, ...]:
    return (send(asked, "GetEventConfiguration", "event configuration", event_id=ANY_EVENT),)


# --- logs of a period


def _period(asked: Asked) -> tuple[int, int]:
    start, end = (instant(asked.body, f"ReadLogPeriod/{name}DateTime") for name in ("Start", "End"))
    return zigbee_seconds(start), log_seconds(end)


def _times(name: str, *fields: str) -> dict[str, Term]:
    starts = {"start", "earliest", "earliest_start"}
    return {field: Term(f"{'start' if field in starts else 'end'} of the {name}", zigbee_time) for field in fields}


SNAPSHOTS: Final = {"GetSnapshot": "meter snapshot", "GetPrepaySnapshot": "prepayment snapshot"}


def _snapshots(asked: Asked, commands: tuple[str, ...], count: int, cause: int) -> tuple[Part, ...]:
    """One command for each snapshot, counted from the latest, all with the same period and cause."""
    start, end = _period(asked)
    parts = []
    for command in commands:
        for offset in range(count):
            name = f"{SNAPSHOTS[command]} {offset}"
            times = {"earliest_start": start, "latest_end": end}
            terms = _times(name, *times)
            parts.append(send(asked, command, name, times, offset=offset, cause=cause, terms=terms))
    return tuple(parts)


DAILY, BILLING, CHANGE = 0x0001, 0x0002, 0x6008
"""Causes of snapshots: every day, at the end of a billing period, at a change of mode or tariff."""
DAYS_KEPT: Final = 31
BILLS_KEPT: Final = 12

DEBT_ENTRIES: Final = 10
PAYMENT_DEBT: Final = 2
TOP_UP_ENTRIES: Final = 5


def _debt_log(asked: Asked) -> tuple[Part, ...]:
    start, end = _period(asked)
    given = {"latest_end": end, "debts": DEBT_ENTRIES, "type": PAYMENT_DEBT}
    terms = _times("debt log", "latest_end")
    return (send(asked, "GetDebtRepaymentLog", "debt log", given, from_date_time=start, terms=terms),)


def _top_up_log(asked: Asked) -> tuple[Part, ...]:
    start, end = _period(asked)
    given = {"latest_end": end, "count": TOP_UP_ENTRIES}
    terms = _times("top-up log", "latest_end")
    return (send(asked, "GetTopUpLog", "top-up log", given, from_date_time=start, terms=terms),)


PROFILE, CONSUMPTION, NETWORK = range(3)
"""Sample sets of a gas meter: half hours, days, network data."""
HALF_HOUR_S: Final = 1800
DAY_S: Final = 86_400
DAYS_OF_CONSUMPTION_MAX: Final = 731
"""Entries of the daily consumption log; the count asked for in one sample with a longer period [I]."""
COUNT_MAX: Final = 0xFFFF
NETWORK_SAMPLES: Final = 41


def _samples(asked: Asked, sample: int, name: str, step_s: int, most: int) -> tuple[Part, ...]:
    """As many samples as the period has steps, and one: both ends count."""
    start, end = _period(asked)
    count = min(max(end - start, 0) // step_s + 1, most)
    given = {"sample_id": sample, "earliest": start, "type": 0, "count": count}
    return (send(asked, "GetSampledData", name, given, terms=_times(name, "earliest")),)


def _network_samples(asked: Asked) -> tuple[Part, ...]:
    """All samples there are; the period of the request is not used, whatever it is."""
    given = {"sample_id": NETWORK, "earliest": 1, "type": 0, "count": NETWORK_SAMPLES}
    return (send(asked, "GetSampledData", "network data samples", given),)


GENERAL_LOG: Final = 0x13
SECURITY_LOG: Final = 0x04
METERS_GENERAL_LOG: Final = 0x16
METERS_SECURITY_LOG: Final = 0x07
"""Which log, in the low half; what to tell of each event, in the high half. The meter's logs that its proxy keeps are 6
and 7 in the Smart Energy Profile, from memory; no sample has them [I]."""


def _event_log(asked: Asked, log: int) -> tuple[Part, ...]:
    start, end = _period(asked)
    given = {"control_and_log": log, "event_id": 0, "start": start, "end": end, "count": 0, "offset": 0}
    return (send(asked, "GetEventLog", "event log", given, terms=_times("event log", "start", "end")),)


def _asks_for(asked: Asked, log: str) -> bool:
    return words(asked.body, "LogToRead") == log


def _since(asked: Asked, version: Version) -> bool:
    return asked.device.version >= version


def _list(use_case: str, code: int, variant: str, lists: Lists, devices: frozenset[str] = GSME,
          since: Version = (0,), source: str = "B3") -> Rule:  # fmt: skip
    fill = partial(_attributes, lists=lists)
    return Rule(use_case, code, (variant,), fill, devices, partial(_since, version=since), source)


def _log_rule(use_case: str, code: int, log: str, number: int, devices: frozenset[str]) -> Rule:
    fill, applies = partial(_event_log, log=number), partial(_asks_for, log=log)
    return Rule(use_case, code, ("6.13",), fill, devices, applies, "B3")


_BALANCE: Final[Lists] = ((METERING, (0x0A00,)), (PREPAYMENT, (0x0001,)))
_BOTH: Final = ("GetPrepaySnapshot", "GetSnapshot")

RULES: Final = (
    _list("GCS13a", 0x0074, "4.1.1", ((METERING, (0x0302, 0x0301, 0x0300, 0x0000)),), GAS),
    _list("GCS13b", 0x00B8, "4.1.4", ((METERING, (0x0700, 0x0701, 0x0702, 0x0703, 0x0302, 0x0301, 0x0300)),), GAS),
    _list("GCS13c", 0x00B6, "4.1.2", ((METERING, (0x0302, 0x0301, 0x0300, 0x0100, 0x0102, 0x0104, 0x0106)),), GAS),
    _list("GCS14", 0x0075, "4.3", ((PRICE, (0x0617, 0x0616)),
                                   (PREPAYMENT, (0x0005, 0x0002, 0x0001, 0x0231, 0x0211, 0x0221))), GAS),
    _list("GCS60a", 0x012A, "4.18", _BALANCE, GAS, NEWEST_CODES),
    _list("GCS60", 0x008D, "4.18", _BALANCE, GAS),
    _list("GCS38", 0x0084, "11.2", ((METERING, (0x0206,)),)),
    _list("GCS33", 0x0082, "7.4", ((METERING, (0x0205, 0x0014)),), source="B2"),
    _list("GCS21a", 0x007B, "6.2.8", ((PRICE, (0x0306, 0x0305, 0x0304, 0x0303, 0x0302)),
                                      (METERING, (0x0B13, 0x0B12, 0x0B11, 0x0B10, 0x0B14, 0x0B15))), source="B11"),
    _list("GCS21m", 0x00FB, "6.2.4", ((BASIC, (0x0004, 0x0005)), (METERING, (0x0608, 0x0607))), GSME, NEWEST_CODES,
          "B11"),
    _list("GCS21e", 0x009E, "6.2.4", ((BASIC, (0x0004, 0x0005, 0x0003)), (METERING, (0x0608, 0x0607))), source="B11"),
    _list("GCS21j", 0x00BF, "6.2.9", ((PREPAYMENT, (0x0000,)),), source="B11"),
    _list("GCS46", 0x0089, "6.2.7", ((METERING, (0x0307,)),), source="B11"),
    Rule("GCS21k", 0x00DA, ("6.2.3",), _billing_calendar, GSME, partial(_since, version=NEWER_CODES), "B11"),
    Rule("GCS21d", 0x009D, ("6.2.3",), _billing_calendar, GSME, source="B11"),
    Rule("GCS21b", 0x00B5, ("4.13",), _prepayment_configuration, GSME, source="B11"),
    Rule("GCS21f", 0x009F, ("4.11.1",), _tariff, GSME, source="B11"),
    Rule("GCS20r", 0x00F1, ("6.2.10",), _event_configuration, GSME, source="B11"),
    Rule("GCS15b", 0x00C3, ("4.4.2",), partial(_snapshots, commands=_BOTH, count=BILLS_KEPT, cause=CHANGE), GSME,
         source="B3"),
    Rule("GCS15c", 0x0076, ("4.4.3",), partial(_snapshots, commands=_BOTH[::-1], count=BILLS_KEPT, cause=BILLING), GSME,
         source="B3"),
    Rule("GCS15d", 0x00C4, ("4.4.4",), _debt_log, GSME, source="B3"),
    Rule("GCS15e", 0x00C5, ("4.4.5",), _top_up_log, GSME, source="B3"),
    Rule("GCS16a", 0x0077, ("4.6.1",), partial(_snapshots, commands=_BOTH[1:], count=DAYS_KEPT, cause=DAILY), GSME,
         source="B3"),
    Rule("GCS16b", 0x0096, ("4.14",), partial(_snapshots, commands=_BOTH[:1], count=DAYS_KEPT, cause=DAILY), GAS,
         source="B3"),
    Rule("GCS17", 0x0078, ("4.8.1",), partial(_samples, sample=PROFILE, name="profile data", step_s=HALF_HOUR_S,
         most=COUNT_MAX), GSME, source="B3"),
    Rule("GCS61", 0x00A0, ("4.17",), partial(_samples, sample=CONSUMPTION, name="daily consumption", step_s=DAY_S,
         most=DAYS_OF_CONSUMPTION_MAX), GAS, source="B3"),
    Rule("GCS18", 0x0079, ("4.10",), _network_samples, GSME, source="B3"),
    _log_rule("CS10a", 0x0014, "Event", GENERAL_LOG, GAS),
    _log_rule("CS10b", 0x00A1, "Security", SECURITY_LOG, GAS),
    _log_rule("CS10a", 0x0014, "GSMEEvent", METERS_GENERAL_LOG, GPF),
    _log_rule("CS10b", 0x00A1, "GSMESecurity", METERS_SECURITY_LOG, GPF),
)  # fmt: skip
