"""Joining and unjoining devices, and the logs of who is joined (transform B8).

The type of the other device, its certificate and the backups of logs are the DCC's records; the XML names devices only.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import NEWEST_CODES, Asked, Document, Item, Rule, Speaker, document, say
from lastmetre.duis.use_cases.terms import Term, choice, identifier
from lastmetre.duis.use_cases.values import child, entity, integer, octets, words
from lastmetre.gbcs.asn1 import DeviceType
from lastmetre.gbcs.build import hub
from lastmetre.gbcs.build import joining as build

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.gbcs.build.frame import Command

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


def _join(asked: Asked, make: Callable[[bytes, DeviceType], Command]) -> Document:
    return document(asked, make(entity(asked.body, "OtherDeviceID"), TYPES[_type_of_other(asked)]), _JOIN)


def _join_with_certificate(asked: Asked) -> Document:
    der = asked.device.records.other_device_certificate
    if der is None:
        raise TransformError("the key agreement certificate of the device to be joined is needed")
    return _join(asked, partial(build.JoinMethodC, certificate=der))


def _with(asked: Asked, types: frozenset[str]) -> bool:
    return _type_of_other(asked) in types


def _unjoin(asked: Asked) -> Document:
    values = build.UnjoinDevice(entity(asked.body, "OtherDeviceID"))
    return document(asked, values, Term("", parts=(Term("device to unjoin", identifier),)))


def _join_details(asked: Asked) -> Document:
    return document(asked, build.ReadJoins(), Term("join details asked for"))


# --- CCS01 to CCS07: the hub's log

_ADDED: Final = Term(
    "", parts=(Term("device to add", identifier), Term("kind of entry"), Term("install code"), Term("kind of code"))
)
INSTALL_CODE_SIZES: Final = (6, 16)


def _device_to_hub(asked: Asked) -> tuple[Item, ...]:
    """Put a device on the list and let it join for some time. MPxNs are for the DCC's inventory and go nowhere."""
    added = child(asked.body, "AddDeviceToCHFWhitelist")
    values = hub.AddDevice(
        entity(asked.body, "DeviceID"),
        octets(added, "InstallCode", *INSTALL_CODE_SIZES),
        integer(added, "JoinTimePeriod", 1, hub.JOIN_PERIOD_MAX_S),
    )
    return say(asked, values, _ADDED, Term("period for joining"), Term("joining allowed"))


def _device_from_hub(asked: Asked) -> tuple[Item, ...]:
    return say(asked, hub.RemoveDevice(entity(asked.body, "DeviceID")), Term("device to remove", identifier))


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
    keys = tuple(hub.HashedLinkKey(device, key) for device, key in backup.link_keys)
    return say(asked, hub.RestoreDeviceLog(backup.network_id, keys), _BACKUP)


def _hub_log(asked: Asked) -> tuple[Item, ...]:
    return say(asked, hub.ReadDeviceLog(), Term(f"value read with {hub.HUB_LOG}"))


def _hub_logs(asked: Asked) -> tuple[Item, ...]:
    names = ("device log", "security details")
    return say(asked, hub.ReadDeviceLogAndSecurity(), *(Term(f"{name} asked for") for name in names))


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
    entries = tuple(build.JoinedDevice(device, TYPES[kind]) for device, kind in log)
    return document(asked, build.RestoreProxyLog(entries), _LOG)


CHF: Final = frozenset({"CHF"})
ESME: Final = frozenset({"ESME"})
GSME: Final = frozenset({"GSME"})
PPMID: Final = frozenset({"PPMID"})
HCALCS: Final = frozenset({"HCALCS"})
METERS: Final = frozenset({"ESME", "GSME", "GPF"})
TYPE_1: Final = frozenset({"HCALCS", "PPMID"})

_BY_METER: Final = partial(_join, make=build.JoinMethodAByMeter)
_BY_OTHER: Final = partial(_join, make=build.JoinMethodAByOther)
_METHOD_B: Final = partial(_join, make=build.JoinMethodB)

RULES: Final = (
    Rule("CS03A1", 0x000D, ("8.7.1",), _BY_METER, ESME, partial(_with, types=TYPE_1), "B8"),
    Rule("CS03A2", 0x00AB, ("8.7.1",), _BY_OTHER, HCALCS, partial(_with, types=ESME), "B8"),
    # That a Gas Proxy Function is joined to a PPMID as a gas meter is: by the use case's list of devices [I].
    Rule("CS03C", 0x00AF, ("8.7.1",), _join_with_certificate, GSME | {"GPF"}, partial(_with, types=PPMID),
         "B8"),
    Rule("CS03A2", 0x00AB, ("8.7.2",), _BY_OTHER, PPMID, partial(_with, types=ESME), "B8",
         signed_by_dcc=True),
    Rule("CS03C", 0x00AF, ("8.7.2",), _join_with_certificate, PPMID, partial(_with, types=GSME | {"GPF"}),
         "B8", signed_by_dcc=True),
    # Seen between GSME and GPF; for devices of type 2 by the method's name [I].
    Rule("CS03B", 0x000E, ("8.7.2",), _METHOD_B, METERS, source="B8"),
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
