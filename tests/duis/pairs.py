"""The published pairs: a request template and the GBCS message that a DSP made of it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lastmetre.duis.conformance import rebuild
from lastmetre.duis.documents import parse_request
from lastmetre.gbcs.message import Message, parse_message
from tests.duis.support import stem, templates
from tests.shared_data import RTDS

if TYPE_CHECKING:
    from lastmetre.duis.documents import Request
    from lastmetre.duis.transform import DeviceFacts, Sender, TransformResult

EXPECTED_FILE = Path(__file__).parents[2] / "docs" / "transform-expected.toml"
EXPECTED: dict[str, str] = tomllib.loads(EXPECTED_FILE.read_text(encoding="utf-8"))["expected"]
"""The pairs that contradict themselves, and why."""


@dataclass(frozen=True)
class Pair:
    """One template with its partner messages, and what the inventory would know.

    ``request`` has the certificates of the message where the template's are others.
    """

    stem: str
    request: Request
    command: Message
    pre_command: bytes | None
    device: DeviceFacts
    sender: Sender
    result: TransformResult
    taken: tuple[str, ...]


@cache
def pairs() -> tuple[Pair, ...]:
    """Every template that has a partner Command."""
    files = {file.name: file for file in RTDS.rglob("*.HEX")}
    found = []
    for path in templates():
        name = stem(path)
        command, pre_command = files.get(f"{name}_COMMAND_GBCS.HEX"), files.get(f"{name}_PRECOMMAND_GBCS.HEX")
        if command is not None:
            message = parse_message(bytes.fromhex(command.read_text()))
            octets = None if pre_command is None else bytes.fromhex(pre_command.read_text())
            facts, result = rebuild(parse_request(path.read_bytes()), message)
            found.append(Pair(name, facts.request, message, octets, facts.device, facts.sender, result, facts.taken))
    return tuple(found)


def golden_pairs() -> list[Pair]:
    """Those that do not contradict themselves."""
    return [pair for pair in pairs() if pair.stem not in EXPECTED]


def pre_command_pairs() -> list[Pair]:
    """Those of them that have a Pre-Command."""
    return [pair for pair in golden_pairs() if pair.pre_command is not None]
