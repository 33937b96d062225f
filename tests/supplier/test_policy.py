"""Road policy: what a file may say, where its faults are named, and which road is chosen by it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.errors import PolicyRefused
from lastmetre.supplier.orders import Attempt, AttemptState, Road, RoadFacts
from lastmetre.supplier.policy import (
    Ban,
    Hours,
    Policy,
    RoadPolicy,
    Step,
    default_policy,
    default_text,
    read_policy,
    words,
)
from lastmetre.supplier.roads import Closed, Device, Open, WanCoverage, Ways, choose, next_road_at, steps_of
from tests.supplier_world import an_order

DEVICE, HUB, AGENT, DSP = (bytes([n]) * 8 for n in range(1, 5))
NOON = 1_795_435_200  # 2026-11-23, 12:00 UTC
HOME = Device(DEVICE, HUB, WanCoverage.GOOD, AGENT)

GOOD = """version = 1
[cost]
ppmid = 20
[[policy]]
name = "default"
[[policy.step]]
road = "wan"
wait_s = 900
[[policy.step]]
road = "ppmid"
hours = "22:00-06:30"
"""


def test_the_default_file_is_right_and_says_what_it_means() -> None:
    """The file that comes along reads without a fault, has the policies it promises, and its words name every road."""
    policy = default_policy()
    assert set(policy.policies) == {"default", "to_the_door", "race"}
    text = "\n".join(words(policy))
    for part in (
        "Policy default",
        "SM WAN",
        "after 900 s",
        "£60.00 a use",
        "07:00-18:00 UTC",
        "At most 500",
        "at once",
    ):
        assert part in text, part


def test_a_file_says_what_it_says() -> None:
    """Costs, steps, waits and hours are those written."""
    policy = read_policy(GOOD)
    assert policy.cost(Road.PPMID) == 20
    assert policy.policy("").steps == (
        Step(Road.WAN, 900),
        Step(Road.PPMID, hours=Hours(22 * 60, 6 * 60 + 30)),
    )


@pytest.mark.parametrize(
    ("before", "after", "line", "says"),
    [
        ("version = 1", "version = 2", 1, "write version = 1"),
        ("ppmid = 20", "ppmid = -1", 3, "whole number from 0"),
        ("ppmid = 20", 'ppmid = "20"', 3, "whole number"),
        ("ppmid = 20", "pigeon = 20", 3, "there is no setting pigeon here; there are wan, ppmid"),
        ('name = "default"', 'name = "other"', 1, 'no policy named "default"'),
        ('name = "default"', 'name = "De Fault"', 5, "small letters"),
        ('road = "wan"', 'road = "rail"', 7, "must be one of wan, ppmid"),
        ('road = "wan"', 'roads = "wan"', 7, "there is no setting roads here"),
        ("wait_s = 900", "wait_s = true", 8, "whole number"),
        ("wait_s = 900", "wait_s = 99999999", 8, "whole number from 0 to"),
        ('road = "ppmid"', 'road = "wan"', 10, "already"),
        ('road = "ppmid"', 'road = "both"', 10, "uses wan already"),
        ('hours = "22:00-06:30"', 'hours = "25:00-26:00"', 11, '"08:00-20:00"'),
        ('hours = "22:00-06:30"', 'hours = "08:00-08:00"', 11, "no time at all"),
        ("wait_s = 900", "wait_s = = 900", 8, "no TOML"),
    ],
)
def test_each_fault_is_named_with_its_line(before: str, after: str, line: int, says: str) -> None:
    """The line is the one that is wrong, and the words say what to write."""
    with pytest.raises(PolicyRefused) as refused:
        read_policy(GOOD.replace(before, after, 1))
    assert any(fault.startswith(f"line {line}: ") and says in fault for fault in refused.value.faults), refused.value


def test_every_fault_is_named_at_once() -> None:
    """Three faults in three tables are three lines, in the order of the file."""
    text = (
        GOOD.replace("ppmid = 20", "ppmid = 2.5").replace('"wan"', '"x"') + '[[ban]]\nroad = "hht"\nservices = ["y"]\n'
    )
    with pytest.raises(PolicyRefused) as refused:
        read_policy(text)
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["line 3", "line 7", "line 12", "line 14"]


def test_the_default_files_lines_are_found() -> None:
    """In a long file with comments the line is still the right one."""
    lines = default_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith('hours = "07'))
    lines[number - 1] = 'hours = "7-18"'
    with pytest.raises(PolicyRefused, match=f"line {number}: hours is '7-18'"):
        read_policy("\n".join(lines))


# --- which road


def _choose(
    steps: tuple[Step, ...], *, now: int = NOON, policy: RoadPolicy | None = None, **more: object
) -> Open | Closed:
    facts = more.pop("facts", None)
    order = an_order(roads=tuple(step.road for step in steps), **more)
    return choose(order, steps, Ways(HOME, DSP, now, policy or RoadPolicy(), facts))  # type: ignore[arg-type]


def test_hours_close_a_road_and_say_until_when() -> None:
    """Outside its hours a road is closed until they begin; over midnight too."""
    night = Step(Road.WAN, hours=Hours(22 * 60, 6 * 60))
    assert _choose((night,)) == Closed("by wan only between 22:00-06:00 UTC", NOON + 10 * 3_600)
    assert _choose((night,), now=NOON + 11 * 3_600) == Open(Road.WAN, DSP)
    day = Step(Road.WAN, hours=Hours(8 * 60, 11 * 60))
    assert _choose((day,)) == Closed("by wan only between 08:00-11:00 UTC", NOON + 20 * 3_600)


def test_what_a_file_forbids_is_closed() -> None:
    """A ban closes the road for its services, with its reason, and for no other."""
    policy = RoadPolicy(bans=(Ban(Road.PPMID, frozenset({"arm_supply"}), "the board said so"),))
    assert _choose((Step(Road.PPMID),), policy=policy) == Closed("not by ppmid: the board said so")
    assert _choose((Step(Road.PPMID),), policy=policy, service="disable_supply") == Open(Road.PPMID, AGENT)


def test_a_road_that_costs_too_much_is_closed() -> None:
    """What was spent so far counts."""
    one = Policy("default", (Step(Road.PPMID), Step(Road.HHT)), cost_max=1_000)
    policy = RoadPolicy(costs={Road.HHT: 900, Road.PPMID: 50}, policies=MappingProxyType({"default": one}))
    spent = (Attempt(1, Road.PPMID, AGENT, AttemptState.HANDED_ON, 1, 1, tries=3, cost=150),)
    assert _choose((Step(Road.HHT),), policy=policy) == Open(Road.HHT, b"")
    assert _choose((Step(Road.HHT),), policy=policy, attempts=spent) == Closed("hht would bring it to 1.05p, above 1p")


def test_a_road_in_doubt_is_taken_last() -> None:
    """A silent PPMID and a failing WAN are passed over while another road is open, and used when none is."""
    ppmid, wan = Step(Road.PPMID, seen_within_s=3_600), Step(Road.WAN)
    silent = {(AGENT, Road.PPMID): RoadFacts(seen_at=NOON - 3_601)}
    assert _choose((ppmid, wan), facts=silent) == Open(Road.WAN, DSP)
    assert _choose((ppmid,), facts=silent) == Open(Road.PPMID, AGENT)
    assert _choose((ppmid, wan), facts={(AGENT, Road.PPMID): RoadFacts(seen_at=NOON - 60)}) == Open(Road.PPMID, AGENT)
    failing = {(HUB, Road.WAN): RoadFacts(failures=3, failed_at=NOON - 60)}
    assert _choose((wan, ppmid), facts=failing) == Open(Road.PPMID, AGENT)
    assert _choose((wan, ppmid), facts={(HUB, Road.WAN): RoadFacts(failures=2, failed_at=NOON)}) == Open(Road.WAN, DSP)
    old = {(HUB, Road.WAN): RoadFacts(failures=9, failed_at=NOON - 3_601)}
    assert _choose((wan, ppmid), facts=old) == Open(Road.WAN, DSP)


def test_only_a_top_up_has_a_code() -> None:
    """The code road leads nowhere for anything else."""
    assert _choose((Step(Road.CODE),)) == Closed("only a top-up has a code")
    assert _choose((Step(Road.CODE),), lane=Lane.TOP_UP) == Open(Road.CODE, b"")


def test_the_cheapest_road_comes_first_where_the_policy_says_so() -> None:
    """Cost, not the order in the file, decides then."""
    policy = replace(
        read_policy(GOOD.replace('name = "default"', 'name = "default"\norder = "cheapest_first"')),
        costs={Road.WAN: 30, Road.PPMID: 20},
    )
    order = an_order(roads=(Road.WAN, Road.PPMID))
    assert [step.road for step in steps_of(order, policy)] == [Road.PPMID, Road.WAN]


def test_both_is_two_roads_at_once() -> None:
    """WAN with no wait, then the PPMID."""
    steps = steps_of(an_order(roads=(Road.BOTH, Road.HHT)), RoadPolicy())
    assert [(step.road, step.wait_s) for step in steps] == [(Road.WAN, 0), (Road.PPMID, None), (Road.HHT, None)]


def test_when_the_next_road_is_due() -> None:
    """After the wait; after a sleeping meter has woken; sooner when the deadline is near; never when none is left."""
    order = an_order(roads=(Road.WAN, Road.PPMID), deadline_at=NOON + 86_400)
    steps = steps_of(order, RoadPolicy())
    assert next_road_at(order, steps, Road.WAN, HOME, NOON) == NOON + 900
    assert next_road_at(order, steps, Road.WAN, replace(HOME, device_type="GSME"), NOON) == NOON + 900 + 1_800
    assert next_road_at(replace(order, deadline_at=NOON + 60), steps, Road.WAN, HOME, NOON) == NOON + 30
    assert next_road_at(replace(order, opened=(Road.WAN,)), steps, Road.PPMID, HOME, NOON) == 0
    race = (Step(Road.WAN, 0), Step(Road.PPMID))
    assert next_road_at(order, race, Road.WAN, replace(HOME, device_type="GSME"), NOON) == NOON
    assert next_road_at(order, (Step(Road.WAN), Step(Road.PPMID)), Road.WAN, HOME, NOON) == 0
