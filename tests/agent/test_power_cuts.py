"""The power goes before or after any write to the store: nothing is lost, nothing doubled, the bytes stay the same."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.relay import ReceiptKind, decode_receipt
from tests.agent_world import NOW, Told, answer, command, envelope, make_agent

if TYPE_CHECKING:
    from lastmetre.agent.core import StoreAndForward
    from lastmetre.agent.ports import NewCommand
    from lastmetre.agent.states import State

ORDERS = {f"order-{counter}": counter for counter in (11, 12, 13)}


class PowerCutError(BaseException):
    """The lights go out: no handler may catch this."""


class CuttingStore(SqliteAgentStore):
    """The real store, and a plug that is pulled before or after its nth write."""

    def __init__(self, path: Path, cut_at: int, *, after_write: bool) -> None:
        self._left = cut_at
        self._after_write = after_write
        super().__init__(path)

    def _cut(self, *, after: bool) -> None:
        if after is not self._after_write:
            return
        self._left -= 1
        if self._left == 0:
            raise PowerCutError

    def add(self, command: NewCommand, receipt: bytes, at: int) -> None:
        """Keep a Command, with the plug in danger."""
        self._cut(after=False)
        super().add(command, receipt, at)
        self._cut(after=True)

    def move(self, order_id: str, before: State, after: State, receipt: bytes | None, at: int) -> None:
        """Change a state, with the plug in danger."""
        self._cut(after=False)
        super().move(order_id, before, after, receipt, at)
        self._cut(after=True)

    def queue(self, receipt: bytes, at: int) -> None:
        """Queue a receipt, with the plug in danger."""
        self._cut(after=False)
        super().queue(receipt, at)
        self._cut(after=True)

    def drop_receipt(self, number: int) -> None:
        """Drop a receipt, with the plug in danger."""
        self._cut(after=False)
        super().drop_receipt(number)
        self._cut(after=True)


class World:
    """A supplier that sends until it is answered; a hub that drops repeats and keeps Responses until they arrive."""

    def __init__(self) -> None:
        self.receipts: list[bytes] = []
        self.passed_up: list[bytes] = []
        self._responses: dict[bytes, bytes] = {}

    def answered(self) -> set[str]:
        """Orders whose Response the supplier has."""
        receipts = [decode_receipt(receipt) for receipt in self.receipts]
        return {receipt.order_id for receipt in receipts if receipt.kind is ReceiptKind.RESPONSE}

    def work(self, agent: StoreAndForward) -> None:
        """Everything that can happen, until nothing more does."""
        heard = {decode_receipt(receipt).order_id for receipt in self.receipts}
        for order_id, counter in ORDERS.items():
            if order_id not in heard:
                agent.take(envelope(order_id, command(counter)), NOW)
        while (offer := agent.next_offer(NOW)) is not None:
            if offer.command not in self.passed_up:
                self._responses[offer.command] = answer(ORDERS[offer.order_id])
            self.passed_up.append(offer.command)
            agent.transfer_accepted(offer, NOW)
        for sent, message in list(self._responses.items()):
            agent.from_tunnel(message, NOW)
            del self._responses[sent]
        while waiting := agent.waiting_receipts():
            for one in waiting:
                self.receipts.append(one.receipt)
                agent.receipt_handed_on(one)


@pytest.mark.parametrize("after_write", [False, True], ids=["before", "after"])
def test_a_cut_at_any_write_changes_nothing_in_the_end(tmp_path: Path, *, after_write: bool) -> None:
    """For every write of the whole story in turn: cut there, start again, and every order ends answered, once."""
    cut_at = 0
    while True:
        cut_at += 1
        path = tmp_path / f"{cut_at}.db"
        world = World()
        cut = _run(world, path, cut_at, after_write=after_write)
        if not cut:
            break
        _run(world, path, 0, after_write=after_write)
        assert world.answered() == set(ORDERS)
        by_kind = Counter((decode_receipt(r).order_id, decode_receipt(r).kind) for r in set(world.receipts))
        assert set(by_kind.values()) == {1}, "the same receipt may come twice, two different ones may not"
        assert set(world.passed_up) == {command(counter) for counter in ORDERS.values()}
        assert len(world.passed_up) <= len(ORDERS) + len(ORDERS), "a restart offers each at most once more"
        with SqliteAgentStore(path) as store:
            assert store.waiting_receipt_count() == 0
            assert not store.open_commands()
    assert cut_at > 3 * len(ORDERS)  # the plug was really pulled at each of the many writes


def _run(world: World, path: Path, cut_at: int, *, after_write: bool) -> bool:
    with CuttingStore(path, cut_at, after_write=after_write) as store:
        try:
            world.work(make_agent(store, Told()))
        except PowerCutError:
            return True
    return False


_TAKE_FOR_EVER = """
import sys
from pathlib import Path
from lastmetre.links.agent_store import SqliteAgentStore
from tests.agent_world import NOW, command, envelope, make_agent
with SqliteAgentStore(Path(sys.argv[1])) as store:
    agent = make_agent(store)
    for number in range(int(sys.argv[2]), 60):
        agent.take(envelope(f"order-{number}", command(number)), NOW)
        print(number, flush=True)
"""


def test_a_killed_process_leaves_what_it_acknowledged(tmp_path: Path) -> None:
    """SIGKILL to a real process in the middle of its writes, three times: all it had said is there, whole."""
    path = tmp_path / "agent.db"
    said = 0
    for _ in range(3):
        arguments = [sys.executable, "-c", _TAKE_FOR_EVER, str(path), str(said)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said = int(line) + 1
                if said % 15 == 0:
                    process.kill()
        with SqliteAgentStore(path) as store:
            held = {one.order_id: one for one in store.open_commands()}
            for number in range(said):
                assert held[f"order-{number}"].command == command(number)
            assert store.waiting_receipt_count() == len(held)
            said = len(held)


def test_two_agents_never_share_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process to open the file is refused, with a hint; the first is undisturbed."""
    from lastmetre.agent.errors import StoreError
    from lastmetre.links import agent_store

    monkeypatch.setattr(agent_store, "LOCK_WAIT_S", 0.05)
    with SqliteAgentStore(tmp_path / "agent.db") as first:
        first.queue(b"receipt", NOW)
        with pytest.raises(StoreError, match="another agent"):
            SqliteAgentStore(tmp_path / "agent.db")
        assert first.waiting_receipt_count() == 1
