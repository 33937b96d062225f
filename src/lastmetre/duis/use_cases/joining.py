"""Joining and unjoining devices, and the logs of who is joined (transform B8).

The type of the other device, its certificate and the backups of logs are the DCC's records; the XML names devices only.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import NEWEST_CODES, Asked, Document, Item, Rule, Speaker, act, get, set_
from lastmetre.duis.use_cases.terms import Term, choice, identifier
from lastmetre.duis.use_cases.values import child, entity, integer, octets, words
from lastmetre.gbcs.asn1 import DeviceType, Join, LogEntry, ReadJoinDetails, RestoreDeviceLog, Unjoin
from lastmetre.gbcs.axdr import Array, Boolean, Enum, LongUnsigned, NullData, OctetString, Structure

TYPES: Final = MappingProxyType(
    {
        "GSME": DeviceType.GSME,
        "ESME": DeviceType.ESME,
        "CHF": DeviceType.CHF,
        "GPF": DeviceType.GPF,
        "HCALCS": DeviceType.HCALCS,
        "PPMID": DeviceType.PPMID,
        "IHD": DeviceType.TYPE_2,
        "CAD": DeviceType.TYPE_2,
        "type 2": DeviceType.TYPE_2,
    }
)
"""Device types as the inventory calls them. IHD and CAD are devices of type 2; gbcs-messages 2.1."""

_TYPE: Final = choice({kind.value: kind.name.replace("_", " ").lower() for kind in DeviceType})

# --- CS03: join

METHOD_A_METER, METHOD_A_OTHER, METHOD_B, METHOD_C = range(4)
_METHOD: Final = choice({0: "A, by the meter", 1: "A, by the other device", 2: "B", 3: "C"})
_JOIN: Final = Term(
    "",
    parts=(
        Term("join method", _METHOD),
        Term("device to join", identifier),
        Term("type of the device to join", _TYPE),
        Term("certificate of the device to join"),
    ),
)


def _type_of_other(asked: Asked) -> str:
    other = asked.device.records.other_device_type
    if other is None:
        raise TransformError("the type of the device to be joined is needed (from the inventory)")
    if other not in TYPES:
        raise TransformError(f"{other!r} is no type of device that can be joined")
    return other


def _join(asked: Asked, method: int) -> Document:
    der = None
    if method == METHOD_C:
        der = asked.device.records.other_device_certificate
        if der is None:
            raise TransformError("the key agreement certificate of the device to be joined is needed")
    kind = TYPES[_type_of_other(asked)]
    return Document(Join(method, entity(asked.body, "OtherDeviceID"), kind, der), _JOIN)


def _with(asked: Asked, types: frozenset[str]) -> bool:
    return _type_of_other(asked) in types


def _unjoin(asked: Asked) -> Document:
    other = entity(asked.body, "OtherDeviceID")
    return Document(Unjoin(other), Term("", parts=(Term("device to unjoin", identifier),)))


def _join_details(_: Asked) -> Document:
    return Document(ReadJoinDetails(), Term("join details asked for"))


# --- CCS01 to CCS07: the hub's log

HUB_LOG: Final = "104/0-0:30.3.0.255"
HUB_SECURITY: Final = "104/0-0:30.3.1.255"
JOIN_PERIOD_MAX_S: Final = 3600
INSTALL_CODE_SIZES: Final = (6, 16)


def _device_to_hub(asked: Asked) -> tuple[Item, ...]:
    """Put a device on the list and let it join for some time. MPxNs are for the DCC's inventory and go nowhere."""
    device = OctetString(entity(asked.body, "DeviceID"))
    added = child(asked.body, "AddDeviceToCHFWhitelist")
    code = OctetString(octets(added, "InstallCode", *INSTALL_CODE_SIZES))
    period = LongUnsigned(integer(added, "JoinTimePeriod", 1, JOIN_PERIOD_MAX_S))
    entry = Term(
        "",
        parts=(Term("device to add", identifier), Term("kind of entry"), Term("install code"), Term("kind of code")),
    )
    return (
        act(HUB_LOG, 1, Structure((device, Enum(1), code, Enum(0))), entry),
        set_(HUB_LOG, 3, period, Term("period for joining")),
        set_(HUB_LOG, 2, Boolean(value=True), Term("joining allowed")),
    )


def _device_from_hub(asked: Asked) -> tuple[Item, ...]:
    device = OctetString(entity(asked.body, "DeviceID"))
    return (act(HUB_LOG, 2, device, Term("device to remove", identifier)),)


def _request_type(asked: Asked, name: str) -> bool:
    return words(asked.body, "RequestType") == name


_BACKUP: Final = Term(
    "",
    parts=(
        Term("network"),
        Term("devices", each=Term("device", parts=(Term("identifier", identifier), Term("link key hash")))),
    ),
)


