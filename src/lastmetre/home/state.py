"""What an electricity meter remembers: one frozen value, and its form in the store.

The counter of an accepted Command and the Command's effect are parts of the same value, so that they are saved in one
step: a power cut leaves both or neither. Attributes are kept only where they differ from a new meter's.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lastmetre.gbcs.axdr import (
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    LongUnsigned,
    decode_data,
    encode_data,
)
from lastmetre.home.attributes import LOAD_SWITCH_STATE, METER_BALANCE, Attribute, parse_attribute
from lastmetre.home.objects import OBJECTS
from lastmetre.home.objects.logs import BY_NAME
from lastmetre.home.objects.tariff import BLOCK_TARIFFS, BLOCKS, SECONDARY_COUNT, TOU_COUNT
from lastmetre.home.own_memory import OwnMemory, own_from_store, own_to_store
from lastmetre.home.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.home.objects.logs import Cell, Line

SECURITY_LOG_SIZE: Final = 100
"""Entries kept; the oldest goes first."""
STATE_VERSION: Final = 4


MONEY_MAX: Final = (1 << 31) - 1


def _bounded(amount: int) -> int:
    return max(-MONEY_MAX, min(MONEY_MAX, amount))


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One line of the meter's own security log: when, what was refused and why, in words."""

    at: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Registers:
    """What the meter counts, in watt hours and volt-ampere-reactive hours.

    ``blocks`` has eight times of use for each of four blocks; ``block_counters`` count towards the thresholds.
    """

    active_import: int = 0
    reactive_import: int = 0
    active_export: int = 0
    reactive_export: int = 0
    secondary_import: int = 0
    tou: tuple[int, ...] = (0,) * TOU_COUNT
    blocks: tuple[int, ...] = (0,) * (BLOCKS * BLOCK_TARIFFS)
    block_counters: tuple[int, ...] = (0,) * BLOCK_TARIFFS
    secondary: tuple[int, ...] = (0,) * SECONDARY_COUNT
    half_hour_from: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    """The first five registers at the start of this half hour."""
    day_from: tuple[int, int] = (0, 0)
    """Active import and export at the start of this day."""
    power: int = 0
    """Watts now."""

    def totals(self) -> tuple[int, int, int, int, int]:
        """The first five registers."""
        return (
            self.active_import,
            self.reactive_import,
            self.active_export,
            self.reactive_export,
            self.secondary_import,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """The money besides the balance, in thousandths of a penny."""

    emergency_credit: int = 0
    """What is left of it."""
    emergency_active: bool = False
    accumulated_debt: int = 0
    payment_debt: int = 0
    time_debts: tuple[int, int] = (0, 0)
    remainder: int = 0
    """Charged but below a thousandth of a penny yet: thousandths of that."""
    recovered: tuple[tuple[int, int], ...] = ()
    """When how much was taken from payments for debt: what the cap counts."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The meter's clock against the hub's, and how far it is to be trusted (ECS70)."""

    offset_s: int = 0
    status: int = 0
    window: tuple[bytes, bytes] | None = None
    """The times between which the next adjustment counts."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A value that becomes active at a time, and which Command said so."""

    at: int
    attribute: Attribute
    message_code: int
    counter: int
    originator_id: bytes


@dataclass(frozen=True, slots=True)
class Controller:
    """An auxiliary controller: its levels in per cent, and until when a Command holds them (0: no limit)."""

    output_level: int = 0
    input_level: int = 0
    until_at: int = 0
    limit: int = 0
    """The octet that names controller and side in ECS101 and ECS102, while a load controller's limit holds; else 0."""


@dataclass(frozen=True, slots=True)
class LoadLimit:
    """Since when the power is above the limit, and until when the supply is off for it; 0 is not."""

    above_since: int = 0
    off_until: int = 0


@dataclass(frozen=True, slots=True)
class MeterState(OwnMemory):
    """An electricity meter's memory. ``balance`` is in thousandths of a penny."""

    balance: int
    supply: Supply
    attributes: Mapping[Attribute, Data] = field(default_factory=dict)
    security_log: tuple[SecurityEvent, ...] = ()
    account: Account = field(default_factory=Account)
    registers: Registers = field(default_factory=Registers)
    clock: Clock = field(default_factory=Clock)
    logs: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    pending: tuple[Pending, ...] = ()
    controllers: tuple[Controller, ...] = (Controller(),) * 5
    load_limit: LoadLimit = field(default_factory=LoadLimit)
    twin: bool = False
    """Whether the meter has a second element."""
    updated_at: int = 0
    """Until when time has been lived through; 0 before the first time."""
    dark_since: int = 0
    """Since when the mains are gone; 0 while they are there."""
    voltage_events: tuple[int, ...] = ()
    """Alert codes of the voltage excursions that last."""

    def read(self, attribute: Attribute) -> Data | None:
        """A stored attribute's value, or ``None`` where the meter stores no such attribute."""
        if attribute == METER_BALANCE:
            return DoubleLong(self.balance)
        if attribute == LOAD_SWITCH_STATE:
            return Enum(self.supply.control_state)
        held = self.attributes.get(attribute)
        if held is not None:
            return held
        row = OBJECTS.get(attribute)
        return row.new if row is not None else None

    def number(self, attribute: Attribute) -> int:
        """The value of an attribute that holds a number."""
        value = self.read(attribute)
        if not isinstance(value, DoubleLong | DoubleLongUnsigned | LongUnsigned):
            raise TypeError(f"{attribute} holds no number")
        return value.value

    def with_attribute(self, attribute: Attribute, value: Data) -> MeterState:
        """The state with one attribute changed."""
        attributes = dict(self.attributes)
        if OBJECTS[attribute].new == value:
            attributes.pop(attribute, None)
        else:
            attributes[attribute] = value
        return replace(self, attributes=attributes)

    def with_number(self, attribute: Attribute, number: int) -> MeterState:
        """The state with one unsigned number changed."""
        return self.with_attribute(attribute, DoubleLongUnsigned(min(number, 0xFFFF_FFFF)))

    def lines(self, log: str) -> tuple[Line, ...]:
        """The lines of a log, the oldest first."""
        return self.logs.get(log, ())

    def with_line(self, log: str, line: Line) -> MeterState:
        """The state with one more line in a log; the oldest leaves a full one."""
        lines = (*self.lines(log), line)[-BY_NAME[log].size :]
        return replace(self, logs={**self.logs, log: lines})

    def without_lines(self, log: str) -> MeterState:
        """The state with a log cleared."""
        return replace(self, logs={name: lines for name, lines in self.logs.items() if name != log})

    def with_security_event(self, event: SecurityEvent) -> MeterState:
        """The state with one more line in the security log."""
        return replace(self, security_log=(*self.security_log, event)[-SECURITY_LOG_SIZE:])

    def bounded(self) -> MeterState:
        """The money within what its attributes can say: an amount beyond stays at the limit (DESIGN CHOICE)."""
        account = self.account
        first, second = account.time_debts
        return replace(
            self,
            balance=_bounded(self.balance),
            account=replace(
                account,
                emergency_credit=_bounded(account.emergency_credit),
                accumulated_debt=_bounded(account.accumulated_debt),
                payment_debt=_bounded(account.payment_debt),
                time_debts=(_bounded(first), _bounded(second)),
            ),
        )

    def behaviour(self) -> tuple[object, ...]:
        """All that decides what the meter does next: everything but its logs and Alert counter."""
        attributes = tuple(sorted((key, encode_data(value)) for key, value in self.attributes.items()))
        rest = (self.account, self.registers, self.clock, self.pending, self.pending_commands, self.cells)
        return self.balance, self.supply, self.counters, attributes, rest


_PLAIN: Final = (
    "balance", "security_log", "account", "registers", "clock", "pending", "controllers", "load_limit", "twin",
    "updated_at", "dark_since", "voltage_events",
)  # fmt: skip
"""Fields that go to the store as they are."""


@dataclass(frozen=True, slots=True)
class _Plain:
    """The types of those fields, for reading them back."""

    balance: int
    security_log: tuple[SecurityEvent, ...]
    account: Account
    registers: Registers
    clock: Clock
    pending: tuple[Pending, ...]
    controllers: tuple[Controller, ...]
    load_limit: LoadLimit
    twin: bool
    updated_at: int
    dark_since: int
    voltage_events: tuple[int, ...]


def encode_state(state: MeterState) -> bytes:
    """The form in the store: JSON, versioned."""
    return msgspec.json.encode(
        {
            "version": STATE_VERSION,
            "supply": state.supply.name,
            "own": own_to_store(state),
            "plain": _Plain(**{name: getattr(state, name) for name in _PLAIN}),
            "attributes": {str(key): encode_data(value).hex() for key, value in sorted(state.attributes.items())},
            "logs": {name: msgspec.Raw(_stored_log(lines)) for name, lines in state.logs.items()},
        }
    )


_STORED_LOGS_MAX: Final = 64
_stored_logs: OrderedDict[int, tuple[tuple[Line, ...], bytes]] = OrderedDict()
"""What logs look like in the store, by the identity of their lines: a Command leaves most logs as they are, and a full
half-hourly profile takes longer to write than everything else. The lines are kept beside, so that an ``id`` stays
theirs; forgetting an entry costs time and nothing else."""


def _stored_log(lines: tuple[Line, ...]) -> bytes:
    known = _stored_logs.pop(id(lines), None)
    stored = (
        known[1] if known is not None else msgspec.json.encode([[_stored(cell) for cell in line] for line in lines])
    )
    _stored_logs[id(lines)] = lines, stored
    while len(_stored_logs) > _STORED_LOGS_MAX:
        _stored_logs.popitem(last=False)
    return stored


def decode_state(data: bytes) -> MeterState:
    """Back from the store; raises ``ValueError`` for a form this version does not know."""
    raw = json.loads(data)
    if raw["version"] != STATE_VERSION:
        raise ValueError(f"meter state version {raw['version']} is not {STATE_VERSION}")
    plain = msgspec.convert(raw["plain"], _Plain)
    return MeterState(
        supply=Supply[raw["supply"]],
        attributes={
            parse_attribute(key): decode_data(bytes.fromhex(value))[0] for key, value in raw["attributes"].items()
        },
        logs={
            name: tuple(tuple(_restored(cell) for cell in line) for line in lines)
            for name, lines in raw["logs"].items()
        },
        **own_from_store(raw["own"]),
        **{name: getattr(plain, name) for name in _PLAIN},
    )


def _stored(cell: Cell) -> int | str | tuple[int, ...]:
    return cell.hex() if isinstance(cell, bytes) else cell


def _restored(cell: Any) -> Cell:
    if isinstance(cell, str):
        return bytes.fromhex(cell)
    return tuple(cell) if isinstance(cell, list) else cell
