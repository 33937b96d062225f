"""A test SMKI made by ``lastmetre pki``, encrypted, for the tests of the subcommands that use keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.program import lastmetre

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SmkiFolder:
    """Where it is, and how to point the program at it."""

    directory: Path
    passphrase_file: Path

    @property
    def certificates(self) -> tuple[str, str]:
        """The option that names its certificates."""
        return "--certificates", str(self.directory / "certificates")

    def keys(self, party: str | None = None) -> tuple[str, ...]:
        """The options that name the keys of one party, or of all."""
        keys = self.directory if party is None else self.directory / "parties" / party / "keys"
        return "--keys", str(keys), "--passphrase-file", str(self.passphrase_file)

    def store(self, party: str | None = None) -> tuple[str, ...]:
        """All three."""
        return (*self.keys(party), *self.certificates)


def make_smki(directory: Path, *options: str) -> SmkiFolder:
    """Run ``lastmetre pki`` below a folder."""
    done = lastmetre("pki", str(directory / "smki"), "--home", "A", *options)
    assert done.returncode == 0, done.stderr
    return SmkiFolder(directory / "smki", directory / "smki.passphrase")
