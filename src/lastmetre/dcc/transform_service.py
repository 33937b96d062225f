"""From an allowed request to a Pre-Command or a sealed Command: what each Command Variant asks for.

Rules this module keeps (reference: duis 2.1; transform A1, A2):

* A Pre-Command is kept as returned. A Signed Pre-Command is sealed only when it is exactly that, with the User's own
  GBCS signature behind it; that it is so only once follows from its RequestID (``access_control``).
* A Command is sealed once and kept with its way. What goes to a User and what goes down the WAN are the same octets.
* Sealing moves the counter's lane and counts as a use, whatever road the Command takes.
* Bytes of others are compared and wrapped, never mended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.access_control import Code, OurCode
from lastmetre.dcc.effects import beside, read_effect
from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.inventory import DeviceType, UserRole, WanCoverage
from lastmetre.dcc.ports import OutboxKind, PreCommandRecord, Route, SealedCommand
from lastmetre.duis.catalogue import SIGNED
from lastmetre.duis.documents import LocalCommand, PreCommand
from lastmetre.duis.errors import DuisError
from lastmetre.duis.identifiers import parse_entity
from lastmetre.duis.transform import DeviceFacts, HubBackup, Records, Sender, rules_of, transform
from lastmetre.duis.use_cases.rules import Speaker
from lastmetre.gbcs.catalogue import Lane
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import Message, df_part, parse_message
from lastmetre.gbcs.protect import CryptoRefused, verify_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.anomalies import AnomalyRules
    from lastmetre.dcc.credentials import UserCertificates
    from lastmetre.dcc.inventory import Device, Inventory
    from lastmetre.dcc.ports import DspChange
    from lastmetre.dcc.replies import Replies
    from lastmetre.dcc.sealing import Broker
    from lastmetre.duis.documents import Payload
    from lastmetre.duis.transform import TransformResult
    from lastmetre.duis.xml import Element

    Luck = Callable[[int], bytes]
    """So many random octets."""

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

CUSTOMER_IDENTIFICATION: Final = "9.1"
CHANGE_OF_SUPPLIER: Final = "6.23"
CIN_OCTETS: Final = 8

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

    def __init__(
        self, broker: Broker, change_of_supplier: Broker | None, users: UserCertificates, replies: Replies,
        rules: AnomalyRules, luck: Luck,
    ) -> None:  # fmt: skip
        """``change_of_supplier``: the party that signs SRV 6.23's Commands, where this DSP has its keys."""
        self._broker = broker
        self._cos = change_of_supplier
        self._users = users
        self._replies = replies
        self._rules = rules
        self._luck = luck

    def transform(self, asked: Asked, change: DspChange) -> Done:
        """Command Variant 4: return the Pre-Command, and remember it."""
        built, _ = self._build(asked, change)
        octets = built.message
        header = asked.request.header
        breach = self._rules.of_values(asked)
        words = None if breach is None else breach.words
        record = PreCommandRecord(header.service_reference_variant, octets, words, beside(asked.request))
        change.keep_pre_command(str(header.request_id), record)
        assert asked.device is not None
        payload = PreCommand(asked.device.gbcs_version, octets)
        return Done(Code.SUCCESS, payload, "pre_command_made", _facts(asked, built.header.message_code, octets))

    def seal(self, asked: Asked, change: DspChange, dsp_schedule_id: int | None = None) -> Done:
        """Command Variants 1 to 3 and 5 to 7: the finished Command, on its way."""
        variant = asked.request.header.service_reference_variant
        change.note_use(asked.caller_id, variant, asked.at)
        if asked.command_variant in SIGNED:
            return self._signed_command(asked, change)
        return self._command(asked, change, dsp_schedule_id)

    def _command(self, asked: Asked, change: DspChange, dsp_schedule_id: int | None) -> Done:
        """Build and seal a non-critical Command; a few the DCC signs itself (transform A2)."""
        built, records = self._build(asked, change, by_schedule=dsp_schedule_id is not None)
        speaker = self._broker if built.header.business_originator_id == self._broker.entity_id else self._cos
        df = speaker.sign(built.message) if built.signed_by_dcc and speaker is not None else built.message
        effect = beside(asked.request, records.customer_identification_number)
        return self._seal(asked, change, df, effect, dsp_schedule_id)

    def _signed_command(self, asked: Asked, change: DspChange) -> Done:
        """Seal what was transformed before and signed by the User."""
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
        return self._seal(asked, change, signed, record.effect)

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

    def _build(self, asked: Asked, change: DspChange, *, by_schedule: bool = False) -> tuple[TransformResult, Records]:
        """The GBCS message before signature and MAC; raises ``RequestRefused`` where the transform has no rule."""
        device, request = asked.device, asked.request
        assert device is not None
        user_id = request.header.request_id.originator
        records = self._records(asked)
        facts = device_facts(asked, records)
        if by_schedule:  # a RequestID's counter serves once; the broker has its own for the rest [I]
            facts = replace(facts, known_remote_parties=frozenset())
        sender = Sender(user_role=min(asked.registered_roles), issued_at=asked.at)
        if user_id not in facts.known_remote_parties or _for_the_broker(asked):
            counter = change.next_broker_counter(device.device_id)
            sender = replace(sender, broker_id=self._broker.entity_id, broker_counter=counter)
        if self._cos is not None and asked.row is not None and asked.row.variant == CHANGE_OF_SUPPLIER:
            counter = change.next_broker_counter(device.device_id)
            sender = replace(
                sender, change_of_supplier_id=self._cos.entity_id, change_of_supplier_counter=counter
            )  # fmt: skip
        try:
            return transform(request, facts, sender), records
        except DuisError as error:
            raise RequestRefused(OurCode.CONTENT, str(error)) from error

    def _records(self, asked: Asked) -> Records:
        """What the inventory, and not the XML, knows of a join, a restore or a number to be made up."""
        body, inventory = asked.request.body, asked.inventory
        other_type = other_certificate = None
        other = _named(inventory, body, "OtherDeviceID")
        if other is not None:
            certificate = self._broker.device_certificate(other.device_id, KeyUse.KEY_AGREEMENT)
            other_type = other.device_type.value
            other_certificate = None if certificate is None else certificate.der
        hub, gpf = (_named(inventory, body, name) for name in ("OldCHFID", "OldGPFID"))
        backup = None
        if hub is not None and hub.hub_network is not None:
            backup = HubBackup(hub.hub_network, hub.hub_link_keys)
        numbered = asked.request.header.service_reference_variant == CUSTOMER_IDENTIFICATION
        return Records(
            other_device_type=other_type,
            other_device_certificate=other_certificate,
            customer_identification_number=make_cin(self._luck(CIN_OCTETS)) if numbered else None,
            hub_backup=backup,
            device_log=None if gpf is None else gpf.device_log or None,
        )

    def _seal(
        self, asked: Asked, change: DspChange, df: bytes, effect: str, dsp_schedule_id: int | None = None
    ) -> Done:  # fmt: skip
        device, request = asked.device, asked.request.header
        assert device is not None
        octets = self._broker.seal(df, device.device_id)
        header = parse_message(octets).header
        run = "" if dsp_schedule_id is None else f"#{header.originator_counter}"
        command = SealedCommand(
            request_id=f"{request.request_id}{run}",
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
            dsp_schedule_id=dsp_schedule_id,
            effect=effect,
        )
        change.keep_command(command)
        if asked.lane is Lane.TOP_UP:
            change.keep_top_up(command.user_id, command.target_id, request.request_id.counter >> 32)
        if command.route is not Route.LOCAL:
            change.put_out(OutboxKind.WAN, device.hub_id, octets, command.request_id, asked.at)
            change.mark_tried(command.request_id, asked.at)
        synchronous = ROUTES[asked.command_variant] is Route.LOCAL
        if not synchronous and command.route is not Route.WAN:
            copy = self._replies.local_copy(command, asked.at)
            change.put_out(OutboxKind.PUSH, command.user_id, copy, command.request_id, asked.at)
        facts = _facts(asked, header.message_code, octets) | {"route": command.route.value}
        if synchronous:
            return Done(Code.SUCCESS, LocalCommand(octets), "command_sealed", facts)
        return Done(Code.ACKNOWLEDGED, None, "command_sealed", facts)


