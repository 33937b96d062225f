"""From an allowed request to a Pre-Command or a sealed Command: what each Command Variant asks for.

Rules this module keeps (reference: duis 2.1; transform A1, A2):

* A Pre-Command is kept as returned. A Signed Pre-Command is sealed only when it is exactly that, with the User's own
  GBCS signature behind it; that it is so only once follows from its RequestID (``access_control``).
* A Command is sealed once and kept with its way. What goes to a User and what goes down the WAN are the same octets.
* Bytes of others are compared and wrapped, never mended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.access_control import Code, OurCode
from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.inventory import DeviceType, UserRole, WanCoverage
from lastmetre.dcc.ports import OutboxKind, PreCommandRecord, Route, SealedCommand
from lastmetre.duis.documents import LocalCommand, PreCommand
from lastmetre.duis.errors import DuisError
from lastmetre.duis.transform import DeviceFacts, Sender, transform
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Message, df_part, parse_message
from lastmetre.gbcs.protect import CryptoRefused, verify_signature

if TYPE_CHECKING:
    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.credentials import UserCertificates
    from lastmetre.dcc.inventory import Device
    from lastmetre.dcc.ports import DspChange
    from lastmetre.dcc.replies import Replies
    from lastmetre.dcc.sealing import Broker
    from lastmetre.duis.documents import Payload
    from lastmetre.duis.transform import TransformResult

ROUTES: Final = MappingProxyType(
    {
        1: Route.WAN,
        2: Route.LOCAL,
        3: Route.BOTH,
        5: Route.WAN,
        6: Route.LOCAL,
        7: Route.BOTH,
    }
)
"""How the Command of each Command Variant leaves (duis 2.1)."""


KNOWING_DEVICES: Final = frozenset({DeviceType.ESME, DeviceType.GSME, DeviceType.GPF})
"""Devices that hold credentials of Users; all others know the ACB alone (transform A1)."""
KNOWN_ROLES: Final = frozenset(
    {UserRole.IMPORT_SUPPLIER, UserRole.GAS_SUPPLIER, UserRole.ELECTRICITY_DISTRIBUTOR, UserRole.GAS_TRANSPORTER}
)
"""Roles whose credentials they hold. INFERENCE from transform A1: an export supplier's reads came by the ACB."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was carried out: the synchronous answer, and the event to tell once everything is stored."""

    code: str
    payload: Payload | None
    event: str
    facts: dict[str, str]


