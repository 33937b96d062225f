"""``lastmetre sign``, ``seal``, ``verify``: a Pre-Command becomes a Command, and a Command is judged step by step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import pre_command, unsigned_df
from tests import own_world as own
from tests.program import lastmetre, refused
from tests.shared_data import RTDS, RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds
from tests.smki_folder import SmkiFolder, make_smki

if TYPE_CHECKING:
    from pathlib import Path

PRE_COMMAND = pre_command(own.header("ECS44", 9), own.supply_script(9, 54))
"""Critical: arm the meter's switch."""
READ = own.read_balance(7)
NON_CRITICAL = unsigned_df(parse_message(READ).header, parse_message(READ).content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SmkiFolder:
    """Two suppliers and home A."""
    return make_smki(tmp_path_factory.mktemp("protect"))


@pytest.fixture(scope="module")
def command(folder: SmkiFolder) -> str:
    """The Command: signed with the supplier's own keys, sealed with the broker's own, read from standard input."""
    signed = lastmetre("sign", PRE_COMMAND.hex(), *folder.keys("supplier"))
    assert signed.returncode == 0, signed.stderr
    sealed = lastmetre("seal", "-", *folder.store("dcc"), stdin=signed.stdout.encode())
    assert sealed.returncode == 0, sealed.stderr
    return sealed.stdout.strip()


def steps(done: object) -> dict[str, str]:
    """State by step of a ``verify --json``."""
    assert hasattr(done, "stdout")
    return {step["step"]: step["state"] for step in json.loads(done.stdout)["steps"]}


def test_signing_and_sealing_change_nothing_inside(command: str) -> None:
    """Header and content of the Command are those of the Pre-Command."""
    sealed, before = parse_message(bytes.fromhex(command)), parse_message(PRE_COMMAND)
    assert (sealed.header, sealed.content) == (before.header, before.content)
    assert (len(sealed.signature or b""), len(sealed.mac or b"")) == (64, 12)


@pytest.mark.parametrize("party", ["home-a", "dcc"])
def test_the_meters_key_or_the_brokers_verifies_a_command(folder: SmkiFolder, command: str, party: str) -> None:
    """Either private key of the pair shows that the meter would accept; what is assumed is said."""
    done = lastmetre("verify", command, *folder.store(party), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "accepted"
    found = steps(done)
    assert {found[name] for name in ("envelope", "protection", "MAC", "signature", "content")} == {"holds"}
    assert {found[name] for name in ("target", "originator", "counter", "use case")} == {"assumed"}


def test_with_everything_said_nothing_is_assumed(folder: SmkiFolder, command: str) -> None:
    """Device, type, trust and counter given: every step holds by itself."""
    told = ("--device", own.ESME.hex(), "--device-type", "esme", "--highest-counter", "8")
    trust = ("--trust", own.SUPPLIER.hex(), "--trust", own.BROKER.hex())
    done = lastmetre("verify", command, *told, *trust, *folder.store("home-a"))
    assert done.returncode == 0
    assert "assumed" not in done.stdout
    assert "ACCEPTED: 00-00-5E-EF-10-00-00-A0 would execute this Command\n" in done.stdout


def test_a_non_critical_command_needs_no_signature(folder: SmkiFolder) -> None:
    """A DF part with an empty signature is sealed and accepted."""
    sealed = lastmetre("seal", NON_CRITICAL.hex(), *folder.store("dcc")).stdout.strip()
    assert lastmetre("verify", sealed, *folder.store("home-a")).returncode == 0


@pytest.mark.parametrize(
    ("options", "step"),
    [
        (("--highest-counter", "9"), "counter"),
        (("--highest-counter", str((1 << 64) - 1)), "counter"),
        (("--device", "00005eef100000a1"), "target"),
        (("--device-type", "GSME"), "use case"),
        (("--trust", "00005eef10000011", "--trust", "00005eef10000002"), "originator"),
    ],
)
def test_each_thing_said_of_the_device_counts(
    folder: SmkiFolder, command: str, options: tuple[str, ...], step: str
) -> None:
    """A used counter, another device, another type, another trusted supplier: refused at that step, exit status 1."""
    done = lastmetre("verify", command, *options, *folder.store("home-a"), "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (1, "refused")
    assert [name for name, state in steps(done).items() if state == "does not hold"] == [step]


def test_a_changed_command_is_refused_where_it_was_changed(folder: SmkiFolder, command: str) -> None:
    """A bit of the MAC, or of the content under it, fails the MAC; a signature by the other supplier the signature."""
    whole = bytearray(bytes.fromhex(command))
    for at in (-1, whole.index(bytes.fromhex("0a006aff"))):
        changed = bytearray(whole)
        changed[at] ^= 1
        done = lastmetre("verify", changed.hex(), *folder.store("home-a"), "--json")
        assert (done.returncode, steps(done)["MAC"]) == (1, "does not hold")
    content = own.supply_script(9, 54)
    forged = pre_command(own.header("ECS44", 9, originator=own.OTHER_SUPPLIER), content)
    signed = lastmetre("sign", forged.hex(), *folder.keys("supplier-2")).stdout.strip()
    passed_off = signed.replace(own.OTHER_SUPPLIER.hex(), own.SUPPLIER.hex())
    sealed = lastmetre("seal", passed_off, *folder.store("dcc")).stdout.strip()
    done = lastmetre("verify", sealed, *folder.store("home-a"), "--json")
    assert (done.returncode, steps(done)["MAC"], steps(done)["signature"]) == (1, "holds", "does not hold")


def test_a_critical_command_without_its_signature_is_refused(folder: SmkiFolder) -> None:
    """Sealed with an empty signature: the protection is wrong (T02)."""
    sealed = lastmetre("seal", (PRE_COMMAND + b"\x00").hex(), *folder.store("dcc")).stdout.strip()
    done = lastmetre("verify", sealed, *folder.store("home-a"), "--json")
    assert (done.returncode, steps(done)["protection"]) == (1, "does not hold")


def test_what_cannot_be_checked_is_said_and_never_accepted(folder: SmkiFolder, command: str, tmp_path: Path) -> None:
    """Without a private key the MAC is open, yet the signature is checked; without certificates everything is open."""
    done = lastmetre("verify", command, *folder.certificates)
    assert done.returncode == 1
    assert "needs the device's own ka private key" in done.stdout
    assert "signature   holds" in done.stdout
    assert "UNDECIDED" in done.stdout
    (tmp_path / "empty").mkdir()
    bare = lastmetre("verify", command, "--certificates", str(tmp_path / "empty"), "--json")
    assert (bare.returncode, json.loads(bare.stdout)["verdict"]) == (1, "undecided")
    assert (steps(bare)["originator"], steps(bare)["MAC"]) == ("not checked", "not checked")
    damaged = bytearray(bytes.fromhex(command))
    damaged[-20] ^= 1  # within the signature, which ends twelve octets before the end
    wrong = lastmetre("verify", damaged.hex(), *folder.certificates, "--json")
    assert json.loads(wrong.stdout)["verdict"] == "refused"
    assert steps(wrong)["signature"] == "does not hold"


def test_two_parties_trusted_in_one_role_are_refused(folder: SmkiFolder, command: str) -> None:
    """A device holds one supplier."""
    both = ("--trust", own.SUPPLIER.hex(), "--trust", own.OTHER_SUPPLIER.hex())
    assert "one party in each role" in refused("verify", command, *both, *folder.store("home-a"))


def test_what_cannot_be_signed_is_one_clear_line(folder: SmkiFolder, command: str) -> None:
    """A Command, another's key, a certificate that does not fit, and no message at all."""
    keys = folder.keys("supplier")
    assert "only a Pre-Command" in refused("sign", command, *keys)
    assert "the Business Originator who must sign" in refused("sign", PRE_COMMAND.hex(), *folder.keys("supplier-2"))
    assert "no GBCS message" in refused("sign", "df00", *keys)
    assert "neither a file nor a message" in refused("sign", "hello", *keys)
    assert "its passphrase is needed" in refused("sign", PRE_COMMAND.hex(), *keys[:2])


def test_a_key_that_does_not_fit_its_certificate_is_refused(folder: SmkiFolder, tmp_path: Path) -> None:
    """With --certificates the key is held against the certificate before anything is signed."""
    other = make_smki(tmp_path)
    words = refused("sign", PRE_COMMAND.hex(), *folder.keys("supplier"), *other.certificates)
    assert "does not belong to the certificate" in words


def test_what_cannot_be_sealed_is_one_clear_line(folder: SmkiFolder, command: str) -> None:
    """A Pre-Command, a sealed Command, a Response, and keys of somebody else."""
    store = folder.store("dcc")
    assert "sign it first" in refused("seal", PRE_COMMAND.hex(), *store)
    assert "sealed with a MAC" in refused("seal", command, *store)
    response = bytearray(NON_CRITICAL.replace(b"\xdf\x09\x01", b"\xdf\x09\x02", 1))
    assert "this is a Response" in refused("seal", response.hex(), *store)
    assert "the ka pair of 0 access control brokers" in refused("seal", NON_CRITICAL.hex(), *folder.store("supplier"))
    unknown = NON_CRITICAL.replace(own.ESME, own.OTHER_ESME)
    assert "no ka certificate of 00-00-5E-EF-10-00-00-B0" in refused("seal", unknown.hex(), *store)
    assert "--broker 12" in refused("seal", NON_CRITICAL.hex(), *store, "--broker", "12")


def test_only_commands_are_verified(folder: SmkiFolder, command: str) -> None:
    """A Pre-Command and bad options end in one line that says what to do."""
    store = folder.store("home-a")
    assert "this is a Pre-Command" in refused("verify", PRE_COMMAND.hex(), *store)
    assert "--device-type toaster" in refused("verify", command, *store, "--device-type", "toaster")
    assert "lies between 0 and" in refused("verify", command, *store, "--highest-counter", "-1")
    assert "16 hexadecimal digits" in refused("verify", command, *store, "--trust", "x")


@needs_rtds
def test_a_published_command_is_accepted_with_the_published_keys() -> None:
    """A critical reference Command is one that the meter would execute; the same with its counter used is not."""
    path = next(RTDS.rglob("ECS44_7.3_SUCCESS_COMMAND_GBCS.HEX"), None)
    if path is None:
        pytest.skip("this reference message is not in the data set beside the checkout")
    store = ("--keys", str(RTDS_KEYS), "--certificates", str(RTDS_CERTIFICATES))
    done = lastmetre("verify", str(path), *store)
    assert done.returncode == 0, done.stdout + done.stderr
    counter = parse_message(bytes.fromhex(path.read_text())).header.originator_counter
    assert lastmetre("verify", str(path), *store, "--highest-counter", str(counter)).returncode == 1


@pytest.mark.parametrize("command", ["sign", "seal", "verify"])
def test_help_says_what_it_does(command: str) -> None:
    """``--help`` is exit status 0 and names the keys it needs."""
    done = lastmetre(command, "--help")
    assert done.returncode == 0
    assert "--keys" in done.stdout
    assert "--passphrase-file" in done.stdout
