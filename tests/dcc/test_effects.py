"""What devices' verified words do to the inventory, by WAN and by SRV 8.13; and that nothing else does anything."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import Name

from lastmetre.dcc.inventory import Device, DeviceStatus, DeviceType, Mpxns, Registration, UserRole
from lastmetre.dcc.ports import LaneMarks
from lastmetre.duis.documents import FutureDatedAlert, ResponseMessage, parse_request
from lastmetre.duis.identifiers import entity_text
from lastmetre.duis.skeletons import skeleton
from lastmetre.duis.xml import Element
from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    CellId,
    DeviceLogAlert,
    FirmwareOutcome,
    LogEntry,
    ReplacementOutcome,
    RoleCounter,
    UnjoinResponse,
    UpdateCredentialsAlert,
    UpdateDeviceCertificateResponse,
    UpdateMode,
    UpdateOutcome,
    encode_asn1,
)
from lastmetre.gbcs.asn1 import DeviceType as GbcsType
from lastmetre.gbcs.build.alerts import DeviceLogChanged, LoggedDevice, alert
from lastmetre.gbcs.catalogue import Lane, Protection, Role, use_case
from lastmetre.gbcs.certificates import Usage
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.protect import seal, signed_df, unsigned_df
from lastmetre.gbcs.smki import DEVICE_NOT_AFTER, make_certificate
from lastmetre.home.chf import Chf, ChfState
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from tests import own_world as own
from tests.dsp_world import (
    DARK_CHF,
    NOBODY,
    World,
    at_date,
    code,
    inventory,
    local_command,
    read_balance,
    request,
    returned,
)
from tests.own_world import BROKER, CHF, DS, ESME, KA, NOW, OTHER_ESME, OTHER_SUPPLIER, PPMID, SUPPLIER, Told

if TYPE_CHECKING:
    from lastmetre.duis.documents import Request
    from lastmetre.gbcs.asn1 import Asn1Alert, Asn1Response

IS = UserRole.IMPORT_SUPPLIER
NEW_METER = bytes.fromhex("00005eef100000a9")
GPF = bytes.fromhex("00005eef100000a3")


def chf() -> Chf:
    """The first home's hub function, with an empty log."""
    anchors = {(Role.ACCESS_CONTROL_BROKER, KA): own.certificate(BROKER, KA)}
    identity = DeviceIdentity(CHF, own.private_key(CHF, DS), own.private_key(CHF, KA), anchors)
    return Chf(identity, MemoryStore(), Told(), new=ChfState((), extended_pan_id=CHF))


def answer(command: bytes, value: Asn1Response) -> bytes:
    """A device's Response with this content, protected as the catalogue says."""
    header = parse_message(command).header
    back = GroupingHeader(
        Cra.RESPONSE,
        header.originator_counter,
        header.business_target_id,
        header.business_originator_id,
        header.other_information,
    )
    device, content = header.business_target_id, encode_asn1(Asn1(value))
    row = use_case(header.message_code)
    assert row is not None
    if row.response_protection in {Protection.SIGNATURE, Protection.MAC_AND_SIGNATURE}:
        return signed_df(back, content, own.private_key(device, DS))
    return seal(unsigned_df(back, content), own.secret(device, header.business_originator_id))


def add_to_hub(device_id: bytes, counter: int) -> Request:
    """SRV 8.11: put a device on the hub's log, with its MPAN for the inventory."""
    added = Element(
        "AddDeviceToCHFWhitelist",
        children=(
            Element("JoinTimePeriod", "90"),
            Element("InstallCode", "30313233343536373839414243444546"),
            Element("ImportMPxN", "1312345678111"),
        ),
    )
    parts = (Element("DeviceID", entity_text(device_id)), Element("RequestType", "Add"), added)
    return request("8.11", Element("UpdateHANDeviceLog", children=parts), 1, counter, target=CHF)


def remove_from_hub(device_id: bytes, counter: int) -> Request:
    """SRV 8.11: take it off again."""
    parts = (Element("DeviceID", entity_text(device_id)), Element("RequestType", "Remove"))
    return request("8.11", Element("UpdateHANDeviceLog", children=parts), 1, counter, target=CHF)


