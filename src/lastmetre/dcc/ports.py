"""What the DSP needs from outside, and the records that cross: implemented by ``links``, composed by ``cli``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from lastmetre.dcc.errors import NotADocument, PermitRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.catalogue import Lane
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse

    Tell = Callable[..., None]
    Clock = Callable[[], int]

__all__ = [
    "CertificateStore",
    "Decision",
    "DeviceRow",
    "DspChange",
    "DspStore",
    "DuisDoor",
    "HeldKind",
    "HeldRequest",
    "HubAbsence",
    "KeptReply",
    "KeyStore",
    "LaneMarks",
    "LocalResponse",
    "NotADocument",
    "OutboxItem",
    "OutboxKind",
    "PermitAsk",
    "PermitChange",
    "PermitDoor",
    "PermitRecord",
    "PermitRefused",
    "PermitStore",
    "PreCommandRecord",
    "PushOutcome",
    "Route",
    "SealedCommand",
    "Service",
    "Stage",
    "Users",
    "WanDoor",
    "XmlIdentities",
]


class Service(StrEnum):
    """The three services of the DCC User Interface, one URL each (duis 1.5)."""

    TRANSFORM = "Transform"
    SEND_COMMAND = "Send Command"
    NON_DEVICE = "Non-Device"


class DuisDoor(Protocol):
    """The DSP as its HTTPS server sees it."""

    async def request(self, service: Service, caller_id: bytes, document: bytes) -> bytes:
        """Answer one document from a caller whose identity TLS proved; raises ``NotADocument``."""


class KeyStore(Protocol):
    """Private keys: the ACB's for key agreement and for signatures.

    What is given is a handle that agrees and signs; the key behind it may be in a token and never come out, so nothing
    else is asked of it.
    """

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        """The private key of an entity for one use; raises when there is none."""


class XmlIdentities(Protocol):
    """Pairs that sign DUIS documents and nothing else, apart from every GBCS key (duis 3)."""

    def find_xml_signer(self, entity_id: bytes) -> Certificate | None:
        """The certificate of an entity's own XML signing identity, or ``None``."""

    def find_xml_signing_key(self, entity_id: bytes) -> ec.EllipticCurvePrivateKey | None:
        """The private key of an entity's own XML signing identity, or ``None``."""


class CertificateStore(Protocol):
    """Certificates of Users and devices."""

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """An entity's certificate for one use, or ``None``."""


class WanDoor(Protocol):
    """The SM WAN as the DSP sees it."""

    async def send(self, hub_id: bytes, message: bytes) -> bool:
        """Hand a message to a hub's connection; ``False`` when that hub is not connected."""


class PushOutcome(StrEnum):
    """What became of a document pushed to a User."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_REACHED = "not reached"


class Users(Protocol):
    """The Users' Receive Response services."""

    async def push(self, url: str, xml: bytes) -> PushOutcome:
        """Hand one signed document to the User behind this URL."""


class Stage(StrEnum):
    """A RequestID is used at most once in each stage: a critical request is transformed, then sent."""

    TRANSFORM = "transform"
    COMMAND = "command"


