"""Contents of envelopes and receipts, and topics: what goes out comes back, and nothing else comes in."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.catalogue import use_case_by_name
from lastmetre.relay import (
    CommandClass,
    Envelope,
    Receipt,
    ReceiptKind,
    RelayDecodeError,
    RelayValueError,
    agent_of_receipt_topic,
    class_of,
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
    CONTENT_OCTETS_MAX,
    MESSAGE_OCTETS_MAX,
    ORDER_ID_CHARACTERS_MAX,
    PERMIT_OCTETS,
    TIME_MAX,
)
from lastmetre.relay.receipts import KIND_CODES, REASON_CODES
from lastmetre.relay.topics import agent_of_ready_topic, ready_topic
from tests.relay import second_relay

HUB = bytes.fromhex("00005eef100000a2")
ESME = bytes.fromhex("00005eef100000a0")
SAMPLE = make_envelope("order-1", HUB, ESME, 1_800_000_000, b"\xddcommand")
TAKEN = Receipt("order-1", ReceiptKind.TAKEN, 1_800_000_000, SAMPLE.digest)
ANSWERED = Receipt("order-1", ReceiptKind.RESPONSE, 1_800_000_009, SAMPLE.digest, b"\xddresponse")
REFUSED = Receipt("order-1", ReceiptKind.REFUSED, 1_800_000_009, SAMPLE.digest, None, "another_hub")
EXPIRED = Receipt("order-1", ReceiptKind.EXPIRED, 1_800_000_009, SAMPLE.digest, None, "offered")

order_ids = st.from_regex(rf"[A-Za-z0-9._:-]{{1,{ORDER_ID_CHARACTERS_MAX}}}", fullmatch=True)
entity_ids = st.binary(min_size=8, max_size=8)
times = st.integers(0, TIME_MAX)
envelopes = st.builds(
    make_envelope,
    order_ids,
    entity_ids,
    entity_ids,
    times,
    st.binary(min_size=1, max_size=600),
    command_class=st.sampled_from([one for one in CommandClass if one is not CommandClass.CODE]),
    permit=st.none() | st.binary(min_size=PERMIT_OCTETS, max_size=PERMIT_OCTETS),
    sent_at=times,
)
digests = st.binary(min_size=32, max_size=32)
EXPIRY_REASONS = [reason for reason, code in REASON_CODES.items() if code < 16]
REFUSAL_REASONS = [reason for reason, code in REASON_CODES.items() if code >= 16]


def _with_reasons(kind: ReceiptKind, reasons: list[str]) -> st.SearchStrategy[Receipt]:
    return st.builds(Receipt, order_ids, st.just(kind), times, digests, st.none(), st.sampled_from(reasons))


receipts = st.one_of(
    st.builds(Receipt, order_ids, st.sampled_from([ReceiptKind.TAKEN, ReceiptKind.TAKEN_BY_TUNNEL]), times, digests),
    st.builds(Receipt, order_ids, st.just(ReceiptKind.RESPONSE), times, digests, st.binary(min_size=1, max_size=600)),
    _with_reasons(ReceiptKind.EXPIRED, EXPIRY_REASONS),
    _with_reasons(ReceiptKind.REFUSED, REFUSAL_REASONS),
)


def envelope_fields(envelope: Envelope) -> dict[str, Any]:
    """As a vector's file has them; what is not said is left out."""
    values = {
        "order_id": envelope.order_id,
        "hub_id": envelope.hub_id.hex(),
        "target_id": envelope.target_id.hex(),
        "expires_at": envelope.expires_at,
        "digest": envelope.digest.hex(),
        "command_class": int(envelope.command_class),
        "command": envelope.command.hex(),
        "permit": envelope.permit and envelope.permit.hex(),
        "sent_at": envelope.sent_at,
    }
    return {name: value for name, value in values.items() if value}


