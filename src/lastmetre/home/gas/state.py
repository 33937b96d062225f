"""What a gas meter remembers: one frozen value, and its form in the store.

The counter of an accepted Command and the Command's effect are parts of the same value, so that they are saved in one
step: a power cut leaves both or neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lastmetre.gbcs.gbz import Gbz, decode_gbz, encode_gbz
from lastmetre.gbcs.zcl import ZclCommand, decode_zcl, encode_zcl
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.own_memory import OwnMemory, own_from_store, own_to_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.home.gas.attributes import Key, Value

LOG_MAX: Final = 100
"""Entries of each log; the oldest goes first. DESIGN CHOICE; it keeps a whole log within one Response."""
STATE_VERSION: Final = 2
EVENT_LOG, SECURITY_LOG = 3, 4
"""The logs' numbers in GetEventLog (gbcs-messages 8.3, CS10a and CS10b)."""


class Valve(Enum):
    """The valve's states; the value is the SupplyStatus attribute: off, off and armed, on."""

    OFF_BY_CREDIT = (0, "off: credit used up")
    OFF_BY_COMMAND = (0, "off: closed by the supplier")
    ARMED = (1, "armed: the customer may open it")
    ON = (2, "on")

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        self.words = words


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One entry of a log."""

    log: int
    event_id: int
    at: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Pending:
    """A Command accepted and to be executed at a time of its own."""

    at: int
    message_code: int
    originator_counter: int
    payload: Gbz


@dataclass(frozen=True, slots=True)
class NetworkLog:
    """The gas network data log (GCS31): from when, how often, how many samples, and litres by sample."""

    start: int
    interval_s: int
    samples_max: int
    counts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class GasState(OwnMemory):
    """A gas meter's memory. Money is in thousandths of a penny, volume in thousandths of a cubic metre."""

    valve: Valve = Valve.ON
    partner_counters: Mapping[bytes, int] = field(default_factory=dict)
    attributes: Mapping[Key, Value] = field(default_factory=dict)
    """What is not in it holds its value when new."""
    published: Mapping[str, tuple[ZclCommand, ...]] = field(default_factory=dict)
    """What was set as a whole: calendars, price matrix, billing period, message, supplier's details, ..."""
    behaviours: Mapping[int, int] = field(default_factory=dict)
    """Event behaviours by event id (GCS20)."""
    pending: tuple[Pending, ...] = ()
    emergency_active: bool = False
    clock_offset_s: int = 0
    clock_status: int = 0
    snapshots: tuple[tuple[ZclCommand, ZclCommand], ...] = ()
    """Metering and prepayment as they stood at the end of a day, a billing period, a mode or a tariff."""
    profile: tuple[tuple[int, int], ...] = ()
    """Litres by half-hour, counted from 1970; half-hours without gas are left out."""
    daily: tuple[tuple[int, int], ...] = ()
    """Litres by day, counted from 1970; days without gas are left out."""
    network: NetworkLog | None = None
    top_ups: tuple[tuple[bytes, int, int], ...] = ()
    """Codes that were credited: digits, amount, when."""
    debt_payments: tuple[tuple[int, int, int, int], ...] = ()
    """What payments paid of a debt: when, how much, which debt, what remained."""
    charged_until: int = 0
    """The day up to which standing charge and debts were taken; zero before any."""
    log: tuple[LogEvent, ...] = ()

    # --- reading ---

    def read(self, key: Key) -> Value | None:
        """An attribute's value, or ``None`` where the meter has no such attribute."""
        row = zcl.ATTRIBUTES.get(key)
        if row is None:
            return None
        if key == zcl.SUPPLY_STATUS:
            return self.valve.status
        if key == zcl.FIRMWARE:
            return self.firmware_version
        if key == zcl.TOTAL_DEBT:
            return zcl.clamped(key, sum(self.number(debt) for debt in zcl.DEBT_AMOUNT))
        if key == zcl.EMERGENCY_REMAINING:
            return zcl.clamped(key, self.emergency_remaining)
        return self.attributes.get(key, row.new)

    def number(self, key: Key) -> int:
        """The value of an attribute that holds a number."""
        value = self.read(key)
        if not isinstance(value, int):
            raise TypeError(f"attribute {key} holds no number")
        return value

    @property
    def is_prepayment(self) -> bool:
        """Whether the meter is in prepayment mode."""
        return bool(self.number(zcl.CONFIGURATION) & zcl.PREPAYMENT_BITS)

    @property
    def floor(self) -> int:
        """The balance at which supply is cut: the cut-off, lower by the emergency credit while it is taken."""
        return self.number(zcl.CUT_OFF) - (self.number(zcl.EMERGENCY_LIMIT) if self.emergency_active else 0)

    @property
    def emergency_remaining(self) -> int:
        """What is left of the emergency credit."""
        limit = self.number(zcl.EMERGENCY_LIMIT)
        used = max(0, self.number(zcl.CUT_OFF) - self.number(zcl.CREDIT)) if self.emergency_active else 0
        return min(max(0, limit - used), 0xFFFFFFFF)

    # --- changing ---

    def with_values(self, values: Mapping[Key, Value]) -> GasState:
        """The state with some attributes changed."""
        return replace(self, attributes={**self.attributes, **values})

    def plus(self, key: Key, amount: int) -> GasState:
        """The state with a number moved by an amount, as far as its type has room (DESIGN CHOICE)."""
        return self.with_values({key: zcl.clamped(key, self.number(key) + amount)})

    def publish(self, name: str, *commands: ZclCommand) -> GasState:
        """The state with something set as a whole."""
        return replace(self, published={**self.published, name: commands})

    def noting(self, log: int, event_id: int, at: int, data: bytes = b"") -> GasState:
        """The state with one more entry in a log."""
        kept = [entry for entry in self.log if entry.log == log][-(LOG_MAX - 1) :]
        others = [entry for entry in self.log if entry.log != log]
        return replace(self, log=(*others, *kept, LogEvent(log, event_id, at, data)))

    def behaviour(self) -> tuple[object, ...]:
        """All that decides what the meter does next: everything but its logs and Alert counter."""
        return encode_state(replace(self, log=(), alert_counter=0)), self.valve


