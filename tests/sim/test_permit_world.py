"""The world whose hubs want relay permits: the same promises, under losses, kills and jumping clocks."""

from __future__ import annotations

import pytest

from lastmetre.sim.__main__ import play_seed
from lastmetre.sim.checkers import judge
from lastmetre.sim.faults import NAMED, Sometimes, named
from lastmetre.sim.scheduler import run
from lastmetre.sim.world import play

SEEDS = range(12)
HAPPENED = (
    "home told hub_permit_answered",
    "home told hub_command_refused: no-permit",
    "home told hub_command_refused: permit-refused",
    "supplier told relay_permit_renewed",
    "dsp told relay_permit_issued",
    "agent told command_not_offered",
    "agent told permit_renewed",
)


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int) -> None:
    """No invariant is broken, and no PPMID's Command passes a hub but right behind a permit it accepted."""
    played = run(play(seed, NAMED["permit"]))
    assert not judge(played.evidence), f"--seed {seed} --faults permit"
    waiting: dict[str, bool] = {}
    for seen in played.evidence.seen:
        if seen.event == "hub_permit_answered":
            waiting[seen.party] = seen.facts["status"] == "accepted" or waiting.get(seen.party, False)
        elif seen.event == "hub_command_forwarded" and seen.facts["road"] == "PPMID":
            assert waiting.get(seen.party), "a Command passed without a permit"
            waiting[seen.party] = False


def test_each_way_happened() -> None:
    """Permits were made, refused, renewed, and Commands without one dropped."""
    total = Sometimes()
    for seed in SEEDS:
        total.update(play_seed(seed, NAMED["permit"])[1])
    assert [what for what in HAPPENED if not total[what]] == []


def test_no_other_seed_plays_it() -> None:
    """What a seed meant before there were permits it still means."""
    assert "permit" not in {named(seed) for seed in range(200)}
