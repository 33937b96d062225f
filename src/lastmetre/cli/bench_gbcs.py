"""``lastmetre bench gbcs``: what reading, checking and writing messages costs, as ratios to the cryptography in it.

Absolute times say more about a machine and its neighbours than about a program. So every row runs its work and its
yardstick by turns, in one process, takes the processor time of each, and compares the least disturbed round of both: a
neighbour can only make a round dearer, and takes more from a program than from arithmetic in registers. The median of
the ratios is in the JSON. Yardsticks are bare calls of the cryptographic library on inputs prepared beforehand: nobody
can be faster than these. docs/speed.md says where the limits come from.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from lastmetre.cli import unsafe_bench_vectors as own
from lastmetre.cli.inputs import FILE_SIZE_MAX
from lastmetre.cli.keyrings import Keys
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs import decode
from lastmetre.gbcs.acceptance import Accepted, accept_command
from lastmetre.gbcs.catalogue import Lane, Role, catalogue
from lastmetre.gbcs.counters import CounterState
from lastmetre.gbcs.decoded import DecodedMessage
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.keys import KeyUse, Peers, SecretCache, SharedSecret, agree
from lastmetre.gbcs.message import GroupingHeader, Message, df_part, parse_message, to_be_signed
from lastmetre.gbcs.payload import forget_shared
from lastmetre.gbcs.protect import CryptoRefused, seal, sign_pre_command, verify_mac, verify_signature
from lastmetre.gbcs.verdicts import Keyring, mac_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lastmetre.gbcs.certificates import Certificate


_SHA256: Final = ec.ECDSA(hashes.SHA256())
_SHA256_DETERMINISTIC: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
REPEATS: Final = 200
"""Calls of one operation in one measurement of it."""
SHORT_ROUNDS: Final = 4
"""Parts a round is cut into where it can be: short rounds find the moments when nobody disturbs."""
GROUP: Final = 48
"""Messages checked in one round."""
THREAD_ROUNDS: Final = 10
"""Times as many rounds for the threads: both cores must be free at once for a round to count."""
IMPORT_RUNS: Final = 9
DEVICES: Final = 62_500
"""A sixteenth of a million: the hash tables are exactly as full as at a million devices."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. A ratio has a limit it may not be above, or must not be below (``at_least``)."""

    work: str
    measured: float
    unit: str
    yardstick: str = ""
    yardstick_measured: float | None = None
    ratio: float | None = None
    limit: float | None = None
    reach: float | None = None
    at_least: bool = False
    median_ratio: float | None = None

    @property
    def held(self) -> bool | None:
        """Whether the limit is kept; ``None`` where there is none."""
        value = self.measured if self.ratio is None else self.ratio
        if self.limit is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Case:
    """A message with all that is needed to check it, and the bare cryptography of checking it."""

    data: bytes
    signer: ec.EllipticCurvePublicKey | None
    mac_keys: tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey] | None
    primitives: tuple[Callable[[], object], ...]


# --- what is measured on ---------------------------------------------------------------------------------------------


def _primitive_verify(message: Message, signer: ec.EllipticCurvePublicKey) -> Callable[[], object]:
    signature = message.signature or b""
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    covered = to_be_signed(message)
    return lambda: signer.verify(der, covered, _SHA256)


def _primitive_mac(
    df: bytes, header: GroupingHeader, keys: tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]
) -> Callable[[], object]:
    """One SHA-256 over the KDF's input and one AES-GCM over what the MAC covers (gbcs-messages 4.2, 4.3)."""
    z = keys[0].exchange(ec.ECDH(), keys[1])
    originator, counter = header.business_originator_id, header.originator_counter.to_bytes(8, "big")
    label = bytes((header.cra,))
    info = bytes.fromhex("60857406080300") + originator + b"\x09" + label + counter + header.business_target_id
    material, iv, aad = b"\0\0\0\x01" + z + info, originator + bytes(4), b"\x11" + bytes(5) + df

    def mac() -> bytes:
        return AESGCM(sha256(material).digest()[:16]).encrypt(iv, b"", aad)[:12]

    return mac


def make_cases(messages: list[bytes], keyring: Keyring) -> list[Case]:
    """The messages with what is needed to check them; what lacks its keys is only read."""
    cases = []
    for data in messages:
        message = parse_message(data)
        header, signer, primitives = message.header, None, []
        if message.signature:
            found = keyring.find_certificate(header.business_originator_id, KeyUse.DIGITAL_SIGNATURE)
            signer = None if found is None else found.public_key
        if signer is not None:
            primitives.append(_primitive_verify(message, signer))
        mac_keys = _mac_keys(message, keyring)
        if mac_keys is not None:
            primitives.append(_primitive_mac(df_part(message), header, mac_keys))
        cases.append(Case(data, signer, mac_keys, tuple(primitives)))
    return cases


