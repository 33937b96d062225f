"""Access control: every refusal by a table, and that a refusal leaves nothing behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.dcc.access_control import Code, OurCode
from lastmetre.dcc.inventory import DeviceStatus, Inventory, Registration, UserRole, UserStatus
from lastmetre.dcc.ports import LaneMarks, Service
from lastmetre.duis.documents import Request, RequestHeader
from lastmetre.duis.identifiers import RequestID, entity_text
from lastmetre.duis.xml import Element
from lastmetre.gbcs.catalogue import Lane
from tests.dsp_world import (
    DARK_CHF,
    NOBODY,
    World,
    arm,
    code,
    inventory,
    read_balance,
    request,
    returned,
    top_up,
    user,
)
from tests.own_world import BROKER, CHF, ESME, NETWORK_OPERATOR, NOW, OTHER_ESME, OTHER_SUPPLIER, PPMID, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One way to be refused."""

    code: str
    asked: Request
    devices: Callable[[], Inventory] = inventory
    post: dict[str, Any] = field(default_factory=dict)
    before: tuple[Request, ...] = ()


def suspended() -> Inventory:
    """Our supplier may not use the services at present."""
    made = inventory()
    ours = user(SUPPLIER, UserRole.IMPORT_SUPPLIER, UserRole.GAS_SUPPLIER, status=UserStatus.SUSPENDED)
    users = dict(made.users) | {SUPPLIER: ours}
    return Inventory(made.devices.values(), users.values())


def registered(*rows: Registration) -> Callable[[], Inventory]:
    """The first meter with these registrations."""
    return lambda: inventory(registrations=rows)


def header(asked: Request, **changed: Any) -> Request:
    """The request with other header fields."""
    old = asked.header
    values: dict[str, Any] = {
        "request_id": old.request_id,
        "command_variant": old.command_variant,
        "service_reference": old.service_reference,
        "service_reference_variant": old.service_reference_variant,
    } | changed
    return Request(RequestHeader(**values), asked.body)


