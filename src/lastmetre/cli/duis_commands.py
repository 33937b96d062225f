"""``lastmetre transform``, ``correlate``, ``duis new|sign|verify`` and ``conformance transform``.

Thin: files are read and results printed here; what they mean is decided in ``lastmetre.duis``. Each function returns
the exit status: 0 as hoped, 1 tried and not so (a difference, a refused signature), and raises ``ProblemError`` for
what cannot be tried.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.cli.inputs import read_message
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.duis import conformance
from lastmetre.duis.correlate import ANY_ISSUE_TIME, Agreed, Differences, IssueTimes, compare_pre_command
from lastmetre.duis.documents import PreCommand, Request, parse_date_time, parse_request, parse_response
from lastmetre.duis.errors import DuisDecodeError, DuisError, SignatureRefused, TransformError
from lastmetre.duis.identifiers import parse_entity
from lastmetre.duis.signature import Signer, issuer_name_of, normalise_issuer, sign_document, verify_document
from lastmetre.duis.skeletons import skeleton
from lastmetre.duis.transform import DeviceFacts, Records, Sender, TransformResult, rules_of, transform
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.message import parse_message
from lastmetre.links.duis_schema import OfficialSchema
from lastmetre.links.errors import LinkError
from lastmetre.links.keystore import load_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

DOCUMENT_SIZE_MAX: Final = 2_000_000
RTDS_ISSUED_AT: Final = "2015-01-01T00:00:00Z"
"""The moment at which the clock of the published messages stands still: the default for GBZ payloads."""


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_SIZE_MAX + 1)
    except OSError as error:
        raise ProblemError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > DOCUMENT_SIZE_MAX:
        raise ProblemError(f"{path} is larger than any DUIS document")
    return data


def _request(path: Path) -> Request:
    try:
        return parse_request(_read(path))
    except DuisDecodeError as error:
        raise ProblemError(f"{path} is no DUIS request: {error}") from error


# --- conformance transform


def run_conformance_transform(templates: Path, messages: Path, expected: Path | None, *, as_json: bool) -> int:
    """Hold our transform against request templates and their published messages; 0 when every difference is listed."""
    reasons = _expected(expected)
    documents = {path.stem: _read(path) for path in _files(templates, ".xml")}
    octets = {path.stem: _hex(path) for path in _files(messages, ".hex")}
    if not documents:
        raise ProblemError(f"there is no XML file under {templates}")
    verdicts = conformance.check(documents, octets)
    surprises = [v for v in verdicts if v.outcome == conformance.DIFFERENT and v.stem not in reasons]
    counts = Counter(verdict.outcome for verdict in verdicts)
    if as_json:
        rows = [_verdict_row(verdict, reasons) for verdict in verdicts]
        print(json.dumps({"counts": counts, "unexpected": len(surprises), "stems": rows}, indent=2))
    else:
        _print_verdicts(verdicts, reasons)
        shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in conformance.OUTCOMES)
        print(f"{len(verdicts)} stems: {shown}; {len(surprises)} differences not expected")
    return EXIT_FAILED if surprises else 0


def _verdict_row(verdict: conformance.Verdict, reasons: dict[str, str]) -> dict[str, Any]:
    return {
        "stem": verdict.stem,
        "outcome": verdict.outcome,
        "use_case": verdict.use_case,
        "difference": verdict.difference,
        "taken": list(verdict.taken),
        "expected": reasons.get(verdict.stem, "") if verdict.outcome == conformance.DIFFERENT else "",
    }


def _print_verdicts(verdicts: tuple[conformance.Verdict, ...], reasons: dict[str, str]) -> None:
    width = max(len(verdict.stem) for verdict in verdicts)
    for verdict in verdicts:
        line = f"{verdict.stem:<{width}}  {verdict.outcome}"
        if verdict.taken:
            line += f"  (taken from the message: {', '.join(verdict.taken)})"
        print(line)
        if verdict.outcome == conformance.DIFFERENT:
            print(f"{'':<{width}}  {_shortened(verdict.difference)}")
            print(f"{'':<{width}}  expected: {reasons.get(verdict.stem, 'NO')}")
        elif verdict.stem in reasons:
            print(f"{'':<{width}}  listed as different, and is not: take it off the list")


SHOWN_LENGTH_MAX: Final = 400


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]}..."


def _files(directory: Path, suffix: str) -> Iterator[Path]:
    if not directory.is_dir():
        raise ProblemError(f"there is no directory {directory}")
    return (path for path in sorted(directory.rglob("*")) if path.suffix.lower() == suffix and path.is_file())


def _hex(path: Path) -> bytes:
    try:
        return bytes.fromhex(_read(path).decode("ascii"))
    except ValueError:
        raise ProblemError(f"{path} does not hold hex digits") from None


def _expected(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        table = tomllib.loads(_read(path).decode())["expected"]
    except (ValueError, KeyError) as error:
        raise ProblemError(f"{path} is no list of expected differences (see docs/duis.md): {error}") from None
    if not all(isinstance(reason, str) and reason for reason in table.values()):
        raise ProblemError(f"{path}: every stem needs a reason")
    return dict(table)


# --- transform and correlate


@dataclass(frozen=True, slots=True)
class GivenFacts:
    """What the user says of the device and the sender; None where it is left open."""

    device_type: str | None = None
    gbcs_version: str | None = None
    twin: bool | None = None
    phases: int | None = None
    user_role: str | None = None
    other_device_type: str | None = None
    other_device_certificate: Path | None = None
    customer_identification_number: str | None = None
    broker: str | None = None
    """The access control broker's identifier, when the device does not know the User."""
    broker_counter: int | None = None
    change_of_supplier: str | None = None
    change_of_supplier_counter: int | None = None
    issued_at: str = RTDS_ISSUED_AT

    def records(self) -> Records:
        """What the DCC would add from its own records."""
        der = None if self.other_device_certificate is None else _certificate(self.other_device_certificate).public_der
        return Records(self.other_device_type, der, self.customer_identification_number)

    def sender(self) -> Sender:
        """Who speaks."""
        return Sender(
            self.user_role or "IS",
            _entity(self.broker, "--broker"),
            self.broker_counter,
            _entity(self.change_of_supplier, "--change-of-supplier"),
            self.change_of_supplier_counter,
            _moment(self.issued_at, "--issued-at"),
        )