# --- the form in the store -------------------------------------------------------------------------------------------


def _write_value(value: Value) -> int | str:
    return value.hex() if isinstance(value, bytes) else value


def _read_value(raw: int | str) -> Value:
    return bytes.fromhex(raw) if isinstance(raw, str) else raw


def _write_command(command: ZclCommand) -> list[object]:
    return [command.cluster, command.from_server, command.command_id, encode_zcl(command).hex()]


def _read_command(raw: list[Any]) -> ZclCommand:
    cluster, from_server, command_id, payload = raw
    body = decode_zcl(cluster, 0x09 if from_server else 0x01, command_id, bytes.fromhex(payload))
    assert isinstance(body, ZclCommand)
    return body


def encode_state(state: GasState) -> bytes:
    """JSON, versioned."""
    raw = {
        "version": STATE_VERSION,
        "own": own_to_store(state),
        "valve": state.valve.name,
        "partner_counters": {partner.hex(): counter for partner, counter in sorted(state.partner_counters.items())},
        "attributes": [[*key, _write_value(value)] for key, value in sorted(state.attributes.items())],
        "published": {name: [_write_command(c) for c in cs] for name, cs in sorted(state.published.items())},
        "behaviours": sorted(state.behaviours.items()),
        "pending": [[p.at, p.message_code, p.originator_counter, encode_gbz(p.payload).hex()] for p in state.pending],
        "emergency_active": state.emergency_active,
        "clock": [state.clock_offset_s, state.clock_status],
        "snapshots": [[_write_command(metering), _write_command(money)] for metering, money in state.snapshots],
        "profile": state.profile,
        "daily": state.daily,
        "network": msgspec.to_builtins(state.network),
        "top_ups": [[code.hex(), amount, at] for code, amount, at in state.top_ups],
        "debt_payments": state.debt_payments,
        "charged_until": state.charged_until,
        "log": [[entry.log, entry.event_id, entry.at, entry.data.hex()] for entry in state.log],
    }
    return json.dumps(raw).encode()


def decode_state(data: bytes) -> GasState:
    """Back from the store; raises ``ValueError`` for a form this version does not know."""
    raw = json.loads(data)
    if raw["version"] != STATE_VERSION:
        raise ValueError(f"gas meter state version {raw['version']} is not {STATE_VERSION}")
    return GasState(
        valve=Valve[raw["valve"]],
        partner_counters={bytes.fromhex(partner): counter for partner, counter in raw["partner_counters"].items()},
        attributes={(cluster, number): _read_value(value) for cluster, number, value in raw["attributes"]},
        published={name: tuple(_read_command(c) for c in commands) for name, commands in raw["published"].items()},
        behaviours=dict(raw["behaviours"]),
        pending=tuple(
            Pending(at, code, counter, decode_gbz(bytes.fromhex(p))) for at, code, counter, p in raw["pending"]
        ),
        emergency_active=raw["emergency_active"],
        clock_offset_s=raw["clock"][0],
        clock_status=raw["clock"][1],
        snapshots=tuple((_read_command(metering), _read_command(money)) for metering, money in raw["snapshots"]),
        profile=tuple((slot, litres) for slot, litres in raw["profile"]),
        daily=tuple((day, litres) for day, litres in raw["daily"]),
        network=msgspec.convert(raw["network"], NetworkLog | None),
        top_ups=tuple((bytes.fromhex(code), amount, at) for code, amount, at in raw["top_ups"]),
        debt_payments=tuple((at, paid, kind, left) for at, paid, kind, left in raw["debt_payments"]),
        charged_until=raw["charged_until"],
        log=tuple(LogEvent(log, event, at, bytes.fromhex(payload)) for log, event, at, payload in raw["log"]),
        **own_from_store(raw["own"]),
    )
