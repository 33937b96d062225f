"""Messages and settings that map to a few attributes each (transform B4, B10)."""

from __future__ import annotations

from functools import partial
from typing import Final

from lastmetre.duis.use_cases.rules import Asked, Item, Rule, say, when_of
from lastmetre.duis.use_cases.terms import Term, choice, moment, text
from lastmetre.duis.use_cases.values import (
    ascii_text,
    instant,
    one_of,
    uint16,
    uint32,
)
from lastmetre.gbcs.build import settings as build
from lastmetre.gbcs.build.alerts_and_events import ClearEventLog
from lastmetre.gbcs.build.hub import ScanSubGhz

MESSAGE_LENGTH_MAX: Final = 116
NAME_LENGTH_MAX: Final = 30
"""Longest supplier name or telephone number taken; schema 5.4 allows no more."""


def _display_message(asked: Asked) -> tuple[Item, ...]:
    message = ascii_text(asked.body, "SupplierMessage", MESSAGE_LENGTH_MAX).decode()
    return say(asked, build.SendMessage(message), Term("message", text))


def _restrict_access(asked: Asked) -> tuple[Item, ...]:
    at = instant(asked.body, "RestrictionDateTime")
    return say(asked, build.SetChangeOfTenancy(at), Term("restriction date", moment))


def _disable_pin(asked: Asked) -> tuple[Item, ...]:
    return say(asked, build.DisablePrivacyPin(), Term("privacy PIN"))


def _clear_log(asked: Asked, code: int) -> tuple[Item, ...]:
    return say(asked, ClearEventLog(), Term("clearing of the event log"), code=code)


def _clears(asked: Asked, log_type: str) -> bool:
    return (asked.body.find_text("ESMEEventLogType") or "").strip() == log_type


def _supplier_name(asked: Asked) -> tuple[Item, ...]:
    phone = ascii_text(asked.body, "SupplierTelephoneNumber", NAME_LENGTH_MAX).decode()
    name = ascii_text(asked.body, "SupplierName", NAME_LENGTH_MAX).decode()
    terms = (Term("supplier telephone number", text), Term("supplier name", text))
    return say(asked, build.SetSupplierContact(name, phone), *terms)


_LOAD_LIMITS: Final = ("load limit power threshold", "load limit period", "load limit restoration period")
_SWITCH: Final = {"Unchanged": 0, "Disable": 1}


def _load_limits(asked: Asked) -> tuple[Item, ...]:
    disable = bool(one_of(asked.body, "LoadLimitSupplyState", _SWITCH))
    show = choice({True: "Disable", False: "Unchanged"})
    values = build.SetLoadLimits(
        power_threshold_w=uint32(asked.body, "LoadLimitPowerThreshold"),
        period_s=uint32(asked.body, "LoadLimitPeriod"),
        restoration_period_s=uint32(asked.body, "LoadLimitRestorationPeriod"),
        disable_supply=disable,
    )
    names = ("load limit supply state", *_LOAD_LIMITS)
    return say(
        asked, values, Term(names[0], show), *map(Term, _LOAD_LIMITS), *(when_of(f"the {name}") for name in names)
    )


def _reset_load_limit_counter(asked: Asked) -> tuple[Item, ...]:
    return say(asked, build.ResetLoadLimitCounter(), Term("reset of the load limit counter"))


def _power_thresholds(asked: Asked) -> tuple[Item, ...]:
    low, high = uint32(asked.body, "LowMediumPowerThreshold"), uint32(asked.body, "MediumHighPowerThreshold")
    term = Term("power thresholds", each=Term("power threshold"))
    return say(asked, build.SetPowerThresholds(low, high), term)


def _randomised_offset(asked: Asked) -> tuple[Item, ...]:
    limit = uint16(asked.body, "RandomisedOffsetLimit")
    return say(asked, build.SetRandomisedOffsetLimit(limit), Term("randomised offset limit"))


_TAMPER: Final = {"Unchanged": 0, "Locked": 1}


def _tamper_state(asked: Asked) -> tuple[Item, ...]:
    locked = bool(one_of(asked.body, "SupplyTamperState", _TAMPER))
    show = choice({True: "Locked", False: "Unchanged"})
    return say(asked, build.SetSupplyTamperState(locked), Term("supply tamper state", show))


def _scan_channels(asked: Asked) -> tuple[Item, ...]:
    return say(asked, ScanSubGhz(), Term("sub GHz channel scan"))


CHF: Final = frozenset({"CHF"})

RULES: Final = (
    Rule("ECS10", 0x0021, ("3.1",), _display_message, source="B4"),
    Rule("ECS12", 0x0022, ("3.2",), _restrict_access, source="B10"),
    Rule("ECS14", 0x0023, ("3.5",), _disable_pin, source="B10"),
    Rule("ECS15a", 0x0024, ("3.3",), partial(_clear_log, code=0x0024), applies=partial(_clears, log_type="ESME"),
         source="B10"),
    Rule("ECS15c", 0x00C1, ("3.3",), partial(_clear_log, code=0x00C1), applies=partial(_clears, log_type="ALCS"),
         source="B10"),
    Rule("ECS16", 0x0025, ("3.4",), _supplier_name, source="B10"),
    Rule("ECS28a", 0x0043, ("6.4.1",), _load_limits, source="B10"),
    Rule("ECS28b", 0x0044, ("6.4.2",), _reset_load_limit_counter, source="B10"),
    Rule("ECS34", 0x0047, ("6.12",), _power_thresholds, source="B10"),
    Rule("ECS38", 0x004B, ("7.12",), _randomised_offset, source="B10"),
    Rule("ECS81", 0x0068, ("6.25",), _tamper_state, source="B10"),
    Rule("DBCH05", 0x010E, ("6.29",), _scan_channels, CHF, source="B11"),
)  # fmt: skip
