"""The XML signature profile: the genuine verify, the tampered do not, and no known trick gets anything believed."""

from __future__ import annotations

import shutil
import subprocess
from itertools import product
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lastmetre.duis.documents import read_signed_request
from lastmetre.duis.errors import DuisDecodeError, DuisError, DuisValueError, SignatureReason, SignatureRefused
from lastmetre.duis.signature import (
    Signer,
    _read_plain,
    _read_tree,
    normalise_issuer,
    remove_signature,
    sign_document,
    verify_document,
)
from lastmetre.gbcs.certificates import parse_certificate
from tests.duis.support import (
    SUPPLIER,
    TestCertificate,
    assert_schema_valid,
    example,
    find_published,
    published_signer,
    schema,
    signing_certificates,
    templates,
)
from tests.shared_data import DUIS, needs_duis

if TYPE_CHECKING:
    from pathlib import Path

GENUINE = ["readfw-response", "readfw-response-resigned", "read-inventory-response-4g", "read-inventory-response-5.4"]
SR = "http://www.dccinterface.co.uk/ServiceUserGateway"
DS = "http://www.w3.org/2000/09/xmldsig#"

KEY = ec.derive_private_key(0x1234567, ec.SECP256R1())
SIGNER = Signer(KEY, "CN=Test,OU=07", 4711)
DOCUMENT = (
    f'<sr:Request xmlns:sr="{SR}" xmlns:unused="urn:unused" schemaVersion="5.4"><sr:Header>'
    "<sr:RequestID>90-B3-D5-1F-30-01-00-00:00-DB-12-34-56-78-90-A0:1234</sr:RequestID>"
    "<sr:CommandVariant>1</sr:CommandVariant><sr:ServiceReference>4.18</sr:ServiceReference>"
    "<sr:ServiceReferenceVariant>4.18</sr:ServiceReferenceVariant></sr:Header>"
    "<sr:Body><sr:ReadMeterBalance></sr:ReadMeterBalance></sr:Body></sr:Request>"
).encode()
SIGNED = sign_document(DOCUMENT, SIGNER)


def certificate(public_key: ec.EllipticCurvePublicKey) -> TestCertificate:
    """A supplier's certificate for a key of this test."""
    from datetime import UTC, datetime

    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    return TestCertificate(SUPPLIER, 2, public_key, start, end, SIGNER.issuer_name, SIGNER.serial_number)


def find(issuer_name: str, serial_number: int) -> TestCertificate | None:
    """Knows one certificate."""
    mine = certificate(KEY.public_key())
    return mine if (issuer_name, serial_number) == (mine.issuer_name, mine.serial_number) else None


def refusal(document: bytes) -> SignatureReason:
    """The reason for which a document is refused."""
    with pytest.raises(SignatureRefused) as refused:
        verify_document(document, find)
    return refused.value.reason


def part(start: str, end: str) -> str:
    """A piece of the signed document, markers included."""
    text = SIGNED.decode()
    return text[text.index(start) : text.index(end) + len(end)]


SIGNATURE = part("<ds:Signature ", "</ds:Signature>")
BODY = part("<sr:Body>", "</sr:Body>")


def changed(old: str, new: str) -> bytes:
    """The signed document with one piece replaced."""
    text = SIGNED.decode()
    assert text.count(old) == 1, text.count(old)
    return text.replace(old, new).encode()


# --- the published samples (duis section 3.1)


@needs_duis
@pytest.mark.parametrize("name", GENUINE)
def test_genuine_samples_verify(name: str) -> None:
    """The genuinely signed samples verify, and one changed character, a doubled or a missing signature is noticed."""
    document = example(f"{name}.xml")
    verified = verify_document(document, find_published)
    assert verified.signer.entity_id == bytes.fromhex("90b3d51f30000002")

    text = document.decode()
    at = text.index("ResponseDateTime>") + len("ResponseDateTime>")
    digit = "9" if text[at + 3] != "9" else "8"
    for tampered, reason in (
        (text[: at + 3] + digit + text[at + 4 :], SignatureReason.DIGEST),
        (text.replace("</sr:Response>", text[text.index("<ds:Signature ") :]), SignatureReason.NOT_ONE),
        (text[: text.index("<ds:Signature ")] + "</sr:Response>", SignatureReason.UNSIGNED),
    ):
        with pytest.raises(SignatureRefused) as refused:
            verify_document(tampered.encode(), find_published)
        assert refused.value.reason is reason


