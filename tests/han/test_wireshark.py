"""Wireshark's dissector judges our frames: it was written by others and needs no help to read them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs.message import Kind, parse_message
from lastmetre.han import (
    ConsumerTopUp,
    Device,
    Event,
    Hub,
    LocalChangeSupply,
    Medium,
    MessageReceived,
    SelectAvailableEmergencyCredit,
)
from lastmetre.han.limits import TRANSFER_OCTETS_MAX
from lastmetre.han.node import Node
from lastmetre.han.pcap import LINK_TYPE_IPV4, global_header, record
from lastmetre.han.zep import UDP_PORT, ZepPacket, encapsulate
from tests.han.support import ECS26C_COMMAND, HUB, METER, METER_SHORT, PAN, PPMID, PPMID_SHORT
from tests.han.test_sleepy import GAS_SHORT, GasWire
from tests.shared_data import needs_rtds, rtds_messages

if TYPE_CHECKING:
    from pathlib import Path

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")


def _read(capture: Path, *fields: str, display: str = "") -> list[list[str]]:
    """The fields of each frame that passes the display filter."""
    assert TSHARK is not None
    command = [TSHARK, "-r", str(capture), "-Y", display or "frame", "-T", "fields", "-E", "separator=|"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [line.split("|") for line in done.stdout.splitlines()]


def _write(path: Path, frames: list[bytes]) -> Path:
    stamped = [record(frame, 1_700_000_000_000_000 + 4_300 * number) for number, frame in enumerate(frames)]
    path.write_bytes(global_header() + b"".join(stamped))
    return path


class _Home:
    """A home whose hub passes the PPMID's messages to the meter; the meter answers with what it is given."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.hub = Hub(HUB, PAN, {METER: METER_SHORT, PPMID: PPMID_SHORT}, first_counter=0)
        self.meter = Device(METER, METER_SHORT, PAN, HUB, {PPMID: PPMID_SHORT}, first_counter=1)
        self.ppmid = Device(PPMID, PPMID_SHORT, PAN, HUB, {METER: METER_SHORT}, first_counter=2)
        self.air: Medium[Event] = Medium({0: self.hub, METER_SHORT: self.meter, PPMID_SHORT: self.ppmid})
        self.answers = answers
        self.returned: list[bytes] = []
        for _ in range(2):  # one RequestTunnel at a time
            self.air.tick(0.0)

    def pass_up(self, message: bytes) -> None:
        """The PPMID sends a message; run until it is quiet."""
        self.ppmid.send(message, 1.0)
        while events := self.air.settle(1.0):
            for short, event in events:
                if not isinstance(event, MessageReceived):
                    continue
                if short == 0:
                    self.hub.send(METER if event.peer == PPMID else PPMID, event.data, 1.0)
                elif short == METER_SHORT:
                    self.meter.send(self.answers[event.data], 1.0)
                else:
                    self.returned.append(event.data)


def _malformed(capture: Path) -> list[list[str]]:
    return _read(capture, "frame.number", "_ws.col.Info", display="_ws.malformed or _ws.unreassembled")


def test_a_command_and_its_response_are_named(tmp_path: Path) -> None:
    """RequestTunnel, its response and fragmented TransferData both ways decode to the use case; no malformed frame.

    The answer here is the Command's own bytes: which way they go is all that is asked.
    """
    home = _Home({ECS26C_COMMAND: ECS26C_COMMAND})
    home.pass_up(ECS26C_COMMAND)
    assert home.returned == [ECS26C_COMMAND]
    capture = _write(tmp_path / "home.pcap", home.air.heard())
    assert _malformed(capture) == []
    requests = _read(
        capture, "zbee_nwk.dst", "zbee_zcl_se.tun.protocol_id", display="zbee_zcl_se.tun.cmd.srv_rx.id == 0"
    )
    assert sorted(requests) == [["0x1001", "0x06"], ["0x4a21", "0x06"]]
    granted = _read(
        capture, "zbee_nwk.src", "zbee_zcl_se.tun.transfer_status", display="zbee_zcl_se.tun.cmd.srv_tx.id == 0"
    )
    assert sorted(granted) == [["0x1001", "0x00"], ["0x4a21", "0x00"]]
    messages = _read(
        capture,
        "zbee_nwk.src",
        "zbee_nwk.dst",
        "zbee_zcl_se.tun.tunnel_id",
        "gbcs_message.grouping_header.originator_counter",
        "gbcs_message.grouping_header.message_code",
        "gbcs_message.mac",
        "_ws.col.Info",
        display="gbcs_message",
    )
    assert [tuple(row[:2]) for row in messages] == [
        ("0x4a21", "0x0000"),
        ("0x0000", "0x1001"),
        ("0x1001", "0x0000"),
        ("0x0000", "0x4a21"),
    ]
    for row in messages:
        assert int(row[2], 0) == 1
        assert int(row[3], 0) == 1001
        assert int(row[4], 0) == 0x003D
        assert row[5].replace(":", "") == ECS26C_COMMAND[-12:].hex()
        assert "ECS26c Read ESME Configuration Data Device Information" in row[6]
    fragments = _read(capture, "zbee_aps.fragment.count", display="zbee_aps.fragment.count")
    assert [int(count) for (count,) in fragments] == [2, 2, 2, 2]


