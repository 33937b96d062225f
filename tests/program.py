"""Runs the program as a user does, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def lastmetre(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run it to its end; output as text."""
    command = [sys.executable, "-m", "lastmetre", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def refused(*arguments: str, stdin: bytes = b"") -> str:
    """Run it where it must refuse: exit status 2, one line on standard error, nothing on standard output."""
    done = lastmetre(*arguments, stdin=stdin)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert done.stderr.startswith("lastmetre: ")
    return done.stderr
