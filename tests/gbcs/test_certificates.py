"""Certificates: what the profile says is read, each rule has one minimal certificate that breaks it (threat T10)."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs import smki
from lastmetre.gbcs.asn1 import Role as PayloadRole
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificate_paths import Purpose, check_path, check_purpose
from lastmetre.gbcs.certificates import (
    CERTIFICATE_SIZE_MAX,
    HARDWARE_MODULE_NAME,
    Certificate,
    CertificateRefused,
    Usage,
    check_issued_by,
    key_identifier,
    parse_certificate,
)
from lastmetre.gbcs.certificates import CertificateRule as Rule
from tests.shared_data import DUIS, RTDS_CERTIFICATES, needs_duis, needs_rtds, rtds_messages

if TYPE_CHECKING:
    from collections.abc import Callable

FROM = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
UNTIL = dt.datetime(2036, 1, 1, tzinfo=dt.UTC)
AT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
SUPPLIER = bytes.fromhex("00005eef10000010")
ESME = bytes.fromhex("00005eef100000a0")
CURVE: Final = ec.SECP256R1()


@cache
def key(number: int) -> ec.EllipticCurvePrivateKey:
    """A key made from a number: 1 the root's, 2 the issuing authority's, from 3 those of holders."""
    return ec.derive_private_key(7_000 + number, CURVE)


ROOT_NAME = smki.issuer_name("test root", Role.ROOT)
ISSUING_NAME = smki.issuer_name("test issuing", Role.ISSUING_AUTHORITY)
SUPPLIER_NAME = smki.organisation_name("test supplier", Role.SUPPLIER, SUPPLIER)
_BITS = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def usage(*bits: str) -> tuple[x509.KeyUsage, bool]:
    """A critical key usage with these bits."""
    return x509.KeyUsage(**{bit: bit in bits for bit in _BITS}), True


def device_name(value: bytes) -> x509.SubjectAlternativeName:
    """A subjectAltName with one hardware module name of this DER."""
    return x509.SubjectAlternativeName([x509.OtherName(HARDWARE_MODULE_NAME, value)])


def module(serial: bytes) -> bytes:
    """The DER of a hardware module name."""
    inside = bytes.fromhex("06062b0601040101") + b"\x04" + bytes((len(serial),)) + serial
    return b"\x30" + bytes((len(inside),)) + inside


@dataclass(frozen=True)
class Draft:
    """A certificate to be: by itself a supplier's digital signature certificate with nothing wrong."""

    subject: x509.Name = SUPPLIER_NAME
    issuer: x509.Name = ISSUING_NAME
    public_key: Any = None
    issuer_key: ec.EllipticCurvePrivateKey | None = None
    not_before: dt.datetime = FROM
    not_after: dt.datetime = UNTIL
    serial_number: int = 77
    usage: tuple[x509.KeyUsage, bool] | None = usage("digital_signature")
    subject_key_id: bytes | None = None
    authority_key_id: bytes | None = None
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    without: tuple[str, ...] = ()

    def der(self) -> bytes:
        """Build and sign it."""
        public = self.public_key or key(3).public_key()
        issuer_key = self.issuer_key or key(2)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.issuer)
            .public_key(public)
            .serial_number(self.serial_number)
            .not_valid_before(min(self.not_before, self.not_after))
            .not_valid_after(self.not_after)
        )
        if self.usage is not None:
            builder = builder.add_extension(*self.usage)
        if "ski" not in self.without:
            is_p256 = isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == CURVE.name
            identifier = self.subject_key_id or (key_identifier(public) if is_p256 else bytes(8))
            builder = builder.add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
        if "aki" not in self.without:
            identifier = self.authority_key_id or key_identifier(issuer_key.public_key())
            builder = builder.add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
        for extension, critical in self.extra:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


CA = (x509.BasicConstraints(ca=True, path_length=None), True)
LAST_CA = (x509.BasicConstraints(ca=True, path_length=0), True)
SIGNS = usage("key_cert_sign", "crl_sign")
GOOD = Draft()
DEVICE = Draft(
    subject=x509.Name([]), not_after=smki.DEVICE_NOT_AFTER, extra=((device_name(module(ESME)), True),)
)  # fmt: skip
ROOT = Draft(
    ROOT_NAME,
    ROOT_NAME,
    key(1).public_key(),
    key(1),
    usage=SIGNS,
    extra=((x509.BasicConstraints(ca=True, path_length=1), True),),
)
ISSUING = Draft(ISSUING_NAME, ROOT_NAME, key(2).public_key(), key(1), usage=SIGNS, extra=(CA,), serial_number=5)


