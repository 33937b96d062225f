"""A whole home on its air: what the PPMID passes up reaches meters, hub and proxy, and the answers come back."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs.axdr import Boolean, Enum, LongUnsigned, OctetString, Structure
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.dlms import AccessRequest, Action, Obis, Set, decode_data_notification, encode_access_request
from lastmetre.gbcs.message import Cra, parse_message
from lastmetre.gbcs.zcl import zcl_command
from lastmetre.han import Device, Event, Hub, MessageReceived, SleepyDevice, TransferFailed
from lastmetre.han.limits import WAKE_INTERVAL_S
from lastmetre.han.pcap import global_header, record
from lastmetre.home.chf import Chf, ChfState, Listed, link_key_hash
from lastmetre.home.comms_hub import CommsHub, HubSettings, LogEntry
from lastmetre.home.gas.state import GasState
from lastmetre.home.gpf import Gpf
from lastmetre.home.hub_policy import DeviceType, Policy, Refusal
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from lastmetre.home.premises import Gas, Neighbour, Parts, Premises, Radios
from lastmetre.home.supply import Supply
from tests import gas_world as gas
from tests import own_world as own
from tests.gas_world import GSME
from tests.home.test_gpf import tariff
from tests.own_world import BROKER, CHF, DS, ESME, KA, NOW, PPMID, SUPPLIER, Told

if TYPE_CHECKING:
    from pathlib import Path

PAN = 0x1A62
GPF = bytes.fromhex("00005eef100000a3")
SHORTS = {ESME: 0x1001, GSME: 0x9D03, PPMID: 0x4A21}
TYPES = {ESME: DeviceType.ESME, GSME: DeviceType.GSME, PPMID: DeviceType.PPMID}
KEY = b"provisioned key!"


class Home:
    """A premises with everything in it, its PPMID, and time that passes when told to."""

    def __init__(self) -> None:
        self.told = Told()
        self.wan: list[bytes] = []
        self.received: list[bytes] = []
        self.frames: list[bytes] = []
        self.failures: list[str] = []
        self.now = 0.0
        self.ppmid = Device(PPMID, SHORTS[PPMID], PAN, CHF, {ESME: SHORTS[ESME]}, first_counter=5)
        self.ppmid_is_on = True
        self.meter = own.meter(supply=Supply.OFF_BY_COMMAND, balance=5_000)
        self.gsme = gas.meter(told=self.told)
        self.gpf = Gpf(
            self._identity(GPF), MemoryStore(), self.told, new=GasState(), gsme_id=GSME,
            gsme_signing=own.certificate(GSME, DS),
        )  # fmt: skip
        log = tuple(Listed(device, TYPES[device], link_key_hash(device, KEY), NOW) for device in SHORTS)
        self.chf = Chf(self._identity(CHF), MemoryStore(), self.told, new=ChfState(log, extended_pan_id=GPF))
        self.premises = self._premises()

    @staticmethod
    def _identity(entity_id: bytes) -> DeviceIdentity:
        anchors = own.anchors()
        if entity_id == CHF:
            anchors = {(Role.ACCESS_CONTROL_BROKER, KA): own.certificate(BROKER, KA)}
        return DeviceIdentity(entity_id, own.private_key(entity_id, DS), own.private_key(entity_id, KA), anchors)

    def _premises(self) -> Premises:
        radios = Radios(
            Hub(CHF, PAN, SHORTS, first_counter=1, gas=(GSME,)),
            Device(ESME, SHORTS[ESME], PAN, CHF, {PPMID: SHORTS[PPMID]}, first_counter=2),
        )
        radio = SleepyDevice(GSME, SHORTS[GSME], PAN, CHF, first_counter=3, reports=self.gsme.reports)
        entries = tuple(LogEntry(device, kind) for device, kind in TYPES.items())
        hub = CommsHub(CHF, entries, HubSettings(Policy.PROPOSED), self.told, MemoryStore())
        neighbours = {device: Neighbour(TYPES[device], short, KEY) for device, short in SHORTS.items()}
        parts = Parts(Gas(self.gsme, radio), self.chf, self.gpf, neighbours)
        return Premises(hub, self.meter, radios, self.wan.append, self.told, parts)

    @property
    def at(self) -> int:
        """The hub's clock."""
        return NOW + int(self.now)

    def run(self, seconds: float) -> None:
        """Let time pass; everything due is done in order."""
        until = self.now + seconds
        while True:
            self._settle()
            due = [core.next_deadline() for core in (self.premises.medium, self.ppmid)]
            at = min((time for time in due if time is not None), default=until + 1)
            if at > until:
                break
            self.now = max(self.now, at)
            for heard in self.premises.medium.tick(self.now):
                self.premises.happened(heard, self.now, self.at)
            self._ppmid(self.ppmid.tick(self.now))
        self.now = until

    def _settle(self) -> None:
        while True:
            for heard in self.premises.medium.settle(self.now):
                self.premises.happened(heard, self.now, self.at)
            outward, inward = self.premises.medium.outgoing(), self.ppmid.outgoing()
            for frame in outward:
                if self.ppmid_is_on:
                    self._ppmid(self.ppmid.receive(frame, self.now))
            for frame in inward if self.ppmid_is_on else []:
                for heard in self.premises.medium.receive(frame, self.now):
                    self.premises.happened(heard, self.now, self.at)
            self.frames += self.premises.medium.heard()
            if not outward and not inward:
                return

    def _ppmid(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, MessageReceived):
                self.received.append(event.data)
            elif isinstance(event, TransferFailed):
                self.failures.append(event.reason)

    def pass_up(self, message: bytes) -> None:
        """The PPMID's agent hands it a Command."""
        self.ppmid.send(message, self.now)