class TransformService:
    """Carries out requests that access control has let through, inside one transaction."""

    def __init__(self, broker: Broker, users: UserCertificates, replies: Replies) -> None:
        self._broker = broker
        self._users = users
        self._replies = replies

    def transform(self, asked: Asked, change: DspChange) -> Done:
        """Command Variant 4: return the Pre-Command, and remember it."""
        built = self._build(asked, change)
        octets = built.message
        header = asked.request.header
        record = PreCommandRecord(header.service_reference_variant, octets)
        change.keep_pre_command(str(header.request_id), record)
        assert asked.device is not None
        payload = PreCommand(asked.device.gbcs_version, octets)
        return Done(Code.SUCCESS, payload, "pre_command_made", _facts(asked, built.header.message_code, octets))

    def command(self, asked: Asked, change: DspChange) -> Done:
        """Command Variants 1 to 3: build and seal a non-critical Command; a few the DCC signs itself (transform A2)."""
        built = self._build(asked, change)
        df = self._broker.sign(built.message) if built.signed_by_dcc else built.message
        return self._seal(asked, change, df)

    def signed_command(self, asked: Asked, change: DspChange) -> Done:
        """Command Variants 5 to 7: seal what was transformed before and signed by the User."""
        request_id = str(asked.request.header.request_id)
        record = change.pre_command(request_id)
        signed = asked.request.signed_pre_command
        assert signed is not None  # the body element was checked
        if record is None:
            raise RequestRefused(OurCode.NOT_AS_TRANSFORMED, "nothing was transformed under this RequestID")
        if record.service_reference_variant != asked.request.header.service_reference_variant:
            raise RequestRefused(
                OurCode.NOT_AS_TRANSFORMED, f"the Pre-Command was made for {record.service_reference_variant}"
            )
        self._check_signed(asked, signed, record.pre_command)
        return self._seal(asked, change, signed)

    def _check_signed(self, asked: Asked, signed: bytes, transformed: bytes) -> None:
        try:
            message = parse_message(signed)
        except GbcsDecodeError as error:
            raise RequestRefused(OurCode.NOT_AS_TRANSFORMED, f"it is no GBCS message: {error}") from error
        if message.mac is not None or not message.signature:
            raise RequestRefused(OurCode.NOT_AS_TRANSFORMED, "a Signed Pre-Command has a signature and no MAC")
        if df_part(Message(message.header, message.content, None, None)) != transformed:
            raise RequestRefused(OurCode.NOT_AS_TRANSFORMED, "it is not the Pre-Command that was returned")
        certificate = self._users.of_user(asked.request.header.request_id.originator)
        if certificate is None:
            raise RequestRefused(OurCode.GBCS_SIGNATURE, "the User has no signing certificate that may be believed")
        try:
            verify_signature(message, certificate.public_key)
        except CryptoRefused as error:
            raise RequestRefused(OurCode.GBCS_SIGNATURE, "its GBCS signature is not the User's") from error

    def _build(self, asked: Asked, change: DspChange) -> TransformResult:
        """The GBCS message before signature and MAC; raises ``RequestRefused`` where the transform has no rule."""
        device, request = asked.device, asked.request
        assert device is not None
        user_id = request.header.request_id.originator
        facts = device_facts(device, user_id, asked.at)
        sender = Sender(user_role=min(asked.registered_roles), issued_at=asked.at)
        if user_id not in facts.known_remote_parties:
            counter = change.next_broker_counter(device.device_id)
            sender = replace(sender, broker_id=self._broker.entity_id, broker_counter=counter)
        try:
            return transform(request, facts, sender)
        except DuisError as error:
            raise RequestRefused(OurCode.CONTENT, str(error)) from error

    def _seal(self, asked: Asked, change: DspChange, df: bytes) -> Done:
        device, request = asked.device, asked.request.header
        assert device is not None
        octets = self._broker.seal(df, device.device_id)
        header = parse_message(octets).header
        command = SealedCommand(
            request_id=str(request.request_id),
            user_id=request.request_id.originator,
            service_reference=request.service_reference,
            service_reference_variant=request.service_reference_variant,
            target_id=device.device_id,
            hub_id=device.hub_id,
            originator_id=header.business_originator_id,
            counter=header.originator_counter,
            command=octets,
            route=_route(asked),
            sealed_at=asked.at,
        )
        change.keep_command(command)
        if command.route is not Route.LOCAL:
            change.put_out(OutboxKind.WAN, device.hub_id, octets, command.request_id, asked.at)
        synchronous = ROUTES[asked.command_variant] is Route.LOCAL
        if not synchronous and command.route is not Route.WAN:
            copy = self._replies.local_copy(command, asked.at)
            change.put_out(OutboxKind.PUSH, command.user_id, copy, command.request_id, asked.at)
        facts = _facts(asked, header.message_code, octets) | {"route": command.route.value}
        if synchronous:
            return Done(Code.SUCCESS, LocalCommand(octets), "command_sealed", facts)
        return Done(Code.ACKNOWLEDGED, None, "command_sealed", facts)


def device_facts(device: Device, user_id: bytes, at: int) -> DeviceFacts:
    """What the transform takes from the inventory. ``user_id`` is the only User it needs to place."""
    variant = device.esme_variant or ""
    known = device.device_type in KNOWING_DEVICES and bool(device.roles_of(user_id, at) & KNOWN_ROLES)
    return DeviceFacts(
        device_type=device.device_type.value,
        gbcs_version=device.gbcs_version,
        twin=variant.startswith("B"),
        phases=3 if variant.startswith("C") else 1,
        known_remote_parties=frozenset({user_id}) if known else frozenset(),
    )


def _route(asked: Asked) -> Route:
    """The way of the Command: where no WAN reaches, what would go both ways goes by the User alone."""
    route = ROUTES[asked.command_variant]
    return Route.LOCAL if route is Route.BOTH and asked.wan_coverage is WanCoverage.NONE else route


def _facts(asked: Asked, message_code: int, message: bytes) -> dict[str, str]:
    return {
        "device_id": asked.request.header.request_id.target.hex(),
        "message_code": f"{message_code:04X}",
        "message": message.hex(),
    }
