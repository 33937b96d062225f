"""What a stack of others may ask beside a tunnel: endpoints, attributes; and what the hub says of refusals."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from lastmetre.han import Device, Event, HanDecodeError, Hub, Medium, TunnelCloseRefused
from lastmetre.han.limits import TUNNELS_MAX
from lastmetre.han.node import Node, ZclReceived
from lastmetre.han.pcap import global_header, record
from lastmetre.han.tunnelling import CloseTunnel, encode_command
from lastmetre.han.zcl import ZclFrame
from lastmetre.han.zdo import MATCH_REQUEST, MATCH_RESPONSE, MatchRequest, MatchResponse, parse_match_request
from tests.han.support import HUB, METER, METER_SHORT, PAN, PPMID, PPMID_SHORT

if TYPE_CHECKING:
    from pathlib import Path


class _Stack:
    """A stack of others at the PPMID's place: it says what the test wants, and keeps what it hears."""

    def __init__(self) -> None:
        self.hub = Hub(HUB, PAN, {METER: METER_SHORT, PPMID: PPMID_SHORT}, first_counter=1)
        self.meter = Device(METER, METER_SHORT, PAN, HUB, {PPMID: PPMID_SHORT}, first_counter=2)
        self.node = Node(PPMID, PPMID_SHORT, PAN, {HUB: 0, METER: METER_SHORT}, first_counter=3)
        self.medium: Medium[Event] = Medium({0: self.hub, METER_SHORT: self.meter})
        self.heard: list[ZclReceived] = []
        self.frames: list[bytes] = []

    def settle(self, now: float = 0.0) -> None:
        """Let everything that was said be heard."""
        outward = self.node.outgoing()
        while outward:
            for frame in outward:
                self.medium.receive(frame, now)
            for frame in self.medium.outgoing():
                self.heard += [told for told in self.node.receive(frame, now) if isinstance(told, ZclReceived)]
            outward = self.node.outgoing()
        self.frames += self.medium.heard()

    def match(self, short: int, *clusters: int, about: int | None = None, profile: int = 0x0109) -> list[ZclReceived]:
        """Ask a node for endpoints."""
        asked = MatchRequest(5, short if about is None else about, profile, clusters)
        self.node.send(short, asked.encode(), MATCH_REQUEST, 0.0, profile=0, source_endpoint=0, destination_endpoint=0)
        self.settle()
        return [told for told in self.heard if told.cluster == MATCH_RESPONSE]


@pytest.mark.parametrize(
    ("short", "clusters", "endpoints"),
    [
        (METER_SHORT, (0x0704,), (1,)),
        (METER_SHORT, (0x0705, 0x0702), (1,)),
        (0, (0x0704,), (1, 2)),
        (0, (0x0705,), ()),
        (METER_SHORT, (0x0019,), ()),
    ],
)
def test_a_match_request_is_answered_with_the_endpoints(
    short: int, clusters: tuple[int, ...], endpoints: tuple[int, ...]
) -> None:
    """Tunnel at endpoint 1, the gas mirror's at 2; none where there is no such server."""
    (answer,) = _Stack().match(short, *clusters)
    assert answer.zcl == MatchResponse(5, short, endpoints).encode()


def test_other_profiles_and_other_nodes_match_nothing() -> None:
    """An empty list for a profile that is not ours; silence about a node that was not asked."""
    (answer,) = _Stack().match(METER_SHORT, 0x0704, profile=0x0104)
    assert answer.zcl == MatchResponse(5, METER_SHORT, ()).encode()
    assert _Stack().match(METER_SHORT, 0x0704, about=0x9999) == []


def test_match_requests_are_read_to_their_last_octet() -> None:
    """As written; cut or lengthened they are none."""
    request = MatchRequest(1, 2, 0x0109, (0x0704, 0x0702), (0x0019,))
    data = request.encode()
    assert parse_match_request(data) == request
    for bad in (b"", data[:-1], data + b"\0", data[:6]):
        with pytest.raises(HanDecodeError):
            parse_match_request(bad)


def test_the_tunnel_s_attributes_can_be_read() -> None:
    """CloseTunnelTimeout FFFF and AttributeReportingStatus complete; others are unsupported, half an id malformed."""
    stack = _Stack()
    for sequence, payload in ((7, "0000feff0100"), (8, "00")):
        frame = ZclFrame(0x00, sequence, bytes.fromhex(payload), cluster_specific=False)
        stack.node.send(METER_SHORT, frame.encode(), 0x0704, 0.0)
        stack.settle()
    answers = [told.zcl.hex() for told in stack.heard if told.cluster == 0x0704]
    assert answers == ["180701" + "00000021ffff" + "feff003001" + "010086", "18080b" + "0080"]


def test_a_refused_close_is_told() -> None:
    """Hub event 81A4: the device did not know the id, or it was another's."""
    hub = Hub(HUB, PAN, {METER: METER_SHORT}, first_counter=0)
    meter = Device(METER, METER_SHORT, PAN, HUB, first_counter=1)
    medium: Medium[Event] = Medium({0: hub, METER_SHORT: meter})
    medium.tick(0.0)
    close = encode_command(CloseTunnel(99), from_server=False, sequence=hub.node.next_sequence())
    hub.node.send(METER_SHORT, close.encode(), 0x0704, 1.0)
    assert TunnelCloseRefused(METER, 0x8B) in [heard.event for heard in medium.settle(1.0)]


def test_a_client_holds_eight_tunnels() -> None:
    """Of nine devices the ninth is not asked; when one leaves, it is."""
    ids = {bytes.fromhex("00005eef1000") + (0x5000 + n).to_bytes(2, "big"): 0x2000 + n for n in range(TUNNELS_MAX + 1)}
    hub = Hub(HUB, PAN, ids, first_counter=0)
    devices = {short: Device(eui, short, PAN, HUB, first_counter=short) for eui, short in ids.items()}
    medium: Medium[Event] = Medium({0: hub, **devices})
    for second in range(60):
        medium.tick(float(second))
    with_tunnel = [eui for eui in ids if hub.client.tunnel_with(eui) is not None]
    assert len(with_tunnel) == TUNNELS_MAX
    hub.forget(with_tunnel[0], 60.0)
    for second in range(60, 400):
        medium.tick(float(second))
    assert sum(hub.client.tunnel_with(eui) is not None for eui in ids) == TUNNELS_MAX


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_reads_the_match(tmp_path: Path) -> None:
    """Match Descriptor Request and Response."""
    stack = _Stack()
    stack.match(METER_SHORT, 0x0704)
    capture = tmp_path / "match.pcap"
    capture.write_bytes(global_header() + b"".join(record(frame, n) for n, frame in enumerate(stack.frames)))
    command = ["tshark", "-r", str(capture), "-Y", "zbee_zdp", "-T", "fields", "-e", "_ws.col.Info"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "Match Descriptor Request" in shown
    assert "Match Descriptor Response" in shown
