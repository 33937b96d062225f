"""A small world of our own for tests: a supplier, the access control broker and a meter, with keys made from numbers.

Origin: made here. The keys are the scalars 1001, 1002, ... and protect nothing.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.gbcs.axdr import LongUnsigned, NullData, OctetString
from lastmetre.gbcs.catalogue import Role, use_case_by_name
from lastmetre.gbcs.certificates import Certificate, Usage
from lastmetre.gbcs.dlms import AccessRequest, Action, Get, Obis, decode_access_response, encode_access_request
from lastmetre.gbcs.keys import KeyUse, SharedSecret, agree
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.protect import pre_command, seal, sign_pre_command, unsigned_df
from lastmetre.gbcs.smki import DEVICE_NOT_AFTER, issuer_name, make_certificate, organisation_name
from lastmetre.gbcs.utrn import ValueClass, make_utrn
from lastmetre.home.esme import Esme
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.load import no_load
from lastmetre.home.objects.use_case_items import items_of
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import MeterState
from lastmetre.home.supply import Supply

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.dlms import ItemResult, Spec
    from lastmetre.home.load import LoadProfile
    from lastmetre.home.ports import DeviceStore, EventValue

SUPPLIER = bytes.fromhex("00005eef10000010")
OTHER_SUPPLIER = bytes.fromhex("00005eef10000011")
NETWORK_OPERATOR = bytes.fromhex("00005eef10000020")
BROKER = bytes.fromhex("00005eef10000002")
ESME = bytes.fromhex("00005eef100000a0")
OTHER_ESME = bytes.fromhex("00005eef100000b0")
CHF = bytes.fromhex("00005eef100000a2")
PPMID = bytes.fromhex("00005eef100000a4")
NOW = 1_795_400_000
"""2026-11-23, UTC."""

DS, KA, PP = KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT, KeyUse.PREPAYMENT

_ORGANISATIONS = {
    SUPPLIER: Role.SUPPLIER,
    OTHER_SUPPLIER: Role.SUPPLIER,
    NETWORK_OPERATOR: Role.NETWORK_OPERATOR,
    BROKER: Role.ACCESS_CONTROL_BROKER,
}
_ISSUER = issuer_name("own world", Role.ISSUING_AUTHORITY)
_FROM = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_UNTIL = dt.datetime(2036, 1, 1, tzinfo=dt.UTC)


@cache
def private_key(entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
    """The same key for the same name, always."""
    scalar = int.from_bytes(entity_id, "big") * 8 + list(KeyUse).index(use) + 1001
    return ec.derive_private_key(scalar, ec.SECP256R1())


@cache
def certificate(entity_id: bytes, use: KeyUse) -> Certificate:
    """The certificate of a key."""
    role = _ORGANISATIONS.get(entity_id)
    usage = Usage.DIGITAL_SIGNATURE if use is DS else Usage.KEY_AGREEMENT
    subject = x509.Name([]) if role is None else organisation_name("own world", role, entity_id)
    return make_certificate(
        subject=subject,
        public_key=private_key(entity_id, use).public_key(),
        usage=usage,
        issuer=_ISSUER,
        issuer_key=ec.derive_private_key(1000, ec.SECP256R1()),
        serial_number=int.from_bytes(entity_id[4:], "big") * 8 + list(KeyUse).index(use) + 1,
        not_before=_FROM,
        not_after=DEVICE_NOT_AFTER if role is None else _UNTIL,
        device_id=entity_id if role is None else None,
    )


@cache
def secret(one: bytes, other: bytes, use: KeyUse = KA) -> SharedSecret:
    """What two parties agree; ``use`` is the first party's key."""
    return agree(private_key(one, use), certificate(other, KA).public_key)


class Told:
    """Collects what a party tells."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, EventValue]]] = []

    def __call__(self, event: str, /, **values: EventValue) -> None:
        self.events.append((event, values))

    def of(self, event: str) -> list[dict[str, EventValue]]:
        """The values of every telling of one event."""
        return [values for name, values in self.events if name == event]


def anchors() -> dict[tuple[Role, KeyUse], Certificate]:
    """The trust anchor cells of a meter of ours."""
    return {
        (Role.SUPPLIER, DS): certificate(SUPPLIER, DS),
        (Role.SUPPLIER, KA): certificate(SUPPLIER, KA),
        (Role.SUPPLIER, PP): certificate(SUPPLIER, PP),
        (Role.NETWORK_OPERATOR, DS): certificate(NETWORK_OPERATOR, DS),
        (Role.NETWORK_OPERATOR, KA): certificate(NETWORK_OPERATOR, KA),
        (Role.ACCESS_CONTROL_BROKER, KA): certificate(BROKER, KA),
    }


@cache
def identity_of(entity_id: bytes) -> DeviceIdentity:
    """A device's keys and trust anchors; the same each time, so that a secret is agreed once."""
    return DeviceIdentity(entity_id, private_key(entity_id, DS), private_key(entity_id, KA), anchors())