def other(element: str, device_id: bytes) -> Element:
    """The body of a join or unjoin."""
    return Element(element, children=(Element("OtherDeviceID", entity_text(device_id)),))


def signed_alert(message_code: int, value: Asn1Alert, *, device: bytes, target: bytes, counter: int = 1,
                 signer: bytes | None = None) -> bytes:  # fmt: skip
    """A device's Alert, signed by it unless somebody else is named."""
    header = GroupingHeader(Cra.ALERT, counter, device, target, OtherInformation(message_code))
    return signed_df(header, encode_asn1(Asn1(value)), own.private_key(signer or device, DS))


def with_new_meter(**changed: object) -> World:
    """A world with a meter that was notified and hangs on no hub."""
    made = inventory()
    mine = (Registration(IS, SUPPLIER),)
    row = Device(NEW_METER, DeviceType.ESME, DeviceStatus.PENDING, "4.3", bytes(8), mine, esme_variant="A")
    made.take([replace(row, **changed)])  # type: ignore[arg-type]  # the test knows the field's type
    return World(devices=made)


def test_a_device_comes_to_a_hub_and_leaves_it() -> None:
    """8.11 by WAN with a real hub: listed with its MPAN, taken off again; a restart knows it, a repeat does nothing."""
    world, hub = with_new_meter(), chf()
    assert code(world.post(add_to_hub(NEW_METER, 5))) == "I99"
    response, alert = hub.receive(world.down()[0], NOW)
    assert world.device(NEW_METER).status is DeviceStatus.PENDING
    world.from_wan(response)
    listed = world.device(NEW_METER)
    assert (listed.hub_id, listed.status) == (CHF, DeviceStatus.WHITELISTED)
    assert listed.mpxns == Mpxns("1312345678111")
    world.from_wan(alert)
    assert world.device(CHF).hub_network == CHF
    world.restart()
    assert world.device(NEW_METER) == listed
    world.from_wan(response)
    assert world.told.of("response_repeated")
    assert code(world.post(remove_from_hub(NEW_METER, 6))) == "I99"
    response, _alert = hub.receive(world.down()[-1], NOW + 1)
    world.from_wan(response)
    gone = world.device(NEW_METER)
    assert (gone.hub_id, gone.status) == (bytes(8), DeviceStatus.PENDING)


@pytest.mark.parametrize("listed", [OTHER_ESME, DARK_CHF], ids=["a meter", "a hub"])
def test_nobody_takes_a_device_of_another_home(listed: bytes) -> None:
    """A supplier lists another's commissioned meter on its own hub: refused, and it hangs where it hung (T07)."""
    made = inventory()
    rows = []
    for device in made.devices.values():
        theirs = device.hub_id == DARK_CHF
        rows.append(replace(device, registrations=(Registration(IS, OTHER_SUPPLIER),)) if theirs else device)
    made.take(rows)
    world = World(devices=made)
    assert code(world.post(add_to_hub(listed, 5))) == "E4"
    assert world.device(listed).hub_id == DARK_CHF
    restore = Element("RestoreHANDeviceLog", children=(Element("OldCHFID", entity_text(DARK_CHF)),))
    assert code(world.post(request("8.12.1", restore, 1, 6, target=CHF))) == "E4"


def test_a_hub_is_never_put_on_a_hub() -> None:
    """Even a real hub's yes does not make the inventory hold what it could not be started with again."""
    world, hub = World(), chf()
    assert code(world.post(add_to_hub(DARK_CHF, 5))) == "I99"  # both homes are this supplier's
    for message in hub.receive(world.down()[0], NOW):
        world.from_wan(message)
    assert world.device(DARK_CHF).hub_id == DARK_CHF
    world.restart()
    assert world.dsp.inventory.has_hub(DARK_CHF)


