"""Auxiliary loads and controllers of an ESME (transform B10): names, schedules, switching, the boost button."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.rules import Asked, Item, Rule, say, when_of
from lastmetre.duis.use_cases.schedules import (
    SPECIAL_DAYS,
    SPECIAL_DAYS_MAX,
    days_of_week,
    schedule_term,
    wildcard_dates,
)
from lastmetre.duis.use_cases.terms import Term, identifier, moment, text
from lastmetre.duis.use_cases.values import (
    ascii_text,
    child,
    entity,
    index,
    instant,
    integer,
    time_of_day,
    truth,
    uint16,
    wildcard_date,
)
from lastmetre.gbcs.axdr import LongUnsigned
from lastmetre.gbcs.build import auxiliary as build
from lastmetre.gbcs.build.calendars import ScheduleEntry, SpecialDay

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

CONTROLLERS: Final = frozenset({"ESME", "SAPC"})
"""Devices with auxiliary controllers. One sample is for a device whose type the sources do not name; that it is the
stand-alone controller follows from the titles of its use cases [I]."""


def _load(element: Element, attribute: str = "index") -> int:
    return index(element, 1, build.LOADS, attribute)


# --- ECS46a: names


def _descriptions(asked: Asked) -> tuple[Item, ...]:
    described = tuple(
        build.LoadDescription(_load(each), ascii_text(each, "SwitchDescription", build.DESCRIPTION_LENGTH_MAX).decode())
        for each in asked.body.all("ALCSHCALCSDescription")
    )
    if not described:
        return ()  # transform says that the request asks for nothing
    terms = (Term(f"description of load {each.load}", text) for each in described)
    return say(asked, build.SetLoadDescriptions(described), *terms)


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


def _entry(schedule: Element, script: int, attribute: str, when: str) -> ScheduleEntry:
    listed = {index(day, 1, SPECIAL_DAYS_MAX, attribute) for day in schedule.all("SpecialDaysApplicability")}
    dates = child(schedule, when)
    at, days = time_of_day(dates, "SwitchTime"), days_of_week(schedule)
    return ScheduleEntry(script, at, days, tuple(sorted(listed)), *wildcard_dates(dates))


def _switch_script(schedule: Element) -> int:
    switch = child(schedule, "ActivateDeactivateSwitch")
    activate = switch.find("ActivateSwitch") is not None
    child(switch, "ActivateSwitch" if activate else "DeactivateSwitch")
    return build.load_script(_load(switch), activate=activate)


def _special_days(body: Element, table: str, attribute: str) -> tuple[SpecialDay, ...]:
    days = child(body, table).children
    return tuple(SpecialDay(index(day, 1, SPECIAL_DAYS_MAX, attribute), wildcard_date(day)) for day in days)


def _switch_device(switch: Element) -> build.LoadSwitch:
    """Which HCALCS is behind a switch; zeros for one inside the meter."""
    device = entity(switch, "HCALCS") if switch.find("HCALCS") is not None else bytes(8)
    return build.LoadSwitch(_load(switch), device)


def _schedule_terms(schedule: Term, whose: str) -> tuple[Term, ...]:
    return (SPECIAL_DAYS, schedule, when_of(f"{whose} special days"), when_of(f"{whose} schedule"))


def _load_scheduler(asked: Asked) -> tuple[Item, ...]:
    body = asked.body
    values = build.SetLoadSchedule(
        tuple(map(_switch_device, body.all("SwitchTypeAndId"))),
        _special_days(body, "ALCSHCALCSSpecialDays", "index"),
        tuple(
            _entry(entry, _switch_script(entry), "index", "ALCSScheduleDatesAndTime")
            for entry in body.all("ALCSHCALCSConnectionSchedule")
        ),
    )
    devices = (Term(f"device of load {each.load}", identifier) for each in values.switches)
    return say(asked, values, *devices, *_schedule_terms(_LOAD_SCHEDULE, "the load"))


def _level(action: Element) -> tuple[int, bool]:
    """How much, and whether it comes from the load."""
    from_load = action.find("InputFromControlledLoad") is not None
    return integer(action, "CommandedStateLevel", 0, build.LEVEL_MAX), from_load


def _controller_script(schedule: Element) -> int:
    action = child(schedule, "AuxiliaryControllerAction")
    percent, from_load = _level(action)
    return build.level_script(_load(action, "auxiliaryControllerN"), percent, from_load=from_load)


def _controller_scheduler(asked: Asked) -> tuple[Item, ...]:
    when = "AuxiliaryControllerSchedulePeriodAndTime"
    values = build.SetControllerSchedule(
        _special_days(asked.body, "AuxiliaryControllerSpecialDayDefinitions", "identifier"),
        tuple(
            _entry(entry, _controller_script(entry), "identifier", when)
            for entry in asked.body.all("AuxiliaryControllerSchedule")
        ),
    )
    return say(asked, values, *_schedule_terms(_CONTROLLER_SCHEDULE, "the controller"))


# --- ECS47, ECS47a, ECS47e: switching now

_ACTIONS: Final = {action.value: action.name.lower() for action in build.LoadAction}


def _switch_term(data: object) -> str:
    script = data.value if isinstance(data, LongUnsigned) else 0
    action = _ACTIONS.get(script & 0xFF, "script for")
    return f"{action} load {script >> 8} ({script})"


def _switch(asked: Asked, element: str, action: build.LoadAction) -> tuple[Item, ...]:
    """Activate or deactivate a load for some time, or give it back to its schedule."""
    command = child(asked.body, element)
    load, script = _load(command), Term("load script", _switch_term)
    if action is build.LoadAction.RESET:
        return say(asked, build.SwitchLoad(load, action), script)
    values = build.SwitchLoad(load, action, uint16(command, "Duration"))
    return say(asked, values, Term(f"duration for load {load}"), script)


def _set_level(asked: Asked, make: type[build.SetControllerLevel | build.LimitControllerLevel]) -> tuple[Item, ...]:
    """Set (or limit) a controller's level between two times."""
    controller = _load(asked.body, "auxiliaryControllerN")
    start, end = instant(asked.body, "StartDateTime"), instant(asked.body, "EndDateTime")
    percent, from_load = _level(asked.body)
    return say(
        asked,
        make(controller, percent, start, end, from_load),
        Term(f"start for controller {controller}", moment),
        Term(f"end for controller {controller}", moment),
        Term("controller script", _level_script),
    )