def _restore_hub(asked: Asked) -> tuple[Item, ...]:
    backup = asked.device.records.hub_backup
    if backup is None:
        raise TransformError("the DCC's backup of the old Communications Hub is needed")
    keys = Array(tuple(Structure((OctetString(device), OctetString(key))) for device, key in backup.link_keys))
    return (act(HUB_LOG, 5, Structure((OctetString(backup.network_id), keys)), _BACKUP),)


def _hub_log(_: Asked) -> tuple[Item, ...]:
    return (get(HUB_LOG, 4),)


def _hub_logs(_: Asked) -> tuple[Item, ...]:
    places = ((HUB_LOG, "device log"), (HUB_SECURITY, "security details"))
    return tuple(act(place, 4, NullData(), Term(f"{name} asked for")) for place, name in places)


def _with_security_details(asked: Asked) -> bool:
    return asked.body.find("ReadSecurityDetails") is not None


def _newest(asked: Asked) -> bool:
    return asked.device.version >= NEWEST_CODES


# --- GCS59: the Gas Proxy Function's log

_LOG: Final = Term(
    "", parts=(Term("device log", each=Term("device", parts=(Term("identifier", identifier), Term("type", _TYPE)))),)
)


def _restore_gpf(asked: Asked) -> Document:
    log = asked.device.records.device_log
    if log is None:
        raise TransformError("the DCC's backup of the old Gas Proxy Function's device log is needed")
    return Document(RestoreDeviceLog(tuple(LogEntry(device, TYPES[kind]) for device, kind in log)), _LOG)


CHF: Final = frozenset({"CHF"})
ESME: Final = frozenset({"ESME"})
GSME: Final = frozenset({"GSME"})
PPMID: Final = frozenset({"PPMID"})
HCALCS: Final = frozenset({"HCALCS"})
METERS: Final = frozenset({"ESME", "GSME", "GPF"})
TYPE_1: Final = frozenset({"HCALCS", "PPMID"})

RULES: Final = (
    Rule("CS03A1", 0x000D, ("8.7.1",), partial(_join, method=METHOD_A_METER), ESME, partial(_with, types=TYPE_1), "B8"),
    Rule("CS03A2", 0x00AB, ("8.7.1",), partial(_join, method=METHOD_A_OTHER), HCALCS, partial(_with, types=ESME), "B8"),
    # That a Gas Proxy Function is joined to a PPMID as a gas meter is: by the use case's list of devices [I].
    Rule("CS03C", 0x00AF, ("8.7.1",), partial(_join, method=METHOD_C), GSME | {"GPF"}, partial(_with, types=PPMID),
         "B8"),
    Rule("CS03A2", 0x00AB, ("8.7.2",), partial(_join, method=METHOD_A_OTHER), PPMID, partial(_with, types=ESME), "B8",
         signed_by_dcc=True),
    Rule("CS03C", 0x00AF, ("8.7.2",), partial(_join, method=METHOD_C), PPMID, partial(_with, types=GSME | {"GPF"}),
         "B8", signed_by_dcc=True),
    # Seen between GSME and GPF; for devices of type 2 by the method's name [I].
    Rule("CS03B", 0x000E, ("8.7.2",), partial(_join, method=METHOD_B), METERS, source="B8"),
    Rule("CS04AC", 0x000F, ("8.8.1",), _unjoin, METERS | HCALCS, source="B8"),
    Rule("CS04AC", 0x000F, ("8.8.2",), _unjoin, TYPE_1, source="B8", signed_by_dcc=True),
    Rule("CS04B", 0x0010, ("8.8.2",), _unjoin, METERS, source="B8"),
    Rule("CS07", 0x0013, ("8.9",), _join_details, METERS | TYPE_1, source="B8"),
    Rule("CCS01", 0x0001, ("8.11",), _device_to_hub, CHF, partial(_request_type, name="Add"), "B8"),
    Rule("CCS02", 0x0002, ("8.11",), _device_from_hub, CHF, partial(_request_type, name="Remove"), "B8"),
    Rule("CCS03", 0x0003, ("8.12.1",), _restore_hub, CHF, source="B8"),
    Rule("CCS07", 0x00FE, ("8.9",), _hub_logs, CHF, _with_security_details, "B8"),
    Rule("CCS06", 0x010F, ("8.9",), _hub_log, CHF, _newest, "B8"),
    Rule("CCS05/CCS04", 0x0004, ("8.9",), _hub_log, CHF, source="B8"),
    Rule("GCS59", 0x008C, ("8.12.2",), _restore_gpf, frozenset({"GPF"}), source="B8", speaker=Speaker.BROKER),
)  # fmt: skip
