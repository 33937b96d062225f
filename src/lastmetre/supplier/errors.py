"""What can go wrong at the supplier; each text is written for the engineer who will read it."""

from __future__ import annotations


class SupplierError(Exception):
    """The root of the supplier's errors."""


class OrderRefused(SupplierError):
    """The order cannot be accepted as it stands; the text says which part is wrong. Correct it and place it again."""


class KeyReused(SupplierError):
    """This idempotency key belongs to an order with another content; use a new key for a new order."""


class TooLate(SupplierError):
    """The order cannot be cancelled any more: its Command or its digits left, and may have run."""


class CannotSupersede(SupplierError):
    """No higher counter can settle this order; the text says why."""


class ApprovalRefused(SupplierError):
    """This person cannot approve this order, or it waits for no approval; the text says which."""


class LaneBusy(SupplierError):
    """Another Command of this counter lane is in flight to this device; the order waits for its end."""


class CountersBehind(SupplierError):
    """The store is behind the counters that were given out; the text says what to do. Nothing was started."""


class CountersExhausted(SupplierError):
    """The counter lane of this device has no higher value left; its credentials must be changed to reset it."""


class CountersUnavailable(SupplierError):
    """No counter can be had now, and none was given out; the text says why. Nothing was done: ask again later."""


class ClockBehind(SupplierError):
    """The store has seen later times than this machine's clock shows; the text says by how much and what to do."""


class AuditBroken(SupplierError):
    """The audit chain does not hold: something was changed, left out or put in. Keep the store as it is and ask why."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(f"audit entry {seq}: {why}")
        self.seq = seq
        self.why = why


class DspUnreachable(SupplierError):
    """The DCC gave no answer that can be used; whether it took the request is unknown. The same bytes go again."""


class DspWillNotRead(SupplierError):
    """The DCC will not read this document however often it is sent; nothing was done with it."""


class NoPermit(SupplierError):
    """The DSP makes no relay permit for this Command now; ``code`` is its word why. Nothing was handed on."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the DCC gives no relay permit: {code}")
        self.code = code


class PreparationFailed(SupplierError):
    """No Command can be had for this order; the text says who refused what. Nothing was handed on."""


class PolicyRefused(SupplierError):
    """A road policy's file is not taken: each fault with its line, what is wrong and what to write instead."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
