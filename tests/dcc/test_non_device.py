"""Requests to the DCC itself: inventory, schedules, the WAN matrix, hubs; and that its documents suit the schema."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lastmetre.dcc.anomalies import AnomalyRules, VolumeThreshold
from lastmetre.dcc.dsp import DspOptions
from lastmetre.dcc.inventory import (
    DeviceStatus,
    DeviceType,
    Inventory,
    MpxnRegistration,
    Mpxns,
    Registration,
    UserRole,
    WanCoverage,
)
from lastmetre.dcc.ports import HeldKind, OutboxKind, Service
from lastmetre.dcc.schedules import next_due
from lastmetre.duis.documents import (
    GbcsPayload,
    OtherMessage,
    OtherPayload,
    ResponseMessage,
    ScheduledMessage,
    build_signed_request,
)
from lastmetre.duis.identifiers import entity_text
from lastmetre.duis.xml import Element
from lastmetre.gbcs.message import parse_message
from lastmetre.links.duis_schema import OfficialSchema
from tests import own_world as own
from tests.dsp_world import (
    GSME,
    NOBODY,
    World,
    after,
    at_date,
    code,
    inventory,
    read_balance,
    to_dcc,
    xml_signer,
)
from tests.own_world import BROKER, CHF, ESME, NETWORK_OPERATOR, NOW, OTHER_SUPPLIER, PPMID, SUPPLIER
from tests.shared_data import DUIS, needs_duis

if TYPE_CHECKING:
    from lastmetre.duis.documents import Request

IS = UserRole.IMPORT_SUPPLIER
MPAN = "1312345678111"
NEW = bytes.fromhex("00005eef100000a9")


def named(element: str, device_id: bytes, *more: Element) -> Element:
    """A body that names a device."""
    return Element(element, children=(Element("DeviceID", entity_text(device_id)), *more))


def known(**changed: object) -> Inventory:
    """The first meter with an MPAN and an address."""
    made = inventory(mpxns=Mpxns(MPAN), manufacturer="AB01", model="010A030B", **changed)
    hub = made.device(CHF)
    assert hub is not None
    made.take([replace(hub, post_code="M22 0RR", address_identifier="Threapwood Road", uprn="123456789012")])
    return made


def payload(world: World, body: Element, variant: str, counter: int = 1) -> Element:
    """The result of a request to the DCC."""
    response = world.post(to_dcc(variant, body, counter))
    assert code(response) == "I0"
    assert isinstance(response.body, ResponseMessage)
    assert isinstance(response.body.payload, OtherPayload)
    return response.body.payload.element


# --- 8.2


@pytest.mark.parametrize(
    "body",
    [
        named("ReadInventory", ESME),
        named("ReadInventory", CHF),
        Element("ReadInventory", children=(Element("MPxN", MPAN),)),
        Element("ReadInventory", children=(Element("UPRN", "123456789012"),)),
        Element(
            "ReadInventory",
            children=(
                Element(
                    "PropertyFilter",
                    children=(Element("PostCode", "m220rr"), Element("AddressIdentifier", "threapwood road")),
                ),
            ),
        ),
    ],
    ids=["meter", "hub", "MPxN", "UPRN", "address"],
)
def test_the_whole_home_is_read_by_any_of_its_names(body: Element) -> None:
    """One device, an MPxN or the address: every device of the premises, with what is known of it."""
    found = payload(World(devices=known()), body, "8.2")
    ids = [device.find_text("DeviceID") for device in found.children]
    assert ids == [entity_text(each) for each in (CHF, ESME, PPMID, GSME)]
    meter = found.children[1]
    assert meter.find_text("DeviceStatus") == "Commissioned"
    assert meter.find_text("ImportMPxN") == MPAN
    assert meter.find_text("ESMEVariant") == "A"


def test_what_is_not_there_cannot_be_read() -> None:
    """An unknown device, MPxN or address: an error of the service."""
    world = World(devices=known())
    for counter, child in enumerate((Element("DeviceID", entity_text(NOBODY)), Element("MPxN", "1"))):
        assert code(world.post(to_dcc("8.2", Element("ReadInventory", children=(child,)), counter))) == "E080201"


# --- 12.2, 8.4, 8.3


def pre_notify(device_id: bytes, kind: str = "ESME", variant: str | None = "A") -> Element:
    """SRV 12.2."""
    parts = [
        Element("DeviceID", entity_text(device_id)),
        Element("DeviceManufacturer", "AB01"),
        Element("DeviceModel", "010A030B"),
        Element("DeviceType", kind),
        Element("SMETSCHTSVersion", "SMETS V1.58"),
        Element("FirmwareVersion", "0002012F"),
    ]
    if variant is not None:
        parts.append(Element("ESMEVariant", variant))
    return Element("DevicePrenotification", children=tuple(parts))


def test_a_device_is_notified_changed_and_deleted() -> None:
    """From its first mention to its end, over restarts; a second mention is refused."""
    world = World()
    assert code(world.post(to_dcc("12.2", pre_notify(NEW), 1))) == "I99"
    assert code(world.post(to_dcc("12.2", pre_notify(NEW), 2))) == "E120201"
    world.restart()
    found = world.device(NEW)
    assert (found.status, found.firmware_version, found.esme_variant) == (DeviceStatus.PENDING, "0002012F", "A")
    status = Element("UpdateDeviceStatusExceptCH", "InstalledNotCommissioned")
    assert code(world.post(to_dcc("8.4", named("UpdateInventory", NEW, status), 3))) == "I99"
    assert world.device(NEW).status is DeviceStatus.INSTALLED_NOT_COMMISSIONED
    # It is no longer anybody's to change who is not registered for it.
    assert code(world.post(to_dcc("8.4", named("UpdateInventory", NEW, status), 4))) == "E4"
    other = bytes.fromhex("00005eef100000aa")
    world.post(to_dcc("12.2", pre_notify(other), 5))
    delete = named("UpdateInventory", other, Element("DeleteDevice"))
    assert code(world.post(to_dcc("8.4", delete, 6))) == "I99"
    world.restart()
    assert world.dsp.inventory.device(other) is None
    assert code(world.post(to_dcc("12.2", pre_notify(other), 7))) == "I99"


@pytest.mark.parametrize("gpf", [ESME, NEW])
def test_a_notification_writes_over_nothing(gpf: bytes) -> None:
    """A hub announced with somebody's meter, or itself, as its Gas Proxy Function is refused; the meter stays."""
    world = World()
    body = pre_notify(NEW, "CHF", None)
    body = body._replace(children=(*body.children, Element("AssociatedGPFDeviceID", entity_text(gpf))))
    assert code(world.post(to_dcc("12.2", body, 1))) == "E120201"
    assert world.device(ESME).device_type is DeviceType.ESME
    assert world.dsp.inventory.device(NEW) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (named("UpdateInventory", NOBODY, Element("DeleteDevice")), "E080405"),
        (named("UpdateInventory", ESME, Element("DeleteDevice")), "E080406"),
        (named("UpdateInventory", CHF, Element("UpdateDeviceStatusExceptCH", "Pending")), "E080406"),
        (named("UpdateInventory", ESME, Element("UpdateDeviceStatusCH", "Commissioned")), "E080406"),
        (
            named("UpdateInventory", PPMID, Element("UpdateMPxN", children=(Element("ImportMPxN", "1"),))),
            "E080406",
        ),
    ],
)
def test_an_update_that_does_not_fit_is_refused(body: Element, expected: str) -> None:
    """And leaves nothing behind."""
    world = World()
    assert code(world.post(to_dcc("8.4", body, 1))) == expected
    assert world.told.of("device_changed") == []


