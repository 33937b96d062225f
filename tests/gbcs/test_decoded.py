"""Whole messages as values: decode and encode."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lastmetre.gbcs
from lastmetre.gbcs import DecodedMessage, decode, encode
from lastmetre.gbcs.asn1 import Asn1, JoinResponse, Unjoin
from lastmetre.gbcs.axdr import NullData
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, Action, ItemResult
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.gbz import AlertNumber, AlertOctets, GbzAlert
from lastmetre.gbcs.message import MESSAGE_SIZE_MAX, Kind, parse_message
from tests import own_world as own
from tests.gbcs.message_strategies import messages
from tests.shared_data import needs_rtds, rtds_messages

ARM = own.arm(9)


def test_a_message_is_header_payload_signature_and_mac() -> None:
    """One frozen value, compared by value, with the payload typed."""
    message = decode(ARM)
    assert message == decode(bytes(ARM))
    assert message.kind is Kind.COMMAND
    assert message.header.originator_counter == 9
    assert isinstance(message.payload, AccessRequest)
    assert isinstance(message.payload.items[0][0], Action)
    assert message.mac == ARM[-12:]
    assert encode(message) == ARM
    with pytest.raises(FrozenInstanceError):
        message.mac = b""  # type: ignore[misc]


@settings(max_examples=250)
@given(messages())
def test_any_message_survives(message: DecodedMessage) -> None:
    """Round trip of every header form around every payload form."""
    assert decode(encode(message)) == message


@settings(max_examples=250)
@given(messages(), st.data())
def test_damaged_messages_are_messages_or_decode_errors(message: DecodedMessage, data: st.DataObject) -> None:
    """Structure-aware fuzz: no other exception, and an offset inside the message."""
    octets = encode(message)
    place = data.draw(st.integers(0, len(octets)))
    damaged = octets[:place] + data.draw(st.binary(max_size=3)) + octets[place + data.draw(st.integers(0, 3)) :]
    try:
        again = decode(damaged)
    except GbcsDecodeError as error:
        refusal = error
    else:
        assert encode(again) == damaged
        return
    assert 0 <= refusal.offset <= len(damaged)
    assert refusal.field
    assert refusal.reason


def test_an_error_in_the_content_is_placed_in_the_message() -> None:
    """The offset counts from the message's first octet, behind a MAC header or without one."""
    signed_and_sealed, sealed = own.arm(9), own.read_balance(3)
    pre_command = encode(replace(decode(signed_and_sealed), signature=None, mac=None))
    for data, behind in ((signed_and_sealed, 12 + 65), (sealed, 12 + 1), (pre_command, 0)):
        start = len(data) - behind - len(parse_message(data).content)
        damaged = data[:start] + b"\xd8" + data[start + 1 :]
        with pytest.raises(GbcsDecodeError) as refused:
            decode(damaged)
        assert (refused.value.field, refused.value.offset) == ("content", start)


def test_a_payload_under_a_header_it_does_not_belong_to_is_refused() -> None:
    """``encode`` writes nothing that would be read as something else."""
    command = decode(ARM)
    response = AccessResponse(9, (ItemResult(3, NullData(), 0),))
    strays = (
        replace(command, payload=response),
        replace(command, payload=Asn1(Unjoin(bytes(8)))),
        replace(command, payload=Asn1(JoinResponse(0), ((0, 2),))),
        replace(command, payload=GbzAlert(0x8F66, 0, AlertNumber(1))),
        replace(command, payload=GbzAlert(0x8F66, 0, AlertOctets(bytes(MESSAGE_SIZE_MAX)))),
        replace(command, signature=None),
    )
    for stray in strays:
        with pytest.raises(GbcsValueError):
            encode(stray)


def test_importing_the_package_imports_next_to_nothing() -> None:
    """The five names come when they are used; unknown ones are attribute errors."""
    code = (
        "import sys, lastmetre.gbcs as g; assert 'lastmetre.gbcs.axdr' not in sys.modules; "
        "g.decode; assert 'cryptography' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert {"decode", "encode", "to_json", "from_json", "DecodedMessage"} == set(lastmetre.gbcs.__all__)
    with pytest.raises(AttributeError, match="no attribute 'dekode'"):
        lastmetre.gbcs.dekode  # noqa: B018 - the asking is the test


@needs_rtds
def test_every_published_message_is_read_and_written_back() -> None:
    """The whole data set, Pre-Commands and longer DER lengths included."""
    published = rtds_messages()
    kinds = set()
    for name, octets in published.items():
        message = decode(octets)
        kinds.add(message.kind)
        assert encode(message) == octets, name
    assert kinds == set(Kind)
