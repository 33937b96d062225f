"""``python -m lastmetre.sim``: plays seeds, prints each one that breaks a promise with the line that plays it again."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from lastmetre.sim.checkers import judge
from lastmetre.sim.faults import NAMED, Sometimes, named, with_options
from lastmetre.sim.scheduler import run
from lastmetre.sim.world import play

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastmetre.sim.checkers import Finding
    from lastmetre.sim.faults import Faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays; 1 when a promise was broken."""
    options = _options().parse_args(arguments)
    sometimes = Sometimes()
    failed = []
    started = time.monotonic()
    for seed in [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds):
        name = options.faults or named(seed)
        faults = with_options(NAMED[name], dict(_pair(text) for text in options.set))
        findings, seen = play_seed(seed, faults)
        sometimes.update(seen)
        if findings:
            failed.append(seed)
            changes = "".join(f" --set {text}" for text in options.set)
            print(f"seed {seed} failed: python -m lastmetre.sim --seed {seed} --faults {name}{changes}")  # noqa: T201
            for finding in findings:
                print(f"  {finding}")  # noqa: T201
    if options.sometimes:
        for what, times in sorted(sometimes.items()):
            print(f"{times:8} {what}")  # noqa: T201
    count = 1 if options.seed is not None else options.seeds
    print(f"{count} seeds, {len(failed)} failed, {time.monotonic() - started:.1f} s")  # noqa: T201
    return 1 if failed else 0


def play_seed(seed: int, faults: Faults) -> tuple[list[Finding], Sometimes]:
    """One seed, judged."""
    played = run(play(seed, faults))
    return judge(played.evidence), played.sometimes


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lastmetre.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--faults", choices=sorted(NAMED), help="this set of faults, instead of the seed's own")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FAULT=RATE", help="one rate, instead of the set's"
    )
    parser.add_argument("--sometimes", action="store_true", help="print how often each thing happened")
    return parser


if __name__ == "__main__":
    sys.exit(main())
