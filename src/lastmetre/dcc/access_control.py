"""Access control: who may ask for what, of which device, in which order. Written to be read aloud.

A verified request is carried out only when, in this order (the order is a DESIGN CHOICE; each step has its test):

1. TLS, the RequestID and the XML signature all name one User that the DCC knows, by a certificate of its role (E1);
2. that User may use the services at present (E3);
3. the service is open to one of its roles (E2);
4. Command Variant, service and body belong together (E12), and come to the URL they belong to (E13);
5. the target exists: a device of the inventory, or the DCC itself for requests to the DCC (E19);
6. the User is registered for the device in such a role, now, and a second device named is of the same home (E4);
7. the device's status (E5) and type (E11) fit;
8. a Command for Local Delivery goes to the device's supplier only (E17), one by WAN to a hub the WAN reaches (E20);
9. nothing is asked that this DSP cannot do;
10. the RequestID was not used for another document, and its counter is above all that went before in its lane; of
    top-ups, whose counters may overtake each other, it is one that the device's cache can still place.

A request that was held (for a date, for the one before it, for a person) is asked steps 2, 3 and 5 to 8 once more when
it is carried out, and then its counter is held against what was sealed meanwhile: who may ask is decided by the day on
which the Command is made (DESIGN CHOICE). Its counter moves nothing before that, so that a request for next year does
not block those of today.

Where the public sources name no code for a refusal, ``OUR_CODES`` says which of the interface's unexplained values
stands for it here (DESIGN CHOICE). A refusal tells the User the code alone; the reason is for the DSP's own events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.inventory import NO_HUB, DeviceStatus, UserRole, UserStatus, WanCoverage
from lastmetre.dcc.ports import LaneMarks, Service, Stage
from lastmetre.duis.catalogue import LOCAL, SIGNED, FutureDated, ServiceRequest, service_request
from lastmetre.duis.identifiers import parse_entity
from lastmetre.gbcs.catalogue import Lane, use_case
from lastmetre.gbcs.counters import CounterState

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.dcc.inventory import Device, Inventory, User
    from lastmetre.duis.documents import Request


class Code(StrEnum):
    """Response codes whose meaning is public (duis section 5)."""

    SUCCESS = "I0"
    ACKNOWLEDGED = "I99"
    NOT_A_PARTY = "E1"
    ROLE_NOT_ELIGIBLE = "E2"
    USER_STATUS = "E3"
    NOT_AUTHORISED = "E4"
    DEVICE_STATUS = "E5"
    DEVICE_TYPE = "E11"
    COMMAND_VARIANT = "E12"
    WRONG_URL = "E13"
    NOT_FOR_LOCAL_DELIVERY = "E17"
    NO_SUCH_DEVICE = "E19"
    CANNOT_COMMUNICATE = "E20"
    NO_RESPONSE = "E21"
    FUTURE_DATED_TIME_OUT = "E30"


class OurCode(StrEnum):
    """Values the interface defines without a public meaning, and what they mean here (DESIGN CHOICE)."""

    REQUEST_ID_USED = "E40"
    """The RequestID was used for another document."""
    COUNTER_TOO_LOW = "E41"
    """The counter is not above all that went before in its lane."""
    NOT_AS_TRANSFORMED = "E42"
    """The Signed Pre-Command is not what was transformed under this RequestID."""
    GBCS_SIGNATURE = "E43"
    """The GBCS signature in the Signed Pre-Command was not made by the User."""
    CONTENT = "E44"
    """No GBCS message can be made of this request for this device."""
    NO_PREDECESSOR = "E45"
    """The request named as the one before was never accepted from this User."""
    PREDECESSOR_FAILED = "E46"
    """The request before it in the sequence did not succeed, or brought no answer in time."""
    REJECTED = "E47"
    """It was quarantined, and a person rejected it."""
    CANCELLED = "E48"
    """It was held for a date, and its User cancelled it."""
    NOT_DONE_HERE = "E100"
    """A service of the real DCC that this emulation does not have yet."""


SERVICE_VARIANTS: Final = MappingProxyType(
    {
        Service.TRANSFORM: frozenset({4}),
        Service.SEND_COMMAND: frozenset({1, 3, 5, 7}),
        Service.NON_DEVICE: frozenset({2, 6, 8}),
    }
)
"""Which Command Variants come to which URL (duis 1.5)."""

WAN_ONLY: Final = frozenset({1, 5})
"""Command Variants whose Command leaves by SM WAN alone."""

REACHABLE_STATUSES: Final = frozenset(
    {
        DeviceStatus.WHITELISTED,
        DeviceStatus.INSTALLED_NOT_COMMISSIONED,
        DeviceStatus.COMMISSIONED,
        DeviceStatus.RECOVERED,
    }
)
"""Statuses in which a device is sent Commands. DESIGN CHOICE: which status fits which service is not public."""

OTHER_DEVICES: Final = MappingProxyType(
    {
        "8.7.1": ("OtherDeviceID",),
        "8.7.2": ("OtherDeviceID",),
        "8.11": ("DeviceID",),
        "8.12.1": ("OldCHFID",),
        "8.12.2": ("OldGPFID",),
    }
)
"""Where a request names a second device."""

SUSPENDED_SERVICES: Final = frozenset({"11.2", "11.3", "6.24.1", "6.24.2"})
"""What a suspended device is still sent: its firmware and credentials are read, and new firmware activated. DESIGN
CHOICE, by what a suspension is for."""

LOCAL_DELIVERY_ROLES: Final = frozenset({UserRole.IMPORT_SUPPLIER, UserRole.EXPORT_SUPPLIER, UserRole.GAS_SUPPLIER})
"""Who may ask for a Command for Local Delivery. DESIGN CHOICE: E17's exact rule is not public."""

