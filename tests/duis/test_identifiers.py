"""Identifiers in DUIS's text form."""

from __future__ import annotations

import pytest

from lastmetre.duis.errors import DuisDecodeError, DuisValueError
from lastmetre.duis.identifiers import RequestID, ResponseID, entity_text, parse_entity
from tests.duis.support import METER, SUPPLIER

TEXT = "90-B3-D5-1F-30-01-00-00:00-DB-12-34-56-78-90-A0:1000"


def test_request_id_reads_and_writes() -> None:
    """The text form in any case and with surrounding space gives one value, written in upper case."""
    expected = RequestID(SUPPLIER, METER, 1000)
    assert RequestID.parse(TEXT) == RequestID.parse(f"\n {TEXT.lower()} ") == expected
    assert str(expected) == TEXT


def test_response_id_is_the_request_id_reversed() -> None:
    """The device answers its originator under the same counter."""
    answer = RequestID.parse(TEXT).response_id
    assert answer == ResponseID(METER, SUPPLIER, 1000)
    assert ResponseID.parse(str(answer)) == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT + ":1",
        TEXT.replace("1000", "01"),
        TEXT.replace("1000", "-1"),
        TEXT.replace("1000", "18446744073709551616"),
        TEXT.replace("1000", "1" * 400),
        TEXT.replace("1000", "١"),
        TEXT.replace("90-B3", "90B3"),
        TEXT.replace("90-B3", "9G-B3"),
        TEXT.replace("90-B3-", ""),
    ],
)
def test_bad_request_ids(text: str) -> None:
    """Whatever the schema's pattern refuses is refused."""
    with pytest.raises(DuisDecodeError):
        RequestID.parse(text)


def test_largest_counter() -> None:
    """Counters fill 64 bits and no more."""
    assert RequestID.parse(TEXT.replace("1000", str(2**64 - 1))).counter == 2**64 - 1
    with pytest.raises(DuisValueError):
        RequestID(SUPPLIER, METER, 2**64)


def test_entity_text() -> None:
    """An entity identifier is eight bytes inside and eight dashed pairs outside."""
    assert parse_entity(entity_text(METER)) == METER
    with pytest.raises(DuisValueError):
        entity_text(METER[:7])
    with pytest.raises(DuisDecodeError):
        parse_entity("00DB1234567890A0")
