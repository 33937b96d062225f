"""What the DSP adds to a Command from its own records: joins, restored logs, made-up numbers, the CoS party's word."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.dcc.dsp import DspOptions
from lastmetre.dcc.inventory import (
    Device,
    DeviceStatus,
    DeviceType,
    Inventory,
    Registration,
    User,
    UserRole,
    UserStatus,
)
from lastmetre.duis.documents import OtherPayload, ResponseMessage
from lastmetre.duis.identifiers import entity_text
from lastmetre.duis.xml import Element
from lastmetre.gbcs.asn1 import (
    Asn1,
    Join,
    LogEntry,
    RestoredEntry,
    RestoreDeviceLog,
    RestoreDeviceLogResponse,
    UpdateCredentials,
    encode_asn1,
)
from lastmetre.gbcs.asn1 import DeviceType as GbcsType
from lastmetre.gbcs.axdr import Array, NullData, OctetString, Structure
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, ItemResult, encode_access_response
from lastmetre.gbcs.message import Cra, GroupingHeader, parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.protect import seal, unsigned_df, verify_mac, verify_signature
from tests import own_world as own
from tests.dsp_world import (
    GSME,
    URL,
    BrokerKeys,
    World,
    arm,
    code,
    inventory,
    read_balance,
    request,
    returned,
)
from tests.own_world import BROKER, CHF, DS, ESME, KA, NOW, OTHER_SUPPLIER, PP, PPMID, SUPPLIER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.keys import KeyUse

IS, GS, OU = UserRole.IMPORT_SUPPLIER, UserRole.GAS_SUPPLIER, UserRole.OTHER_USER
GPF = bytes.fromhex("00005eef100000a3")
OLD_GPF = bytes.fromhex("00005eef100000b3")
NEW_HUB = bytes.fromhex("00005eef100000c2")
COS = bytes.fromhex("00005eef10000004")


def with_devices(*devices: Device, users: tuple[User, ...] = ()) -> Inventory:
    """The usual inventory with more in it."""
    made = inventory()
    rows = {**made.devices, **{device.device_id: device for device in devices}}
    people = {**made.users, **{user.user_id: user for user in users}}
    return Inventory(rows.values(), people.values())


def asn1_of(command: bytes) -> object:
    """What an ASN.1 Command says."""
    message = parse_message(command)
    payload = decode_payload(message.header.message_code, Cra.COMMAND, message.content)
    assert isinstance(payload, Asn1)
    return payload.value


def back(command: bytes) -> GroupingHeader:
    """The header of its Response."""
    header = parse_message(command).header
    return GroupingHeader(
        Cra.RESPONSE,
        header.originator_counter,
        header.business_target_id,
        header.business_originator_id,
        header.other_information,
    )


def test_a_gas_meter_is_joined_with_the_others_certificate() -> None:
    """8.7.1 to a GSME: type and key agreement certificate of the PPMID are the DSP's to add (CS03C)."""
    world = World()
    body = Element("JoinServiceCritical", children=(Element("OtherDeviceID", entity_text(PPMID)),))
    command = world.local_command(world.sign_off(request("8.7.1", body, 4, 5, target=GSME), 6))
    join = asn1_of(command)
    assert isinstance(join, Join)
    assert (join.other_device, join.type) == (PPMID, GbcsType.PPMID)
    assert join.certificate == own.certificate(PPMID, KA).der


def test_a_join_with_a_device_nobody_knows_is_refused() -> None:
    """No type in the inventory, no Command (E44)."""
    world = World()
    stranger = Element("OtherDeviceID", "00-00-5E-EF-10-00-00-EE")
    asked = request("8.7.1", Element("JoinServiceCritical", children=(stranger,)), 4, 5)
    assert code(world.post(asked)) == "E44"


def test_a_new_hub_gets_the_log_that_the_old_one_told() -> None:
    """8.12.1: network and hashed link keys are of the old hub's last Alert; on success its devices move."""
    mine = (Registration(IS, SUPPLIER),)
    new = Device(NEW_HUB, DeviceType.CHF, DeviceStatus.COMMISSIONED, "4.3", NEW_HUB, mine)
    old = inventory().device(CHF)
    assert old is not None
    keys = ((ESME, bytes(range(16))), (PPMID, bytes(16)))
    world = World(devices=with_devices(new, replace(old, hub_network=CHF, hub_link_keys=keys)))
    body = Element("RestoreHANDeviceLog", children=(Element("OldCHFID", entity_text(CHF)),))
    command = world.local_command(request("8.12.1", body, 2, 5, target=NEW_HUB))
    message = parse_message(command)
    payload = decode_payload(message.header.message_code, Cra.COMMAND, message.content)
    assert isinstance(payload, AccessRequest)
    backup = payload.items[0][1]
    rows = Array(tuple(Structure((OctetString(device), OctetString(key))) for device, key in keys))
    assert backup == Structure((OctetString(CHF), rows))
    counter = message.header.originator_counter & 0xFFFFFF
    done = encode_access_response(AccessResponse(counter, (ItemResult(3, NullData(), 0),)))
    response = seal(unsigned_df(back(command), done), own.secret(NEW_HUB, BROKER))
    assert code(world.post(returned(1, response))) == "I99"
    assert {world.device(each).hub_id for each in (ESME, PPMID)} == {NEW_HUB}
    assert world.device(GSME).hub_id == CHF, "it was not in the log"


