"""Messages of our own to measure with: every kind of payload, every kind of protection, small and large.

Origin: made here, by the code that is measured. The keys are numbers and protect nothing; the identifiers are from the
EUI-64 documentation range. Values differ from message to message, as a fleet's do, so that nothing is read twice. The
mix is near that of the published messages: 240 octets in the mean, a third signed, a quarter GBZ, a fifth ASN.1.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.gbcs import asn1
from lastmetre.gbcs.asn1 import Asn1
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    CompactArray,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    Long,
    LongUnsigned,
    NullData,
    OctetString,
    SimpleType,
    Structure,
    StructureType,
    Unsigned,
)
from lastmetre.gbcs.catalogue import Protection, Role, UseCase, use_case, use_case_by_name
from lastmetre.gbcs.certificates import Certificate, Usage
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    Action,
    DataNotification,
    Get,
    GetWithSelection,
    ItemResult,
    Obis,
    Set,
)
from lastmetre.gbcs.gbz import Component, Gbz
from lastmetre.gbcs.keys import KeyUse, SecretCache, SharedSecret
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.payload import Payload, encode_payload
from lastmetre.gbcs.protect import pre_command, seal, sign_pre_command, signed_df, unsigned_df
from lastmetre.gbcs.smki import DEVICE_NOT_AFTER, issuer_name, make_certificate, organisation_name
from lastmetre.gbcs.zcl import DefaultResponse, ReadAttributes, zcl_command

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPPLIER: Final = bytes.fromhex("00005eef10000010")
BROKER: Final = bytes.fromhex("00005eef10000002")
ESME: Final = bytes.fromhex("00005eef100000a0")
GSME: Final = bytes.fromhex("00005eef100000a1")

DS, KA = KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT
_ROLES: Final = {SUPPLIER: Role.SUPPLIER, BROKER: Role.ACCESS_CONTROL_BROKER}
_ISSUER: Final = issuer_name("bench", Role.ISSUING_AUTHORITY)
_FROM, _UNTIL = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2036, 1, 1, tzinfo=dt.UTC)
_UPDATE_BY_SUPPLIER: Final = 0x0102
"""CS02b where a supplier replaces its own credentials."""
_NOW: Final = bytes.fromhex("07ea0b17ff060000008000ff")
_PRICE = Obis.parse("0-0:19.20.0")
_CLOCK = Obis.parse("0-0:1.0.0")

ROUNDS: Final = 12
"""Times every kind of message is made, with other values each time."""


@cache
def private_key(entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
    """The same key for the same name, always."""
    return ec.derive_private_key(int.from_bytes(entity_id, "big") * 8 + list(KeyUse).index(use) + 77, ec.SECP256R1())


@cache
def certificate(entity_id: bytes, use: KeyUse) -> Certificate:
    """The certificate of a key."""
    role = _ROLES.get(entity_id)
    return make_certificate(
        subject=x509.Name([]) if role is None else organisation_name("bench", role, entity_id),
        public_key=private_key(entity_id, use).public_key(),
        usage=Usage.DIGITAL_SIGNATURE if use is DS else Usage.KEY_AGREEMENT,
        issuer=_ISSUER,
        issuer_key=ec.derive_private_key(76, ec.SECP256R1()),
        serial_number=int.from_bytes(entity_id[4:], "big") * 8 + list(KeyUse).index(use) + 1,
        not_before=_FROM,
        not_after=DEVICE_NOT_AFTER if role is None else _UNTIL,
        device_id=entity_id if role is None else None,
    )


class BenchKeyring:
    """All keys and certificates of this little world, as ``gbcs.verdicts`` wants them."""

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """An entity's certificate for a use."""
        return certificate(entity_id, use)

    def find_private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """An entity's private key for a use."""
        return private_key(entity_id, use)

    def entities_in_role(self, role: Role) -> tuple[bytes, ...]:
        """The organisations that have a role."""
        return tuple(entity_id for entity_id, held in _ROLES.items() if held is role)


_SECRETS: Final = SecretCache()


def _secret(own: bytes, peer: bytes) -> SharedSecret:
    return _SECRETS.agree(private_key(own, KA), certificate(peer, KA).public_key)


def _use_case(name: str) -> UseCase:
    """A use case by its name, or by its code where several have one name."""
    case = use_case(_UPDATE_BY_SUPPLIER) if name == "CS02b" else use_case_by_name(name)
    if case is None:
        raise LookupError(name)
    return case


