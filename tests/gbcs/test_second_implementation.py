"""Our cryptography, headers and tokens against a second implementation that shares nothing with them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.keys import SharedSecret, agree, derive_key
from lastmetre.gbcs.message import GroupingHeader, Message, df_part, parse_message
from lastmetre.gbcs.protect import ENCRYPTED_START, encrypt_attribute, gmac, seal, unsigned_df, verify_mac
from lastmetre.gbcs.utrn import ValueClass, check_digit, make_utrn
from tests import second_implementation as second
from tests.gbcs.test_message import messages

ids = st.binary(min_size=8, max_size=8)
keys = st.binary(min_size=16, max_size=16)
zs = st.binary(min_size=32, max_size=32)
scalars = st.one_of(st.integers(1, 20), st.integers(1, second.N - 1), st.integers(second.N - 20, second.N - 1))


def test_the_second_implementation_knows_the_published_examples() -> None:
    """FIPS 197 appendix C.1 and the second test case of the GCM specification: else it would be worth nothing."""
    key = bytes(range(16))
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert second.aes(key, block).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    ciphertext, tag = second.gcm(bytes(16), bytes(12), b"", bytes(16))
    assert ciphertext.hex() == "0388dace60b6a392f328c2b971b2fe78"
    assert tag.hex() == "ab6e47d42cec13bdf53a67b21257bddf"
    assert second.multiply(second.N) is None


@settings(max_examples=25, deadline=None)
@given(scalars, scalars)
def test_secrets_are_agreed_alike(own: int, peer: int) -> None:
    """ECDH: the x-coordinate, padded to 32 octets, and so the keys derived from it."""
    private, public = (
        ec.derive_private_key(own, ec.SECP256R1()),
        ec.derive_private_key(peer, ec.SECP256R1()).public_key(),
    )
    numbers = public.public_numbers()
    assert second.multiply(peer) == (numbers.x, numbers.y)
    z = second.agree_z(own, numbers.x, numbers.y)
    ours = derive_key(agree(private, public), originator_id=bytes(8), label=3, counter=9, recipient_id=bytes(8))
    assert ours == second.kdf(z, bytes(8), 3, 9, bytes(8))


@given(zs, ids, st.integers(1, 4), st.integers(0, (1 << 64) - 1), ids)
def test_keys_are_derived_alike(z: bytes, originator: bytes, label: int, counter: int, recipient: bytes) -> None:
    """The KDF, for every label and counter."""
    made = derive_key(SharedSecret(z), originator_id=originator, label=label, counter=counter, recipient_id=recipient)
    assert made == second.kdf(z, originator, label, counter, recipient)


@settings(deadline=None)
@given(keys, ids, st.binary(max_size=100))
def test_tags_are_computed_alike(key: bytes, originator: bytes, covered: bytes) -> None:
    """GMAC: AES and GHASH by hand give the library's tag."""
    assert gmac(key, originator, covered) == second.gcm_tag(key, originator + bytes(4), covered, b"")


@settings(deadline=None)
@given(keys, ids, st.binary(max_size=100))
def test_attributes_are_encrypted_alike(key: bytes, device_id: bytes, plaintext: bytes) -> None:
    """An encrypted attribute: counter mode, its own additional data, 12 octets of tag (11.1)."""
    ciphertext, tag = second.gcm(key, device_id + bytes(4), b"\x31", plaintext)
    assert encrypt_attribute(plaintext, key, device_id) == ENCRYPTED_START + ciphertext + tag[:12]


@settings(deadline=None)
@given(messages, zs)
def test_headers_and_macs_are_made_alike(message: Message, z: bytes) -> None:
    """From the values of a header to its octets and the MAC over them."""
    head: GroupingHeader = message.header
    other = head.other_information
    written = second.header(
        head.cra,
        head.originator_counter,
        head.business_originator_id,
        head.business_target_id,
        head.date_time,
        other.message_code,
        other.supplementary_remote_party_id,
        other.supplementary_remote_party_counter,
        other.supplementary_originator_counter,
        other.supplementary_certificate,
    )
    assert df_part(message).startswith(written)
    df = unsigned_df(head, message.content)
    sealed = seal(df, SharedSecret(z))
    assert sealed[-12:] == second.mac(z, df)
    verify_mac(parse_message(sealed), SharedSecret(z))


@settings(deadline=None)
@given(zs, ids, ids, st.integers(1, (1 << 32) - 1), st.sampled_from(ValueClass), st.integers(0, 8191))
def test_tokens_are_made_alike(
    z: bytes, supplier: bytes, device: bytes, utrn_counter: int, value_class: ValueClass, value: int
) -> None:
    """All twenty digits of a UTRN."""
    made = make_utrn(
        value,
        value_class,
        originator_counter=utrn_counter << 32,
        supplier_id=supplier,
        device_id=device,
        secret=SharedSecret(z),
    )
    assert made.digits == second.utrn(z, supplier, device, utrn_counter, value_class, value)


@given(st.text("0123456789", min_size=1, max_size=30))
def test_check_digits_are_alike(digits: str) -> None:
    """The check digit, from the group itself instead of from tables."""
    assert check_digit(digits) == str(second.utrn_check_digit(digits))
