"""``lastmetre policy check``: words for a good file, lines for a bad one."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from tests.program import lastmetre

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = files("lastmetre.supplier") / "policy_default.toml"


def test_a_good_file_is_said_in_words() -> None:
    """The file that comes along: each policy, road and limit in a sentence; exit status 0."""
    done = lastmetre("policy", "check", str(DEFAULT))
    assert done.returncode == 0, done.stderr
    assert "Policy default:" in done.stdout
    assert "1. SM WAN (0p a use); the next road after 900 s without an answer" in done.stdout


def test_a_bad_file_is_named_line_by_line(tmp_path: Path) -> None:
    """Every fault with file and line on standard error, nothing on standard output; exit status 1; JSON on request."""
    file = tmp_path / "roads.toml"
    file.write_text(DEFAULT.read_text().replace("wait_s = 900", "wait_s = -1"))
    done = lastmetre("policy", "check", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith(f"{file}: line ") and "wait_s is -1" in line for line in lines)
    as_json = lastmetre("policy", "check", str(file), "--json")
    assert as_json.returncode == 1
    assert len(json.loads(as_json.stdout)["faults"]) == len(lines)