def _mac_keys(
    message: Message, keyring: Keyring
) -> tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey] | None:
    """The pair of keys that made the MAC, found by trying: a Command does not say which broker sealed it."""
    if message.mac is None:
        return None
    for one, other in mac_pairs(message, keyring):
        for holder, peer in ((one, other), (other, one)):
            key = keyring.find_private_key(holder, KeyUse.KEY_AGREEMENT)
            certificate = keyring.find_certificate(peer, KeyUse.KEY_AGREEMENT)
            if key is None or certificate is None:
                continue
            with suppress(CryptoRefused):
                verify_mac(message, agree(key, certificate.public_key))
                return key, certificate.public_key
    return None


def read_corpus(directory: Path) -> list[bytes]:
    """Every message of a directory of hex files; raises ``ProblemError`` when there is none."""
    messages = []
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() != ".hex" or not path.is_file() or path.stat().st_size > FILE_SIZE_MAX:
            continue
        try:
            data = bytes.fromhex(path.read_text(encoding="ascii"))
            decode(data)
        except (ValueError, GbcsDecodeError) as error:
            raise ProblemError(f"{path} is no GBCS message: {error}") from error
        messages.append(data)
    if not messages:
        raise ProblemError(f"there are no .HEX files under {directory}")
    return messages


class _Meter:
    """A device that knows the supplier and the broker: what ``accept_command`` asks for."""

    entity_id = own.ESME
    device_type = "ESME"
    supported = frozenset(catalogue())
    counters = CounterState()

    def __init__(self) -> None:
        self._secrets = SecretCache()
        self.trust_anchors: Mapping[tuple[Role, KeyUse], Certificate] = {
            (Role.SUPPLIER, own.DS): own.certificate(own.SUPPLIER, own.DS),
            (Role.SUPPLIER, own.KA): own.certificate(own.SUPPLIER, own.KA),
            (Role.ACCESS_CONTROL_BROKER, own.KA): own.certificate(own.BROKER, own.KA),
        }

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """Agree a secret between the meter's own key and another party's."""
        return self._secrets.agree(own.private_key(own.ESME, own.KA), public_key)


# --- measuring -------------------------------------------------------------------------------------------------------


def _spent(work: Callable[[], object], calls: int = 1, clock: Callable[[], float] = time.thread_time) -> float:
    """Seconds of one call; of this thread's own processor time, unless the clock on the wall is asked for."""
    started = clock()
    for _ in range(calls):
        work()
    return (clock() - started) / calls


def _compare(
    work: Callable[[], object],
    yardstick: Callable[[], object],
    *,
    rounds: int,
    calls: tuple[int, int] = (1, 1),
    per: tuple[int, int] = (1, 1),
) -> tuple[float, float, float, float]:
    """Microseconds of work and yardstick in the least disturbed round of each, their ratio, and the median ratio."""
    works, yardsticks = [], []
    for _ in range(rounds):
        works.append(_spent(work, calls[0]) / per[0] * 1e6)
        yardsticks.append(_spent(yardstick, calls[1]) / per[1] * 1e6)
    ratios = [one / other for one, other in zip(works, yardsticks, strict=True)]
    spent, base = min(works), min(yardsticks)
    return spent, base, spent / base, statistics.median(ratios)


