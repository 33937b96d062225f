"""The shape of every use case rule: when it applies, and what it becomes.

A ``Rule`` is one row: use case, message code, service requests, device types, a condition, and the function that fills
in the payload. The first row that fits a request and a device is taken; ``transform`` holds the list. A payload is a
tuple of ``Item`` (DLMS), a tuple of ``Part`` (GBZ) or one ``Document`` (ASN.1), each with the names of its values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.duis.use_cases.terms import Term, moment
from lastmetre.gbcs.asn1 import Asn1
from lastmetre.gbcs.build.frame import Frame
from lastmetre.gbcs.dlms import Action, Get, GetWithSelection, Set, Spec
from lastmetre.gbcs.zcl import ReadAttributes

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element
    from lastmetre.gbcs.asn1 import Asn1Command
    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.build.frame import Command
    from lastmetre.gbcs.build.shapes import DlmsCommand
    from lastmetre.gbcs.build.times import Activation
    from lastmetre.gbcs.zcl import ZclCommand, ZclValue

Version: TypeAlias = tuple[int, ...]

NEWER_CODES: Final[Version] = (2, 0)
"""From this GBCS version on, a device is sent the newer message code of a pair (ECS08a for ECS08, ECS26l for ECS26d).
The sources only say that the version decides: DESIGN CHOICE."""
NEWEST_CODES: Final[Version] = (3, 2)
"""The same for the codes from 0x00F9 on (ECS26m, ECS26n, ECS35g, CCS06, CS02f, GCS60a): DESIGN CHOICE."""


# --- what the DCC knows beside the XML


@dataclass(frozen=True, slots=True)
class HubBackup:
    """What the DCC keeps of a Communications Hub's network, to restore it on another (CCS03)."""

    network_id: bytes
    """Eight octets in front of the list. Taken to be the old network's extended PAN identifier [I]."""
    link_keys: tuple[tuple[bytes, bytes], ...]
    """Each device and its hashed link key."""


@dataclass(frozen=True, slots=True)
class Records:
    """What goes into a few commands from the DCC's own records and not from the XML."""

    other_device_type: str | None = None
    """Type of the device to be joined (CS03)."""
    other_device_certificate: bytes | None = None
    """Its key agreement certificate as DER (CS03C)."""
    customer_identification_number: str | None = None
    """Four digits that the DCC made up (ECS50, GCS36)."""
    hub_backup: HubBackup | None = None
    """For CCS03."""
    device_log: tuple[tuple[bytes, str], ...] | None = None
    """The devices of a Gas Proxy Function, with their types (GCS59)."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the DCC's inventory knows of a device and the XML does not say."""

    device_type: str
    gbcs_version: str = "4.3"
    twin: bool = False
    phases: int = 1
    known_remote_parties: frozenset[bytes] = frozenset()
    """The Users whose credentials the device holds; others speak through the access control broker."""
    records: Records = Records()

    @property
    def version(self) -> Version:
        """The GBCS version as numbers, to be compared."""
        return tuple(int(part) if part.isdigit() else 0 for part in self.gbcs_version.split("."))


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything a rule may look at: the request's body, the device, and who speaks under which counter."""

    body: Element
    device: DeviceFacts
    user_id: bytes
    user_role: str
    originator_id: bytes
    target_id: bytes
    originator_counter: int
    activation: Activation
    issued_at: int | None = None


# --- what a payload is made of


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a DLMS command, with the name of its value."""

    spec: Spec
    data: Data
    term: Term


def bare(value: ZclValue) -> object:
    """A field's value; of rows the values alone, without the names of their fields."""
    if not isinstance(value, tuple):
        return value
    return tuple(tuple(plain for _, plain in row) for row in value)


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a GBZ command, with the names of its values. ``issuer_times`` are fields that tell its issue."""

    name: str
    cluster: int
    body: ZclCommand | ReadAttributes
    term: Term
    issuer_times: frozenset[str] = frozenset()
    from_date_time: int | None = None

    @property
    def values(self) -> tuple[object, ...]:
        """The values of the fields, in the order of the term's parts; of rows the values alone."""
        if isinstance(self.body, ReadAttributes):
            return (self.body.attribute_ids,)
        return tuple(bare(value) for _, value in self.body.fields)


@dataclass(frozen=True, slots=True)
class Document:
    """An ASN.1 payload, with the names of its values."""

    value: Asn1Command
    term: Term


Filled: TypeAlias = tuple[Item, ...] | tuple[Part, ...] | Document
Fill: TypeAlias = Callable[[Asked], Filled]
Condition: TypeAlias = Callable[[Asked], bool]


class Speaker(Enum):
    """Who is the originator of a Command (transform A1)."""

    USER = auto()
    """The User when the device knows it, else the broker, who names the User beside itself."""
    BROKER = auto()
    """The access control broker, for itself."""
    CHANGE_OF_SUPPLIER = auto()
    """The change of supplier party, for itself."""


def always(_: Asked) -> bool:
    """No condition beyond service request and device type."""
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """One use case of one or more service requests."""

    use_case: str
    message_code: int
    variants: tuple[str, ...]
    fill: Fill
    devices: frozenset[str] = frozenset({"ESME"})
    applies: Condition = field(default=always)
    source: str = ""
    speaker: Speaker = Speaker.USER
    signed_by_dcc: bool = False
    """Not critical for the User, and yet signed, by the DCC's party that speaks (transform A2)."""


# --- DLMS


def frame_of(asked: Asked, message_code: int) -> Frame:
    """What the payload holds besides its own values."""
    return Frame(
        message_code,
        asked.originator_counter,
        asked.activation,
        asked.issued_at,
        asked.user_id,
        asked.target_id,
    )


def say(asked: Asked, values: DlmsCommand, *terms: Term, code: int | None = None) -> tuple[Item, ...]:
    """The items that ``gbcs.build`` makes of values, each with what it is called here."""
    items = values.items(frame_of(asked, values.message_codes[0] if code is None else code))
    return tuple(Item(spec, data, term) for (spec, data), term in zip(items, terms, strict=True))


def document(asked: Asked, values: Command, term: Term) -> Document:
    """The ASN.1 payload that ``gbcs.build`` makes of values, with the names of its values."""
    payload = values.written(frame_of(asked, values.message_codes[0]))
    assert isinstance(payload, Asn1), "the record is one of an ASN.1 Command"
    return Document(payload.value, term)  # type: ignore[arg-type]


def when_of(name: str) -> Term:
    """What the time is called at which a value written before takes effect."""
    return Term(f"activation time of {name}", moment)


def describe(spec: Spec) -> str:
    """What an item does, for a reader who has the standard at hand."""
    match spec:
        case Get(class_id, obis, attribute):
            return f"get {class_id}/{obis} attribute {attribute}"
        case Set(class_id, obis, attribute):
            return f"set {class_id}/{obis} attribute {attribute}"
        case Action(class_id, obis, method):
            return f"action {class_id}/{obis} method {method}"
        case GetWithSelection(class_id, obis, attribute, selector, _):
            return f"get {class_id}/{obis} attribute {attribute} with selection {selector}"
