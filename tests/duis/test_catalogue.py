"""The service request catalogue: complete, consistent, and equal to the published matrix, schema and templates."""

from __future__ import annotations

import json

import pytest
from lxml import etree

from lastmetre.duis.catalogue import SIGNED_PRE_COMMAND, check_request, service_request, service_requests
from lastmetre.duis.documents import parse_request
from tests.duis.support import templates
from tests.shared_data import DUIS, needs_duis

XS = "{http://www.w3.org/2001/XMLSchema}"


def test_counts() -> None:
    """129 requests: 37 critical, 76 others to devices, 16 to the DCC itself; 57 may be future dated."""
    rows = service_requests().values()
    assert len(rows) == 129
    assert sum(row.critical for row in rows) == 37
    assert sum(row.non_device for row in rows) == 16
    assert sum(row.device_held for row in rows) == 12
    assert sum(row.future_dated != "none" for row in rows) == 57


@needs_duis
def test_equal_to_the_published_matrix() -> None:
    """Every row says what the published matrix says of it."""
    matrix = json.loads((DUIS / "request-matrix.json").read_text())
    assert {entry["Service Reference Variant"] for entry in matrix} == set(service_requests())
    for entry in matrix:
        row = service_requests()[entry["Service Reference Variant"]]
        assert row.critical == (entry["Critical"] == "Yes")
        assert row.non_device == (entry["Non-Device Request"] == "Yes")
        assert row.roles == set(entry["Eligible User Roles"])
        assert row.on_demand == (entry["On Demand"] == "Yes")
        assert row.scheduled == (entry["DCC Scheduled"] == "Yes")
        pattern = {"No": "none"}.get(entry["Future Dated Response Pattern"], entry["Future Dated Response Pattern"])
        assert row.future_dated == pattern.lower().replace("&", "and")


@needs_duis
def test_equal_to_the_schema() -> None:
    """The body elements and Variants of the schema are exactly those of the catalogue."""
    root = etree.parse(DUIS / "DUIS-Schema-V5.4.xsd").getroot()
    request = root.find(f"{XS}complexType[@name='Request']")
    assert request is not None
    body = request.find(f".//{XS}element[@name='Body']")
    assert body is not None
    names = {element.get("name") for element in body.iter(f"{XS}element")} - {"Body"}
    assert names == {row.element for row in service_requests().values()} | {SIGNED_PRE_COMMAND}
    variants = root.find(f"{XS}simpleType[@name='ServiceReferenceVariant']")
    assert variants is not None
    assert {value.get("value") for value in variants.iter(f"{XS}enumeration")} == set(service_requests())


@needs_duis
@pytest.mark.parametrize("path", templates(), ids=lambda path: path.stem)
def test_every_template_is_allowed(path: object) -> None:
    """No published request is called a misfit by our own rules."""
    request = parse_request(path.read_bytes())  # type: ignore[attr-defined]
    assert request.misfit is None


@pytest.mark.parametrize(
    ("reference", "variant", "command_variant", "element"),
    [
        ("4.18", "4.18", 9, "EnableSupply"),
        ("4.18", "4.18", 4, "ReadMeterBalance"),
        ("4.18", "4.18", 1, "EnableSupply"),
        ("7.1", "4.18", 1, "ReadMeterBalance"),
        ("7.3", "7.3", 1, "ArmSupply"),
        ("7.3", "7.3", 6, "ArmSupply"),
        ("7.3", "7.3", 4, "SignedPreCommand"),
        ("8.13", "8.13", 1, "ReturnLocalCommandResponse"),
        ("99.9", "99.9", 1, "ReadMeterBalance"),
    ],
)
def test_parts_that_do_not_belong_together(reference: str, variant: str, command_variant: int, element: str) -> None:
    """What the schema lets through is named with response code E12."""
    misfit = check_request(reference, variant, command_variant, element)
    assert misfit is not None
    assert misfit.response_code == "E12"
    assert misfit.reason


def test_unknown_variant_has_no_row() -> None:
    """Asking for a Variant that does not exist gives nothing, not an exception."""
    assert service_request("6.28.1") is None
