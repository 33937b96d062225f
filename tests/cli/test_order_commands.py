"""``lastmetre order`` and ``orders`` against a running API, as a user runs them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from lastmetre.links.http_server import serve
from lastmetre.links.supplier_api import create_supplier_api
from tests.own_world import ESME
from tests.program import lastmetre, refused
from tests.supplier_world import SupplierWorld, supplier_world

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]

TOKEN = "a token of sixteen characters or more"


def story(tmp_path: Path, tell: Callable[[SupplierWorld, Run], Awaitable[None]]) -> None:
    """Tells a story with a served API and a way to run the program on it."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)

    async def main() -> None:
        with supplier_world(tmp_path) as world:
            async with serve(create_supplier_api(world.desk, TOKEN), "127.0.0.1", 0, None) as served:

                async def program(*arguments: str) -> subprocess.CompletedProcess[str]:
                    reach = ("--url", f"http://127.0.0.1:{served.port}", "--token-file", str(token_file))
                    return await asyncio.to_thread(lastmetre, *arguments, *reach)

                await tell(world, program)

    asyncio.run(main())


def test_place_show_and_list(tmp_path: Path) -> None:
    """A top-up's code comes at once; afterwards the order shows what became of it."""

    async def tell(world: SupplierWorld, program: Run) -> None:
        place = ("order", "place", ESME.hex(), "top_up", "--value", "amount_pence=700", "--key", "k", "--json")
        placed = json.loads((await program(*place)).stdout)
        assert len(placed["utrn"]) == 20
        assert json.loads((await program(*place)).stdout)["order_id"] == placed["order_id"]
        await world.work()
        await world.carry()
        shown = await program("order", "show", placed["order_id"])
        assert "state    confirmed" in shown.stdout
        assert f"code     {placed['utrn']}" in shown.stdout
        listed = await program("orders")
        assert listed.stdout.split()[:4] == [placed["order_id"], ESME.hex(), "top_up", "confirmed"]

    story(tmp_path, tell)


def test_what_the_supplier_refuses_is_said(tmp_path: Path) -> None:
    """The API's own words, one line, status 1; a late cancel says that it may have run."""

    async def tell(world: SupplierWorld, program: Run) -> None:
        wrong = await program("order", "place", ESME.hex(), "top_up", "--value", "amount_pence=0")
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "amount_pence must be a whole number" in wrong.stderr
        order_id = await world.place()
        await world.work()
        await world.poll()
        late = await program("order", "cancel", order_id)
        assert late.returncode == 1
        assert "may have run" in late.stderr
        unknown = await program("order", "show", "nothing")
        assert "there is no order nothing" in unknown.stderr

    story(tmp_path, tell)


def test_waiting_ends_with_the_answer(tmp_path: Path) -> None:
    """``--wait-s`` gives status 1 when the time is over and nothing is confirmed."""

    async def tell(_world: SupplierWorld, program: Run) -> None:
        done = await program("order", "place", ESME.hex(), "arm_supply", "--wait-s", "0.1")
        assert done.returncode == 1
        assert "state    accepted" in done.stdout

    story(tmp_path, tell)


@pytest.mark.parametrize(("arguments", "words"), [
    (("order", "place", "00", "top_up", "--value", "much"), "NAME=NUMBER"),
    (("order", "show", "../audit"), "is no order"),
])  # fmt: skip
def test_what_cannot_be_asked(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """A mistake at the terminal is one line and status 2; nothing is sent."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    assert words in refused(*arguments, "--url", "http://127.0.0.1:9", "--token-file", str(token_file))
    assert "cannot read the API's token" in refused(
        "orders", "--url", "http://127.0.0.1:9", "--token-file", str(tmp_path / "none")
    )
