"""ZCL frames, tunnelling commands by direction, plain Smart Energy commands, ZEP and pcap bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.han import pcap, tunnelling, zdo, zep
from lastmetre.han.clusters import (
    ConsumerTopUp,
    LocalChangeSupply,
    SelectAvailableEmergencyCredit,
    ZseCommand,
    decode_zse,
    encode_zse,
    use_case_of,
)
from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.tunnelling import (
    AckTransferData,
    CloseTunnel,
    Command,
    GetSupportedTunnelProtocols,
    ReadyData,
    RequestTunnel,
    RequestTunnelResponse,
    SupportedTunnelProtocolsResponse,
    TransferData,
    TransferDataError,
    TunnelClosureNotification,
    TunnelProtocol,
    decode_command,
    encode_command,
)
from lastmetre.han.zcl import ZclFrame, default_response, parse_zcl, read_default_response

PUBLISHED = [
    # (the ASDU, from the server?, sequence, what it says).  Source: han.md 4.2 and the tables of 1.4
    ("01100006ffff00dc05", False, 0x10, RequestTunnel()),
    ("091000010000dc05", True, 0x10, RequestTunnelResponse(1, 0)),
    ("0911010100dd", True, 0x11, TransferData(1, b"\xdd")),
    ("012102070001", False, 0x21, TransferData(7, b"\x01")),
    ("011303090000", False, 0x13, TransferDataError(9, 0)),
    ("0914010100", True, 0x14, TransferData(1, b"")),
    ("0114010100", False, 0x14, CloseTunnel(1)),
    ("0915060100", True, 0x15, TunnelClosureNotification(1)),
    ("090102010002", True, 0x01, TransferDataError(1, 2)),
    ("01010401000500", False, 0x01, AckTransferData(1, 5)),
    ("09010301000500", True, 0x01, AckTransferData(1, 5)),
    ("01010501000500", False, 0x01, ReadyData(1, 5)),
    ("09010401000500", True, 0x01, ReadyData(1, 5)),
    ("01010600", False, 0x01, GetSupportedTunnelProtocols(0)),
    ("0901050101ffff06", True, 0x01, SupportedTunnelProtocolsResponse(True, (TunnelProtocol(0xFFFF, 6),))),
]


@pytest.mark.parametrize(("asdu", "from_server", "sequence", "command"), PUBLISHED)
def test_tunnelling_commands(asdu: str, from_server: bool, sequence: int, command: Command) -> None:
    """Each command of each direction is written and read exactly; the direction picks the id."""
    frame = encode_command(command, from_server=from_server, sequence=sequence)
    assert frame.encode().hex() == asdu
    assert parse_zcl(bytes.fromhex(asdu)) == frame
    assert decode_command(frame) == command


def test_every_row_is_covered() -> None:
    """The list above has every command of the table, both ways."""
    shown = {
        (from_server, tunnelling.command_id(type(c), from_server=from_server)) for _, from_server, _, c in PUBLISHED
    }
    assert shown == tunnelling.COMMANDS.keys()


def test_transfer_data_is_another_command_the_other_way() -> None:
    """The trap of 1.4: 0x02 from the client, 0x01 from the server; read the wrong way they are something else."""
    assert tunnelling.command_id(TransferData, from_server=False) == 2
    assert tunnelling.command_id(TransferData, from_server=True) == 1
    data = encode_command(TransferData(1, b"\x05"), from_server=False, sequence=1)
    turned = ZclFrame(data.command, data.sequence, data.payload, from_server=True)
    assert decode_command(turned) == TransferDataError(1, 5)
    with pytest.raises(HanValueError, match="no RequestTunnel goes from server"):
        encode_command(RequestTunnel(), from_server=True, sequence=1)


@pytest.mark.parametrize(
    "asdu", ["01100006ffff00dc", "01100006ffff02dc05", "01100006ffff00dc0500", "011007", "0901050102ffff06", "090105"]
)
def test_bad_commands_are_refused(asdu: str) -> None:
    """Too short, too long, no boolean, an unknown id, a count that lies."""
    with pytest.raises(HanDecodeError):
        decode_command(parse_zcl(bytes.fromhex(asdu)))


def test_default_response() -> None:
    """The hub's answer to the PPMID's TransferData, as published; the other way round the server bit is set."""
    transfer = parse_zcl(bytes.fromhex("0911010100dd"))
    assert default_response(transfer, 0).encode().hex() == "10110b0100"
    assert read_default_response(default_response(transfer, 0x8B)).status == 0x8B
    assert default_response(parse_zcl(bytes.fromhex("0122020100dd")), 0).encode().hex() == "18220b0200"
    for bad in ("10110b01", "10110b010000"):
        with pytest.raises(HanDecodeError):
            read_default_response(parse_zcl(bytes.fromhex(bad)))


@pytest.mark.parametrize("header", ["05", "0110", "051000", "811000", "021000"])
def test_zcl_headers_of_others_are_refused(header: str) -> None:
    """Cut short, a manufacturer's own, reserved bits, reserved type."""
    with pytest.raises(HanDecodeError):
        parse_zcl(bytes.fromhex(header))


@given(st.binary(max_size=30))
def test_zcl_and_commands_are_exact(data: bytes) -> None:
    """What is accepted is written back to the same bytes."""
    try:
        frame = parse_zcl(data)
        command = decode_command(frame)
    except HanDecodeError:
        return
    again = encode_command(command, from_server=frame.from_server, sequence=frame.sequence)
    assert again.payload == frame.payload
    assert frame.encode() == data


