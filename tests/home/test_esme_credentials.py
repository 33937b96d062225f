"""Whom a meter trusts: CS02b with good and bad chains, counters, hand-over, later; answers for unknown parties."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    KEY_USAGE_KEY_CERT_SIGN,
    TIME_NEVER,
    Asn1,
    CellId,
    CredentialsDetails,
    CredentialsQuery,
    IssueCredentials,
    IssueCredentialsResponse,
    Replacement,
    UpdateControl,
    UpdateCredentials,
    UpdateCredentialsAlert,
    UpdateCredentialsResponse,
    UpdateDeviceCertificate,
    UpdateDeviceCertificateResponse,
    decode_asn1,
    encode_asn1,
)
from lastmetre.gbcs.axdr import Array, Enum, Integer, LongUnsigned, NullData, OctetString, Structure, decode_data
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Certificate, Usage
from lastmetre.gbcs.datetimes import generalized_from_unix
from lastmetre.gbcs.dlms import AccessRequest, Action, Obis, encode_access_request
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import Cra, GroupingHeader, Message, OtherInformation, parse_message
from lastmetre.gbcs.protect import decrypt_attribute, encryption_key, seal, unsigned_df, verify_signature
from lastmetre.gbcs.smki import issuer_name, make_certificate, organisation_name
from lastmetre.home.esme import Esme
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import Clock, MeterState
from lastmetre.home.supply import Supply
from tests import own_world as own
from tests.own_world import DS, KA, NOW, PP

if TYPE_CHECKING:
    from lastmetre.gbcs.asn1 import Asn1Command, Asn1Response

NEW_SUPPLIER = own.OTHER_SUPPLIER
_UNTIL_EVER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
_ROOT_KEY = ec.derive_private_key(5001, ec.SECP256R1())
_NAME = issuer_name("new authority", Role.ISSUING_AUTHORITY)


@cache
def authority(key_number: int = 5001) -> Certificate:
    """An issuing authority of our own; another number, a stranger of the same name."""
    key = ec.derive_private_key(key_number, ec.SECP256R1())
    return make_certificate(
        subject=_NAME, public_key=key.public_key(), usage=Usage.CERT_SIGN, issuer=_NAME, issuer_key=key,
        serial_number=key_number, not_before=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(2040, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip


def certificate(
    use: KeyUse,
    *,
    key_number: int = 5001,
    role: Role = Role.SUPPLIER,
    from_year: int = 2026,
    entity: bytes = NEW_SUPPLIER,
) -> Certificate:
    """A certificate below that authority."""
    return make_certificate(
        subject=organisation_name("new", role, entity), public_key=own.private_key(entity, use).public_key(),
        usage=Usage.DIGITAL_SIGNATURE if use is DS else Usage.KEY_AGREEMENT, issuer=_NAME,
        issuer_key=ec.derive_private_key(key_number, ec.SECP256R1()), serial_number=77,
        not_before=dt.datetime(from_year, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(from_year + 5, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip


def meter(store: MemoryStore | None = None, **state: object) -> Esme:
    """A meter that trusts our authority."""
    identity = DeviceIdentity(
        own.ESME,
        own.private_key(own.ESME, DS),
        own.private_key(own.ESME, KA),
        own.anchors(),
        authorities=(authority(),),
    )
    new = replace(MeterState(0, Supply.ON), **state)  # type: ignore[arg-type]
    return Esme(identity, store or MemoryStore(), own.Told(), new=new)


_CELLS = {
    DS: CellId(2, KEY_USAGE_DIGITAL_SIGNATURE),
    KA: CellId(2, KEY_USAGE_KEY_AGREEMENT),
    PP: CellId(2, KEY_USAGE_KEY_AGREEMENT, 1),
}


def update(
    counter: int, certificates: dict[KeyUse, Certificate], *, floor: int = 0, when: str | None = None,
    path: tuple[Certificate, ...] = (), mode: int = 2, code: int = 0x0102,
) -> bytes:  # fmt: skip
    """CS02b, supplier by supplier."""
    control = UpdateControl(mode, counter, authorising_cell=_CELLS[DS], new_floor=floor)
    replacements = tuple(Replacement(each.der, _CELLS[use]) for use, each in certificates.items())
    value = UpdateCredentials(control, replacements, tuple(each.der for each in path or (authority(),)), when)
    head = GroupingHeader(Cra.COMMAND, counter, own.SUPPLIER, own.ESME, OtherInformation(code))
    return own.critical(head, encode_asn1(Asn1(value)))


def answer(response: bytes) -> Asn1Response:
    """The value of an ASN.1 Response."""
    message = parse_message(response)
    return decode_asn1(message.header.message_code, int(Cra.RESPONSE), message.content).value  # type: ignore[return-value]


def statuses(response: bytes) -> list[int]:
    """The status of each replaced cell."""
    value = answer(response)
    assert isinstance(value, UpdateCredentialsResponse)
    assert value.outcome is not None
    return [each.status for each in value.outcome.replacements]


def test_a_new_supplier_takes_over_and_the_old_one_is_a_stranger() -> None:
    """All three cells replaced: the new supplier's Commands are executed, the old one's refused, restarted too."""
    store = MemoryStore()
    device = meter(store)
    (response,) = device.receive(update(9, {use: certificate(use) for use in (DS, KA, PP)}), NOW)
    verify_signature(parse_message(response), own.certificate(own.ESME, DS).public_key)
    assert statuses(response) == [0, 0, 0]
    for each in (device, meter(store)):
        assert each.trust_anchors[Role.SUPPLIER, DS].entity_id == NEW_SUPPLIER
    again = meter(store)
    assert parse_message(again.receive(own.arm(10), NOW)[0]).header.cra is Cra.ALERT
    (response,) = again.receive(own.arm(1, originator=NEW_SUPPLIER), NOW)
    assert parse_message(response).header.cra is Cra.RESPONSE


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (lambda: certificate(KA, key_number=5002), 10),
        (lambda: certificate(KA, role=Role.NETWORK_OPERATOR), 5),
        (lambda: certificate(DS), 5),
        (lambda: certificate(KA, from_year=2030), 10),
    ],
    ids=["another authority of the same name", "another role", "another use", "not valid yet"],
)
def test_a_bad_certificate_leaves_its_cell_and_its_counters_as_they_were(bad: object, status: int) -> None:
    """The cell keeps the old certificate and the Response says why; the old counters still hold for that role."""
    device = meter()
    device.receive(own.arm(8), NOW)
    (response,) = device.receive(update(9, {KA: bad()}), NOW)  # type: ignore[operator]
    assert statuses(response) == [status]
    assert device.trust_anchors[Role.SUPPLIER, KA] == own.certificate(own.SUPPLIER, KA)
    assert device.receive(own.arm(8), NOW) == []


def test_a_stranger_in_the_path_makes_nobody_trusted() -> None:
    """A path that brings its own authority leads nowhere."""
    device = meter()
    forged = certificate(DS, key_number=5002)
    (response,) = device.receive(update(9, {DS: forged}, path=(authority(5002),)), NOW)
    assert statuses(response) == [10]


def test_a_floor_never_reopens_what_a_kept_key_said() -> None:
    """Replacing a key by itself with floor 0 does not let that party's old Commands in again."""
    device = meter()
    old = certificate(DS, entity=own.SUPPLIER)
    device.receive(update(9, {DS: old}), NOW)
    device.receive(update(10, {DS: old}, floor=0), NOW)
    assert device.counters.high_water(Role.SUPPLIER) == 10
    assert device.receive(own.arm(10), NOW) == []


