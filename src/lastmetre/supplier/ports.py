"""What the supplier needs from outside: a store, the DCC, keys, a clock; and what it offers to its doors.

`links` implements these. Everything the supplier decides lies on this side of them, so every rule runs in a test
without a socket, a file or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lastmetre.supplier.audit import ChainedEntry, Entry, chain
from lastmetre.supplier.counter_marks import CountedStore, Counters, Mark, Marks
from lastmetre.supplier.counters import LANE_MAX
from lastmetre.supplier.errors import (
    ApprovalRefused,
    CannotSupersede,
    CountersExhausted,
    CountersUnavailable,
    DspUnreachable,
    DspWillNotRead,
    KeyReused,
    LaneBusy,
    NoPermit,
    OrderRefused,
    SupplierError,
    TooLate,
)
from lastmetre.supplier.order_bodies import DEADLINE_MAX_S, DUIS_MAX, KEY_MAX, PRIORITY_MAX, TEXT_MAX
from lastmetre.supplier.orders import OPEN, WORK, Attempt, AttemptState, Order, Return, Road, RoadFacts, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.catalogue import Lane
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse

__all__ = [
    "DEADLINE_MAX_S",
    "DUIS_MAX",
    "KEY_MAX",
    "LANE_MAX",
    "OPEN",
    "PRIORITY_MAX",
    "TEXT_MAX",
    "WORK",
    "ApprovalRefused",
    "Attempt",
    "AttemptState",
    "CannotSupersede",
    "CertificateStore",
    "ChainedEntry",
    "Clock",
    "CountedStore",
    "Counters",
    "CountersExhausted",
    "CountersUnavailable",
    "Desk",
    "Document",
    "DspPort",
    "DspUnreachable",
    "DspWillNotRead",
    "Entry",
    "KeyReused",
    "KeyStore",
    "LaneBusy",
    "Mark",
    "Marks",
    "NoPermit",
    "Order",
    "OrderRefused",
    "OrderStore",
    "Outbox",
    "Permits",
    "Queue",
    "Return",
    "Road",
    "RoadFacts",
    "State",
    "SupplierError",
    "Tell",
    "TooLate",
    "chain",
]


@dataclass(frozen=True, slots=True)
class Document:
    """Something kept for ever with its order: a request, a Pre-Command, a Command, a Response, a receipt."""

    name: str
    at: int
    content: bytes


class Clock(Protocol):
    """The time of day."""

    def now_ms(self) -> int:
        """UTC, milliseconds since 1970."""


class Tell(Protocol):
    """Says what happened, for the screen. Values are text, numbers, truths or nothing; ids and messages in hex."""

    def __call__(self, event: str, /, **facts: str | int | bool | None) -> None:
        """Says it."""


class KeyStore(Protocol):
    """The supplier's own private keys."""

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        """The key, or an error that names what is missing."""


class CertificateStore(Protocol):
    """Certificates of devices and organisations."""

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """The certificate, or ``None``."""


class DspPort(Protocol):
    """The DCC's three services (DUIS section 1.5): signed XML in, the answer's XML out, neither read here.

    Raises ``supplier.errors.DspUnreachable`` when it is unknown whether the request arrived, and ``DspWillNotRead``
    when it was refused unread.
    """

    async def transform(self, xml: bytes) -> bytes:
        """Command Variant 4."""

    async def send_command(self, xml: bytes) -> bytes:
        """Command Variants 1, 3, 5 and 7."""

    async def non_device(self, xml: bytes) -> bytes:
        """Command Variants 2, 6 and 8."""


class Permits(Protocol):
    """The DCC's relay permits (DESIGN CHOICE: beside DUIS, ``dcc.permits``)."""

    async def permit(
        self, request_id: str, digest: bytes, carrier_id: bytes, not_after: int, hub_nonce: bytes | None
    ) -> bytes:
        """A permit for the Command of this request; raises ``NoPermit``, or ``DspUnreachable``."""


class Queue(Protocol):
    """Work to be done at least once, by whichever worker comes first: five verbs, and ``run``.

    A job says that there is something to do about a key; what, its handler finds out anew. So a job done twice, late or
    by another worker does no harm, and a deadline is a column that a cron sweeps, never a job of its own.
    """

    async def enqueue(self, work: str, key: str, transaction: object | None = None, *, once: bool = False) -> None:
        """There as soon as, and only if, the transaction is; ``once``: not while the same waits already."""

    async def enqueue_at(self, work: str, key: str, at: int) -> None:
        """Not done before this time (Unix seconds)."""

    async def cancel(self, work: str, key: str) -> None:
        """What waits of it is not done; what runs may end."""

    def handler(self, work: str, do: Callable[[str], Awaitable[None]]) -> None:
        """What does this work; before ``run``."""

    def cron(self, name: str, every_s: int, do: Callable[[], Awaitable[None]]) -> None:
        """Done every so often by one of all workers; before ``run``."""

    async def run(self) -> None:
        """Works until cancelled."""


