"""The catalogue of use cases: what each message code is, who may say it and how it is protected.

The rows are data (``catalogue.toml``, with its sources); this module reads them once, checks them against each other
and hands out frozen ``UseCase`` values. A broken row stops the program at start, naming itself.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from lastmetre.gbcs.errors import GbcsError

if TYPE_CHECKING:
    from collections.abc import Mapping


class CatalogueError(GbcsError):
    """A row of the catalogue contradicts itself or another; mend catalogue.toml before anything else."""


class Role(IntEnum):
    """Remote party role codes; they equal the OU of an organisation's certificate (section 2.1).

    The last two are seen as OU in the published test PKI only, in certificates that sign DUIS documents; no GBCS
    message names them.
    """

    ROOT = 0
    RECOVERY = 1
    SUPPLIER = 2
    NETWORK_OPERATOR = 3
    ACCESS_CONTROL_BROKER = 4
    TRANSITIONAL_COS = 5
    WAN_PROVIDER = 6
    ISSUING_AUTHORITY = 7
    LOAD_CONTROLLER = 8
    OTHER = 127
    XML_SIGN_USER = 0x87
    XML_SIGN_DSP = 0x89


class UseCaseKind(StrEnum):
    """Whether a code names a Command with its Response, an Alert, or only an event log entry."""

    COMMAND = "command"
    ALERT = "alert"
    EVENT = "event"


class Protection(StrEnum):
    """What a message of a use case carries (section 4.4)."""

    MAC = "mac"
    MAC_AND_SIGNATURE = "mac+signature"
    SIGNATURE = "signature"
    BY_ORIGINATOR = "by-originator"
    """MAC only when the access control broker speaks, signature only when another does; the Response likewise."""
    NONE = "none"


class Lane(StrEnum):
    """The counter lanes of one originator at one device: they are compared apart (section 12.2)."""

    ORDINARY = "ordinary"
    TOP_UP = "top-up"


@dataclass(frozen=True, slots=True)
class UseCase:
    """One row of the catalogue."""

    message_code: int
    name: str
    title: str
    payload: str
    kind: UseCaseKind
    protection: Protection
    response_protection: Protection
    devices: frozenset[str]
    originators: frozenset[Role]
    originating_device: str | None
    lane: Lane
    response_date_time: bool
    encrypted: bool
    replay_protected: bool

    @property
    def critical(self) -> bool:
        """Whether a supplier's Command of this kind needs its signature."""
        return self.protection in {Protection.MAC_AND_SIGNATURE, Protection.SIGNATURE}


_PAYLOADS: Final = frozenset({"DLMS", "GBZ", "ASN.1", "ZSE", "DLMS/GBZ"})
_DEVICES: Final = frozenset({"ESME", "GSME", "CHF", "GPF", "PPMID", "HCALCS", "SAPC"})
_FIELDS: Final = frozenset(
    {
        "code", "name", "title", "payload", "kind", "devices", "protection", "response_protection", "originators",
        "originating_device", "lane", "response_date_time", "encrypted", "replay_protected",
    }
)  # fmt: skip


def _row(raw: Mapping[str, Any]) -> UseCase:
    """Check one row by itself."""
    code = raw.get("code")
    if unknown := raw.keys() - _FIELDS:
        raise CatalogueError(f"code {code}: no field is called {', '.join(sorted(unknown))}")
    try:
        use_case = UseCase(
            message_code=int(raw["code"]),
            name=raw["name"],
            title=raw["title"],
            payload=raw["payload"],
            kind=UseCaseKind(raw["kind"]),
            protection=Protection(raw["protection"]),
            response_protection=Protection(raw.get("response_protection", "none")),
            devices=frozenset(raw["devices"]),
            originators=frozenset(Role(role) for role in raw.get("originators", ())),
            originating_device=raw.get("originating_device"),
            lane=Lane(raw.get("lane", "ordinary")),
            response_date_time=raw.get("response_date_time", False),
            encrypted=raw.get("encrypted", False),
            replay_protected=raw.get("replay_protected", raw["kind"] == UseCaseKind.COMMAND),
        )
    except (KeyError, ValueError) as error:
        raise CatalogueError(f"code {code}: {error}") from error
    if use_case.payload not in _PAYLOADS or not use_case.devices <= _DEVICES:
        raise CatalogueError(f"{use_case.name}: payload or device type unknown")
    is_command = use_case.kind is UseCaseKind.COMMAND
    if is_command and not (use_case.originators or use_case.originating_device):
        raise CatalogueError(f"{use_case.name}: nobody may originate this Command")
    if is_command is (use_case.response_protection is Protection.NONE):
        raise CatalogueError(f"{use_case.name}: Commands, and only they, have a Response")
    if use_case.replay_protected is not is_command:
        raise CatalogueError(f"{use_case.name}: every Command is replay-protected (an inference), and nothing else is")
    return use_case


@cache
def catalogue() -> Mapping[int, UseCase]:
    """Every use case by message code. Raises ``CatalogueError`` when the data file contradicts itself."""
    raw = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))
    rows: dict[int, UseCase] = {}
    for entry in raw["use_cases"]:
        use_case = _row(entry)
        if use_case.message_code in rows:
            raise CatalogueError(f"code {use_case.message_code:04X} stands twice")
        rows[use_case.message_code] = use_case
    return MappingProxyType(rows)


def use_case(message_code: int) -> UseCase | None:
    """The use case of a message code, or ``None`` where the standard has none that we know."""
    return catalogue().get(message_code)


@cache
def use_case_by_name(name: str) -> UseCase:
    """The use case called ``name``, such as ``ECS44``; raises ``CatalogueError`` when none or several are."""
    found = [row for row in catalogue().values() if row.name.upper() == name.upper()]
    if len(found) != 1:
        raise CatalogueError(f"{len(found)} use cases are called {name}")
    return found[0]
