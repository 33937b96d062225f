"""The DUIS subcommands as a user runs them: skeleton, transform, correlate, signature; bad input is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lastmetre.duis import compose
from lastmetre.duis.documents import build_request
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import pre_command as pre_command_of
from tests import own_world as own
from tests.cli.test_decode import lastmetre
from tests.own_world import ESME, SUPPLIER
from tests.shared_data import DUIS, RTDS, needs_duis, needs_rtds

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A request to arm a supply."""
    path = tmp_path / "arm.xml"
    path.write_bytes(bytes(build_request(compose.arm_supply(SUPPLIER, ESME, 9))))
    return path


def test_a_skeleton_becomes_the_message_the_dcc_would_build(tmp_path: Path) -> None:
    """``duis new`` prints a request that ``transform`` accepts as it stands."""
    skeleton = lastmetre("duis", "new", "7.3")
    assert skeleton.returncode == 0
    path = tmp_path / "request.xml"
    path.write_text(skeleton.stdout)
    done = lastmetre("transform", str(path), "--device-type", "ESME", "--json")
    assert done.returncode == 0, done.stderr
    assert "0051" in done.stdout


def test_a_pre_command_that_says_what_was_asked_agrees_and_another_is_named(request_file: Path) -> None:
    """``correlate``: exit status 0 to the octet; 1 with both values in the user's terms."""
    asked = ["--device-type", "ESME"]
    pre_command = pre_command_of(own.header("ECS44", 9), own.supply_script(9, 54)).hex()
    agreed = lastmetre("correlate", str(request_file), pre_command, *asked)
    assert (agreed.returncode, agreed.stderr) == (0, "")
    other = pre_command_of(own.header("ECS43", 9), own.supply_script(9, 52)).hex()
    differs = lastmetre("correlate", str(request_file), other, *asked, "--json")
    assert differs.returncode == 1
    assert json.loads(differs.stdout)["differences"]


def test_a_document_is_signed_and_verified_and_a_change_is_seen(request_file: Path, tmp_path: Path) -> None:
    """``duis sign`` and ``duis verify`` with a test SMKI made by ``pki``."""
    smki = tmp_path / "smki"
    made = lastmetre("pki", str(smki), "--unencrypted", "--json")
    assert made.returncode == 0, made.stderr
    certificate = next((smki / "certificates").glob("*-ds.pem"))
    key = next(path for path in smki.rglob(f"keys/{certificate.name}"))
    signed = tmp_path / "signed.xml"
    done = lastmetre(
        "duis", "sign", str(request_file), "--key", str(key), "--certificate", str(certificate), "--out", str(signed)
    )
    assert done.returncode == 0, done.stderr
    certificates = ["--certificates", str(certificate.parent)]
    assert lastmetre("duis", "verify", str(signed), *certificates).returncode == 0
    signed.write_text(signed.read_text().replace(":9<", ":8<"))
    refused = lastmetre("duis", "verify", str(signed), *certificates)
    assert refused.returncode == 1
    assert "not verified" in refused.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["transform", "no-such-file.xml"],
        ["correlate", "no-such-file.xml", "DD00"],
        ["duis", "new", "99.99"],
        ["duis", "verify", "no-such-file.xml", "--certificates", "."],
        ["conformance", "transform", "--templates", "nowhere", "--messages", "nowhere"],
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(arguments: list[str]) -> None:
    """A missing file or an unknown service: one line on standard error and nothing else."""
    done = lastmetre(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_something_that_is_no_request_is_one_line(tmp_path: Path) -> None:
    """An XML file of another kind, and no XML at all."""
    for text in ("<html/>", "not XML"):
        path = tmp_path / "other.xml"
        path.write_text(text)
        done = lastmetre("transform", str(path))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@needs_duis
@needs_rtds
def test_conformance_with_the_published_pairs_has_no_surprise() -> None:
    """Every pair is equal or listed with its reason in our own expected file."""
    done = lastmetre(
        "conformance", "transform", "--templates", str(DUIS / "templates"), "--messages", str(RTDS),
        "--expected", str(REPOSITORY / "docs" / "transform-expected.toml"), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    counts = json.loads(done.stdout)["counts"]
    assert counts["equal"] >= 200


def test_the_pre_command_of_our_own_world_is_one() -> None:
    """What the tests above compare with is a Pre-Command."""
    assert parse_message(pre_command_of(own.header("ECS44", 9), own.supply_script(9, 54))).signature is None


@needs_duis
def test_the_official_schema_is_asked_where_the_user_has_it(request_file: Path, tmp_path: Path) -> None:
    """``--schema DIR`` refuses what the schema does not take, for ``transform`` and ``correlate`` alike."""
    bad = tmp_path / "bad.xml"
    bad.write_bytes(request_file.read_bytes().replace(b"ArmSupply", b"ArmElephant"))
    for arguments in (("transform",), ("correlate", "DF")):
        command, *rest = arguments
        refused = lastmetre(command, str(bad), *rest, "--schema", str(DUIS))
        assert refused.returncode == 2
        assert "not valid by the schema" in refused.stderr
        assert "ArmElephant" in refused.stderr
    good = lastmetre("transform", str(request_file), "--device-type", "ESME", "--schema", str(DUIS))
    assert good.returncode == 0, good.stderr
    nothing = lastmetre("transform", str(request_file), "--schema", str(tmp_path))
    assert (nothing.returncode, "DUIS*.xsd" in nothing.stderr) == (2, True)
