"""The DSP's SQLite store: transactions, ownership, and every record back as it was put in."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.dcc.ports import (
    KeptReply,
    LaneMarks,
    LocalResponse,
    OutboxKind,
    PreCommandRecord,
    Route,
    SealedCommand,
    Stage,
)
from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.dsp_store import DspStoreError, SqliteDspStore

if TYPE_CHECKING:
    from pathlib import Path

    from lastmetre.dcc.ports import DspChange

SUPPLIER, METER, HUB = b"supplier", b"themeter", b"aboutHUB"
TOP = (1 << 64) - 1
COMMAND = SealedCommand("request", SUPPLIER, "7.3", "7.3", METER, HUB, SUPPLIER, TOP, b"\xdd", Route.BOTH, 100)


def test_records_come_back_as_they_went_in_even_after_reopening(tmp_path: Path) -> None:
    """Every record, the largest counters included, is the same in a new process."""
    local = LocalResponse("8.13", "request", METER, TOP, b"\xdf", "verified", 7)
    with SqliteDspStore(tmp_path / "dsp") as store, store.change() as change:
        change.keep_reply("request", Stage.TRANSFORM, KeptReply(b"digest", b"reply"))
        change.set_lane(SUPPLIER, METER, Lane.TOP_UP, LaneMarks(TOP, 0))
        change.keep_pre_command("request", PreCommandRecord("7.3", b"\xdf"))
        change.keep_command(COMMAND)
        change.put_out(OutboxKind.WAN, HUB, b"\xdd", "request", 5)
        change.put_out(OutboxKind.PUSH, SUPPLIER, b"<r/>", None, 6)
        change.keep_local_response(local)
    with SqliteDspStore(tmp_path / "dsp") as store, store.change() as change:
        assert change.reply("request", Stage.TRANSFORM) == KeptReply(b"digest", b"reply")
        assert change.reply("request", Stage.COMMAND) is None
        assert change.lane(SUPPLIER, METER, Lane.TOP_UP) == LaneMarks(TOP, 0)
        assert change.lane(SUPPLIER, METER, Lane.ORDINARY) == LaneMarks()
        assert change.pre_command("request") == PreCommandRecord("7.3", b"\xdf")
        assert change.command(METER, SUPPLIER, TOP) == change.command_of_request("request") == COMMAND
        assert change.command(METER, SUPPLIER, TOP - 1) is None
        assert [(item.kind, item.to_id, item.body, item.request_id, item.put_at) for item in change.outbox()] == [
            (OutboxKind.WAN, HUB, b"\xdd", "request", 5),
            (OutboxKind.PUSH, SUPPLIER, b"<r/>", None, 6),
        ]
        assert change.local_responses() == (local,)


def test_the_way_of_a_command_is_kept(tmp_path: Path) -> None:
    """Sent, answered and given up are marked once; what is answered or given up is no longer awaited."""
    with SqliteDspStore(tmp_path / "dsp") as store, store.change() as change:
        change.keep_command(COMMAND)
        change.keep_command(replace(COMMAND, request_id="other", counter=1))
        assert change.unanswered(1_000) == ()
        change.mark_sent("request", 200)
        change.mark_sent("request", 300)
        change.mark_sent("other", 250)
        assert [row.request_id for row in change.unanswered(1_000)] == ["request", "other"]
        assert [row.request_id for row in change.unanswered(250)] == ["request"]
        change.mark_answered("request", 400)
        change.mark_given_up("other", 500)
        assert change.unanswered(1_000) == ()
        answered = change.command_of_request("request")
        assert answered is not None
        assert (answered.sent_at, answered.answered_at, answered.given_up_at) == (200, 400, None)


def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """All of a change or none of it."""
    with SqliteDspStore(tmp_path / "dsp") as store:
        with pytest.raises(RuntimeError), store.change() as change:
            _work_and_fail(change)
        with store.change() as change:
            assert change.command_of_request("request") is None
            assert change.next_broker_counter(METER) == 1


def _work_and_fail(change: DspChange) -> None:
    change.keep_command(COMMAND)
    assert change.next_broker_counter(METER) == 1
    raise RuntimeError("stop")


def test_the_same_command_cannot_be_kept_twice(tmp_path: Path) -> None:
    """A counter used for a second message would repeat a key: the store itself refuses it."""
    with SqliteDspStore(tmp_path / "dsp") as store:
        with store.change() as change:
            change.keep_command(COMMAND)
        with pytest.raises(sqlite3.IntegrityError), store.change() as change:
            change.keep_command(replace(COMMAND, request_id="another"))


def test_broker_counters_rise_for_each_device_apart(tmp_path: Path) -> None:
    """The ACB's own counters are never given out twice, restart or not."""
    with SqliteDspStore(tmp_path / "dsp") as store, store.change() as change:
        assert [change.next_broker_counter(METER), change.next_broker_counter(METER)] == [1, 2]
    with SqliteDspStore(tmp_path / "dsp") as store, store.change() as change:
        assert [change.next_broker_counter(METER), change.next_broker_counter(HUB)] == [3, 1]


def test_one_process_owns_the_file(tmp_path: Path) -> None:
    """A second DSP on the same file is refused at its start (T18)."""
    with SqliteDspStore(tmp_path / "dsp"), pytest.raises(DspStoreError, match="another DSP"):
        SqliteDspStore(tmp_path / "dsp")
    SqliteDspStore(tmp_path / "dsp").close()


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """Another schema version, or no database at all: one clear error, and the file is left as it was."""
    with SqliteDspStore(tmp_path / "dsp"):
        pass
    connection = sqlite3.connect(tmp_path / "dsp")
    connection.execute("pragma user_version=99")
    connection.close()
    with pytest.raises(DspStoreError, match="version 99"):
        SqliteDspStore(tmp_path / "dsp")
    (tmp_path / "text").write_text("this is no database, but it is long enough to be read as one" * 20)
    with pytest.raises(DspStoreError, match="cannot open"):
        SqliteDspStore(tmp_path / "text")