@needs_duis
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("readfw-response-badsignature.xml", SignatureReason.SIGNATURE),
        ("readfw-response-invalid.xml", SignatureReason.DIGEST),
        ("readfw-response-no-serial.xml", SignatureReason.PROFILE),
        ("readfw-response-nonexist-serial.xml", SignatureReason.UNKNOWN_CERTIFICATE),
        ("readfw-response-no-signature.xml", SignatureReason.UNSIGNED),
        ("acknowledgement-error.xml", SignatureReason.UNSIGNED),
        # Placeholder values of the wrong size in the signature itself: refused before any look-up.
        ("ECS17b_4.1.1_SINGLE_SUCCESS_REQUEST_DUIS-signed.XML", SignatureReason.PROFILE),
        ("ECS50_9.1_SUCCESS_REQUEST_DUIS.XML", SignatureReason.PROFILE),
        ("ECS17b_4.1.1_SINGLE_SUCCESS_REQUEST_DUIS.XML", SignatureReason.UNSIGNED),
        ("ECS17b_4.1.1_SINGLE_SUCCESS_REQUEST_DUIS-nonexist-businessid.XML", SignatureReason.UNSIGNED),
    ],
)
def test_every_other_sample_is_refused(name: str, reason: SignatureReason) -> None:
    """Each tampered, unknown or unsigned sample is refused for its own reason."""
    with pytest.raises(SignatureRefused) as refused:
        verify_document(example(name), find_published)
    assert refused.value.reason is reason
    assert str(reason) not in str(refused.value)


@needs_duis
def test_malformed_samples_are_refused() -> None:
    """The sample with an entity is not parsed; the one outside the schema and with a bad RequestID is named."""
    with pytest.raises(DuisDecodeError, match="DOCTYPE"):
        verify_document(example("duis-xxe.xml"), find_published)
    signed = sign_document(
        example("ECS17b_4.1.1_SINGLE_SUCCESS_REQUEST_DUIS-invalid.XML"), published_signer("Z1-supplier-ds")
    )
    with pytest.raises(DuisDecodeError, match="RequestID"):
        read_signed_request(signed, find_published)


# --- what we sign


def test_what_we_sign_verifies() -> None:
    """Signing is deterministic, keeps unused namespaces of the root under the digest, and verifies."""
    assert sign_document(DOCUMENT, SIGNER) == SIGNED
    assert verify_document(SIGNED, find).signer.entity_id == SUPPLIER
    assert refusal(changed(' xmlns:unused="urn:unused"', "")) is SignatureReason.DIGEST


def test_signing_twice_is_refused() -> None:
    """A document that carries a signature is not given a second one."""
    with pytest.raises(DuisValueError):
        sign_document(SIGNED, SIGNER)


@needs_duis
@pytest.mark.parametrize("path", templates()[::6], ids=lambda path: path.stem)
def test_templates_signed_here_verify_and_stay_valid(path: Path) -> None:
    """Templates lose their placeholder signature, are signed, valid by the official schema and verify."""
    signer = published_signer("xml-sign-90B3D51F30010000-ds")
    signed = sign_document(remove_signature(path.read_bytes()), signer)
    assert_schema_valid(signed)
    verify_document(signed, find_published)


def test_line_break_in_the_signature_value() -> None:
    """Whitespace and character references inside the signature's base64 do no harm."""
    value = part("<ds:SignatureValue>", "</ds:SignatureValue>")
    broken = value.replace("<ds:SignatureValue>", "<ds:SignatureValue>&#13;\n ")
    verify_document(changed(value, broken[:60] + "&#13;\n" + broken[60:]), find)


