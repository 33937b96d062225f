"""The three ways of writing times, against Unix seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs import datetimes
from lastmetre.gbcs.datetimes import CosemDateTime
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError

NEW_YEAR_2015_AT = 1_420_070_400


def test_the_worked_times_of_the_reference() -> None:
    """Sections 3.5 and 7.4: 2015-01-01 in two forms, now, never."""
    raw = bytes.fromhex("07DF0101FF 00000000 8000 FF")
    assert CosemDateTime.from_bytes(raw).unix_seconds() == NEW_YEAR_2015_AT
    assert datetimes.date_time_from_unix(NEW_YEAR_2015_AT) == raw
    assert datetimes.unix_from_zigbee(0x1C374A80) == NEW_YEAR_2015_AT
    assert datetimes.unix_from_generalized("20150101000000Z") == NEW_YEAR_2015_AT
    assert bytes.fromhex("0000000000 00000000 8000 FF") == datetimes.DATE_TIME_NOW
    assert bytes.fromhex("FFFFFFFFFF FFFFFFFF 8000 FF") == datetimes.DATE_TIME_NEVER


def test_date_times_in_words() -> None:
    """Now, never, a moment, wildcards."""
    words = {
        datetimes.DATE_TIME_NOW: "now",
        datetimes.DATE_TIME_NEVER: "never",
        bytes.fromhex("07DF0101FF000000008000FF"): "2015-01-01T00:00:00Z",
        bytes.fromhex("FFFF0419FF0930FF008000FF"): "*-04-25T09:48:*Z",
    }
    for raw, text in words.items():
        assert str(CosemDateTime.from_bytes(raw)) == text


def test_a_deviation_is_minutes_to_utc() -> None:
    """COSEM: UTC is local time plus deviation; British Summer Time has -60."""
    summer = CosemDateTime(2015, 1, 1, 0xFF, 1, 0, 0, deviation_minutes=-60)
    assert summer.unix_seconds() == NEW_YEAR_2015_AT
    assert str(summer) == "2015-01-01T01:00:00 +60 min"


@given(st.integers(0, 253_402_300_799))
def test_moments_survive_each_form(at: int) -> None:
    """Unix seconds there and back; Zigbee's as far as it reaches."""
    assert CosemDateTime.from_bytes(datetimes.date_time_from_unix(at)).unix_seconds() == at
    assert datetimes.unix_from_generalized(datetimes.generalized_from_unix(at)) == at
    try:
        assert datetimes.unix_from_zigbee(datetimes.zigbee_from_unix(at)) == at
    except GbcsValueError:
        assert not datetimes.ZIGBEE_EPOCH_AT <= at < datetimes.ZIGBEE_EPOCH_AT + 0xFFFF_FFFE


@given(st.binary(min_size=12, max_size=12))
def test_any_twelve_octets_are_some_date_time(raw: bytes) -> None:
    """They are kept exactly, and asking for the moment or the words never fails."""
    moment = CosemDateTime.from_bytes(raw)
    assert moment.to_bytes() == raw
    assert str(moment)
    moment.unix_seconds()


@pytest.mark.parametrize("text", ["", "20150101000000", "20150230000000Z", "2015010100000aZ", "00000101000000Z"])
def test_what_is_no_generalized_time_is_refused(text: str) -> None:
    """Form and existence."""
    with pytest.raises(GbcsDecodeError):
        datetimes.unix_from_generalized(text)


def test_what_no_form_can_say_is_refused() -> None:
    """Other sizes, moments beyond reach, fields beyond their octets."""
    with pytest.raises(GbcsDecodeError):
        CosemDateTime.from_bytes(bytes(11))
    with pytest.raises(GbcsValueError):
        CosemDateTime(70_000, 1, 1, 1, 0, 0, 0).to_bytes()
    for at in (1 << 60, -(1 << 60)):
        with pytest.raises(GbcsValueError):
            datetimes.date_time_from_unix(at)
        with pytest.raises(GbcsValueError):
            datetimes.generalized_from_unix(at)
        with pytest.raises(GbcsValueError):
            datetimes.zigbee_from_unix(at)