def device_facts(asked: Asked, records: Records) -> DeviceFacts:
    """What the transform takes from the inventory. The User who asks is the only one it needs to place.

    Whom a device knows is whose credentials it said it holds; before it ever said so, whoever is registered in a role
    whose credentials it holds [I].
    """
    device, user_id = asked.device, asked.request.header.request_id.originator
    assert device is not None
    variant = device.esme_variant or ""
    held = {party for _, party in device.credentials}
    roles = asked.inventory.roles_of(device, user_id, asked.at)
    known = user_id in held if held else bool(roles & KNOWN_ROLES)
    return DeviceFacts(
        device_type=device.device_type.value,
        gbcs_version=device.gbcs_version,
        twin=variant.startswith("B"),
        phases=3 if variant.startswith("C") else 1,
        known_remote_parties=frozenset({user_id}) if known and device.device_type in KNOWING_DEVICES else frozenset(),
        records=records,
    )


def cin_of(command: SealedCommand) -> str | None:
    """The number that a Command for SRV 9.1 carries."""
    return read_effect(command.effect).cin


def make_cin(octets: bytes) -> str:
    """Four digits for SRV 9.1, from random octets."""
    return f"{int.from_bytes(octets, 'big') % 10_000:04d}"


def _named(inventory: Inventory, body: Element, name: str) -> Device | None:
    """The device that a request names beside its target."""
    text = body.find_text(name)
    return None if text is None else inventory.device(parse_entity(text))


def _for_the_broker(asked: Asked) -> bool:
    """Whether the broker may speak for itself here, whoever asks (CS02a, handovers, GCS59)."""
    rules = rules_of(asked.request.header.service_reference_variant)
    return any(rule.speaker is Speaker.BROKER for rule in rules)


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
