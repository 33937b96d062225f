"""What the DSP needs from outside, and the records that cross: implemented by ``links``, composed by ``cli``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from lastmetre.dcc.errors import NotADocument

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
    "DspChange",
    "DspStore",
    "DuisDoor",
    "KeptReply",
    "KeyStore",
    "LaneMarks",
    "LocalResponse",
    "NotADocument",
    "OutboxItem",
    "OutboxKind",
    "PreCommandRecord",
    "PushOutcome",
    "Route",
    "SealedCommand",
    "Service",
    "Stage",
    "Users",
    "WanDoor",
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
    """Private keys: the ACB's key agreement key, the DSP's XML signing key."""

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        """The private key of an entity for one use; raises when there is none."""


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


@dataclass(frozen=True, slots=True)
class SealedCommand:
    """A finished Command and what is known of its way. ``originator_id`` and ``counter`` are its header's."""

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

    def mark_answered(self, request_id: str, at: int) -> None:
        """The Response to the Command of this request was handed on or came back verified."""

    def mark_given_up(self, request_id: str, at: int) -> None:
        """The User was told that the Command of this request brought nothing by WAN."""

    def unanswered(self, sent_before: int) -> tuple[SealedCommand, ...]:
        """Commands that left by WAN before this time, neither answered nor given up."""

    def put_out(self, kind: OutboxKind, to_id: bytes, body: bytes, request_id: str | None, at: int) -> None:
        """Add an item to the outbox."""

    def outbox(self) -> tuple[OutboxItem, ...]:
        """Everything that still has to leave, oldest first."""

    def take_out(self, number: int) -> None:
        """An item has left, or never will."""

    def keep_alert(self, device_id: bytes, counter: int) -> bool:
        """Remember an Alert by its device's own counter; ``False`` when it was known already."""

    def keep_local_response(self, response: LocalResponse) -> None:
        """Record what a User handed back."""

    def local_responses(self) -> tuple[LocalResponse, ...]:
        """Everything handed back, oldest first."""


class DspStore(Protocol):
    """The DSP's own state. It must survive a restart, and a crash at any point."""

    def change(self) -> AbstractContextManager[DspChange]:
        """One transaction: all of it holds when the block ends well, none of it when it raises."""
