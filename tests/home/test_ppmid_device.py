"""The PPMID's joins and its screen model; its buttons and answers are in ``test_ppmid``."""

from __future__ import annotations

from lastmetre.gbcs.asn1 import Asn1, Join, JoinResponse, Unjoin, decode_asn1, encode_asn1
from lastmetre.gbcs.message import Cra, Kind, parse_message
from lastmetre.han import Device, MessageReceived
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from lastmetre.home.ppmid import Partners, Ppmid
from tests import gas_world as gas
from tests import own_world as own
from tests.own_world import CHF, DS, ESME, KA, NOW, PPMID, Told


class Radio(Device):
    """A radio whose messages are kept for the test instead of going on the air."""

    def __init__(self) -> None:
        super().__init__(PPMID, 0x4A21, 0x1A62, CHF, {ESME: 0x1001}, first_counter=1)
        self.sent: list[bytes] = []

    def send(self, data: bytes, now: float) -> int:
        """Keep a message."""
        assert now >= 0
        self.sent.append(data)
        return len(self.sent)


def ppmid(store: MemoryStore) -> tuple[Ppmid, Radio]:
    """A PPMID that was joined with no gas meter when it was made, and its radio."""
    identity = DeviceIdentity(PPMID, own.private_key(PPMID, DS), own.private_key(PPMID, KA), own.anchors())
    radio = Radio()
    return Ppmid(identity, radio, Partners(ESME), store, Told()), radio


def test_it_joins_and_parts_by_command_and_remembers() -> None:
    """CS03C and CS04AC: joined it speaks to the gas meter, after a restart too; parted it does not, restarted too."""
    store = MemoryStore()
    device, radio = ppmid(store)
    device.emergency_credit("gas", 0.0)
    assert (radio.sent, device.screen()) == ([], "gas: no meter is joined")
    content = encode_asn1(Asn1(Join(3, gas.GSME, 0, own.certificate(gas.GSME, KA).der)))
    device.happened(MessageReceived(CHF, own.critical(own.header("CS03C", 1, target=PPMID), content)), 0.0)
    assert decode_asn1(0x00AF, int(Cra.RESPONSE), parse_message(radio.sent[-1]).content).value == JoinResponse(0)
    device, radio = ppmid(store)
    device.emergency_credit("gas", 0.0)
    assert parse_message(gas.meter().receive(radio.sent[0], NOW)[0]).kind is Kind.RESPONSE
    part = own.critical(own.header("CS04AC", 2, target=PPMID), encode_asn1(Asn1(Unjoin(gas.GSME))))
    device.happened(MessageReceived(CHF, part), 0.0)
    device, radio = ppmid(store)
    device.emergency_credit("gas", 0.0)
    assert radio.sent == []


def test_the_screen_shows_what_the_meters_show() -> None:
    """Balance, supply and message by fuel; a balance behind a privacy PIN stays hidden."""
    device, _radio = ppmid(MemoryStore())
    meter = own.meter()
    device.told("electricity", meter.display())
    device.told("gas", gas.meter().display())
    screen = device.model()
    electricity, fuel_gas = screen["electricity"], screen["gas"]
    assert isinstance(electricity, dict)
    assert isinstance(fuel_gas, dict)
    assert electricity["balance"] == -1_000
    assert set(fuel_gas) >= {"supply", "balance", "emergency_credit"}
    meter.customer_pin(b"1234")
    device.told("electricity", meter.display())
    hidden = device.model()["electricity"]
    assert isinstance(hidden, dict)
    assert "balance" not in hidden