def read(draft: Draft) -> Certificate:
    """Build, then parse."""
    return parse_certificate(draft.der())


def length(data: bytes) -> bytes:
    """A DER length."""
    return bytes((len(data),)) if len(data) < 128 else b"\x82" + len(data).to_bytes(2, "big")


def patched(draft: Draft, change: Callable[[bytes], bytes]) -> bytes:
    """A certificate whose signed part was changed and signed anew: what the builder itself would refuse to make."""
    loaded = x509.load_der_x509_certificate(draft.der())
    body = change(loaded.tbs_certificate_bytes[4:])
    signed = b"\x30" + length(body) + body
    signature = key(2).sign(signed, ec.ECDSA(SHA256(), deterministic_signing=True))
    outer = signed + bytes.fromhex("300a06082a8648ce3d040302") + b"\x03" + length(b"\0" + signature) + b"\0" + signature
    return b"\x30" + length(outer) + outer


def swap(old: str, new: str) -> Callable[[bytes], bytes]:
    """Replace octets that stand there."""

    def change(body: bytes) -> bytes:
        assert bytes.fromhex(old) in body
        return body.replace(bytes.fromhex(old), bytes.fromhex(new), 1)

    return change


def with_other_hash() -> bytes:
    """Signed with SHA-384."""
    loaded = x509.load_der_x509_certificate(GOOD.der())
    builder = x509.CertificateBuilder().subject_name(loaded.subject).issuer_name(loaded.issuer)
    builder = builder.public_key(key(3).public_key()).serial_number(1).not_valid_before(FROM).not_valid_after(UNTIL)
    return builder.sign(key(2), SHA384()).public_bytes(Encoding.DER)


def off_curve() -> bytes:
    """The public point with its last bit flipped: no longer on the curve."""
    loaded = x509.load_der_x509_certificate(GOOD.der())
    tail = loaded.public_key().public_numbers().y.to_bytes(32, "big")  # type: ignore[union-attr]
    return patched(GOOD, swap(tail.hex(), (tail[:-1] + bytes((tail[-1] ^ 1,))).hex()))


