"""``lastmetre utrn``: digits made, read, and judged, with the worked vectors where they are at hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs.utrn import check_digit
from tests.program import lastmetre, refused
from tests.shared_data import RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds
from tests.smki_folder import SmkiFolder, make_smki

if TYPE_CHECKING:
    from pathlib import Path

WHO = ("--supplier", "00-00-5E-EF-10-00-00-10", "--device", "00005eef100000a0")
PUBLISHED = ("--supplier", "90B3D51F30010000", "--device", "00DB1234567890A0")
PUBLISHED_STORE = ("--keys", str(RTDS_KEYS), "--certificates", str(RTDS_CERTIFICATES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SmkiFolder:
    """A supplier and a meter."""
    return make_smki(tmp_path_factory.mktemp("utrn"))


@pytest.fixture(scope="module")
def digits(folder: SmkiFolder) -> str:
    """1,234 pence under UTRN counter 5000."""
    made = lastmetre("utrn", "new", "--pence", "1234", "--counter", "5000", *WHO, *folder.store("supplier"))
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@needs_rtds
@pytest.mark.parametrize(
    ("pence", "counter", "expected"),
    [
        ("10000", "1", "73943333457189043313"),
        ("1234", "4", "73947252416745201637"),
        ("819100", "1", "73943680956463432551"),
    ],
)
def test_the_worked_vectors_are_made(pence: str, counter: str, expected: str) -> None:
    """The three vectors of section 13.6, pounds where pence do not fit, and each is authentic again."""
    made = lastmetre("utrn", "new", "--pence", pence, "--counter", counter, *PUBLISHED, *PUBLISHED_STORE)
    assert made.stdout == expected + "\n"
    checked = lastmetre("utrn", "check", expected, "--highest-counter", "0", *PUBLISHED, *PUBLISHED_STORE, "--json")
    assert checked.returncode == 0
    read = json.loads(checked.stdout)
    assert (read["authentic"], read["pence"], read["utrn_counter"]) == (True, int(pence), int(counter))


def test_digits_alone_say_what_is_in_them(digits: str) -> None:
    """Without keys: value, counter bits, check digit, and that nothing was verified; spaces do not matter."""
    spaced = " ".join(digits[at : at + 4] for at in range(0, 20, 4))
    done = lastmetre("utrn", "check", spaced)
    assert done.returncode == 0
    assert "1234 pence" in done.stdout
    assert f"ends with {5000 % 1024}" in done.stdout
    assert "not checked" in done.stdout
    assert "authentic" not in json.loads(lastmetre("utrn", "check", digits, "--json").stdout)


@pytest.mark.parametrize(
    ("party", "counter", "status"),
    [
        ("supplier", ("--counter", "5000"), 0),
        ("home-a", ("--counter", "5000"), 0),
        ("supplier", ("--highest-counter", "4990"), 0),
        ("supplier", ("--highest-counter", "4488"), 0),
        ("supplier", ("--highest-counter", "4487"), 1),
        ("supplier", ("--counter", "5001"), 1),
        ("supplier", ("--counter", "6024"), 1),
        ("supplier", ("--highest-counter", "6024"), 1),
        ("supplier", ("--highest-counter", "0"), 1),
    ],
)
def test_authentic_only_under_its_own_counter(
    folder: SmkiFolder, digits: str, party: str, counter: tuple[str, str], status: int
) -> None:
    """Either side's private key will do; another counter, or one completed to another, is exit status 1."""
    done = lastmetre("utrn", "check", digits, *counter, *WHO, *folder.store(party))
    assert done.returncode == status
    assert ("NOT authentic" in done.stdout) is (status == 1)


def test_another_meters_utrn_is_not_authentic(folder: SmkiFolder, digits: str) -> None:
    """The same digits for the gas meter of the home, or from the other supplier, are exit status 1."""
    for who in (
        ("--supplier", "00005eef10000010", "--device", "00005eef100000a1"),
        ("--supplier", "00005eef10000011", "--device", "00005eef100000a0"),
    ):
        done = lastmetre("utrn", "check", digits, "--counter", "5000", *who, *folder.store(), "--json")
        assert (done.returncode, json.loads(done.stdout)["authentic"]) == (1, False)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("73943333457189043314", "the check digit is wrong"),
        ("7394333345718904331", "has 20 digits"),
        ("7394333345718904331x", "has 20 digits"),
        ("", "has 20 digits"),
        ("0" * 19 + check_digit("0" * 19), "outside the range"),
    ],
)
def test_bad_digits_are_one_clear_line(wrong: str, words: str) -> None:
    """Exit status 2, nothing on standard output."""
    assert words in refused("utrn", "check", wrong)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--pence": "8193"}, "whole pounds up to 8,191"),
        ({"--pence": "0"}, "1 to 8,191 pence"),
        ({"--pence": "x"}, "--pence"),
        ({"--counter": "0"}, "between 1 and 4294967295"),
        ({"--counter": "4294967296"}, "between 1 and 4294967295"),
        ({"--supplier": "1234"}, "16 hexadecimal digits"),
        ({"--supplier": "00005eef10000020"}, "neither the pp-ka key"),
        ({"--device": "00005eef100000b0"}, "no ka certificate of 00-00-5E-EF-10-00-00-B0"),
        ({"--keys": "nowhere"}, "nowhere is no directory of keys"),
    ],
)
def test_what_cannot_be_made_is_one_clear_line(folder: SmkiFolder, changed: dict[str, str], words: str) -> None:
    """Amount, counter, party or key: each is named."""
    given = {"--pence": "500", "--counter": "7", "--supplier": "00005eef10000010", "--device": "00005eef100000a0"}
    store = folder.store("supplier")
    given |= dict(zip(store[::2], store[1::2], strict=True)) | changed
    assert words in refused("utrn", "new", *(part for pair in given.items() for part in pair))


def test_half_a_question_is_refused(folder: SmkiFolder, digits: str) -> None:
    """Keys without a counter, both counters, or a device without keys: what is missing is said."""
    assert "to check the MAC give" in refused("utrn", "check", digits, "--device", "00005eef100000a0")
    assert "give either --counter" in refused("utrn", "check", digits, *WHO, *folder.store())
    both = ("--counter", "1", "--highest-counter", "1")
    assert "give either --counter" in refused("utrn", "check", digits, *WHO, *both, *folder.store())
    too_high = ("--highest-counter", "4294967296")
    assert "between 0 and" in refused("utrn", "check", digits, *WHO, *too_high, *folder.store())


def test_encrypted_keys_need_their_passphrase(folder: SmkiFolder, tmp_path: Path) -> None:
    """Without the passphrase, or with another, the key file and the remedy are named."""
    make = ("utrn", "new", "--pence", "5", "--counter", "5", *WHO, *folder.certificates)
    assert "its passphrase is needed (--passphrase-file)" in refused(*make, *folder.keys("supplier")[:2])
    other = tmp_path / "other"
    other.write_text("not the right passphrase\n")
    other.chmod(0o600)
    wrong = (*folder.keys("supplier")[:2], "--passphrase-file", str(other))
    assert "does not open with this passphrase" in refused(*make, *wrong)


@pytest.mark.parametrize("command", [("utrn", "new"), ("utrn", "check"), ("utrn",)])
def test_help_names_its_options(command: tuple[str, ...]) -> None:
    """``--help`` is exit status 0 and says what each option is."""
    done = lastmetre(*command, "--help")
    assert done.returncode == 0
    assert "twenty digits" in done.stdout or "UTRN" in done.stdout