def test_whitespace_between_elements_is_signed_content() -> None:
    """Whitespace added after signing changes the digest, as XMLDSIG has it; whitespace behind the signature too."""
    assert refusal(changed("<sr:Body>", "\n<sr:Body>")) is SignatureReason.DIGEST
    assert refusal(changed("</ds:Signature>", "</ds:Signature>\n")) is SignatureReason.DIGEST


def test_comments_do_not_split_text() -> None:
    """A comment inside text changes neither the digest nor what is read; text it would hide is still read."""
    commented = changed(":1234<", ":12<!-- 99 -->34<")
    assert read_signed_request(commented, find).request.header.request_id.counter == 1234
    assert refusal(changed(":1234<", ":12<!-- -->35<")) is SignatureReason.DIGEST


# --- xmlsec1, another implementation


def _xmlsec1(document: bytes, key: ec.EllipticCurvePublicKey, directory: Path) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("xmlsec1")
    if program is None:
        pytest.skip("xmlsec1 is not installed (Debian package xmlsec1)")
    (directory / "key.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (directory / "document.xml").write_bytes(document)
    arguments = [program, "--verify", "--pubkey-pem", str(directory / "key.pem"), str(directory / "document.xml")]
    return subprocess.run(arguments, capture_output=True, check=False, timeout=30)


def test_xmlsec1_accepts_what_we_sign(tmp_path: Path) -> None:
    """A second implementation accepts our signature and refuses the document after one changed character."""
    result = _xmlsec1(SIGNED, KEY.public_key(), tmp_path)
    assert result.returncode == 0, result.stderr
    assert _xmlsec1(changed(":1234<", ":1235<"), KEY.public_key(), tmp_path).returncode != 0


@needs_duis
@pytest.mark.parametrize("name", GENUINE)
def test_xmlsec1_agrees_on_the_genuine_samples(name: str, tmp_path: Path) -> None:
    """The second implementation accepts the published samples as we do."""
    document = example(f"{name}.xml")
    key = verify_document(document, find_published).signer.public_key
    assert _xmlsec1(document, key, tmp_path).returncode == 0


# --- shapes that must not be believed (duis section 3.2)

EVIL_BODY = "<sr:Body><sr:ResetTariffBlockCounterMatrix></sr:ResetTariffBlockCounterMatrix></sr:Body>"


@pytest.mark.parametrize(
    "document",
    [
        # the signed body moved into the signature, another in its place
        changed(BODY, EVIL_BODY).replace(b"</ds:Signature>", f"<ds:Object>{BODY}</ds:Object></ds:Signature>".encode()),
        # the whole signed document moved below a new root
        f'<sr:Request xmlns:sr="{SR}" schemaVersion="5.4">{EVIL_BODY}'.encode()
        + SIGNED[SIGNED.index(b"<sr:Request") :]
        + b"</sr:Request>",
        # a signature that is not the last child of the root
        changed(SIGNATURE, "").replace(b"<sr:Header>", f"{SIGNATURE}<sr:Header>".encode()),
        # a signature inside the body
        changed(SIGNATURE, "").replace(b"</sr:Body>", f"{SIGNATURE}</sr:Body>".encode()),
        # a signature twice, and once more deeper down
        changed(SIGNATURE, SIGNATURE + SIGNATURE),
        changed(SIGNATURE, SIGNATURE).replace(b"</sr:Body>", f"{SIGNATURE}</sr:Body>".encode()),
        # a second Reference, an Id in place of the whole document, an XPointer
        changed("</ds:Reference>", "</ds:Reference>" + part("<ds:Reference ", "</ds:Reference>")),
        changed('URI=""', 'URI="#body"').replace(b"<sr:Body>", b'<sr:Body Id="body">'),
        changed('URI=""', 'URI="#xpointer(/)"'),
        changed(' URI=""', ""),
        # other algorithms and transforms
        changed("#ecdsa-sha256", "#ecdsa-sha1"),
        changed("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", "http://www.w3.org/2000/09/xmldsig#hmac-sha1"),
        changed("http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments"),
        changed("xmlenc#sha256", "xmlenc#sha512"),
        changed("#enveloped-signature", "#base64"),
        changed("</ds:Transforms>", f'<ds:Transform Algorithm="{DS}base64"></ds:Transform></ds:Transforms>'),
        changed(part("<ds:Transform ", "</ds:Transform>"), ""),
        changed("</ds:Transform>", "<ds:XPath>not(self::x)</ds:XPath></ds:Transform>"),
        changed(
            "</ds:CanonicalizationMethod>",
            '<x:InclusiveNamespaces xmlns:x="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="sr"/>'
            "</ds:CanonicalizationMethod>",
        ),
        # a key of the sender's own choice
        changed("</ds:X509Data>", "<ds:X509Certificate>AAAA</ds:X509Certificate></ds:X509Data>"),
        changed("<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyName>x</ds:KeyName>"),
        changed(part("<ds:KeyInfo>", "</ds:KeyInfo>"), ""),
        # values of the wrong size or form
        changed(">4711<", ">0x1267<"),
        changed(">4711<", ">" + "9" * 5000 + "<"),
        changed(">4711<", ">٤<"),
        changed(part("<ds:SignatureValue>", "</ds:SignatureValue>"), "<ds:SignatureValue></ds:SignatureValue>"),
        changed("<ds:SignedInfo ", "text<ds:SignedInfo "),
        changed("<ds:SignedInfo ", '<ds:SignedInfo Id="x" '),
    ],
)
def test_signature_shapes_that_are_refused(document: bytes) -> None:
    """T41: no wrapping, other algorithm, second signature or key from inside: refused before any key is looked up."""

    def no_lookup(_issuer: str, _serial: int) -> TestCertificate | None:
        raise AssertionError("a certificate was looked up for a document outside the profile")

    with pytest.raises(SignatureRefused) as refused:
        verify_document(document, no_lookup)
    assert refused.value.reason in (SignatureReason.PROFILE, SignatureReason.NOT_ONE, SignatureReason.UNSIGNED)


def test_a_moved_body_is_never_read() -> None:
    """T41: content that is not hashed cannot be smuggled in: a second body or root fails digest or structure."""
    for document in (
        changed("</sr:Body>", "</sr:Body>" + EVIL_BODY),
        changed(BODY, EVIL_BODY),
        changed("</sr:Header>", "</sr:Header><sr:Extra></sr:Extra>"),
    ):
        assert refusal(document) is SignatureReason.DIGEST


def test_issuer_and_serial_are_both_asked_for() -> None:
    """The look-up is given issuer and serial number; a known serial under another issuer finds nothing."""
    assert refusal(changed("CN=Test,OU=07", "CN=Other,OU=07")) is SignatureReason.UNKNOWN_CERTIFICATE
    assert refusal(changed(">4711<", ">4712<")) is SignatureReason.UNKNOWN_CERTIFICATE
    assert normalise_issuer("CN=U1, OU=07") == "CN=U1,OU=07"
    assert normalise_issuer("CN=a\\,b, OU=07") == "CN=a\\,b,OU=07"


def test_another_key_and_another_curve_are_refused() -> None:
    """The signature must be by the certificate's own P-256 key."""
    other = ec.derive_private_key(99, ec.SECP256R1()).public_key()
    with pytest.raises(SignatureRefused) as refused:
        verify_document(SIGNED, lambda _i, _s: certificate(other))
    assert refused.value.reason is SignatureReason.SIGNATURE
    wrong_curve = ec.derive_private_key(99, ec.SECP384R1()).public_key()
    with pytest.raises(SignatureRefused) as refused:
        verify_document(SIGNED, lambda _i, _s: certificate(wrong_curve))
    assert refused.value.reason is SignatureReason.WRONG_KEY


def test_every_octet_matters() -> None:
    """Any one octet of the signed document changed is refused or reads back as the very same request."""
    genuine = read_signed_request(SIGNED, find).request
    for at in range(len(SIGNED)):
        tampered = bytearray(SIGNED)
        tampered[at] ^= 1
        try:
            assert read_signed_request(bytes(tampered), find).request == genuine
        except DuisError:
            continue


def test_a_nested_signature_stands_only_where_the_schema_has_one() -> None:
    """A SMETS1 document carries its own provider's signature inside; anywhere else a second one is refused."""
    inner = SIGNATURE.replace("4711", "4712")
    for parent, allowed in (("SMETS1SignedResponse", True), ("S1SPAlert", True), ("ReadMeterBalance", False)):
        nested = f"<sr:{parent}>{inner}</sr:{parent}>"
        document = sign_document(
            DOCUMENT.replace(b"<sr:ReadMeterBalance></sr:ReadMeterBalance>", nested.encode()), SIGNER
        )
        # With a line end behind its value the signature is read from the tree.
        broken = b"</ds:SignatureValue>\n<ds:KeyInfo>".join(document.rsplit(b"</ds:SignatureValue><ds:KeyInfo>", 1))
        for form in (document, broken):
            if allowed:
                assert verify_document(form, find).signer.entity_id == SUPPLIER
            else:
                assert refusal(form) is SignatureReason.NOT_ONE


AROUND = (
    *("", " ", "\n", "<!--", "-->", "<!-- c -->", "<![CDATA[", "]]>", "x", "<a/>", "<a>", "</a>", '"', "&amp;", "\r"),
    *("<sr:Body>", "</sr:Body>", "</sr:Request>", SIGNATURE, SIGNATURE[:300], SIGNATURE[300:], f'<a b="{DS}"/>'),
)


def test_both_ways_of_reading_a_signature_agree() -> None:
    """A signature read from the text claims what it claims in the tree, and the same document is left without it."""
    text = SIGNED.decode().replace("></ds:Transform>", "/>")
    quick = 0
    places = [text.index(mark) for mark in ("<sr:Request", "<sr:Body>", "</sr:Body>", "<ds:Signature ")]
    places += [text.rindex(mark) + len(mark) for mark in ("</ds:Signature>", "</ds:KeyInfo>", "</sr:Request>")]
    for place, before, behind in product(places, AROUND, AROUND):
        at = text.index("<sr:Header>")
        document = (text[:at] + before + text[at:place] + behind + text[place:]).encode()
        try:
            found = _read_plain(document)
        except (DuisDecodeError, SignatureRefused):
            with pytest.raises((DuisDecodeError, SignatureRefused)):
                _read_tree(document)
            continue
        if found is not None:
            assert found == _read_tree(document)
            quick += 1
    assert quick > 50


@needs_duis
def test_certificates_of_the_house_fit() -> None:
    """A certificate as ``gbcs`` parses it serves as a signer's certificate, role and period included."""
    mine = parse_certificate((DUIS / "signing-certificates" / "Z1-supplier-ds.pem").read_bytes())
    signed = sign_document(DOCUMENT, published_signer("Z1-supplier-ds"))
    verified = read_signed_request(signed, lambda _issuer, _serial: mine, at=1_500_000_000)
    assert verified.signer is mine
    assert (mine.issuer_name, mine.serial_number) == (
        published_signer("Z1-supplier-ds").issuer_name,
        published_signer("Z1-supplier-ds").serial_number,
    )


@needs_duis
def test_doubled_signature_is_outside_the_schema_too() -> None:
    """The official schema agrees that there is one signature at most; it does not ask for one."""
    from lxml import etree

    assert not schema().validate(etree.fromstring(changed(SIGNATURE, SIGNATURE + SIGNATURE)))
    assert schema().validate(etree.fromstring(changed(SIGNATURE, "")))


@needs_duis
def test_published_identities_are_what_the_tests_believe() -> None:
    """The test PKI's signing certificates name the parties and roles that the profile expects."""
    roles = {name: (entry.entity_id, entry.role) for name, entry in signing_certificates().items()}
    assert roles["dsp-xml-sign-90B3D51F30000002-ds"] == (bytes.fromhex("90b3d51f30000002"), 0x89)
    assert roles["dsp-xml-sign-90B3D51F30000002-ds-pre-1.4.1"][1] == 0x89
    assert roles["xml-sign-90B3D51F30010000-ds"] == (SUPPLIER, 0x87)
    assert (DUIS / "signing-keys.csv").is_file()
