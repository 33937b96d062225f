"""The DUIS part of ``lastmetre bench``: ratios to lxml, to C14N + digest + ECDSA, and to our own parse, in one run.

Works on documents of its own, made here. Each pair of measurements is taken in turns, so that whatever else the
machine does falls on both; the best round of each counts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree

from lastmetre.duis import compose
from lastmetre.duis.documents import build_request, parse_request
from lastmetre.duis.signature import Signer, sign_document, verify_document
from lastmetre.duis.transform import DeviceFacts, transform
from lastmetre.gbcs.keys import agree
from lastmetre.gbcs.protect import seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from lastmetre.duis.documents import Request

ROUNDS: Final = 25
SUPPLIER: Final = bytes.fromhex("00005eef10000010")
METER: Final = bytes.fromhex("00005eef100000a0")
_ECDSA: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


@dataclass(frozen=True, slots=True)
class Ratio:
    """One measurement: how many times as long as the yardstick, and how many times it may be at most."""

    name: str
    limit: float
    times: float

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return self.times <= self.limit


@dataclass(frozen=True, slots=True)
class _Known:
    """The one certificate of the bench."""

    entity_id: bytes
    role: int
    public_key: ec.EllipticCurvePublicKey
    not_before: datetime
    not_after: datetime


def own_requests() -> tuple[Request, ...]:
    """Requests of all sizes: an instruction, a read, a balance, debts, a whole prepayment configuration."""
    debts = compose.update_debt(
        SUPPLIER,
        METER,
        4,
        time_debt_register_1=1000,
        time_debt_register_2=2000,
        payment_debt_register=3000,
        debt_recovery_per_payment=500,
        recovery_1=compose.DebtRecovery(100, -3),
        recovery_2=compose.DebtRecovery(200, -3),
    )
    days = (compose.SpecialDay(12, 25), compose.SpecialDay(12, 26), compose.SpecialDay(1, 1))
    configuration = compose.PrepayConfiguration(30, 5000, 100, 200, 5_000_000, 1_000_000, days)
    return (
        compose.arm_supply(SUPPLIER, METER, 1),
        compose.read_meter_balance(SUPPLIER, METER, 2),
        compose.adjust_meter_balance(SUPPLIER, METER, 3, -2000),
        debts,
        compose.update_prepay_configuration(SUPPLIER, METER, 5, configuration),
        compose.set_prepayment_mode(
            SUPPLIER, METER, 6, disablement_threshold=-2000, suspend_debt_disabled=True, suspend_debt_emergency=False
        ),
    )


def _ratio(name: str, limit: float, ours: Callable[[], object], yardstick: Callable[[], object]) -> Ratio:
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for at, work in enumerate((ours, yardstick)):
            start = perf_counter()
            work()
            best[at] = min(best[at], perf_counter() - start)
    return Ratio(name, limit, best[0] / best[1])


def measure_duis() -> tuple[Ratio, ...]:
    """Every ratio of the table, on the same documents."""
    requests = own_requests() * 20
    documents = [bytes(build_request(request)) for request in requests]
    trees = [etree.fromstring(document) for document in documents]
    return (
        _ratio(
            "parse a request / lxml's parse",
            4.0,
            lambda: [parse_request(document) for document in documents],
            lambda: [etree.fromstring(document) for document in documents],
        ),
        _ratio(
            "build a request / lxml's serialise",
            4.0,
            lambda: [build_request(request) for request in requests],
            lambda: [etree.tostring(tree) for tree in trees],
        ),
        *_measure_signatures(),
        _measure_transform(),
    )


def _measure_signatures() -> tuple[Ratio, ...]:
    """Against what any implementation must do: canonical form of document and SignedInfo, digest, one ECDSA."""
    from datetime import UTC, datetime

    key = ec.derive_private_key(7, ec.SECP256R1())
    signer = Signer(key, "CN=Bench,OU=07", 1)
    valid = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    known = _Known(SUPPLIER, 2, key.public_key(), *valid)
    documents = [build_request(request) for request in own_requests()]
    foreign = [bytes(document) for document in documents]
    signed = [sign_document(document, signer) for document in foreign]
    trees = [etree.fromstring(document) for document in foreign]
    infos = [etree.fromstring(document).find(".//{*}SignedInfo") for document in signed]
    octets = [_canonical(info, exclusive=True) for info in infos]
    values = [key.sign(info, _ECDSA) for info in octets]

    def sign_floor() -> None:
        for tree, info in zip(trees, octets, strict=True):
            hashlib.sha256(_canonical(tree)).digest()
            key.sign(info, _ECDSA)

    def verify_floor() -> None:
        for tree, info, value in zip(trees, infos, values, strict=True):
            hashlib.sha256(_canonical(tree)).digest()
            known.public_key.verify(value, _canonical(info, exclusive=True), _ECDSA)

    return (
        _ratio(
            "sign a document of ours / C14N + digest + ECDSA",
            1.5,
            lambda: [sign_document(document, signer) for document in documents],
            sign_floor,
        ),
        _ratio(
            "sign a document of others / C14N + digest + ECDSA",
            1.5,
            lambda: [sign_document(document, signer) for document in foreign],
            sign_floor,
        ),
        _ratio(
            "verify a document / C14N + digest + ECDSA",
            1.5,
            lambda: [verify_document(document, lambda _issuer, _serial: known) for document in signed],
            verify_floor,
        ),
    )


def _canonical(node: etree._Element | None, *, exclusive: bool = False) -> bytes:
    assert node is not None
    return etree.tostring(node, method="c14n", exclusive=exclusive, with_comments=False)


def _measure_transform() -> Ratio:
    """A non-critical request, made into a sealed Command under a shared secret that is at hand."""
    request = compose.read_meter_balance(SUPPLIER, METER, 2)
    document = bytes(build_request(request))
    device = DeviceFacts("ESME", known_remote_parties=frozenset({SUPPLIER}))
    one, other = (ec.derive_private_key(number, ec.SECP256R1()) for number in (3, 5))
    secret = agree(one, other.public_key())
    return _ratio(
        "transform and seal a non-critical request / our parse of it",
        5.0,
        lambda: [seal(transform(request, device).message, secret) for _ in range(100)],
        lambda: [parse_request(document) for _ in range(100)],
    )


def run_bench_duis(*, as_json: bool) -> None:
    """Measure everything and print the table."""
    rows = measure_duis()
    if as_json:
        print(json.dumps([{**asdict(row), "kept": row.kept} for row in rows], indent=2))
        return
    width = max(len(row.name) for row in rows)
    print(f"{'work / yardstick':<{width}}   ratio   limit   held")
    for row in rows:
        print(f"{row.name:<{width}}   {row.times:5.2f}   {row.limit:5.2f}   {'yes' if row.kept else 'NO'}")