def test_a_link_key_shows_that_a_listed_meter_has_joined() -> None:
    """The hub's own Alert (CS14), MACed for the ACB: a Whitelisted meter with a key is installed, a PPMID waits."""
    world = with_new_meter(status=DeviceStatus.WHITELISTED, hub_id=CHF)
    listed = (LoggedDevice(NEW_METER, bytes(16)), LoggedDevice(PPMID, b""))
    built = alert(
        0x0018, DeviceLogChanged(NOW, CHF, listed), originator=CHF, target=BROKER, counter=9, alert_code=0x8F12, at=NOW
    )
    forged = seal(built.message, own.secret(PPMID, BROKER))
    world.from_wan(forged)
    assert world.device(NEW_METER).status is DeviceStatus.WHITELISTED
    world.from_wan(seal(built.message, own.secret(CHF, BROKER)))
    assert world.device(NEW_METER).status is DeviceStatus.INSTALLED_NOT_COMMISSIONED
    assert world.device(CHF).hub_link_keys == ((NEW_METER, bytes(16)), (PPMID, b""))


def critical(world: World, asked: Request, variant: int = 6) -> bytes:
    """The finished Command of a critical request."""
    return world.local_command(world.sign_off(asked, variant))


def commission(counter: int) -> Request:
    """SRV 8.1.1 from its own skeleton."""
    text = skeleton("8.1.1", SUPPLIER, ESME, counter)
    parsed = parse_request(text.encode())
    times = {"CurrentDateTime": "2026-11-23T02:13:20Z", "TolerancePeriod": "60"}
    children = tuple(child._replace(text=times.get(child.name, child.text)) for child in parsed.body.children)
    return replace(parsed, body=parsed.body._replace(children=children))


def test_a_meter_is_commissioned_by_its_own_word() -> None:
    """8.1.1, carried by hand and handed back: Commissioned with the day; a copy by WAN is harmless."""
    world = World(devices=inventory(status=DeviceStatus.INSTALLED_NOT_COMMISSIONED))
    command = critical(world, commission(5))
    (response,) = own.meter().receive(command, NOW)
    assert code(world.post(returned(1, response))) == "I99"
    device = world.device(ESME)
    assert (device.status, device.commissioned_on) == (DeviceStatus.COMMISSIONED, "2026-11-23")
    world.from_wan(response)
    world.post(returned(2, response))
    assert len(world.told.of("device_changed")) == 1
    assert world.documents() == []


def test_joins_and_unjoins_are_remembered() -> None:
    """8.7.1 with a real meter, then 8.8.1: the PPMID that was listed is commissioned by its join."""
    devices = inventory()
    ppmid = devices.device(PPMID)
    assert ppmid is not None
    devices.take([replace(ppmid, status=DeviceStatus.WHITELISTED)])
    world = World(devices=devices)
    command = critical(world, request("8.7.1", other("JoinServiceCritical", PPMID), 4, 5))
    (response,) = own.meter().receive(command, NOW)
    assert code(world.post(returned(1, response))) == "I99"
    assert world.device(ESME).joined == (PPMID,)
    assert world.device(PPMID).status is DeviceStatus.COMMISSIONED
    command = critical(world, request("8.8.1", other("UnjoinServiceCritical", PPMID), 4, 6))
    world.post(returned(2, answer(command, UnjoinResponse(1))))
    assert world.device(ESME).joined == (PPMID,), "it failed: the device is joined still"
    command = critical(world, request("8.8.1", other("UnjoinServiceCritical", PPMID), 4, 7))
    world.post(returned(3, answer(command, UnjoinResponse(0))))
    assert world.device(ESME).joined == ()


def activate(counter: int) -> Request:
    """SRV 11.3."""
    return request("11.3", Element("ActivateFirmware", children=(Element("FirmwareHash", "00" * 32),)), 4, counter)