def headers(messages: list[bytes]) -> list[tuple[Cra, bytes]]:
    """What kind each message is and who made it."""
    return [
        (header.cra, header.business_originator_id)
        for header in (parse_message(message).header for message in messages)
    ]


def test_a_gas_tariff_by_ppmid_reaches_meter_and_display_copy_in_one_wake() -> None:
    """The whole point of tap-off: passed up, fetched at the wake, answered, and the copy shows the new price."""
    home = Home()
    home.run(60)
    home.pass_up(tariff(1, 500))
    home.run(WAKE_INTERVAL_S - 120)
    assert home.received == []
    assert ",0" in str(home.gpf.display()["prices"])
    home.run(180)
    assert headers(home.received) == [(Cra.RESPONSE, GSME)]
    assert str(home.gpf.display()["prices"]).startswith("500,")
    assert home.wan == []  # stored: the WAN is down
    home.premises.wan_connected(home.at)
    assert home.wan == home.received


def test_the_ppmid_s_own_top_up_goes_and_comes_by_the_han_alone() -> None:
    """PCS01: from the PPMID to the gas meter and back, nothing to the WAN."""
    home = Home()
    home.run(60)
    home.premises.wan_connected(home.at)
    code = zcl_command("ConsumerTopUp", originating_device=2, code=own.top_up_digits(6, 100, target=GSME).encode())
    home.pass_up(gas.from_ppmid("PCS01", 1, code))
    home.run(WAKE_INTERVAL_S)
    assert headers(home.received) == [(Cra.RESPONSE, GSME)]
    assert home.wan == []
    assert home.gsme.state.number((0x0705, 1)) == 1_100_000


def test_an_electricity_command_is_answered_at_once_and_by_both_roads() -> None:
    """ECS44 by the PPMID: armed within seconds; the same bytes by the WAN are dropped, and both get the Response."""
    home = Home()
    home.run(60)
    home.premises.wan_connected(home.at)
    home.pass_up(own.arm(9))
    home.run(5)
    assert headers(home.received) == [(Cra.RESPONSE, ESME)]
    assert home.wan == home.received


def test_a_long_command_arrives_in_blocks() -> None:
    """2,000 octets by the WAN: cut, joined at the meter, judged as one; the answer says what it thought of it."""
    home = Home()
    home.run(60)
    home.premises.wan_connected(home.at)
    long = own.critical(own.header("ECS44", 9), bytes(2_000))
    home.premises.from_wan(long, home.now, home.at)
    home.run(10)
    assert headers(home.wan) == [(Cra.ALERT, ESME)]
    assert decode_data_notification(parse_message(home.wan[0]).content).alert_code == 0x8F1E  # its content: no request


def ccs(name: str, counter: int, *items: tuple[object, object]) -> bytes:
    """A Command of the broker's to the CHF."""
    content = encode_access_request(AccessRequest(counter, items))  # type: ignore[arg-type]
    return own.non_critical(own.header(name, counter, originator=BROKER, target=CHF), content)


