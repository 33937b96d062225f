"""Wireshark's dissector names the use case of what we build: it was written by others."""

from __future__ import annotations

import shutil
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import pytest

from lastmetre.gbcs import build
from lastmetre.gbcs.asn1 import UpdateMode
from lastmetre.gbcs.build.checks import Digits, Size, Whole, hints_of
from lastmetre.gbcs.catalogue import UseCaseKind, catalogue
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.message import Message, encode_message
from tests.han.support import METER, PPMID
from tests.han.test_wireshark import _Home, _malformed, _read, _write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

FIRST_UNKNOWN = 0x00FD
"""From this message code on, some use cases are newer than the dissector."""


def _simplest(hint: Any, rows: int = 1) -> Any:
    """A value that an annotation allows: the lowest number, the shortest text, ``rows`` rows."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, rule = get_args(hint)
        if isinstance(rule, Whole):
            return rule.low
        if isinstance(rule, Digits):
            return "0" * rule.count
        if isinstance(rule, Size) and base in {bytes, str}:
            return bytes(rule.low) if base is bytes else " " * rule.low
        return _simplest(base, max(rows, rule.low)) if isinstance(rule, Size) else b"\x30\x00"
    if origin in {Union, UnionType}:
        return None if NoneType in get_args(hint) else _simplest(get_args(hint)[0])
    if origin is tuple:
        return tuple(_simplest(get_args(hint)[0]) for _ in range(rows))
    if hint is bool:
        return True
    return next(iter(hint)) if issubclass(hint, Enum) else _record(hint)


def _record(record: Any) -> Any:
    """The simplest values; optional ones are left out, and given where a record wants them."""
    values = {name: _simplest(hint) for name, hint in hints_of(record).items()}
    for more in ({}, {"duration_minutes": 1}, {"register": 1}, {"special_days": (), "days_of_week": (1,)}):
        try:
            return record(**values | more)
        except (GbcsValueError, TypeError):
            continue
    raise AssertionError(record)


def _values(code: int) -> Any:
    """The simplest values that go with a message code."""
    record: Any = build.command_classes()[code]
    values = _record(record)
    choices: tuple[dict[str, Any], ...] = (
        {},
        {"reset_counters": False},
        {"phases": 3},
        {"phases": getattr(values, "phases", 1)},
        {"flow_rate_divisor": 10_000},
        *({"mode": mode} for mode in UpdateMode),
    )
    if isinstance(values, build.settings.SetVoltageLimits):
        three = values.phases * 3
        choices = ({}, {"phases": three}, {"reset_counters": False}, {"phases": three, "reset_counters": False})
    given = {name: getattr(values, name) for name in hints_of(record)}
    for more in choices:
        if more.keys() <= given.keys():
            made = record(**given | more)
            if code in made.message_codes:
                return made
    raise AssertionError(hex(code))


def _built() -> dict[int, bytes]:
    """One Command for each message code, with a signature and a MAC of zeros: names need no keys."""
    messages = {}
    for row in catalogue().values():
        if row.kind is UseCaseKind.COMMAND:
            code = row.message_code
            made = build.command(
                row.name, _values(code), originator=PPMID, target=METER, counter=code, issued_at=1_700_000_000
            )
            whole = Message(made.header, made.content, bytes(64) if made.signed else b"", bytes(12))
            messages[code] = encode_message(whole)
    return messages


def test_every_command_is_named(tmp_path: Path) -> None:
    """One Command per use case goes from PPMID over the hub to the meter: no frame malformed, each use case named."""
    messages = _built()
    home = _Home({octets: octets for octets in messages.values()})
    for octets in messages.values():
        home.pass_up(octets)
    capture = _write(tmp_path / "built.pcap", home.air.heard())
    assert _malformed(capture) == []
    told = _read(capture, "gbcs_message.grouping_header.message_code", "_ws.col.Info", display="gbcs_message")
    named = {int(code, 0): info for code, info in told}
    assert named.keys() == messages.keys()
    for code, info in named.items():
        if "Unknown Use Case" in info:
            assert code >= FIRST_UNKNOWN, info
        else:
            assert f"Command, {catalogue()[code].name}".lower() in info.lower()