@pytest.mark.parametrize(
    ("value", "version"),
    [
        (ActivateFirmwareResponse(FirmwareOutcome(0, bytes.fromhex("0002012f"))), "0002012F"),
        (ActivateFirmwareResponse(FirmwareOutcome(2, bytes.fromhex("0002012f"))), None),
        (ActivateFirmwareResponse(None), None),
    ],
    ids=["activated", "refused", "for later"],
)
def test_firmware_is_what_the_device_says_it_runs(value: ActivateFirmwareResponse, version: str | None) -> None:
    """CS06: on success, and not when it was only accepted for a date."""
    world = World()
    command = critical(world, activate(5))
    assert code(world.post(returned(1, answer(command, value)))) == "I99"
    assert world.device(ESME).firmware_version == version


def test_new_credentials_decide_whom_the_device_knows() -> None:
    """After a change of supplier the new one speaks for itself, from the floor that was set on; the old one cannot."""
    rows = (Registration(IS, SUPPLIER), Registration(IS, OTHER_SUPPLIER))
    world = World(devices=inventory(registrations=rows))
    cell = CellId(Role.SUPPLIER, KEY_USAGE_DIGITAL_SIGNATURE)
    done = ReplacementOutcome(cell, 0, SUPPLIER, bytes(8), OTHER_SUPPLIER, bytes(8))
    outcome = UpdateOutcome(1, UpdateMode.SUPPLIER_BY_TRANS_COS, (RoleCounter(Role.SUPPLIER, 500),), (done,))
    executed = UpdateCredentialsAlert(0x8F66, "20261123021320Z", outcome)
    world.from_wan(signed_alert(0x00CB, executed, device=ESME, target=SUPPLIER))
    world.restart()
    with world.store.change() as change:
        assert change.lane(OTHER_SUPPLIER, ESME, Lane.ORDINARY) == LaneMarks(500, 500)
    theirs = read_balance(500, originator=OTHER_SUPPLIER)
    assert code(world.post(theirs, caller=OTHER_SUPPLIER)) == "E41"
    theirs = read_balance(501, originator=OTHER_SUPPLIER)
    header = parse_message(local_command(world.post(theirs, caller=OTHER_SUPPLIER))).header
    assert (header.business_originator_id, header.originator_counter) == (OTHER_SUPPLIER, 501)
    # The old supplier is no party the device knows: the broker speaks, and names it beside itself.
    header = parse_message(world.local_command(read_balance(7))).header
    assert header.business_originator_id == BROKER
    assert header.other_information.supplementary_remote_party_id == SUPPLIER


def test_a_failed_change_of_credentials_changes_nobody() -> None:
    """The device says that it could not: whom it knew it knows still."""
    world = World()
    cell = CellId(Role.SUPPLIER, KEY_USAGE_DIGITAL_SIGNATURE)
    refused = ReplacementOutcome(cell, 5, SUPPLIER, bytes(8), OTHER_SUPPLIER, bytes(8))
    outcome = UpdateOutcome(1, UpdateMode.SUPPLIER_BY_TRANS_COS, (), (refused,))
    failed = UpdateCredentialsAlert(0x8F67, "20261123021320Z", outcome)
    world.from_wan(signed_alert(0x00CB, failed, device=ESME, target=SUPPLIER))
    assert world.device(ESME).credentials == ()


def test_the_outcome_of_a_dated_command_comes_under_its_request() -> None:
    """A real meter holds a setting for its date; each instruction's Alert reaches the User numbered (duis 1.4)."""
    world = World()
    parsed = parse_request(skeleton("6.4.1", SUPPLIER, ESME, 5).encode())
    command = critical(world, at_date(parsed, NOW + 3_600), 6)
    meter = own.meter()
    (response,) = meter.receive(command, NOW)
    world.from_wan(response)
    alerts = meter.tick(NOW + 3_600)
    for message in alerts:
        world.from_wan(message)
    outcomes = []
    for document in world.documents()[1:]:
        assert document.header.request_id == parsed.header.request_id
        assert isinstance(document.body, ResponseMessage)
        assert isinstance(document.body.payload, FutureDatedAlert)
        outcomes.append(document.body.payload)
    assert [found.gbcs_payload for found in outcomes] == alerts
    assert {found.alert_code for found in outcomes} == {0x8F66}
    assert sorted(found.instruction_number for found in outcomes) == list(range(1, len(alerts) + 1))
    assert {found.total_command_instructions for found in outcomes} == {len(alerts)}