def receipt_fields(receipt: Receipt) -> dict[str, Any]:
    """Likewise."""
    values = {
        "order_id": receipt.order_id,
        "kind": KIND_CODES[receipt.kind],
        "at": receipt.at,
        "digest": receipt.digest.hex(),
    }
    if receipt.message is not None:
        values["message"] = receipt.message.hex()
    if receipt.reason is not None:
        values["reason"] = REASON_CODES[receipt.reason]
    return values


@given(envelopes.filter(lambda envelope: envelope.expires_at > 0))
def test_an_envelope_comes_back_as_it_went(envelope: Envelope) -> None:
    """Decoding what was encoded gives the same value; the second implementation writes the same octets."""
    content = encode_envelope(envelope)
    assert decode_envelope(content) == envelope
    assert second_relay.envelope_content(envelope_fields(envelope)) == content


@given(receipts)
def test_a_receipt_comes_back_as_it_went(receipt: Receipt) -> None:
    """Decoding what was encoded gives the same value; the second implementation writes the same octets."""
    content = encode_receipt(receipt)
    assert decode_receipt(content) == receipt
    assert second_relay.receipt_content(receipt_fields(receipt)) == content


def test_the_forms_are_the_documented_ones() -> None:
    """The exact octets of one envelope and one receipt."""
    digest = hashlib.sha256(b"\xddcommand").hexdigest()
    assert encode_envelope(SAMPLE).hex() == (
        "a8"
        "0101"
        "02676f726465722d31"
        "034800005eef100000a2"
        "044800005eef100000a0"
        "051a6b49d200"
        f"065820{digest}"
        "0701"
        "0848dd636f6d6d616e64"
    )
    assert encode_receipt(REFUSED).hex() == f"a6010102676f726465722d310305041a6b49d209055820{digest}0710"


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


DROP = object()


def _changed(changes: dict[Any, object]) -> bytes:
    value = cbor2.loads(encode_envelope(SAMPLE)) | changes
    return cbor2.dumps({key: said for key, said in value.items() if said is not DROP}, canonical=True)


WHOLE = encode_envelope(SAMPLE)
OTHER_DIGEST = hashlib.sha256(b"other").digest()
REVERSED = cbor2.dumps(dict(reversed(cbor2.loads(WHOLE).items())))


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        (b"", "envelope", "not_canonical_cbor"),
        (b"\x81" * 8_000, "envelope", "not_canonical_cbor"),
        (b"\xbf\xff", "envelope", "not_canonical_cbor"),
        (b"\x9b" + b"\xff" * 8, "envelope", "not_canonical_cbor"),
        (bytes(CONTENT_OCTETS_MAX + 1), "envelope", "too_long"),
        (b"\x80", "envelope", "not_a_map"),
        (b"\xf6", "envelope", "not_canonical_cbor"),
        (_changed({1: 2}), "version", "unknown_version"),
        (_changed({1: "1"}), "version", "unknown_version"),
        (_changed({1: DROP}), "version", "unknown_version"),
        (_changed({5: DROP}), "expires_at", "missing"),
        (_changed({11: 1}), "envelope", "unknown_field"),
        (_changed({"x": 1}), "envelope", "unknown_field"),
        (_changed({2: 7}), "order_id", "not_text"),
        (_changed({2: b"order-1"}), "order_id", "not_text"),
        (_changed({2: ""}), "order_id", "not_an_order_id"),
        (_changed({2: "x" * 65}), "order_id", "not_an_order_id"),
        (_changed({2: "a b"}), "order_id", "not_an_order_id"),
        (_changed({2: "a\n"}), "order_id", "not_an_order_id"),
        (WHOLE.replace(b"order-1", b"order-\xff"), "envelope", "not_canonical_cbor"),
        (_changed({3: HUB[:7]}), "hub_id", "not_an_entity_id"),
        (_changed({3: HUB.hex()}), "hub_id", "not_octets"),
        (_changed({4: ESME + b"\x00"}), "target_id", "not_an_entity_id"),
        (_changed({5: 1.0}), "envelope", "not_canonical_cbor"),
        (_changed({5: True}), "envelope", "not_canonical_cbor"),
        (_changed({5: None}), "envelope", "not_canonical_cbor"),
        (_changed({5: "1"}), "expires_at", "not_a_whole_number"),
        (_changed({5: -1}), "expires_at", "out_of_range"),
        (_changed({5: TIME_MAX + 1}), "expires_at", "out_of_range"),
        (_changed({5: 1 << 64}), "envelope", "not_canonical_cbor"),
        (_changed({6: OTHER_DIGEST}), "digest", "not_of_this_command"),
        (_changed({6: OTHER_DIGEST[:31]}), "digest", "not_a_sha_256"),
        (_changed({7: 0}), "command_class", "unknown_class"),
        (_changed({7: 5}), "command_class", "unknown_class"),
        (_changed({7: 4}), "command", "not_twenty_digits"),
        (_changed({8: b"other"}), "digest", "not_of_this_command"),
        (_changed({8: b""}), "command", "empty_or_too_long"),
        (_changed({9: bytes(127)}), "permit", "not_a_permit"),
        (_changed({10: 0}), "sent_at", "out_of_range"),
        (WHOLE + b"\x00", "envelope", "not_canonical_cbor"),
        (WHOLE + WHOLE, "envelope", "not_canonical_cbor"),
        (b"\xa9\x01\x01" + WHOLE[1:], "envelope", "not_canonical_cbor"),
        (WHOLE.replace(b"\x07\x01", b"\x07\x18\x01"), "envelope", "not_canonical_cbor"),
        (b"\xd9\xd9\xf7" + WHOLE, "envelope", "not_canonical_cbor"),
        (REVERSED, "envelope", "not_canonical_cbor"),
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
        decode_envelope(_changed({6: OTHER_DIGEST}))
    assert (refused.value.order_id, refused.value.digest) == ("order-1", OTHER_DIGEST)
    with pytest.raises(RelayDecodeError) as refused:
        decode_envelope(_changed({6: b"zz"}))
    assert (refused.value.order_id, refused.value.digest) == ("order-1", None)


