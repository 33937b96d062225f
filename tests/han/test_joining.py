"""Joining by association: the frames, the asking radio's patience, and the hub's answer."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from lastmetre.han import HanDecodeError, HanValueError, Hub, JoinAsked, Joined, JoiningRadio, JoinStatus, NotJoined
from lastmetre.han.joining import AssociationRequest, AssociationResponse, parse_request, parse_response
from lastmetre.han.limits import JOIN_ATTEMPTS
from lastmetre.han.pcap import global_header, record
from tests.han.support import HUB, METER, METER_SHORT, PAN, STRANGER

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = AssociationRequest(7, PAN, STRANGER)
GRANTED = AssociationResponse(8, PAN, STRANGER, HUB, JoinStatus.SUCCESS, 0x7701)


def test_frames_come_back_as_they_went() -> None:
    """Both commands, and nothing cut or lengthened."""
    assert parse_request(REQUEST.encode()) == REQUEST
    assert parse_response(GRANTED.encode()) == GRANTED
    for frame, parse in ((REQUEST.encode(), parse_request), (GRANTED.encode(), parse_response)):
        for bad in (frame[:-1], frame + b"\0", b"\0" + frame[1:], frame[:-1] + b"\xee"):
            with pytest.raises(HanDecodeError):
                parse(bad if bad[-1] != 0xEE or parse is parse_response else frame[:17] + b"\x09\x8c")
    with pytest.raises(HanValueError):
        AssociationRequest(1, PAN, b"short").encode()


def test_a_radio_asks_and_is_answered() -> None:
    """The hub tells its owner who asks, and what the owner says arrives."""
    hub = Hub(HUB, PAN, {METER: METER_SHORT}, first_counter=0)
    radio = JoiningRadio(STRANGER, PAN, HUB)
    radio.tick(0.0)
    (frame,) = radio.outgoing()
    assert hub.receive(frame, 0.0) == [JoinAsked(STRANGER)]
    hub.answer_join(STRANGER, JoinStatus.SUCCESS, 0x7701)
    (answer,) = hub.outgoing()
    assert radio.receive(answer, 0.1) == [Joined(0x7701)]
    assert radio.next_deadline() is None
    assert radio.receive(answer, 0.2) == []


def test_a_refusal_is_told_and_silence_too() -> None:
    """Denied at once; or asked a few times and given up."""
    radio = JoiningRadio(STRANGER, PAN, HUB)
    denied = AssociationResponse(1, PAN, STRANGER, HUB, JoinStatus.DENIED)
    assert radio.receive(denied.encode(), 0.0) == [NotJoined(JoinStatus.DENIED)]
    silent = JoiningRadio(STRANGER, PAN, HUB)
    events = [event for second in range(20) for event in silent.tick(float(second))]
    assert events == [NotJoined(None)]
    assert len(silent.outgoing()) == JOIN_ATTEMPTS


def test_answers_for_others_are_not_heard() -> None:
    """Another radio's, another hub's, another network's, and noise."""
    radio = JoiningRadio(STRANGER, PAN, HUB)
    for answer in (
        AssociationResponse(1, PAN, METER, HUB, JoinStatus.SUCCESS, 0x7701),
        AssociationResponse(1, PAN, STRANGER, METER, JoinStatus.SUCCESS, 0x7701),
        AssociationResponse(1, PAN + 1, STRANGER, HUB, JoinStatus.SUCCESS, 0x7701),
    ):
        assert radio.receive(answer.encode(), 0.0) == []
    assert radio.receive(GRANTED.encode()[:-3], 0.0) == []
    assert Hub(HUB, PAN, {}, first_counter=0).receive(AssociationRequest(1, PAN + 1, METER).encode(), 0.0) == []


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_names_both(tmp_path: Path) -> None:
    """Association Request and Association Response, with nothing malformed."""
    capture = tmp_path / "join.pcap"
    capture.write_bytes(global_header() + record(REQUEST.encode(), 1) + record(GRANTED.encode(), 2))
    command = ["tshark", "-r", str(capture), "-T", "fields", "-e", "wpan.cmd", "-e", "_ws.malformed"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert shown == ["0x01", "0x02"]
