"""``lastmetre conformance rtds``: what conforms, what differs and where, what cannot be told, what is no argument."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.cli import conformance
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs import DecodedMessage, decode, encode
from lastmetre.gbcs.keys import KeyUse
from tests import own_world as own
from tests.cli.test_decode import lastmetre
from tests.shared_data import RTDS, RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds, rtds_messages

if TYPE_CHECKING:
    from pathlib import Path

ARM, BALANCE = own.arm(9), own.read_balance(10)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A small release of our own, with the certificates and keys that made it."""
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    rows = ["entity_id,usage,prepayment,p256_scalar_hex"]
    for entity_id in (own.SUPPLIER, own.BROKER, own.ESME):
        for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT):
            pem = base64.encodebytes(own.certificate(entity_id, use).der).decode()
            text = f"-----BEGIN CERTIFICATE-----\n{pem}-----END CERTIFICATE-----\n"
            (certificates / f"{entity_id.hex()}-{use}.pem").write_text(text)
            scalar = own.private_key(entity_id, use).private_numbers().private_value
            rows.append(f"{entity_id.hex()},{use},0,{scalar:064x}")
    (tmp_path / "keys.csv").write_text("\n".join(rows) + "\n")
    messages = tmp_path / "release" / "7.3_ECS44"
    messages.mkdir(parents=True)
    (messages / "COMMAND.HEX").write_text(ARM.hex().upper())
    (messages / "BALANCE.hex").write_text(BALANCE.hex(" ", 16) + "\n")
    (messages / "notes.txt").write_text("not a message")
    return tmp_path


def _run(release: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    status = conformance.run_rtds(
        release / "release",
        certificates=release / "certificates",
        keys=release / "keys.csv",
        passphrase_file=None,
        as_json=True,
    )
    return status, json.loads(capsys.readouterr().out)


def test_a_release_that_conforms(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every HEX file below the directory, by kind, payload and verdict; nothing else is looked at."""
    assert _run(release, capsys) == (
        0,
        {
            "files": 2,
            "same": 2,
            "kinds": {"Command": 2},
            "payloads": {"DLMS": 2},
            "verdicts": {"MAC": {"valid": 2}, "signature": {"absent": 1, "valid": 1}, "encrypted part": {}},
            "failures": [],
            "unverifiable": [],
            "conforms": True,
        },
    )


def test_each_fault_is_named_with_its_file_stage_and_place(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not hex, not a message, a bad content, a bad MAC, a bad signature: each told, and exit status 1."""
    folder = release / "release"
    (folder / "a.hex").write_text("nonsense")
    (folder / "b.hex").write_text(ARM.hex()[:-2])
    (folder / "c.hex").write_text(own.critical(own.header("ECS44", 1), b"\xd8").hex())
    (folder / "d.hex").write_text((BALANCE[:-1] + bytes((BALANCE[-1] ^ 1,))).hex())
    (folder / "e.hex").write_text((ARM[:-13] + bytes((ARM[-13] ^ 1,)) + ARM[-12:]).hex())
    status, told = _run(release, capsys)
    assert status == 1
    assert not told["conforms"]
    found = [(failure["file"], failure["stage"], failure["offset"]) for failure in told["failures"]]
    content_at = len(own.critical(own.header("ECS44", 1), b"\xd8")) - 12 - 65 - 1
    assert found == [
        ("a.hex", "read", None),
        ("b.hex", "decode", 7),
        ("c.hex", "decode", content_at),
        ("d.hex", "MAC", None),
        ("e.hex", "MAC", None),
        ("e.hex", "signature", None),
    ]
    assert (told["files"], told["same"]) == (7, 4)


@pytest.mark.parametrize("stage", ["encode", "JSON"])
def test_a_message_that_comes_back_different_is_named_with_the_octet(
    release: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Were our writing wrong, directly or through JSON, the first octet that differs would be told."""
    calls = 0

    def wrong(message: DecodedMessage) -> bytes:
        nonlocal calls
        calls += 1
        octets = encode(message)
        through_json = calls % 2 == 0
        return octets[:20] + b"\xff" + octets[21:] if through_json is (stage == "JSON") else octets

    monkeypatch.setattr(conformance, "encode", wrong)
    status, told = _run(release, capsys)
    assert status == 1
    assert [(failure["stage"], failure["offset"]) for failure in told["failures"]] == [(stage, 20)] * 2
    assert told["same"] == 0


def test_without_the_keys_nothing_is_called_valid(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unverifiable messages are named and counted apart, and are no failure."""
    (release / "keys.csv").write_text("entity_id,usage,prepayment,p256_scalar_hex\n")
    status, told = _run(release, capsys)
    assert status == 0
    assert told["verdicts"]["MAC"] == {"unverifiable": 2}
    assert [failure["stage"] for failure in told["unverifiable"]] == ["MAC", "MAC"]


def test_wrong_arguments_are_one_clear_line_and_exit_status_2(release: Path, tmp_path: Path) -> None:
    """A directory that is none or holds no message, keys that are none: named, and nothing is printed."""
    keys = ["--certificates", str(release / "certificates"), "--keys", str(release / "keys.csv")]
    empty = tmp_path / "empty"
    empty.mkdir()
    for directory, words in ((tmp_path / "nowhere", "is no directory"), (empty, "there is no .HEX file below")):
        done = lastmetre("conformance", "rtds", str(directory), *keys)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert words in done.stderr
    with pytest.raises(ProblemError):
        conformance.run_rtds(
            release / "release",
            certificates=tmp_path / "nowhere",
            keys=release / "keys.csv",
            passphrase_file=None,
            as_json=False,
        )


def test_the_table_is_for_reading(release: Path) -> None:
    """Faults first, each on its line, then the counts, then the verdict in words."""
    (release / "release" / "a.hex").write_text(ARM.hex()[:-2])
    keys = ["--certificates", str(release / "certificates"), "--keys", str(release / "keys.csv")]
    done = lastmetre("conformance", "rtds", str(release / "release"), *keys)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == "Differs or is invalid:"
    assert lines[1].startswith("  a.hex: decode at octet 7: mac_header: announces")
    assert "3 files, 2 the same when written again, also through JSON" in lines
    assert lines[-1] == "1 failure"


@needs_rtds
def test_the_published_release_conforms() -> None:
    """Nothing differs, nothing is invalid; only PPMID messages, whose keys were not published, are unverifiable."""
    keys = ["--certificates", str(RTDS_CERTIFICATES), "--keys", str(RTDS_KEYS), "--json"]
    done = lastmetre("conformance", "rtds", str(RTDS), *keys)
    told = json.loads(done.stdout)
    assert (done.returncode, told["failures"]) == (0, [])
    assert told["files"] == told["same"] == len(rtds_messages())
    ppmid = {0x0090, 0x009B}
    unverifiable = {failure["file"].removesuffix(".HEX") for failure in told["unverifiable"]}
    assert unverifiable == {
        name for name, octets in rtds_messages().items() if decode(octets).header.message_code in ppmid
    }
