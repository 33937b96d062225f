"""The DSP's settings: what the manual shows is what is read, and a wrong row is named."""

from __future__ import annotations

import textwrap
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pytest

from lastmetre.cli import dcc_settings
from lastmetre.cli.dcc_settings import DccSettings, inventory_of, options_of, waits_of, wan_profiles_of
from lastmetre.cli.key_settings import check_own_keys
from lastmetre.cli.passphrases import PASSPHRASE_VARIABLE, read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.dcc.errors import SettingsRefused
from lastmetre.dcc.holding import HoldLimits
from lastmetre.dcc.inventory import WanCoverage
from lastmetre.gbcs.keys import KeyUse
from lastmetre.links.keystore import Keyring, key_file_name, xml_file_name
from tests.dcc_process import PASSPHRASE, make_parties
from tests.own_world import BROKER, CHF, ESME, SUPPLIER
from tests.program import lastmetre

if TYPE_CHECKING:
    from pathlib import Path

BOTH = (KeyUse.KEY_AGREEMENT, KeyUse.DIGITAL_SIGNATURE)


def shown() -> str:
    """The settings file that the module's own text shows."""
    text = dcc_settings.__doc__ or ""
    return textwrap.dedent(text[text.index("    acb_id") :])


def read(text: str) -> DccSettings:
    """As the program reads it."""
    return msgspec.toml.decode(text.encode(), type=DccSettings, strict=True)


def test_the_settings_that_the_manual_shows_are_read() -> None:
    """Every setting of the example comes to the core as what it says."""
    settings = read(shown())
    inventory = inventory_of(settings)
    assert inventory.has_hub(CHF)
    assert inventory.device(ESME) is not None
    profile = wan_profiles_of(settings)[CHF]
    assert (profile.coverage, profile.loss, len(profile.windows)) == (WanCoverage.INTERMITTENT, 0.01, 1)
    assert waits_of(settings).intermittent_wait_s == 86_400
    rules = options_of(settings).rules
    assert (rules.volumes[0].limit, rules.volumes[0].user_id) == (100, SUPPLIER)
    assert (rules.values[0].least, rules.values[0].most) == (Decimal(1), Decimal(20_000))
    assert options_of(settings).outages.after_s == 180
    assert options_of(settings).limits == HoldLimits()
    meter = inventory.device(ESME)
    assert meter is not None
    assert meter.mpxns.import_mpxn == "1312345678111"
    since = [row.since_at for row in inventory.registered(meter, 2_000_000_000)]
    assert sorted(since) == [0, 1_775_001_600], "its own row, and its supply's"


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ('wan_windows = ["06:30-08:00"]', "", "windows"),
        ('wan_windows = ["06:30-08:00"]', 'wan_windows = ["six to eight"]', "06:30-08:00"),
        ("wan_loss = 0.01", "wan_loss = 7.0", "share"),
    ],
)
def test_a_wan_that_cannot_be_is_refused(was: str, now: str, words: str) -> None:
    """The row to mend is clear from the text."""
    settings = read(shown().replace(was, now))
    with pytest.raises(SettingsRefused, match=words):
        wan_profiles_of(settings)


def test_an_outage_may_be_told_never() -> None:
    """Zero seconds means never, not at once."""
    settings = read(shown().replace("outage_after_s = 180", "outage_after_s = 0"))
    assert options_of(settings).outages.after_s is None


def test_keys_that_are_not_their_certificates_are_refused(tmp_path: Path) -> None:
    """A DSP with another's key would seal what nobody believes: it does not start."""
    parties = make_parties(tmp_path)
    keys = parties.smki.party("dcc") / "keys"

    def check() -> None:
        check_own_keys(
            Keyring.open(certificates=parties.smki.certificates, keys=keys, password=PASSPHRASE), BROKER, BOTH
        )

    check()
    agreement, signature = (keys / key_file_name(BROKER, use) for use in BOTH)
    right = agreement.read_bytes()
    agreement.write_bytes(signature.read_bytes())
    with pytest.raises(ProblemError, match="ka key of 00005eef10000002 is not its certificate's"):
        check()
    agreement.write_bytes(right)
    (keys / xml_file_name(BROKER)).write_bytes(right)
    with pytest.raises(ProblemError, match="XML signing key"):
        check()
    agreement.unlink()
    with pytest.raises(ProblemError, match="no ka private key"):
        check()


def test_a_passphrase_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file is named; a file named goes first; a short one is refused; --unencrypted stays unencrypted."""
    assert read_passphrase(None) is None
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "from the environment")
    assert read_passphrase(None) == b"from the environment"
    file = tmp_path / "passphrase"
    file.write_text("out of a file, this one\n")
    file.chmod(0o600)
    assert read_passphrase(file) == b"out of a file, this one"
    done = lastmetre("pki", str(tmp_path / "smki"), "--suppliers", "1")
    assert done.returncode == 0, done.stderr
    assert PASSPHRASE_VARIABLE in done.stdout
    assert not (tmp_path / "smki.passphrase").exists()
    keys = tmp_path / "smki" / "parties" / "dcc" / "keys"
    Keyring.open(certificates=None, keys=keys, password=b"from the environment").private_key(BROKER, BOTH[0])
    done = lastmetre("pki", str(tmp_path / "open"), "--suppliers", "1", "--unencrypted")
    assert "NOT encrypted" in done.stdout
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "short")
    with pytest.raises(ProblemError, match="16 characters"):
        read_passphrase(None)
