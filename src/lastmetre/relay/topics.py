"""MQTT topics: three per agent, so that an access list by certificate name can keep agents apart (T28, T29).

Levels hold nothing but fixed words and 16 lower-case hexadecimal digits: no wildcard can be smuggled into one.
"""

from __future__ import annotations

import re
from typing import Final

from lastmetre.relay.errors import RelayDecodeError, RelayValueError
from lastmetre.relay.limits import ENTITY_ID_OCTETS

COMMAND_PREFIX: Final = "lastmetre/1/command/"
RECEIPT_PREFIX: Final = "lastmetre/1/receipt/"
READY_PREFIX: Final = "lastmetre/1/ready/"
ALL_RECEIPTS: Final = f"{RECEIPT_PREFIX}+"
ALL_READY: Final = f"{READY_PREFIX}+"
"""What a head end subscribes to; an agent's certificate never may."""

_RECEIPT_TOPIC = re.compile(rf"{RECEIPT_PREFIX}([0-9a-f]{{16}})")
_READY_TOPIC = re.compile(rf"{READY_PREFIX}([0-9a-f]{{16}})")


def command_topic(agent_id: bytes) -> str:
    """Where the supplier puts envelopes for an agent."""
    return COMMAND_PREFIX + _level(agent_id)


def receipt_topic(agent_id: bytes) -> str:
    """Where an agent puts its receipts."""
    return RECEIPT_PREFIX + _level(agent_id)


def ready_topic(agent_id: bytes) -> str:
    """Where an agent says, with an empty message, that it is ready for one envelope."""
    return READY_PREFIX + _level(agent_id)


def agent_of_ready_topic(topic: str) -> bytes | None:
    """The agent that is ready, or ``None`` for any other topic."""
    match = _READY_TOPIC.fullmatch(topic)
    return None if match is None else bytes.fromhex(match[1])


def agent_of_receipt_topic(topic: str) -> bytes:
    """The agent that a receipt topic belongs to; raises ``RelayDecodeError`` for any other topic."""
    match = _RECEIPT_TOPIC.fullmatch(topic)
    if match is None:
        raise RelayDecodeError("topic", "not_a_receipt_topic")
    return bytes.fromhex(match[1])


def _level(agent_id: bytes) -> str:
    if len(agent_id) != ENTITY_ID_OCTETS:
        raise RelayValueError("agent_id", "not_an_entity_id")
    return agent_id.hex()
