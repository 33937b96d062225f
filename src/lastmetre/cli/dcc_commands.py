"""``lastmetre dcc``: the DSP's operator. Requests in quarantine are shown, and released or rejected by a named person.

It works beside the running DSP, on its database: a decision is written down there, and the DSP carries it out at its
next look (some seconds). Without a running DSP it is carried out when that starts. Nothing is ever lost by waiting.
"""

from __future__ import annotations

import contextlib
import json as json_module
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lastmetre.cli.problems import EXIT_FAILED, ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.dcc.ports import Decision, DspStore, HeldRequest

dcc = typer.Typer(no_args_is_help=True, help="The DSP's operator: what waits for a person's decision.")
quarantine = typer.Typer(no_args_is_help=True, help="Requests that passed an anomaly threshold.")
dcc.add_typer(quarantine, name="quarantine")

Config = Annotated[Path, typer.Option("--config", help="Settings file of the DSP (TOML).", exists=True, dir_okay=False)]
Number = Annotated[int, typer.Argument(help="The number that the list shows.")]
Person = Annotated[str, typer.Option("--person", help="Who decides: kept in the audit.")]
Reason = Annotated[str, typer.Option("--reason", help="Why: kept in the audit.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


@quarantine.command("list")
def list_(config: Config, json: Json = False) -> None:
    """Show what waits, oldest first."""
    from lastmetre.dcc.ports import HeldKind

    with _store(config) as store, store.change() as change:
        waiting = change.held_requests(HeldKind.QUARANTINE)
        decided = {decision.number for decision in change.undone_decisions()}
    rows = [_shown(held) | {"decided": held.number in decided} for held in waiting]
    if json:
        print(json_module.dumps(rows, indent=2))
        return
    for row in rows:
        note = "  (decided, not carried out yet)" if row["decided"] else ""
        parties = f"User {row['user']}  device {row['device']}"
        print(f"{row['number']:>6}  {row['accepted']}  {row['service']:<8} {parties}{note}")
        print(f"        {row['request_id']}: {row['reason']}")
    if not rows:
        print("Nothing is in quarantine.")


@quarantine.command()
def release(number: Number, config: Config, person: Person, reason: Reason) -> None:
    """Have a request carried out after all."""
    _decide(config, number, release=True, person=person, reason=reason)


@quarantine.command()
def reject(number: Number, config: Config, person: Person, reason: Reason) -> None:
    """Have a request refused; its User is told."""
    _decide(config, number, release=False, person=person, reason=reason)


@quarantine.command()
def decisions(config: Config, json: Json = False) -> None:
    """Show the audit: every decision, by whom and why."""
    with _store(config) as store, store.change() as change:
        rows = [_decided(decision) for decision in change.decisions()]
    if json:
        print(json_module.dumps(rows, indent=2))
        return
    for row in rows:
        verb, done = ("released" if row["release"] else "rejected"), row["done"] or "not carried out yet"
        print(f"{row['number']:>6}  {row['at']}  {verb} by {row['person']}: {row['reason']} ({done})")
    if not rows:
        print("Nobody has decided anything.")


def _decide(config: Path, number: int, *, release: bool, person: str, reason: str) -> None:
    from lastmetre.dcc.ports import Decision, HeldKind

    if not person.strip() or not reason.strip():
        raise ProblemError("--person and --reason are kept in the audit: they cannot be empty")
    decision = Decision(number, release, person.strip(), reason.strip(), int(time.time()))
    with _store(config) as store, store.change() as change:
        held = change.held(number)
        if held is None or held.kind is not HeldKind.QUARANTINE:
            raise ProblemError(f"nothing under the number {number} is in quarantine; list shows what is", EXIT_FAILED)
        if not change.decide(decision):
            raise ProblemError(f"somebody decided about {number} already; decisions shows who", EXIT_FAILED)
    print(f"{held.request_id} is {'released' if release else 'rejected'}: the DSP carries it out when it next looks.")


@contextlib.contextmanager
def _store(config: Path) -> Iterator[DspStore]:
    from lastmetre.cli.dcc_database import open_operator_store
    from lastmetre.cli.dcc_settings import DccSettings
    from lastmetre.cli.processes import read_settings
    from lastmetre.links.errors import LinkError

    try:
        with open_operator_store(read_settings(config, DccSettings)) as store:
            yield store
    except LinkError as error:
        raise ProblemError(str(error), EXIT_FAILED) from error


def _shown(held: HeldRequest) -> dict[str, Any]:
    return {
        "number": held.number,
        "accepted": _time(held.at),
        "service": held.service_reference_variant,
        "user": held.user_id.hex("-").upper(),
        "device": held.target_id.hex("-").upper(),
        "request_id": held.request_id,
        "reason": held.reason,
    }


def _decided(decision: Decision) -> dict[str, Any]:
    return {
        "number": decision.number,
        "release": decision.release,
        "person": decision.person,
        "reason": decision.reason,
        "at": _time(decision.at),
        "request_id": decision.request_id,
        "done": None if decision.done_at is None else _time(decision.done_at),
    }


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(dcc, name="dcc")