@pytest.mark.parametrize(
    ("command", "cluster", "asdu", "use_case"),
    [
        (ConsumerTopUp("73941656880950804485"), 0x0705, "0101040214" + b"73941656880950804485".hex(), "PECS01"),
        (SelectAvailableEmergencyCredit(), 0x0705, "0101000000000002", "PECS02"),
        (LocalChangeSupply(), 0x0702, "01010c02", "PECS03"),
    ],
)
def test_plain_commands(command: ZseCommand, cluster: int, asdu: str, use_case: str) -> None:
    """The three frames of 2.5, exactly."""
    assert encode_zse(command, 1) == (cluster, parse_zcl(bytes.fromhex(asdu)))
    assert encode_zse(command, 1)[1].encode().hex() == asdu
    assert decode_zse(cluster, parse_zcl(bytes.fromhex(asdu))) == command
    assert use_case_of(command)[0] == use_case


@pytest.mark.parametrize(
    ("cluster", "asdu"),
    [
        (0x0705, "0101040213" + "31" * 19),
        (0x0705, "0101040214" + "41" * 20),
        (0x0705, "01010000"),
        (0x0702, "01010c"),
        (0x0702, "09010c02"),
        (0x0702, "00010c02"),
        (0x0702, "01010d02"),
    ],
)
def test_bad_plain_commands(cluster: int, asdu: str) -> None:
    """19 digits, letters, too short, from a server, global, unknown."""
    with pytest.raises(HanDecodeError):
        decode_zse(cluster, parse_zcl(bytes.fromhex(asdu)))


def test_top_up_codes_are_twenty_digits() -> None:
    """Our own side cannot send anything else; digits of other scripts are none."""
    for digits in ("1" * 19, "x" * 20, "\u0661" * 20):
        with pytest.raises(HanValueError, match="20 digits"):
            encode_zse(ConsumerTopUp(digits), 1)


def test_device_announce() -> None:
    """Twelve octets, addresses low octet first."""
    announce = zdo.DeviceAnnounce(5, 0x4A21, bytes.fromhex("00005eef100000a4"))
    assert announce.encode().hex() == "05214aa4000010ef5e00008c"
    assert zdo.parse_announce(announce.encode()) == announce
    with pytest.raises(HanDecodeError):
        zdo.parse_announce(announce.encode()[:-1])


def test_frame_check_is_kermit() -> None:
    """The check value every catalogue of CRCs gives for CRC-16/KERMIT."""
    assert zep.frame_check(b"123456789") == 0x2189


def test_zep_layout() -> None:
    """The header's octets as 4.1 lists them."""
    datagram = zep.encapsulate(zep.ZepPacket(b"\x61\x88\x01", 7, at_us=1_500_000, device_id=0x4A21))
    assert datagram[:9].hex() == "455802010f4a2101ff"
    assert datagram[9:17].hex() == "83aa7e8180000000"  # 1 January 1970, 1.5 s later, in the era of 1900
    assert datagram[17:32].hex() == "00000007" + "00" * 10 + "05"
    assert datagram[32:35] == b"\x61\x88\x01"


@given(
    st.binary(min_size=1, max_size=125),
    st.integers(0, 0xFFFF_FFFF),
    st.integers(0, 2_000_000_000_000_000),
    st.integers(0, 0xFFFF),
)
def test_zep_round_trip(frame: bytes, sequence: int, at_us: int, device_id: int) -> None:
    """A datagram gives back its packet, to the microsecond."""
    packet = zep.ZepPacket(frame, sequence, at_us, device_id)
    assert zep.decapsulate(zep.encapsulate(packet)) == packet


def test_zep_refuses_what_is_broken() -> None:
    """Cut at every length, every bit of frame and check sequence turned, another version, another mode."""
    datagram = zep.encapsulate(zep.ZepPacket(b"\x61\x88\x01" * 4, 1))
    for length in range(len(datagram)):
        with pytest.raises(HanDecodeError):
            zep.decapsulate(datagram[:length])
    for bit in [*range(32), *range(7 * 8 + 1, 8 * 8), *range(31 * 8, len(datagram) * 8)]:
        turned = bytearray(datagram)
        turned[bit // 8] ^= 1 << bit % 8
        with pytest.raises(HanDecodeError):
            zep.decapsulate(bytes(turned))
    with pytest.raises(HanValueError):
        zep.encapsulate(zep.ZepPacket(bytes(126), 1))


@given(st.binary(max_size=60))
def test_zep_never_raises_anything_else(datagram: bytes) -> None:
    """Raw datagrams end as HanDecodeError or as a packet."""
    with contextlib.suppress(HanDecodeError):
        zep.decapsulate(datagram)


def test_pcap_bytes() -> None:
    """The global header as published, and a record's four numbers."""
    assert pcap.global_header().hex() == "d4c3b2a1020004000000000000000000ffff0000e6000000"
    record = pcap.record(b"\xaa\xbb", 1_500_000)
    assert record.hex() == "01000000" + "20a10700" + "02000000" + "02000000" + "aabb"
    assert pcap.record_octets(record) == 2
    assert pcap.record_octets(record[:15]) is None
    assert pcap.record_octets(b"\xff" * 16) is None
