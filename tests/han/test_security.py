"""Zigbee security: the worked frame of the reference, whole conversations, replays, and what Wireshark makes of it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from lastmetre.han import (
    Device,
    Dropped,
    HanValueError,
    Hub,
    LocalChangeSupply,
    Medium,
    MessageReceived,
    Security,
    ZseReceived,
)
from lastmetre.han.pcap import global_header, record
from lastmetre.han.security import COUNTER_MAX
from lastmetre.han.zep import FRAME_OCTETS_MAX
from tests.han.support import ECS26C_COMMAND, HUB, METER, METER_SHORT, PAN, PPMID, PPMID_SHORT

if TYPE_CHECKING:
    from pathlib import Path

NETWORK_KEY = bytes(range(16))
LINKS = {frozenset((HUB, METER)): b"hub-meter link 1", frozenset((HUB, PPMID)): b"hub-ppmid link 2",
         frozenset((PPMID, METER)): b"ppmid-meter lin3"}  # fmt: skip


def keys_of(node: bytes, first_counter: int = 1) -> Security:
    """A node's security: the network key and its own link keys."""
    links = {next(iter(pair - {node})): key for pair, key in LINKS.items() if node in pair}
    return Security(NETWORK_KEY, links, first_counter=first_counter)


class SecureHome:
    """Hub, meter and PPMID with keys, on one air; the frames that were on it."""

    def __init__(self) -> None:
        self.hub = Hub(HUB, PAN, {METER: METER_SHORT, PPMID: PPMID_SHORT}, first_counter=0)
        self.meter = Device(METER, METER_SHORT, PAN, HUB, {PPMID: PPMID_SHORT}, first_counter=1)
        self.ppmid = Device(PPMID, PPMID_SHORT, PAN, HUB, {METER: METER_SHORT}, first_counter=2)
        for core, node in ((self.hub, HUB), (self.meter, METER), (self.ppmid, PPMID)):
            core.node.security = keys_of(node)
        self.air = Medium({0: self.hub, METER_SHORT: self.meter, PPMID_SHORT: self.ppmid})
        for _ in range(2):  # one RequestTunnel at a time
            self.air.tick(0.0)

    def frames(self) -> list[bytes]:
        """What was on the air."""
        return self.air.heard()


def test_the_worked_frame_of_the_reference() -> None:
    """han.md 4.4: this key, this counter and this sender give these octets; and they are read back."""
    sender = bytes.fromhex("00db1234567890a0")
    example = bytes.fromhex("4802214a00001e012801000000a09078563412db000089259faf3d50de6211a871287524397cdc86232233")
    plain, heard = Security(NETWORK_KEY, {}, first_counter=9).open_nwk(example)
    assert heard == sender
    assert plain == bytes.fromhex("4800214a00001e014001040709010101" + "01100006ffff00dc05")
    assert Security(NETWORK_KEY, {}, first_counter=1).secure_nwk(plain, sender) == example


def test_a_conversation_under_keys() -> None:
    """A long Command up from the PPMID, down to the meter, a plain command through the hub: nothing readable."""
    home = SecureHome()
    long = ECS26C_COMMAND + bytes(1_300)
    home.ppmid.send(long, 1.0)
    assert MessageReceived(PPMID, long) in [heard.event for heard in home.air.settle(1.0)]
    home.hub.send(METER, ECS26C_COMMAND, 2.0)
    assert MessageReceived(HUB, ECS26C_COMMAND) in [heard.event for heard in home.air.settle(2.0)]
    home.ppmid.send_zse(METER, LocalChangeSupply(), 3.0)
    assert any(isinstance(heard.event, ZseReceived) for heard in home.air.settle(3.0))
    frames = home.frames()
    assert max(map(len, frames)) <= FRAME_OCTETS_MAX
    assert not any(ECS26C_COMMAND[20:40] in frame for frame in frames)


def test_a_replayed_frame_is_dropped() -> None:
    """The same octets a second time: an older counter, so no message and no acknowledgement."""
    home = SecureHome()
    home.ppmid.send(ECS26C_COMMAND, 1.0)
    home.air.settle(1.0)
    for frame in [frame for frame in home.frames() if frame[7:9] == PPMID_SHORT.to_bytes(2, "little")]:
        events = home.hub.receive(frame, 20.0)
        assert [type(event) for event in events] == [Dropped]
        assert "replay" in str(events[0])
    assert home.hub.outgoing() == []


@pytest.mark.parametrize("place", [10, 20, 30, -1])
def test_a_changed_octet_is_noticed(place: int) -> None:
    """Header, counter, body or code: whatever is changed, the frame does not verify and nothing is answered."""
    home = SecureHome()
    home.ppmid.send(ECS26C_COMMAND, 1.0)
    frame = bytearray(home.ppmid.outgoing()[0])
    frame[place] ^= 1
    events = home.hub.receive(bytes(frame), 1.0)
    assert [event.reason for event in events if isinstance(event, Dropped)] == ["malformed"]
    assert home.hub.outgoing() == []


def test_frames_in_the_clear_are_not_taken() -> None:
    """A stranger without keys, and a neighbour with the network key but without the link key."""
    home = SecureHome()
    home.ppmid.node.security = None
    home.ppmid.send(ECS26C_COMMAND, 1.0)
    assert [
        event.reason for event in home.hub.receive(home.ppmid.outgoing()[0], 1.0) if isinstance(event, Dropped)
    ] == ["malformed"]
    other = SecureHome()
    other.ppmid.node.security = Security(NETWORK_KEY, {}, first_counter=500)
    other.ppmid.send(ECS26C_COMMAND, 1.0)
    dropped = other.hub.receive(other.ppmid.outgoing()[0], 1.0)
    assert "link key" in str(dropped)


def test_keys_have_sixteen_octets_and_counters_an_end() -> None:
    """Bad settings are told at once; a used up counter never starts again under the same key."""
    with pytest.raises(HanValueError, match="16 octets"):
        Security(b"short", {}, first_counter=0)
    spent = Security(NETWORK_KEY, {}, first_counter=COUNTER_MAX + 1)
    with pytest.raises(HanValueError, match="used up"):
        spent.secure_nwk(bytes(20), HUB)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_reads_it_with_the_keys_and_not_without(tmp_path: Path) -> None:
    """Given network and link keys it names the Command; given none it sees data."""
    home = SecureHome()
    home.hub.send(METER, ECS26C_COMMAND, 2.0)
    home.air.settle(2.0)
    capture = tmp_path / "secure.pcap"
    frames = [record(frame, 1_700_000_000_000_000 + number) for number, frame in enumerate(home.frames())]
    capture.write_bytes(global_header() + b"".join(frames))

    def named(*keys: bytes) -> str:
        command = ["tshark", "-r", str(capture), "-Y", "gbcs_message", "-T", "fields", "-e", "_ws.col.Info"]
        for number, key in enumerate(keys):
            command += ["-o", f'uat:zigbee_pc_keys:"{key.hex()}","Normal","key {number}"']
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert "ECS26" in named(NETWORK_KEY, *LINKS.values())
    assert named() == ""
