"""A whole Command around a record of values: the grouping header that goes with it, ready to be sealed or signed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.build.times import NOW, When
from lastmetre.gbcs.catalogue import Protection, Role, UseCase, UseCaseKind, catalogue
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.payload import Payload, encode_payload
from lastmetre.gbcs.protect import pre_command, unsigned_df

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.gbcs.build.frame import Command, ReadBack

CHAPTERS: Final = (
    "alerts_and_events",
    "auxiliary",
    "credentials",
    "debt",
    "gas",
    "gas_tariff",
    "hub",
    "joining",
    "logs",
    "prepayment",
    "reads",
    "settings",
    "supply",
    "tariff",
)


@cache
def command_classes() -> Mapping[int, type[Command]]:
    """The record for the values of each message code."""
    classes: dict[int, type[Command]] = {}
    for chapter in CHAPTERS:
        for record in import_module(f"{__package__}.{chapter}").COMMANDS:
            for code in record.CODES:
                assert code not in classes, f"message code {code:04X} has two records"
                classes[code] = record
    return MappingProxyType(classes)


def _use_cases(name: str) -> tuple[UseCase, ...]:
    rows = (row for row in catalogue().values() if row.kind is UseCaseKind.COMMAND)
    return tuple(row for row in rows if row.name.upper() == name.upper())


def command_class(use_case_name: str) -> type[Command]:
    """The record that holds the values of a use case, by a name such as ``ECS04a``."""
    found = {command_classes()[row.message_code] for row in _use_cases(use_case_name)}
    if len(found) != 1:
        raise GbcsValueError(f"{use_case_name} is the name of no Command")
    return found.pop()


def read_command(message_code: int, payload: Payload) -> ReadBack:
    """The values of a Command's payload, with its times of activation and of issue."""
    record = command_classes().get(message_code)
    if record is None:
        raise GbcsValueError(f"{message_code:04X} is the message code of no Command")
    return record.read_back(payload, message_code)


@dataclass(frozen=True, slots=True)
class BuiltCommand:
    """A Command before signature and MAC."""

    header: GroupingHeader
    payload: Payload
    signed: bool
    """Whether it carries a signature of its originator; otherwise a MAC is all it needs."""

    @property
    def content(self) -> bytes:
        """The payload's octets."""
        return encode_payload(self.payload)

    @property
    def message(self) -> bytes:
        """A Pre-Command for ``protect.sign_pre_command`` when it is to be signed; else a DF part to be sealed."""
        make = pre_command if self.signed else unsigned_df
        return make(self.header, self.content)


def command(
    use_case_name: str,
    values: Command,
    *,
    originator: bytes,
    target: bytes,
    counter: int,
    when: When = NOW,
    issued_at: int | None = None,
    supplementary: OtherInformation | None = None,
    originator_role: Role = Role.SUPPLIER,
) -> BuiltCommand:
    """The Command of a use case with these values.

    ``issued_at`` (Unix seconds) goes into GBZ payloads. ``supplementary`` is for a party that speaks for another: its
    message code is filled in here. ``originator_role`` matters for the use cases whose protection depends on it.
    """
    codes = {row.message_code: row for row in _use_cases(use_case_name)}
    fitting = [code for code in values.message_codes if code in codes]
    if len(fitting) != 1:
        raise GbcsValueError(f"{type(values).__name__} does not hold the values of {use_case_name}")
    (code,) = fitting
    other = OtherInformation(code) if supplementary is None else _with_code(supplementary, code)
    header = GroupingHeader(Cra.COMMAND, counter, originator, target, other)
    payload = values.payload(
        counter,
        message_code=code,
        when=when,
        issued_at=issued_at,
        requester_id=other.supplementary_remote_party_id or originator,
        target_id=target,
    )
    return BuiltCommand(header, payload, _is_signed(codes[code], originator_role))


def _with_code(other: OtherInformation, code: int) -> OtherInformation:
    if other.message_code not in {0, code}:
        raise GbcsValueError(f"supplementary has message code {other.message_code:04X}; leave it 0 or give {code:04X}")
    return OtherInformation(
        code,
        other.supplementary_remote_party_id,
        other.supplementary_remote_party_counter,
        other.supplementary_originator_counter,
        other.supplementary_certificate,
    )


def _is_signed(row: UseCase, role: Role) -> bool:
    if row.protection is Protection.BY_ORIGINATOR:
        return role is not Role.ACCESS_CONTROL_BROKER
    return row.critical
