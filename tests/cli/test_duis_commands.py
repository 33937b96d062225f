"""transform, correlate, duis new|sign|verify and conformance transform, as a user runs them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lastmetre.cli.bench_duis import measure_duis
from lastmetre.cli.duis_commands import (
    GivenFacts,
    run_conformance_transform,
    run_correlate,
    run_duis_new,
    run_duis_sign,
    run_duis_verify,
    run_transform,
)
from lastmetre.cli.problems import ProblemError
from lastmetre.duis import compose
from lastmetre.duis.documents import PreCommand, answer, build_request, build_response
from lastmetre.duis.transform import DeviceFacts, transform
from tests.duis.pairs import EXPECTED_FILE
from tests.duis.support import METER, SUPPLIER, published_signer
from tests.shared_data import DUIS, RTDS, needs_duis, needs_rtds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOTHING_GIVEN = GivenFacts()
DEBTS = compose.set_prepayment_mode(
    SUPPLIER, METER, 1003, disablement_threshold=-2000, suspend_debt_disabled=True, suspend_debt_emergency=False
)
ESME = DeviceFacts("ESME", known_remote_parties=frozenset({SUPPLIER}))


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A request for the Transform service."""
    path = tmp_path / "request.xml"
    path.write_bytes(build_request(DEBTS))
    return path