def _entity(text: str | None, option: str) -> bytes | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text) if len(text) == 16 else parse_entity(text, option)
    except (ValueError, DuisDecodeError):
        raise ProblemError(f"{option}: {text!r} is no entity identifier of eight octets") from None


def _moment(text: str, option: str) -> int:
    try:
        return parse_date_time(text, option)
    except DuisDecodeError as error:
        raise ProblemError(str(error)) from None


def _device_types(request: Request) -> tuple[str, ...]:
    types = {kind for rule in rules_of(request.header.service_reference_variant) for kind in rule.devices}
    order = ("ESME", "GSME", "GPF", "CHF", "PPMID", "HCALCS", "SAPC")
    return tuple(kind for kind in order if kind in types)


_VERSION: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){1,2}", re.ASCII)


def _check_version(version: str | None) -> None:
    if version is not None and not _VERSION.fullmatch(version):
        raise ProblemError(f"--gbcs-version: {version[:20]!r} is no GBCS version, such as 4.3")


def run_transform(request_file: Path, given: GivenFacts, *, as_json: bool, schema: Path | None = None) -> int:
    """The GBCS message that the DCC would build from a request, with its values by name."""
    _check_version(given.gbcs_version)
    _require_valid(request_file, schema)
    request = _request(request_file)
    types = _device_types(request)
    device_type = given.device_type or (types[0] if len(types) == 1 else None)
    if device_type is None and types:
        raise ProblemError(f"say for which type of device with --device-type: {', '.join(types)}")
    originator = request.header.request_id.originator
    device = DeviceFacts(
        device_type or "",
        given.gbcs_version or "4.3",
        bool(given.twin),
        given.phases or 1,
        frozenset() if given.broker else frozenset({originator}),
        given.records(),
    )
    try:
        result = transform(request, device, given.sender())
    except TransformError as error:
        raise ProblemError(str(error)) from error
    if as_json:
        print(json.dumps(_result_row(result), indent=2))
        return 0
    print(f"{result.use_case} (message code {result.message_code:04X}), {_form(result)}")
    for name, shown in result.values:
        print(f"  {name}: {_shortened(shown)}")
    print(result.message.hex().upper())
    return 0


def _form(result: TransformResult) -> str:
    if result.critical:
        return "Pre-Command, to be signed by the User"
    return "to be signed and sealed by the DCC" if result.signed_by_dcc else "to be sealed by the DCC"


def _result_row(result: TransformResult) -> dict[str, Any]:
    return {
        "use_case": result.use_case,
        "message_code": f"{result.message_code:04X}",
        "critical": result.critical,
        "signed_by_dcc": result.signed_by_dcc,
        "message": result.message.hex().upper(),
        "values": [{"name": name, "value": shown} for name, shown in result.values],
    }


@dataclass(slots=True)
class _Judgement:
    """What a comparison came to, and what it took for granted because nobody said it."""

    outcome: Agreed | Differences
    assumed: list[str] = field(default_factory=list)