class Route(StrEnum):
    """How a sealed Command leaves the DSP (duis 2.1)."""

    WAN = "wan"
    LOCAL = "local"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What was answered to which document (its SHA-256)."""

    digest: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class LaneMarks:
    """The highest counters of one originator at one target in one lane: accepted at all, and sealed."""

    seen: int = -1
    sealed: int = -1


@dataclass(frozen=True, slots=True)
class PreCommandRecord:
    """What the Transform service returned. That its RequestID is used once says that it is sent once."""

    service_reference_variant: str
    pre_command: bytes
    breach: str | None = None
    """Which value threshold the request passed, in words; its Signed Pre-Command will be quarantined."""
    effect: str = ""
    """As in ``SealedCommand``."""


@dataclass(frozen=True, slots=True)
class SealedCommand:
    """A finished Command and what is known of its way. ``originator_id`` and ``counter`` are its header's.

    ``dsp_schedule_id`` is set when the DSP made it by a schedule (SRV 5.1), not a request of its own.
    """

    request_id: str
    user_id: bytes
    service_reference: str
    service_reference_variant: str
    target_id: bytes
    hub_id: bytes
    originator_id: bytes
    counter: int
    command: bytes
    route: Route
    sealed_at: int
    sent_at: int | None = None
    answered_at: int | None = None
    """When its Response was handed on to the User, or came back from the User verified."""
    given_up_at: int | None = None
    """When the User was told that no Response came, or that the hub was not there; a late one is still handed on."""
    tries: int = 0
    """How often it was put out to leave by WAN."""
    tried_at: int | None = None
    """When it was last put out again, because no Response had come."""
    succeeded: bool | None = None
    """What its Response said, once there is one and it could be read: a sequence goes on or ends by it."""
    dsp_schedule_id: int | None = None
    effect: str = ""
    """What its success does to the inventory: JSON text written and read by ``effects`` alone."""


class OutboxKind(StrEnum):
    """Where an outbox item goes: down the WAN to a hub, or to a User."""

    WAN = "wan"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """Something that has to leave, in the order it was put out."""

    number: int
    kind: OutboxKind
    to_id: bytes
    body: bytes
    request_id: str | None
    put_at: int


class HeldKind(StrEnum):
    """Why a request that was accepted is not carried out yet."""

    LATER = "later"
    """Until ``due_at``: the DCC holds its date (duis 2.2)."""
    SEQUENCE = "sequence"
    """Until the request ``after_request_id`` has succeeded; at ``due_at`` it is given up."""
    QUARANTINE = "quarantine"
    """Until a person decides: an anomaly threshold was passed."""
    SCHEDULE = "schedule"
    """A schedule (SRV 5.1): carried out at ``due_at`` again and again until it is let go."""


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A request that the DSP has answered with I99 and still owes something for. ``document`` is as it came, signed."""

    number: int
    """Given by the store: unique, rising, never used again. For a schedule it is the DSPScheduleID."""
    kind: HeldKind
    request_id: str
    stage: Stage
    service: Service
    user_id: bytes
    target_id: bytes
    service_reference_variant: str
    document: bytes
    at: int
    """When it was accepted; it keeps that when it passes from one kind to the next."""
    due_at: int | None = None
    after_request_id: str | None = None
    reason: str = ""
    """In words, for a person: which threshold, which date, which request."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about a quarantined request. Never changed but for ``done_at``: it is the audit."""

    number: int
    """The held request's."""
    release: bool
    person: str
    reason: str
    at: int
    request_id: str | None = None
    """Filled in when it is carried out."""
    done_at: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as requests and Responses have changed it; it stands in place of the settings' row.

    ``body`` is JSON text written and read by ``inventory`` alone; the store only keeps it.
    """

    device_id: bytes
    body: str


@dataclass(frozen=True, slots=True)
class HubAbsence:
    """Since when a hub that was connected has been away, and when the suppliers were told of an outage."""

    hub_id: bytes
    since_at: int
    told_at: int | None = None


@dataclass(frozen=True, slots=True)
class LocalResponse:
    """A Response that a User handed back (SRV 8.13) and what the DSP could say of it."""

    returned_by: str
    original_request_id: str | None
    device_id: bytes
    counter: int
    message: bytes
    verdict: str
    at: int


class DspChange(Protocol):
    """Reading and writing inside one transaction of the DSP's store."""

    def reply(self, request_id: str, stage: Stage) -> KeptReply | None:
        """What was answered under this RequestID, if it was accepted before."""

    def keep_reply(self, request_id: str, stage: Stage, reply: KeptReply) -> None:
        """Keep an answer; a second one under the same RequestID and stage is an error of ours."""

    def lane(self, originator_id: bytes, target_id: bytes, lane: Lane) -> LaneMarks:
        """The counters reached in a lane."""

    def set_lane(self, originator_id: bytes, target_id: bytes, lane: Lane, marks: LaneMarks) -> None:
        """Move the counters of a lane."""

    def pre_command(self, request_id: str) -> PreCommandRecord | None:
        """What was transformed under this RequestID."""

    def keep_pre_command(self, request_id: str, record: PreCommandRecord) -> None:
        """Keep what was transformed under this RequestID."""

    def next_broker_counter(self, target_id: bytes) -> int:
        """The next counter of the ACB at a device, for Unknown Remote Parties; never the same twice."""

    def keep_command(self, command: SealedCommand) -> None:
        """Keep a new sealed Command; a second one for the same target, originator and counter is an error of ours."""

    def command(self, target_id: bytes, originator_id: bytes, counter: int) -> SealedCommand | None:
        """The Command that a Response with this counter answers."""

    def command_of_request(self, request_id: str) -> SealedCommand | None:
        """The Command that was made from this request."""

    def mark_sent(self, request_id: str, at: int) -> None:
        """The Command of this request left by WAN."""

    def mark_answered(self, request_id: str, at: int, *, succeeded: bool | None = None) -> None:
        """The Response to the Command of this request was handed on or came back verified; the first mark stands."""

    def mark_tried(self, request_id: str, at: int) -> None:
        """The Command is put out to leave by WAN (again): ``tries`` rises by one, ``tried_at`` is now."""

    def mark_given_up(self, request_id: str, at: int) -> None:
        """The User was told that the Command of this request brought nothing by WAN."""

    def unanswered(self, sent_before: int) -> tuple[SealedCommand, ...]:
        """Commands that left by WAN (``sent_at``) before this time, neither answered nor given up, oldest first."""

    def put_out(self, kind: OutboxKind, to_id: bytes, body: bytes, request_id: str | None, at: int) -> None:
        """Add an item to the outbox."""

    def outbox(self) -> tuple[OutboxItem, ...]:
        """Everything that still has to leave, oldest first."""

    def destinations(self) -> frozenset[tuple[OutboxKind, bytes]]:
        """Where something still has to go."""

    def next_out(self, kind: OutboxKind, to_id: bytes) -> OutboxItem | None:
        """The oldest item for a destination: however much waits, only that one is read."""

    def take_out(self, number: int) -> None:
        """An item has left, or never will."""

    def keep_alert(self, device_id: bytes, counter: int) -> bool:
        """Remember an Alert by its device's own counter; ``False`` when it was known already."""

    def keep_local_response(self, response: LocalResponse) -> None:
        """Record what a User handed back."""

    def local_responses(self) -> tuple[LocalResponse, ...]:
        """Everything handed back, oldest first."""

    # --- requests that are held

    def hold(self, held: HeldRequest) -> int:
        """Hold a request; its ``number`` is not looked at, the new one is returned.

        Numbers rise and are never given twice, not even after ``let_go``.
        """

    def held(self, number: int) -> HeldRequest | None:
        """The held request of this number."""

    def held_requests(self, kind: HeldKind | None = None) -> tuple[HeldRequest, ...]:
        """Everything held (of one kind), by number."""

    def held_of(self, request_id: str) -> HeldRequest | None:
        """The request held under this RequestID in any kind; at most one is, whatever its stage."""

    def due(self, at: int) -> tuple[HeldRequest, ...]:
        """Held requests with a ``due_at`` of ``at`` or before, by ``due_at``, then number."""

    def move_due(self, number: int, due_at: int) -> None:
        """A schedule's next time."""

    def let_go(self, number: int) -> bool:
        """It is held no longer; ``False`` when it was not held.

        In the same change as whatever is done with it: a crash leaves it held or done, never both or neither.
        """

    def fail_request(self, request_id: str, at: int) -> None:
        """A request ended without a Command (refused when its time came, rejected, cancelled, given up)."""

    def failed_request(self, request_id: str) -> bool:
        """Whether ``fail_request`` was said of it: what waits for it in a sequence fails with it."""

    # --- anomalies

    def note_use(self, user_id: bytes, service_reference_variant: str, at: int) -> None:
        """Count one Command of a User for one service."""

    def uses(self, user_id: bytes, service_reference_variant: str | None, since_at: int) -> int:
        """How many ``note_use`` counted from ``since_at`` on; of all services where none is named."""

    def forget_uses(self, before_at: int) -> None:
        """Uses before this time count no more."""

    def decide(self, decision: Decision) -> bool:
        """Write down a person's decision; ``False``, and nothing written, when that number has one already.

        Another process may write it (an operator's command line): the DSP finds it by ``undone_decisions``.
        """

    def undone_decisions(self) -> tuple[Decision, ...]:
        """Decisions not carried out, oldest first."""

    def mark_decision_done(self, number: int, request_id: str | None, at: int) -> None:
        """The decision was carried out; in the same change as what it led to."""

    def decisions(self) -> tuple[Decision, ...]:
        """The audit: every decision, oldest first."""

    # --- counters of top-ups

    def keep_top_up(self, originator_id: bytes, target_id: bytes, counter: int) -> None:
        """A top-up with this UTRN counter was sealed; keeping it twice is an error of ours."""

    def top_ups(self, originator_id: bytes, target_id: bytes) -> tuple[int, ...]:
        """The hundred highest UTRN counters sealed for a device, falling."""

    # --- the inventory

    def keep_device(self, row: DeviceRow) -> None:
        """Keep a device as it is now, in place of what was kept before."""

    def devices(self) -> tuple[DeviceRow, ...]:
        """Every device kept, by identifier."""

    # --- hubs that are away, and blocks of Responses

    def hub_away(self, hub_id: bytes, at: int) -> None:
        """A hub's connection has gone; the first time stands."""

    def hub_back(self, hub_id: bytes) -> HubAbsence | None:
        """It is there again: its absence is forgotten, and returned."""

    def absences(self) -> tuple[HubAbsence, ...]:
        """Every hub that is away, longest first."""

    def mark_absence_told(self, hub_id: bytes, at: int) -> None:
        """The suppliers were told of the outage."""

    def keep_block(self, transfer: bytes, block: bytes, at: int) -> None:
        """Keep a block as it came; the same octets in the same transfer twice are kept once."""

    def blocks(self, transfer: bytes) -> tuple[bytes, ...]:
        """The blocks of a transfer in the order they came."""

    def transfers(self) -> int:
        """How many transfers have begun and not ended."""

    def drop_blocks(self, transfer: bytes) -> None:
        """The transfer is over."""

    def drop_old_blocks(self, before_at: int) -> int:
        """Drop every transfer whose first block came before this time; how many there were."""


