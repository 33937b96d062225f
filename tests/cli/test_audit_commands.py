"""``lastmetre audit``: the verifier that shares no code with the writer, and both subcommands as a user runs them."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.cli import audit_verify
from lastmetre.cli.audit_verify import ChainBroken, Head, read_head, verify
from lastmetre.links.http_server import serve
from lastmetre.links.supplier_api import create_supplier_api
from lastmetre.supplier.audit import ChainedEntry, Entry, chain
from lastmetre.supplier.views import audit_view
from tests.program import lastmetre, refused
from tests.supplier_world import supplier_world

if TYPE_CHECKING:
    import subprocess

TOKEN = "a token of sixteen characters or more"


def written() -> list[str]:
    """A chain of the writer's, one entry a line, with texts and documents of every kind."""
    last: ChainedEntry | None = None
    lines = []
    for number in range(1, 7):
        documents = (("order", bytes([number]) * 32),) if number % 2 else ()
        move = ("accepted", "prepared") if number % 3 else (None, None)
        last = chain(
            Entry(f"order-{number}", 1_800_000_000 + number, "an_event", move[0], move[1], f"élan {number}", documents),
            last,
        )
        lines.append(json.dumps(audit_view(last), ensure_ascii=False))
    return lines


def test_what_the_writer_wrote_holds() -> None:
    """Writer and verifier agree on the rule, text beyond ASCII included; the head is that of the last entry."""
    lines = written()
    assert verify(lines) == Head(6, json.loads(lines[-1])["hash"])
    assert verify([]) == Head(0, "0" * 64)


@pytest.mark.parametrize("field", sorted(audit_verify.FIELDS))
@pytest.mark.parametrize("at", range(6))
def test_any_changed_field_is_found(at: int, field: str) -> None:
    """Each field of each entry: a change is named with the entry it was made in."""
    lines = written()
    entry: dict[str, Any] = json.loads(lines[at])
    entry[field] = _other(entry[field])
    lines[at] = json.dumps(entry)
    with pytest.raises(ChainBroken) as broken:
        verify(lines)
    assert broken.value.entry == at + 1


def _other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return value | {"another": "00" * 32}
    if value is None:
        return "prepared"
    return value[:-1] + ("0" if value[-1] != "0" else "1")


@pytest.mark.parametrize("at", range(6))
def test_a_changed_entry_with_its_hash_made_anew_is_found(at: int) -> None:
    """Whoever changes an entry and its hash breaks the next one, or the published head."""
    lines = written()
    published = verify(lines)
    entry = json.loads(lines[at])
    before = None if at == 0 else _chained(json.loads(lines[at - 1]))
    forged = Entry(entry["order_id"], entry["at"], entry["event"], detail="another story")
    lines[at] = json.dumps(audit_view(chain(forged, before)))
    with pytest.raises(ChainBroken) as broken:
        verify(lines, published)
    assert broken.value.entry == min(at + 2, 6)


def _chained(view: dict[str, Any]) -> ChainedEntry:
    entry = Entry(view["order_id"], view["at"], view["event"])
    return ChainedEntry(view["seq"], entry, bytes.fromhex(view["previous"]), bytes.fromhex(view["hash"]))


@pytest.mark.parametrize("at", range(5))
def test_an_entry_left_out_or_out_of_order_is_found(at: int) -> None:
    """A hole, a swap and a repeat are named at the first place that is not as it was."""
    for spoil in (
        lambda lines: lines[:at] + lines[at + 1 :],
        lambda lines: [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
    ):
        with pytest.raises(ChainBroken) as broken:
            verify(spoil(written()))
        assert broken.value.entry == at + 1
    lines = written()
    with pytest.raises(ChainBroken) as broken:
        verify([*lines[: at + 1], lines[at], *lines[at + 1 :]])
    assert broken.value.entry == at + 2


@pytest.mark.parametrize("kept", range(6))
def test_a_cut_off_end_is_found_by_a_published_head(kept: int) -> None:
    """The chain alone cannot show it; a head kept elsewhere does."""
    lines = written()
    head = verify(lines)
    assert verify(lines[:kept]).seq == kept
    with pytest.raises(ChainBroken) as broken:
        verify(lines[:kept], head)
    assert broken.value.entry == kept + 1
    assert verify([*lines], verify(lines[:kept])) == head


@pytest.mark.parametrize("line", ["", "[]", "{", "nothing", '{"seq":1,"seq":1}', "[" * 100_000, '{"seq":1}'])
def test_what_is_no_entry_is_refused(line: str) -> None:
    """Rubbish, repeated keys and deep nesting are a broken chain, not a crash; an empty line is nothing."""
    if not line:
        assert verify([line]).seq == 0
        return
    with pytest.raises(ChainBroken):
        verify([line])


def test_the_verifier_stands_alone() -> None:
    """It imports nothing but Python's own modules: no line of the writer's can be wrong in both."""
    tree = ast.parse(Path(audit_verify.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.split(".")[0] == "lastmetre"]


def test_a_head_is_written_in_one_way() -> None:
    """SEQ:HASH and nothing else."""
    head = Head(3, "ab" * 32)
    assert read_head(str(head)) == head
    for text in ("", "3", "x:" + "ab" * 32, "3:abc"):
        with pytest.raises(ValueError, match="is no head"):
            read_head(text)


def test_verify_a_file(tmp_path: Path) -> None:
    """A sound copy gives its head and status 0; a spoilt one names the entry and gives status 1."""
    copy = tmp_path / "audit.ndjson"
    copy.write_text("\n".join(written()), encoding="utf-8")
    done = lastmetre("audit", "verify", str(copy))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the audit holds: 6 entries, head 6:")
    copy.write_text("\n".join(written()[:2] + written()[3:]), encoding="utf-8")
    done = lastmetre("audit", "verify", str(copy))
    assert done.returncode == 1
    assert "entry 3 is missing or out of order" in done.stderr
    done = lastmetre("audit", "verify", "-", "--json", stdin="\n".join(written()[1:]).encode())
    assert json.loads(done.stdout) == {
        "holds": False, "entry": 1, "why": "is missing or out of order: entry 2 stands in its place",
    }  # fmt: skip
    assert "either a FILE or --url" in refused("audit", "verify")
    assert "is no head" in refused("audit", "verify", str(copy), "--head", "yesterday")


def test_export_and_verify_a_running_supplier(tmp_path: Path) -> None:
    """What a running supplier's API gives is copied whole, and holds there as well as in the copy."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    copy = tmp_path / "audit.ndjson"

    async def main() -> tuple[subprocess.CompletedProcess[str], ...]:
        with supplier_world(tmp_path) as world:
            await world.place("top_up", values={"amount_pence": 500})
            await world.work()
            await world.carry()
            async with serve(create_supplier_api(world.desk, TOKEN), "127.0.0.1", 0, None) as served:
                reach = ("--url", f"http://127.0.0.1:{served.port}", "--token-file", str(token_file))
                export = await asyncio.to_thread(lastmetre, "audit", "export", *reach, "--output", str(copy))
                check = await asyncio.to_thread(lastmetre, "audit", "verify", *reach)
        return export, check

    export, check = asyncio.run(main())
    assert (export.returncode, check.returncode) == (0, 0), (export, check)
    head = export.stderr.removeprefix("head ").strip()
    assert head in check.stdout
    done = lastmetre("audit", "verify", str(copy), "--head", head)
    assert done.returncode == 0