class OrderStore(Protocol):
    """Orders, attempts, documents, counters and the audit. Every promise here holds once the call has returned.

    Each change and its audit entry are one transaction. The audit chain has one order for the whole store.
    """

    async def place(
        self, order: Order, entry: Entry, documents: Sequence[Document] = (), *, wake: Sequence[str] = ()
    ) -> Order:
        """Stores a new order; the one stored before when its idempotency key and body digest are the same.

        ``wake``: orders that a worker is to look at, enqueued in the same transaction, where the store has a queue.

        Raises ``KeyReused`` when the key belongs to another body.
        """

    async def change(
        self,
        before: Order,
        after: Order,
        entry: Entry,
        documents: Sequence[Document] = (),
        *,
        wake: Sequence[str] = (),
    ) -> Order | None:
        """Puts ``after`` in the place of ``before``, with its audit entry; the order as stored then.

        ``None`` when the order is no longer as in ``before`` (state and version): read it again and decide anew.
        Raises ``LaneBusy`` when ``after`` would hold a lane that another order holds.
        """

    async def note(self, entry: Entry, documents: Sequence[Document] = ()) -> None:
        """Writes to the audit what changed no order."""

    async def order(self, order_id: str) -> Order | None:
        """One order."""

    async def order_by_counter(self, device_id: bytes, originator_counter: int) -> Order | None:
        """The order whose Command carries this counter."""

    async def orders(self, limit: int) -> list[Order]:
        """The newest orders first."""

    async def open_orders(self) -> list[Order]:
        """Orders with something left to do: not at their end, or with a Response to be returned; oldest first."""

    async def orders_of(self, device_id: bytes, lane: Lane) -> list[Order]:
        """All orders of a device's lane, whatever became of them, oldest first."""

    async def due(self, now: int, limit: int) -> list[str]:
        """Orders whose deadline, retry or next road has come, the longest due first."""

    async def superseding(self, superseder_id: str) -> list[str]:
        """Orders that this one is to make harmless, and whose end waits for it."""

    async def orders_for_carrier(self, carrier_id: bytes) -> list[Order]:
        """Orders *sealed* or *at large* for a carrier, oldest first."""

    async def lane_queue(self, device_id: bytes, lane: Lane) -> list[Order]:
        """The orders of a lane up to *at large*, oldest first; at most one of them holds the lane."""

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """A lane value never given before: ``counters.next_value`` of the last one, kept before it is returned."""

    async def last_counter(self, target_id: bytes, lane: Lane) -> int | None:
        """The lane value given last; ``None`` before any."""

    async def at_large_by_ppmid(self) -> Mapping[tuple[bytes, int], int]:
        """How many Commands each device has at large with a PPMID, by message code."""

    async def road_seen(self, way_id: bytes, road: Road, at: int) -> None:
        """A way was heard of: its failures are forgotten. ``way_id`` is an agent's, or a hub's for the WAN."""

    async def road_failed(self, way_id: bytes, road: Road, at: int) -> None:
        """A way did not carry what it should."""

    async def road_facts(self, ways: frozenset[tuple[bytes, Road]]) -> Mapping[tuple[bytes, Road], RoadFacts]:
        """What was seen of these ways; nothing of those nobody told of."""

    async def documents(self, order_id: str) -> list[Document]:
        """Everything kept with an order, in the order in which it came."""

    async def audit(self, after_seq: int, limit: int) -> list[ChainedEntry]:
        """Audit entries after ``after_seq``."""

    async def head(self) -> int:
        """The number of the newest audit entry; 0 when there is none."""

    async def newest_at(self) -> int:
        """When the newest audit entry was written; 0 when there is none."""

    @property
    def changes(self) -> int:
        """A number that rises with each change, by whomever made; read it before the state it stands for."""

    async def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """Returns ``changes`` as soon as it differs from ``seen``, or after the time-out."""


class Outbox(Protocol):
    """What the bearers to the PPMIDs' agents are given. The agent's identity comes from its certificate."""

    async def next_envelope(self, agent_id: bytes, wait_s: float) -> bytes | None:
        """The next envelope for this agent, waiting up to ``wait_s`` for one."""

    async def receipt(self, agent_id: bytes, receipt: bytes) -> None:
        """Takes a receipt; raises ``relay.RelayDecodeError`` for bytes that are none."""


class Desk(Protocol):
    """What the API is given: orders in, JSON-ready views out."""

    async def place(self, body: Mapping[str, object]) -> dict[str, object]:
        """Accepts an order; raises ``OrderRefused`` or ``KeyReused``."""

    async def wait_for_end(self, order_id: str, wait_s: float) -> dict[str, object] | None:
        """One order, as soon as it has ended, or after the time."""

    @property
    def changes(self) -> int:
        """As in the store: rises with each change."""

    async def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """As in the store."""

    async def head(self) -> int:
        """The number of the newest audit entry."""

    async def cancel(self, order_id: str) -> dict[str, object] | None:
        """Calls an order off; raises ``TooLate``."""

    async def approve(self, order_id: str, approver: str) -> dict[str, object] | None:
        """A second person's yes; raises ``ApprovalRefused``."""

    async def supersede(self, order_id: str, body: Mapping[str, object]) -> dict[str, object] | None:
        """Has an order overtaken by a higher counter: the superseder; raises ``CannotSupersede``, ``OrderRefused``."""

    async def at_large(self) -> dict[str, object]:
        """Everything that left and may still run."""

    async def orders(self, limit: int) -> list[dict[str, object]]:
        """The newest orders."""

    async def order(self, order_id: str) -> dict[str, object] | None:
        """One order with its documents."""

    async def audit(self, after_seq: int, limit: int) -> list[dict[str, object]]:
        """Audit entries."""

    async def at_work(self) -> dict[str, object]:
        """Each order that has not ended: its state, service and when it was accepted; no names."""

    async def health(self) -> dict[str, object]:
        """Whether the parts work."""
