"""Access control: who may ask for what, of which device, in which order. Written to be read aloud.

A verified request is carried out only when, in this order (the order is a DESIGN CHOICE; each step has its test):

1. TLS, the RequestID and the XML signature all name one User that the DCC knows, by a certificate of its role (E1);
2. that User may use the services at present (E3);
3. the service is open to one of its roles (E2);
4. Command Variant, service and body belong together (E12), and come to the URL they belong to (E13);
5. the target exists: a device of the inventory, or the DCC itself for requests to the DCC (E19);
6. the User is registered for the device in such a role, now (E4);
7. the device's status (E5) and type (E11) fit;
8. a Command for Local Delivery goes to the device's supplier only (E17), one by WAN to a hub the WAN reaches (E20);
9. nothing is asked that this DSP cannot do yet;
10. the RequestID was not used for another document, and its counter is above all that went before in its lane.

Where the public sources name no code for a refusal, ``OUR_CODES`` says which of the interface's unexplained values
stands for it here (DESIGN CHOICE). A refusal tells the User the code alone; the reason is for the DSP's own events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.inventory import DeviceStatus, UserRole, UserStatus, WanCoverage
from lastmetre.dcc.ports import LaneMarks, Service, Stage
from lastmetre.duis.catalogue import LOCAL, SIGNED, ServiceRequest, service_request
from lastmetre.gbcs.catalogue import Lane, use_case

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

LOCAL_DELIVERY_ROLES: Final = frozenset({UserRole.IMPORT_SUPPLIER, UserRole.EXPORT_SUPPLIER, UserRole.GAS_SUPPLIER})
"""Who may ask for a Command for Local Delivery. DESIGN CHOICE: E17's exact rule is not public."""

NON_DEVICE_DONE: Final = frozenset({"8.13"})
"""Requests to the DCC itself that are carried out so far."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One verified request with everything access control looks at."""

    request: Request
    service: Service
    caller_id: bytes
    signer_role: int | None
    user: User | None
    device: Device | None
    dsp_id: bytes
    wan_coverage: WanCoverage
    at: int

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
        return frozenset(r for r in self.device.roles_of(self.user.user_id, self.at) if r in self.row.roles)


def ask(request: Request, signer_role: int | None, service: Service, caller_id: bytes, inventory: Inventory,
        dsp_id: bytes, at: int) -> Asked:  # fmt: skip
    """Put a verified request together with what the inventory says of its User and device."""
    device = inventory.device(request.header.request_id.target)
    return Asked(
        request=request,
        service=service,
        caller_id=caller_id,
        signer_role=signer_role,
        user=inventory.user(request.header.request_id.originator),
        device=device,
        dsp_id=dsp_id,
        wan_coverage=WanCoverage.NONE if device is None else inventory.coverage(device),
        at=at,
    )


def check_request(asked: Asked) -> None:
    """Steps 1 to 9; raises ``RequestRefused`` with the first that does not hold."""
    for step in _STEPS:
        refused = step(asked)
        if refused is not None:
            raise refused


def check_counter(asked: Asked, marks: LaneMarks) -> None:
    """Step 10 for a RequestID that was not used in this stage; raises ``RequestRefused``.

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


def _status_fits(asked: Asked) -> RequestRefused | None:
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
    header, row = asked.request.header, asked.row
    if row is not None and row.non_device and row.variant not in NON_DEVICE_DONE:
        return RequestRefused(OurCode.NOT_DONE_HERE, f"{row.variant} is not carried out here yet")
    if header.first_in_sequence or header.preceding_service_request_id is not None:
        return RequestRefused(OurCode.NOT_DONE_HERE, "sequenced requests are not held here yet")
    if row is not None and not row.device_held and asked.request.execution_at is not None:
        return RequestRefused(OurCode.NOT_DONE_HERE, "requests for later are not held here yet")
    return None


_STEPS: Final[tuple[Callable[[Asked], RequestRefused | None], ...]] = (
    _is_a_party,
    _user_is_active,
    _role_is_eligible,
    _parts_fit,
    _url_fits,
    _target_exists,
    _is_registered,
    _status_fits,
    _type_fits,
    _road_is_open,
    _is_done_here,
)
