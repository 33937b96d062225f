"""Project Wycheproof's vectors (C2SP, Apache-2.0), read in place: our cryptography refuses what it must.

How they are used (threats section 5): raw signatures by our own check, signatures in DER as certificates are checked,
points and SubjectPublicKeyInfo by our own loaders and agreement, AES-GCM and GMAC with the 12-octet tags of GBCS. Those
files have 16-octet tags; an altered last octet does not reach a 12-octet tag, so whether a case is valid is recomputed
by the second implementation. Only 128-bit keys and 96-bit IVs exist in GBCS; other groups are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.keys import agree, load_point, load_public_key
from lastmetre.gbcs.protect import CryptoRefused, check_signature, gcm_decrypt, gcm_encrypt, gmac_tag
from tests import second_implementation as second
from tests.shared_data import WYCHEPROOF, needs_wycheproof

Test = dict[str, Any]  # Any: JSON

REFUSE, AS_TOLD = "refuse", "as told"

DECISIONS: Final[dict[str, str]] = {
    # What we do with a case that is marked "acceptable", by its flag. One refusing flag is enough.
    "CompressedPublic": REFUSE,  # no GBCS structure carries a compressed point
    "CompressedPoint": REFUSE,  # the same
    "InvalidAsn": REFUSE,  # BER and other encodings of the same key: DER has one form
    "UnnamedCurve": REFUSE,  # parameters instead of the name: the way of CVE-2020-0601
    "UnusedParam": REFUSE,  # a named curve has no more parameters
    "WrongOrder": REFUSE,
    "ModifiedGenerator": REFUSE,
    "ModifiedCofactor": REFUSE,
    "NoCofactor": REFUSE,
    "ModifiedCurveParameter": REFUSE,
}

KNOWN_FLAGS: Final = DECISIONS.keys() | {
    # ECDSA
    "ValidSignature", "RangeCheck", "ModifiedInteger", "IntegerOverflow", "InvalidSignature", "SpecialCaseHash",
    "EdgeCaseShamirMultiplication", "ArithmeticError", "SmallRandS", "SignatureSize", "ModularInverse",
    "PointDuplication", "EdgeCasePublicKey", "MissingZero", "BerEncodedSignature", "InvalidEncoding",
    "ModifiedSignature", "InvalidTypesInSignature",
    # ECDH
    "Normal", "EdgeCaseSharedSecret", "EdgeCaseEphemeralKey", "EdgeCaseDoubling", "AdditionChain", "CVE-2017-8932",
    "InvalidCurveAttack", "InvalidCompressedPublic", "WrongCurve", "ModifiedPublicPoint", "InvalidPublic",
    "NegativeCofactor", "LargeCofactor", "ModifiedPrime", "ModifiedGroup", "WeakPublicKey",
    # AES-GCM, GMAC
    "Ktv", "Pseudorandom", "SpecialCase", "ModifiedTag", "SpecialCaseTag",
}  # fmt: skip
"""Every flag that was looked at. A flag that is not here fails its case: read its note, then decide."""


def _cases(name: str, **only: int) -> list[Any]:
    """The cases of a file as parameters with ids ``file:tcId``; nothing when the file is not there."""
    path = WYCHEPROOF / f"{name}.json"
    if not path.is_file():
        return []
    groups = json.loads(path.read_text())["testGroups"]
    return [
        pytest.param({**group, **test}, id=f"{name}:{test['tcId']}")
        for group in groups
        if all(group[key] == value for key, value in only.items())
        for test in group["tests"]
    ]


def _is_valid(test: Test) -> bool:
    """What must come out, after our decisions."""
    unknown = set(test["flags"]) - KNOWN_FLAGS
    assert not unknown, f"flags nobody decided on: {unknown}"
    if test["result"] == "acceptable":
        decisions = {DECISIONS.get(flag) for flag in test["flags"]}
        assert decisions & {REFUSE, AS_TOLD}, f"no decision on {test['flags']}"
        return REFUSE not in decisions
    return bool(test["result"] == "valid")


RAW = _cases("ecdsa_secp256r1_sha256_p1363_test")
DER = _cases("ecdsa_secp256r1_sha256_test")
POINTS = _cases("ecdh_secp256r1_ecpoint_test")
KEYS = _cases("ecdh_secp256r1_test")
GCM = _cases("aes_gcm_test", keySize=128, ivSize=96, tagSize=128)
GMAC = _cases("aes_gmac_test", keySize=128, ivSize=96, tagSize=128)


@needs_wycheproof
@pytest.mark.parametrize("test", RAW)
def test_raw_signatures(test: Test) -> None:
    """Raw r ‖ s as GBCS carries it: wrong sizes and ranges are refused by ourselves."""
    key = load_public_key(bytes.fromhex(test["publicKeyDer"]))
    signature, covered = bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"])
    if _is_valid(test):
        check_signature(signature, covered, key)
    else:
        with pytest.raises(CryptoRefused):
            check_signature(signature, covered, key)


@needs_wycheproof
@pytest.mark.parametrize("test", DER)
def test_der_signatures(test: Test) -> None:
    """Signatures in DER, by the call with which certificates are checked."""
    key = load_public_key(bytes.fromhex(test["publicKeyDer"]))
    signature, covered = bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"])
    if _is_valid(test):
        key.verify(signature, covered, ec.ECDSA(hashes.SHA256()))
    else:
        with pytest.raises(InvalidSignature):
            key.verify(signature, covered, ec.ECDSA(hashes.SHA256()))


def _agrees(test: Test, load: Any) -> None:
    private = ec.derive_private_key(int(test["private"], 16), ec.SECP256R1())
    octets = bytes.fromhex(test["public"])
    if _is_valid(test):
        assert agree(private, load(octets))._z.hex() == test["shared"]
    else:
        with pytest.raises(GbcsDecodeError):
            load(octets)


@needs_wycheproof
@pytest.mark.parametrize("test", POINTS)
def test_agreement_with_raw_points(test: Test) -> None:
    """Points off the curve, on other curves, malformed or compressed never reach the agreement."""
    _agrees(test, load_point)


@needs_wycheproof
@pytest.mark.parametrize("test", KEYS)
def test_agreement_with_public_keys(test: Test) -> None:
    """Keys in SubjectPublicKeyInfo: the one form we know, and nothing that means the same."""
    _agrees(test, load_public_key)


def _octets(test: Test, *names: str) -> list[bytes]:
    return [bytes.fromhex(test[name]) for name in names]


def _cut_is_valid(test: Test) -> bool:
    """Whether the first 12 octets of a case's tag are right, by the second implementation."""
    if "ct" in test:
        key, iv, aad, message, ciphertext, tag = _octets(test, "key", "iv", "aad", "msg", "ct", "tag")
        right = second.gcm_tag(key, iv, aad, ciphertext)
        assert (test["result"] != "valid") or second.gcm(key, iv, aad, message) == (ciphertext, tag)
    else:
        key, iv, message, tag = _octets(test, "key", "iv", "msg", "tag")
        right = second.gcm_tag(key, iv, message, b"")
    assert _is_valid(test) is (right == tag), "the second implementation and the file agree on whole tags"
    return right[:12] == tag[:12]


