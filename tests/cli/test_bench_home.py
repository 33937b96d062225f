"""``lastmetre bench home``: a few idle homes keep within their part of what a thousand may use."""

from __future__ import annotations

from lastmetre.cli.bench_home import LIMIT_MB, measure, premises_of


def test_idle_homes_cost_little() -> None:
    """Ten homes for an hour: gas meters wake twice each, and the work is a hundredth of what one core could do."""
    idle = measure(10, 1.0)
    assert idle.events >= 10 * 2 * 2
    assert idle.core_percent < 1.0
    assert idle.resident_mb < LIMIT_MB


def test_every_home_has_ids_of_its_own() -> None:
    """No two devices of two homes are the same."""
    homes = premises_of(300).home
    ids = [identifier for home in homes for identifier in (home.hub_id, home.esme.id, home.ppmid and home.ppmid.id)]
    assert len(set(ids)) == 900
