"""``lastmetre utrn``: make the twenty digits of a top-up, and say what twenty digits are worth."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lastmetre.cli.keyrings import Keys, parse_entity_id, shown
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.keys import KeyUse, SharedSecret, agree
from lastmetre.gbcs.protect import CryptoRefused
from lastmetre.gbcs.utrn import Utrn, UtrnRefused, ValueClass, check_utrn, complete_counter, make_utrn, split_pence

if TYPE_CHECKING:
    from pathlib import Path

_COUNTERS = 1 << 32


def run_new(
    *, pence: int, counter: int, supplier: str, device: str, keys: Path, certificates: Path,
    passphrase_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Print a UTRN; raises ``ProblemError`` for a value, counter or key that cannot make one."""
    supplier_id, device_id = parse_entity_id(supplier, "--supplier"), parse_entity_id(device, "--device")
    if not 0 < counter < _COUNTERS:
        raise ProblemError(f"--counter {counter}: a UTRN counter lies between 1 and {_COUNTERS - 1}")
    store = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file)
    secret = _secret(store, supplier_id, device_id)
    try:
        value, value_class = split_pence(pence)
        utrn = make_utrn(
            value, value_class, originator_counter=counter << 32, supplier_id=supplier_id, device_id=device_id,
            secret=secret,
        )  # fmt: skip
    except GbcsValueError as error:
        raise ProblemError(f"--pence {pence}: {error}") from error
    if as_json:
        print(json.dumps({**_fields(utrn), "utrn_counter": counter, "originator_counter": counter << 32}, indent=2))
    else:
        print(utrn.digits)


def run_check(
    digits: str, *, supplier: str | None, device: str | None, counter: int | None, highest_counter: int | None,
    keys: Path | None, certificates: Path | None, passphrase_file: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Say what is in the digits and, with keys, whether they are authentic; returns the exit status."""
    try:
        utrn = Utrn.parse(re.sub(r"[\s-]", "", digits))
    except UtrnRefused as error:
        raise ProblemError(str(error)) from error
    found: dict[str, Any] = {**_fields(utrn), "check_digit": "right"}
    asked = (supplier, device, counter, highest_counter, keys, certificates)
    verdict = None
    if any(value is not None for value in asked):
        if supplier is None or device is None or keys is None or certificates is None:
            raise ProblemError("to check the MAC give --supplier, --device, --keys, --certificates and a counter")
        utrn_counter = _utrn_counter(utrn, counter, highest_counter)
        supplier_id, device_id = parse_entity_id(supplier, "--supplier"), parse_entity_id(device, "--device")
        store = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file)
        secret = _secret(store, supplier_id, device_id)
        verdict = _authentic(utrn, utrn_counter, supplier_id, device_id, secret)
        found |= {"utrn_counter": utrn_counter, "authentic": verdict}
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _tell(found, supplier, device)
    return EXIT_FAILED if verdict is False else 0


def _utrn_counter(utrn: Utrn, counter: int | None, highest_counter: int | None) -> int:
    """The full counter: as given, or completed as the device does it (section 13.4)."""
    if (counter is None) is (highest_counter is None):
        raise ProblemError("give either --counter, the UTRN's own, or --highest-counter, the highest the device used")
    for option, value in (("--counter", counter), ("--highest-counter", highest_counter)):
        if value is not None and not 0 <= value < _COUNTERS:
            raise ProblemError(f"{option} {value}: a UTRN counter lies between 0 and {_COUNTERS - 1}")
    if counter is not None:
        return counter
    assert highest_counter is not None
    return complete_counter(utrn.counter_bits, highest_counter)


def _authentic(utrn: Utrn, utrn_counter: int, supplier_id: bytes, device_id: bytes, secret: SharedSecret) -> bool:
    if not 0 <= utrn_counter < _COUNTERS:  # completed to a number that no counter can have
        return False
    try:
        check_utrn(
            utrn, originator_counter=utrn_counter << 32, supplier_id=supplier_id, device_id=device_id, secret=secret
        )
    except CryptoRefused:
        return False
    return utrn.counter_bits == utrn_counter % 1024


def _secret(store: Keys, supplier_id: bytes, device_id: bytes) -> SharedSecret:
    """What the supplier's prepayment key and the device's key agreement key agree; either private key will do."""
    pairs = (
        (supplier_id, KeyUse.PREPAYMENT, device_id, KeyUse.KEY_AGREEMENT),
        (device_id, KeyUse.KEY_AGREEMENT, supplier_id, KeyUse.PREPAYMENT),
    )
    missing = ""
    for holder, use, peer, peer_use in pairs:
        private_key = store.private_key(holder, use)
        if private_key is None:
            missing = missing or f"--keys holds neither the pp-ka key of {shown(supplier_id)} nor the device's ka key"
            continue
        certificate = store.certificate(peer, peer_use)
        if certificate is not None:
            return agree(private_key, certificate.public_key)
        missing = f"--certificates holds no {peer_use} certificate of {shown(peer)}"
    raise ProblemError(missing)


def _fields(utrn: Utrn) -> dict[str, Any]:
    try:
        pence: int | None = utrn.pence
    except UtrnRefused:
        pence = None
    known = {kind.value: kind.name.lower() for kind in ValueClass}
    return {
        "digits": utrn.digits,
        "value": utrn.value,
        "value_class": utrn.value_class,
        "unit": known.get(utrn.value_class),
        "pence": pence,
        "counter_low_10_bits": utrn.counter_bits,
        "mac": utrn.mac.hex(),
        "token": f"{utrn.ptut:016x}",
    }


def _tell(found: dict[str, Any], supplier: str | None, device: str | None) -> None:
    unit = found["unit"] or f"of value class {found['value_class']}, which has no meaning that we know"
    lines = [
        ("value", f"{found['value']} {unit}"),
        ("UTRN counter", f"ends with {found['counter_low_10_bits']} (its low 10 bits)"),
        ("MAC", found["mac"]),
        ("check digit", found["check_digit"]),
    ]
    if "authentic" in found:
        lines[1] = ("UTRN counter", str(found["utrn_counter"]))
        made = f"made by {supplier} for {device} under this counter"
        lines.append(("verdict", f"authentic: {made}" if found["authentic"] else f"NOT authentic: not {made}"))
    else:
        lines.append(("verdict", "not checked: give --supplier, --device, --keys, --certificates and a counter"))
    for label, text in lines:
        print(f"{label:<13} {text}")