LOCAL_ONLY: Final = frozenset({2, 6})
"""Command Variants whose Command is the answer itself: nothing of it can be held."""

NON_DEVICE_DONE: Final = frozenset(
    {"5.1", "5.2", "5.3", "8.2", "8.3", "8.4", "8.13", "8.14.1", "8.14.2", "8.14.3", "8.14.4", "12.1", "12.2"}
)
"""Requests to the DCC itself that are carried out; 8.6, 11.1 and 11.4 are not."""

EXECUTION_NEVER: Final = 32_535_129_600
"""3000-12-31T00:00:00Z: the date that cancels (duis 1.3)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One verified request with everything access control looks at."""

    request: Request
    service: Service
    caller_id: bytes
    signer_role: int | None
    inventory: Inventory
    dsp_id: bytes
    at: int

    @property
    def user(self) -> User | None:
        """Who asks."""
        return self.inventory.user(self.request.header.request_id.originator)

    @property
    def device(self) -> Device | None:
        """Of which device."""
        return self.inventory.device(self.request.header.request_id.target)

    @property
    def wan_coverage(self) -> WanCoverage:
        """Whether the SM WAN reaches it."""
        return WanCoverage.NONE if self.device is None else self.inventory.coverage(self.device)

    @property
    def row(self) -> ServiceRequest | None:
        """The service's row in the catalogue, if there is such a service."""
        return service_request(self.request.header.service_reference_variant)

    @property
    def command_variant(self) -> int:
        """How the User wants it carried out."""
        return self.request.header.command_variant

    @property
    def stage(self) -> Stage:
        """In which of its two possible uses the RequestID comes."""
        return Stage.TRANSFORM if self.command_variant == 4 else Stage.COMMAND

    @property
    def lane(self) -> Lane:
        """The counter lane at the device: top-ups have their own."""
        cases = [use_case(code) for code in self.row.message_codes] if self.row else []
        return Lane.TOP_UP if any(case is not None and case.lane is Lane.TOP_UP for case in cases) else Lane.ORDINARY

    @property
    def registered_roles(self) -> frozenset[UserRole]:
        """In which roles the User is registered for the device and may ask for this service."""
        if self.user is None or self.device is None or self.row is None:
            return frozenset()
        roles = self.inventory.roles_of(self.device, self.user.user_id, self.at)
        return frozenset(role for role in roles if role in self.row.roles)

    @property
    def held_by_dcc(self) -> bool:
        """Whether its date, if it has one, is for the DCC to wait for (duis 2.2)."""
        return self.row is not None and self.row.future_dated is FutureDated.DSP


def ask(request: Request, signer_role: int | None, service: Service, caller_id: bytes, inventory: Inventory,
        dsp_id: bytes, at: int) -> Asked:  # fmt: skip
    """Put a verified request together with what the inventory says of its User and device."""
    return Asked(request, service, caller_id, signer_role, inventory, dsp_id, at)


def check_request(asked: Asked) -> None:
    """Steps 1 to 9; raises ``RequestRefused`` with the first that does not hold."""
    for step in _STEPS:
        refused = step(asked)
        if refused is not None:
            raise refused


def check_again(asked: Asked) -> None:
    """The steps that may have changed while a request was held; raises ``RequestRefused``."""
    for step in _STEPS_AGAIN:
        refused = step(asked)
        if refused is not None:
            raise refused