def test_a_device_without_a_hub_is_sent_nothing() -> None:
    """Pending: E5; decommissioned: E5; both without a Command."""
    world = World()
    world.post(to_dcc("12.2", pre_notify(NEW), 1))
    world.dsp.inventory.take(
        [replace(world.device(NEW), registrations=(Registration(IS, SUPPLIER),))]
    )  # as settings might have it
    assert code(world.post(read_balance(5, 1, target=NEW))) == "E5"
    decommission = named("DecommissionDevice", ESME)
    assert code(world.post(to_dcc("8.3", decommission, 2))) == "I99"
    assert code(world.post(read_balance(5, 1))) == "E5"
    assert code(world.post(to_dcc("8.3", decommission, 3))) == "E080301"


def test_only_the_registered_decommission() -> None:
    """Another supplier's meter is not ours to end."""
    world = World()
    asked = to_dcc("8.3", named("DecommissionDevice", ESME), 1, originator=OTHER_SUPPLIER)
    assert code(world.post(asked, caller=OTHER_SUPPLIER)) == "E4"


def test_a_new_mpan_brings_its_registrations() -> None:
    """8.4 with an MPxN: whoever is registered for that supply is the meter's supplier, since its date (E4 before)."""
    rows = (MpxnRegistration(MPAN, Registration(UserRole.GAS_SUPPLIER, SUPPLIER, since_at=NOW + 100)),)
    made = inventory()
    gsme = made.device(GSME)
    assert gsme is not None
    own_rows = (Registration(UserRole.GAS_SUPPLIER, SUPPLIER, until_at=NOW + 50),)
    devices = {**made.devices, GSME: replace(gsme, registrations=own_rows)}
    world = World(devices=Inventory(devices.values(), made.users.values(), rows))
    update = Element("UpdateMPxN", children=(Element("ImportMPxN", MPAN),))
    assert code(world.post(to_dcc("8.4", named("UpdateInventory", GSME, update), 1))) == "I99"
    world.restart()
    codes = []
    for seconds in (49, 50, 99, 100):
        world.now = NOW + seconds
        codes.append(code(world.post(read_balance(seconds, 1, target=GSME))))
    assert codes == ["I99", "E4", "E4", "I99"]


