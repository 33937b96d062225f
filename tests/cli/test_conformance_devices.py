"""The emulated devices beside the published messages: the whole set in place, and what the tool must not overlook."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.cli.conformance_devices import (
    DIFFERENT,
    EQUAL,
    WITHOUT,
    Verdict,
    check_devices,
    read_messages,
    run_conformance_devices,
)
from lastmetre.cli.keyrings import Keys
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.axdr import NullData
from lastmetre.gbcs.dlms import AccessResponse
from lastmetre.gbcs.gbz import Gbz
from lastmetre.gbcs.zcl import AttributeRecord, ReadAttributesResponse
from tests.shared_data import RTDS, RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_rtds


def keys() -> Keys:
    """The published keys."""
    return Keys(certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS, passphrase_file=None)


@pytest.fixture(scope="module")
def verdicts() -> tuple[Verdict, ...]:
    """One run over the whole set."""
    return check_devices(read_messages(RTDS), keys())


WHY_NOT = {
    "CS02bAnyByContingency_NA_ERROR_RESPONSE_GBCS": "its Command is not published",
    "CS02bAnyByContingency_NA_SUCCESS_RESPONSE_GBCS": "its Command is not published",
    "CS03CNonCritical_8.7.2_SUCCESS_COMMAND_GBCS": "the certificate of another",
    "PCS01_NA_SUCCESS_COMMAND_GBCS": "private key is not published",
    "PCS02_NA_SUCCESS_COMMAND_GBCS": "private key is not published",
}


def test_every_published_command_is_answered_as_published(verdicts: tuple[Verdict, ...]) -> None:
    """No difference at all; without are five, each with its reason."""
    assert [verdict for verdict in verdicts if verdict.outcome == DIFFERENT] == []
    without = {verdict.stem: verdict.difference for verdict in verdicts if verdict.outcome == WITHOUT}
    assert set(without) == set(WHY_NOT)
    assert all(words in without[stem] for stem, words in WHY_NOT.items())


def test_every_kind_of_device_answers(verdicts: tuple[Verdict, ...]) -> None:
    """All seven kinds are in the set, each found by the Commands to it; so many of each are equal at least."""
    equal = Counter(verdict.kind for verdict in verdicts if verdict.outcome == EQUAL)
    least = {"ESME": 289, "GSME": 129, "CHF": 32, "GPF": 14, "PPMID": 4, "HCALCS": 2, "SAPC": 8}
    assert all(equal[kind] >= number for kind, number in least.items()), equal


def test_a_changed_gas_answer_is_told() -> None:
    """A part of a gas Response with another status is a difference with its place."""
    messages = read_messages(RTDS / "6.2.7_GCS46")
    stem = "GCS46_6.2.7_SUCCESS_RESPONSE_GBCS"
    payload = next(each.payload for each in messages if each.stem == stem)
    assert isinstance(payload, Gbz)
    (part,) = payload.components
    changed = Gbz((replace(part, body=ReadAttributesResponse((AttributeRecord(0x0307, 0, 0x42, b"text"),))),))
    altered = tuple(replace(each, payload=changed) if each.stem == stem else each for each in messages)
    (found,) = [verdict for verdict in check_devices(altered, keys()) if "SUCCESS" in verdict.stem]
    assert found.outcome == DIFFERENT
    assert "part (cluster, sequence) (1794, 0)" in found.difference


def test_only_reported_failures_are_injected(verdicts: tuple[Verdict, ...]) -> None:
    """Nothing is injected into an answer that reports success; what a meter finds by itself needs no help."""
    assert all("ERROR" in verdict.stem for verdict in verdicts if verdict.injected)
    unaided = {verdict.stem for verdict in verdicts if "ERROR" in verdict.stem and not verdict.injected}
    assert "CS04ACCritical_8.8.1_ERROR_COMMAND_GBCS" in unaided


def test_an_answer_that_is_not_like_the_published_one_is_told() -> None:
    """A published Response changed by hand, in a code or in a type, is a difference with its place."""
    messages = read_messages(RTDS / "6.2.2_ECS26c")
    stem = "ECS26c_6.2.2_SUCCESS_RESPONSE_GBCS"
    payload = next(each.payload for each in messages if each.stem == stem)
    assert isinstance(payload, AccessResponse)
    first, second, *rest = payload.results
    for results, words in (
        ((replace(first, kind=2), second, *rest), "results (kind, code)"),
        ((first, replace(second, data=first_of_another_kind()), *rest), "item 2"),
    ):
        changed = tuple(
            replace(each, payload=AccessResponse(payload.invoke_id, results)) if each.stem == stem else each
            for each in messages
        )
        (found,) = [verdict for verdict in check_devices(changed, keys()) if "SUCCESS" in verdict.stem]
        assert found.outcome == DIFFERENT
        assert words in found.difference


def first_of_another_kind() -> NullData:
    """A value of a type that ECS26c never answers with."""
    return NullData()


def test_the_tool_prints_a_line_for_each_answer_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    """In words and as JSON; 0 when nothing differs."""
    directory = RTDS / "4.18_ECS82"
    assert run_conformance_devices(directory, certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS) == 0
    assert "0 different" in capsys.readouterr().out
    assert run_conformance_devices(directory, certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"equal": len(told["messages"])}


def test_a_directory_without_messages_is_a_problem(tmp_path: Path) -> None:
    """Nothing to compare is not success."""
    with pytest.raises(ProblemError, match="no HEX file"):
        run_conformance_devices(tmp_path, certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS)