def check_top_up(asked: Asked, sealed: tuple[int, ...]) -> None:
    """Step 10 for a top-up, against the counters sealed for its device; raises ``RequestRefused``.

    A device keeps the hundred highest UTRN counters and takes any that is not among them and not below them all
    (gbcs-messages 12.2): top-ups may come out of order.
    """
    counter, low = divmod(asked.request.header.request_id.counter, 1 << 32)
    cache = CounterState(utrn_cache=tuple(sorted(sealed)))
    if low or cache.refuses_utrn(counter):
        raise RequestRefused(
            OurCode.COUNTER_TOO_LOW, f"UTRN counter {counter} was used, is too old for the device, or is none"
        )


def check_counter(asked: Asked, marks: LaneMarks) -> None:
    """Step 10 for an ordinary RequestID that was not used in this stage; raises ``RequestRefused``.

    A Signed Pre-Command keeps the counter of its Transform, so it is held against what was sealed alone: a Command
    whose counter is below a sealed one would most likely be refused by the device. Requests to the DCC itself reach no
    device and may overtake each other; for them a RequestID need only be new (DESIGN CHOICE).
    """
    counter = asked.request.header.request_id.counter
    if asked.device is None:
        return
    mark = marks.sealed if asked.command_variant in SIGNED else marks.seen
    if counter <= mark:
        raise RequestRefused(
            OurCode.COUNTER_TOO_LOW, f"counter {counter} is not above {mark}, the last in the {asked.lane} lane"
        )


def check_sealed(asked: Asked, marks: LaneMarks) -> None:
    """As ``check_counter`` when the Command is made: against what was sealed alone, whatever was accepted meanwhile."""
    counter = asked.request.header.request_id.counter
    if counter <= marks.sealed:
        raise RequestRefused(
            OurCode.COUNTER_TOO_LOW,
            f"counter {counter} is not above {marks.sealed}, the last sealed in the {asked.lane} lane",
        )


def moved(asked: Asked, marks: LaneMarks) -> LaneMarks:
    """The lane after this request was accepted."""
    counter = asked.request.header.request_id.counter
    sealed = marks.sealed if asked.stage is Stage.TRANSFORM else max(marks.sealed, counter)
    return LaneMarks(max(marks.seen, counter), sealed)


# --- the steps -------------------------------------------------------------------------------------------------------


def _is_a_party(asked: Asked) -> RequestRefused | None:
    originator = asked.request.header.request_id.originator
    if asked.caller_id != originator:
        return RequestRefused(Code.NOT_A_PARTY, f"TLS names {asked.caller_id.hex()}, the RequestID {originator.hex()}")
    if asked.user is None:
        return RequestRefused(Code.NOT_A_PARTY, f"{originator.hex()} is no User of the DCC")
    if asked.signer_role not in asked.user.certificate_roles:
        return RequestRefused(Code.NOT_A_PARTY, f"the signing certificate's role {asked.signer_role} is not the User's")
    return None


def _user_is_active(asked: Asked) -> RequestRefused | None:
    if asked.user is not None and asked.user.status is not UserStatus.ACTIVE:
        return RequestRefused(Code.USER_STATUS, f"the User is {asked.user.status}")
    return None


def _role_is_eligible(asked: Asked) -> RequestRefused | None:
    if asked.row is None or asked.user is None:
        return None  # the next step names what is wrong
    if not asked.row.roles & asked.user.roles:
        return RequestRefused(Code.ROLE_NOT_ELIGIBLE, f"{asked.row.variant} is for {' '.join(sorted(asked.row.roles))}")
    return None


def _parts_fit(asked: Asked) -> RequestRefused | None:
    misfit = asked.request.misfit
    return None if misfit is None else RequestRefused(misfit.response_code, misfit.reason)


def _url_fits(asked: Asked) -> RequestRefused | None:
    if asked.command_variant not in SERVICE_VARIANTS[asked.service]:
        return RequestRefused(
            Code.WRONG_URL, f"Command Variant {asked.command_variant} came to the {asked.service} service"
        )
    return None


def _target_exists(asked: Asked) -> RequestRefused | None:
    target = asked.request.header.request_id.target
    for_the_dcc = asked.row is not None and asked.row.non_device
    if for_the_dcc and target != asked.dsp_id:
        return RequestRefused(
            Code.NO_SUCH_DEVICE, f"a request to the DCC names {asked.dsp_id.hex()}, not {target.hex()}"
        )
    if not for_the_dcc and asked.device is None:
        return RequestRefused(Code.NO_SUCH_DEVICE, f"{target.hex()} is not in the inventory")
    return None


def _is_registered(asked: Asked) -> RequestRefused | None:
    if asked.device is not None and not asked.registered_roles:
        return RequestRefused(Code.NOT_AUTHORISED, "the User is not registered for this device in a role that may ask")
    return None


