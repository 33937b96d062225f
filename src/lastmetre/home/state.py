"""What an electricity meter remembers: one frozen value, and its form in the store.

The counter of an accepted Command and the Command's effect are parts of the same value, so that they are saved in one
step: a power cut leaves both or neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import Data, DoubleLong, Enum, decode_data, encode_data
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.counters import CounterState
from lastmetre.gbcs.dlms import Obis
from lastmetre.home.attributes import LOAD_SWITCH_STATE, METER_BALANCE, NEW_METER, Attribute
from lastmetre.home.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Mapping

SECURITY_LOG_SIZE: Final = 100
"""Entries kept; the oldest goes first."""
STATE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One line of the security log: when, what was refused and why. It never leaves the meter."""

    at: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class MeterState:
    """An electricity meter's memory. ``balance`` is in thousandths of a penny."""

    balance: int
    supply: Supply
    counters: CounterState = field(default_factory=CounterState)
    attributes: Mapping[Attribute, Data] = field(default_factory=lambda: dict(NEW_METER))
    alert_counter: int = 0
    security_log: tuple[SecurityEvent, ...] = ()

    def read(self, attribute: Attribute) -> Data | None:
        """An attribute's value, or ``None`` where the meter has no such attribute."""
        if attribute == METER_BALANCE:
            return DoubleLong(self.balance)
        if attribute == LOAD_SWITCH_STATE:
            return Enum(self.supply.control_state)
        return self.attributes.get(attribute)

    def number(self, attribute: Attribute) -> int:
        """The value of an attribute that holds a number."""
        value = self.read(attribute)
        if not isinstance(value, DoubleLong):
            raise TypeError(f"{attribute} holds no double-long")
        return value.value

    def with_attribute(self, attribute: Attribute, value: Data) -> MeterState:
        """The state with one attribute changed."""
        return replace(self, attributes={**self.attributes, attribute: value})

    def with_security_event(self, event: SecurityEvent) -> MeterState:
        """The state with one more line in the security log."""
        return replace(self, security_log=(*self.security_log, event)[-SECURITY_LOG_SIZE:])

    def behaviour(self) -> tuple[object, ...]:
        """All that decides what the meter does next: everything but its own log and Alert counter."""
        attributes = tuple(sorted((key, encode_data(value)) for key, value in self.attributes.items()))
        return self.balance, self.supply, self.counters, attributes


def encode_state(state: MeterState) -> bytes:
    """The form in the store: JSON, versioned."""
    return json.dumps(
        {
            "version": STATE_VERSION,
            "balance": state.balance,
            "supply": state.supply.name,
            "counters": {role.name: counter for role, counter in state.counters.ordinary},
            "utrn_cache": state.counters.utrn_cache,
            "attributes": [
                [key.class_id, str(key.obis), key.number, encode_data(value).hex()]
                for key, value in sorted(state.attributes.items())
            ],
            "alert_counter": state.alert_counter,
            "security_log": [[event.at, event.reason, event.detail] for event in state.security_log],
        }
    ).encode()


def decode_state(data: bytes) -> MeterState:
    """Back from the store; raises ``ValueError`` for a form this version does not know."""
    raw = json.loads(data)
    if raw["version"] != STATE_VERSION:
        raise ValueError(f"meter state version {raw['version']} is not {STATE_VERSION}")
    counters = tuple(sorted((Role[name], counter) for name, counter in raw["counters"].items()))
    return MeterState(
        balance=raw["balance"],
        supply=Supply[raw["supply"]],
        counters=CounterState(counters, tuple(raw["utrn_cache"])),
        attributes={
            Attribute(class_id, Obis.parse(obis), number): decode_data(bytes.fromhex(value))[0]
            for class_id, obis, number, value in raw["attributes"]
        },
        alert_counter=raw["alert_counter"],
        security_log=tuple(SecurityEvent(*entry) for entry in raw["security_log"]),
    )
