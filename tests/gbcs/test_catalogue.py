"""The catalogue of use cases: complete, and checked when it is loaded."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from lastmetre.gbcs.catalogue import (
    CatalogueError,
    Lane,
    Protection,
    UseCaseKind,
    _row,
    catalogue,
    use_case,
    use_case_by_name,
)
from tests.shared_data import SHARED

CODES = SHARED / "reference" / "message-codes.csv"
ROW: dict[str, Any] = {
    "code": 0x0020,
    "name": "ECS09",
    "title": "Activate Emergency Credit Remotely on ESME",
    "payload": "DLMS",
    "devices": ["ESME"],
    "kind": "command",
    "protection": "mac+signature",
    "response_protection": "signature",
    "originators": [2],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "no field is called colour"),
        ({"kind": "question"}, "question"),
        ({"protection": "hope"}, "hope"),
        ({"lane": "fast"}, "fast"),
        ({"originators": [99]}, "99"),
        ({"originators": []}, "nobody may originate"),
        ({"payload": "XML"}, "payload or device type unknown"),
        ({"devices": ["TOASTER"]}, "payload or device type unknown"),
        ({"response_protection": "none"}, "Commands, and only they, have a Response"),
        ({"kind": "alert"}, "Commands, and only they, have a Response"),
        ({"replay_protected": False}, "replay-protected"),
    ],
    ids=str,
)
def test_a_broken_row_stops_the_program(change: dict[str, Any], words: str) -> None:
    """A row that contradicts itself, or says what nobody knows, is named when the catalogue is loaded."""
    assert _row(ROW).name == "ECS09"
    with pytest.raises(CatalogueError, match=words):
        _row(ROW | change)
    missing = {name: value for name, value in ROW.items() if name != "title"}
    with pytest.raises(CatalogueError, match="title"):
        _row(missing)


def test_every_command_says_all_there_is_to_know() -> None:
    """Who may say it, to what, how protected, in which lane; each Command is replay-protected, and nothing else is."""
    rows = catalogue().values()
    assert {row.lane for row in rows} == set(Lane)
    assert {row.kind for row in rows} == set(UseCaseKind)
    for row in rows:
        assert row.devices or row.kind is not UseCaseKind.COMMAND, row.name
        assert row.replay_protected is (row.kind is UseCaseKind.COMMAND), row.name
        assert row.critical is (row.protection in {Protection.MAC_AND_SIGNATURE, Protection.SIGNATURE}), row.name
    assert any(row.encrypted for row in rows)
    assert any(row.response_date_time for row in rows)
    with pytest.raises(CatalogueError, match="0 use cases"):
        use_case_by_name("ECS999")


@pytest.mark.skipif(not CODES.exists(), reason="the shared reference is not here")
def test_every_code_of_the_reference_has_a_row() -> None:
    """The reference's list of message codes: each has a row, of the same name and as critical."""
    with CODES.open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) > 200
    for published in listed:
        row = use_case(int(published["code"], 16))
        assert row is not None, published
        assert published["use_case"].upper().split("/")[0] in row.name.upper(), published
        if published["critical"] in {"yes", "no"}:
            assert row.critical is (published["critical"] == "yes"), published
