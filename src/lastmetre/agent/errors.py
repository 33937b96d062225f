"""What can go wrong in an agent. Every error says what happened and what to do next."""

from __future__ import annotations


class AgentError(Exception):
    """The root of the agent's errors."""


class BearerDownError(AgentError):
    """The bearer cannot reach the supplier now; the agent waits and tries again by itself."""


class ReceiptRefusedError(AgentError):
    """The supplier's side read this receipt and will never take it; it is dropped and told. ``reason`` is a token."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the supplier refused a receipt: {reason}")
        self.reason = reason


class TunnelDownError(AgentError):
    """The hub did not take a message now; the agent offers it again. ``reason`` is a token."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the tunnel did not take the message: {reason}")
        self.reason = reason


class StoreError(AgentError):
    """The store cannot keep what it is given; nothing is acknowledged. Repair or replace it, then start again."""
