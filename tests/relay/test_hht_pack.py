"""Packs for hand-held terminals: read as they were made, by their issuer's certificate alone, and refused in words."""

from __future__ import annotations

import json

import pytest

from lastmetre.gbcs.protect import sign
from lastmetre.relay.hht_pack import (
    COMMANDS_MAX,
    PACK_OCTETS_MAX,
    FieldResponses,
    Pack,
    PackRefused,
    decode_pack,
    decode_responses,
    encode_pack,
    encode_responses,
    pack_issuer,
)
from tests import own_world as own
from tests.own_world import BROKER, CHF, DS, NETWORK_OPERATOR, NOW, SUPPLIER

PACK = Pack(CHF, SUPPLIER, NOW, (own.arm(9), own.read_balance(10)))


def signed() -> bytes:
    """A pack of the supplier's."""
    return encode_pack(PACK, own.private_key(SUPPLIER, DS))


def test_a_pack_is_read_as_it_was_made() -> None:
    """Hub, issuer, time and Commands in their order; and the issuer is found before anything is proven."""
    assert decode_pack(signed(), own.certificate(SUPPLIER, DS)) == PACK
    assert pack_issuer(signed()) == SUPPLIER


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hub": BROKER.hex()}, "changed since"),
        ({"issued_at": NOW + 1}, "changed since"),
        ({"more": 1}, "changed since"),
        ({"signature": "00" * 64}, "changed since"),
        ({"signature": "00"}, "changed since"),
        ({"version": 2}, "version 2"),
        ({"commands": ["?"]}, "no pack of Commands"),
        ({"hub": "00"}, "no pack of Commands"),
        ({"issuer": BROKER.hex()}, "another issuer"),
    ],
)
def test_a_changed_pack_is_refused_and_says_why(change: dict[str, object], words: str) -> None:
    """Every field is under the signature; what is not even a pack is told from what was changed."""
    raw = {**json.loads(signed()), **change}
    with pytest.raises(PackRefused, match=words):
        decode_pack(json.dumps(raw).encode(), own.certificate(SUPPLIER, DS))


def test_a_command_taken_out_is_seen() -> None:
    """A pack is whole or it is nothing."""
    raw = json.loads(signed())
    raw["commands"] = raw["commands"][:1]
    with pytest.raises(PackRefused, match="changed since"):
        decode_pack(json.dumps(raw).encode(), own.certificate(SUPPLIER, DS))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{" * 10_000, b'"text"', b"null", b"\xff\xfe", b" " * (PACK_OCTETS_MAX + 1)]
)
def test_what_is_no_pack_is_refused(data: bytes) -> None:
    """Not JSON, not an object, too deep, too long."""
    with pytest.raises(PackRefused):
        decode_pack(data, own.certificate(SUPPLIER, DS))
    with pytest.raises(PackRefused):
        pack_issuer(data)
    with pytest.raises(PackRefused):
        decode_responses(data)


def test_another_party_s_signature_is_none() -> None:
    """Signed by the network operator under the supplier's name; and read with the wrong certificate."""
    forged = encode_pack(PACK, own.private_key(NETWORK_OPERATOR, DS))
    with pytest.raises(PackRefused, match="was not signed by its issuer"):
        decode_pack(forged, own.certificate(SUPPLIER, DS))
    with pytest.raises(PackRefused, match="another issuer"):
        decode_pack(signed(), own.certificate(NETWORK_OPERATOR, DS))


@pytest.mark.parametrize("commands", [(), (b"\xdf",), (own.arm(1)[:-1],), (own.arm(1),) * (COMMANDS_MAX + 1)])
def test_it_holds_whole_commands_and_not_too_many(commands: tuple[bytes, ...]) -> None:
    """Neither made nor read otherwise: an empty pack, half a Command, a Command too many."""
    bad = Pack(CHF, SUPPLIER, NOW, commands)
    with pytest.raises(PackRefused, match=r"1 to 200|no whole GBCS Command"):
        encode_pack(bad, own.private_key(SUPPLIER, DS))


def test_a_signed_pack_of_nonsense_is_refused_at_reading_too() -> None:
    """The issuer signed it, but what it holds is no Command."""
    raw = json.loads(signed())
    del raw["signature"]
    raw["commands"] = ["3w=="]
    covered = b"lastmetre hht pack 1\n" + json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()
    raw["signature"] = sign(covered, own.private_key(SUPPLIER, DS)).hex()
    with pytest.raises(PackRefused, match="place 0"):
        decode_pack(json.dumps(raw).encode(), own.certificate(SUPPLIER, DS))


def test_responses_come_back_as_they_were_brought() -> None:
    """Responses and the Commands without one."""
    brought = FieldResponses(CHF, SUPPLIER, NOW, (b"\xdf",), ((1, "not_delivered"),))
    assert decode_responses(encode_responses(brought)) == brought
    other = json.loads(encode_responses(brought))
    with pytest.raises(PackRefused, match="version 9"):
        decode_responses(json.dumps({**other, "version": 9}).encode())
