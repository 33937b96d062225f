"""``lastmetre decode`` as a user meets it: words, verdicts, and one clear line for bad input."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.cli.decode import run_decode
from lastmetre.gbcs import DecodedMessage, decode, encode, from_json, to_json
from lastmetre.gbcs.axdr import DoubleLong
from lastmetre.gbcs.dlms import AccessResponse, ItemResult
from lastmetre.gbcs.message import Cra
from tests import own_world as own
from tests.gbcs.message_strategies import messages
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


def test_json_is_the_form_and_verdicts() -> None:
    """``--json`` prints exactly ``to_json`` and a ``verdicts`` object; the letters outside ASCII are escaped."""
    done = lastmetre("decode", COMMAND.hex(), "--json")
    read = json.loads(done.stdout)
    verdicts = read.pop("verdicts")
    assert read == to_json(decode(COMMAND))
    assert verdicts["mac"]["verdict"] == verdicts["signature"]["verdict"] == "unverifiable"
    assert done.stdout.isascii()


def test_json_needs_a_content_that_can_be_read() -> None:
    """In words an unreadable content is shown as octets with the reason; in JSON there is no form for it."""
    header = own.header("ECS44", 9)
    stray = own.critical(header, bytes.fromhex("d8ff"))
    words = lastmetre("decode", stray.hex(), "--offsets")
    assert words.returncode == 0
    assert re.search(r"unreadable +content at octet \d+: D8 begins neither", words.stdout)
    done = lastmetre("decode", stray.hex(), "--json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "its content cannot be read: content at octet" in done.stderr


def test_offsets_say_where_each_thing_stands() -> None:
    """Each offset points at the octets of what its line tells."""
    lines = lastmetre("decode", COMMAND.hex(), "--offsets").stdout.splitlines()
    found = {words[1]: int(words[0]) for line in lines if (words := line.split()) and words[0].isdigit()}
    assert COMMAND[found["from"] :][:8] == own.SUPPLIER
    assert COMMAND[found["to"] :][:8] == own.ESME
    assert COMMAND[found["originator"] :][:8] == (9).to_bytes(8, "big")
    assert COMMAND[found["use"] :][:2] == bytes.fromhex("0051")
    assert COMMAND[found["MAC"] :] == COMMAND[-12:]
    assert COMMAND[found["signature"]] == 0x40
    assert COMMAND[found["value"] :][:3] == bytes.fromhex("120036")


def test_a_response_is_named_by_its_command() -> None:
    """``--command`` names the results and gives their unit; what is no DLMS Command is refused in one line."""
    command = decode(own.read_balance(3))
    header = replace(
        command.header,
        cra=Cra.RESPONSE,
        business_originator_id=own.ESME,
        business_target_id=own.SUPPLIER,
    )
    payload = AccessResponse(3, (ItemResult(1, DoubleLong(-250_000), 0),))
    response = encode(DecodedMessage(header, payload, b"", bytes(12))).hex()
    done = lastmetre("decode", response, "--command", encode(command).hex())
    assert "meter balance: current amount (112/0-0:19.10.0.255#2): success (0)" in done.stdout
    assert "-250000 (-£2.50)" in done.stdout
    refused = lastmetre("decode", response, "--command", response)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "has no DLMS request" in refused.stderr


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


def test_a_file_that_holds_no_message_is_called_a_file(tmp_path: Path) -> None:
    """A folder, and files of other things, are named for what they are, with what to do."""
    wrong = tmp_path / "wrong.hex"
    wrong.write_text("zz99")
    for argument, words in (
        (tmp_path, "is a directory; name a file in it"),
        (wrong, "wrong.hex holds no message in hex"),
    ):
        done = lastmetre("decode", str(argument))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert words in done.stderr


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


@needs_rtds
def test_encrypted_parts_are_opened_when_their_key_is_at_hand() -> None:
    """A published Response: its reading in words and in the JSON's verdicts with the keys, sealed without them."""
    path = next(RTDS.rglob("ECS17b_4.1.1_SINGLE_SUCCESS_RESPONSE_GBCS.HEX"), None)
    if path is None:
        pytest.skip("this reference message is not in the data set beside the checkout")
    keys = ["--keys", str(RTDS_KEYS), "--certificates", str(RTDS_CERTIFICATES)]
    assert "decrypted" in lastmetre("decode", str(path), *keys).stdout
    assert "decrypted" not in lastmetre("decode", str(path)).stdout
    read = json.loads(lastmetre("decode", str(path), "--json", *keys).stdout)
    (part,) = read["verdicts"]["encrypted"]
    assert (part["number"], part["verdict"]) == (1, "valid")
    assert "structure" in part["content"]
    assert encode(from_json(read)) == bytes.fromhex(path.read_text())
    without = json.loads(lastmetre("decode", str(path), "--json").stdout)
    assert without["verdicts"]["encrypted"][0]["verdict"] == "unverifiable"


@settings(max_examples=60, deadline=None)
@given(messages(), st.booleans())
def test_any_message_can_be_shown(message: DecodedMessage, offsets: bool) -> None:
    """Whatever a message holds: printable lines, offsets inside it, and JSON that comes back as the same message."""
    octets = encode(message)
    told = _told(octets, as_json=False, offsets=offsets)
    assert all(line.isprintable() for line in told.splitlines())
    places = [int(line[2:7]) for line in told.splitlines() if offsets and line[2:7].strip().isdigit()]
    assert all(0 <= place <= len(octets) for place in places)
    assert from_json(json.loads(_told(octets, as_json=True, offsets=False))) == message


def _told(octets: bytes, *, as_json: bool, offsets: bool) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run_decode(octets.hex(), keys=None, certificates=None, as_json=as_json, offsets=offsets)
    return out.getvalue()