def _others_are_ours(asked: Asked) -> RequestRefused | None:
    """A request may name a second device. It belongs to the same home, or to this User as well.

    Otherwise a supplier could list another's meter on its own hub, and be sent what is meant for it (DESIGN CHOICE:
    nothing public says how the DCC looks at the second device).
    """
    device = asked.device
    if device is None or asked.row is None:
        return None
    for name in OTHER_DEVICES.get(asked.row.variant, ()):
        text = asked.request.body.find_text(name)
        other = None if text is None else asked.inventory.device(parse_entity(text, name))
        if other is None or other.hub_id in {NO_HUB, device.hub_id}:
            continue
        if not asked.inventory.roles_of(other, asked.caller_id, asked.at) & asked.row.roles:
            return RequestRefused(Code.NOT_AUTHORISED, f"{name} {other.device_id.hex()} is of a home of others")
    return None


def _status_fits(asked: Asked) -> RequestRefused | None:
    suspended = asked.device is not None and asked.device.status is DeviceStatus.SUSPENDED
    if suspended and asked.row is not None and asked.row.variant in SUSPENDED_SERVICES:
        return None
    if asked.device is not None and asked.device.status not in REACHABLE_STATUSES:
        return RequestRefused(Code.DEVICE_STATUS, f"the device is {asked.device.status}")
    return None


def _type_fits(asked: Asked) -> RequestRefused | None:
    # INFERENCE: the catalogue's device types are those the published request templates address.
    if asked.device is not None and asked.row is not None and asked.device.device_type not in asked.row.devices:
        return RequestRefused(Code.DEVICE_TYPE, f"{asked.row.variant} is not for a {asked.device.device_type}")
    return None


def _road_is_open(asked: Asked) -> RequestRefused | None:
    if asked.device is None:
        return None
    if asked.command_variant in LOCAL and not asked.registered_roles & LOCAL_DELIVERY_ROLES:
        return RequestRefused(Code.NOT_FOR_LOCAL_DELIVERY, "local delivery is for the device's supplier")
    if asked.command_variant in WAN_ONLY and asked.wan_coverage is WanCoverage.NONE:
        # Refused before anything is sealed, so that no Command exists that nobody can deliver (DESIGN CHOICE).
        return RequestRefused(Code.CANNOT_COMMUNICATE, "the premises have no SM WAN")
    return None


def _is_done_here(asked: Asked) -> RequestRefused | None:
    row = asked.row
    if row is not None and row.non_device and row.variant not in NON_DEVICE_DONE:
        return RequestRefused(OurCode.NOT_DONE_HERE, f"{row.variant} is not carried out here")
    return None


def _can_be_held(asked: Asked) -> RequestRefused | None:
    """A Command for Local Delivery is the answer itself, so it waits for nothing [I] (duis 2.2)."""
    header = asked.request.header
    preceding = header.preceding_service_request_id
    if preceding is not None and header.first_in_sequence:
        return RequestRefused(Code.COMMAND_VARIANT, "the first in a sequence has none before it")
    if preceding is not None and asked.command_variant not in SERVICE_VARIANTS[Service.SEND_COMMAND] | {4}:
        return RequestRefused(Code.NOT_FOR_LOCAL_DELIVERY, "only what the Send Command service takes can be sequenced")
    if preceding is not None and preceding.originator != header.request_id.originator:
        return RequestRefused(OurCode.NO_PREDECESSOR, "the request before it is another User's")
    if asked.command_variant in LOCAL_ONLY and asked.held_by_dcc and asked.request.execution_at is not None:
        return RequestRefused(Code.NOT_FOR_LOCAL_DELIVERY, "the DCC makes the Command at its date: no local delivery")
    if asked.request.execution_at is not None and asked.row is not None and asked.row.future_dated is FutureDated.NONE:
        return RequestRefused(OurCode.CONTENT, f"{asked.row.variant} has no date")
    return None


_STEPS: Final[tuple[Callable[[Asked], RequestRefused | None], ...]] = (
    _is_a_party,
    _user_is_active,
    _role_is_eligible,
    _parts_fit,
    _url_fits,
    _target_exists,
    _is_registered,
    _others_are_ours,
    _status_fits,
    _type_fits,
    _road_is_open,
    _is_done_here,
    _can_be_held,
)
_STEPS_AGAIN: Final[tuple[Callable[[Asked], RequestRefused | None], ...]] = (
    _user_is_active,
    _role_is_eligible,
    _target_exists,
    _is_registered,
    _others_are_ours,
    _status_fits,
    _type_fits,
    _road_is_open,
)