def test_a_removed_ppmid_is_cut_off_and_a_restored_one_speaks_again() -> None:
    """CCS02 by WAN: no tunnel, no Command, its radio unheard. CCS01: it joins, opens its tunnel and passes up."""
    home = Home()
    home.run(60)
    home.premises.wan_connected(home.at)
    log = Obis.parse("0-0:30.3.0")
    home.premises.from_wan(ccs("CCS02", 1, (Action(104, log, 2), OctetString(PPMID))), home.now, home.at)
    home.run(5)
    assert headers(home.wan) == [(Cra.RESPONSE, CHF), (Cra.ALERT, CHF)]
    home.pass_up(own.arm(9))
    home.run(300)
    assert home.failures
    assert home.meter.state.supply is Supply.OFF_BY_COMMAND
    register = Structure((OctetString(PPMID), Enum(1), OctetString(b"install code 016"), Enum(0)))
    home.premises.from_wan(
        ccs(
            "CCS01",
            2,
            (Action(104, log, 1), register),
            (Set(104, log, 3), LongUnsigned(600)),
            (Set(104, log, 2), Boolean(value=True)),
        ),
        home.now,
        home.at,
    )
    home.run(120)
    home.pass_up(own.arm(10))
    home.run(5)
    assert headers(home.received)[-1:] == [(Cra.RESPONSE, ESME)]


def test_a_command_to_the_hub_itself_by_ppmid_is_judged_like_any_other() -> None:
    """CCS06 passed up by the PPMID: authentic, so answered, to the PPMID and the WAN; forged, so dropped."""
    home = Home()
    home.run(60)
    genuine = ccs("CCS02", 1, (Action(104, Obis.parse("0-0:30.3.0"), 2), OctetString(bytes(8))))
    home.pass_up(genuine[:-1] + bytes((genuine[-1] ^ 1,)))
    home.run(5)
    assert home.received == []
    home.pass_up(genuine)
    home.run(5)
    assert headers(home.received) == [(Cra.RESPONSE, CHF)]


def test_a_ppmid_that_was_off_gets_its_response_when_it_is_back() -> None:
    """R8: the Response waits for the tunnel, then comes; the WAN had it meanwhile."""
    home = Home()
    home.run(60)
    home.pass_up(tariff(1, 500))
    home.run(5)
    home.ppmid_is_on = False
    home.run(WAKE_INTERVAL_S + 600)
    assert home.received == []
    assert home.told.of("hub_kept_for_device")
    home.ppmid_is_on = True
    home.run(600)
    assert headers(home.received) == [(Cra.RESPONSE, GSME)]


def test_a_gas_report_is_in_the_proxy_s_copy() -> None:
    """What the meter counted is shown after its next wake, without a Command."""
    home = Home()
    home.run(60)
    home.gsme.consume(2_500, home.at)
    home.run(WAKE_INTERVAL_S)
    assert home.gpf.display()["volume_litres"] == 2_500


def test_nothing_is_for_a_device_that_is_not_there() -> None:
    """A Command for a stranger is refused by the hub; one for the GPF is answered inside it."""
    home = Home()
    home.run(60)
    home.pass_up(own.arm(9, target=own.OTHER_ESME))
    home.run(5)
    assert home.premises.hub.log[-1].refusal is Refusal.UNKNOWN_TARGET
    head = own.header("GCS60a", 3, originator=SUPPLIER, target=GPF)
    home.pass_up(own.non_critical(head, bytes.fromhex("0109010107020005000000000a")))
    home.run(5)
    assert headers(home.received) == [(Cra.RESPONSE, GPF)]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_names_every_message_of_an_hour(tmp_path: Path) -> None:
    """An hour with all of it in the air: GET, GET-RESPONSE and PUT named, nothing malformed."""
    home = Home()
    home.run(60)
    home.pass_up(tariff(1, 500))
    home.pass_up(own.arm(9))
    home.run(2 * WAKE_INTERVAL_S)
    capture = tmp_path / "hour.pcap"
    stamped = [record(frame, 1_700_000_000_000_000 + 4_300 * number) for number, frame in enumerate(home.frames)]
    capture.write_bytes(global_header() + b"".join(stamped))

    def tshark(display: str, field: str) -> list[str]:
        command = ["tshark", "-r", str(capture), "-Y", display, "-T", "fields", "-e", field]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()

    assert tshark("_ws.malformed or _ws.unreassembled", "frame.number") == []
    named = tshark("gbcs_message or gbcs_tunnel", "_ws.col.Info")
    assert any(line.startswith("GET-RESPONSE, Command, GCS01b") for line in named)
    assert any(line.startswith("PUT, Response, GCS01b") for line in named)
    assert any("ECS44" in line for line in named)
