"""Where other people's reference data lies, when it is there: beside the checkout, read in place and never copied."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
RTDS = SHARED / "rtds" / "RTDS-4.5.0"
RTDS_CERTIFICATES = SHARED / "rtds" / "certificates"
RTDS_KEYS = SHARED / "rtds" / "private-keys.csv"
DUIS = SHARED / "duis"
WYCHEPROOF = SHARED / "wycheproof"

needs_rtds = pytest.mark.skipif(not RTDS.is_dir(), reason="the Reference Test Data Set is not beside the checkout")
needs_duis = pytest.mark.skipif(not DUIS.is_dir(), reason="the DUIS schemas and templates are not beside the checkout")
needs_wycheproof = pytest.mark.skipif(not WYCHEPROOF.is_dir(), reason="Wycheproof is not beside the checkout")


def rtds_messages() -> dict[str, bytes]:
    """Every reference message by file stem, or nothing when the data set is absent."""
    if not RTDS.is_dir():
        return {}
    files = sorted(RTDS.rglob("*.HEX"))
    return {f"{file.parent.name}/{file.stem}": bytes.fromhex(file.read_text().strip()) for file in files}
