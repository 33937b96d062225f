"""Agreed secrets and the cache of them: always the pair's own, bounded, and never shown."""

from __future__ import annotations

import copy
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.keys import (
    OWN_KEYS_KEPT,
    POINTS_KEPT,
    SecretCache,
    SharedSecret,
    agree,
    derive_key,
    load_point,
    load_public_key,
    public_point,
)

OWN = [ec.derive_private_key(2_000 + number, ec.SECP256R1()) for number in range(OWN_KEYS_KEPT + 3)]
PEERS = [ec.derive_private_key(3_000 + number, ec.SECP256R1()).public_key() for number in range(24)]


def _key(secret: SharedSecret) -> bytes:
    """Secrets do not compare; what is derived from them does."""
    return derive_key(secret, originator_id=bytes(8), label=1, counter=1, recipient_id=bytes(8))


EXPECTED = {(own, peer): _key(agree(OWN[own], PEERS[peer])) for own in range(len(OWN)) for peer in range(len(PEERS))}


@settings(deadline=None)
@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, len(OWN) - 1), st.integers(0, len(PEERS) - 1)), max_size=80),
)
def test_the_cache_gives_what_agreeing_gives(size_max: int, pairs: list[tuple[int, int]]) -> None:
    """In any order of use, for any bound, the secret is that of the two keys asked for."""
    cache = SecretCache(size_max)
    for own, peer in pairs:
        assert _key(cache.agree(OWN[own], PEERS[peer])) == EXPECTED[own, peer]
        assert len(cache) <= OWN_KEYS_KEPT * max(2, size_max)


def test_a_pair_in_use_is_agreed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit agrees nothing anew, not even when key objects were loaded again; and what is used often stays."""
    agreed = []

    def counting(private_key: ec.EllipticCurvePrivateKey, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        agreed.append(public_key)
        return agree(private_key, public_key)

    monkeypatch.setattr("lastmetre.gbcs.keys.agree", counting)
    cache = SecretCache(8)
    for number in range(40):
        loaded = load_der_public_key(PEERS[0].public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        assert isinstance(loaded, ec.EllipticCurvePublicKey)
        cache.agree(OWN[0], loaded)
        cache.agree(OWN[0], PEERS[1 + number % 3])
    assert len(agreed) == 4


def test_key_objects_that_came_and_went_are_not_mistaken() -> None:
    """Python gives the identity of a dead object to a new one; the cache holds the objects whose points it knows."""
    cache = SecretCache()
    for number in range(2 * POINTS_KEPT):
        peer = number % len(PEERS)
        encoded = PEERS[peer].public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        loaded = load_der_public_key(encoded)
        assert isinstance(loaded, ec.EllipticCurvePublicKey)
        assert _key(cache.agree(OWN[0], loaded)) == EXPECTED[0, peer]
        del loaded


def test_secrets_do_not_leave() -> None:
    """Neither a secret nor the cache shows, copies or pickles one."""
    secret = agree(OWN[0], PEERS[0])
    z = OWN[0].exchange(ec.ECDH(), PEERS[0])
    cache = SecretCache()
    cache.agree(OWN[0], PEERS[0])
    for shown in (repr(secret), str(secret), repr(cache)):
        assert z.hex() not in shown
        assert repr(z) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        pickle.dumps(cache)


def test_public_keys_are_read_in_one_form_only() -> None:
    """An uncompressed point on P-256, alone or named in SubjectPublicKeyInfo; all that means the same is refused."""
    spki = PEERS[0].public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = public_point(PEERS[0])
    assert public_point(load_point(point)) == point
    assert public_point(load_public_key(spki)) == point
    compressed = PEERS[0].public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    other = ec.derive_private_key(5, ec.SECP384R1()).public_key()
    for bad in (compressed, point[:-1], point + b"\0", b"\x06" + point[1:], point[:-1] + bytes((point[-1] ^ 1,)), b""):
        with pytest.raises(GbcsDecodeError, match="point"):
            load_point(bad)
    for bad in (point, spki + b"\0", spki[:-1], other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)):
        with pytest.raises(GbcsDecodeError):
            load_public_key(bad)


def test_only_p256_agrees() -> None:
    """A key on another curve is refused before anything is computed."""
    other = ec.derive_private_key(5, ec.SECP384R1())
    with pytest.raises(GbcsValueError):
        agree(other, PEERS[0])
    with pytest.raises(GbcsValueError):
        SecretCache().agree(OWN[0], other.public_key())
    with pytest.raises(GbcsValueError):
        SharedSecret(bytes(31))
    with pytest.raises(GbcsValueError):
        derive_key(agree(OWN[0], PEERS[0]), originator_id=bytes(7), label=1, counter=1, recipient_id=bytes(8))
