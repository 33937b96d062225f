"""Reads of a gas meter and its proxy (transform B3, B11). What is asked for is made by ``gbcs.build``; named here."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.rules import NEWER_CODES, NEWEST_CODES, Asked, Part, Rule
from lastmetre.duis.use_cases.terms import Term, zigbee_time
from lastmetre.duis.use_cases.values import instant, words
from lastmetre.duis.use_cases.zigbee import say_all
from lastmetre.gbcs.build import logs as build
from lastmetre.gbcs.build.zigbee import Own, Send

if TYPE_CHECKING:
    from lastmetre.duis.use_cases.rules import Version
    from lastmetre.duis.use_cases.zigbee import Named
    from lastmetre.gbcs.build.zigbee import GbzCommand

GSME: Final = frozenset({"GSME"})
GPF: Final = frozenset({"GPF"})
GAS: Final = GSME | GPF
"""The proxy answers reads in the meter's place with the same payload."""

# --- names

_COMPONENTS: Final = MappingProxyType(
    {
        "GetDayProfiles": "day profiles",
        "GetWeekProfiles": "week profiles",
        "GetSeasons": "seasons",
        "GetSpecialDays": "special days",
        "GetCurrentPrice": "current price",
        "GetBillingPeriod": "billing period",
        "GetEventConfiguration": "event configuration",
        "GetDebtRepaymentLog": "debt log",
        "GetTopUpLog": "top-up log",
        "GetEventLog": "event log",
        "GetSnapshot": "meter snapshot",
        "GetPrepaySnapshot": "prepayment snapshot",
    }
)
_SAMPLES: Final = MappingProxyType(
    {build.PROFILE: "profile data", build.CONSUMPTION: "daily consumption", build.NETWORK: "network data samples"}
)
_ENDS: Final = MappingProxyType(
    {"start": "start", "earliest": "start", "earliest_start": "start", "end": "end", "latest_end": "end"}
)


def _named(layout: Send) -> Named:
    """What a component is called, and its times where they come from the request. Snapshots have a number."""
    fields = layout.fields
    name = _COMPONENTS[layout.command] if layout.command in _COMPONENTS else _SAMPLES[fields["sample_id"]]
    if layout.command in ("GetSnapshot", "GetPrepaySnapshot"):
        name += f" {fields['offset']}"
    times = {field: which for field, which in _ENDS.items() if isinstance(fields.get(field), Own)}
    return name, {field: Term(f"{which} of the {name}", zigbee_time) for field, which in times.items()}


def _say(asked: Asked, values: GbzCommand, code: int) -> tuple[Part, ...]:
    layouts = values.sends(code)
    return say_all(asked, values, *(_named(each) for each in layouts if isinstance(each, Send)), code=code)


# --- what is asked for


def _attributes(asked: Asked, code: int) -> tuple[Part, ...]:
    return _say(asked, build.ReadGasAttributes(), code)


def _period(asked: Asked) -> tuple[int, int]:
    return instant(asked.body, "ReadLogPeriod/StartDateTime"), instant(asked.body, "ReadLogPeriod/EndDateTime")


def _log(asked: Asked, code: int) -> tuple[Part, ...]:
    return _say(asked, build.ReadGasLog(*_period(asked)), code)


def _samples(asked: Asked, code: int, step_s: int, most: int) -> tuple[Part, ...]:
    start, end = _period(asked)
    return _say(asked, build.ReadGasSamples(start, build.samples_in(start, end, step_s, most)), code)


def _network_samples(asked: Asked) -> tuple[Part, ...]:
    """All samples there are; the period of the request is not used, whatever it is."""
    values = build.ReadGasNetworkData()
    return _say(asked, values, values.message_codes[0])


def _event_log(asked: Asked, code: int, *, of_meter: bool) -> tuple[Part, ...]:
    return _say(asked, build.ReadGasEventLog(*_period(asked), of_meter), code)