def name(*parts: tuple[x509.ObjectIdentifier, Any]) -> x509.Name:
    """A subject of these attributes."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


OU, CN = x509.NameOID.ORGANIZATIONAL_UNIT_NAME, x509.NameOID.COMMON_NAME
SERIAL_77 = "a0030201020201" + "4d"
OTHER_CURVE = ec.derive_private_key(9, ec.SECP384R1()).public_key()
EKU = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")

BAD: list[tuple[Rule, str, Callable[[], bytes]]] = [
    (Rule.NOT_A_CERTIFICATE, "nothing", lambda: b""),
    (Rule.NOT_A_CERTIFICATE, "text", lambda: b"-----BEGIN PUBLIC KEY-----"),
    (Rule.NOT_A_CERTIFICATE, "PEM of nonsense", lambda: b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----"),
    (Rule.NOT_A_CERTIFICATE, "an octet too many", lambda: GOOD.der() + b"\x00"),
    (Rule.NOT_A_CERTIFICATE, "an octet too few", lambda: GOOD.der()[:-1]),
    (Rule.TOO_LONG, "longer than any", lambda: b"\x30\x82\x10\x00" + bytes(CERTIFICATE_SIZE_MAX)),
    (Rule.VERSION, "version 2", lambda: patched(GOOD, swap("a003020102", "a003020101"))),
    (Rule.SERIAL_NUMBER, "zero", lambda: patched(GOOD, swap(SERIAL_77, SERIAL_77[:-2] + "00"))),
    (Rule.SERIAL_NUMBER, "negative", lambda: patched(GOOD, swap(SERIAL_77, SERIAL_77[:-2] + "cd"))),
    (Rule.SERIAL_NUMBER, "21 octets", lambda: patched(GOOD, swap(SERIAL_77, "a00302010202151" + "1" * 41))),
    (Rule.ALGORITHM, "SHA-384", with_other_hash),
    (Rule.ALGORITHM, "one algorithm inside, another outside",
     lambda: patched(GOOD, swap("06082a8648ce3d040302", "06082a8648ce3d040303"))),
    (Rule.CURVE, "P-384", lambda: replace(GOOD, public_key=OTHER_CURVE).der()),
    (Rule.CURVE, "a point off the curve", off_curve),
    (Rule.SUBJECT, "nobody", lambda: replace(DEVICE, extra=()).der()),
    (Rule.SUBJECT, "no OU", lambda: replace(GOOD, subject=x509.Name([list(SUPPLIER_NAME)[2]])).der()),
    (Rule.SUBJECT, "two OUs", lambda: replace(GOOD, subject=x509.Name([*SUPPLIER_NAME, *ISSUING_NAME])).der()),
    (Rule.SUBJECT, "an identifier of seven octets",
     lambda: replace(GOOD, subject=smki.organisation_name("x", Role.SUPPLIER, SUPPLIER[1:])).der()),
    (Rule.TWO_SUBJECTS, "an organisation and a device", lambda: replace(GOOD, extra=DEVICE.extra).der()),
    (Rule.TWO_SUBJECTS, "two devices", lambda: replace(DEVICE, extra=((x509.SubjectAlternativeName(
        [x509.OtherName(HARDWARE_MODULE_NAME, module(ESME))] * 2), True),)).der()),
    (Rule.ROLE_UNKNOWN, "OU 42", lambda: replace(GOOD, subject=name((OU, "42"), (CN, "x"))).der()),
    (Rule.ROLE_UNKNOWN, "OU 2, one digit", lambda: replace(GOOD, subject=name((OU, "2"))).der()),
    (Rule.ROLE_UNKNOWN, "OU 002: decimal is for XML signing",
     lambda: replace(GOOD, subject=name((OU, "002"))).der()),
    (Rule.DEVICE_NAME, "not critical", lambda: replace(DEVICE, extra=((device_name(module(ESME)), False),)).der()),
    (Rule.DEVICE_NAME, "seven octets", lambda: replace(DEVICE, extra=((device_name(module(ESME[1:])), True),)).der()),
    (Rule.DEVICE_NAME, "no SEQUENCE", lambda: replace(DEVICE, extra=((device_name(b"\x04\x08" + ESME), True),)).der()),
    (Rule.NO_USAGE, "none", lambda: replace(GOOD, usage=None).der()),
    (Rule.NO_USAGE, "one of another profile", lambda: replace(GOOD, usage=usage("content_commitment")).der()),
    (Rule.TWO_USAGES, "signature and agreement",
     lambda: replace(GOOD, usage=usage("digital_signature", "key_agreement")).der()),
    (Rule.TWO_USAGES, "agreement, to encipher only",
     lambda: replace(GOOD, usage=usage("key_agreement", "encipher_only")).der()),
    (Rule.TWO_USAGES, "signature and CRLs", lambda: replace(GOOD, usage=usage("digital_signature", "crl_sign")).der()),
    (Rule.KEY_IDENTIFIER, "none", lambda: replace(GOOD, without=("ski",)).der()),
    (Rule.KEY_IDENTIFIER, "that of another key",
     lambda: replace(GOOD, subject_key_id=key_identifier(key(4).public_key())).der()),
    (Rule.AUTHORITY_KEY_IDENTIFIER, "20 octets", lambda: replace(GOOD, authority_key_id=bytes(20)).der()),
    (Rule.BASIC_CONSTRAINTS, "an organisation as CA", lambda: replace(GOOD, extra=(CA,)).der()),
    (Rule.BASIC_CONSTRAINTS, "an issuer that is no CA", lambda: replace(ISSUING, extra=()).der()),
    (Rule.BASIC_CONSTRAINTS, "an issuer that names an entity",
     lambda: replace(ISSUING, subject=SUPPLIER_NAME).der()),
    (Rule.BASIC_CONSTRAINTS, "no entity and no issuer", lambda: replace(GOOD, subject=ISSUING_NAME).der()),
    (Rule.CRITICAL_EXTENSION, "unknown to all", lambda: replace(GOOD, extra=((UNKNOWN, True),)).der()),
    (Rule.CRITICAL_EXTENSION, "known, but not of the profile", lambda: replace(GOOD, extra=((EKU, True),)).der()),
    (Rule.PERIOD, "ends before it begins",
     lambda: patched(GOOD, swap(b"260101000000Z".hex(), b"460101000000Z".hex()))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "make"), [(rule, make) for rule, _, make in BAD], ids=[f"{r}: {w}" for r, w, _ in BAD]
)
def test_each_rule_of_the_profile_refuses_its_minimal_certificate(rule: Rule, make: Callable[[], bytes]) -> None:
    """One certificate with one fault: refused by that rule, in words, and without a warning."""
    with pytest.raises(CertificateRefused) as caught:
        parse_certificate(make())
    assert caught.value.rule is rule
    assert str(caught.value) == caught.value.words != ""


# --- paths -----------------------------------------------------------------------------------------------------------

SIGNING = Purpose(Usage.DIGITAL_SIGNATURE, Role.SUPPLIER, SUPPLIER)
POLICY = "1.2.826.0.1.8641679.1.2.1.4"
WITH_POLICY = replace(
    GOOD,
    extra=((x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(POLICY), None)]), True),),
)


@dataclass(frozen=True)
class Path:
    """A path and what is asked of it: by itself one that holds."""

    leaf: Draft = GOOD
    issuing: Draft = ISSUING
    root: Draft = ROOT
    at: dt.datetime = AT
    purpose: Purpose = SIGNING
    revoked: frozenset[tuple[str, int]] = frozenset()

    def check(self) -> None:
        """Build all and check."""
        leaf, issuing, root = read(self.leaf), read(self.issuing), read(self.root)
        check_path(leaf, issuing, root, at=self.at, purpose=self.purpose, revoked=self.revoked)


OTHER_ISSUER = smki.issuer_name("another", Role.ISSUING_AUTHORITY)
SECOND = dt.timedelta(seconds=1)
SHORT = replace(ISSUING, not_after=FROM + SECOND)

BAD_PATHS: list[tuple[Rule, str, Path]] = [
    (Rule.ISSUER_USAGE, "an organisation issues", Path(issuing=replace(GOOD, subject=SUPPLIER_NAME))),
    (Rule.ISSUER_NAME, "another issuer is named", Path(leaf=replace(GOOD, issuer=OTHER_ISSUER))),
    (Rule.ISSUER_NAME, "the root issued the leaf itself",
     Path(leaf=replace(GOOD, issuer=ROOT_NAME, issuer_key=key(1)))),
    (Rule.ISSUER_KEY, "another key of the issuer is named",
     Path(leaf=replace(GOOD, authority_key_id=key_identifier(key(4).public_key())))),
    (Rule.ISSUER_SIGNATURE, "made with another key, naming this one", Path(leaf=replace(
        GOOD, issuer_key=key(4), authority_key_id=key_identifier(key(2).public_key())))),
    (Rule.ISSUER_SIGNATURE, "the issuing authority of another root", Path(issuing=replace(
        ISSUING, issuer_key=key(4), authority_key_id=key_identifier(key(1).public_key())))),
    (Rule.ISSUER_ROLE, "the issuing authority says supplier",
     Path(issuing=replace(ISSUING, subject=smki.issuer_name("test issuing", Role.SUPPLIER)))),
    (Rule.ISSUER_ROLE, "the root says issuing authority", Path(root=replace(
        ROOT, subject=ISSUING_NAME, issuer=ISSUING_NAME))),
    (Rule.PATH_LENGTH, "a root that allows none below", Path(root=replace(
        ROOT, extra=(LAST_CA,)))),
    (Rule.NOT_A_ROOT, "an issuing authority taken for a root", Path(root=replace(
        ISSUING, subject=ROOT_NAME, issuer=smki.issuer_name("a higher one", Role.ROOT)))),
    (Rule.NOT_YET_VALID, "a second before", Path(at=FROM - SECOND)),
    (Rule.EXPIRED, "a second after", Path(at=UNTIL + SECOND)),
    (Rule.EXPIRED, "only the issuing authority", Path(issuing=SHORT)),
    (Rule.REVOKED, "the leaf", Path(revoked=frozenset({("CN=test issuing,OU=07", 77)}))),
    (Rule.REVOKED, "the issuing authority", Path(revoked=frozenset({("CN=test root,OU=00", 5)}))),
    (Rule.WRONG_USAGE, "to agree keys", Path(purpose=replace(SIGNING, usage=Usage.KEY_AGREEMENT))),
    (Rule.WRONG_ROLE, "as another role", Path(purpose=replace(SIGNING, role=Role.NETWORK_OPERATOR))),
    (Rule.WRONG_ROLE, "as a device", Path(purpose=replace(SIGNING, role=None))),
    (Rule.WRONG_ROLE, "a device as a supplier", Path(leaf=DEVICE)),
    (Rule.WRONG_ENTITY, "another supplier", Path(purpose=replace(SIGNING, entity_id=ESME))),
    (Rule.POLICY, "no policy where one is asked", Path(purpose=replace(SIGNING, policies=frozenset({POLICY})))),
    (Rule.POLICY, "another policy", Path(WITH_POLICY, purpose=replace(SIGNING, policies=frozenset({"1.2.3"})))),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "path"), [(rule, path) for rule, _, path in BAD_PATHS],
                         ids=[f"{r}: {w}" for r, w, _ in BAD_PATHS])  # fmt: skip
def test_each_rule_of_a_path_refuses_its_minimal_path(rule: Rule, path: Path) -> None:
    """One path with one fault: refused by that rule."""
    with pytest.raises(CertificateRefused) as caught:
        path.check()
    assert caught.value.rule is rule


def test_every_rule_has_a_certificate_that_breaks_it() -> None:
    """No audit code exists that nothing above raises."""
    assert {rule for rule, _, _ in BAD} | {rule for rule, _, _ in BAD_PATHS} == set(Rule)


@pytest.mark.parametrize(
    "path",
    [
        Path(),
        Path(at=FROM),
        Path(at=UNTIL),
        Path(purpose=replace(SIGNING, entity_id=None)),
        Path(leaf=replace(GOOD, without=("aki",))),
        Path(leaf=replace(GOOD, extra=((EKU, False),))),
        Path(leaf=DEVICE, purpose=Purpose(Usage.DIGITAL_SIGNATURE, None, ESME)),
        Path(leaf=WITH_POLICY, purpose=replace(SIGNING, policies=frozenset({POLICY, "1.2.3"}))),
        Path(
            leaf=replace(GOOD, usage=usage("key_agreement")), purpose=replace(SIGNING, usage=Usage.KEY_AGREEMENT)
        ),
        Path(revoked=frozenset({("CN=test issuing,OU=07", 78), ("CN=test root,OU=00", 78)})),
        Path(root=replace(ROOT, extra=(CA,)), issuing=replace(ISSUING, extra=(LAST_CA,))),
    ],
)  # fmt: skip
def test_a_path_that_keeps_every_rule_is_believed(path: Path) -> None:
    """Both ends of the validity, a device, policies, and tolerated differences pass."""
    path.check()


@given(moment=st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2040, 1, 1), timezones=st.just(dt.UTC)))  # noqa: DTZ001
def test_a_certificate_is_in_date_between_its_two_dates_only(moment: dt.datetime) -> None:
    """At any time at all: believed exactly when within the validity."""
    leaf, issuer = read(GOOD), read(ISSUING)
    if FROM <= moment <= UNTIL:
        check_issued_by(leaf, issuer, at=moment, usage=Usage.DIGITAL_SIGNATURE)
        return
    with pytest.raises(CertificateRefused) as caught:
        check_issued_by(leaf, issuer, at=moment, usage=Usage.DIGITAL_SIGNATURE)
    assert caught.value.rule is (Rule.EXPIRED if moment > UNTIL else Rule.NOT_YET_VALID)


@given(
    wanted_usage=st.sampled_from(Usage),
    wanted_role=st.sampled_from([None, *Role]),
    wanted_id=st.sampled_from([None, SUPPLIER, ESME]),
)
def test_only_the_purpose_a_certificate_is_for_is_served(
    wanted_usage: Usage, wanted_role: Role | None, wanted_id: bytes | None
) -> None:
    """Of all usages, roles and entities one combination passes (T03, T10)."""
    purpose = Purpose(wanted_usage, wanted_role, wanted_id)
    right = (wanted_usage, wanted_role) == (Usage.DIGITAL_SIGNATURE, Role.SUPPLIER) and wanted_id in {None, SUPPLIER}
    if right:
        check_purpose(read(GOOD), purpose)
        return
    with pytest.raises(CertificateRefused):
        check_purpose(read(GOOD), purpose)


@given(data=st.data())
def test_no_changed_octet_is_believed(data: st.DataObject) -> None:
    """Whatever octet of a certificate is changed: refused when read or when its path is checked, and nothing else."""
    der = bytearray(GOOD.der())
    at = data.draw(st.integers(0, len(der) - 1))
    der[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CertificateRefused):
        check_path(parse_certificate(bytes(der)), read(ISSUING), read(ROOT), at=AT, purpose=SIGNING)


@pytest.mark.parametrize("unused", range(1, 8))
def test_a_signature_with_unused_bits_is_another_spelling(unused: int) -> None:
    """Found by the test above: the library overlooks unused bits that are zero; one certificate has one spelling."""
    der = GOOD.der()
    at = der.rindex(b"\x00\x30", 0, -60)
    assert der[at - 2] == 0x03
    with pytest.raises(CertificateRefused):
        parse_certificate(der[:at] + bytes((unused,)) + der[at + 1 :])


@given(st.binary(max_size=300))
def test_any_octets_are_a_certificate_or_refused(octets: bytes) -> None:
    """Reading raises nothing but ``CertificateRefused``."""
    for data in (octets, b"\x30" + octets, b"-----BEGIN CERTIFICATE-----" + octets + b"-----END CERTIFICATE-----"):
        with pytest.raises(CertificateRefused):
            parse_certificate(data)


def test_pem_and_der_say_the_same() -> None:
    """PEM, also after an introduction and with carriage returns, is the same certificate as its DER."""
    pem = x509.load_der_x509_certificate(GOOD.der()).public_bytes(Encoding.PEM)
    same = parse_certificate(GOOD.der())
    assert parse_certificate(pem) == same
    assert parse_certificate(b"subject=...\r\n" + pem.replace(b"\n", b"\r\n")) == same


def test_a_certificate_says_in_words_what_it_is() -> None:
    """Holder, role, usage, validity and key are there for whoever shows it; an issuer and a device have theirs."""
    words = dict(read(WITH_POLICY).words())
    assert words["holder"] == "00-00-5E-EF-10-00-00-10 (supplier)"
    assert words["usage"] == "digitalSignature"
    assert words["valid"] == "2026-01-01 00:00:00 to 2036-01-01 00:00:00 UTC"
    assert words["public key"].startswith("04")
    assert words["policies"] == POLICY
    assert dict(read(DEVICE).words())["holder"] == "00-00-5E-EF-10-00-00-A0 (device)"
    assert dict(read(ISSUING).words())["holder"] == "the issuer CN=test issuing,OU=07"


def test_roles_of_payloads_and_certificates_are_one() -> None:
    """A role read from a payload is the same thing as one read from an OU."""
    assert PayloadRole is Role


# --- certificates of others ------------------------------------------------------------------------------------------


@needs_rtds
def test_every_published_certificate_is_read_or_refused_for_a_reason() -> None:
    """All 417 files: one is a bare public key and is refused as such; the others parse, and roles are those of 2.1."""
    files = sorted(RTDS_CERTIFICATES.glob("*.pem"))
    assert len(files) == 417
    refused, roles = {}, {}
    for path in files:
        try:
            certificate = parse_certificate(path.read_bytes())
        except CertificateRefused as refusal:
            refused[path.name] = refusal.rule
        else:
            roles[certificate.entity_id] = certificate.role
    assert refused == {"fffffffffffffffe-ka.pem": Rule.NOT_A_CERTIFICATE}
    known = {bytes.fromhex(f"90b3d51f300{end}"): role for end, role in (("00001", 1), ("00002", 4), ("10000", 2))}
    assert known.items() <= roles.items()
    assert sum(role is None for role in roles.values()) == 200


@needs_duis
def test_published_xml_signing_certificates_are_read() -> None:
    """The test PKI's own roles for XML signing, one of them written in decimal."""
    read_all = {
        path.stem: parse_certificate(path.read_bytes()) for path in (DUIS / "signing-certificates").glob("*.pem")
    }
    assert len(read_all) == 19
    assert read_all["dsp-xml-sign-90B3D51F30000002-ds"].role is Role.XML_SIGN_DSP
    assert read_all["dsp-xml-sign-90B3D51F30000002-ds-pre-1.4.1"].role is Role.XML_SIGN_DSP
    assert read_all["xml-sign-90B3D51F30010000-ds"].role is Role.XML_SIGN_USER


@needs_rtds
def test_a_published_path_holds_up_to_its_issuing_authority() -> None:
    """Certificates in a reference update of credentials were made by the authority that travels with them."""
    message = next((data for name, data in rtds_messages().items() if b"\x02ZA" in data), None)
    if message is None:
        pytest.skip("no reference message carries an issuing authority")
    found = []
    at = 0
    while (at := message.find(b"\x30\x82", at)) >= 0:
        size = int.from_bytes(message[at + 2 : at + 4], "big") + 4
        with contextlib.suppress(CertificateRefused):
            found.append(parse_certificate(message[at : at + size]))
        at += 1
    issuers = {one.subject_name: one for one in found if one.usage is Usage.CERT_SIGN}
    below = [one for one in found if one.usage is not Usage.CERT_SIGN and one.issuer_name in issuers]
    assert below
    for one in below:
        check_issued_by(one, issuers[one.issuer_name], at=one.not_before, usage=one.usage)
