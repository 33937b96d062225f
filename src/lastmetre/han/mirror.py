"""The gas mirror: the hub's Metering cluster that shows a sleeping gas meter (reference/han.md 2.1 and 2.3).

A gas meter asks for a mirror once, tells how it wants to be notified, reports its attributes at every wake, and
learns from the answer to its last report what waits for it. The frames, from one table each way:

* meter to hub: RequestMirror, ConfigureMirror, Report Attributes;
* hub to meter: RequestMirrorResponse, MirrorReportAttributeResponse (the meter's server is asked by its client: the
  mirror's side of the cluster is the client here).

Field layouts of RequestMirror and ConfigureMirror are Smart Energy 1.2's, from memory (GEN in the reference's words);
tshark reads them so.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.zcl import HEADER_OCTETS, ZclFrame

METERING: Final = 0x0702
MIRROR_ENDPOINT: Final = 2
"""DESIGN CHOICE of han.md 1.1: the gas mirror on the hub's endpoint 2."""
SCHEME_B: Final = 0x02
"""Predefined notification scheme B: the flags below and NotificationFlags 2 to 5."""
REPORT_ATTRIBUTES: Final = 0x0A
REQUEST_MIRROR: Final = 0x01
MIRROR_REPORT_RESPONSE: Final = 0x09
CONFIGURE_MIRROR: Final = 0x08
NO_MIRROR: Final = 0xFFFF

CURRENT_SUMMATION_DELIVERED: Final = 0x0000
METER_STATUS: Final = 0x0200
ATTRIBUTE_REPORTING_STATUS: Final = 0xFFFE
REPORTING_COMPLETE: Final = 1

_TYPES: Final = {0x18: 1, 0x20: 1, 0x21: 2, 0x22: 3, 0x23: 4, 0x25: 6, 0x30: 1}
"""Octets of the attribute types a gas meter reports."""


class Flag(IntFlag):
    """FunctionalNotificationFlags this house acts on (2.3); the other bits are carried and left alone."""

    STAY_AWAKE_HAN = 1 << 4
    STAY_AWAKE_WAN = 1 << 5
    TUNNEL_MESSAGE_PENDING = 1 << 21


@dataclass(frozen=True, slots=True)
class Reported:
    """One attribute of a report: id, ZCL type and value."""

    attribute_id: int
    type: int
    value: int


def request_mirror(sequence: int) -> ZclFrame:
    """Meter to hub: give me a mirror."""
    return ZclFrame(REQUEST_MIRROR, sequence, from_server=True)


def request_mirror_response(to: ZclFrame, endpoint: int) -> ZclFrame:
    """Hub to meter: the mirror is on this endpoint; ``NO_MIRROR`` for none."""
    return ZclFrame(REQUEST_MIRROR, to.sequence, struct.pack("<H", endpoint), disable_default_response=True)


def read_request_mirror_response(frame: ZclFrame) -> int:
    """The mirror's endpoint."""
    if len(frame.payload) != 2:
        raise HanDecodeError("RequestMirrorResponse", HEADER_OCTETS, "is an endpoint of two octets")
    return int.from_bytes(frame.payload, "little")


def configure_mirror(sequence: int, issuer_event_id: int, reporting_interval_s: int) -> ZclFrame:
    """Meter to hub: answer my last report with your notifications, by scheme B."""
    payload = struct.pack("<I", issuer_event_id) + reporting_interval_s.to_bytes(3, "little") + bytes((1, SCHEME_B))
    return ZclFrame(CONFIGURE_MIRROR, sequence, payload, from_server=True)


def report(sequence: int, attributes: tuple[Reported, ...]) -> ZclFrame:
    """Meter to hub: attributes for the mirror. The last report of a wake ends with the reporting status."""
    payload = b""
    for item in attributes:
        try:
            value = item.value.to_bytes(_TYPES[item.type], "little")
        except (KeyError, OverflowError) as error:
            raise HanValueError(f"attribute {item.attribute_id:#06x} cannot be reported: {error}") from None
        payload += struct.pack("<HB", item.attribute_id, item.type) + value
    return ZclFrame(
        REPORT_ATTRIBUTES, sequence, payload, from_server=True, cluster_specific=False, disable_default_response=True
    )


def read_report(frame: ZclFrame) -> tuple[Reported, ...]:
    """The attributes of a report."""
    data, at, out = frame.payload, 0, []
    while at < len(data):
        size = _TYPES.get(data[at + 2]) if at + 2 < len(data) else None
        if size is None or at + 3 + size > len(data):
            raise HanDecodeError("report", HEADER_OCTETS + at, "an attribute of it is cut short or of unknown type")
        value = int.from_bytes(data[at + 3 : at + 3 + size], "little")
        out.append(Reported(int.from_bytes(data[at : at + 2], "little"), data[at + 2], value))
        at += 3 + size
    return tuple(out)


def is_last(attributes: tuple[Reported, ...]) -> bool:
    """Whether a report ends the reporting of this wake."""
    return any(
        item.attribute_id == ATTRIBUTE_REPORTING_STATUS and item.value == REPORTING_COMPLETE for item in attributes
    )


def mirror_report_response(sequence: int, flags: int) -> ZclFrame:
    """Hub to meter: what waits for it."""
    payload = bytes((SCHEME_B,)) + struct.pack("<5I", flags, 0, 0, 0, 0)
    return ZclFrame(MIRROR_REPORT_RESPONSE, sequence, payload, disable_default_response=True)


def read_mirror_report_response(frame: ZclFrame) -> int:
    """The functional notification flags."""
    if len(frame.payload) != 21 or frame.payload[0] != SCHEME_B:
        raise HanDecodeError("MirrorReportAttributeResponse", HEADER_OCTETS, "is not of notification scheme B")
    return int.from_bytes(frame.payload[1:5], "little")
