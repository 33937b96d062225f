"""The layers below the tunnel, byte for byte against the worked capture of reference/han.md 4.2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.han.errors import HanDecodeError, HanError, HanValueError
from lastmetre.han.frames import (
    AckedBlocks,
    ApsAck,
    ApsData,
    FirstBlock,
    LaterBlock,
    MacFrame,
    NwkFrame,
    parse_aps,
    parse_mac,
    parse_nwk,
)

HUB, PPMID, GSME, PAN = 0x0000, 0x4A21, 0x9D03, 0x1A62
MESSAGE = bytes.fromhex(
    "dd000000000000551100000000df090100000000000027100800db1234567890a40800db1234567890a10002009b2101090101070500190100"
    "0402143733393431363536383830393530383034343835009d0c47862c132235b7a228e3"
)
ASDU = bytes.fromhex("0911010100") + MESSAGE
assert ASDU[70:].hex() == "363536383830393530383034343835009d0c47862c132235b7a228e3"  # as published

CAPTURE = [
    # (the frame as published, what it says).  Source: han.md 4.2
    (
        "618801621a214a0000 4800214a00001e01 4001040709010101 01100006ffff00dc05",
        (HUB, PPMID, 1, ApsData(1, 0x0704, 0x0109, 1, 1, bytes.fromhex("01100006ffff00dc05"))),
    ),
    (
        "618802621a0000214a 48000000214a1e02 4001040709010102 091000010000dc05",
        (PPMID, HUB, 2, ApsData(1, 0x0704, 0x0109, 1, 2, bytes.fromhex("091000010000dc05"))),
    ),
    (
        "618803621a0000214a 48000000214a1e03 c001040709010103 0102" + ASDU[:70].hex(),
        (PPMID, HUB, 3, ApsData(1, 0x0704, 0x0109, 1, 3, ASDU[:70], FirstBlock(2))),
    ),
    (
        "618804621a0000214a 48000000214a1e04 c001040709010103 0201" + ASDU[70:].hex(),
        (PPMID, HUB, 4, ApsData(1, 0x0704, 0x0109, 1, 3, ASDU[70:], LaterBlock(1))),
    ),
    (
        "618805621a214a0000 4800214a00001e05 4001040709010104 10110b0100",
        (HUB, PPMID, 5, ApsData(1, 0x0704, 0x0109, 1, 4, bytes.fromhex("10110b0100"))),
    ),
    (
        "618808621a0000039d 48000000039d1e08 4001040709010107 012102070001",
        (GSME, HUB, 8, ApsData(1, 0x0704, 0x0109, 1, 7, bytes.fromhex("012102070001"))),
    ),
]


@pytest.mark.parametrize(("published", "said"), CAPTURE)
def test_worked_capture(published: str, said: tuple[int, int, int, ApsData]) -> None:
    """Every frame published in full is built to the same bytes and read back to the same values."""
    source, destination, number, aps = said
    built = MacFrame(
        number, PAN, destination, source, NwkFrame(destination, source, number, aps.encode()).encode()
    ).encode()
    assert built == bytes.fromhex(published)
    mac = parse_mac(built)
    nwk = parse_nwk(mac.payload)
    assert (mac.source, mac.destination, mac.pan_id, nwk.radius) == (source, destination, PAN, 30)
    assert parse_aps(nwk.payload) == aps


def test_acknowledgements() -> None:
    """A block's acknowledgement carries the window's first block and the bitmap; a plain one ends with its header."""
    plain = ApsAck(1, 0x0704, 0x0109, 1, 3)
    assert plain.encode().hex() == "0201040709010103"
    first = replace(plain, blocks=AckedBlocks(0, 0xFF))
    assert first.encode().hex() == "82010407090101030100ff"
    later = replace(plain, blocks=AckedBlocks(1, 0xFE))
    assert later.encode().hex() == "82010407090101030201fe"
    for ack in (plain, first, later):
        assert parse_aps(ack.encode()) == ack


def test_eui64_is_turned_round_on_the_air() -> None:
    """A source EUI-64 in the NWK header lies low octet first, and sets its bit."""
    frame = NwkFrame(0, PPMID, 1, b"x", source_eui64=bytes.fromhex("00db1234567890a4"))
    assert frame.encode().hex() == "48100000214a1e01" + "a49078563412db00" + "78"
    assert parse_nwk(frame.encode()) == frame


@pytest.mark.parametrize(
    ("data", "reader", "field", "offset"),
    [
        ("618801621a214a", parse_mac, "MAC header", 7),
        ("638801621a214a0000", parse_mac, "MAC frame control", 0),
        ("020001000000000000", parse_mac, "MAC frame control", 0),
        ("4800214a00001e", parse_nwk, "NWK header", 7),
        ("4802214a00001e01", parse_nwk, "NWK frame control", 0),
        ("4900214a00001e01", parse_nwk, "NWK frame control", 0),
        ("4810214a00001e01aabb", parse_nwk, "NWK source EUI-64", 10),
        ("400104070901", parse_aps, "APS header", 6),
        ("6001040709010101", parse_aps, "APS frame control", 0),
        ("4101040709010101", parse_aps, "APS frame control", 0),
        ("c00104070901010101", parse_aps, "APS extended header", 9),
        ("c0010407090101010100", parse_aps, "APS block number", 9),
        ("c0010407090101010302", parse_aps, "APS extended header", 8),
        ("020104070901010300", parse_aps, "APS acknowledgement", 8),
        ("82010407090101030101ff", parse_aps, "APS acknowledgement", 8),
    ],
)
def test_bad_frames_name_the_place(data: str, reader: Any, field: str, offset: int) -> None:
    """What is no frame of ours is refused with the field and the octet where it went wrong."""
    with pytest.raises(HanDecodeError) as caught:
        reader(bytes.fromhex(data))
    assert (caught.value.field, caught.value.offset) == (field, offset)
    assert isinstance(caught.value, HanError)


def test_secured_frames_are_named_as_such() -> None:
    """Whoever captures a real network learns why its frames are not read."""
    for data, reader in (("4802214a00001e01", parse_nwk), ("6001040709010101", parse_aps)):
        with pytest.raises(HanDecodeError, match="is secured"):
            reader(bytes.fromhex(data))


def test_what_cannot_be_said_is_not_built() -> None:
    """Numbers that do not fit their fields are our own mistake and are called so."""
    with pytest.raises(HanValueError, match="MAC sequence"):
        MacFrame(256, PAN, 0, 1, b"").encode()
    with pytest.raises(HanValueError, match="cluster"):
        ApsData(1, 0x10000, 0x0109, 1, 1, b"").encode()
    with pytest.raises(HanValueError, match="EUI-64"):
        NwkFrame(0, 1, 1, b"", source_eui64=b"short").encode()


@given(st.binary(max_size=40), st.sampled_from([parse_mac, parse_nwk, parse_aps]))
def test_readers_are_exact(data: bytes, reader: Any) -> None:
    """Whatever a reader accepts is written back to the same bytes; nothing but HanDecodeError comes out."""
    try:
        read = reader(data)
    except HanDecodeError:
        return
    assert read.encode() == data


@given(
    st.tuples(*[st.integers(0, 0xFF)] * 3),
    st.integers(0, 0xFFFF),
    st.binary(max_size=80),
    st.one_of(st.none(), st.builds(FirstBlock, st.integers(1, 255)), st.builds(LaterBlock, st.integers(1, 255))),
    st.booleans(),
)
def test_data_frames_round_trip(
    octets: tuple[int, int, int], cluster: int, payload: bytes, fragment: Any, acknowledged: bool
) -> None:
    """Every data frame that can be built is read back equal."""
    frame = ApsData(
        octets[0], cluster, 0x0109, octets[1], octets[2], payload, fragment=fragment, ack_request=acknowledged
    )
    assert parse_aps(frame.encode()) == frame