def test_a_mode_its_code_or_originator_does_not_allow_is_refused_whole() -> None:
    """Mode 11 under the code of mode 2; a supplier that replaces the operator's cell."""
    device = meter()
    (alert,) = device.receive(update(9, {DS: certificate(DS)}, mode=11), NOW)
    assert parse_message(alert).header.cra is Cra.ALERT
    control = UpdateControl(2, 10, authorising_cell=_CELLS[DS])
    target = CellId(int(Role.NETWORK_OPERATOR), KEY_USAGE_DIGITAL_SIGNATURE)
    value = UpdateCredentials(control, (Replacement(certificate(DS).der, target),), (authority().der,))
    head = GroupingHeader(Cra.COMMAND, 10, own.SUPPLIER, own.ESME, OtherInformation(0x0102))
    (alert,) = device.receive(own.critical(head, encode_asn1(Asn1(value))), NOW)
    assert parse_message(alert).header.cra is Cra.ALERT
    assert device.state.cells == ()


def test_an_update_for_later_waits_is_told_and_can_be_cancelled() -> None:
    """Nothing changes before its time; then it does, with a 00CB Alert; a cancelled one never happens."""
    device = meter()
    later = NOW + 1_000
    (response,) = device.receive(update(9, {DS: certificate(DS)}, when=generalized_from_unix(later)), NOW)
    value = answer(response)
    assert isinstance(value, UpdateCredentialsResponse)
    assert value.outcome is None
    assert device.tick(later - 1) == []
    (alert,) = device.tick(later)
    message = parse_message(alert)
    assert (message.header.message_code, message.header.business_target_id) == (0x00CB, own.SUPPLIER)
    told = decode_asn1(0x00CB, int(Cra.ALERT), message.content).value
    assert isinstance(told, UpdateCredentialsAlert)
    assert told.alert_code == 0x8F66
    assert device.trust_anchors[Role.SUPPLIER, DS].entity_id == NEW_SUPPLIER
    other = meter()
    other.receive(update(9, {DS: certificate(DS)}, when=generalized_from_unix(later)), NOW)
    other.receive(update(10, {DS: certificate(DS)}, when=TIME_NEVER), NOW)
    assert other.tick(later + 1) == []
    assert other.state.cells == ()


