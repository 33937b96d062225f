"""Every bound of the relay protocol, each with its reason. All are DESIGN CHOICES."""

from __future__ import annotations

from typing import Final

ENTITY_ID_OCTETS: Final = 8
"""A GBCS Entity Identifier is an EUI-64."""

DIGEST_OCTETS: Final = 32
"""SHA-256."""

ORDER_ID_CHARACTERS_MAX: Final = 64
"""Room for a UUID or a supplier's own reference; short enough for an index and a line on a screen."""

COMMAND_OCTETS_MAX: Final = 8_192
"""Twice the largest published Command (3,986 octets), and what a hub reassembles at most under permits."""

MESSAGE_OCTETS_MAX: Final = 8_192
"""The same bound for what comes back; the largest published Response has 1,402 octets."""

TIME_MAX: Final = 253_402_300_799
"""The last second of the year 9999: later times are mistakes."""

PERMIT_OCTETS: Final = 128
"""A relay permit (``permit``)."""

CONTENT_OCTETS_MAX: Final = 8_704
"""A Command or Response of 8,192 octets; the other fields need under 400."""

ENVELOPE_OCTETS_MAX: Final = 9_216
"""A content under its signature and encryption, which add under 300 octets."""

RECEIPT_OCTETS_MAX: Final = 9_216
"""Likewise for a receipt."""

POLL_WAIT_S: Final = 25
"""How long the supplier holds an agent's poll open: under the 30 seconds at which many networks cut idle answers."""
