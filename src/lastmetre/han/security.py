"""NWK and APS security of Zigbee frames: AES-128-CCM* with a four-octet integrity code (reference/han.md 4.4).

    security = Security(network_key, {PEER: link_key, ...}, first_counter=chance_or_time)
    node = Node(..., security=security)

Rules this module keeps:

* A node with security sends no frame without it and takes none without it; every Smart Energy frame between two nodes
  that share a link key is secured by that key as well. Announcements (ZDO) have the network's security only.
* A frame counter is used once under a key. It is for the caller to begin above the last life's (``first_counter``).
* A counter that is not above its sender's last is a replay and dropped; a frame that does not verify says nothing else.
* Keys are provisioned. Key establishment (CBKE), key transport and key switches are not modelled.

The security level in the header on the air is zero, as the standard wants, and 5 where nonce and code are computed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.frames import (
    APS_EXTENDED,
    APS_HEADER_OCTETS,
    APS_SECURITY,
    APS_TYPE_ACK,
    APS_TYPE_MASK,
    EUI64_OCTETS,
    NWK_HEADER_OCTETS,
    NWK_SECURITY,
    NWK_SOURCE_EUI64,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_OCTETS: Final = 16
MIC_OCTETS: Final = 4
_LEVEL: Final = 0x05
_NWK_CONTROL: Final = 0x28
"""Key id 1 (network key), sender's EUI-64 present; level bits zeroed."""
_APS_CONTROL: Final = 0x20
"""Key id 0 (link key), sender's EUI-64 present; level bits zeroed."""
_AUX: Final = struct.Struct("<BI8s")
_KEY_SEQUENCE: Final = b"\x00"
COUNTER_MAX: Final = 0xFFFF_FFFE


def _cipher(key: bytes) -> AESCCM:
    if len(key) != KEY_OCTETS:
        raise HanValueError(f"a Zigbee key has {KEY_OCTETS} octets, not {len(key)}")
    return AESCCM(key, tag_length=MIC_OCTETS)


class Security:
    """One node's keys and frame counters. ``links`` are the link keys it shares, by the other node's EUI-64."""

    def __init__(self, network_key: bytes, links: Mapping[bytes, bytes], *, first_counter: int) -> None:
        self._network = _cipher(network_key)
        self._links = {peer: _cipher(key) for peer, key in links.items()}
        self._counter = first_counter
        self._heard: dict[tuple[bytes, bool], int] = {}

    def add_link(self, peer: bytes, key: bytes) -> None:
        """A node joined, and this is the link key shared with it."""
        self._links[peer] = _cipher(key)

    def forget(self, peer: bytes) -> None:
        """A node left: its link key is of no use any more. Its counters stay: what was heard once stays a replay."""
        self._links.pop(peer, None)

    def has_link(self, peer: bytes) -> bool:
        """Whether frames to this node are secured by a link key, too."""
        return peer in self._links

    # --- NWK ---

    def secure_nwk(self, plain: bytes, sender: bytes) -> bytes:
        """A network frame as it goes on the air; ``plain`` is the whole frame."""
        header_octets = _nwk_header_octets(plain)
        control = int.from_bytes(plain[:2], "little") | NWK_SECURITY
        header = control.to_bytes(2, "little") + plain[2:header_octets]
        return self._seal(self._network, header, plain[header_octets:], _NWK_CONTROL, sender, _KEY_SEQUENCE)

    def open_nwk(self, data: bytes) -> tuple[bytes, bytes]:
        """The plain frame, and the EUI-64 of the radio that sent it over this hop."""
        if len(data) < NWK_HEADER_OCTETS or not int.from_bytes(data[:2], "little") & NWK_SECURITY:
            raise HanDecodeError("NWK frame control", 0, "the frame is not secured; this network is")
        header_octets = _nwk_header_octets(data)
        sender, payload = self._open(self._network, data, header_octets, _NWK_CONTROL, _KEY_SEQUENCE)
        control = int.from_bytes(data[:2], "little") & ~NWK_SECURITY
        return control.to_bytes(2, "little") + data[2:header_octets] + payload, sender

    # --- APS ---

    def secure_aps(self, plain: bytes, sender: bytes, peer: bytes) -> bytes:
        """An APS frame under the link key shared with ``peer``."""
        header_octets = _aps_header_octets(plain)
        header = bytes((plain[0] | APS_SECURITY,)) + plain[1:header_octets]
        return self._seal(self._links[peer], header, plain[header_octets:], _APS_CONTROL, sender, b"")

    def open_aps(self, data: bytes, peer: bytes) -> bytes:
        """The plain APS frame from ``peer``."""
        if not data or not data[0] & APS_SECURITY:
            raise HanDecodeError(
                "APS frame control", 0, "the frame is not secured; a link key is shared with its sender"
            )
        header_octets = _aps_header_octets(data)
        sender, payload = self._open(self._links[peer], data, header_octets, _APS_CONTROL, b"")
        if sender != peer:
            raise HanDecodeError("APS security", header_octets, "was made by another than the frame's source")
        return bytes((data[0] & ~APS_SECURITY,)) + data[1:header_octets] + payload

    # --- both ---

    def _seal(
        self, cipher: AESCCM, header: bytes, payload: bytes, control: int, sender: bytes, sequence: bytes
    ) -> bytes:
        if self._counter > COUNTER_MAX:
            raise HanValueError("the frame counter is used up; the network needs another key")
        counter, self._counter = self._counter, self._counter + 1
        inner = _AUX.pack(control | _LEVEL, counter, sender[::-1]) + sequence
        outer = _AUX.pack(control, counter, sender[::-1]) + sequence
        nonce = sender[::-1] + counter.to_bytes(4, "little") + bytes((control | _LEVEL,))
        return header + outer + cipher.encrypt(nonce, payload, header + inner)

    def _open(
        self, cipher: AESCCM, data: bytes, header_octets: int, control: int, sequence: bytes
    ) -> tuple[bytes, bytes]:
        rest = header_octets + _AUX.size + len(sequence)
        if len(data) < rest + MIC_OCTETS:
            raise HanDecodeError("security header", len(data), "ends before its integrity code")
        on_air, counter, turned = _AUX.unpack_from(data, header_octets)
        if on_air != control or data[header_octets + _AUX.size : rest] != sequence:
            raise HanDecodeError("security header", header_octets, f"{on_air:#04x} is no key this network uses")
        inner = _AUX.pack(control | _LEVEL, counter, turned) + sequence
        nonce = turned + counter.to_bytes(4, "little") + bytes((control | _LEVEL,))
        try:
            payload = cipher.decrypt(nonce, data[rest:], data[:header_octets] + inner)
        except InvalidTag:
            raise HanDecodeError("security", header_octets, "the frame does not verify") from None
        sender = turned[::-1]
        lane = sender, bool(sequence)
        if counter <= self._heard.get(lane, -1):
            raise HanDecodeError("frame counter", header_octets + 1, f"{counter} was heard before: a replay")
        self._heard[lane] = counter
        return sender, payload


def _nwk_header_octets(data: bytes) -> int:
    return NWK_HEADER_OCTETS + (EUI64_OCTETS if int.from_bytes(data[:2], "little") & NWK_SOURCE_EUI64 else 0)


def _aps_header_octets(data: bytes) -> int:
    if not data[0] & APS_EXTENDED:
        return APS_HEADER_OCTETS
    return APS_HEADER_OCTETS + (3 if data[0] & APS_TYPE_MASK == APS_TYPE_ACK else 2)
