"""The DUIS part of ``lastmetre bench``: ratios to lxml, to C14N + digest + ECDSA, and to our own parse, in one run.

Works on documents of its own, made here, no two with the same values. Each pair of measurements is taken in turns, now
the one first and now the other, so that whatever else the machine does falls on both; the quickest rounds
of each count.
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

ROUNDS: Final = 48
COUNTED: Final = 8
"""Rounds that count, the quickest: a mean of them is not moved by one round that was lucky."""
COPIES: Final = 20
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


def own_requests(seed: int = 0) -> tuple[Request, ...]:
    """Requests of all sizes: an instruction, a read, a balance, debts, a whole prepayment configuration, a mode.

    Values, counters and dates are others for each seed.
    """
    debts = compose.update_debt(
        SUPPLIER,
        METER,
        seed + 4,
        time_debt_register_1=1000 + seed,
        time_debt_register_2=2000 + seed,
        payment_debt_register=3000 + seed,
        debt_recovery_per_payment=500 + seed,
        recovery_1=compose.DebtRecovery(100 + seed, -3),
        recovery_2=compose.DebtRecovery(200 + seed, -3),
    )
    days = tuple(compose.SpecialDay(1 + (seed + at) % 12, 1 + (seed * 3 + at) % 28) for at in range(3))
    configuration = compose.PrepayConfiguration(
        30 + seed, 5000 + seed, 100 + seed, 200 + seed, 5_000_000 + seed, 1_000_000 + seed, days
    )
    return (
        compose.arm_supply(SUPPLIER, METER, seed + 1),
        compose.read_meter_balance(SUPPLIER, METER, seed + 2),
        compose.adjust_meter_balance(SUPPLIER, METER, seed + 3, -2000 - seed),
        debts,
        compose.update_prepay_configuration(SUPPLIER, METER, seed + 5, configuration),
        compose.set_prepayment_mode(
            SUPPLIER,
            METER,
            seed + 6,
            disablement_threshold=-2000 - seed,
            suspend_debt_disabled=seed % 2 == 0,
            suspend_debt_emergency=False,
        ),
    )


def _ratio(name: str, limit: float, ours: Callable[[], object], yardstick: Callable[[], object]) -> Ratio:
    taken: tuple[list[float], list[float]] = [], []
    pair = (ours, yardstick)
    for number in range(ROUNDS):
        for at in (0, 1) if number % 2 else (1, 0):
            start = perf_counter()
            pair[at]()
            taken[at].append(perf_counter() - start)
    mine, theirs = (sum(sorted(times)[:COUNTED]) for times in taken)
    return Ratio(name, limit, mine / theirs)


def measure_duis() -> tuple[Ratio, ...]:
    """Every ratio of the table, on the same documents."""
    requests = [request for seed in range(COPIES) for request in own_requests(seed)]
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