def test_the_ppmid_of_a_home_is_its_suppliers() -> None:
    """What has no MPxN of its own follows the meters of its hub: so do roles."""
    rows = (
        MpxnRegistration(MPAN, Registration(IS, SUPPLIER)),
        MpxnRegistration(MPAN, Registration(UserRole.ELECTRICITY_DISTRIBUTOR, NETWORK_OPERATOR)),
    )
    made = known()
    bare = [replace(device, registrations=()) for device in made.devices.values()]
    devices = Inventory(bare, made.users.values(), rows)
    ppmid, gsme, meter = (devices.device(each) for each in (PPMID, GSME, ESME))
    assert ppmid is not None
    assert gsme is not None
    assert meter is not None
    assert devices.roles_of(ppmid, SUPPLIER, NOW) == {IS}
    assert devices.roles_of(meter, NETWORK_OPERATOR, NOW) == {UserRole.ELECTRICITY_DISTRIBUTOR}
    assert devices.roles_of(gsme, SUPPLIER, NOW) == frozenset(), "its own MPRN has nobody"
    assert devices.roles_of(ppmid, OTHER_SUPPLIER, NOW) == frozenset()


# --- 8.14, 12.1


def test_news_of_a_hub() -> None:
    """Notified, installed, given back: each leaves its status, and a meter is no hub."""
    world = World()
    notified = pre_notify(NEW, "CHF", None)
    world.post(to_dcc("12.2", notified, 1))
    installed = named(
        "CHFInstallSuccessSMWAN", NEW, Element("CHFInstallType", "New CHF Install"), Element("MPxN", "1000999888"),
        Element("AerialInstall", "true"), Element("CHFLocation", "Basement or Cellar"),
    )  # fmt: skip
    assert world.device(NEW).device_type is DeviceType.CHF
    assert world.dsp.inventory.has_hub(NEW)
    assert code(world.post(to_dcc("8.14.1", installed, 2))) == "I99"
    assert world.device(NEW).status is DeviceStatus.COMMISSIONED
    wrong = Element(installed.name, children=(Element("DeviceID", entity_text(ESME)), *installed.children[1:]))
    assert code(world.post(to_dcc("8.14.1", wrong, 3))) == "E081401"


@pytest.mark.parametrize(
    ("coverage", "available", "likelihood"),
    [
        (WanCoverage.GOOD, "true", "High"),
        (WanCoverage.INTERMITTENT, "true", "Medium"),
        (WanCoverage.NONE, "false", "Low"),
    ],
)
def test_the_wan_matrix_tells_the_coverage_of_an_address(
    coverage: WanCoverage, available: str, likelihood: str
) -> None:
    """By address; one the inventory does not know is an error, not a guess."""
    made = known()
    hub = made.device(CHF)
    assert hub is not None
    made.take([replace(hub, wan_coverage=coverage, csp_region="North")])
    world = World(devices=made)
    parts = (Element("PostCode", "M22 0RR"), Element("AddressIdentifier", "Threapwood Road"))
    body = Element("RequestWANMatrix", children=(Element("PartialAddress", children=parts),))
    answer = payload(world, body, "12.1").find("DSPWANMatrixResponse")
    assert answer is not None
    assert answer.find_text("CSPRegion") == "North"
    assert answer.find_text("CoverageAvailability") == available
    assert answer.find_text("ConnectivityLikelihood") == likelihood
    elsewhere = Element("RequestWANMatrix", children=(Element("UPRN", "1"),))
    assert code(world.post(to_dcc("12.1", elsewhere, 2))) == "E120101"


