"""Every attack of the catalogue that concerns a home is named by a test, or is listed here with the reason why not."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
CONCERNED = [f"T{number:02}" for number in (*range(1, 21), *range(37, 51))]
ELSEWHERE = {
    "T11": "listeners and their TLS: the home has none towards the network but its WAN link (tests/links)",
    "T18": "a restored database: counters of the supplier (tests/supplier, tests/drills)",
    "T40": "XML: no XML reaches a home (tests/duis)",
    "T41": "XML signatures: no XML reaches a home (tests/duis)",
    "T43": "the supplier's API (tests/supplier)",
}


@cache
def named() -> dict[str, set[str]]:
    """Test functions by the attack that their docstring names."""
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text("utf-8")
        if not re.search(r"\bT\d\d\b", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for attack in re.findall(r"\bT\d\d\b", ast.get_docstring(node) or ""):
                    found.setdefault(attack, set()).add(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def test_every_attack_on_a_home_has_a_test() -> None:
    """Each of T01 to T20 and T37 to T50 is in a docstring of a test, but for those that are another room's."""
    by_attack = named()
    missing = [attack for attack in CONCERNED if attack not in by_attack and attack not in ELSEWHERE]
    assert missing == []
    assert all(len(reason) > 20 for reason in ELSEWHERE.values())
    assert set(ELSEWHERE) <= set(CONCERNED)


def test_the_home_s_own_attacks_are_tried_on_devices() -> None:
    """At least one test under tests/threats or tests/home for each that is not elsewhere."""
    by_attack = named()
    for attack in set(CONCERNED) - set(ELSEWHERE):
        assert any(place.startswith(("threats/", "home/")) for place in by_attack[attack]), attack