def _reading_rows(cases: list[Case], rounds: int) -> list[Row]:
    """Full decode and envelope, against one ECDSA verify."""
    messages, count = [case.data for case in cases], len(cases)
    key = own.private_key(own.SUPPLIER, own.DS)
    covered = to_be_signed(parse_message(own.command_of("ECS44", 1, own.arm(1))))
    signature, public_key = key.sign(covered, _SHA256), key.public_key()

    def verify() -> None:
        public_key.verify(signature, covered, _SHA256)

    def decode_all() -> None:
        for data in messages:
            decode(data)

    def decode_all_anew() -> None:
        forget_shared()
        decode_all()

    def parse_all() -> None:
        for data in messages:
            parse_message(data)

    rows = []
    for name, work, limit, reach in (
        ("full typed decode, mean per message", decode_all, 0.35, 0.18),
        ("the same, nothing remembered from before", decode_all_anew, None, None),
        ("envelope only, mean per message", parse_all, 0.05, 0.03),
    ):
        work()
        spent, base, ratio, median = _compare(
            work, verify, rounds=SHORT_ROUNDS * rounds, calls=(1, REPEATS // SHORT_ROUNDS), per=(count, 1)
        )
        yardstick = "one ECDSA verify"
        rows.append(Row(name, spent, "us", yardstick, base, ratio, limit, reach, median_ratio=median))
    return rows


def _checking_row(cases: list[Case], rounds: int) -> Row:
    """Decode, MAC and signature of everything, secrets cached, against the bare cryptography of it."""
    secrets = SecretCache()

    def check(some: list[Case]) -> None:
        for case in some:
            message = parse_message(case.data)
            DecodedMessage.from_message(message)
            if case.mac_keys is not None:
                verify_mac(message, secrets.agree(*case.mac_keys))
            if case.signer is not None:
                verify_signature(message, case.signer)

    def primitives(some: list[Case]) -> None:
        for case in some:
            for primitive in case.primitives:
                primitive()

    check(cases)
    # A round over all of them is long, and seldom undisturbed: so in groups, the least disturbed round of each.
    groups = [cases[at : at + GROUP] for at in range(0, len(cases), GROUP)]
    found = [_compare(partial(check, group), partial(primitives, group), rounds=rounds) for group in groups]
    spent, base = (sum(row[column] for row in found) / len(cases) for column in (0, 1))
    median = statistics.median(row[3] for row in found)
    name = "decode + MAC + signature, cached secrets, mean per message"
    return Row(name, spent, "us", "sum of its primitives", base, spent / base, 2.0, 1.4, median_ratio=median)


def _acting_rows(rounds: int) -> list[Row]:
    """Accepting, sealing and signing one Command, against the bare cryptography of each."""
    meter, keyring = _Meter(), own.BenchKeyring()
    command, unsigned = own.command_of("ECS44", 1, own.arm(1)), own.pre_command_of("ECS44", 1, own.arm(1))
    signer, broker = own.private_key(own.SUPPLIER, own.DS), own.private_key(own.BROKER, own.KA)
    device = own.certificate(own.ESME, own.KA).public_key
    df, covered = sign_pre_command(unsigned, signer), to_be_signed(parse_message(unsigned))
    (case,) = make_cases([command], keyring)
    mac = _primitive_mac(df, parse_message(command).header, (broker, device))
    if not isinstance(accept_command(command, meter), Accepted):
        raise ProblemError("the bench's own Command was refused: this is a defect of the bench")

    def accept_primitives() -> None:
        for primitive in case.primitives:
            primitive()

    def seal_primitives() -> None:
        broker.exchange(ec.ECDH(), device)
        mac()

    lines: tuple[tuple[str, Any, str, Any, float | None, float | None], ...] = (
        (
            "a meter accepts a critical Command, cached secret",
            lambda: accept_command(command, meter), "ECDSA verify + KDF + GMAC", accept_primitives, 1.5, 1.2,
        ),
        (
            "seal, cold secret",
            lambda: seal(df, agree(broker, device)), "ECDH + KDF + GMAC", seal_primitives, 1.25, 1.1,
        ),
        (
            "sign a Pre-Command",
            lambda: sign_pre_command(unsigned, signer),
            "one ECDSA sign (RFC 6979)", lambda: signer.sign(covered, _SHA256_DETERMINISTIC), 1.3, 1.15,
        ),
        (
            "the same",
            lambda: sign_pre_command(unsigned, signer),
            "one ECDSA sign (random nonce)", lambda: signer.sign(covered, _SHA256), None, None,
        ),
    )  # fmt: skip
    rows = []
    for name, work, yardstick_name, yardstick, limit, reach in lines:
        short = REPEATS // SHORT_ROUNDS
        spent, base, ratio, median = _compare(work, yardstick, rounds=SHORT_ROUNDS * rounds, calls=(short, short))
        rows.append(Row(name, spent, "us", yardstick_name, base, ratio, limit, reach, median_ratio=median))
    return rows


def _thread_rows(rounds: int) -> list[Row]:
    """The same verifications by one thread and by two, ours and the library's bare ones.

    The least disturbed round of each counts: what runs on the other core would otherwise be taken for ourselves. When
    even the bare verifications gain nothing, the machine had no second core to give.
    """
    commands = [own.command_of("ECS44", number, own.arm(number)) for number in range(REPEATS)]
    cases = make_cases(commands, own.BenchKeyring())
    public_key = own.certificate(own.SUPPLIER, own.DS).public_key
    checks: list[Callable[[], object]] = [
        partial(verify_signature, parse_message(case.data), public_key) for case in cases
    ]
    bare = [case.primitives[0] for case in cases]

    def run_all(some: list[Callable[[], object]]) -> None:
        for one in some:
            one()

    rows = []
    with ThreadPoolExecutor(2) as pool:
        for name, work, limit, reach in (
            ("verifying by one thread", checks, 1.6, 1.85),
            ("bare verifications by one thread", bare, None, None),
        ):
            halves = (work[: REPEATS // 2], work[REPEATS // 2 :])
            by_one, by_two = [], []
            for _ in range(THREAD_ROUNDS * rounds):
                by_one.append(_spent(partial(run_all, work), clock=time.perf_counter))
                both = partial(_both, pool, run_all, halves)
                by_two.append(_spent(both, clock=time.perf_counter))
            spent, base = min(by_one) / REPEATS * 1e6, min(by_two) / REPEATS * 1e6
            row = Row(name, spent, "us", "the same by two threads", base, spent / base, limit, reach, at_least=True)
            rows.append(row)
    return rows


def _both(pool: ThreadPoolExecutor, run_all: Callable[[Any], None], halves: tuple[Any, Any]) -> None:
    for _done in pool.map(run_all, halves):
        pass


def _import_rows() -> list[Row]:
    rows = []
    for name, statement, limit, reach in (
        ("import of lastmetre.gbcs", "import lastmetre.gbcs", 0.15, 0.08),
        (
            "import and first decode",
            f"from lastmetre.gbcs import decode; decode(bytes.fromhex('{_small()}'))",
            None,
            None,
        ),
    ):
        code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
        runs = []
        for _ in range(IMPORT_RUNS):
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
            runs.append(float(done.stdout))
        rows.append(Row(name, statistics.median(runs), "s", limit=limit, reach=reach))
    return rows


def _small() -> str:
    return own.command_of("ECS44", 1, own.arm(1)).hex()


def _memory_row() -> Row:
    """What a head end keeps of each device: the agreed secret by both public keys, and a state of counters."""
    count = 2 * DEVICES
    peers = Peers(2 * count)
    states: dict[bytes, CounterState] = {}
    tracemalloc.start()
    try:
        before, _peak = tracemalloc.get_traced_memory()
        for number in range(DEVICES):
            peers.put(b"\x02" + number.to_bytes(32, "big"), number.to_bytes(32, "little"))
            state = CounterState().with_accepted(Role.SUPPLIER, Lane.ORDINARY, 1_795_400_000_000 + number)
            states[number.to_bytes(8, "big")] = state
        after, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Row("keys and counters of one device", (after - before) / DEVICES, "octets", limit=500)


# --- the command -----------------------------------------------------------------------------------------------------


def run_bench_gbcs(
    *, corpus: Path | None, certificates: Path | None, keys: Path | None, rounds: int, as_json: bool
) -> None:
    """Measure everything and print the table; raises ``ProblemError`` for a corpus that cannot be read."""
    if corpus is None:
        messages, keyring, name = own.messages(), own.BenchKeyring(), "own vectors"
        cases = make_cases(messages, keyring)
    else:
        if certificates is None or keys is None:
            raise ProblemError("--corpus needs --certificates and --keys: the messages are checked as well as read")
        ring = Keys(certificates=certificates, keys=keys, passphrase_file=None).ring
        cases, name = make_cases(read_corpus(corpus), ring), corpus.name
    rows = [*_reading_rows(cases, rounds), _checking_row(cases, rounds), *_acting_rows(rounds)]
    rows += [*_thread_rows(rounds), *_import_rows(), _memory_row()]
    facts = _facts(name, cases, rounds)
    if as_json:
        print(json.dumps({**facts, "rows": [{**asdict(row), "held": row.held} for row in rows]}, indent=2))
    else:
        _show(facts, rows)


def _facts(name: str, cases: list[Case], rounds: int) -> dict[str, object]:
    return {
        "messages": name,
        "count": len(cases),
        "octets": sum(len(case.data) for case in cases),
        "signatures": sum(case.signer is not None for case in cases),
        "macs": sum(case.mac_keys is not None for case in cases),
        "rounds": rounds,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


def _show(facts: dict[str, object], rows: list[Row]) -> None:
    table = Table(title="lastmetre bench gbcs", caption=", ".join(f"{name} {value}" for name, value in facts.items()))
    table.add_column("work, and its yardstick", ratio=1)
    for heading in ("work", "yardstick", "ratio", "limit", "held"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        reach = "" if row.reach is None else f" ({row.reach:g})"
        table.add_row(
            f"{row.work} : {row.yardstick}" if row.yardstick else row.work,
            f"{row.measured:.4g} {row.unit}",
            "" if row.yardstick_measured is None else f"{row.yardstick_measured:.4g} {row.unit}",
            "" if row.ratio is None else f"{row.ratio:.3f}",
            "" if row.limit is None else f"{'≥' if row.at_least else '≤'} {row.limit:g}{reach}",
            "" if row.held is None else ("yes" if row.held else "NO"),
        )
    Console().print(table)