@needs_wycheproof
@pytest.mark.parametrize("test", GCM)
def test_aes_gcm(test: Test) -> None:
    """Encrypted attributes' cipher with 12-octet tags, both ways; a tag of any other size is refused."""
    key, iv, aad, message, ciphertext, tag = _octets(test, "key", "iv", "aad", "msg", "ct", "tag")
    if _cut_is_valid(test):
        assert gcm_decrypt(key, iv, aad, ciphertext, tag[:12]) == message
        assert gcm_encrypt(key, iv, aad, message) == (ciphertext, tag[:12])
    else:
        with pytest.raises(CryptoRefused):
            gcm_decrypt(key, iv, aad, ciphertext, tag[:12])
    for size in (0, 11, 13, 16):
        with pytest.raises(CryptoRefused):
            gcm_decrypt(key, iv, aad, ciphertext, tag[:size])


@needs_wycheproof
@pytest.mark.parametrize("test", GMAC)
def test_aes_gmac(test: Test) -> None:
    """The MAC's algorithm: our tag is the case's, in its first 12 octets, exactly when it should be."""
    key, iv, message, tag = _octets(test, "key", "iv", "msg", "tag")
    assert (gmac_tag(key, iv, message)[:12] == tag[:12]) is _cut_is_valid(test)


@needs_wycheproof
def test_all_cases_are_there() -> None:
    """Counts as measured when the files were taken: a file that shrank would test nothing and nobody would see."""
    counted = [len(cases) for cases in (RAW, DER, POINTS, KEYS, GCM, GMAC)]
    assert counted == [262, 484, 355, 612, 67, 69]
    for cases, invalid, made_valid in ((GCM, 27, 7), (GMAC, 54, 14)):
        tests = [param.values[0] for param in cases]
        outcomes = Counter((test["result"], _cut_is_valid(test)) for test in tests)
        assert outcomes["invalid", True] == made_valid
        assert outcomes["invalid", True] + outcomes["invalid", False] == invalid
        assert outcomes["valid", False] == 0


def test_every_decision_is_a_refusal_or_the_files_own() -> None:
    """The table says one of two things; today it says one."""
    assert set(DECISIONS.values()) <= {REFUSE, AS_TOLD}