def run_correlate(
    request_file: Path,
    pre_command: str,
    given: GivenFacts,
    *,
    as_json: bool,
    issued_from: str | None = None,
    issued_to: str | None = None,
    schema: Path | None = None,
) -> int:
    """Whether a Pre-Command says what was asked. It is a GBCS message in any form, or the DSP's response as XML."""
    _check_version(given.gbcs_version)
    _require_valid(request_file, schema)
    request = _request(request_file)
    octets, version = _pre_command(pre_command)
    if version is not None and given.gbcs_version is None:
        given = replace(given, gbcs_version=version)
    issued = IssueTimes(
        ANY_ISSUE_TIME.earliest_at if issued_from is None else _moment(issued_from, "--issued-from"),
        ANY_ISSUE_TIME.latest_at if issued_to is None else _moment(issued_to, "--issued-to"),
    )
    judgement = _judge(request, octets, given, issued)
    found = judgement.outcome.found if isinstance(judgement.outcome, Differences) else ()
    if as_json:
        rows = [{"check": d.check, "name": d.name, "asked": d.asked, "found": d.found} for d in found]
        print(json.dumps({"agreed": not found, "assumed": judgement.assumed, "differences": rows}, indent=2))
    else:
        for assumption in judgement.assumed:
            print(f"taken for granted: {assumption}")
        for difference in found:
            print(f"{_shortened(str(difference))} (check {difference.check})")
        if not found:
            print("the Pre-Command says what was asked, to the octet")
    return EXIT_FAILED if found else 0


def _pre_command(argument: str) -> tuple[bytes, str | None]:
    """The octets, and the GBCS version where the DSP's response tells it."""
    path = Path(argument)
    if len(argument) < 256 and path.suffix.lower() == ".xml":
        try:
            payload = parse_response(_read(path)).payload
        except DuisDecodeError as error:
            raise ProblemError(f"{path} is no DUIS response: {error}") from error
        if not isinstance(payload, PreCommand):
            raise ProblemError(f"{path} carries no Pre-Command")
        return payload.gbcs_payload, payload.gbcs_version
    return read_message(argument), None


def _judge(request: Request, octets: bytes, given: GivenFacts, issued: IssueTimes) -> _Judgement:
    """Compare under what was given; what was left open is what fits the message code best, and is named."""
    try:
        code = parse_message(octets).header.message_code
    except GbcsError:
        code = -1
    records = given.records()
    best: tuple[tuple[bool, int], _Judgement] | None = None
    problem = "the request becomes no GBCS message"
    for kind, version, twin, phases in product(
        (given.device_type,) if given.device_type else _device_types(request),
        (given.gbcs_version,) if given.gbcs_version else conformance.GBCS_VERSIONS,
        (False, True) if given.twin is None else (given.twin,),
        (given.phases,) if given.phases else conformance.PHASES,
    ):
        device = DeviceFacts(kind, version, twin, phases, records=records)
        try:
            outcome = compare_pre_command(request, octets, device, issued)
        except TransformError as error:
            problem = str(error)
            continue
        judgement = _Judgement(outcome, _assumptions(given, device))
        if isinstance(outcome, Agreed):
            return judgement
        fits = not any(difference.name == "use case" for difference in outcome.found) and code >= 0
        rank = (fits, -len(outcome.found))
        if best is None or rank > best[0]:
            best = rank, judgement
    if best is None:
        raise ProblemError(f"what cannot be transformed cannot be compared: {problem}")
    return best[1]


def _assumptions(given: GivenFacts, device: DeviceFacts) -> list[str]:
    assumed = []
    if given.device_type is None:
        assumed.append(f"the device is of type {device.device_type}")
    if given.gbcs_version is None:
        assumed.append(f"its GBCS version is {device.gbcs_version}, or one with the same message codes")
    if given.twin is None and device.twin:
        assumed.append("it is a twin element meter")
    if given.phases is None and device.phases > 1:
        assumed.append(f"it has {device.phases} phases")
    return assumed


# --- duis new, sign, verify


def run_duis_new(
    variant: str,
    *,
    originator: str | None = None,
    target: str | None = None,
    counter: int = 1,
    choose: tuple[str, ...] = (),
) -> int:
    """A filled-in, commented skeleton of any request, on standard output. ``choose``: alternatives to take."""
    try:
        document = skeleton(
            variant,
            _entity(originator, "--originator") or bytes.fromhex("00005eef10000010"),
            _entity(target, "--target") or bytes.fromhex("00005eef100000a0"),
            counter,
            frozenset(choose),
        )
    except DuisError as error:
        raise ProblemError(str(error)) from error
    print(document, end="")
    return 0


