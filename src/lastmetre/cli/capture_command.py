"""``lastmetre capture``: captures to look at, without a home that runs. What they show is ``cli.capture_day``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

capture = typer.Typer(no_args_is_help=True, help="Make a capture file of a home's air, for Wireshark.")


@capture.command("day")
def capture_day(
    out: Annotated[Path, typer.Option("--out", help="The capture file.", dir_okay=False)],
    seed: Annotated[int, typer.Option(help="The same seed gives the same file, octet for octet.")] = 1,
    secured: Annotated[
        bool, typer.Option("--secured", help="With NWK and APS security; the keys are printed.")
    ] = False,
) -> None:
    """Write a day in the life of one home: joins, a field visit, tariffs, top-ups, a lost WAN, gas wakes."""
    from lastmetre.cli.capture_day import run_capture_day

    run_capture_day(seed=seed, out=out, secured=secured)