# --- 5.1 to 5.3


def schedule(variant: str = "4.6.1", *, device: bytes = ESME, frequency: str = "Daily", start: str = "2026-11-24",
             more: tuple[Element, ...] = ()) -> Element:  # fmt: skip
    """SRV 5.1: yesterday's daily read log, each day at two."""
    names = {"4.6.1": "DSPRetrieveImportDailyReadLog", "4.15": "DSPReadLoadLimitData", "7.4": "DSPReadSupplyStatus"}
    period = (
        Element("StartDateOffset", "-1"),
        Element("StartTime", "00:00:00.00Z"),
        Element("EndDateOffset", "0"),
        Element("EndTime", "00:00:00.00Z"),
    )
    return Element(
        "CreateSchedule",
        children=(
            Element("ScheduleFrequency", frequency),
            Element("ScheduleStartDate", start),
            *more,
            Element("ScheduleExecutionStartTime", "02:00:00Z"),
            Element("DSPScheduledServiceReference", ".".join(variant.split(".")[:2])),
            Element("DSPScheduledServiceReferenceVariant", variant),
            Element("DeviceID", entity_text(device)),
            Element(names[variant], children=period if variant == "4.6.1" else ()),
        ),
    )


TWO = int(datetime(2026, 11, 24, 2, tzinfo=UTC).timestamp())
DAY = 86_400


def test_a_schedule_reads_every_day_until_it_is_deleted() -> None:
    """Its id comes at once; each read goes down by itself, its Response comes under the id; 5.2 lists, 5.3 ends it."""
    world = World()
    made = payload(world, schedule(), "5.1")
    assert made.name == "DSPScheduleID"
    for day in range(3):
        world.now = TWO + day * DAY
        if day == 1:
            world.restart()
        world.dsp.chores()
        world.dsp.chores()
        assert len(world.down()) == day + 1
        header = parse_message(world.down()[-1]).header
        assert header.business_originator_id == BROKER
        assert header.other_information.supplementary_remote_party_id == SUPPLIER
        (response,) = own.meter().receive(world.down()[-1], world.now)
        world.from_wan(response)
    results = [found.body.payload for found in world.documents() if isinstance(found.body, ResponseMessage)]
    assert [found.dsp_schedule_id for found in results if isinstance(found, ScheduledMessage)] == [int(made.text)] * 3
    listed = payload(world, Element("ReadSchedule", children=(made,)), "5.2", 2)
    assert listed.find("DSPSchedules/DSPScheduleDetails/ScheduleFrequency") is not None
    assert code(world.post(to_dcc("5.3", Element("DeleteSchedule", children=(made,)), 3))) == "I99"
    world.later(10 * DAY)
    assert len(world.down()) == 3
    assert code(world.post(to_dcc("5.2", Element("ReadSchedule", children=(made,)), 4))) == "E050201"
    assert code(world.post(to_dcc("5.3", Element("DeleteSchedule", children=(made,)), 5))) == "E050301"


def test_missed_reads_are_not_made_up_for() -> None:
    """A week without the DSP: one read when it is back, then every day again."""
    world = World()
    payload(world, schedule(), "5.1")
    world.now = TWO + 7 * DAY + 100
    world.dsp.chores()
    assert len(world.down()) == 1
    (held,) = world.held(HeldKind.SCHEDULE)
    assert held.due_at == TWO + 8 * DAY


def test_a_schedule_ends_with_its_registration() -> None:
    """Change of supplier: the next read is not made, and the old supplier is told that its schedule has gone."""
    rows = (Registration(IS, SUPPLIER, 0, TWO),)
    world = World(devices=inventory(registrations=rows))
    payload(world, schedule(), "5.1")
    world.now = TWO
    world.dsp.chores()
    assert world.down() == []
    assert world.held() == ()
    (told,) = world.documents()
    assert isinstance(told.body, OtherMessage)
    assert told.body.element.find("DCCAlert/DSPScheduleRemoval") is not None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (schedule("7.4"), "E44"),
        (schedule(device=NOBODY), "E19"),
        (schedule(device=PPMID), "E11"),
        (schedule(start="2020-01-01", more=(Element("ScheduleEndDate", "2020-02-01"),)), "E050101"),
        (schedule(frequency="Hourly"), "E44"),
    ],
    ids=["not to be scheduled", "no such device", "other device type", "over already", "no frequency"],
)
def test_a_schedule_that_cannot_be_is_refused(body: Element, expected: str) -> None:
    """Nothing is held then."""
    world = World()
    assert code(world.post(to_dcc("5.1", body, 1))) == expected
    assert world.held() == ()


