"""The passphrase of encrypted keys: from a file that nobody else may read, else from the environment; or a new one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from lastmetre.cli.problems import ProblemError

PASSPHRASE_OCTETS_MIN: Final = 16
"""PKCS#8 as the library writes it stretches a passphrase only a little, so that short ones would be guessed."""
PASSPHRASE_OCTETS_MAX: Final = 1_000
PASSPHRASE_VARIABLE: Final = "LASTMETRE_PASSPHRASE"  # noqa: S105 - the name of a variable
"""Asked for where no file is named."""


def read_passphrase(file_name: Path | str | None) -> bytes | None:
    """The first line of the file; without a file, what the environment has, or ``None``.

    Raises ``ProblemError`` for a file that others can read.
    """
    if file_name is None:
        given = os.environ.get(PASSPHRASE_VARIABLE)
        return None if given is None else _checked(given.encode(), PASSPHRASE_VARIABLE)
    path = Path(file_name)
    try:
        if path.stat().st_mode & 0o077:
            raise ProblemError(f"{path} can be read by others; run chmod 600 on it")
        with path.open("rb") as file:
            first = file.readline(PASSPHRASE_OCTETS_MAX + 2)
    except OSError as error:
        raise ProblemError(f"cannot read the passphrase file {path}: {error.strerror}") from error
    return _checked(first.rstrip(b"\r\n"), str(path))


def _checked(passphrase: bytes, source: str) -> bytes:
    if not PASSPHRASE_OCTETS_MIN <= len(passphrase) <= PASSPHRASE_OCTETS_MAX:
        raise ProblemError(f"{source} must hold a passphrase of {PASSPHRASE_OCTETS_MIN} characters or more in one line")
    return passphrase


def make_passphrase(path: Path) -> bytes:
    """A new passphrase, written to a new file that only its owner can read."""
    passphrase = secrets.token_urlsafe(32).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ProblemError(f"{path} is there already; give it with --passphrase-file, or move it") from None
    except OSError as error:
        raise ProblemError(f"cannot write the passphrase file {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(passphrase + b"\n")
    return passphrase
