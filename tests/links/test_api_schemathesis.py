"""schemathesis against the served API: what OpenAPI says is what is answered, and nothing ends in a 500."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from lastmetre.links.http_server import serve
from lastmetre.links.supplier_api import create_supplier_api
from tests.supplier_world import supplier_world

TOKEN = "a token of sixteen characters or more"
EXAMPLES = 25
# What the rules refuse although its shape is right (no such device, a deadline for nobody) is 422 as well, and a bulk's
# types have no serialiser there; the event stream has no end. Each of them has its own test.
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "415", "422"]
"""


def test_openapi_holds(tmp_path: Path) -> None:
    """Bounded examples of every operation but the endless one, right and wrong ones, with the token: no fault found."""
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)

    async def main() -> subprocess.CompletedProcess[str]:
        with supplier_world(tmp_path) as world:
            async with serve(create_supplier_api(world.desk, TOKEN), "127.0.0.1", 0, None) as served:
                program = Path(sys.executable).with_name("schemathesis")
                return await asyncio.to_thread(
                    subprocess.run,
                    [
                        str(program), "--config-file", str(settings), "run",
                        f"http://127.0.0.1:{served.port}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}",
                        "--exclude-path", "/events", "--max-examples", str(EXAMPLES), "--seed", "1",
                        "--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color",
                    ],
                    check=False, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"NO_PROXY": "*"},
                )  # fmt: skip

    done = asyncio.run(main())
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
