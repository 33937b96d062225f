"""``lastmetre bench gbcs``: that it measures what it says, on our own messages and on a corpus. Not how fast we are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lastmetre.cli import bench_gbcs
from lastmetre.cli import unsafe_bench_vectors as own
from lastmetre.cli.bench_gbcs import Row, make_cases, run_bench_gbcs
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs import decode, encode
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.verdicts import Verdict, judge
from lastmetre.links.keystore import key_file_name

SPEED = Path(__file__).resolve().parents[2] / "docs" / "speed.md"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench so short that its figures mean nothing."""
    for name, few in (("REPEATS", 4), ("IMPORT_RUNS", 1), ("DEVICES", 500), ("THREAD_ROUNDS", 1)):
        monkeypatch.setattr(bench_gbcs, name, few)
    monkeypatch.setattr(own, "ROUNDS", 1)


def test_our_own_messages_are_sound_and_of_every_kind() -> None:
    """What is measured is what meters and suppliers send: each message is read, written back and authentic."""
    messages = own.messages()
    assert len(set(messages)) == len(messages)
    kinds: Counter[tuple[str, str]] = Counter()
    for data in messages:
        decoded = decode(data)
        assert encode(decoded) == data
        kinds[decoded.kind.value, type(decoded.payload).__name__] += 1
        judgement = judge(parse_message(data), own.BenchKeyring())
        assert {judgement.mac, judgement.signature} <= {Verdict.VALID, Verdict.ABSENT}
    assert {kind for kind, _payload in kinds} == {"Pre-Command", "Command", "Response", "Alert"}
    payloads = {payload for _kind, payload in kinds}
    assert payloads == {"AccessRequest", "AccessResponse", "DataNotification", "Gbz", "Asn1"}


def test_the_yardstick_does_all_the_cryptography_of_a_message() -> None:
    """A case has one bare operation for each signature and each MAC, and they are the right ones."""
    for case in make_cases(own.messages(), own.BenchKeyring()):
        message = parse_message(case.data)
        assert len(case.primitives) == bool(message.signature) + (message.mac is not None)
        results = [primitive() for primitive in case.primitives]
        if message.mac is not None:
            assert results[-1] == message.mac


@pytest.mark.usefixtures("quick")
def test_every_row_of_the_table_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has each limit of issue 3 once, with a figure that was measured."""
    run_bench_gbcs(corpus=None, certificates=None, keys=None, rounds=3, as_json=True)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    limits = [row["limit"] for row in told["rows"] if row["limit"] is not None]
    assert limits == [0.35, 0.05, 2.0, 1.5, 1.25, 1.3, 1.6, 0.15, 500]
    assert all(row["measured"] > 0 for row in told["rows"])
    assert told["count"] == len(own.messages())


@pytest.mark.usefixtures("quick")
def test_the_table_is_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``--json`` a table names work and limit."""
    run_bench_gbcs(corpus=None, certificates=None, keys=None, rounds=3, as_json=False)
    out = capsys.readouterr().out
    assert "envelope only" in out
    assert "own vectors" in out


@pytest.mark.usefixtures("quick")
def test_a_corpus_is_read_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages of others are measured when named, and checked as far as keys and certificates go."""
    corpus, certificates, keys = tmp_path / "corpus", tmp_path / "certificates", tmp_path / "keys"
    for directory in (corpus, certificates, keys):
        directory.mkdir()
    for number, data in enumerate(own.messages()):
        (corpus / f"{number}.HEX").write_text(data.hex())
    for entity_id in (own.SUPPLIER, own.BROKER, own.ESME):  # not the gas meter's
        for use in (own.DS, own.KA):
            name = key_file_name(entity_id, use)
            pem = x509.load_der_x509_certificate(own.certificate(entity_id, use).der).public_bytes(Encoding.PEM)
            (certificates / name).write_bytes(pem)
            key = own.private_key(entity_id, use)
            (keys / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            (keys / name).chmod(0o600)
    run_bench_gbcs(corpus=corpus, certificates=certificates, keys=keys, rounds=3, as_json=True)
    told = json.loads(capsys.readouterr().out)
    cases = make_cases(own.messages(), own.BenchKeyring())
    assert (told["messages"], told["count"]) == ("corpus", len(cases))
    assert 0 < told["macs"] < sum(case.mac_keys is not None for case in cases)
    assert 0 < told["signatures"] < sum(case.signer is not None for case in cases)


def test_a_corpus_that_is_none_is_refused(tmp_path: Path) -> None:
    """No keys, no files, or files that are no messages: one line says which."""
    with pytest.raises(ProblemError, match="--certificates and --keys"):
        run_bench_gbcs(corpus=tmp_path, certificates=None, keys=None, rounds=3, as_json=True)
    with pytest.raises(ProblemError, match=r"no \.HEX files"):
        bench_gbcs.read_corpus(tmp_path)
    (tmp_path / "one.hex").write_text("00")
    with pytest.raises(ProblemError, match=r"one\.hex is no GBCS message"):
        bench_gbcs.read_corpus(tmp_path)


@pytest.mark.usefixtures("quick")
def test_the_manual_shows_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    """The table in docs/speed.md has the rows and limits that the command prints, whatever their figures."""
    run_bench_gbcs(corpus=None, certificates=None, keys=None, rounds=3, as_json=True)
    table = [line for line in SPEED.read_text().splitlines() if line.startswith("| ")]
    for row in json.loads(capsys.readouterr().out)["rows"]:
        name = f"{row['work']} : {row['yardstick']}" if row["yardstick"] else row["work"]
        (line,) = [line for line in table if line.startswith(f"| {name} |")]
        limit = line.split("|")[4].removeprefix(" at least").strip()
        assert limit == ("" if row["limit"] is None else f"{row['limit']:g}")


def test_a_limit_is_kept_or_not() -> None:
    """At most and at least, by ratio or by the figure itself."""
    assert Row("w", 5, "us", "y", 10, 0.5, 0.5).held is True
    assert Row("w", 5, "us", "y", 10, 0.51, 0.5).held is False
    assert Row("w", 5, "us", "y", 10, 1.7, 1.6, at_least=True).held is True
    assert Row("w", 0.2, "s", limit=0.15).held is False
    assert Row("w", 0.2, "s").held is None
