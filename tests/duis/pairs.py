"""The published pairs: a request template and the GBCS message that a DSP made of it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lastmetre.duis.documents import Request, parse_request
from lastmetre.duis.errors import TransformError
from lastmetre.duis.transform import DeviceFacts, Sender, transform
from lastmetre.gbcs.message import Message, parse_message
from tests.duis.support import DSP, stem, templates
from tests.shared_data import RTDS

FACTS = tomllib.loads(Path(__file__).with_name("pairs.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Pair:
    """One template with its partner messages and what the inventory would know."""

    stem: str
    request: Request
    command: Message
    pre_command: bytes | None
    device: DeviceFacts
    sender: Sender

    @property
    def contradiction(self) -> str | None:
        """Why this pair is no golden pair, if it is not."""
        reason: str | None = FACTS["contradicting"].get(self.stem)
        return reason

    @property
    def supported(self) -> bool:
        """Whether our transform has a rule for it."""
        try:
            transform(self.request, self.device, self.sender)
        except TransformError:
            return False
        return True


def _pair(name: str, request: Request, command: Message, pre_command: bytes | None) -> Pair:
    use_case, request_id = name.split("_", maxsplit=1)[0], request.header.request_id
    known = command.header.business_originator_id == request_id.originator
    device = DeviceFacts(
        FACTS["device_types"][request_id.target.hex()[-2:]],
        gbcs_version="1.0" if use_case in FACTS["older"] else "4.3",
        twin="TWIN" in name,
        phases=3 if use_case in FACTS["polyphase"] else 1,
        known_remote_parties=frozenset({request_id.originator}) if known else frozenset(),
    )
    role = "ED" if request_id.originator.hex() in FACTS["network_operators"] else "IS"
    return Pair(name, request, command, pre_command, device, Sender(role, DSP, command.header.originator_counter))


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
            found.append(_pair(name, parse_request(path.read_bytes()), message, octets))
    return tuple(found)


def supported_pairs() -> list[Pair]:
    """The golden pairs that our transform has a rule for."""
    return [pair for pair in pairs() if pair.supported and pair.contradiction is None]


def pre_command_pairs() -> list[Pair]:
    """Those of them that have a Pre-Command."""
    return [pair for pair in supported_pairs() if pair.pre_command is not None]
