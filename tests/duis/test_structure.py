"""The structure of bodies, checked without the schema's files, with the official schema as the judge."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from lastmetre.duis import compose
from lastmetre.duis.catalogue import service_requests
from lastmetre.duis.documents import BodyError, build_request, parse_request, parse_response
from lastmetre.duis.errors import DuisDecodeError
from lastmetre.duis.kinds import describe, fits
from lastmetre.duis.shapes import shape_of
from lastmetre.duis.skeletons import skeleton
from lastmetre.duis.structure import KEPT_MAX, check_body
from lastmetre.duis.xml import DS, SR, Element
from tests.duis.support import METER, SUPPLIER, example, schema, templates
from tests.duis.test_skeletons import alternatives
from tests.shared_data import needs_duis

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_261_123
MUTATIONS = 4_000

NUMBERS = (
    "0 1 -1 +1 01 5 6 8 9 16 17 48 49 100 101 -128 -129 128 255 256 1799 1800 3600 3601 10000 10001 32767 32768 65535 "
    "65536 86400 86401 2147483647 2147483648 -2147483649 4294967295 4294967296 281474976710656 -400 -401 2013 "
    "9223372036854775807 9223372036854775808 1000000000001 1e3 .5 1. 0.5 2.05 2.5 2.4 100.01 6.5535 6.55350 6.5536 "
    "42949.672950 429496729.6 -0 +-5 \uff15"
)
TIMES = (
    "2030-01-15Z 65535-01-01Z 2030-02-29Z 2028-02-29Z 0000-01-01 2030-01-15+14:01 24:00:00 24:00:01 23:59:60 00:00 "
    "23:59:59.999 2030-01-15T09:00:00Z 2030-01-15T24:00:00Z 2030-01-15T09:00:00.5+01:00 2030-1-15T09:00:00Z"
)
WORDS = (
    "true TRUE yes GBP Supplier Monday START HOURLY MAA= MAB= AQ== AR== aa 1234567890123 12345678901234567890 \u00e9 "
    "90-B3-D5-1F-30-01-00-00 90-B3-D5-1F-30-01-00 90-b3-d5-1f-30-01-00-00"
)
TEXTS = ("", *NUMBERS.split(), *TIMES.split(), *WORDS.split())


def legal() -> Iterator[etree._Element]:
    """Every published template, and every skeleton with each of its alternatives, without comment or signature."""
    parser = etree.XMLParser(remove_comments=True, remove_blank_text=True)
    for path in templates():
        root = etree.fromstring(path.read_bytes(), parser)
        for signature in root.findall(f"{{{DS}}}Signature"):
            root.remove(signature)
        yield root
    for variant in sorted(service_requests()):
        for choose in (frozenset(), *(frozenset({name}) for name in sorted(alternatives(shape_of(variant))))):
            yield etree.fromstring(skeleton(variant, SUPPLIER, METER, 7, choose).encode(), parser)


def refusal(document: bytes) -> str:
    """Why we refuse a document, or nothing."""
    try:
        parse_request(document)
    except DuisDecodeError as error:
        return str(error)
    return ""


@needs_duis
def test_everything_legal_is_taken() -> None:
    """What the schema takes of the published templates and our skeletons, we take."""
    count = 0
    for root in legal():
        assert schema().validate(root)
        assert refusal(etree.tostring(root)) == ""
        count += 1
    assert count >= 800


def mutated(root: etree._Element, random: Random) -> etree._Element:
    """A copy with something taken out, doubled, moved, renamed or given another value."""
    copy = deepcopy(root)
    body = copy.find(f"{{{SR}}}Body")
    assert body is not None
    (request,) = body
    elements = list(request.iter())
    chosen = random.choice(elements[1:] or elements)
    parent = chosen.getparent()
    assert parent is not None
    leaves = [element for element in elements if not len(element) and element.text]
    match random.randrange(8):
        case 0 if chosen is not request:
            parent.remove(chosen)
        case 1 if chosen is not request:
            for _ in range(random.choice((1, 1, 5, 25, 60))):
                chosen.addnext(deepcopy(chosen))
        case 2:
            random.choice(elements).append(deepcopy(random.choice(elements)))
        case 3 if chosen.getnext() is not None:
            following = chosen.getnext()
            assert following is not None
            chosen.addprevious(following)
        case 4:
            chosen.tag = random.choice(elements).tag
        case 5:
            chosen.set("index", random.choice(TEXTS))
        case _ if leaves:
            random.choice(leaves).text = random.choice(TEXTS)
    return copy


@needs_duis
def test_mutations_are_judged_as_the_schema_judges_them() -> None:
    """Nothing that the schema takes is refused, and all that it refuses is refused here."""
    random = Random(SEED)
    roots = list(legal())
    taken = 0
    for _ in range(MUTATIONS):
        document = etree.tostring(mutated(random.choice(roots), random))
        why = refusal(document)
        if schema().validate(etree.fromstring(document)):
            taken += 1
            # The judge passes over any character that base64 does not have; the standard does not.
            assert not why or why.endswith("base64"), f"{why}\n{document.decode()[:2000]}"
        else:
            assert why, document.decode()[:2000]
    assert MUTATIONS // 20 < taken < MUTATIONS // 2


def balance(*children: Element) -> Element:
    """The body of a balance adjustment."""
    return Element("UpdateMeterBalance", children=children)


@pytest.mark.parametrize(
    ("body", "where", "reason"),
    [
        (Element("Elephant"), "Body/Elephant", "no request of schema 5.4"),
        (balance(), "Body/UpdateMeterBalance", "ends where CreditMode or PrepaymentMode is expected"),
        (
            balance(Element("PrepaymentMode", children=(Element("AdjustMeterBalance", "1e3"),))),
            "Body/UpdateMeterBalance/PrepaymentMode/AdjustMeterBalance",
            "'1e3' is not as expected: whole number -2147483648 to 2147483647",
        ),
        (
            balance(*(Element("CreditMode", children=(Element("ResetMeterBalance"),)),) * 2),
            "Body/UpdateMeterBalance/CreditMode",
            "is not expected once more there; expected: the end of UpdateMeterBalance",
        ),
        (Element("ArmSupply", "now"), "Body/ArmSupply", "the text 'now' is not expected there"),
        (Element("ArmSupply", attributes=(("a", "1"),)), "Body/ArmSupply/@a", "is not expected there"),
        (
            Element("ActivateAuxiliaryLoad", children=(Element("ActivateALCSHCALCS"),)),
            "Body/ActivateAuxiliaryLoad/ActivateALCSHCALCS/@index",
            "is missing; expected: whole number 1 to 5",
        ),
        (
            Element("TopUpDevice", children=(Element("UTRN", "1" * 20), Element("UTRN", "1" * 20))),
            "Body/TopUpDevice/UTRN",
            "is not expected once more there; expected: the end of TopUpDevice",
        ),
        (
            Element("ReadMeterBalance", children=(Element("ExecutionDateTime", "2030-02-30T00:00:00Z"),)),
            "Body/ReadMeterBalance/ExecutionDateTime",
            "'2030-02-30T00:00:00Z' is not as expected: date and time, UTC",
        ),
        (
            Element("ClearEventLog", children=(Element("ESMEEventLogType", "GPF"),)),
            "Body/ClearEventLog/ESMEEventLogType",
            "'GPF' is not as expected: ESME | ALCS",
        ),
        (
            Element("TopUpDevice", children=(Element("UTRN", children=(Element("UTRN"),)),)),
            "Body/TopUpDevice/UTRN/UTRN",
            "is not expected in UTRN",
        ),
    ],
)
def test_what_is_wrong_is_named(body: Element, where: str, reason: str) -> None:
    """The refusal names the path of the first element that is wrong, and what was expected there."""
    with pytest.raises(DuisDecodeError) as refused:
        check_body(body)
    assert refused.value.where == where
    assert reason in refused.value.reason


def test_one_of_many_is_named_by_its_number() -> None:
    """Among elements of one name the wrong one is told by its place."""
    days = tuple(compose.SpecialDay(month, 1) for month in (1, 2, 3))
    request = compose.update_prepay_configuration(
        SUPPLIER, METER, 1, compose.PrepayConfiguration(1, 1, 1, 1, 1, 1, days)
    )
    document = build_request(request).replace(b"<sr:SpecifiedMonth>02<", b"<sr:SpecifiedMonth>13<")
    with pytest.raises(BodyError, match=r"SpecialDay\[2\]/Date/Month/SpecifiedMonth") as refused:
        parse_request(document)
    assert refused.value.request.header == request.header


def test_what_is_remembered_is_bounded_and_changes_nothing() -> None:
    """More values than are remembered are still judged one by one."""
    for number in range(KEPT_MAX + 10):
        text = f"{number:020}"
        check_body(Element("TopUpDevice", children=(Element("UTRN", text),)))
        with pytest.raises(DuisDecodeError):
            check_body(Element("TopUpDevice", children=(Element("UTRN", text[1:]),)))


@needs_duis
@pytest.mark.parametrize("name", ["read-inventory-response-4g.xml", "read-inventory-response-5.4.xml"])
def test_payloads_of_the_dcc_are_held_against_the_table(name: str) -> None:
    """Genuine inventories are taken; one with an element renamed is refused by its path."""
    document = example(name)
    parse_response(document)
    with pytest.raises(DuisDecodeError, match="ResponseMessage/DSPInventory/Device"):
        parse_response(document.replace(b"DeviceType>", b"DeviceSort>"))


def test_kinds_are_told_in_words() -> None:
    """Every kind of value that the table uses can be checked and told."""
    kinds: set[str] = set()

    def gather(variant: str) -> None:
        shapes = [shape_of(variant)]
        for shape in shapes:
            shapes.extend(shape.inside)
            kinds.update(kind for _, kind in shape.attributes)
            if shape.values is not None:
                kinds.add(shape.values)

    for variant in service_requests():
        gather(variant)
    for kind in kinds:
        assert not fits(kind)("\x00 nothing \x00") or kind.startswith("text")
        assert describe(kind)
    assert describe("decimal1 >1.5..<2.5") == "decimal number more than 1.5 to less than 2.5, at most 1 decimal places"
