"""Auxiliary loads and controllers of an ESME (transform B10): names, schedules, switching, the boost button."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.rules import Asked, Item, Rule, act, activate, set_
from lastmetre.duis.use_cases.schedules import (
    SPECIAL_DAYS,
    SPECIAL_DAYS_MAX,
    Script,
    applicable_days,
    days_of_week,
    schedule_entry,
    schedule_term,
    special_days,
    wildcard_dates,
)
from lastmetre.duis.use_cases.terms import Term, identifier, moment, text
from lastmetre.duis.use_cases.values import (
    ascii_text,
    child,
    date_time_octets,
    entity,
    index,
    instant,
    integer,
    time_of_day,
    truth,
    uint16,
)
from lastmetre.gbcs.axdr import Array, Boolean, LongUnsigned, OctetString, Structure, VisibleString

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

LOADS: Final = 5
DESCRIPTION_LENGTH_MAX: Final = 22
LEVEL_MAX: Final = 100

SCRIPT_TABLE: Final = "0-0:10.0.103.255"
LIMIT_SCRIPT_TABLE: Final = "0-0:10.0.107.255"
CONTROLLERS: Final = frozenset({"ESME", "SAPC"})
"""Devices with auxiliary controllers. One sample is for a device whose type the sources do not name; that it is the
stand-alone controller follows from the titles of its use cases [I]."""


def _load(element: Element, attribute: str = "index") -> int:
    return index(element, 1, LOADS, attribute)


# --- ECS46a: names


def _descriptions(asked: Asked) -> tuple[Item, ...]:
    items = []
    for described in asked.body.all("ALCSHCALCSDescription"):
        load = _load(described)
        name = VisibleString(ascii_text(described, "SwitchDescription", DESCRIPTION_LENGTH_MAX))
        items.append(set_(f"1/0-0:94.44.0.{10 + load}", 2, name, Term(f"description of load {load}", text)))
    return tuple(items)


# --- ECS46c, ECS46d: schedules


def _load_script(data: object) -> str:
    script = data.value if isinstance(data, LongUnsigned) else 0
    load, action = divmod(script, 256)
    return f"{ {1: 'activate', 2: 'deactivate'}.get(action, f'action {action} on') } load {load} ({script})"


def _level_script(data: object) -> str:
    """Direction, controller, whether it is from a schedule, and level in one number."""
    script = data.value if isinstance(data, LongUnsigned) else 0
    towards = {1: "output", 2: "input"}.get(script >> 12, f"mode {script >> 12}")
    return f"controller {script >> 8 & 0xF} to {script & 0x7F} % of {towards} ({script})"


_LOAD_SCHEDULE: Final = schedule_term("load schedule", _load_script)
_CONTROLLER_SCHEDULE: Final = schedule_term("controller schedule", _level_script)


def _entry(
    number: int, schedule: Element, script: Script, attribute: str, when: str, special_day_count: int
) -> Structure:
    listed = {index(day, 1, SPECIAL_DAYS_MAX, attribute) for day in schedule.all("SpecialDaysApplicability")}
    dates = child(schedule, when)
    return schedule_entry(
        number,
        script,
        time_of_day(dates, "SwitchTime"),
        days_of_week(schedule),
        applicable_days(number, listed, special_day_count),
        *wildcard_dates(dates),
    )


def _switch_script(schedule: Element) -> Script:
    switch = child(schedule, "ActivateDeactivateSwitch")
    child(switch, "ActivateSwitch" if switch.find("ActivateSwitch") is not None else "DeactivateSwitch")
    return Script(SCRIPT_TABLE, _load(switch) * 256 + (1 if switch.find("ActivateSwitch") is not None else 2))


def _special_days(body: Element, table: str, attribute: str) -> Array:
    days = child(body, table).children
    return special_days((index(day, 1, SPECIAL_DAYS_MAX, attribute), day) for day in days)


def _switch_device(switch: Element) -> Item:
    """Which HCALCS is behind a switch; zeros for one inside the meter."""
    load = _load(switch)
    device = OctetString(entity(switch, "HCALCS") if switch.find("HCALCS") is not None else bytes(8))
    return set_(f"1/0-0:94.44.0.{20 + load}", 2, device, Term(f"device of load {load}", identifier))


def _load_scheduler(asked: Asked) -> tuple[Item, ...]:
    days = _special_days(asked.body, "ALCSHCALCSSpecialDays", "index")
    entries = enumerate(asked.body.all("ALCSHCALCSConnectionSchedule"), 1)
    schedule = tuple(
        _entry(number, entry, _switch_script(entry), "index", "ALCSScheduleDatesAndTime", len(days.elements))
        for number, entry in entries
    )
    return (
        *map(_switch_device, asked.body.all("SwitchTypeAndId")),
        *_scheduler_items(asked, days, schedule, _LOAD_SCHEDULE, "the load"),
    )


def _scheduler_items(
    asked: Asked, days: Array, schedule: tuple[Structure, ...], term: Term, whose: str
) -> tuple[Item, ...]:
    return (
        set_("11/0-1:11.0.3.255", 2, days, SPECIAL_DAYS),
        set_("10/0-1:12.0.2.255", 2, Array(schedule), term),
        activate("9000/0-0:94.44.128.26", 6, asked.when, f"{whose} special days"),
        activate("9000/0-0:94.44.128.35", 6, asked.when, f"{whose} schedule"),
    )


OUTPUT: Final = 0x1000
INPUT: Final = 0x2000
BY_SCHEDULE: Final = 0x80


def _level(action: Element, controller: int) -> int:
    direction = INPUT if action.find("InputFromControlledLoad") is not None else OUTPUT
    return direction + controller * 256 + integer(action, "CommandedStateLevel", 0, LEVEL_MAX)


def _controller_script(schedule: Element) -> Script:
    action = child(schedule, "AuxiliaryControllerAction")
    return Script(SCRIPT_TABLE, _level(action, _load(action, "auxiliaryControllerN")) + BY_SCHEDULE)


def _controller_scheduler(asked: Asked) -> tuple[Item, ...]:
    days = _special_days(asked.body, "AuxiliaryControllerSpecialDayDefinitions", "identifier")
    when = "AuxiliaryControllerSchedulePeriodAndTime"
    entries = enumerate(asked.body.all("AuxiliaryControllerSchedule"), 1)
    schedule = tuple(
        _entry(number, entry, _controller_script(entry), "identifier", when, len(days.elements))
        for number, entry in entries
    )
    return _scheduler_items(asked, days, schedule, _CONTROLLER_SCHEDULE, "the controller")


# --- ECS47, ECS47a, ECS47e: switching now

_ACTIVATE: Final = 0x11
_DEACTIVATE: Final = 0x12
_RESET: Final = 0x20


def _switch_term(data: object) -> str:
    script = data.value if isinstance(data, LongUnsigned) else 0
    action = {_ACTIVATE: "activate", _DEACTIVATE: "deactivate", _RESET: "reset"}.get(script & 0xFF, "script for")
    return f"{action} load {script >> 8} ({script})"


def _switch(asked: Asked, element: str, action: int) -> tuple[Item, ...]:
    """Activate (object 1) or deactivate (object 2) a load for some time, or give it back to its schedule."""
    command = child(asked.body, element)
    load = _load(command)
    script = act(f"9/{SCRIPT_TABLE}", 1, LongUnsigned(load * 256 + action), Term("load script", _switch_term))
    if action == _RESET:
        return (script,)
    duration = LongUnsigned(uint16(command, "Duration"))
    place = f"1/0-0:94.44.{116 + load}.{1 if action == _ACTIVATE else 2}"
    return (set_(place, 2, duration, Term(f"duration for load {load}")), script)


def _set_level(asked: Asked, table: str, first: int) -> tuple[Item, ...]:
    """Set (or limit) a controller's level between two times."""
    controller = _load(asked.body, "auxiliaryControllerN")
    start = OctetString(date_time_octets(instant(asked.body, "StartDateTime")))
    end = OctetString(date_time_octets(instant(asked.body, "EndDateTime")))
    place = f"1/0-0:94.44.{116 + controller}"
    level = LongUnsigned(_level(asked.body, controller))
    return (
        set_(f"{place}.{first}", 2, start, Term(f"start for controller {controller}", moment)),
        set_(f"{place}.{first + 1}", 2, end, Term(f"end for controller {controller}", moment)),
        act(f"9/{table}", 1, level, Term("controller script", _level_script)),
    )


