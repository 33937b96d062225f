"""``docs/relay.md`` says what the code does: its numbers, its names, its example."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lastmetre.links.bearer_https import POLL_PATH, RECEIPTS_PATH
from lastmetre.relay import CommandClass, envelope, limits, receipts
from lastmetre.relay.cose_form import ENCRYPT_PROTECTED, PROTOCOL, RECIPIENT_PROTECTED, RELAY_USE, SIGN1_PROTECTED
from lastmetre.relay.topics import COMMAND_PREFIX, READY_PREFIX, RECEIPT_PREFIX

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "relay.md").read_text()
VECTORS = json.loads((ROOT / "tests" / "vectors" / "relay" / "envelopes.json").read_text())


def rows(title: str) -> list[list[str]]:
    """The cells of every table row in a section."""
    section = TEXT.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in found]


def test_the_keys_are_those_of_the_code() -> None:
    """Both contents list every key once, and no other."""
    for title, keys in (("3.", envelope.KEYS), ("4.", receipts.KEYS)):
        listed = [int(row[0]) for row in rows(title) if row[0].isdigit() and len(row) == 4]
        assert listed == [1, *keys.values()], title


def test_kinds_reasons_and_classes_are_those_of_the_code() -> None:
    """Every number of the tables has its meaning in the document."""
    table = rows("4.")
    kinds = [row[0] for row in table if len(row) == 3 and re.match(r"\d \w", row[0])]
    assert kinds == [
        f"{code} {kind.value.replace('taken_by_tunnel', 'taken by the tunnel').replace('_', ' ')}"
        for kind, code in receipts.KIND_CODES.items()
    ]
    reasons = [(int(row[0]), row[1]) for row in table if row[0].isdigit() and len(row) == 3]
    assert reasons == [(code, "expired" if code < 16 else "refused") for code in receipts.REASON_CODES.values()]
    for one in CommandClass:
        assert f"{int(one)} {one.name.lower().replace('_', '-')}" in TEXT


@pytest.mark.parametrize(
    "said",
    [
        f"h'{SIGN1_PROTECTED.hex()}'",
        f"h'{ENCRYPT_PROTECTED.hex()}'",
        f"h'{RECIPIENT_PROTECTED.hex()}'",
        f"`{PROTOCOL.decode()}`",
        f"{len(PROTOCOL)} octets",
        RELAY_USE,
        POLL_PATH,
        RECEIPTS_PATH,
        COMMAND_PREFIX,
        RECEIPT_PREFIX,
        READY_PREFIX,
        f"{limits.COMMAND_OCTETS_MAX:,}",
        f"{limits.CONTENT_OCTETS_MAX:,}",
        f"{limits.ENVELOPE_OCTETS_MAX:,}",
        f"{limits.POLL_WAIT_S} s",
    ],
)
def test_constants_stand_in_the_document(said: str) -> None:
    """A constant that changes must change there too."""
    assert said in TEXT


def test_the_example_is_a_vector() -> None:
    """The octets shown are those of the vectors' file."""
    shown = re.sub(r"\s", "", TEXT)
    for octets in (
        VECTORS["envelopes"][0]["content"],
        VECTORS["envelopes"][0]["envelope"],
        VECTORS["receipts"][1]["content"],
        VECTORS["receipts"][1]["receipt"],
    ):
        assert octets in shown
