"""``lastmetre encode``: the JSON form of a message, as ``decode --json`` prints it, to octets."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any, Final

from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs import encode, from_json
from lastmetre.gbcs.errors import GbcsValueError

DOCUMENT_SIZE_MAX: Final = 16 * 1024 * 1024
"""Octets of JSON read at most: more than the longest message takes, indented."""


def run_encode(argument: str, *, as_base64: bool, output: Path | None) -> None:
    """Print or write the message; raises ``ProblemError`` for what is no document of the form."""
    document = _parse(_read(argument), "standard input" if argument == "-" else argument)
    try:
        octets = encode(from_json(document))
    except GbcsValueError as error:
        raise ProblemError(f"this is no GBCS message in JSON: {error}") from error
    if output is None:
        print(base64.b64encode(octets).decode() if as_base64 else octets.hex())
        return
    try:
        output.write_bytes(octets)
    except OSError as error:
        raise ProblemError(f"cannot write {output}: {error.strerror}") from error


def _read(argument: str) -> bytes:
    try:
        if argument == "-":
            data = sys.stdin.buffer.read(DOCUMENT_SIZE_MAX + 1)
        else:
            with Path(argument).open("rb") as file:
                data = file.read(DOCUMENT_SIZE_MAX + 1)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise ProblemError(f"cannot read {argument}: {words}") from error
    if len(data) > DOCUMENT_SIZE_MAX:
        raise ProblemError(f"{argument} is longer than any GBCS message in JSON")
    return data


def _parse(data: bytes, where: str) -> Any:
    """The document; a name said twice is an error, as nobody could say which was meant."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_once)
    except RecursionError:
        raise ProblemError(f"{where} is nested deeper than any GBCS message in JSON") from None
    except ValueError as error:
        raise ProblemError(f"{where} is not JSON: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(
            f"the name {next(name for name in names if names.count(name) > 1)!r} stands twice in an object"
        )
    return found