def _header(cra: Cra, name: str, counter: int, device: bytes) -> GroupingHeader:
    case = _use_case(name)
    command = cra is Cra.COMMAND
    when = _NOW if cra is Cra.RESPONSE and case.response_date_time else b""
    ids = (SUPPLIER, device) if command else (device, SUPPLIER)
    return GroupingHeader(cra, counter, *ids, OtherInformation(case.message_code), when)


def pre_command_of(name: str, counter: int, payload: Payload, device: bytes = ESME) -> bytes:
    """A Pre-Command of the supplier's."""
    return pre_command(_header(Cra.COMMAND, name, counter, device), encode_payload(payload))


def command_of(name: str, counter: int, payload: Payload, device: bytes = ESME) -> bytes:
    """A Command of the supplier's, protected as its use case wants."""
    header, content = _header(Cra.COMMAND, name, counter, device), encode_payload(payload)
    if _use_case(name).protection is Protection.MAC_AND_SIGNATURE:
        df = sign_pre_command(pre_command(header, content), private_key(SUPPLIER, DS))
    else:
        df = unsigned_df(header, content)
    return seal(df, _secret(BROKER, device))


def response_of(name: str, counter: int, payload: Payload, device: bytes = ESME) -> bytes:
    """A device's Response to the supplier, protected as its use case wants."""
    header, content = _header(Cra.RESPONSE, name, counter, device), encode_payload(payload)
    if _use_case(name).response_protection is Protection.SIGNATURE:
        return signed_df(header, content, private_key(device, DS))
    return seal(unsigned_df(header, content), _secret(device, SUPPLIER))


def arm(counter: int) -> Payload:
    """What ECS44 asks: the smallest critical Command."""
    action = Action(9, Obis.parse("0-0:10.0.106"), 1)
    return AccessRequest(counter & 0xFFFFFF, ((action, LongUnsigned(54)),))


def _requests(number: int) -> Iterator[tuple[str, AccessRequest]]:
    """DLMS Commands: reads, a profile by time, a tariff."""
    invoke_id = number & 0xFFFFFF
    gets = tuple((Get(3, Obis.parse(f"1-0:{place}.8.0"), 2), NullData()) for place in range(1, 9))
    yield "ECS17b", AccessRequest(invoke_id, gets)
    yield "ECS82", AccessRequest(invoke_id, ((Get(112, Obis.parse("0-0:19.10.0"), 2), NullData()),))
    digits = OctetString(b"%020d" % number)
    yield "CS01a", AccessRequest(invoke_id, ((Action(115, Obis.parse("0-0:19.40.0"), 1), digits),))
    span = Structure((OctetString(_NOW), OctetString(number.to_bytes(12, "big"))))
    clock = Structure((LongUnsigned(8), OctetString(_CLOCK.raw), Integer(2), LongUnsigned(0)))
    selected = GetWithSelection(7, Obis.parse("1-0:99.1.0"), 2, 1, Structure((clock, *span.elements, Array(()))))
    yield "ECS22b", AccessRequest(invoke_id, ((selected, NullData()),))
    yield "ECS01a", AccessRequest(invoke_id, tuple(_tariff(number)))


def _tariff(number: int) -> Iterator[tuple[Set, Data]]:
    unit = Structure((Integer(3), Integer(-5)))
    commodity = Structure((LongUnsigned(3), OctetString(Obis.parse("1-0:1.8.0").raw), Integer(2)))
    prices = Array(
        tuple(Structure((OctetString(bytes((place,))), Long((place * number) % 20_000))) for place in range(1, 49))
    )
    yield Set(113, _PRICE, 6), Structure((unit, commodity, prices))
    rows = []
    for place in range(8):
        row = (
            LongUnsigned(place),
            Boolean(value=True),
            OctetString(Obis.parse("0-0:10.0.106").raw),
            LongUnsigned(32 + place),
            OctetString(bytes((place * 2, number % 60, 0, 0))),
            LongUnsigned(0xFFFF),
            BitString(7, b"\xfe"),
            OctetString(bytes.fromhex("07df0401ff")),
        )
        rows.append(Structure(row))
    yield Set(10, Obis.parse("0-1:12.0.1"), 2), Array(tuple(rows))
    yield Set(20, Obis.parse("0-0:13.0.0"), 10), OctetString(number.to_bytes(12, "big"))


