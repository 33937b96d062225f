"""Which GBCS messages a Communications Hub takes, from whom: one table per setting.

Sources: han 3.2 and 3.3. ``today`` is the baseline (that a PPMID may send just these two codes is a DESIGN CHOICE: the
public text says "a subset"); ``proposed`` is what SECMP0038 asked for, which was never adopted; ``permit`` is ours:
what ``today`` accepts, and anything else only with a relay permit (reference: permit).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Final

from lastmetre.gbcs.message import Cra, GroupingHeader

HAN_COMMAND_NOT_ACTIONED: Final = 0x8155
GSME_COMMAND_NOT_RETRIEVED: Final = 0x819D


class Policy(StrEnum):
    """The hub's settings."""

    TODAY = "today"
    PROPOSED = "proposed"
    PERMIT = "permit"


class DeviceType(Enum):
    """Device types of the Device Log, with the code the log carries (han 3.1; 7 is a DESIGN CHOICE)."""

    GSME = 0
    ESME = 1
    CHF = 2
    GPF = 3
    HCALCS = 4
    PPMID = 5
    TYPE_2 = 6
    HHT = 7


class Road(StrEnum):
    """Where a message reached the hub from."""

    WAN = "WAN"
    PPMID = "PPMID"
    HHT = "HHT"
    DEVICE = "device"


class Refusal(StrEnum):
    """Why the hub dropped a message: the word in its own log. Nothing of it goes on the air."""

    NOT_IN_LOG = "not-in-log"
    MALFORMED = "malformed"
    CODE_NOT_ALLOWED = "code-not-allowed"
    BAD_ORIGINATOR = "bad-originator"
    UNKNOWN_TARGET = "unknown-target"
    RATE = "rate"
    FULL = "full"
    DUPLICATE = "duplicate"
    NO_PERMIT = "no-permit"
    PERMIT = "permit-refused"
    NOT_RETRIEVED = "not-retrieved"
    UNDELIVERED = "undelivered"

    @property
    def event_code(self) -> int:
        """The code of the hub's event log (han 3.6)."""
        return GSME_COMMAND_NOT_RETRIEVED if self is Refusal.NOT_RETRIEVED else HAN_COMMAND_NOT_ACTIONED


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of source may send as a Command; ``None`` for the codes means any."""

    commands: bool
    codes: frozenset[int] | None = None
    own_originator_only: bool = False
    target_type: DeviceType | None = None
    else_by_permit: bool = False
    """Whether what the rest of the rule refuses passes with a relay permit."""


PCS01, PCS02 = 0x009B, 0x0090

_ANY: Final = Rule(commands=True)
_NONE: Final = Rule(commands=False)
_TODAYS_PPMID: Final = Rule(
    commands=True,
    codes=frozenset({PCS01, PCS02}),
    own_originator_only=True,
    target_type=DeviceType.GSME,
)

_PERMIT_ALONE: Final = Rule(commands=False, else_by_permit=True)

RULES: Final[dict[tuple[Policy, Road], Rule]] = {
    (Policy.TODAY, Road.WAN): _ANY,
    (Policy.TODAY, Road.HHT): _ANY,
    (Policy.TODAY, Road.PPMID): _TODAYS_PPMID,
    (Policy.TODAY, Road.DEVICE): _NONE,
    (Policy.PROPOSED, Road.WAN): _ANY,
    (Policy.PROPOSED, Road.HHT): _ANY,
    (Policy.PROPOSED, Road.PPMID): _ANY,
    (Policy.PROPOSED, Road.DEVICE): _NONE,
    (Policy.PERMIT, Road.WAN): _ANY,
    (Policy.PERMIT, Road.HHT): _ANY,
    (Policy.PERMIT, Road.PPMID): replace(_TODAYS_PPMID, else_by_permit=True),
    (Policy.PERMIT, Road.DEVICE): _NONE,
}


def road_of(device_type: DeviceType) -> Road:
    """The road a device's messages come by."""
    return {DeviceType.PPMID: Road.PPMID, DeviceType.HHT: Road.HHT}.get(device_type, Road.DEVICE)


def rule_for(policy: Policy, road: Road, *, hht_needs_permit: bool = False) -> Rule:
    """The rule for Commands by a road. An HHT needs a permit by setting only, and under ``permit`` only."""
    if hht_needs_permit and (policy, road) == (Policy.PERMIT, Road.HHT):
        return _PERMIT_ALONE
    return RULES[policy, road]


def allowed(
    policy: Policy, road: Road, header: GroupingHeader, sender_id: bytes | None, target_type: DeviceType, *,
    hht_needs_permit: bool = False,
) -> Refusal | None:  # fmt: skip
    """Whether a message may pass by its header alone; ``None`` when it may. The content is never looked at (R11)."""
    if header.cra is not Cra.COMMAND:
        if road is not Road.WAN and header.business_originator_id != sender_id:
            return Refusal.BAD_ORIGINATOR
        return Refusal.CODE_NOT_ALLOWED if road is Road.WAN else None
    rule = rule_for(policy, road, hht_needs_permit=hht_needs_permit)
    if not rule.commands or (rule.codes is not None and header.message_code not in rule.codes):
        return Refusal.CODE_NOT_ALLOWED
    if rule.own_originator_only and header.business_originator_id != sender_id:
        return Refusal.BAD_ORIGINATOR
    if rule.target_type is not None and target_type is not rule.target_type:
        return Refusal.UNKNOWN_TARGET
    return None


def by_permit(policy: Policy, road: Road, *, hht_needs_permit: bool = False) -> bool:
    """Whether a Command that ``allowed`` refuses passes with a relay permit."""
    return rule_for(policy, road, hht_needs_permit=hht_needs_permit).else_by_permit