class DspStore(Protocol):
    """The DSP's own state. It must survive a restart, and a crash at any point.

    What every implementation owes:

    * A change is serialisable: it sees all of every earlier change and nothing of one that has not ended. The DSP
      never has two open at once in one process, and only one DSP process may have the store open.
    * What was put in with ``keep_`` and must be unique says so; a second one raises, and the change with it.
    * Only ``decide`` is called by another process as well (an operator's command line, while the DSP runs).
    * Durable when ``change`` ends well: the DSP answers a User on the strength of it.
    """

    def change(self) -> AbstractContextManager[DspChange]:
        """One transaction: all of it holds when the block ends well, none of it when it raises."""


# --- relay permits (a service of ours beside DUIS: ``dcc.permits``) ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class PermitAsk:
    """What a User asks a relay permit for: the Command sealed for one RequestID, by its digest, and who carries it.

    Times are Unix seconds; what is left out is the DSP's to choose.
    """

    request_id: str
    digest: bytes
    carrier_id: bytes
    not_before: int | None = None
    not_after: int | None = None
    hold_until: int | None = None
    hub_nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class PermitRecord:
    """A permit that was made, as the DSP remembers it; ``permit`` is the record the hub gets."""

    serial: int
    hub_id: bytes
    request_id: str
    user_id: bytes
    carrier_id: bytes
    digest: bytes
    issued_at: int
    not_after: int
    permit: bytes


