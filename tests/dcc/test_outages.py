"""Power outages: told to the home's supplier and network operator once, and not for a WAN that is away by schedule."""

from __future__ import annotations

from dataclasses import replace

from lastmetre.dcc.inventory import Inventory, MpxnRegistration, Mpxns, Registration, UserRole, WanCoverage
from lastmetre.dcc.ports import OutboxKind
from lastmetre.duis.documents import DeviceAlert, OtherMessage, write_date_time
from lastmetre.gbcs.build.alerts import SupplyRestored, alert
from lastmetre.gbcs.protect import signed_df
from tests import own_world as own
from tests.dsp_world import World, inventory
from tests.own_world import CHF, DS, ESME, NETWORK_OPERATOR, NOW, SUPPLIER

MPAN = "1312345678111"


def devices(coverage: WanCoverage = WanCoverage.GOOD) -> Inventory:
    """The first home with an MPAN, registered by it."""
    made = inventory(mpxns=Mpxns(MPAN))
    hub = made.device(CHF)
    assert hub is not None
    made.take([replace(hub, wan_coverage=coverage)])
    return made


def alerts(world: World) -> list[tuple[str, str, str]]:
    """Code, MPxN and time of the outages told."""
    found = []
    for document in world.documents():
        assert isinstance(document.body, OtherMessage)
        alert = document.body.element
        event = alert.find("DCCAlert/PowerOutageEvent")
        assert event is not None
        found.append((alert.children[0].text, event.find_text("MPxN") or "", event.find_text("StartDateTime") or ""))
    return found


def test_a_hub_that_stays_away_is_an_outage() -> None:
    """After three minutes, from when it went; once, also over a restart; each User concerned gets it."""
    world = World(devices=devices())
    world.dsp.hub_disconnected(CHF)
    world.later(179)
    assert alerts(world) == []
    world.restart()
    world.later(1)
    assert {alert[:2] for alert in alerts(world)} == {("AD1", MPAN)}
    assert {told[2] for told in alerts(world)} == {write_date_time(NOW)}
    users = {item.to_id for item in world.outbox(OutboxKind.PUSH)}
    assert users == {SUPPLIER, NETWORK_OPERATOR}
    world.restart()
    world.later(10_000)
    assert len(alerts(world)) == 2
    world.dsp.hub_connected(CHF)
    (told,) = world.told.of("hub_power_restored")
    assert told["since"] == NOW


def test_a_connection_that_comes_back_is_nobodys_news() -> None:
    """Two minutes without WAN are not an outage; the next absence counts from its own beginning."""
    world = World(devices=devices())
    for _ in range(3):
        world.dsp.hub_disconnected(CHF)
        world.later(120)
        world.dsp.hub_connected(CHF)
    assert alerts(world) == []
    assert world.told.of("hub_power_restored") == []


def test_a_hub_the_wan_reaches_at_times_is_not_without_power() -> None:
    """Its absence has a reason of its own."""
    world = World(devices=devices(WanCoverage.INTERMITTENT))
    world.dsp.hub_disconnected(CHF)
    world.later(10_000)
    assert alerts(world) == []


def test_whoever_supplies_now_is_told() -> None:
    """Registration by MPxN, at the time of the alert."""
    rows = (
        MpxnRegistration(MPAN, Registration(UserRole.IMPORT_SUPPLIER, SUPPLIER, until_at=NOW + 100)),
        MpxnRegistration(MPAN, Registration(UserRole.ELECTRICITY_DISTRIBUTOR, NETWORK_OPERATOR)),
    )
    made = devices()
    bare = [replace(device, registrations=()) for device in made.devices.values()]
    world = World(devices=Inventory(bare, made.users.values(), rows))
    assert world.device(ESME).mpxns.import_mpxn == MPAN
    world.dsp.hub_disconnected(CHF)
    world.later(200)
    assert len(alerts(world)) == 1


def test_the_meter_says_when_its_supply_is_back() -> None:
    """ECS80, signed by the meter, with both times: it reaches the supplier as a Device Alert, once (8F36)."""
    world = World(devices=devices())
    built = alert(
        0x0067, SupplyRestored(NOW - 600, NOW), originator=ESME, target=SUPPLIER, counter=9, alert_code=0x8F36, at=NOW
    )
    message = signed_df(built.header, built.content, own.private_key(ESME, DS))
    world.from_wan(message)
    world.from_wan(message)
    (told,) = world.documents()
    assert told.body == DeviceAlert(0x8F36, message)