@needs_duis
@needs_rtds
def test_published_pairs_conform(capsys: pytest.CaptureFixture[str]) -> None:
    """Every published pair is equal or on our list; the table and its JSON form say the same."""
    assert run_conformance_transform(DUIS / "templates", RTDS, EXPECTED_FILE, as_json=False) == 0
    text = capsys.readouterr().out
    assert text.endswith("0 differences not expected\n")
    assert run_conformance_transform(DUIS / "templates", RTDS, EXPECTED_FILE, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["different"] == sum(row["outcome"] == "different" for row in told["stems"])
    assert all(row["expected"] and row["difference"] for row in told["stems"] if row["outcome"] == "different")
    assert f"{told['counts']['equal']} equal" in text


@needs_duis
@needs_rtds
def test_a_difference_that_is_not_listed_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the list the same run fails, and the first difference of each pair is named with both values."""
    assert run_conformance_transform(DUIS / "templates", RTDS, None, as_json=False) == 1
    shown = capsys.readouterr().out
    assert "restriction date: the message has 2016-11-22T02:46:56Z, ours 2015-02-01T00:00:00Z" in shown
    assert "expected: NO" in shown
    bad = tmp_path / "expected.toml"
    bad.write_text('[expected]\n"stem" = ""\n')
    with pytest.raises(ProblemError, match="reason"):
        run_conformance_transform(DUIS / "templates", RTDS, bad, as_json=False)


def test_a_pair_of_our_own_conforms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The runner knows no published name: any pair of files is judged, and a changed one is told."""
    templates, messages = tmp_path / "templates", tmp_path / "messages"
    templates.mkdir()
    messages.mkdir()
    (templates / "mine_REQUEST_DUIS.XML").write_bytes(build_request(DEBTS))
    (templates / "alone_REQUEST_DUIS.XML").write_bytes(build_request(DEBTS))
    message = transform(DEBTS, ESME).message
    (messages / "mine_PRECOMMAND_GBCS.HEX").write_text(message.hex())
    assert run_conformance_transform(templates, messages, None, as_json=False) == 0
    assert "1 equal, 0 different, 1 without a partner" in capsys.readouterr().out
    other = transform(replace(DEBTS, body=DEBTS.body), replace(ESME, twin=True)).message
    (messages / "mine_PRECOMMAND_GBCS.HEX").write_text(other.hex())
    assert run_conformance_transform(templates, messages, None, as_json=False) == 0
    assert "taken from the message: second element" in capsys.readouterr().out
    wrong = message.replace((-2000).to_bytes(4, "big", signed=True), (-200).to_bytes(4, "big", signed=True))
    (messages / "mine_PRECOMMAND_GBCS.HEX").write_text(wrong.hex())
    assert run_conformance_transform(templates, messages, None, as_json=False) == 1
    assert "disablement threshold: the message has -200, ours -2000" in capsys.readouterr().out


def test_transform_prints_message_and_values(request_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message stands on a line of its own, its values before it; JSON holds the same; a type must be said."""
    given = GivenFacts(device_type="ESME")
    assert run_transform(request_file, given, as_json=False) == 0
    *lines, message = capsys.readouterr().out.splitlines()
    assert bytes.fromhex(message) == transform(DEBTS, ESME).message
    assert "  disablement threshold: -2000" in lines
    assert run_transform(request_file, given, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["message"] == message
    with pytest.raises(ProblemError, match="ESME, GSME"):
        run_transform(request_file, NOTHING_GIVEN, as_json=False)


@pytest.mark.parametrize("as_response", [False, True])
def test_correlate_agrees_and_differs(
    request_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, as_response: bool
) -> None:
    """A Pre-Command as hex or in the DSP's response agrees; a changed threshold is one sentence and status 1."""
    right = transform(DEBTS, replace(ESME, twin=True)).message
    wrong = right.replace((-2000).to_bytes(4, "big", signed=True), (-200).to_bytes(4, "big", signed=True))
    for octets, status, sentence in (
        (right, 0, "says what was asked"),
        (wrong, 1, "sets the disablement threshold to -200; you asked for -2000"),
    ):
        argument = octets.hex()
        if as_response:
            path = tmp_path / f"{status}.xml"
            path.write_bytes(build_response(answer(DEBTS, "I0", 0, PreCommand("4.3", octets))))
            argument = str(path)
        assert run_correlate(request_file, argument, NOTHING_GIVEN, as_json=False) == status
        shown = capsys.readouterr().out
        assert sentence in shown
        assert "taken for granted: it is a twin element meter" in shown
        assert run_correlate(request_file, argument, GivenFacts(twin=True), as_json=True) == status
        assert json.loads(capsys.readouterr().out)["agreed"] is (status == 0)
    assert run_correlate(request_file, right.hex(), GivenFacts(twin=False), as_json=False) == 1


def test_skeletons_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A skeleton of any request with the given identifiers; a service that there is not is said."""
    assert run_duis_new("2.3", originator=SUPPLIER.hex(), target="00-DB-12-34-56-78-90-A0", counter=9) == 0
    assert "90-B3-D5-1F-30-01-00-00:00-DB-12-34-56-78-90-A0:9" in capsys.readouterr().out
    with pytest.raises(ProblemError, match=r"9\.9"):
        run_duis_new("9.9")


@needs_duis
def test_signed_documents_verify(request_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is signed verifies and is valid by the official schema; changed, unsigned or by a stranger it does not."""
    certificates = DUIS / "signing-certificates"
    name = "dsp-xml-sign-90B3D51F30000002-ds"
    key, signed = tmp_path / "key.pem", tmp_path / "signed.xml"
    private_key = published_signer(name).private_key
    key.write_bytes(private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    certificate = certificates / f"{name}.pem"
    assert run_duis_sign(request_file, key=key, certificate=certificate, out=signed, password=None) == 0
    assert run_duis_verify(signed, certificates=certificates, as_json=False, schema=DUIS) == 0
    assert "verified: signed by 90-B3-D5-1F-30-00-00-02" in capsys.readouterr().out
    changed = tmp_path / "changed.xml"
    changed.write_bytes(signed.read_bytes().replace(b"-2000", b"-3000"))
    for path, reason in ((changed, "changed after it was signed"), (request_file, "no signature")):
        assert run_duis_verify(path, certificates=certificates, as_json=True) == 1
        assert reason in json.loads(capsys.readouterr().out)["reason"]
    (tmp_path / "empty").mkdir()
    assert run_duis_verify(signed, certificates=tmp_path / "empty", as_json=False) == 1
    other = tmp_path / "other.pem"
    stranger = ec.derive_private_key(7, ec.SECP256R1())
    other.write_bytes(stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    other.chmod(0o600)
    with pytest.raises(ProblemError, match="is not the key of"):
        run_duis_sign(request_file, key=other, certificate=certificate, out=None, password=None)


def test_what_makes_no_sense_is_told_and_never_a_traceback(request_file: Path, tmp_path: Path) -> None:
    """Files that are no documents, versions and times that are none: each command says what is wrong."""
    junk, empty = tmp_path / "junk.xml", tmp_path / "empty.xml"
    junk.write_text("junk")
    empty.write_text("")
    esme = GivenFacts(device_type="ESME")
    cases: tuple[tuple[str, Callable[[], int]], ...] = (
        ("no DUIS request", lambda: run_transform(junk, esme, as_json=False)),
        ("no DUIS request", lambda: run_transform(empty, esme, as_json=True)),
        ("cannot read", lambda: run_transform(tmp_path, esme, as_json=False)),
        ("no GBCS version", lambda: run_transform(request_file, replace(esme, gbcs_version="x.y"), as_json=False)),
        ("no use case", lambda: run_transform(request_file, GivenFacts(device_type="ELEPHANT"), as_json=False)),
        ("no entity identifier", lambda: run_transform(request_file, replace(esme, broker="zz"), as_json=False)),
        ("no DUIS response", lambda: run_correlate(request_file, str(junk), esme, as_json=False)),
        ("neither a file nor", lambda: run_correlate(request_file, "zz", esme, as_json=False)),
        ("not a date", lambda: run_correlate(request_file, "DF", esme, as_json=False, issued_from="yesterday")),
        ("no certificate", lambda: run_duis_sign(request_file, key=junk, certificate=junk, out=None, password=None)),
        ("64 bits", lambda: run_duis_new("7.3", counter=2**64)),
        ("no Elephant", lambda: run_duis_new("7.3", choose=("Elephant",))),
        ("no XML file", lambda: run_conformance_transform(request_file.parent / "none", tmp_path, None, as_json=False)),
    )
    (request_file.parent / "none").mkdir()
    for words, attempt in cases:
        with pytest.raises(ProblemError, match=words):
            attempt()
    assert run_duis_verify(junk, certificates=tmp_path / "none", as_json=False) == 1


def test_the_bench_measures_every_ratio() -> None:
    """Each ratio of the table is there, measured on documents of our own, and far from absurd."""
    ratios = measure_duis()
    assert [ratio.limit for ratio in ratios] == [4.0, 4.0, 1.5, 1.5, 1.5, 5.0]
    assert all(0.1 < ratio.times < 10 * ratio.limit for ratio in ratios)