def test_a_meter_whose_clock_was_never_set_applies_no_time_checks() -> None:
    """DESIGN CHOICE: it cannot; everything else of the chain still counts."""
    device = meter(clock=Clock(status=1))
    (response,) = device.receive(update(9, {KA: certificate(KA, from_year=2030)}), NOW)
    assert statuses(response) == [0]


def test_credentials_are_told_by_role() -> None:
    """CS02f: what is held for a role, in order, and what is not."""
    device = meter()
    query = CredentialsQuery(CellId(4, KEY_USAGE_KEY_AGREEMENT), (2, 6))
    head = GroupingHeader(Cra.COMMAND, 5, own.BROKER, own.ESME, OtherInformation(0x011B))
    (response,) = device.receive(own.non_critical(head, encode_asn1(Asn1(query))), NOW)
    value = answer(response)
    assert isinstance(value, CredentialsDetails)
    supplier, wan = value.roles
    assert [cell.subject_key_id for cell in supplier.cells or ()] == [
        own.certificate(own.SUPPLIER, use).subject_key_id for use in (DS, KA, PP)
    ]
    assert (wan.status, wan.cells, wan.current_counter) == (25, None, None)


def test_a_new_device_key_signs_from_its_certificate_on() -> None:
    """CS02c makes a pair, CS02d brings its certificate; from then on the new key signs, after a restart too."""
    store = MemoryStore()
    device = meter(store)

    def critical(counter: int, code: int, value: Asn1Command) -> bytes:
        head = GroupingHeader(Cra.COMMAND, counter, own.SUPPLIER, own.ESME, OtherInformation(code))
        return own.critical(head, encode_asn1(Asn1(value)))

    (response,) = device.receive(critical(1, 0x000A, IssueCredentials(KEY_USAGE_DIGITAL_SIGNATURE)), NOW)
    assert isinstance(answer(response), IssueCredentialsResponse)
    public = load_der_public_key(device.state.issued_keys[0][1])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    made = make_certificate(
        subject=x509.Name([]),
        public_key=public, usage=Usage.DIGITAL_SIGNATURE, issuer=_NAME, issuer_key=_ROOT_KEY, serial_number=9,
        not_before=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), not_after=_UNTIL_EVER,
        device_id=own.ESME,
    )  # fmt: skip
    (response,) = device.receive(critical(2, 0x000B, UpdateDeviceCertificate(made.der)), NOW)
    assert answer(response) == UpdateDeviceCertificateResponse(0)
    (response,) = meter(store).receive(own.arm(3), NOW)
    verify_signature(parse_message(response), public)


