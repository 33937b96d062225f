"""A software token for tests: SoftHSM2 (Debian's ``softhsm2``), in a folder of the test's own.

``needs_softhsm`` skips a test, with the reason, where SoftHSM or ``python-pkcs11`` is absent.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_PLACES = ("/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm")
PIN = "1234-5678"


def _module() -> Path | None:
    return next((path for place in _PLACES if (path := Path(place) / "libsofthsm2.so").exists()), None)


def _missing() -> str:
    if shutil.which("softhsm2-util") is None or _module() is None:
        return "SoftHSM is not installed (Debian: softhsm2)"
    return "" if importlib.util.find_spec("pkcs11") else "python-pkcs11 is not installed (extra hsm)"


needs_softhsm = pytest.mark.skipif(bool(_missing()), reason=_missing() or "SoftHSM is here")


@dataclass(frozen=True)
class SoftToken:
    """One token; ``environment`` shows it to a process."""

    module: Path
    label: str
    pin_file: Path
    environment: dict[str, str]


def make_token(folder: Path, label: str = "test token") -> SoftToken:
    """A new token in a folder, with nothing in it, shown to this process too: SoftHSM finds it by its environment."""
    module = _module()
    assert module is not None, "mark the test with needs_softhsm"
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    pin_file = folder / "pin"
    pin_file.write_text(f"{PIN}\n")
    pin_file.chmod(0o600)
    environment = {"SOFTHSM2_CONF": str(conf)}
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so-" + PIN]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
    os.environ |= environment
    import pkcs11

    pkcs11.lib(str(module)).reinitialize()  # a library that was open already reads its settings anew
    return SoftToken(module, label, pin_file, environment)