# --- ECS62: the boost button


def _boost_button(asked: Asked, element: str, value: bool) -> tuple[Item, ...]:
    """One item for each load to be added or removed; a load that is false stays as it is [I]."""
    chosen = tuple(sorted(_load(load) for load in asked.body.all(element) if truth(load)))
    if not chosen:
        return ()  # transform says that the request asks for nothing
    return say(
        asked, build.SetBoostButton(chosen, value), *(Term(f"load {load} on the boost button") for load in chosen)
    )


RULES: Final = (
    Rule("ECS46a", 0x0053, ("6.14.1",), _descriptions, source="B10"),
    Rule("ECS46c", 0x0054, ("6.14.2",), _load_scheduler, source="B10"),
    Rule("ECS46d", 0x011A, ("6.14.3",), _controller_scheduler, CONTROLLERS, source="B10"),
    *(
        Rule("ECS47", 0x0055, (variant,), partial(_switch, element=element, action=action), source="B10")
        for variant, element, action in (
            ("7.5", "ActivateALCSHCALCS", build.LoadAction.ACTIVATE),
            ("7.6", "DeactivateALCSHCALCS", build.LoadAction.DEACTIVATE),
            ("7.8", "ResetALCSHCALCS", build.LoadAction.RESET),
        )
    ),
    Rule("ECS47a", 0x011E, ("7.13",), partial(_set_level, make=build.SetControllerLevel), CONTROLLERS, source="B10"),
    Rule("ECS47e", 0x011F, ("7.16",), partial(_set_level, make=build.LimitControllerLevel), CONTROLLERS,
         source="B10"),
    Rule("ECS62", 0x005F, ("7.9",), partial(_boost_button, element="AddToBoostButton", value=True), source="B10"),
    Rule("ECS62", 0x005F, ("7.10",), partial(_boost_button, element="RemoveFromBoostButton", value=False),
         source="B10"),
)  # fmt: skip