def test_an_unknown_party_gets_what_only_it_can_open() -> None:
    """ECS17b by the broker for a stranger, with the stranger's certificate: sealed under the meter's own counter."""
    stranger, device = own.OTHER_SUPPLIER, meter()
    its = own.certificate(stranger, KA)
    other = OtherInformation(0x0027, stranger, 42, None, its.der)
    head = GroupingHeader(Cra.COMMAND, 7, own.BROKER, own.ESME, other)
    wanted = Structure(
        (
            LongUnsigned(1), OctetString(Obis.parse("0-0:94.44.34.10").raw), Integer(2), LongUnsigned(0),
            Structure((Enum(0), NullData())),
        )
    )  # fmt: skip
    parameter = Structure((Array((wanted,)), Array(())))
    content = encode_access_request(AccessRequest(7, ((Action(30, Obis.parse("0-0:43.2.8"), 1), parameter),)))
    (response,) = device.receive(seal(unsigned_df(head, content), own.secret(own.BROKER, own.ESME)), NOW)
    message: Message = parse_message(response)
    counter = message.header.other_information.supplementary_originator_counter
    assert counter == device.state.alert_counter
    data = own.results_of(response)[0].data
    assert isinstance(data, Structure)
    assert isinstance(data.elements[1], OctetString)
    secret = agree(own.private_key(stranger, KA), own.certificate(own.ESME, KA).public_key)
    assert counter is not None
    key = encryption_key(secret, device_id=own.ESME, counter=counter, recipient_id=stranger)
    inside, _end = decode_data(decrypt_attribute(data.elements[1].value, key, own.ESME))
    assert isinstance(inside, Structure)


def root(key_number: int, *, signed_by: int | None = None) -> Certificate:
    """A root of the new name, signed by itself, or by our old authority: then it is the link between them."""
    key = ec.derive_private_key(key_number, ec.SECP256R1())
    name = issuer_name("root", Role.ROOT)
    issuer_key = key if signed_by is None else ec.derive_private_key(signed_by, ec.SECP256R1())
    return make_certificate(
        subject=name, public_key=key.public_key(), usage=Usage.CERT_SIGN,
        issuer=name if signed_by is None else _NAME, issuer_key=issuer_key, serial_number=key_number,
        not_before=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), not_after=dt.datetime(2040, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip


ROOT_CELL = CellId(0, KEY_USAGE_KEY_CERT_SIGN)


def root_update(counter: int, new: Certificate, *path: Certificate) -> bytes:
    """CS02b, root by supplier."""
    control = UpdateControl(0, counter, authorising_cell=_CELLS[DS])
    value = UpdateCredentials(control, (Replacement(new.der, ROOT_CELL),), tuple(each.der for each in path))
    head = GroupingHeader(Cra.COMMAND, counter, own.SUPPLIER, own.ESME, OtherInformation(0x0100))
    return own.critical(head, encode_asn1(Asn1(value)))


def test_a_linked_root_takes_the_old_one_s_place() -> None:
    """After it, what the old authority issues is refused and what the new root issues is taken; restarted too."""
    store = MemoryStore()
    device = meter(store)
    (response,) = device.receive(root_update(9, root(7001), root(7001, signed_by=5001)), NOW)
    assert statuses(response) == [0]
    again = meter(store)
    (response,) = again.receive(update(10, {KA: certificate(KA)}), NOW)
    assert statuses(response) == [10]
    below = make_certificate(
        subject=organisation_name("new", Role.SUPPLIER, own.SUPPLIER),
        public_key=own.private_key(NEW_SUPPLIER, KA).public_key(), usage=Usage.KEY_AGREEMENT,
        issuer=issuer_name("root", Role.ROOT),
        issuer_key=ec.derive_private_key(7001, ec.SECP256R1()), serial_number=5,
        not_before=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), not_after=dt.datetime(2040, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip
    (response,) = again.receive(update(11, {KA: below}, path=(root(7001),)), NOW)
    assert statuses(response) == [0]


@pytest.mark.parametrize(
    ("new", "path", "status"),
    [
        (lambda: root(7001), (), 10),
        (lambda: root(7001), (lambda: root(7002, signed_by=5001),), 10),
        (lambda: root(7001), (lambda: root(7001, signed_by=5002),), 10),
        (lambda: root(7001, signed_by=5001), (lambda: root(7001, signed_by=5001),), 5),
        (lambda: certificate(KA), (lambda: root(7001, signed_by=5001),), 5),
    ],
    ids=["no link", "a link to another key", "a link by a stranger", "not signed by itself", "no root"],
)
def test_a_root_without_its_link_changes_nothing(new: object, path: tuple[object, ...], status: int) -> None:
    """The old authority stays, and the Response says why."""
    device = meter()
    command = root_update(9, new(), *(each() for each in path))  # type: ignore[operator]
    (response,) = device.receive(command, NOW)
    assert statuses(response) == [status]
    assert device.state.authorities == ()
    (response,) = device.receive(update(10, {KA: certificate(KA)}), NOW)
    assert statuses(response) == [0]
