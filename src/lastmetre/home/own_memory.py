"""What every device remembers about itself: whom it trusts, its keys, whom it was joined with, its firmware, counters.

A device's whole state is a frozen value that begins with these fields, so that the counter of a Command and what the
Command did are saved in one step. Their form in the store is the same for all devices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from lastmetre.gbcs.counters import CounterState


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A Command with an execution time of its own: firmware (CS06), credentials (CS02b)."""

    at: int
    message_code: int
    counter: int
    originator_id: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """A firmware image that was distributed: its hash and the version it brings."""

    image_hash: bytes
    version: bytes


@dataclass(frozen=True, slots=True)
class AnchorCell:
    """A trust anchor cell whose certificate was replaced since the device was made."""

    role: int
    use: str
    certificate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMemory:
    """The fields that any device's state begins with."""

    counters: CounterState = field(default_factory=CounterState)
    alert_counter: int = 0
    pending_commands: tuple[PendingCommand, ...] = ()
    cells: tuple[AnchorCell, ...] = ()
    authorities: tuple[bytes, ...] = ()
    """The root put in by a Command, DER: it takes the place of those the device was made with."""
    issued_keys: tuple[tuple[str, bytes, bytes], ...] = ()
    """Key pairs made by CS02c and waiting for CS02d: use, public key, private key (DER)."""
    device_certificates: tuple[tuple[str, bytes], ...] = ()
    device_keys: tuple[tuple[str, bytes], ...] = ()
    """Private keys that took the place of those it was made with (DER; empty where a bench holds them)."""
    joined: tuple[tuple[bytes, int], ...] = ()
    """Who it was joined with, and the other's device type."""
    partner_certificates: tuple[tuple[bytes, bytes], ...] = ()
    """Key agreement certificates that came with a join by method C, by device."""
    unjoined: tuple[bytes, ...] = ()
    """Devices it was made with as partners, and parted from by Command."""
    firmware_version: bytes = b"\x00\x00\x00\x01"
    images: tuple[Image, ...] = ()
    wrong_codes: int = 0
    """Wrong top-up codes typed in since the last right one (``code_guard``)."""
    codes_suspended_until: int = 0


OWN_FIELDS: Final = (
    "counters", "alert_counter", "pending_commands", "cells", "authorities", "issued_keys", "device_certificates",
    "device_keys", "joined", "partner_certificates", "unjoined", "firmware_version", "images",
    "wrong_codes", "codes_suspended_until",
)  # fmt: skip


def own_to_store(state: OwnMemory) -> dict[str, Any]:
    """The common fields as plain values."""
    return {name: msgspec.to_builtins(getattr(state, name)) for name in OWN_FIELDS}


def own_from_store(raw: dict[str, Any]) -> dict[str, Any]:
    """The common fields back, as keyword arguments of a state; those an older store did not have are left out."""
    own = msgspec.convert({name: value for name, value in raw.items() if name in OWN_FIELDS}, OwnMemory)
    return {name: getattr(own, name) for name in OWN_FIELDS if name in raw}
