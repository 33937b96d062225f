"""What a hub's power cut takes and what it leaves (han 3.7), and that no PPMID fills a tunnel the WAN needs (3.4)."""

from __future__ import annotations

from lastmetre.gbcs.message import Cra, parse_message
from lastmetre.han import Hub
from lastmetre.han.limits import WAKE_INTERVAL_S
from lastmetre.home.chf import Chf, ChfState
from lastmetre.home.comms_hub import CommsHub, HubSettings
from lastmetre.home.hht import HhtDesk
from lastmetre.home.hub_policy import DeviceType, Policy, Refusal
from lastmetre.home.ports import MemoryStore
from lastmetre.home.premises import FROM_HAN_UNDER_WAY_MAX, Neighbour, Parts, Premises, Radios
from lastmetre.home.supply import Supply
from tests import own_world as own
from tests.gas_world import GSME
from tests.home.test_gpf import tariff
from tests.home.test_premises import KEY, PAN, SHORTS, TYPES, Home, headers
from tests.own_world import CHF, ESME, PPMID

HHT = bytes.fromhex("00005eef100000a7")
HHT_SHORT = 0x7701


class HomeWithPower(Home):
    """A home whose hub's power can be cut: devices and stores go on, all else begins anew."""

    def __init__(self) -> None:
        self.hub_store, self.chf_store = MemoryStore(), MemoryStore()
        super().__init__()
        self._take_power(self.chf.state, 1)

    def power_cut(self) -> None:
        """Off and on."""
        self._take_power(ChfState(), 77)

    def _take_power(self, new: ChfState, first_counter: int) -> None:
        chf = Chf(self._identity(CHF), self.chf_store, self.told, new=new)
        hub = CommsHub(CHF, (), HubSettings(Policy.PROPOSED), self.told, self.hub_store)
        old = self.premises
        radios = Radios(Hub(CHF, PAN, SHORTS, first_counter=first_counter, gas=(GSME,)), old._radios.meter)
        neighbours = {device: Neighbour(TYPES[device], short, KEY) for device, short in SHORTS.items()}
        terminals = {HHT: Neighbour(DeviceType.HHT, HHT_SHORT, KEY)}
        parts = Parts(old.parts.gas, chf, self.gpf, neighbours, HhtDesk(chf, self.now), terminals)
        self.chf = chf
        self.premises = Premises(hub, self.meter, radios, self.wan.append, self.told, parts)


def test_the_devices_are_found_again() -> None:
    """Tunnels are asked for anew, their old ids come back, and Commands pass at once."""
    home = HomeWithPower()
    home.run(60)
    before = home.premises._radios.meter.server.tunnel_with(CHF)
    home.power_cut()
    home.run(60)
    assert home.premises._radios.meter.server.tunnel_with(CHF) == before
    home.pass_up(own.arm(9))
    home.run(5)
    assert headers(home.received) == [(Cra.RESPONSE, ESME)]
    assert home.meter.state.supply is Supply.ARMED


def test_device_log_origin_records_and_wan_store_survive() -> None:
    """A gas Command passed up before the cut is answered to the PPMID after it; what waited for the WAN still waits."""
    home = HomeWithPower()
    home.run(60)
    home.pass_up(own.arm(9))
    home.run(10)
    stored = list(home.received)
    home.power_cut()
    assert {entry.device_id for entry in home.chf.state.device_log} == set(SHORTS)
    home.run(60)
    home.premises.wan_connected(home.at)
    assert [message for message in home.wan if parse_message(message).header.cra is Cra.RESPONSE] == stored
    key = (parse_message(own.arm(9)).header.business_originator_id, ESME, 9)
    assert home.premises.hub._records[key].roads == {PPMID}


def test_the_gas_mailbox_is_lost_and_the_command_may_come_again() -> None:
    """What waited is gone with the power; the same bytes are no repeat then, and reach the meter at its wake."""
    home = HomeWithPower()
    home.run(60)
    home.pass_up(tariff(1, 500))
    home.run(5)
    assert home.premises.hub.waiting_for(GSME, home.at) == 1
    home.power_cut()
    assert home.premises.hub.waiting_for(GSME, home.at) == 0
    home.run(60)
    home.pass_up(tariff(1, 500))
    home.run(2 * WAKE_INTERVAL_S)
    assert headers(home.received) == [(Cra.RESPONSE, GSME)]


def test_the_gas_meter_opens_its_tunnel_anew_at_its_next_wake() -> None:
    """Its old id is dead at the hub: it learns that, asks again, and fetches, all in one wake."""
    home = HomeWithPower()
    home.run(60)
    home.pass_up(tariff(1, 500))
    home.run(WAKE_INTERVAL_S)
    home.received.clear()
    home.power_cut()
    home.run(30)
    home.pass_up(tariff(2, 600))
    home.run(WAKE_INTERVAL_S)
    assert headers(home.received) == [(Cra.RESPONSE, GSME)]


def test_a_terminal_keeps_its_hours_and_gets_a_new_hour_to_join() -> None:
    """Listed before the cut: still listed, its hours run on; the desk is open again, but one is there already."""
    home = HomeWithPower()
    assert home.premises.hht_joins(HHT, Neighbour(DeviceType.HHT, HHT_SHORT, KEY), home.now, home.at)
    home.now += 3_000
    home.premises.tick(home.now, home.at)
    home.power_cut()
    assert home.chf.state.hht is not None
    assert HHT in home.premises._radios.hub.node.neighbours
    other = bytes.fromhex("00005eef100000a8")
    assert not home.premises.hht_joins(other, Neighbour(DeviceType.HHT, 0x7702, KEY), home.now, home.at)
    home.now += 18 * 3_600 - 3_000
    home.premises.tick(home.now, home.at)
    assert HHT not in {entry.device_id for entry in home.chf.state.device_log}
    assert HHT not in home.premises._radios.hub.node.neighbours


def test_a_ppmid_cannot_fill_the_tunnel_of_a_meter_out_of_reach() -> None:
    """The meter's radio is silent: of ten Commands by the PPMID five are held; the WAN's are held besides."""
    home = HomeWithPower()
    home.run(60)
    meter = home.premises._radios.meter
    meter.node.pan_id = PAN + 1  # type: ignore[misc]  # it hears another network
    for counter in range(1, 10):
        home.pass_up(own.read_balance(counter))
    home.run(3)
    assert [event.refusal for event in home.premises.hub.log].count(Refusal.FULL) == 9 - FROM_HAN_UNDER_WAY_MAX
    refusals = len(home.premises.hub.log)
    for counter in range(20, 24):
        home.premises.from_wan(own.read_balance(counter), home.now, home.at)
    assert len(home.premises.hub.log) == refusals