class PermitDoor(Protocol):
    """The maker of permits as its HTTPS server sees it."""

    def issue(self, user_id: bytes, ask: PermitAsk) -> PermitRecord:
        """A new permit for a User whose identity TLS proved; raises ``PermitRefused``."""


class PermitChange(Protocol):
    """Reading and writing inside one transaction of the permits' store."""

    def next_serial(self, hub_id: bytes) -> int:
        """A serial for a hub, from one upwards; never the same twice."""

    def void_below(self, hub_id: bytes) -> int:
        """Below which serial every permit of this hub is dead; 0 when none is."""

    def void(self, hub_id: bytes) -> int:
        """Have every serial given so far dead: the first that is not."""

    def keep(self, record: PermitRecord) -> None:
        """Keep a permit that is about to be handed out."""

    def issued(self, request_id: str, since_at: int) -> int:
        """How many permits were made for the Command of a request since then."""

    def records(self, hub_id: bytes) -> tuple[PermitRecord, ...]:
        """Every permit made for a hub, oldest first."""


class PermitStore(Protocol):
    """What the maker of permits must remember: serials first of all. Durable when ``change`` ends well."""

    def change(self) -> AbstractContextManager[PermitChange]:
        """One transaction: all of it holds when the block ends well, none of it when it raises."""
