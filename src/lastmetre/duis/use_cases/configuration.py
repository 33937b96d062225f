"""Messages and settings that map to a few attributes each (transform B4, B10)."""

from __future__ import annotations

from functools import partial
from typing import Final

from lastmetre.duis.use_cases.rules import Asked, Item, Rule, act, activate, set_
from lastmetre.duis.use_cases.terms import Term, choice, moment, text
from lastmetre.duis.use_cases.values import (
    ascii_text,
    date_time_octets,
    instant,
    one_of,
    uint16,
    uint32,
)
from lastmetre.gbcs.axdr import (
    Array,
    Boolean,
    DoubleLongUnsigned,
    Integer,
    LongUnsigned,
    OctetString,
    Unsigned,
)

MESSAGE_LENGTH_MAX: Final = 116
NAME_LENGTH_MAX: Final = 30
"""Longest supplier name or telephone number taken; schema 5.4 allows no more."""


def _display_message(asked: Asked) -> tuple[Item, ...]:
    message = OctetString(ascii_text(asked.body, "SupplierMessage", MESSAGE_LENGTH_MAX))
    return (set_("1/0-2:96.13.1.255", 2, message, Term("message", text)),)


def _restrict_access(asked: Asked) -> tuple[Item, ...]:
    at = OctetString(date_time_octets(instant(asked.body, "RestrictionDateTime")))
    return (set_("1/0-0:94.44.3.2", 2, at, Term("restriction date", moment)),)


def _disable_pin(_: Asked) -> tuple[Item, ...]:
    return (set_("1/0-0:94.44.3.1", 2, OctetString(b""), Term("privacy PIN")),)


def _clear_log(_: Asked, log: str) -> tuple[Item, ...]:
    return (act(log, 1, Integer(0), Term("clearing of the event log")),)


def _clears(asked: Asked, log_type: str) -> bool:
    return (asked.body.find_text("ESMEEventLogType") or "").strip() == log_type


def _supplier_name(asked: Asked) -> tuple[Item, ...]:
    phone = OctetString(ascii_text(asked.body, "SupplierTelephoneNumber", NAME_LENGTH_MAX))
    name = OctetString(ascii_text(asked.body, "SupplierName", NAME_LENGTH_MAX))
    return (
        set_("9000/0-0:96.13.0.255", 2, phone, Term("supplier telephone number", text)),
        set_("9000/0-0:96.13.1.255", 2, name, Term("supplier name", text)),
    )


_LOAD_LIMITS: Final = (
    ("128.7", "PowerThreshold", "load limit power threshold"),
    ("128.6", "Period", "load limit period"),
    ("128.8", "RestorationPeriod", "load limit restoration period"),
)
_SWITCH: Final = {"Unchanged": 0, "Disable": 1}


def _load_limits(asked: Asked) -> tuple[Item, ...]:
    disable = bool(one_of(asked.body, "LoadLimitSupplyState", _SWITCH))
    show = choice({True: "Disable", False: "Unchanged"})
    amounts = tuple(
        set_(f"9000/0-0:94.44.{last}", 4, DoubleLongUnsigned(uint32(asked.body, f"LoadLimit{element}")), Term(name))
        for last, element, name in _LOAD_LIMITS
    )
    places = (("0.3", "load limit supply state"), *((last, name) for last, _, name in _LOAD_LIMITS))
    return (
        set_("9000/0-0:94.44.0.3", 4, Boolean(disable), Term("load limit supply state", show)),
        *amounts,
        *(activate(f"9000/0-0:94.44.{last}", 6, asked.when, f"the {name}") for last, name in places),
    )


def _reset_load_limit_counter(_: Asked) -> tuple[Item, ...]:
    return (act("3/0-0:94.44.42.255", 1, Integer(0), Term("reset of the load limit counter")),)


def _power_thresholds(asked: Asked) -> tuple[Item, ...]:
    low = DoubleLongUnsigned(uint32(asked.body, "LowMediumPowerThreshold"))
    high = DoubleLongUnsigned(uint32(asked.body, "MediumHighPowerThreshold"))
    return (set_("21/0-0:16.0.0.255", 2, Array((low, high)), Term("power thresholds", each=Term("power threshold"))),)


def _randomised_offset(asked: Asked) -> tuple[Item, ...]:
    limit = LongUnsigned(uint16(asked.body, "RandomisedOffsetLimit"))
    return (set_("1/0-0:94.44.0.1", 2, limit, Term("randomised offset limit")),)


_TAMPER: Final = {"Unchanged": 0, "Locked": 1}


def _tamper_state(asked: Asked) -> tuple[Item, ...]:
    locked = bool(one_of(asked.body, "SupplyTamperState", _TAMPER))
    show = choice({True: "Locked", False: "Unchanged"})
    return (set_("1/0-0:94.44.0.4", 2, Boolean(locked), Term("supply tamper state", show)),)


def _scan_channels(_: Asked) -> tuple[Item, ...]:
    return (set_("1/0-0:94.44.10.1", 2, Unsigned(0), Term("sub GHz channel scan")),)


ESME_LOG: Final = "7/0-0:99.98.0.255"
ALCS_LOG: Final = "7/0-17:99.98.2.255"
CHF: Final = frozenset({"CHF"})

RULES: Final = (
    Rule("ECS10", 0x0021, ("3.1",), _display_message, source="B4"),
    Rule("ECS12", 0x0022, ("3.2",), _restrict_access, source="B10"),
    Rule("ECS14", 0x0023, ("3.5",), _disable_pin, source="B10"),
    Rule("ECS15a", 0x0024, ("3.3",), partial(_clear_log, log=ESME_LOG), applies=partial(_clears, log_type="ESME"),
         source="B10"),
    Rule("ECS15c", 0x00C1, ("3.3",), partial(_clear_log, log=ALCS_LOG), applies=partial(_clears, log_type="ALCS"),
         source="B10"),
    Rule("ECS16", 0x0025, ("3.4",), _supplier_name, source="B10"),
    Rule("ECS28a", 0x0043, ("6.4.1",), _load_limits, source="B10"),
    Rule("ECS28b", 0x0044, ("6.4.2",), _reset_load_limit_counter, source="B10"),
    Rule("ECS34", 0x0047, ("6.12",), _power_thresholds, source="B10"),
    Rule("ECS38", 0x004B, ("7.12",), _randomised_offset, source="B10"),
    Rule("ECS81", 0x0068, ("6.25",), _tamper_state, source="B10"),
    Rule("DBCH05", 0x010E, ("6.29",), _scan_channels, CHF, source="B11"),
)  # fmt: skip
