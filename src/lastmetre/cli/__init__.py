"""The command line: composes rooms and links into processes, and prints. No rule lives here."""

from __future__ import annotations


def main() -> None:
    """Run ``lastmetre``; the entry point of the installed script."""
    from lastmetre.cli.app import run

    run()