def _responses(number: int) -> Iterator[tuple[str, AccessResponse]]:
    """DLMS Responses: registers, a load profile, outcomes, a billing log."""
    invoke_id = number & 0xFFFFFF
    registers = tuple(ItemResult(1, DoubleLongUnsigned(number * 977 + place), 0) for place in range(8))
    yield "ECS17b", AccessResponse(invoke_id, registers)
    row = StructureType((SimpleType(0x06),) * 3)
    halves = tuple(
        Structure(
            (DoubleLongUnsigned(800_000_000 + 1800 * at), DoubleLongUnsigned(at * number), DoubleLongUnsigned(at))
        )
        for at in range(48)
    )
    yield "ECS82", AccessResponse(invoke_id, (ItemResult(1, DoubleLong(-number), 0),))
    yield "CS01a", AccessResponse(invoke_id, (ItemResult(3, DoubleLong(number), 0),))
    yield "ECS22b", AccessResponse(invoke_id, (ItemResult(1, CompactArray(row, halves), 0),))
    yield "ECS01a", AccessResponse(invoke_id, (ItemResult(2, NullData(), 0),) * 3)
    entries = tuple(
        Structure((OctetString((number + at).to_bytes(12, "big")), Enum(at % 4), DoubleLongUnsigned(number * at)))
        for at in range(10)
    )
    yield "ECS35a", AccessResponse(invoke_id, (ItemResult(1, Array(entries), 0),))


def _gas(number: int) -> Iterator[tuple[str, Gbz, Gbz]]:
    """GBZ Commands with their Responses."""
    debt = zcl_command("SetOverallDebtCap", provider=1, issuer_event=number, implementation=0, cap=number)
    adjust = zcl_command("CreditAdjustment", issuer_event=number, start=0, type=0, value=-number)
    asked = Gbz((Component(0x0705, 1, 0, debt), Component(0x0705, 1, 1, adjust)))
    answered = Gbz(
        tuple(Component(0x0705, 0x18, at, DefaultResponse(command, 0)) for at, command in enumerate((12, 5)))
    )
    yield "GCS15c", asked, answered
    credit = zcl_command("EmergencyCreditSetup", issuer_event=number, start=0, limit=number, threshold=number)
    answer = Gbz((Component(0x0705, 0x18, 0, DefaultResponse(3, 0)),))
    yield "GCS05", Gbz((Component(0x0705, 1, 0, credit),)), answer
    read = Gbz((Component(0x0702, 0x10, 0, ReadAttributes(tuple(range(12)))),))
    log = zcl_command(
        "PublishTopUpLog",
        index=0,
        count=1,
        entries=[{"code": b"%020d" % (number + at), "amount": at, "time": number + at} for at in range(5)],
    )
    yield "GCS15e", read, Gbz((Component(0x0705, 0x19, 0, log),))


def _credentials(number: int) -> Iterator[tuple[str, Asn1, Asn1]]:
    """ASN.1 Commands with their Responses: certificates among them."""
    cell = asn1.CellId(2, asn1.KEY_USAGE_DIGITAL_SIGNATURE)
    update = asn1.UpdateCredentials(
        asn1.UpdateControl(2, number),
        (asn1.Replacement(certificate(SUPPLIER, DS).der, cell),),
        (certificate(BROKER, KA).der,),
    )
    outcome = asn1.UpdateOutcome(
        number, 2, (), (asn1.ReplacementOutcome(cell, 0, SUPPLIER, bytes(8), SUPPLIER, number.to_bytes(8, "big")),)
    )
    yield "CS02b", Asn1(update), Asn1(asn1.UpdateCredentialsResponse(outcome))
    yield "CS06", Asn1(asn1.ActivateFirmware(number.to_bytes(32, "big"), number)), Asn1(asn1.ActivateFirmwareResponse())


def messages() -> list[bytes]:
    """All of them, of every form: about half carry a signature, and two thirds a MAC."""
    made = []
    for number in range(1_000, 1_000 + ROUNDS):
        arm_answer = AccessResponse(number, (ItemResult(3, NullData(), 0),))
        asked: list[tuple[str, Payload, bytes]] = [("ECS44", arm(number), ESME)]
        answered: list[tuple[str, Payload, bytes]] = [("ECS44", arm_answer, ESME)]
        asked += [(name, request, ESME) for name, request in _requests(number)]
        answered += [(name, response, ESME) for name, response in _responses(number)]
        pairs: list[tuple[str, Payload, Payload]] = [*_gas(number), *_credentials(number)]
        for name, command, response in pairs:
            asked.append((name, command, GSME))
            answered.append((name, response, GSME))
        for name, payload, device in asked:
            made.append(command_of(name, number, payload, device))
            if _use_case(name).critical:
                made.append(pre_command_of(name, number, payload, device))
        made += [response_of(name, number, payload, device) for name, payload, device in answered]
        alert = DataNotification(number, 0x8F0A, _NOW, (DoubleLongUnsigned(number), Unsigned(3)))
        made.append(signed_df(_header(Cra.ALERT, "ECS68", number, ESME), encode_payload(alert), private_key(ESME, DS)))
    return made
