"""Supply and clock (transform B2, B5): enable, disable and arm the supply; synchronise the clock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.rules import Asked, Item, Rule, say
from lastmetre.duis.use_cases.terms import Term, choice, moment
from lastmetre.duis.use_cases.values import instant, integer
from lastmetre.gbcs.build import supply as build

if TYPE_CHECKING:
    from lastmetre.gbcs.build.shapes import DlmsCommand

TOLERANCE_MAX_S: Final = 86_400

SCRIPTS: Final = {
    build.SCRIPT_ENABLE: "enable supply",
    build.SCRIPT_DISABLE: "disable supply",
    build.SCRIPT_ARM: "arm supply",
}
"""Scripts of the disconnect script table."""

_SCRIPT = Term("supply script", choice(SCRIPTS))


def _run_script(asked: Asked, values: DlmsCommand) -> tuple[Item, ...]:
    return say(asked, values, _SCRIPT)


def _supply_status(asked: Asked) -> tuple[Item, ...]:
    return say(asked, build.ReadSupplyStatus(), Term("value read with 70/0-0:96.3.10.255"))


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
    terms = (Term("clock base"), _WINDOW, Term("adjustment to the preset time"))
    reads = (Term("value read with 8/0-0:1.0.0.255"),) * 2
    return say(asked, build.SynchroniseClock(start, end), *terms, *reads)


RULES: Final = (
    Rule("ECS42", 0x004F, ("7.1",), partial(_run_script, values=build.EnableSupply()), source="B2"),
    Rule("ECS43", 0x0050, ("7.2",), partial(_run_script, values=build.DisableSupply()), source="B2"),
    Rule("ECS44", 0x0051, ("7.3",), partial(_run_script, values=build.ArmSupply()), source="B2"),
    Rule("ECS45", 0x0052, ("7.4",), _supply_status, source="B2"),
    Rule("ECS70", 0x0062, ("6.11", "8.1.1"), _synchronise_clock, source="B5"),
)
