"""A DSP of our own for tests: a real core on a store in memory, with a WAN and Users that a test holds in its hands.

The keys and certificates are those of ``own_world``; a test User signs real XML with them.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.dcc.dsp import Dsp
from lastmetre.dcc.inventory import (
    Device,
    DeviceStatus,
    DeviceType,
    Inventory,
    Registration,
    User,
    UserRole,
    UserStatus,
    WanCoverage,
)
from lastmetre.dcc.ports import OutboxKind, PushOutcome, Service
from lastmetre.duis.documents import (
    LocalCommand,
    PreCommand,
    Request,
    RequestHeader,
    Response,
    ResponseMessage,
    VerifiedResponse,
    build_signed_request,
    read_signed_response,
    signed_pre_command,
    write_date_time,
)
from lastmetre.duis.identifiers import RequestID
from lastmetre.duis.signature import Signer
from lastmetre.duis.xml import Element
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Certificate, Usage
from lastmetre.gbcs.protect import sign_pre_command
from lastmetre.gbcs.smki import issuer_name, make_certificate
from lastmetre.sim.memory_dsp import DspMemory, MemoryDspStore
from tests import own_world as own
from tests.own_world import BROKER, CHF, DS, ESME, NETWORK_OPERATOR, NOW, OTHER_ESME, OTHER_SUPPLIER, PPMID, SUPPLIER

if TYPE_CHECKING:
    from pathlib import Path

    from lastmetre.dcc.dsp import DspOptions
    from lastmetre.dcc.egress import Waits
    from lastmetre.dcc.ports import HeldKind, HeldRequest, OutboxItem
    from lastmetre.gbcs.keys import KeyUse

DARK_CHF = bytes.fromhex("00005eef100000b2")
"""A hub where no WAN reaches; ``OTHER_ESME`` hangs on it."""
GSME = bytes.fromhex("00005eef100000a1")
"""A gas meter on the first hub, supplied by our supplier."""
NOBODY = bytes.fromhex("00005eef100000ff")
URL = "https://user.example/duis/v1/responses"
SERVICES = {
    1: Service.SEND_COMMAND, 2: Service.NON_DEVICE, 3: Service.SEND_COMMAND, 4: Service.TRANSFORM,
    5: Service.SEND_COMMAND, 6: Service.NON_DEVICE, 7: Service.SEND_COMMAND, 8: Service.NON_DEVICE,
}  # fmt: skip


@cache
def issuing_authority() -> Certificate:
    """The certificate of the authority behind ``own_world``'s certificates."""
    key = ec.derive_private_key(1000, ec.SECP256R1())
    name = issuer_name("own world", Role.ISSUING_AUTHORITY)
    return make_certificate(
        subject=name, public_key=key.public_key(), usage=Usage.CERT_SIGN, issuer=name, issuer_key=key,
        serial_number=1, not_before=own._FROM, not_after=own._UNTIL,
    )  # fmt: skip


class BrokerKeys:
    """A key store that holds the DSP's keys and nobody else's."""

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        """The DSP's own keys only."""
        assert entity_id == BROKER, "the DSP asked for somebody else's private key"
        return own.private_key(entity_id, use)


class EveryCertificate:
    """Certificates of everybody but ``NOBODY``."""

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """Made when asked for."""
        return None if entity_id == NOBODY else own.certificate(entity_id, use)


@dataclass
class HandWan:
    """A WAN in the test's hands."""

    connected: set[bytes] = field(default_factory=lambda: {CHF})
    sent: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def send(self, hub_id: bytes, message: bytes) -> bool:
        """Take it when the hub is there."""
        if hub_id in self.connected:
            self.sent.append((hub_id, message))
        return hub_id in self.connected


@dataclass
class HandUsers:
    """The Users' Receive Response services in the test's hands: first ``outcomes``, then everything is accepted."""

    outcomes: list[PushOutcome] = field(default_factory=list)
    pushed: list[tuple[str, bytes]] = field(default_factory=list)

    async def push(self, url: str, xml: bytes) -> PushOutcome:
        """Answer as the test says."""
        outcome = self.outcomes.pop(0) if self.outcomes else PushOutcome.ACCEPTED
        if outcome is PushOutcome.ACCEPTED:
            self.pushed.append((url, xml))
        return outcome


def user(user_id: bytes, *roles: UserRole, status: UserStatus = UserStatus.ACTIVE) -> User:
    """A User of the DCC."""
    return User(user_id, frozenset(roles), status, URL)