def test_the_limits_hold_the_largest_of_everything() -> None:
    """An envelope and a receipt with every field at its bound still fit; one octet more does not."""
    largest = make_envelope(
        "x" * ORDER_ID_CHARACTERS_MAX,
        HUB,
        ESME,
        TIME_MAX,
        b"\xff" * COMMAND_OCTETS_MAX,
        permit=bytes(PERMIT_OCTETS),
        sent_at=TIME_MAX,
    )
    assert decode_envelope(encode_envelope(largest)) == largest
    receipt = Receipt(
        "x" * ORDER_ID_CHARACTERS_MAX, ReceiptKind.RESPONSE, TIME_MAX, largest.digest, b"\xff" * MESSAGE_OCTETS_MAX
    )
    assert decode_receipt(encode_receipt(receipt)) == receipt
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
        replace(SAMPLE, permit=b""),
        replace(SAMPLE, sent_at=-1),
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
        replace(TAKEN, reason="offered"),
        replace(ANSWERED, message=None),
        replace(ANSWERED, message=b""),
        replace(ANSWERED, message=bytes(MESSAGE_OCTETS_MAX + 1)),
        replace(REFUSED, reason=None),
        replace(REFUSED, reason="in words"),
        replace(REFUSED, reason="offered"),
        replace(EXPIRED, reason="another_hub"),
        replace(REFUSED, digest=b"short"),
        replace(REFUSED, at=-1),
        replace(REFUSED, order_id="a/b"),
    ],
)
def test_a_receipt_says_only_what_its_kind_can(receipt: Receipt) -> None:
    """A message goes with RESPONSE, a reason of its kind with EXPIRED and REFUSED, and neither with anything else."""
    with pytest.raises(RelayValueError):
        encode_receipt(receipt)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({3: 8}, "kind"),
        ({3: 7}, "outcome"),
        ({9: 1}, "outcome"),
        ({3: 7, 9: 4}, "outcome"),
        ({3: 6}, "permit_answer"),
        ({8: bytes(24)}, "permit_answer"),
        ({3: 6, 8: bytes(24)}, "permit_answer"),
        ({3: 0}, "kind"),
        ({3: 3}, "message"),
        ({1: 2}, "version"),
        ({7: 99}, "reason"),
        ({3: 5}, "reason"),
    ],
)
def test_unknown_kinds_and_reasons_are_refused(changes: dict[int, object], field: str) -> None:
    """A kind that claims more than an agent can see does not decode, nor does a reason without its number."""
    data = cbor2.dumps(cbor2.loads(encode_receipt(TAKEN)) | changes, canonical=True)
    with pytest.raises(RelayDecodeError) as refused:
        decode_receipt(data)
    assert refused.value.field == field


