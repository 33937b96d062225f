"""``lastmetre bench``: measurements anyone can repeat. One subcommand for each language; each says what it measured."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

bench = typer.Typer(no_args_is_help=True, help="Measure this program on this machine.")

Rounds = Annotated[int, typer.Option(min=3, help="Turns of work and yardstick; medians are shown.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@bench.command("gbcs")
def bench_gbcs(
    corpus: Annotated[Path | None, typer.Option(help="Messages of others, as .HEX files.", file_okay=False)] = None,
    certificates: Annotated[Path | None, typer.Option(help="Their certificates.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Their private keys.")] = None,
    rounds: Rounds = 15,
    json: Json = False,
) -> None:
    """GBCS messages: reading, checking, sealing and signing against the bare cryptography. Own messages by default."""
    from lastmetre.cli.bench_gbcs import run_bench_gbcs

    run_bench_gbcs(corpus=corpus, certificates=certificates, keys=keys, rounds=rounds, as_json=json)


@bench.command("duis")
def bench_duis(json: Json = False) -> None:
    """DUIS documents: reading, writing, signing and verifying against lxml and the bare cryptography."""
    from lastmetre.cli.bench_duis import run_bench_duis

    run_bench_duis(as_json=json)


@bench.command("home")
def bench_home(
    homes: Annotated[int, typer.Option(min=1, max=5_000, help="How many.")] = 1_000,
    hours: Annotated[float, typer.Option(min=0.01, help="For how long of their time.")] = 1.0,
    days: Annotated[int, typer.Option(min=0, max=400, help="Days in the electricity meters' logs before.")] = 0,
    json: Json = False,
) -> None:
    """Idle homes: the memory they hold, the part of a core they use. Exit status 1 above the limits."""
    from lastmetre.cli.bench_home import run_bench_home

    raise typer.Exit(run_bench_home(homes=homes, hours=hours, days=days, as_json=json))