def home(hub: bytes, esme: bytes, coverage: WanCoverage) -> tuple[Device, ...]:
    """A hub and a meter, supplied by our supplier."""
    commissioned = DeviceStatus.COMMISSIONED
    registered = (
        Registration(UserRole.IMPORT_SUPPLIER, SUPPLIER, since_at=NOW - 1000),
        Registration(UserRole.ELECTRICITY_DISTRIBUTOR, NETWORK_OPERATOR),
    )
    return (
        Device(hub, DeviceType.CHF, commissioned, "4.3", hub, registered, wan_coverage=coverage),
        Device(esme, DeviceType.ESME, commissioned, "4.3", hub, registered, esme_variant="A"),
    )


def inventory(**changed: object) -> Inventory:
    """Two homes, three Users; ``changed`` replaces fields of the first home's meter."""
    hub, meter = home(CHF, ESME, WanCoverage.GOOD)
    meter = replace(meter, **changed)  # type: ignore[arg-type]  # the test knows the field's type
    ppmid = Device(PPMID, DeviceType.PPMID, DeviceStatus.COMMISSIONED, "4.3", CHF, hub.registrations)
    users = (
        user(SUPPLIER, UserRole.IMPORT_SUPPLIER, UserRole.GAS_SUPPLIER),
        user(OTHER_SUPPLIER, UserRole.IMPORT_SUPPLIER, UserRole.EXPORT_SUPPLIER),
        user(NETWORK_OPERATOR, UserRole.ELECTRICITY_DISTRIBUTOR),
    )
    gas = Registration(UserRole.GAS_SUPPLIER, SUPPLIER, since_at=NOW - 1000)
    gsme = Device(GSME, DeviceType.GSME, DeviceStatus.COMMISSIONED, "4.3", CHF, (gas,))
    return Inventory((hub, meter, ppmid, gsme, *home(DARK_CHF, OTHER_ESME, WanCoverage.NONE)), users)


def xml_signer(entity_id: bytes) -> Signer:
    """A party's XML signing identity: its digital signature key."""
    certificate = own.certificate(entity_id, DS)
    return Signer(own.private_key(entity_id, DS), certificate.issuer_name, certificate.serial_number)


def request(
    variant: str, body: Element, command_variant: int, counter: int, *, originator: bytes = SUPPLIER,
    target: bytes = ESME,
) -> Request:  # fmt: skip
    """A request of our supplier's."""
    header = RequestHeader(
        RequestID(originator, target, counter), command_variant, ".".join(variant.split(".")[:2]), variant
    )
    return Request(header, body)


def to_dcc(variant: str, body: Element, counter: int, *, originator: bytes = SUPPLIER) -> Request:
    """A request to the DCC itself."""
    return request(variant, body, 8, counter, originator=originator, target=BROKER)


def after(asked: Request, before: Request) -> Request:
    """The request, to be carried out after another."""
    return replace(asked, header=replace(asked.header, preceding_service_request_id=before.header.request_id))


def at_date(asked: Request, when: int | str) -> Request:
    """The request, to be carried out at a date."""
    text = when if isinstance(when, str) else write_date_time(when)
    body = asked.body._replace(children=(Element("ExecutionDateTime", text), *asked.body.children))
    return replace(asked, body=body)


def arm(counter: int, command_variant: int = 4, **ids: bytes) -> Request:
    """SRV 7.3, critical."""
    return request("7.3", Element("ArmSupply"), command_variant, counter, **ids)


def read_balance(counter: int, command_variant: int = 2, **ids: bytes) -> Request:
    """SRV 4.18, not critical."""
    return request("4.18", Element("ReadMeterBalance"), command_variant, counter, **ids)


def top_up(utrn_counter: int, pence: int, command_variant: int = 2) -> Request:
    """SRV 2.2, not critical, in the top-up lane."""
    digits = Element("UTRN", own.top_up_digits(utrn_counter, pence))
    return request("2.2", Element("TopUpDevice", children=(digits,)), command_variant, utrn_counter << 32)


def returned(
    counter: int, message: bytes, original: RequestID | None = None, *, originator: bytes = SUPPLIER
) -> Request:
    """SRV 8.13 with a device's Response."""
    children = [] if original is None else [Element("OriginalRequestID", str(original))]
    children.append(Element("DeviceGBCSResponse", b64encode(message).decode()))
    body = Element("ReturnLocalCommandResponse", children=tuple(children))
    return request("8.13", body, 8, counter, originator=originator, target=BROKER)