# --- ECS62: the boost button


def _boost_button(asked: Asked, element: str, value: bool) -> tuple[Item, ...]:
    """One item for each load to be added or removed; a load that is false stays as it is [I]."""
    chosen = sorted(_load(load) for load in asked.body.all(element) if truth(load))
    return tuple(
        set_(f"1/0-0:94.44.6.{load}", 2, Boolean(value), Term(f"load {load} on the boost button")) for load in chosen
    )


RULES: Final = (
    Rule("ECS46a", 0x0053, ("6.14.1",), _descriptions, source="B10"),
    Rule("ECS46c", 0x0054, ("6.14.2",), _load_scheduler, source="B10"),
    Rule("ECS46d", 0x011A, ("6.14.3",), _controller_scheduler, CONTROLLERS, source="B10"),
    Rule("ECS47", 0x0055, ("7.5",), partial(_switch, element="ActivateALCSHCALCS", action=_ACTIVATE), source="B10"),
    Rule("ECS47", 0x0055, ("7.6",), partial(_switch, element="DeactivateALCSHCALCS", action=_DEACTIVATE),
         source="B10"),
    Rule("ECS47", 0x0055, ("7.8",), partial(_switch, element="ResetALCSHCALCS", action=_RESET), source="B10"),
    Rule("ECS47a", 0x011E, ("7.13",), partial(_set_level, table=SCRIPT_TABLE, first=1), CONTROLLERS, source="B10"),
    Rule("ECS47e", 0x011F, ("7.16",), partial(_set_level, table=LIMIT_SCRIPT_TABLE, first=3), CONTROLLERS,
         source="B10"),
    Rule("ECS62", 0x005F, ("7.9",), partial(_boost_button, element="AddToBoostButton", value=True), source="B10"),
    Rule("ECS62", 0x005F, ("7.10",), partial(_boost_button, element="RemoveFromBoostButton", value=False),
         source="B10"),
)  # fmt: skip
