"""``lastmetre decode`` as a user meets it: words, verdicts, and one clear line for bad input."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import own_world as own
from tests.shared_data import RTDS, RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds

if TYPE_CHECKING:
    from pathlib import Path


def lastmetre(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run the installed program."""
    command = [sys.executable, "-m", "lastmetre", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


COMMAND = own.arm(9)


def test_hex_base64_file_and_standard_input_say_the_same(tmp_path: Path) -> None:
    """However the message is given, its words are the same."""
    hex_file, raw_file = tmp_path / "command.hex", tmp_path / "command.bin"
    hex_file.write_text(COMMAND.hex(" ", 4) + "\n")
    raw_file.write_bytes(COMMAND)
    outputs = [
        lastmetre("decode", COMMAND.hex().upper()),
        lastmetre("decode", base64.b64encode(COMMAND).decode()),
        lastmetre("decode", str(hex_file)),
        lastmetre("decode", str(raw_file)),
        lastmetre("decode", "-", stdin=COMMAND.hex().encode()),
    ]
    assert all(output.returncode == 0 for output in outputs)
    assert len({output.stdout for output in outputs}) == 1
    words = outputs[0].stdout
    assert "ECS44 Arm Load Switch in ESME (message code 0051)" in words
    assert "00-00-5E-EF-10-00-00-10 (Business Originator ID)" in words
    assert "not checked: give --keys and --certificates" in words


def test_json_holds_what_the_words_say() -> None:
    """``--json`` prints one object with the same sections."""
    done = lastmetre("decode", COMMAND.hex(), "--json")
    read = json.loads(done.stdout)
    assert read["message"]["originator counter"] == "9"
    assert read["protection"]["MAC"] == COMMAND[-12:].hex()


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("DD0G", "'G' at place 4, which is no hex digit"),
        ("DD0", "an odd number of hex digits (3)"),
        ("no/such/file.hex", "there is no file no/such/file.hex"),
        ("hello", "neither a file nor a message"),
        (COMMAND.hex()[:-2], "this is no GBCS message: mac_header at octet 7"),
        ("", "is empty"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_status_2(argument: str, line: str) -> None:
    """A wrong digit, file or message: one line on standard error, nothing on standard output, no traceback."""
    done = lastmetre("decode", argument)
    assert done.returncode == 2
    assert done.stdout == ""
    assert line in done.stderr
    assert done.stderr.startswith("lastmetre: ")
    assert done.stderr.count("\n") == 1


def test_unusable_keys_are_one_clear_line(tmp_path: Path) -> None:
    """A key table with a bad row names file and line; a missing directory is named."""
    table = tmp_path / "keys.csv"
    table.write_text("entity_id,usage,prepayment,p256_scalar_hex\n00005eef10000010,ds,0,nonsense\n")
    done = lastmetre("decode", COMMAND.hex(), "--keys", str(table))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "keys.csv, line 2" in done.stderr
    done = lastmetre("decode", COMMAND.hex(), "--certificates", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is no directory of certificates" in done.stderr


@needs_rtds
def test_verdicts_with_the_published_keys() -> None:
    """A critical reference Command: both verdicts valid, and whose keys they were; one bit changed: invalid."""
    path = next(RTDS.rglob("ECS44_7.3_SUCCESS_COMMAND_GBCS.HEX"), None)
    if path is None:
        pytest.skip("this reference message is not in the data set beside the checkout")
    keys = ["--keys", str(RTDS_KEYS), "--certificates", str(RTDS_CERTIFICATES)]
    done = lastmetre("decode", str(path), *keys)
    assert "valid: made between 90b3d51f30000002 and 00db1234567890a0" in done.stdout
    assert "valid: made by 90b3d51f30010000" in done.stdout
    damaged = bytearray(bytes.fromhex(path.read_text()))
    damaged[-1] ^= 1
    assert "invalid: not made over these bytes" in lastmetre("decode", damaged.hex(), *keys).stdout
