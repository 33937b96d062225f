"""The judges judge: each invariant's checker names the fault that is put into otherwise sound evidence."""

from __future__ import annotations

import ast
import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lastmetre.sim import checkers
from lastmetre.sim.checkers import judge
from lastmetre.sim.evidence import Evidence, Row, Said
from lastmetre.sim.faults import NAMED
from lastmetre.sim.scheduler import run
from lastmetre.sim.world import play

if TYPE_CHECKING:
    from collections.abc import Callable

SIM = Path(checkers.__file__).parent


@cache
def _sound() -> Evidence:
    return run(play(1, NAMED["calm"])).evidence


@pytest.fixture
def evidence() -> Evidence:
    """A run in which all is well."""
    return copy.deepcopy(_sound())


def _confirmed(evidence: Evidence) -> Row:
    return next(order for order in evidence.orders if order["state"] == "confirmed")


def _executed_twice(evidence: Evidence) -> None:
    evidence.executions.append(evidence.executions[0])


def _money_from_nowhere(evidence: Evidence) -> None:
    device, (before, after) = next(iter(evidence.balances.items()))
    evidence.balances[device] = (before, after + 1)


def _order_vanished(evidence: Evidence) -> None:
    evidence.promised["a key"] = "order-999"


def _order_left_lying(evidence: Evidence) -> None:
    _confirmed(evidence)["state"] = "sealed"


def _silent_unknown(evidence: Evidence) -> None:
    _confirmed(evidence).update(state="unknown", alarm=False)


def _handed_on_late(evidence: Evidence) -> None:
    at = next(n for n, seen in enumerate(evidence.seen) if seen.event == "command_handed_on")
    evidence.seen[at] = replace(evidence.seen[at], clock_at=evidence.seen[at].clock_at + 86_400)


def _audit_entry_lost(evidence: Evidence) -> None:
    del evidence.audit[3]


def _audit_entry_changed(evidence: Evidence) -> None:
    evidence.audit[3]["at"] = int(str(evidence.audit[3]["at"])) + 1


def _ran_elsewhere(evidence: Evidence) -> None:
    one = evidence.executions[0]
    evidence.executions[0] = replace(one, device_id="00005eef100000ff")


def _counter_of_two_messages(evidence: Evidence) -> None:
    one = next(e for e in evidence.executions)
    changed = one.message[:-2] + ("00" if one.message[-2:] != "00" else "01")
    evidence.executions.append(replace(one, message=changed, balance_change=0))


def _said_too_early(evidence: Evidence) -> None:
    evidence.said.append(Said(0.0, str(_confirmed(evidence)["order_id"]), "confirmed"))


def _confirmed_by_a_forgery(evidence: Evidence) -> None:
    _confirmed(evidence)["response"] = "00"


def _something_waits(evidence: Evidence) -> None:
    evidence.left_over.append("a receipt")


FAULTS: dict[str, tuple[Callable[[Evidence], None], ...]] = {
    "I1 once": (_executed_twice, _money_from_nowhere),
    "I2 none lost": (_order_vanished, _order_left_lying, _silent_unknown),
    "I3 none late": (_handed_on_late,),
    "I4 all told": (_audit_entry_lost, _audit_entry_changed, _order_left_lying),
    "I5 right place": (_ran_elsewhere,),
    "I6 fresh": (_counter_of_two_messages,),
    "I7 truth": (_said_too_early, _confirmed_by_a_forgery),
    "I8 drains": (_something_waits,),
}


@pytest.mark.parametrize(("invariant", "spoil"), [(name, spoil) for name, all_ in FAULTS.items() for spoil in all_])
def test_each_checker_sees_its_fault(evidence: Evidence, invariant: str, spoil: Callable[[Evidence], None]) -> None:
    """Sound evidence passes; with one fault put in, the invariant it breaks is named."""
    assert not judge(evidence)
    spoil(evidence)
    assert invariant in {finding.invariant for finding in judge(evidence)}


def test_every_invariant_is_tried() -> None:
    """No checker goes without a fault that it must see."""
    assert FAULTS.keys() == checkers.CHECKS.keys()


@pytest.mark.parametrize("name", ["checkers.py", "evidence.py"])
def test_judges_know_no_party(name: str) -> None:
    """Checkers and evidence import nothing of the rooms they judge."""
    tree = ast.parse((SIM / name).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [module for module in modules if module.startswith("lastmetre.") and "lastmetre.sim" not in module]