def test_a_new_hub_without_a_backup_is_refused() -> None:
    """The old hub never told its log: nothing is made up."""
    new = Device(NEW_HUB, DeviceType.CHF, DeviceStatus.COMMISSIONED, "4.3", NEW_HUB, (Registration(IS, SUPPLIER),))
    body = Element("RestoreHANDeviceLog", children=(Element("OldCHFID", entity_text(CHF)),))
    world = World(devices=with_devices(new))
    assert code(world.post(request("8.12.1", body, 2, 5, target=NEW_HUB))) == "E44"


def test_a_gas_proxy_gets_the_log_it_told() -> None:
    """8.12.2: the devices of its last Alert, in the ACB's own name (GCS59)."""
    gpf = Device(GPF, DeviceType.GPF, DeviceStatus.COMMISSIONED, "4.3", CHF, (Registration(GS, SUPPLIER),))
    old = replace(gpf, device_id=OLD_GPF, status=DeviceStatus.DECOMMISSIONED, device_log=((PPMID, "PPMID"),))
    world = World(devices=with_devices(gpf, old))
    body = Element("RestoreGPFDeviceLog", children=(Element("OldGPFID", entity_text(OLD_GPF)),))
    command = world.local_command(request("8.12.2", body, 2, 5, target=GPF))
    assert asn1_of(command) == RestoreDeviceLog((LogEntry(PPMID, GbcsType.PPMID),))
    header = parse_message(command).header
    assert header.business_originator_id == BROKER
    assert header.other_information.supplementary_remote_party_id is None
    done = RestoreDeviceLogResponse((RestoredEntry(LogEntry(PPMID, GbcsType.PPMID), 0),))
    response = seal(unsigned_df(back(command), encode_asn1(Asn1(done))), own.secret(GPF, BROKER))
    assert code(world.post(returned(1, response))) == "I99"


@pytest.mark.parametrize("road", ["wan", "restart between"])
def test_a_customer_identification_number_is_told_with_the_response(road: str) -> None:
    """9.1: the DSP makes four digits up, sends them to the meter, and the User learns them when it has shown them."""
    other = User(OTHER_SUPPLIER, frozenset({IS, OU}), UserStatus.ACTIVE, URL)
    devices = with_devices()
    meter = devices.device(ESME)
    assert meter is not None
    meters = replace(meter, registrations=(Registration(OU, OTHER_SUPPLIER),))
    devices = Inventory(
        [meters if row.device_id == ESME else row for row in devices.devices.values()],
        [other if row.user_id == OTHER_SUPPLIER else row for row in devices.users.values()],
    )
    world = World(devices=devices, options=DspOptions(luck=lambda octets: bytes(octets - 1) + b"\x2a"))
    asked = request("9.1", Element("RequestCustomerIdentificationNumber"), 1, 5, originator=OTHER_SUPPLIER)
    answer = world.post(asked, caller=OTHER_SUPPLIER)
    assert code(answer) == "I99"
    (response,) = own.meter().receive(world.down()[0], NOW)
    if road != "wan":
        world.restart()
    world.from_wan(response)
    (told,) = world.documents()
    assert isinstance(told.body, ResponseMessage)
    assert isinstance(told.body.payload, OtherPayload)
    assert told.body.payload.element.find_text("CustomerIdentificationNumber") == "0042"
    assert told.body.payload.element.find_text("GBCSPayload") == b64encode(response).decode()


class MoreKeys(BrokerKeys):
    """The DSP's keys and those of the change of supplier party."""

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        """Both are the DCC's."""
        return own.private_key(entity_id, use) if entity_id == COS else super().private_key(entity_id, use)


def test_a_change_of_suppliers_credentials_is_the_cos_partys_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """6.23: signed by the change of supplier party, sealed by the ACB; without that party's keys it is refused."""
    monkeypatch.setattr("tests.dsp_world.BrokerKeys", MoreKeys)
    certificates = (
        ("DigitalSigningCertificate", DS),
        ("KeyAgreementCertificate", KA),
        ("KeyAgreementTopUpCertificate", PP),
    )
    new = tuple(Element(name, b64encode(own.certificate(SUPPLIER, use).der).decode()) for name, use in certificates)
    path = Element("Certificate", new[0].text)
    body = Element(
        "UpdateSecurityCredentialsCoS",
        children=(
            Element("SupplierFloorSeqNumber", "0"),
            Element("SupplierPrepaymentTopUpFloorSeqNumber", "0"),
            Element("SupplierReplacementCertificates", children=new),
            Element("CertificationPathCertificates", children=(path,)),
            Element("ApplyTimeBasedCPVChecks", "true"),
            Element("ImportMPxN", "1312345678333"),
        ),
    )
    asked = request("6.23", body, 1, 5)
    assert code(World().post(asked)) == "E44"
    world = World(options=DspOptions(change_of_supplier_id=COS))
    assert code(world.post(asked)) == "I99"
    (command,) = world.down()
    message = parse_message(command)
    assert message.header.business_originator_id == COS
    verify_signature(message, own.certificate(COS, DS).public_key)
    assert isinstance(asn1_of(command), UpdateCredentials)
    assert message.mac is not None
    verify_mac(message, own.secret(BROKER, ESME))


def test_a_suspended_device_is_told_of_firmware_and_nothing_else() -> None:
    """Its firmware is what has to be put right; all else is E5."""
    world = World(devices=inventory(status=DeviceStatus.SUSPENDED))
    assert code(world.post(read_balance(5))) == "E5"
    assert code(world.post(request("11.2", Element("ReadFirmwareVersion"), 2, 6))) == "I0"
    assert code(world.post(arm(7))) == "E5"
