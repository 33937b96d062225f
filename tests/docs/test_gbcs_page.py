"""``docs/gbcs.md`` works as it stands: every fenced block is run, in order, in an empty folder."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gbcs.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks() -> list[tuple[str, str]]:
    return FENCE.findall(PAGE.read_text("utf-8"))


def _run_console(block: str) -> None:
    """Each line after ``$`` is run by bash; the lines below it must be its output, ``...`` standing for any text."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        told, wanted = done.stdout.splitlines(), expected.splitlines()
        assert len(told) == len(wanted), f"{command}\n{done.stdout}"
        for line, pattern in zip(told, wanted, strict=True):
            assert fnmatch.fnmatchcase(line, re.sub(r"([\[\]*?])", r"[\1]", pattern).replace("...", "*")), line


def test_every_block_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python blocks share their names, console blocks print what the page says, and both share a folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))
    for kind, block in _blocks():
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)  # running the page is the test
        else:
            assert kind == "console"
            _run_console(block)


def test_the_page_has_its_five_recipes() -> None:
    """A block that lost its fence would not be run: there are five recipes, each with code, and the set-up."""
    text = PAGE.read_text("utf-8")
    recipes = re.split(r"^## (?=\d\. )", text, flags=re.MULTILINE)
    assert len(recipes) == 6
    assert all(FENCE.search(recipe) for recipe in recipes)
    assert text.count("```") == 2 * len(_blocks())