def test_the_plain_commands_are_named(tmp_path: Path) -> None:
    """PECS01 to PECS03 are read as the Smart Energy commands they are, on both hops."""
    home = _Home({})
    for command in (ConsumerTopUp("73941656880950804485"), SelectAvailableEmergencyCredit(), LocalChangeSupply()):
        home.ppmid.send_zse(METER, command, 1.0)
    home.air.settle(1.0)
    capture = _write(tmp_path / "plain.pcap", home.air.heard())
    assert _malformed(capture) == []
    prepayment = _read(capture, "zbee_zcl_se.pp.cmd.srv_rx.id", display="zbee_zcl_se.pp.cmd.srv_rx.id")
    assert [int(row[0], 0) for row in prepayment] == [4, 4, 0, 0]
    supply = _read(
        capture,
        "zbee_zcl_se.met.local_change_supply.proposed_supply_status",
        "_ws.col.Info",
        display="zbee_zcl_se.met.cmd.srv_rx.id == 0x0c",
    )
    assert [int(row[0], 0) for row in supply] == [2, 2]
    assert all("Local Change Supply" in row[1] for row in supply)


def test_the_announcement_and_acknowledgements_are_read(tmp_path: Path) -> None:
    """The ZDO announcement gives both addresses; every message's acknowledgement is seen as one."""
    home = _Home({})
    capture = _write(tmp_path / "start.pcap", home.air.heard())
    assert _malformed(capture) == []
    announced = _read(capture, "zbee_zdp.nwk_addr", "zbee_zdp.ext_addr", display="zbee_zdp")
    assert sorted(announced) == [["0x1001", "00:00:5e:ef:10:00:00:a0"], ["0x4a21", "00:00:5e:ef:10:00:00:a4"]]
    kinds = [int(row[0], 0) for row in _read(capture, "zbee_aps.type", display="zbee_aps.type")]
    assert kinds.count(0) == kinds.count(2) > 0


def test_zep_datagrams_are_read(tmp_path: Path) -> None:
    """A frame inside ZEP inside UDP decodes down to the command, its check sequence is right, its time is kept."""
    node = Node(HUB, 0, PAN, {METER: METER_SHORT}, first_counter=0)
    node.send(METER_SHORT, bytes.fromhex("01100006ffff00dc05"), 0x0704, 0.0)
    (frame,) = node.outgoing()
    datagram = encapsulate(ZepPacket(frame, 7, 1_700_000_000_500_000))
    loopback = bytes((127, 0, 0, 1))
    udp = struct.pack(">HHHH", UDP_PORT, UDP_PORT, 8 + len(datagram), 0) + datagram
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, loopback, loopback)
    capture = tmp_path / "zep.pcap"
    capture.write_bytes(global_header(LINK_TYPE_IPV4) + record(ip + udp, 1))
    assert _malformed(capture) == []
    ((version, sequence, at, check, protocol),) = _read(
        capture, "zep.version", "zep.seqno", "zep.time", "wpan.fcs_ok", "zbee_zcl_se.tun.protocol_id"
    )
    assert (version, sequence, check, protocol) == ("2", "7", "1", "0x06")
    assert "Nov 14, 2023 22:13:20.5" in at


@needs_rtds
def test_every_reference_message_that_fits_is_named(tmp_path: Path) -> None:
    """Each complete message of the reference set passes PPMID, hub and meter unchanged and is decoded on each leg."""
    complete = [
        data
        for data in rtds_messages().values()
        if len(data) <= TRANSFER_OCTETS_MAX and parse_message(data).kind != Kind.PRE_COMMAND
    ]
    assert complete
    home = _Home({data: data for data in complete})
    for data in complete:
        home.pass_up(data)
    assert home.returned == complete
    capture = _write(tmp_path / "reference.pcap", home.air.heard())
    decoded = _read(capture, "_ws.malformed", display="gbcs_message")
    assert len(decoded) == 4 * len(complete)
    assert [row for row in decoded if row != [""]] == []


def test_a_wake_of_the_gas_meter_is_named(tmp_path: Path) -> None:
    """RequestMirror to PUT: every frame of one wake is read by its name, the message on both legs, none malformed."""
    wire = GasWire()
    wire.turned = False  # which way a message goes is all that is asked: the answers are the Commands' own bytes
    for _ in range(2):
        wire.store(ECS26C_COMMAND)
    wire.run(20)
    assert wire.returned == [ECS26C_COMMAND] * 2
    capture = _write(tmp_path / "wake.pcap", wire.frames)
    assert _malformed(capture) == []
    units = _read(capture, "zbee_nwk.src", "gbcs_tunnel.command", "gbcs_tunnel.remaining", display="gbcs_tunnel")
    assert sorted((int(src, 0), int(command, 0), left) for src, command, left in units) == [
        (0x0000, 2, "0"),
        (0x0000, 2, "1"),
        (GAS_SHORT, 1, ""),
        (GAS_SHORT, 1, ""),
        (GAS_SHORT, 3, ""),
        (GAS_SHORT, 3, ""),
    ]
    said = "|".join(row[0] for row in _read(capture, "_ws.col.Info"))
    for name in ("Request Mirror,", "Request Mirror Response", "Configure Mirror", "Report Attributes"):
        assert name in said
    for name in ("Mirror Report Attribute Response", "GET-RESPONSE, Command, ECS26c", "PUT, Command, ECS26c"):
        assert name in said
    scheme = "zbee_zcl_se.met.mirror_report_attribute_response.notification_scheme"
    told = _read(capture, "zbee_nwk.src", "zbee_aps.src", scheme, display=scheme)
    assert [[int(value, 0) for value in row] for row in told] == [[0, 2, 2]]
