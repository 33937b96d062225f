"""What ends a subcommand early: one clear line on standard error, and an exit status."""

from __future__ import annotations

from typing import Final

EXIT_FAILED: Final = 1
"""Something was tried and did not succeed."""
EXIT_USAGE: Final = 2
"""What was asked cannot be tried: a wrong file, a bad digit, an unknown key."""


class ProblemError(Exception):
    """One line for the person at the terminal: what is wrong and what to do."""

    def __init__(self, line: str, status: int = EXIT_USAGE) -> None:
        super().__init__(line)
        self.status = status
