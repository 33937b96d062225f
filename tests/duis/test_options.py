"""Every option that the schema allows in a device request becomes a message, whether or not a sample shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from lastmetre.duis.catalogue import service_requests
from lastmetre.duis.documents import parse_request
from lastmetre.duis.errors import TransformError
from lastmetre.duis.shapes import shape_of
from lastmetre.duis.skeletons import skeleton
from lastmetre.duis.transform import DeviceFacts, HubBackup, Records, Sender, rules_of, transform
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.payload import decode_payload, encode_payload
from tests.duis.support import DSP, METER, SUPPLIER
from tests.duis.test_skeletons import alternatives

if TYPE_CHECKING:
    from lastmetre.duis.shapes import Shape

SENDER = Sender("IS", DSP, 9, bytes(7) + b"\x04", 10, 1_700_000_000)
WITH: dict[str, set[str]] = {
    "BlockTariff": {"GasPriceElements"},
    "SpecialDayApplicability": {"SpecialDay"},
    "SpecialDaysApplicability": {"ALCSHCALCSSpecialDay", "AuxiliaryControllerSpecialDayDefinition"},
    "GasTariffElements": {"GasPriceElements"},
    "GasPriceElements": {"GasTariffElements"},
    "GasNonSpecifiedDayOfMonth": {"GasPriceElements"},
    "GasSupplierAlertEventSettings": {"x8184"},
    "GasSupplierAlerts": {"x8184"},
    "UpdateHANDeviceLog": {"AddDeviceToCHFWhitelist"},
    "ResetMaximumDemandRegisters": {"MaxDemandActivePowerExportValue"},
}
"""What must be chosen as well for a choice, or in any case for a request, to make sense."""
ROLES = {"6.15.1": ("Supplier", "NetworkOperator", "LoadController"), "6.21": ("Supplier", "NetworkOperator")}
"""Roles whose certificates can be replaced in this way; the schema names them all."""


def facts(kind: str, version: str, other: str) -> DeviceFacts:
    """A device about which the DCC knows everything."""
    records = Records(other, b"\x30\x00", "1234", HubBackup(bytes(8), ((METER, bytes(16)),)), ((METER, "PPMID"),))
    return DeviceFacts(kind, version, known_remote_parties=frozenset({SUPPLIER}), records=records)


def completed(variant: str, choose: frozenset[str]) -> str:
    """A skeleton whose values fit one another."""
    shape = shape_of(variant)
    names = {name for name in (shape.name, *choose) if name in WITH}
    both = choose.union(*(WITH[name] for name in names)) & all_names(shape)
    document = skeleton(variant, SUPPLIER, METER, 7, both)
    phases = iter("123")
    document = re.sub(r"(<sr:Phase>)1", lambda match: match.group(1) + next(phases), document)
    role = ROLES.get(variant, ("Supplier",))[len(choose) % len(ROLES.get(variant, "x"))]
    return document.replace("<sr:RemotePartyRole>ACB<", f"<sr:RemotePartyRole>{role}<")


def all_names(shape: Shape) -> set[str]:
    """Every name that can be chosen."""
    return {shape.name} | {name for inner in shape.inside for name in all_names(inner)}


def built(variant: str, choose: frozenset[str]) -> tuple[int, list[str]]:
    """In how many ways a request can be transformed, and what the refusals say."""
    document = completed(variant, choose)
    request = parse_request(document.encode())
    kinds = sorted({kind for rule in rules_of(variant) for kind in rule.devices})
    made, refusals = 0, []
    for kind, version, other, role in product(kinds, ("1.0", "4.3"), ("ESME", "PPMID", "GSME"), ("IS", "ED")):
        try:
            result = transform(request, facts(kind, version, other), replace(SENDER, user_role=role))
        except TransformError as error:
            refusals.append(str(error))
            continue
        made += 1
        payload = decode_payload(result.message_code, 1, result.content)
        assert payload == result.payload
        assert encode_payload(payload) == result.content
        assert parse_message(result.message).header == result.header
        assert all(name and shown for name, shown in result.values)
    return made, refusals


@pytest.mark.parametrize("variant", sorted(v for v, row in service_requests().items() if not row.non_device))
def test_every_option_becomes_a_message(variant: str) -> None:
    """Plain and with each alternative or optional element chosen, a request becomes a message for some device."""
    for choose in (frozenset[str](), *(frozenset({name}) for name in sorted(alternatives(shape_of(variant))))):
        made, refusals = built(variant, choose)
        assert made, f"{sorted(choose)}: {sorted(set(refusals))}"