# --- rules


def _asks_for(asked: Asked, log: str) -> bool:
    return words(asked.body, "LogToRead") == log


def _since(asked: Asked, version: Version) -> bool:
    return asked.device.version >= version


def _list(use_case: str, code: int, variant: str, devices: frozenset[str] = GSME, since: Version = (0,),
          source: str = "B3") -> Rule:  # fmt: skip
    fill = partial(_attributes, code=code)
    return Rule(use_case, code, (variant,), fill, devices, partial(_since, version=since), source)


def _log_rule(use_case: str, code: int, variant: str, devices: frozenset[str] = GSME) -> Rule:
    return Rule(use_case, code, (variant,), partial(_log, code=code), devices, source="B3")


def _event_rule(use_case: str, code: int, log: str, devices: frozenset[str], *, of_meter: bool = False) -> Rule:
    fill, applies = partial(_event_log, code=code, of_meter=of_meter), partial(_asks_for, log=log)
    return Rule(use_case, code, ("6.13",), fill, devices, applies, "B3")


def _sample_rule(use_case: str, code: int, variant: str, step_s: int, most: int, devices: frozenset[str]) -> Rule:
    return Rule(
        use_case, code, (variant,), partial(_samples, code=code, step_s=step_s, most=most), devices, source="B3"
    )


RULES: Final = (
    _list("GCS13a", 0x0074, "4.1.1", GAS),
    _list("GCS13b", 0x00B8, "4.1.4", GAS),
    _list("GCS13c", 0x00B6, "4.1.2", GAS),
    _list("GCS14", 0x0075, "4.3", GAS),
    _list("GCS60a", 0x012A, "4.18", GAS, NEWEST_CODES),
    _list("GCS60", 0x008D, "4.18", GAS),
    _list("GCS38", 0x0084, "11.2"),
    _list("GCS33", 0x0082, "7.4", source="B2"),
    _list("GCS21a", 0x007B, "6.2.8", source="B11"),
    _list("GCS21m", 0x00FB, "6.2.4", GSME, NEWEST_CODES, "B11"),
    _list("GCS21e", 0x009E, "6.2.4", source="B11"),
    _list("GCS21j", 0x00BF, "6.2.9", source="B11"),
    _list("GCS46", 0x0089, "6.2.7", source="B11"),
    _list("GCS21k", 0x00DA, "6.2.3", GSME, NEWER_CODES, "B11"),
    _list("GCS21d", 0x009D, "6.2.3", source="B11"),
    _list("GCS21b", 0x00B5, "4.13", source="B11"),
    _list("GCS21f", 0x009F, "4.11.1", source="B11"),
    _list("GCS20r", 0x00F1, "6.2.10", source="B11"),
    _log_rule("GCS15b", 0x00C3, "4.4.2"),
    _log_rule("GCS15c", 0x0076, "4.4.3"),
    _log_rule("GCS15d", 0x00C4, "4.4.4"),
    _log_rule("GCS15e", 0x00C5, "4.4.5"),
    _log_rule("GCS16a", 0x0077, "4.6.1"),
    _log_rule("GCS16b", 0x0096, "4.14", GAS),
    _sample_rule("GCS17", 0x0078, "4.8.1", build.HALF_HOUR_S, build.COUNT_MAX, GSME),
    _sample_rule("GCS61", 0x00A0, "4.17", build.DAY_S, build.DAYS_OF_CONSUMPTION_MAX, GAS),
    Rule("GCS18", 0x0079, ("4.10",), _network_samples, GSME, source="B3"),
    _event_rule("CS10a", 0x0014, "Event", GAS),
    _event_rule("CS10b", 0x00A1, "Security", GAS),
    _event_rule("CS10a", 0x0014, "GSMEEvent", GPF, of_meter=True),
    _event_rule("CS10b", 0x00A1, "GSMESecurity", GPF, of_meter=True),
)
