"""Credentials and firmware (transform B6, B7): what a device holds, what it is to hold, what it is to run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import NEWEST_CODES, Asked, Document, Rule, Speaker, document
from lastmetre.duis.use_cases.terms import Term, choice, generalized_time, plain
from lastmetre.duis.use_cases.values import boolean, certificate, child, integer, octets, words
from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    CellUsage,
    Role,
    UpdateMode,
)
from lastmetre.gbcs.build import credentials as build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.duis.xml import Element

METERS: Final = frozenset({"ESME", "GSME"})
WITH_CREDENTIALS: Final = frozenset({"ESME", "GSME", "GPF", "CHF", "HCALCS", "PPMID", "SAPC"})
"""Devices that hold certificates. The samples are for an ESME, once a GPF; the rest by the titles of the use cases."""

ROLES: Final = MappingProxyType(
    {
        "Root": Role.ROOT,
        "Recovery": Role.RECOVERY,
        "Supplier": Role.SUPPLIER,
        "NetworkOperator": Role.NETWORK_OPERATOR,
        "ACB": Role.ACCESS_CONTROL_BROKER,
        "TransCoS": Role.TRANSITIONAL_COS,
        "LoadController": Role.LOAD_CONTROLLER,
    }
)
"""Root and Recovery were not seen [I]."""

COUNTER_MAX: Final = 2**63 - 1

_ROLE: Final = choice({role.value: name for name, role in ROLES.items()})


def _usage(data: object) -> str:
    names = {KEY_USAGE_DIGITAL_SIGNATURE: "digital signature", KEY_USAGE_KEY_AGREEMENT: "key agreement"}
    return next((name for usage, name in names.items() if usage == data), plain(data))


def _cell_term(name: str) -> Term:
    cells = choice({usage.value: usage.name.lower().replace("_", " ") for usage in CellUsage})
    return Term(name, parts=(Term("role", _ROLE), Term("key usage", _usage), Term("purpose", cells)))


def _role(element: Element) -> Role:
    name = element.text.strip()
    if name not in ROLES:
        raise TransformError(f"RemotePartyRole is {name[:30]!r}; it must be one of {', '.join(ROLES)}")
    return ROLES[name]


# --- CS02a, CS02f: which certificates are held

_QUERY: Final = Term(
    "",
    parts=(
        _cell_term("authority of the asker"),
        Term("roles asked for", each=Term("role asked for", _ROLE)),
    ),
)


def _credentials_query(asked: Asked) -> Document:
    wanted = tuple(map(_role, asked.body.all("RemotePartyRole")))
    return document(asked, build.ReadCredentials(wanted), _QUERY)


def _newest(asked: Asked) -> bool:
    """CS02f came with the load controller: for newer devices, and whenever one is asked for [I]."""
    roles = {role.text.strip() for role in asked.body.all("RemotePartyRole")}
    return asked.device.device_type in {"ESME", "SAPC"} and (
        asked.device.version >= NEWEST_CODES or "LoadController" in roles
    )


# --- CS02b, CS02g: another party's certificates


@dataclass(frozen=True, slots=True)
class Change:
    """Who replaces whose certificates, and where the counters stand."""

    mode: UpdateMode
    authority: Role | None
    role: Role
    floor_beside: bool = False
    """The counters of another party than the one that authorises stand in a list of their own."""


_SPECIALIST: Final = Term("special counters", each=Term("special counter", parts=(Term("purpose"), Term("floor"))))
_CONTROL: Final = Term(
    "",
    parts=(
        Term("replacement mode", choice({mode.value: mode.name.lower().replace("_", " ") for mode in UpdateMode})),
        Term("counter repeated in the content"),
        Term("symmetric key"),
        Term("time checks", choice({1: "left out"})),
        _cell_term("authority"),
        Term("floor of the counter"),
        Term("floor of the top-up counter", each=Term("floor", parts=(Term("purpose"), Term("floor")))),
        Term("counters", each=Term("party", parts=(Term("role", _ROLE), Term("floor"), _SPECIALIST))),
    ),
)
_UPDATE: Final = Term(
    "",
    parts=(
        _CONTROL,
        Term(
            "replacement certificates",
            each=Term("replacement", parts=(Term("certificate"), _cell_term("place"))),
        ),
        Term("certification path", each=Term("certificate of the path")),
        Term("execution time", generalized_time),
    ),
)

SLOTS: Final[tuple[tuple[str, build.KeyUsage, CellUsage], ...]] = (
    ("DigitalSigningCertificate", build.KeyUsage.DIGITAL_SIGNATURE, CellUsage.MANAGEMENT),
    ("KeyAgreementCertificate", build.KeyUsage.KEY_AGREEMENT, CellUsage.MANAGEMENT),
    ("KeyAgreementTopUpCertificate", build.KeyUsage.KEY_AGREEMENT, CellUsage.PREPAYMENT_TOP_UP),
)
"""Elements that carry new certificates, in wire order, and the cells they go to."""


def new_certificates(body: Element) -> Element:
    """The element of a request that holds the new certificates."""
    for path in (
        "ReplacementCertificates/SupplierOrNetworkOperatorCertificates",
        "ReplacementCertificates",
        "SupplierReplacementCertificates",
    ):
        found = body.find(path)
        if found is not None:
            return found
    raise TransformError(f"{body.name} has no ReplacementCertificates")


def _replacements(body: Element, role: Role) -> Iterator[build.NewCertificate]:
    certificates = new_certificates(body)
    for element, usage, purpose in SLOTS:
        if certificates.find(element) is not None:
            yield build.NewCertificate(certificate(certificates, element), role, usage, purpose)


def _floor(body: Element, *names: str) -> int | None:
    for name in names:
        if body.find(name) is not None:
            return integer(body, name, 0, COUNTER_MAX)
    return None


def _update(asked: Asked, change: Change) -> Document:
    body = asked.body
    floor = _floor(body, "RemotePartyFloorSeqNumber", "SupplierFloorSeqNumber", "ACBFloorSeqNumber")
    top_up = _floor(body, "RemotePartyPrepaymentTopUpFloorSeqNumber", "SupplierPrepaymentTopUpFloorSeqNumber")
    beside = change.floor_beside
    others = (build.CounterFloor(change.role, floor, top_up),) if beside and floor is not None else None
    values = build.UpdateSecurityCredentials(
        change.mode,
        change.authority,
        tuple(_replacements(body, change.role)),
        tuple(certificate(found, "") for found in child(body, "CertificationPathCertificates").all("Certificate")),
        floor=None if beside else floor,
        top_up_floor=None if beside else top_up,
        other_floors=others,
        apply_time_checks=boolean(body, "ApplyTimeBasedCPVChecks"),
    )
    return document(asked, values, _UPDATE)


def _of_role(asked: Asked, name: str) -> bool:
    return words(asked.body, "RemotePartyRole") == name


BY_SUPPLIER: Final = Change(UpdateMode.SUPPLIER_BY_SUPPLIER, Role.SUPPLIER, Role.SUPPLIER)
BY_NETWORK_OPERATOR: Final = Change(
    UpdateMode.NETWORK_OPERATOR_BY_NETWORK_OPERATOR, Role.NETWORK_OPERATOR, Role.NETWORK_OPERATOR
)
BY_ACB: Final = Change(UpdateMode.ACCESS_CONTROL_BROKER_BY_ACB, None, Role.ACCESS_CONTROL_BROKER)
BY_COS: Final = Change(UpdateMode.SUPPLIER_BY_TRANS_COS, Role.TRANSITIONAL_COS, Role.SUPPLIER, floor_beside=True)
LOAD_CONTROLLER: Final = Change(
    UpdateMode.LOAD_CONTROLLER_BY_SUPPLIER, Role.SUPPLIER, Role.LOAD_CONTROLLER, floor_beside=True
)

# --- CS02c, CS02d, CS02e: the device's own certificates

_CREDENTIAL_TYPES: Final = MappingProxyType(
    {"Digital Signature": build.KeyUsage.DIGITAL_SIGNATURE, "Key Agreement": build.KeyUsage.KEY_AGREEMENT}
)
_CREDENTIAL: Final = Term("", parts=(Term("credential type", _usage),))


def _credential_type(asked: Asked) -> build.KeyUsage:
    name = words(asked.body, "CredentialType")
    if name not in _CREDENTIAL_TYPES:
        raise TransformError(f"CredentialType is {name[:30]!r}; it must be one of {', '.join(_CREDENTIAL_TYPES)}")
    return _CREDENTIAL_TYPES[name]


def _issue(asked: Asked) -> Document:
    return document(asked, build.IssueDeviceCredentials(_credential_type(asked)), _CREDENTIAL)


def _provide(asked: Asked) -> Document:
    return document(asked, build.ReadDeviceCertificate(_credential_type(asked)), _CREDENTIAL)


def _device_certificate(asked: Asked) -> Document:
    values = build.ReplaceDeviceCertificate(certificate(asked.body, "DeviceCertificate"))
    return document(asked, values, Term("", parts=(Term("device certificate"),)))


# --- CS06, CS08: firmware

_FIRMWARE: Final = Term(
    "",
    parts=(
        Term("firmware hash"),
        Term("counter repeated in the content"),
        Term("activation time of the firmware", generalized_time),
    ),
)


def _activate_firmware(asked: Asked) -> Document:
    digest = octets(asked.body, "FirmwareHash", build.FIRMWARE_HASH_SIZE, build.FIRMWARE_HASH_SIZE)
    return document(asked, build.ActivateFirmwareImage(digest), _FIRMWARE)


def _firmware_version(asked: Asked) -> Document:
    return document(asked, build.ReadDeviceFirmwareVersion(), Term("firmware version asked for"))


def _update_rule(use_case: str, code: int, variant: str, change: Change, role: str = "", **more: object) -> Rule:
    applies = {"applies": partial(_of_role, name=role)} if role else {}
    fill = partial(_update, change=change)
    return Rule(use_case, code, (variant,), fill, WITH_CREDENTIALS, source="B6", **applies, **more)  # type: ignore[arg-type]


_BROKER: Final = Speaker.BROKER

RULES: Final = (
    Rule("CS02f", 0x011B, ("6.24.1",), _credentials_query, WITH_CREDENTIALS, _newest, "B6", _BROKER),
    Rule("CS02a", 0x0008, ("6.24.1",), _credentials_query, WITH_CREDENTIALS, source="B6", speaker=_BROKER),
    _update_rule("CS02b", 0x0102, "6.15.1", BY_SUPPLIER, "Supplier"),
    _update_rule("CS02b", 0x0103, "6.15.1", BY_NETWORK_OPERATOR, "NetworkOperator"),
    _update_rule("CS02g", 0x0126, "6.15.1", LOAD_CONTROLLER, "LoadController"),
    _update_rule("CS02b", 0x0102, "6.21", BY_SUPPLIER, "Supplier", speaker=_BROKER, signed_by_dcc=True),
    _update_rule("CS02b", 0x0103, "6.21", BY_NETWORK_OPERATOR, "NetworkOperator", speaker=_BROKER, signed_by_dcc=True),
    _update_rule("CS02b", 0x0107, "6.23", BY_COS, speaker=Speaker.CHANGE_OF_SUPPLIER, signed_by_dcc=True),
    _update_rule("CS02b", 0x0104, "8.5", BY_ACB, speaker=_BROKER),
    Rule("CS02c", 0x000A, ("6.17",), _issue, WITH_CREDENTIALS, source="B6"),
    Rule("CS02d", 0x000B, ("6.15.2",), _device_certificate, WITH_CREDENTIALS, source="B6"),
    Rule("CS02e", 0x000C, ("6.24.2",), _provide, WITH_CREDENTIALS, source="B6"),
    Rule("CS06", 0x0012, ("11.3",), _activate_firmware, METERS, source="B7"),
    Rule("CS08", 0x0129, ("11.2",), _firmware_version, frozenset({"PPMID", "HCALCS"}), source="B3"),
)
