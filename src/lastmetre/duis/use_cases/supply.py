"""Supply and clock (transform B2, B5): enable, disable and arm the supply; synchronise the clock."""

from __future__ import annotations

from functools import partial
from typing import Final

from lastmetre.duis.use_cases.rules import Asked, Item, Rule, act, get, set_
from lastmetre.duis.use_cases.terms import Term, choice, moment
from lastmetre.duis.use_cases.values import CANCELLED, date_time_octets, instant, integer
from lastmetre.gbcs.axdr import Enum, Integer, LongUnsigned, OctetString, Structure

CLOCK: Final = "8/0-0:1.0.0.255"
TOLERANCE_MAX_S: Final = 86_400

SCRIPTS: Final = {51: "enable supply", 52: "disable supply", 54: "arm supply"}
"""Scripts of the disconnect script table."""

_SCRIPT = Term("supply script", choice(SCRIPTS))


def _run_script(_: Asked, script: int) -> tuple[Item, ...]:
    return (act("9/0-0:10.0.106.255", 1, LongUnsigned(script), _SCRIPT),)


def _supply_status(_: Asked) -> tuple[Item, ...]:
    return (get("70/0-0:96.3.10.255", 3),)


_WINDOW = Term(
    "clock setting",
    parts=(
        Term("preset time", moment),
        Term("start of the validity period", moment),
        Term("end of the validity period", moment),
    ),
)


def _synchronise_clock(asked: Asked) -> tuple[Item, ...]:
    start = instant(asked.body, "CurrentDateTime")
    end = start + integer(asked.body, "TolerancePeriod", 0, TOLERANCE_MAX_S)
    times = tuple(OctetString(octets) for octets in (CANCELLED, date_time_octets(start), date_time_octets(end)))
    return (
        set_(CLOCK, 9, Enum(5), Term("clock base")),
        act(CLOCK, 5, Structure(times), _WINDOW),
        act(CLOCK, 4, Integer(0), Term("adjustment to the preset time")),
        get(CLOCK, 2),
        get(CLOCK, 4),
    )


RULES: Final = (
    Rule("ECS42", 0x004F, ("7.1",), partial(_run_script, script=51), source="B2"),
    Rule("ECS43", 0x0050, ("7.2",), partial(_run_script, script=52), source="B2"),
    Rule("ECS44", 0x0051, ("7.3",), partial(_run_script, script=54), source="B2"),
    Rule("ECS45", 0x0052, ("7.4",), _supply_status, source="B2"),
    Rule("ECS70", 0x0062, ("6.11", "8.1.1"), _synchronise_clock, source="B5"),
)
