"""Numbers the HAN's machines keep to, each with its source in ``reference/han.md``; a vendor's figure is not a rule.

Times are seconds of the monotonic ``now`` that callers pass in.
"""

from __future__ import annotations

from typing import Final

# --- APS: blocks, acknowledgements, duplicates ------------------------------------------------------------------------

FRAGMENT_OCTETS: Final = 70
"""ASDU octets per block; a longer ASDU is cut. DESIGN CHOICE of 1.2: the block count of a typical secured network."""
SECURED_FRAGMENT_OCTETS: Final = 63
"""The same where frames are secured by network and link key: what the air has room for (1.2, derived)."""
WINDOW_BLOCKS: Final = 1
"""Blocks sent before an acknowledgement is awaited. A silicon vendor's default (1.2); the standard allows eight. Both
ends must be set alike; this package implements one."""
APS_RETRIES: Final = 3
"""Times a block is sent again. DESIGN CHOICE of section 5, the usual value of stacks."""
APS_ACK_TIMEOUT_S: Final = 1.6
"""How long an APS acknowledgement is awaited. DESIGN CHOICE of section 5, the usual value of stacks."""
DUPLICATE_S: Final = 10.0
"""How long a received APS counter is remembered. DESIGN CHOICE: twice the span of one block's attempts."""
DUPLICATES_MAX: Final = 64
"""Counters remembered per sender. DESIGN CHOICE: far below 256, where the eight bits come round again."""
REASSEMBLY_S: Final = 8.0
"""How long the next block is awaited. DESIGN CHOICE: a sender's last attempt comes after 4.8 s."""
REASSEMBLY_OCTETS_MAX: Final = 4096
"""Longest ASDU put together. DESIGN CHOICE: above the tunnel's limit, so that the tunnel can answer DataOverflow."""
REASSEMBLY_BLOCKS_MAX: Final = 128
"""Most blocks of one message. DESIGN CHOICE: room for senders with blocks of half our size."""
QUEUE_MAX: Final = 32
"""APS messages waiting for one destination. DESIGN CHOICE."""

NWK_RADIUS: Final = 30
"""Hops a fresh frame may make (``1e``, section 1.1)."""

# --- tunnels ----------------------------------------------------------------------------------------------------------

TRANSFER_OCTETS_MAX: Final = 1500
"""MaximumIncomingTransferSize. GBCS 10.2.2 as quoted by a silicon vendor (0, point 1)."""
TUNNELS_MAX: Final = 8
"""Tunnels a server holds; likewise those a client holds. A silicon vendor's default (1.4, 3.4)."""
TUNNEL_LIFETIME_S: Final = 65_535.0
"""CloseTunnelTimeout 0xFFFF, and the age at which the client asks again. GBCS 10.2.2 as quoted (1.4, 2.1)."""
REQUEST_TUNNEL_WAIT_S: Final = 5.0
"""How long a RequestTunnelResponse, or the answers to CloseTunnel, are awaited. A silicon vendor's value (1.4, 2.1)."""
BUSY_WAIT_S: Final = 180.0
"""After status Busy. GBCS as quoted (2.1). DESIGN CHOICE: also after a refusal, and after ``SWEEPS_MAX`` silences."""
SWEEP_S: Final = 10.0
"""How often a client looks for a device without a tunnel. A silicon vendor's value (2.1)."""
SWEEPS_MAX: Final = 5
"""Unanswered requests before a client slows down to ``BUSY_WAIT_S``. DESIGN CHOICE, after the vendor's five tries."""
HOLD_S: Final = 180.0
"""How long a message waits for a tunnel. DESIGN CHOICE of 2.2 rule 3."""
HOLD_MESSAGES_MAX: Final = 10
"""Messages that wait for one device. DESIGN CHOICE of 2.2 rule 3."""
TRANSFER_ANSWER_S: Final = 10.0
"""How long a Default Response is awaited once a message is delivered. DESIGN CHOICE."""
RESENDS_MAX: Final = 2
"""Times a message is sent again after NoSuchTunnel, which proves it was not taken. DESIGN CHOICE."""
ANNOUNCE_S: Final = 20.0
"""How often a device without a tunnel announces itself, so that a hub which missed it finds it. DESIGN CHOICE: longer
than ``DUPLICATE_S``, or a restarted device that begins at its old counter could be taken for a repeat twice."""

# --- gas meters -------------------------------------------------------------------------------------------------------

WAKE_INTERVAL_S: Final = 1_800.0
"""How long a gas meter sleeps. A silicon vendor's default, and what public pages say of gas displays (2.3, 5)."""
AWAKE_LINGER_S: Final = 1.0
"""How long its radio stays on after the last thing that happened. DESIGN CHOICE."""
AWAKE_MAX_S: Final = 60.0
"""When it sleeps whatever is unfinished: its battery has to last. DESIGN CHOICE."""
STAY_AWAKE_S: Final = 120.0
STAY_AWAKE_POLL_S: Final = 2.0
"""With a stay-awake flag: ask every two seconds for two minutes. DESIGN CHOICE of 2.3."""

# --- joining ----------------------------------------------------------------------------------------------------------

JOIN_WAIT_S: Final = 1.0
JOIN_ATTEMPTS: Final = 3
"""How long a radio that asks to join waits, and how often it asks. DESIGN CHOICES."""