class World:
    """One DSP on a store in memory (it keeps what PostgreSQL's keeps: tests/contract); ``restart`` leaves only that."""

    def __init__(
        self, _path: Path | None = None, devices: Inventory | None = None, waits: Waits | None = None,
        options: DspOptions | None = None,
    ) -> None:  # fmt: skip
        self.options = options
        self.memory = DspMemory()
        self.inventory = devices or inventory()
        self.waits = waits
        self.wan = HandWan()
        self.users = HandUsers()
        self.told = own.Told()
        self.now = NOW
        self._open()

    def _open(self) -> None:
        self.store = MemoryDspStore(self.memory)
        self.dsp = Dsp(
            dsp_id=BROKER,
            inventory=self.inventory,
            keys=BrokerKeys(),
            certificates=EveryCertificate(),
            issuers=(issuing_authority(),),
            store=self.store,
            wan=self.wan,
            users=self.users,
            tell=self.told,
            clock=lambda: self.now,
            waits=self.waits,
            options=self.options,
        )

    def close(self) -> None:
        """Nothing of a memory is to be given back."""

    def restart(self) -> None:
        """Forget everything that is not in the store."""
        self._open()

    def post(
        self, asked: Request | bytes, *, service: Service | None = None, caller: bytes = SUPPLIER,
        signer: bytes | None = None,
    ) -> Response:  # fmt: skip
        """Send a request as its originator would, and read the DSP's signed answer."""
        if isinstance(asked, bytes):
            assert service is not None
            document = asked
        else:
            document = build_signed_request(asked, xml_signer(signer or asked.header.request_id.originator))
            service = service or SERVICES.get(asked.header.command_variant, Service.NON_DEVICE)
        return read(self.dsp.answer(service, caller, document))

    def later(self, seconds: int) -> None:
        """Time passes, and the DSP looks what has become due."""
        self.now += seconds
        self.dsp.chores()

    def outbox(self, kind: OutboxKind) -> list[OutboxItem]:
        """What waits to leave that way."""
        with self.store.change() as change:
            return [item for item in change.outbox() if item.kind is kind]

    def documents(self) -> list[Response]:
        """What waits to be pushed to Users, verified, oldest first."""
        return [read(item.body) for item in self.outbox(OutboxKind.PUSH)]

    def down(self) -> list[bytes]:
        """The Commands that wait to leave by WAN, oldest first."""
        return [item.body for item in self.outbox(OutboxKind.WAN)]

    def held(self, kind: HeldKind | None = None) -> tuple[HeldRequest, ...]:
        """What the DSP holds."""
        with self.store.change() as change:
            return change.held_requests(kind)

    def from_wan(self, message: bytes, hub_id: bytes = CHF) -> None:
        """A device's message comes up."""
        asyncio.run(self.dsp.take_from_wan(hub_id, message))

    def device(self, device_id: bytes) -> Device:
        """A device as the DSP knows it now."""
        found = self.dsp.inventory.device(device_id)
        assert found is not None
        return found

    def local_command(self, asked: Request) -> bytes:
        """The Command for Local Delivery that a request brings."""
        return local_command(self.post(asked))

    def sign_off(self, transform: Request, command_variant: int = 6) -> Request:
        """Transform a critical request and sign its Pre-Command, as a supplier does."""
        return signed_pre_command(transform, self.signed(transform), command_variant)

    def signed(self, transform: Request) -> bytes:
        """The Signed Pre-Command's GBCS message."""
        return sign_pre_command(pre_command(self.post(transform)), own.private_key(SUPPLIER, DS))


def read(document: bytes) -> Response:
    """A document of the DSP, verified."""
    certificate = own.certificate(BROKER, DS)
    verified = read_signed_response(document, lambda _issuer, _serial: certificate, BROKER, at=NOW)
    assert isinstance(verified, VerifiedResponse)
    return verified.response


def code(response: Response) -> str:
    """The response code."""
    return response.header.response_code


def pre_command(response: Response) -> bytes:
    """The Pre-Command inside."""
    assert isinstance(response.body, ResponseMessage)
    assert isinstance(response.body.payload, PreCommand), code(response)
    return response.body.payload.gbcs_payload


def local_command(response: Response) -> bytes:
    """The Command for Local Delivery inside."""
    assert isinstance(response.body, ResponseMessage)
    assert isinstance(response.body.payload, LocalCommand), code(response)
    return response.body.payload.gbcs_payload