def test_another_users_schedule_is_as_good_as_none() -> None:
    """Neither read nor deleted, nor its existence told."""
    world = World()
    made = payload(world, schedule(), "5.1")
    for variant, element, expected in (("5.2", "ReadSchedule", "E050201"), ("5.3", "DeleteSchedule", "E050301")):
        asked = to_dcc(variant, Element(element, children=(made,)), 7, originator=OTHER_SUPPLIER)
        assert code(world.post(asked, caller=OTHER_SUPPLIER)) == expected
    assert len(world.held()) == 1


@pytest.mark.parametrize(
    ("frequency", "start", "days"),
    [
        ("Daily", "2026-01-30", ["2026-01-30", "2026-01-31", "2026-02-01"]),
        ("Weekly", "2026-01-30", ["2026-01-30", "2026-02-06"]),
        ("Monthly", "2026-01-31", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("Quarterly", "2027-11-30", ["2027-11-30", "2028-02-29", "2028-05-30"]),
        ("Half-Yearly", "2026-08-31", ["2026-08-31", "2027-02-28"]),
        ("Yearly", "2028-02-29", ["2028-02-29", "2029-02-28"]),
    ],
)
def test_the_calendar_of_schedules(frequency: str, start: str, days: list[str]) -> None:
    """Counted from the start: a month that lacks the day gives its last, and the next has the day again (T20)."""
    body, at, found = schedule(frequency=frequency, start=start), 0, []
    for _ in days:
        due = next_due(body, at)
        assert due is not None
        found.append(datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%d"))
        at = due
    assert found == days


# --- every kind of document against the official schema


def all_kinds(world: World) -> tuple[Element, list[Request]]:
    """Lets the DSP make documents of every kind; a schedule's id, and requests to the DCC still to be asked."""
    world.post(read_balance(5, 3))
    first = world.down()[0]
    world.post(read_balance(6, 1))  # quarantined
    world.post(at_date(read_balance(8, 1), NOW + 10))
    world.post(at_date(read_balance(9, 1), "3000-12-31T00:00:00Z"))
    world.post(after(read_balance(10, 1), read_balance(6)))
    made = payload(world, schedule(), "5.1", 1)
    (response,) = own.meter().receive(first, NOW)
    world.from_wan(response)
    world.dsp.hub_disconnected(CHF)
    world.later(200)
    world.now = TWO
    world.dsp.chores()
    (read,) = own.meter().receive(world.down()[-1], world.now)
    world.from_wan(read)
    return made, [
        to_dcc("5.2", Element("ReadSchedule", children=(made,)), 2),
        to_dcc("8.2", named("ReadInventory", ESME), 3),
        to_dcc("12.1", Element("RequestWANMatrix", children=(Element("UPRN", "123456789012"),)), 4),
        to_dcc("8.3", named("DecommissionDevice", PPMID), 5),
        to_dcc("8.2", named("ReadInventory", NOBODY), 6),
    ]


@needs_duis
def test_every_document_suits_the_official_schema() -> None:
    """Acknowledgements, errors, results, alerts of the DCC and of devices: nothing the schema would refuse."""
    schema = OfficialSchema(DUIS)
    world = World(devices=known(), options=DspOptions(rules=AnomalyRules((VolumeThreshold(1, 60, "4.18"),))))
    _, requests = all_kinds(world)
    documents = [item.body for item in world.outbox(OutboxKind.PUSH)]
    for asked in requests:
        document = build_signed_request(asked, xml_signer(SUPPLIER))
        assert schema.violations(document) == ()
        documents.append(world.dsp.answer(Service.NON_DEVICE, SUPPLIER, document))
    (command,) = (one for one in world.memory.commands.values() if one.dsp_schedule_id is not None)
    documents.append(world.dsp._replies.failure(command, "E21", NOW))
    kinds = {type(getattr(found.body, "payload", found.body)) for found in world.documents()}
    assert {GbcsPayload, OtherMessage, ScheduledMessage} <= kinds
    assert len(documents) > 12
    for document in documents:
        assert schema.violations(document) == (), document