IS, ED = UserRole.IMPORT_SUPPLIER, UserRole.ELECTRICITY_DISTRIBUTOR
FIRMWARE = Element(
    "UpdateFirmware",
    children=(
        Element("FirmwareImage", "AAAA"),
        Element("FirmwareVersion", "00000000"),
        Element("DeviceIDList", "00-00-5E-EF-10-00-00-A0"),
    ),
)
LATER = Element("ExecutionDateTime", "2031-01-01T00:00:00Z")
INVENTORY_READ = Element("ReadInventory", children=(Element("DeviceID", entity_text(ESME)),))
CASES = {
    # 1: one User, known, with a certificate of its role
    "TLS names another User": Case("E1", read_balance(5), post={"caller": OTHER_SUPPLIER}),
    "TLS names a hub": Case("E1", read_balance(5), post={"caller": CHF}),
    "signed by another User": Case("E1", read_balance(5), post={"signer": OTHER_SUPPLIER}),
    "signed by the broker": Case("E1", read_balance(5), post={"signer": BROKER}),
    "originator is no User": Case("E1", read_balance(5, originator=PPMID), post={"caller": PPMID}),
    "originator in another role than its certificate": Case(
        "E1",
        read_balance(5, originator=NETWORK_OPERATOR),
        post={"caller": NETWORK_OPERATOR},
        devices=lambda: Inventory((), (user(NETWORK_OPERATOR, IS),)),
    ),
    # 2 to 4: the User, the service, the shape
    "User suspended": Case("E3", read_balance(5), devices=suspended),
    "service for other roles": Case(
        "E2", read_balance(5, originator=NETWORK_OPERATOR), post={"caller": NETWORK_OPERATOR}
    ),
    "no such service": Case("E12", header(read_balance(5), service_reference_variant="4.99")),
    "reference and variant differ": Case("E12", header(read_balance(5), service_reference="4.17")),
    "body of another service": Case("E12", request("4.18", Element("ArmSupply"), 2, 5)),
    "critical sent as non-critical": Case("E12", arm(5, 2)),
    "non-critical sent for transform": Case("E12", read_balance(5, 4)),
    "undescribed Command Variant": Case("E12", read_balance(5, 9)),
    "signed variant without a Signed Pre-Command": Case("E12", arm(5, 6)),
    "transform to Non-Device": Case("E13", arm(5), post={"service": Service.NON_DEVICE}),
    "local delivery to Send Command": Case("E13", read_balance(5, 2), post={"service": Service.SEND_COMMAND}),
    "WAN delivery to Non-Device": Case("E13", read_balance(5, 1), post={"service": Service.NON_DEVICE}),
    # 5 to 7: the device
    "no such device": Case("E19", read_balance(5, target=NOBODY)),
    "request to the DCC names a device": Case(
        "E19", request("8.13", returned(5, b"").body, 8, 5, target=ESME), post={"service": Service.NON_DEVICE}
    ),
    "another supplier's meter": Case("E4", read_balance(5, originator=OTHER_SUPPLIER), post={"caller": OTHER_SUPPLIER}),
    "registration begins later": Case("E4", read_balance(5), registered(Registration(IS, SUPPLIER, NOW + 1))),
    "registration has ended": Case("E4", read_balance(5), registered(Registration(IS, SUPPLIER, 0, NOW))),
    "registered in another role": Case("E4", read_balance(5), registered(Registration(ED, NETWORK_OPERATOR))),
    "device withdrawn": Case("E5", read_balance(5), lambda: inventory(status=DeviceStatus.WITHDRAWN)),
    "device suspended": Case("E5", read_balance(5), lambda: inventory(status=DeviceStatus.SUSPENDED)),
    "service for other device types": Case("E11", read_balance(5, target=CHF)),
    "arming a PPMID": Case("E11", arm(5, target=PPMID)),
    # 8: the road
    "local delivery for a network operator": Case(
        "E17",
        request("4.16", Element("ReadActivePowerImport"), 2, 5, originator=NETWORK_OPERATOR),
        post={"caller": NETWORK_OPERATOR},
    ),
    "WAN delivery without WAN": Case("E20", read_balance(5, 1, target=OTHER_ESME)),
    # 9: not here, and what cannot wait
    "firmware for distribution": Case("E100", request("11.1", FIRMWARE, 8, 5, target=BROKER)),
    "local delivery at a date": Case("E17", request("4.18", Element("ReadMeterBalance", children=(LATER,)), 2, 5)),
    "local delivery in a sequence": Case(
        "E17", header(read_balance(5), preceding_service_request_id=RequestID(SUPPLIER, ESME, 4))
    ),
    "after a request that never came": Case(
        "E45", header(read_balance(5, 1), preceding_service_request_id=RequestID(SUPPLIER, ESME, 4))
    ),
    "after another User's request": Case(
        "E45", header(read_balance(5, 1), preceding_service_request_id=RequestID(OTHER_SUPPLIER, ESME, 4))
    ),
    "the first, after another": Case(
        "E12",
        header(
            read_balance(5, 1),
            first_in_sequence=True,
            preceding_service_request_id=RequestID(SUPPLIER, ESME, 4),
        ),
    ),
    # 10: RequestIDs and counters
    "another document under a RequestID": Case("E40", read_balance(5, 1), before=(read_balance(5),)),
    "counter below": Case("E41", read_balance(4), before=(read_balance(5),)),
    "transform with a counter below": Case("E41", arm(4), before=(read_balance(5),)),
    "counter that is no top-up's": Case("E41", request("2.2", top_up(5, 100).body, 2, (5 << 32) + 1)),
    # the content
    "no UTRN": Case("E44", request("2.2", Element("TopUpDevice", children=(Element("UTRN", "12"),)), 2, 5 << 32)),
    "no transform yet": Case("E44", request("6.14.1", Element("UpdateDeviceConfigurationALCDescriptions"), 4, 5)),
    "no date": Case(
        "E44", request("4.18", Element("ReadMeterBalance", children=(Element("ExecutionDateTime", "now"),)), 2, 5)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refusal(case: Case, tmp_path: Path) -> None:
    """The request is refused with the code its fault has, told with a reason, and leaves no trace in the store."""
    world = World(tmp_path / "dsp.sqlite", case.devices())
    for earlier in case.before:
        assert code(world.post(earlier)).startswith("I")
    before = trace(world, case)
    response = world.post(case.asked, **case.post)
    assert code(response) == case.code
    assert response.header.request_id == case.asked.header.request_id
    (told,) = world.told.of("request_refused")
    assert told["code"] == case.code
    assert told["reason"]
    assert trace(world, case) == before
    world.close()


def trace(world: World, case: Case) -> tuple[LaneMarks, LaneMarks, int, int]:
    """What an accepted request would have changed."""
    request_id = case.asked.header.request_id
    with world.store.change() as change:
        ordinary, top_ups = (change.lane(request_id.originator, request_id.target, lane) for lane in Lane)
        return ordinary, top_ups, len(change.outbox()), len(world.told.of("command_sealed"))


def test_every_code_has_a_case() -> None:
    """No code of ours is left without a request that earns it; those of the way out and of holding are tested there."""
    earned = {case.code for case in CASES.values()}
    elsewhere = {
        Code.SUCCESS, Code.ACKNOWLEDGED, Code.NO_RESPONSE, OurCode.NOT_AS_TRANSFORMED, OurCode.GBCS_SIGNATURE,
        Code.FUTURE_DATED_TIME_OUT, OurCode.PREDECESSOR_FAILED, OurCode.REJECTED, OurCode.CANCELLED,
    }  # fmt: skip
    assert {*Code, *OurCode} - elsewhere == earned


def test_a_registration_begins_and_ends_at_its_instant(tmp_path: Path) -> None:
    """Change of supplier: at the very second the old supplier is out and the new one is in (T59)."""
    rows = (Registration(IS, SUPPLIER, 0, NOW), Registration(IS, OTHER_SUPPLIER, NOW))
    world = World(tmp_path / "dsp.sqlite", inventory(registrations=rows))
    world.now = NOW - 1
    assert code(world.post(read_balance(1))) == "I0"
    assert code(world.post(read_balance(1, originator=OTHER_SUPPLIER), caller=OTHER_SUPPLIER)) == "E4"
    world.now = NOW
    assert code(world.post(read_balance(2))) == "E4"
    assert code(world.post(read_balance(2, originator=OTHER_SUPPLIER), caller=OTHER_SUPPLIER)) == "I0"
    world.close()


def test_an_expired_certificate_signs_nothing(tmp_path: Path) -> None:
    """Ten years on, the same User with the same key is refused (T10)."""
    world = World(tmp_path / "dsp.sqlite")
    world.now = NOW + 11 * 366 * 86_400
    assert code(world.post(read_balance(1))) == "E1"
    world.now = NOW - 2 * 366 * 86_400
    assert code(world.post(read_balance(1))) == "E1"
    world.close()


def test_requests_to_the_dcc_may_overtake_each_other(tmp_path: Path) -> None:
    """8.13s in flight at once reach no device: a lower counter is fine, a repeated RequestID is not."""
    world = World(tmp_path / "dsp.sqlite")
    assert code(world.post(returned(9, b"\xdf"))) == "E081301"
    command = world.local_command(read_balance(1))
    assert command
    from tests import own_world as own

    (response,) = own.meter().receive(command, NOW)
    assert code(world.post(returned(9, response))) == "I99"
    assert code(world.post(returned(8, response))) == "I99"
    assert code(world.post(returned(9, response, read_balance(1).header.request_id))) == "E40"
    world.close()


def test_a_dark_home_takes_commands_for_local_delivery(tmp_path: Path) -> None:
    """No WAN does not stop what the supplier delivers itself."""
    world = World(tmp_path / "dsp.sqlite")
    assert code(world.post(read_balance(5, 2, target=OTHER_ESME))) == "I0"
    assert DARK_CHF not in world.wan.connected
    world.close()