def meter(
    *, balance: int = -1_000, supply: Supply = Supply.OFF_BY_CREDIT, store: DeviceStore | None = None,
    entity_id: bytes = ESME, told: Told | None = None, load: LoadProfile = no_load,
) -> Esme:  # fmt: skip
    """A meter that knows our supplier; its balance is in thousandths of a penny."""
    return Esme(
        identity_of(entity_id), store or MemoryStore(), told or Told(), new=MeterState(balance, supply), load=load
    )


def header(name: str, counter: int, *, originator: bytes = SUPPLIER, target: bytes = ESME) -> GroupingHeader:
    """A Command's header for a use case."""
    code = use_case_by_name(name).message_code
    return GroupingHeader(Cra.COMMAND, counter, originator, target, OtherInformation(code))


def non_critical(head: GroupingHeader, content: bytes) -> bytes:
    """A Command sealed by the broker."""
    return seal(unsigned_df(head, content), secret(BROKER, head.business_target_id))


def critical(head: GroupingHeader, content: bytes, signer: bytes | None = None) -> bytes:
    """A Command signed by its originator and sealed by the broker."""
    key = private_key(signer or head.business_originator_id, DS)
    return seal(sign_pre_command(pre_command(head, content), key), secret(BROKER, head.business_target_id))


def supply_script(counter: int, script: int) -> bytes:
    """The content of ECS42, ECS43 or ECS44."""
    action = Action(9, Obis.parse("0-0:10.0.106"), 1)
    return encode_access_request(AccessRequest(counter & 0xFFFFFF, ((action, LongUnsigned(script)),)))


def arm(counter: int, **ids: bytes) -> bytes:
    """An ECS44 Command."""
    return critical(header("ECS44", counter, **ids), supply_script(counter, 54))


def read_balance(counter: int, **ids: bytes) -> bytes:
    """An ECS82 Command."""
    get = Get(112, Obis.parse("0-0:19.10.0"), 2)
    content = encode_access_request(AccessRequest(counter & 0xFFFFFF, ((get, NullData()),)))
    return non_critical(header("ECS82", counter, **ids), content)


def top_up_digits(utrn_counter: int, pence: int, *, target: bytes = ESME) -> str:
    """A UTRN of our supplier's."""
    made = make_utrn(
        pence, ValueClass.PENCE, originator_counter=utrn_counter << 32, supplier_id=SUPPLIER, device_id=target,
        secret=secret(SUPPLIER, target, PP),
    )  # fmt: skip
    return made.digits


def top_up(utrn_counter: int, digits: str, *, target: bytes = ESME) -> bytes:
    """A CS01a Command."""
    counter = utrn_counter << 32
    enter = Action(115, Obis.parse("0-0:19.40.0"), 1)
    content = encode_access_request(AccessRequest(counter & 0xFFFFFF, ((enter, OctetString(digits.encode())),)))
    return non_critical(header("CS01a", counter, target=target), content)


def command(name: str, counter: int, *items: tuple[Spec, Data]) -> bytes:
    """Any DLMS Command of a use case, from the first of our parties that may say it, protected as its row says."""
    case = use_case_by_name(name)
    speakers = {Role.SUPPLIER: SUPPLIER, Role.NETWORK_OPERATOR: NETWORK_OPERATOR, Role.ACCESS_CONTROL_BROKER: BROKER}
    speaker = next(party for role, party in speakers.items() if role in case.originators)
    head = header(name, counter, originator=speaker)
    content = encode_access_request(AccessRequest(counter & 0xFFFFFF, items))
    return critical(head, content) if case.critical else non_critical(head, content)


def read_command(name: str, counter: int) -> bytes:
    """A Command that reads everything its use case reads by plain gets."""
    gets = [Get(each.class_id, each.obis, each.number) for letter, each in items_of(name) or () if letter == "G"]
    return command(name, counter, *((get, NullData()) for get in gets))


def results_of(response: bytes) -> tuple[ItemResult, ...]:
    """The item results of a Response."""
    return decode_access_response(parse_message(response).content).results
