"""``lastmetre encode`` as a user meets it: what decode --json prints, back to the same octets."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from lastmetre.cli import encode as encode_command
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs import decode, to_json
from tests import own_world as own
from tests.cli.test_decode import lastmetre

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = own.arm(9)


def test_what_decode_printed_comes_back_the_same(tmp_path: Path) -> None:
    """From a file or standard input, verdicts ignored; as hex, as base64, as octets in a file."""
    printed = lastmetre("decode", COMMAND.hex(), "--json").stdout
    document = tmp_path / "message.json"
    document.write_text(printed)
    assert lastmetre("encode", str(document)).stdout == COMMAND.hex() + "\n"
    assert lastmetre("encode", "-", stdin=printed.encode()).stdout == COMMAND.hex() + "\n"
    assert base64.b64decode(lastmetre("encode", str(document), "--base64").stdout) == COMMAND
    octets = tmp_path / "message.bin"
    done = lastmetre("encode", str(document), "--output", str(octets))
    assert (done.returncode, done.stdout, octets.read_bytes()) == (0, "", COMMAND)


def _refusal(tmp_path: Path, text: str) -> str:
    document = tmp_path / "message.json"
    document.write_text(text)
    with pytest.raises(ProblemError) as refused:
        encode_command.run_encode(str(document), as_base64=False, output=None)
    assert refused.value.status == 2
    return str(refused.value)


def test_what_is_no_message_is_one_clear_line(tmp_path: Path) -> None:
    """No JSON, a name twice, too deep, a wrong value with its place, parts that make no message: each said so."""
    document = to_json(decode(COMMAND))
    assert "is not JSON: Expecting" in _refusal(tmp_path, "{")
    assert "is not JSON: the name 'form' stands twice" in _refusal(tmp_path, '{"form": 1, "form": 1}')
    assert "nested deeper" in _refusal(tmp_path, "[" * 200_000)
    assert "$: an object is due, not array" in _refusal(tmp_path, "[]")
    assert "$.mac: 12 octets in hexadecimal" in _refusal(tmp_path, json.dumps(document | {"mac": "00"}))
    document["header"]["other_information"]["message_code"] = "0008"
    assert "these parts make no message together" in _refusal(tmp_path, json.dumps(document))


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, a document without end, a place that cannot be written: one line with the name."""
    done = lastmetre("encode", str(tmp_path / "nowhere.json"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "nowhere.json: No such file or directory" in done.stderr
    document = tmp_path / "message.json"
    document.write_text(json.dumps(to_json(decode(COMMAND))))
    with pytest.raises(ProblemError, match=r"cannot write .*nowhere/message\.bin"):
        encode_command.run_encode(str(document), as_base64=False, output=tmp_path / "nowhere" / "message.bin")
    monkeypatch.setattr(encode_command, "DOCUMENT_SIZE_MAX", 100)
    assert "is longer than any GBCS message" in _refusal(tmp_path, document.read_text())
