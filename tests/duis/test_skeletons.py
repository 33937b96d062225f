"""Skeletons: every request, with each of its alternatives, is valid by the official schema and can be completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lxml import etree

from lastmetre.duis.catalogue import service_requests
from lastmetre.duis.documents import parse_request
from lastmetre.duis.errors import DuisValueError, TransformError
from lastmetre.duis.shapes import shape_of
from lastmetre.duis.skeletons import skeleton
from lastmetre.duis.transform import DeviceFacts, HubBackup, Records, Sender, rules_of, transform
from tests.duis.support import METER, SUPPLIER, schema
from tests.shared_data import needs_duis

if TYPE_CHECKING:
    from lastmetre.duis.shapes import Shape


def alternatives(shape: Shape) -> set[str]:
    """Every name by which an alternative or an optional element can be chosen."""
    found = set()
    if shape.name == "(choice)":
        found |= {min(inner.names()) for inner in shape.inside}
    if shape.least == 0 and shape.is_element:
        found.add(shape.name)
    return found | {name for inner in shape.inside for name in alternatives(inner)}


def violations(document: str) -> list[str]:
    """What the schema finds wrong, but for the signature that is still to come."""
    checker = schema()
    root = etree.fromstring(document.encode())
    checker.validate(root)
    lines = str(checker.error_log).splitlines()
    return [line for line in lines if "Signature" not in line]


@needs_duis
@pytest.mark.parametrize("variant", sorted(service_requests()))
def test_every_skeleton_is_valid(variant: str) -> None:
    """The skeleton of each request, plain and with each alternative, is what the schema asks for."""
    for choose in (frozenset(), *(frozenset({name}) for name in sorted(alternatives(shape_of(variant))))):
        document = skeleton(variant, SUPPLIER, METER, 7, choose)
        assert violations(document) == [], f"{sorted(choose)}\n{document[:3000]}"


@pytest.mark.parametrize("variant", sorted(service_requests()))
def test_every_skeleton_is_a_request(variant: str) -> None:
    """Our own reader takes every skeleton, and its parts belong together."""
    request = parse_request(skeleton(variant, SUPPLIER, METER, 7).encode())
    assert request.misfit is None
    assert request.header.request_id.counter == 7


RECORDS = Records("ESME", b"\x30\x00", "1234", HubBackup(bytes(8), ((bytes(8), bytes(16)),)), ((bytes(8), "GSME"),))
SENDER = Sender("IS", bytes(7) + b"\x02", 77, bytes(7) + b"\x04", 78, 1_700_000_000)


@pytest.mark.parametrize("variant", sorted(v for v, row in service_requests().items() if not row.non_device))
def test_every_skeleton_becomes_a_message(variant: str) -> None:
    """Each request for a device, as it stands in the skeleton, becomes the GBCS message of some device."""
    request = parse_request(skeleton(variant, SUPPLIER, METER, 7).encode())
    refusals = []
    for kind in sorted({kind for rule in rules_of(variant) for kind in rule.devices}):
        device = DeviceFacts(kind, known_remote_parties=frozenset({SUPPLIER}), records=RECORDS)
        try:
            assert transform(request, device, SENDER).message
        except TransformError as error:
            refusals.append(str(error))
        else:
            return
    raise AssertionError(refusals)


def test_comments_say_what_may_stand_there() -> None:
    """Ranges, alternatives and optional elements are told beside the values."""
    document = skeleton("2.3", SUPPLIER, METER, 1, frozenset({"GasDebtRecovery1"}))
    assert "<!-- whole number 0 to 10000 -->" in document
    assert "<!-- or instead: ElecDebtRecovery1 and ElecDebtRecovery2 -->" in document
    assert "<sr:GasDebtRecovery2>" in document
    assert "<!-- optional: <sr:ExecutionDateTime>" in skeleton("1.6", SUPPLIER, METER, 1)


def test_names_that_are_none_are_refused() -> None:
    """A service or an alternative that there is not is said."""
    with pytest.raises(DuisValueError, match=r"9\.9"):
        skeleton("9.9", SUPPLIER, METER, 1)
    with pytest.raises(DuisValueError, match="Elephant"):
        skeleton("1.6", SUPPLIER, METER, 1, frozenset({"Elephant"}))
