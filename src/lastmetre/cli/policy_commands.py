"""``lastmetre policy``: what a road policy's file means, or what is wrong with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from lastmetre.cli.problems import EXIT_FAILED, ProblemError

policy = typer.Typer(no_args_is_help=True, help="Road policies: which roads an order tries, when, and at what cost.")


@policy.callback()
def _policy() -> None:
    """Keeps ``check`` a subcommand."""


@policy.command("check")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A policy file (TOML); - for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")] = False,
) -> None:
    """Say in words what FILE means; or name each fault with its line, and exit with 1."""
    from lastmetre.supplier.errors import PolicyRefused
    from lastmetre.supplier.policy import read_policy, words

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"cannot read {file}: {error}") from error
    try:
        said = list(words(read_policy(text)))
    except PolicyRefused as refused:
        if as_json:
            print(json.dumps({"taken": False, "faults": list(refused.faults)}))
        else:
            for fault in refused.faults:
                print(f"{file}: {fault}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from refused
    print(json.dumps({"taken": True, "words": said}) if as_json else "\n".join(said))
