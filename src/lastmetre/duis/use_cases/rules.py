"""The shape of every use case rule: when it applies, and the items it becomes.

A ``Rule`` is one row: use case, message code, service requests, device types, a condition, and the function that fills
in the items. The first row that fits a request and a device is taken; ``transform`` holds the list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.duis.use_cases.terms import Term, moment
from lastmetre.gbcs.axdr import Data, NullData
from lastmetre.gbcs.dlms import Action, Get, GetWithSelection, Obis, Set, Spec

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element
    from lastmetre.gbcs.axdr import OctetString

Version: TypeAlias = tuple[int, ...]

NEWER_CODES: Final[Version] = (2, 0)
"""From this GBCS version on, a device is sent the newer message code of a pair (ECS08a for ECS08, ECS26l for ECS26d).
The sources only say that the version decides: DESIGN CHOICE."""
NEWEST_CODES: Final[Version] = (3, 2)
"""The same for the codes from 0x00F9 on (ECS26m, ECS26n, ECS35g): DESIGN CHOICE."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the DCC's inventory knows of a device and the XML does not say."""

    device_type: str
    gbcs_version: str = "4.3"
    twin: bool = False
    phases: int = 1
    known_remote_parties: frozenset[bytes] = frozenset()
    """The Users whose credentials the device holds; others speak through the access control broker."""

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
    when: OctetString


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a DLMS command, with the name of its value."""

    spec: Spec
    data: Data
    term: Term


Fill: TypeAlias = Callable[[Asked], tuple[Item, ...]]
Condition: TypeAlias = Callable[[Asked], bool]


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


def set_(target: str, attribute: int, data: Data, term: Term) -> Item:
    """Write an attribute; ``target`` is class/OBIS."""
    class_id, _, code = target.partition("/")
    return Item(Set(int(class_id), Obis.parse(code), attribute), data, term)


def act(target: str, method: int, data: Data, term: Term) -> Item:
    """Invoke a method; ``target`` is class/OBIS."""
    class_id, _, code = target.partition("/")
    return Item(Action(int(class_id), Obis.parse(code), method), data, term)


def get(target: str, attribute: int) -> Item:
    """Read an attribute; ``target`` is class/OBIS."""
    class_id, _, code = target.partition("/")
    return Item(Get(int(class_id), Obis.parse(code), attribute), NullData(), Term(f"value read with {target}"))


def activate(target: str, attribute: int, when: Data, name: str) -> Item:
    """Say when a value written before takes effect."""
    return set_(target, attribute, when, Term(f"activation time of {name}", moment))


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
