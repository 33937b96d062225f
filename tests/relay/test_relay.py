"""Envelopes, receipts and topics: what goes out comes back, and nothing else comes in."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.relay import (
    Envelope,
    Receipt,
    ReceiptKind,
    RelayDecodeError,
    RelayValueError,
    agent_of_receipt_topic,
    command_topic,
    decode_envelope,
    decode_receipt,
    encode_envelope,
    encode_receipt,
    make_envelope,
    receipt_topic,
)
from lastmetre.relay.limits import (
    COMMAND_OCTETS_MAX,
    ENVELOPE_OCTETS_MAX,
    MESSAGE_OCTETS_MAX,
    ORDER_ID_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    RECEIPT_OCTETS_MAX,
    TIME_MAX,
)

HUB = bytes.fromhex("00005eef100000a2")
ESME = bytes.fromhex("00005eef100000a0")
SAMPLE = make_envelope("order-1", HUB, ESME, 1_800_000_000, b"\xddcommand")
TAKEN = Receipt("order-1", ReceiptKind.TAKEN, 1_800_000_000, SAMPLE.digest)
ANSWERED = Receipt("order-1", ReceiptKind.RESPONSE, 1_800_000_009, SAMPLE.digest, b"\xddresponse")
REFUSED = Receipt("order-1", ReceiptKind.REFUSED, 1_800_000_009, SAMPLE.digest, None, "another_hub")

order_ids = st.from_regex(rf"[A-Za-z0-9._:-]{{1,{ORDER_ID_CHARACTERS_MAX}}}", fullmatch=True)
entity_ids = st.binary(min_size=8, max_size=8)
times = st.integers(0, TIME_MAX)
envelopes = st.builds(make_envelope, order_ids, entity_ids, entity_ids, times, st.binary(min_size=1, max_size=600))
reasons = st.from_regex(rf"[a-z0-9_]{{1,{REASON_CHARACTERS_MAX}}}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32)
receipts = st.one_of(
    st.builds(Receipt, order_ids, st.sampled_from([ReceiptKind.TAKEN, ReceiptKind.TAKEN_BY_TUNNEL]), times, digests),
    st.builds(Receipt, order_ids, st.just(ReceiptKind.RESPONSE), times, digests, st.binary(min_size=1, max_size=600)),
    st.builds(
        Receipt,
        order_ids,
        st.sampled_from([ReceiptKind.EXPIRED, ReceiptKind.REFUSED]),
        times,
        digests,
        st.none(),
        reasons,
    ),
)


@given(envelopes)
def test_an_envelope_comes_back_as_it_went(envelope: Envelope) -> None:
    """Decoding what was encoded gives the same value."""
    assert decode_envelope(encode_envelope(envelope)) == envelope


@given(receipts)
def test_a_receipt_comes_back_as_it_went(receipt: Receipt) -> None:
    """Decoding what was encoded gives the same value."""
    assert decode_receipt(encode_receipt(receipt)) == receipt


def test_the_forms_are_the_documented_ones() -> None:
    """The exact bytes of one envelope and one receipt: a second implementation can start from these."""
    digest = hashlib.sha256(b"\xddcommand").hexdigest()
    assert encode_envelope(SAMPLE) == (
        b'{"version":0,"order_id":"order-1","hub_id":"00005eef100000a2","target_id":"00005eef100000a0",'
        b'"expires_at":1800000000,"digest":"%s","command":"3WNvbW1hbmQ="}' % digest.encode()
    )
    assert encode_receipt(REFUSED) == (
        b'{"version":0,"order_id":"order-1","kind":"refused","at":1800000009,"digest":"%s","message":null,'
        b'"reason":"another_hub"}' % digest.encode()
    )


@given(envelopes, st.data())
def test_no_changed_envelope_decodes_to_another_command(envelope: Envelope, data: st.DataObject) -> None:
    """T30 in part: one changed octet either fails, or leaves the Command and its digest as they were."""
    encoded = bytearray(encode_envelope(envelope))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255).filter(lambda octet: octet != encoded[at]))
    try:
        changed = decode_envelope(bytes(encoded))
    except RelayDecodeError:
        return
    assert (changed.command, changed.digest) == (envelope.command, envelope.digest)
    assert changed != envelope


@given(st.binary(max_size=300))
def test_noise_is_only_ever_a_decode_error(data: bytes) -> None:
    """Whatever the bytes, either they decode or ``RelayDecodeError`` is raised."""
    for decode in (decode_envelope, decode_receipt):
        with pytest.raises(RelayDecodeError):
            decode(data)


@pytest.mark.parametrize("cut", range(len(encode_envelope(SAMPLE))))
def test_a_cut_envelope_is_refused(cut: int) -> None:
    """An envelope cut at any length does not decode."""
    with pytest.raises(RelayDecodeError):
        decode_envelope(encode_envelope(SAMPLE)[:cut])


def _changed(**changes: object) -> bytes:
    value = json.loads(encode_envelope(SAMPLE))
    value.update(changes)
    return json.dumps({k: v for k, v in value.items() if v != "drop"}, separators=(",", ":")).encode()


OTHER_DIGEST = hashlib.sha256(b"other").hexdigest()
SPACED = json.dumps(json.loads(encode_envelope(SAMPLE))).encode()
REORDERED = json.dumps(dict(reversed(json.loads(encode_envelope(SAMPLE)).items())), separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        (b"", "envelope", "not_json"),
        (b"[" * 12_000, "envelope", "not_json"),
        (b"1" * 12_000, "envelope", "not_json"),
        (b" " * (ENVELOPE_OCTETS_MAX + 1), "envelope", "too_long"),
        (b"[]", "envelope", "not_an_object"),
        (b"null", "envelope", "not_an_object"),
        (_changed(version=1), "version", "unknown_version"),
        (_changed(version="0"), "version", "unknown_version"),
        (_changed(version=False), "version", "unknown_version"),
        (_changed(version=0.0), "version", "unknown_version"),
        (_changed(version="drop"), "version", "unknown_version"),
        (_changed(expires_at="drop"), "expires_at", "missing"),
        (_changed(permit=""), "envelope", "unknown_field"),
        (_changed(order_id=7), "order_id", "not_text"),
        (_changed(order_id=""), "order_id", "not_an_order_id"),
        (_changed(order_id="x" * 65), "order_id", "not_an_order_id"),
        (_changed(order_id="a b"), "order_id", "not_an_order_id"),
        (_changed(order_id="a\n"), "order_id", "not_an_order_id"),
        (_changed(order_id="\ud800"), "order_id", "not_an_order_id"),
        (_changed(hub_id=HUB.hex().upper()), "hub_id", "not_lower_case_hex"),
        (_changed(hub_id=HUB.hex()[:-1]), "hub_id", "not_lower_case_hex"),
        (_changed(target_id=ESME.hex() + "00"), "target_id", "not_lower_case_hex"),
        (_changed(expires_at=1.0), "expires_at", "not_a_whole_number"),
        (_changed(expires_at=True), "expires_at", "not_a_whole_number"),
        (_changed(expires_at=-1), "expires_at", "out_of_range"),
        (_changed(expires_at=TIME_MAX + 1), "expires_at", "out_of_range"),
        (_changed(digest=OTHER_DIGEST), "digest", "not_of_this_command"),
        (_changed(command=base64.b64encode(b"other").decode()), "digest", "not_of_this_command"),
        (_changed(command=""), "command", "empty_or_too_long"),
        (_changed(command="3WNvbW1hbmQ"), "command", "not_base64"),
        (_changed(command="3WNvbW1h\nbmQ="), "command", "not_base64"),
        (_changed(command="3WNvbW1hbmR="), "envelope", "not_canonical"),
        (encode_envelope(SAMPLE) + b" ", "envelope", "not_canonical"),
        (encode_envelope(SAMPLE) + encode_envelope(SAMPLE), "envelope", "not_json"),
        (encode_envelope(SAMPLE).replace(b"{", b'{"version":0,', 1), "envelope", "not_json"),
        (encode_envelope(SAMPLE).replace(b"order-1", b"order\\u002d1"), "envelope", "not_canonical"),
        (b"\xef\xbb\xbf" + encode_envelope(SAMPLE), "envelope", "not_json"),
        (encode_envelope(SAMPLE).replace(b"1800000000", b"NaN"), "envelope", "not_json"),
        (SPACED, "envelope", "not_canonical"),
        (REORDERED, "envelope", "not_canonical"),
    ],
)
def test_each_mistake_is_named(data: bytes, field: str, reason: str) -> None:
    """A bad envelope says which field is wrong and why, in tokens."""
    with pytest.raises(RelayDecodeError) as refused:
        decode_envelope(data)
    assert (refused.value.field, refused.value.reason) == (field, reason)


def test_a_refusal_can_be_addressed() -> None:
    """When order id and digest can be read, the error carries them, so that the agent can answer REFUSED."""
    with pytest.raises(RelayDecodeError) as refused:
        decode_envelope(_changed(digest=OTHER_DIGEST))
    assert (refused.value.order_id, refused.value.digest) == ("order-1", bytes.fromhex(OTHER_DIGEST))
    with pytest.raises(RelayDecodeError) as refused:
        decode_envelope(_changed(digest="zz"))
    assert (refused.value.order_id, refused.value.digest) == ("order-1", None)


def test_the_limits_hold_the_largest_of_everything() -> None:
    """An envelope and a receipt with every field at its bound still fit; one octet more does not."""
    largest = make_envelope("x" * ORDER_ID_CHARACTERS_MAX, HUB, ESME, TIME_MAX, b"\xff" * COMMAND_OCTETS_MAX)
    assert decode_envelope(encode_envelope(largest)) == largest
    assert len(encode_envelope(largest)) <= ENVELOPE_OCTETS_MAX
    receipt = Receipt(
        "x" * ORDER_ID_CHARACTERS_MAX, ReceiptKind.RESPONSE, TIME_MAX, largest.digest, b"\xff" * MESSAGE_OCTETS_MAX
    )
    assert len(encode_receipt(receipt)) <= RECEIPT_OCTETS_MAX
    with pytest.raises(RelayValueError, match="command"):
        encode_envelope(make_envelope("x", HUB, ESME, 0, bytes(COMMAND_OCTETS_MAX + 1)))


@pytest.mark.parametrize(
    "envelope",
    [
        replace(SAMPLE, order_id=""),
        replace(SAMPLE, order_id="x" * 65),
        replace(SAMPLE, hub_id=b""),
        replace(SAMPLE, target_id=bytes(9)),
        replace(SAMPLE, expires_at=-1),
        replace(SAMPLE, command=b""),
        replace(SAMPLE, digest=bytes(32)),
    ],
)
def test_our_own_mistakes_never_leave(envelope: Envelope) -> None:
    """What could not be decoded is not encoded either, and the error is ours."""
    with pytest.raises(RelayValueError):
        encode_envelope(envelope)


@pytest.mark.parametrize(
    "receipt",
    [
        replace(TAKEN, message=b"x"),
        replace(TAKEN, reason="because"),
        replace(ANSWERED, message=None),
        replace(ANSWERED, message=b""),
        replace(ANSWERED, message=bytes(MESSAGE_OCTETS_MAX + 1)),
        replace(REFUSED, reason=None),
        replace(REFUSED, reason="In words."),
        replace(REFUSED, digest=b"short"),
        replace(REFUSED, at=-1),
        replace(REFUSED, order_id="a/b"),
    ],
)
def test_a_receipt_says_only_what_its_kind_can(receipt: Receipt) -> None:
    """A message goes with RESPONSE, a reason with EXPIRED and REFUSED, and neither with anything else."""
    with pytest.raises(RelayValueError):
        encode_receipt(receipt)


def test_unknown_kinds_and_spellings_of_receipts_are_refused() -> None:
    """A kind that claims more than an agent can see does not decode, nor does a second spelling."""
    encoded = encode_receipt(TAKEN)
    for data, field in (
        (encoded.replace(b'"taken"', b'"delivered"'), "kind"),
        (encoded.replace(b'"taken"', b'"TAKEN"'), "kind"),
        (encoded.replace(b'"taken"', b'"response"'), "message"),
        (encoded.replace(b'"version":0', b'"version":2'), "version"),
        (encoded + b"\n", "receipt"),
    ):
        with pytest.raises(RelayDecodeError) as refused:
            decode_receipt(data)
        assert refused.value.field == field


def test_topics_name_one_agent_each() -> None:
    """A topic is a fixed prefix and the agent's identifier; nothing else is taken for one (T28, T29)."""
    agent = bytes.fromhex("00005eef100000a4")
    assert command_topic(agent) == "lastmetre/0/command/00005eef100000a4"
    assert receipt_topic(agent) == "lastmetre/0/receipt/00005eef100000a4"
    assert agent_of_receipt_topic(receipt_topic(agent)) == agent
    for topic in ("lastmetre/0/receipt/+", "lastmetre/0/receipt/#", receipt_topic(agent) + "/x", command_topic(agent)):
        with pytest.raises(RelayDecodeError):
            agent_of_receipt_topic(topic)
    for wrong in (b"", bytes(7), b"+"):
        with pytest.raises(RelayValueError):
            command_topic(wrong)
