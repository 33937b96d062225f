"""``lastmetre audit``: a copy of the supplier's audit, and whether a copy is what was written.

``verify`` judges with ``audit_verify``, which shares no code with the writer.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lastmetre.cli.problems import EXIT_FAILED, ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lastmetre.cli.audit_verify import Head

PAGE: Final = 1_000

audit = typer.Typer(no_args_is_help=True, help="Check or copy the supplier's audit: a chain that shows every change.")

Url = Annotated[str | None, typer.Option("--url", help="The supplier's API, such as http://127.0.0.1:8080.")]
TokenFile = Annotated[Path | None, typer.Option("--token-file", help="Holds the API's token.", dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


@audit.command("verify")
def verify_command(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="A copy, one entry a line; - for input.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    head: Annotated[str | None, typer.Option(help="A head kept elsewhere, SEQ:HASH: shows a cut-off end.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a copy, or the audit of a running supplier; names the first entry that does not hold."""
    from lastmetre.cli.audit_verify import ChainBroken, read_head, verify

    if (file is None) == (url is None):
        raise ProblemError("give either a FILE or --url with --token-file")
    try:
        published = None if head is None else read_head(head)
    except ValueError as error:
        raise ProblemError(str(error)) from error
    try:
        with contextlib.ExitStack() as stack:
            found = verify(_lines(file, url, token_file, stack), published)
    except ChainBroken as broken:
        if as_json:
            print(json.dumps({"holds": False, "entry": broken.entry, "why": broken.why}))
            raise typer.Exit(EXIT_FAILED) from broken
        raise ProblemError(f"the audit does not hold: entry {broken.entry} {broken.why}", EXIT_FAILED) from broken
    if as_json:
        print(json.dumps({"holds": True, "entries": found.seq, "head": str(found)}))
    else:
        print(f"the audit holds: {found.seq} entries, head {found}")


@audit.command("export")
def export_command(
    url: Url = None,
    token_file: TokenFile = None,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead.", dir_okay=False)] = None,
) -> None:
    """Copy the audit of a running supplier, one entry a line; its head goes to standard error, to be kept elsewhere."""
    from lastmetre.cli.audit_verify import Head

    if url is None:
        raise ProblemError("give --url and --token-file")
    head: Head | None = None
    with contextlib.ExitStack() as stack:
        try:
            out = sys.stdout if output is None else stack.enter_context(output.open("w", encoding="utf-8"))
        except OSError as error:
            raise ProblemError(f"cannot write {output}: {error.strerror}") from error
        for entry in _entries(url, token_file):
            out.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n")
            head = Head(int(str(entry["seq"])), str(entry["hash"]))
    print(f"head {head}" if head else "the audit is empty", file=sys.stderr)


def _lines(
    file: str | None, url: str | None, token_file: Path | None, stack: contextlib.ExitStack
) -> Iterable[str | bytes]:
    if url is not None:
        return (json.dumps(entry) for entry in _entries(url, token_file))
    assert file is not None
    if file == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(file).open("rb"))
    except OSError as error:
        raise ProblemError(f"cannot read {file}: {error.strerror}") from error


def _entries(url: str, token_file: Path | None) -> Iterator[dict[str, object]]:
    from lastmetre.cli.api_client import ApiClient

    if token_file is None:
        raise ProblemError("give --token-file with --url")
    with ApiClient(url, token_file) as client:
        after = 0
        while entries := client.call("GET", "/audit", after=after, limit=PAGE)["entries"]:
            yield from entries
            after += len(entries)
