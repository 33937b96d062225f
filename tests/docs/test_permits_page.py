"""``docs/permits.md`` says what the code does: statuses, codes, numbers."""

from __future__ import annotations

import re
from pathlib import Path

from lastmetre.dcc.permits import AHEAD_MAX_S, GAS_WAIT_S, LIFE_S, LIVE_MAX, PermitCode
from lastmetre.home.permit_gate import RECORDS_PER_MINUTE
from lastmetre.links.permit_http import PERMITS_PATH, STATUSES
from lastmetre.relay.permit import HANDOVERS_MAX, Status

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "permits.md").read_text()


def test_every_status_is_listed() -> None:
    """Each number once."""
    table = TEXT.split("| Status |", 1)[1].split("\n\n", 1)[0]
    listed = {int(number, 16) for number in re.findall(r"\| ([0-9A-F]{2}) \|", table)}
    assert listed == {int(status) for status in Status}


def test_every_code_has_its_http_status() -> None:
    """As the link answers it."""
    rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", TEXT, re.MULTILINE)
    listed = {code: int(status) for status, codes in rows for code in re.findall(r"`([a-z-]+)`", codes)}
    assert listed == {"malformed": 400} | {str(code): STATUSES.get(str(code), 409) for code in PermitCode}


def test_the_numbers_are_those_of_the_code() -> None:
    """A constant that changes must change there too."""
    assert (LIFE_S, GAS_WAIT_S, AHEAD_MAX_S, LIVE_MAX, HANDOVERS_MAX) == (15 * 60, 65 * 60, 60, 12, 3)
    for said in (f"POST {PERMITS_PATH}", "65\nminutes later", "60 s ahead at most", f"{RECORDS_PER_MINUTE} permits"):
        assert said in TEXT
