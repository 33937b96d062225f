"""docs/api.md is true: each of its commands runs, and every operation of the API is on it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lastmetre.links.http_server import serve
from lastmetre.links.supplier_api import create_supplier_api
from tests.own_world import ESME
from tests.supplier_world import supplier_world

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
TOKEN = "a token of sixteen characters or more"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_each_command_of_the_page_runs(tmp_path: Path) -> None:
    """The shell runs them as they stand, token, port and device apart; each ends with an answer that is no error."""

    async def main() -> list[str]:
        with supplier_world(tmp_path) as world:
            async with serve(create_supplier_api(world.desk, TOKEN), "127.0.0.1", 0, None) as served:
                first = f"TOKEN='{TOKEN}'\nAPI=http://127.0.0.1:{served.port}\n"
                answers = []
                for block in BLOCKS[1:]:
                    text = first + block.replace("90b3d51f30010000", ESME.hex()).replace(
                        "curl -sS", "curl -fsS --noproxy '*'"
                    )
                    done = await asyncio.to_thread(
                        subprocess.run, ["sh", "-ec", text], check=False, capture_output=True, text=True, timeout=60
                    )
                    assert done.returncode == 0, block + done.stderr
                    answers.append(done.stdout)
                return answers

    single, held, bulk, seen = asyncio.run(main())
    assert len(json.loads(single)["utrn"]) == 20
    assert json.loads(held)["service"] == "arm_supply"
    assert json.loads(bulk)["line"] == 2
    assert "lastmetre_" in seen


def test_every_operation_is_on_the_page(tmp_path: Path) -> None:
    """No path of OpenAPI is missing there."""
    with supplier_world(tmp_path) as world:
        paths = create_supplier_api(world.desk, TOKEN).openapi()["paths"]
    assert [path for path in paths if path not in PAGE] == []
    assert len(paths) >= 9