def test_firmware_activated_at_its_date() -> None:
    """CS06 for later: the Response changes nothing, the Alert tells the version, under the request it is about."""
    world = World()
    command = critical(world, activate(5))
    world.post(returned(1, answer(command, ActivateFirmwareResponse(None))))
    outcome = FirmwareOutcome(0, bytes.fromhex("0002012f"))
    done = ActivateFirmwareAlert(0x8F66, "20261123021320Z", 5, outcome)
    world.from_wan(signed_alert(0x00CA, done, device=ESME, target=SUPPLIER))
    (document,) = world.documents()
    assert document.header.request_id == activate(5).header.request_id
    assert isinstance(document.body, ResponseMessage)
    assert isinstance(document.body.payload, FutureDatedAlert)
    assert world.device(ESME).firmware_version == "0002012F"


def test_a_devices_new_certificate_counts_from_its_success_on() -> None:
    """CS02d: Responses are checked by the device's new key, over a restart."""
    world, key = World(), ec.derive_private_key(4711, ec.SECP256R1())
    certificate = make_certificate(
        subject=Name([]), public_key=key.public_key(), usage=Usage.DIGITAL_SIGNATURE,
        issuer=own._ISSUER,
        issuer_key=ec.derive_private_key(1000, ec.SECP256R1()), serial_number=99, not_before=own._FROM,
        not_after=DEVICE_NOT_AFTER, device_id=ESME,
    )  # fmt: skip
    text = Element("DeviceCertificate", b64encode(certificate.der).decode())
    asked = request("6.15.2", Element("UpdateSecurityCredentialsDevice", children=(text,)), 4, 5)
    command = critical(world, asked)
    assert code(world.post(returned(1, answer(command, UpdateDeviceCertificateResponse(0))))) == "I99"
    world.restart()
    value = ActivateFirmwareResponse(FirmwareOutcome(0, bytes(4)))
    with_old_key = answer(critical(world, activate(6)), value)
    assert code(world.post(returned(2, with_old_key))) == "E081302"
    with_new_key = signed_df(parse_message(with_old_key).header, encode_asn1(Asn1(value)), key)
    assert code(world.post(returned(3, with_new_key))) == "I99"


def test_a_gpf_log_is_kept_for_its_restoring() -> None:
    """GCS62, signed by the Gas Proxy Function: kept; one signed by another device is not."""
    made = inventory()
    made.take([Device(GPF, DeviceType.GPF, DeviceStatus.COMMISSIONED, "4.3", CHF)])
    world = World(devices=made)
    log = DeviceLogAlert(0x8071, "20261123021320Z", (LogEntry(PPMID, GbcsType.PPMID), LogEntry(NOBODY, 6)))
    world.from_wan(signed_alert(0x00B2, log, device=GPF, target=BROKER, signer=ESME))
    assert world.device(GPF).device_log == ()
    world.from_wan(signed_alert(0x00B2, log, device=GPF, target=BROKER))
    assert world.device(GPF).device_log == ((PPMID, "PPMID"), (NOBODY, "type 2"))


@pytest.mark.parametrize("road", ["wan", "8.13"])
def test_what_the_dsp_cannot_check_moves_nothing(road: str) -> None:
    """A firmware version MACed for the User: handed on or recorded, and the inventory stays as it was."""
    world = World()
    asked = request("11.2", Element("ReadFirmwareVersion"), 2 if road == "8.13" else 1, 5)
    reply = world.post(asked)
    assert code(reply).startswith("I")
    with world.store.change() as change:
        kept = change.command_of_request(str(asked.header.request_id))
    assert kept is not None
    (response,) = own.meter().receive(kept.command, NOW)
    if road == "wan":
        world.from_wan(response)
    else:
        assert code(world.post(returned(1, response))) == "I99"
    assert world.device(ESME).firmware_version is None
    assert world.told.of("device_changed") == []
