"""What the settings files of several processes have in common: identifiers, ports, times, TLS files.

Settings are TOML read by msgspec, strictly: an unknown name or a value of the wrong kind ends the process with one
line that names it. What only one process has stands beside that process.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

LOOPBACK: Final = "127.0.0.1"

EntityId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
"""An entity identifier as settings write it: 16 lower-case hexadecimal digits."""
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A date and time that says its zone."""
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
"""0 takes any free port; the ready event tells which."""
Pan = Annotated[int, msgspec.Meta(ge=0, le=0xFFFE)]
Short = Annotated[int, msgspec.Meta(ge=1, le=0xFFF7)]
"""A ZigBee short address that a device can have."""


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A party's identity on its sockets, and the authority whose certificates it believes there."""

    ca: str
    certificate: str
    key: str

    def opened_with(self, passphrase: bytes | None) -> tuple[Path, Path, Path, bytes | None]:
        """As ``links.tls`` asks for them: CA, certificate, key, and what opens the key."""
        return Path(self.ca), Path(self.certificate), Path(self.key), passphrase