def test_numbers_of_kinds_and_reasons_are_given_once() -> None:
    """Every kind has a number; no two kinds, and no two reasons, share one."""
    assert set(KIND_CODES) == set(ReceiptKind)
    for codes in (KIND_CODES, REASON_CODES):
        assert len(set(codes.values())) == len(codes)


def test_classes_follow_the_message_code() -> None:
    """Top-ups of both fuels, what switches a supply, and the rest."""
    expected = {
        "CS01a": CommandClass.TOP_UP, "CS01b": CommandClass.TOP_UP, "ECS43": CommandClass.SUPPLY,
        "GCS32": CommandClass.SUPPLY, "ECS44": CommandClass.SUPPLY, "ECS08a": CommandClass.ORDINARY,
    }  # fmt: skip
    assert {name: class_of(use_case_by_name(name).message_code) for name in expected} == expected
    assert class_of(0xFFFF) is CommandClass.ORDINARY


def test_topics_name_one_agent_each() -> None:
    """A topic is a fixed prefix and the agent's identifier; nothing else is taken for one (T28, T29)."""
    agent = bytes.fromhex("00005eef100000a4")
    assert command_topic(agent) == "lastmetre/1/command/00005eef100000a4"
    assert receipt_topic(agent) == "lastmetre/1/receipt/00005eef100000a4"
    assert ready_topic(agent) == "lastmetre/1/ready/00005eef100000a4"
    assert agent_of_ready_topic(ready_topic(agent)) == agent_of_receipt_topic(receipt_topic(agent)) == agent
    for topic in (receipt_topic(agent), "lastmetre/1/ready/+", ready_topic(agent) + "\n", ready_topic(agent).upper()):
        assert agent_of_ready_topic(topic) is None
    for topic in ("lastmetre/1/receipt/+", "lastmetre/1/receipt/#", receipt_topic(agent) + "/x", command_topic(agent)):
        with pytest.raises(RelayDecodeError):
            agent_of_receipt_topic(topic)
    for wrong in (b"", bytes(7), b"+"):
        with pytest.raises(RelayValueError):
            command_topic(wrong)


def test_a_code_goes_in_the_place_of_a_command() -> None:
    """Twenty digits and nothing else, without a permit; both implementations write the same octets."""
    code = make_envelope("order-1", SAMPLE.hub_id, SAMPLE.target_id, 1_800_000_600, b"0" * 19 + b"7",
                         command_class=CommandClass.CODE)  # fmt: skip
    assert decode_envelope(encode_envelope(code)) == code
    for wrong in (b"7" * 19, b"7" * 21, b"7" * 19 + b"a", b"7" * 19 + "²".encode()):
        with pytest.raises(RelayValueError):
            encode_envelope(replace(make_envelope("o", *_ids(code), wrong), command_class=CommandClass.CODE))
    with pytest.raises(RelayValueError):
        encode_envelope(replace(code, permit=bytes(PERMIT_OCTETS)))
    entered = Receipt("order-1", ReceiptKind.ENTERED, 1_800_000_009, code.digest, outcome="refused_after_silence")
    fields = {"order_id": "order-1", "kind": 7, "at": 1_800_000_009, "digest": code.digest.hex(), "outcome": 3}
    assert encode_receipt(entered) == second_relay.receipt_content(fields)
    assert decode_receipt(encode_receipt(entered)) == entered


def _ids(envelope: Envelope) -> tuple[bytes, bytes, int]:
    return envelope.hub_id, envelope.target_id, envelope.expires_at
