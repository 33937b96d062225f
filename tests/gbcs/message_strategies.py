"""Hypothesis strategies for whole messages: a header of any form around any payload that goes with it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from lastmetre.gbcs.decoded import DecodedMessage
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from tests.gbcs.payload_strategies import coded_payloads

_IDS = st.binary(min_size=8, max_size=8)
_COUNTERS = st.integers(0, (1 << 64) - 1)


@st.composite
def other_informations(draw: st.DrawFn, message_code: int) -> OtherInformation:
    """Each of the five forms of section 3.4."""
    members: tuple[Any, ...] = ()
    form = draw(st.integers(0, 4))
    if form > 0:
        members = (draw(_IDS),)
    if form > 1:
        members += (draw(_COUNTERS),)
    if form == 3:
        members += (draw(_COUNTERS),)
    if form == 4:
        # Shorter than nine octets it could not be told from a counter; the standard's has over 400.
        members += (None, b"\x30" + draw(st.binary(min_size=8, max_size=40)))
    return OtherInformation(message_code, *members)


@st.composite
def messages(draw: st.DrawFn) -> DecodedMessage:
    """Pre-Commands, Commands, Responses and Alerts with every kind of payload, signature and MAC."""
    code, cra, payload = draw(coded_payloads())
    header = GroupingHeader(
        Cra(cra),
        draw(_COUNTERS),
        draw(_IDS),
        draw(_IDS),
        draw(other_informations(code)),
        draw(st.sampled_from([b"", bytes(12)]) | st.binary(min_size=12, max_size=12)),
    )
    mac = draw(st.none() | st.binary(min_size=12, max_size=12))
    signature = draw(st.just(b"") | st.binary(min_size=64, max_size=64))
    if cra == Cra.COMMAND and draw(st.booleans()):
        return DecodedMessage(header, payload, None, None)
    return DecodedMessage(header, payload, signature, mac)