@dataclass(frozen=True, slots=True)
class _PemCertificate:
    """A certificate as the signature needs it, whatever the role it names."""

    entity_id: bytes | None
    role: int | None
    public_key: ec.EllipticCurvePublicKey
    not_before: datetime
    not_after: datetime
    issuer_name: str
    serial_number: int
    public_der: bytes


def _certificate(path: Path) -> _PemCertificate:
    data = _read(path)
    try:
        load = x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate
        return _from_x509(load(data))
    except ValueError as error:
        why = str(error) if str(error).startswith("its ") else "it is neither PEM nor DER of a certificate"
        raise ProblemError(f"{path} is no certificate that signs DUIS documents: {why}") from None


def _from_x509(loaded: x509.Certificate) -> _PemCertificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    key = loaded.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("its key is no elliptic curve key")  # noqa: TRY004 - it is the file that is wrong
    unique = loaded.subject.get_attributes_for_oid(x509.NameOID.X500_UNIQUE_IDENTIFIER)
    units = loaded.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    identifier = unique[0].value if unique else b""
    unit = str(units[0].value) if units else ""
    # Two hexadecimal digits by the profile; three decimal ones were seen.
    role = int(unit, 10 if len(unit) == 3 else 16) if unit else None
    return _PemCertificate(
        entity_id=identifier[-8:] if isinstance(identifier, bytes) and identifier else None,
        role=role,
        public_key=key,
        not_before=loaded.not_valid_before_utc,
        not_after=loaded.not_valid_after_utc,
        issuer_name=issuer_name_of(loaded),
        serial_number=loaded.serial_number,
        public_der=loaded.public_bytes(Encoding.DER),
    )


def run_duis_sign(document: Path, *, key: Path, certificate: Path, out: Path | None, password: bytes | None) -> int:
    """Sign a document in the DUIS profile; to a file, or to standard output."""
    signing = _certificate(certificate)
    try:
        private_key = load_private_key(key, password)
    except LinkError as error:
        raise ProblemError(str(error)) from error
    if private_key.public_key().public_numbers() != signing.public_key.public_numbers():
        raise ProblemError(f"{key} is not the key of {certificate}")
    try:
        signed = sign_document(_read(document), Signer(private_key, signing.issuer_name, signing.serial_number))
    except DuisError as error:
        raise ProblemError(f"{document}: {error}") from error
    if out is None:
        print(signed.decode())
        return 0
    try:
        out.write_bytes(signed)
    except OSError as error:
        raise ProblemError(f"cannot write {out}: {error.strerror}") from error
    return 0


def run_duis_verify(document: Path, *, certificates: Path, as_json: bool, schema: Path | None = None) -> int:
    """Whether a document's signature is right, and whose it is. ``schema``: a directory with the official schema."""
    known = [_certificate(path) for suffix in (".pem", ".crt", ".der") for path in _files(certificates, suffix)]

    def find(issuer_name: str, serial_number: int) -> _PemCertificate | None:
        wanted = (normalise_issuer(issuer_name), serial_number)
        return next((found for found in known if (found.issuer_name, found.serial_number) == wanted), None)

    data = _read(document)
    reason, signer = "", None
    try:
        signer = verify_document(data, find).signer
    except SignatureRefused as refusal:
        reason = refusal.reason.value + (f" ({refusal.detail})" if refusal.detail else "")
    except DuisDecodeError as error:
        reason = str(error)
    violations = () if reason else _schema_violations(data, schema)
    entity = signer.entity_id.hex("-").upper() if signer and signer.entity_id else ""
    role = f"{signer.role:02X}" if signer and signer.role is not None else ""
    good = not reason and not violations
    if as_json:
        row = {"verified": not reason, "reason": reason, "signer": entity, "role": role, "schema": violations}
        print(json.dumps(row, indent=2))
    elif reason:
        print(f"not verified: {reason}")
    else:
        print(f"verified: signed by {entity or 'a party without identifier'}, role {role or 'none'}")
        for violation in violations:
            print(f"not valid by the schema: {violation}")
    return 0 if good else EXIT_FAILED


def _schema_violations(data: bytes, directory: Path | None) -> tuple[str, ...]:
    """What the official schema in a directory of the user's finds wrong with a document; nothing without a schema."""
    if directory is None:
        return ()
    try:
        return OfficialSchema(directory).violations(data)
    except LinkError as error:
        raise ProblemError(str(error)) from error


def _require_valid(path: Path, schema: Path | None) -> None:
    violations = _schema_violations(_read(path), schema)
    if violations:
        raise ProblemError(f"{path} is not valid by the schema: {'; '.join(violations)}")
