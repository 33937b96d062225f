"""The DSP store's promises, kept by the one in memory and the one on PostgreSQL alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lastmetre.dcc.ports import (
    Decision,
    DeviceRow,
    DspChange,
    DspStore,
    HeldKind,
    HeldRequest,
    HubAbsence,
    KeptReply,
    LaneMarks,
    LocalResponse,
    OutboxKind,
    PreCommandRecord,
    Route,
    SealedCommand,
    Service,
    Stage,
)
from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.dsp_store import PostgresDspStore, prepare_schema
from lastmetre.links.postgres import DCC_PLACE, DatabaseUrls, EmbeddedPostgres
from lastmetre.sim.memory_dsp import DspMemory, MemoryDspStore

SUPPLIER, METER, HUB = b"supplier", b"themeter", b"aboutHUB"
TOP = (1 << 64) - 1
COMMAND = SealedCommand("request", SUPPLIER, "7.3", "7.3", METER, HUB, SUPPLIER, TOP, b"\xdd", Route.BOTH, 100)
HELD = HeldRequest(
    0,
    HeldKind.LATER,
    "later",
    Stage.COMMAND,
    Service.NON_DEVICE,
    SUPPLIER,
    METER,
    "4.18",
    b"<r/>",
    10,
    100,
    None,
    "why",
)
Reopen = Callable[[], DspStore]
"""Closes the store, if it is open, and opens it again: as a new process would."""
TWICE = (AssertionError, psycopg.errors.UniqueViolation)
"""What an error of ours raises."""


@pytest.fixture(scope="session")
def database() -> Iterator[DatabaseUrls]:
    """The embedded server, started once for all these tests."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "store")
        try:
            urls = server.start(DCC_PLACE)
            prepare_schema(urls.owner, DCC_PLACE.application_role)
            yield urls
        finally:
            server.remove()


def empty(urls: DatabaseUrls) -> None:
    """Every table of the schema, but the migrations', without a row and with its numbers from 1."""
    with psycopg.connect(urls.owner) as connection:
        question = "SELECT tablename FROM pg_tables WHERE schemaname = 'dcc' AND tablename <> 'migrations'"
        tables = ", ".join(f"dcc.{name}" for (name,) in connection.execute(question))
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY".encode())


@pytest.fixture(params=["memory", "postgres"])
def reopen(request: pytest.FixtureRequest) -> Iterator[Reopen]:
    """A store without anything in it, opened as often as it is asked for."""
    if request.param == "memory":
        memory = DspMemory()
        yield lambda: MemoryDspStore(memory)
        return
    urls: DatabaseUrls = request.getfixturevalue("database")
    empty(urls)
    opened: list[PostgresDspStore] = []

    def again() -> DspStore:
        for store in opened:
            store.close()
        opened[:] = [PostgresDspStore(urls.application)]
        return opened[0]

    yield again
    for store in opened:
        store.close()


def test_records_come_back_as_they_went_in_even_after_reopening(reopen: Reopen) -> None:
    """Every record, the largest counters included, is the same in a new process."""
    local = LocalResponse("8.13", "request", METER, TOP, b"\xdf", "verified", 7)
    with reopen().change() as change:
        change.keep_reply("request", Stage.TRANSFORM, KeptReply(b"digest", b"reply"))
        change.set_lane(SUPPLIER, METER, Lane.TOP_UP, LaneMarks(TOP, 0))
        change.keep_pre_command("request", PreCommandRecord("7.3", b"\xdf", "too much", "{}"))
        change.keep_command(COMMAND)
        change.put_out(OutboxKind.WAN, HUB, b"\xdd", "request", 5)
        change.put_out(OutboxKind.PUSH, SUPPLIER, b"<r/>", None, 6)
        change.keep_local_response(local)
    with reopen().change() as change:
        assert change.reply("request", Stage.TRANSFORM) == KeptReply(b"digest", b"reply")
        assert change.reply("request", Stage.COMMAND) is None
        assert change.lane(SUPPLIER, METER, Lane.TOP_UP) == LaneMarks(TOP, 0)
        assert change.lane(SUPPLIER, METER, Lane.ORDINARY) == LaneMarks()
        assert change.pre_command("request") == PreCommandRecord("7.3", b"\xdf", "too much", "{}")
        assert change.pre_command("other") is None
        assert change.command(METER, SUPPLIER, TOP) == change.command_of_request("request") == COMMAND
        assert change.command(METER, SUPPLIER, TOP - 1) is None
        items = change.outbox()
        assert [(item.kind, item.to_id, item.body, item.request_id, item.put_at) for item in items] == [
            (OutboxKind.WAN, HUB, b"\xdd", "request", 5),
            (OutboxKind.PUSH, SUPPLIER, b"<r/>", None, 6),
        ]
        assert change.destinations() == {(OutboxKind.WAN, HUB), (OutboxKind.PUSH, SUPPLIER)}
        assert change.next_out(OutboxKind.PUSH, SUPPLIER) == items[1]
        assert change.next_out(OutboxKind.PUSH, HUB) is None
        change.take_out(items[0].number)
        assert change.outbox() == items[1:]
        assert change.local_responses() == (local,)
        change.set_lane(SUPPLIER, METER, Lane.TOP_UP, LaneMarks(TOP, 9))
        assert change.lane(SUPPLIER, METER, Lane.TOP_UP) == LaneMarks(TOP, 9)


def test_the_way_of_a_command_is_kept(reopen: Reopen) -> None:
    """Sent, tried, answered and given up are marked; what is answered or given up is no longer awaited."""
    with reopen().change() as change:
        change.keep_command(COMMAND)
        change.keep_command(replace(COMMAND, request_id="other", counter=1, dsp_schedule_id=4, effect="{}"))
        assert change.unanswered(1_000) == ()
        change.mark_sent("request", 200)
        change.mark_sent("request", 300)
        change.mark_sent("other", 250)
        change.mark_tried("other", 251)
        change.mark_tried("other", 252)
        assert [row.request_id for row in change.unanswered(1_000)] == ["request", "other"]
        assert [row.request_id for row in change.unanswered(250)] == ["request"]
        change.mark_answered("request", 400, succeeded=False)
        change.mark_answered("request", 500, succeeded=True)
        change.mark_given_up("other", 500)
        change.mark_given_up("other", 600)
        assert change.unanswered(1_000) == ()
    with reopen().change() as change:
        assert change.command_of_request("request") == replace(COMMAND, sent_at=200, answered_at=400, succeeded=False)
        assert change.command_of_request("other") == replace(
            COMMAND, request_id="other", counter=1, dsp_schedule_id=4, effect="{}", sent_at=250, tries=2, tried_at=252,
            given_up_at=500,
        )  # fmt: skip


def test_a_change_that_fails_leaves_nothing(reopen: Reopen) -> None:
    """All of a change or none of it; the next one works."""
    store = reopen()
    with pytest.raises(RuntimeError), store.change() as change:
        _work_and_fail(change)
    with store.change() as change:
        assert change.command_of_request("request") is None
        assert change.held_requests() == ()
        assert change.next_broker_counter(METER) == 1


def _work_and_fail(change: DspChange) -> None:
    change.keep_command(COMMAND)
    change.hold(HELD)
    assert change.next_broker_counter(METER) == 1
    raise RuntimeError("stop")


def _twice(store: DspStore, keep: Callable[[DspChange], object]) -> None:
    with store.change() as change:
        keep(change)
    with pytest.raises(TWICE), store.change() as change:
        keep(change)


def test_what_must_be_unique_is_not_kept_twice(reopen: Reopen) -> None:
    """A counter used for a second message would repeat a key, an answer replaced would be a lie: refused."""
    store = reopen()
    _twice(store, lambda change: change.keep_reply("request", Stage.COMMAND, KeptReply(b"digest", b"reply")))
    _twice(store, lambda change: change.keep_command(COMMAND))
    _twice(store, lambda change: change.keep_top_up(SUPPLIER, METER, 7))
    _twice(store, lambda change: change.hold(HELD))
    with pytest.raises(TWICE), store.change() as change:
        change.keep_command(replace(COMMAND, request_id="another"))
    with pytest.raises(TWICE), store.change() as change:
        change.keep_command(replace(COMMAND, counter=2))


def test_broker_counters_rise_for_each_device_apart(reopen: Reopen) -> None:
    """The ACB's own counters are never given out twice, restart or not."""
    with reopen().change() as change:
        assert [change.next_broker_counter(METER), change.next_broker_counter(METER)] == [1, 2]
    with reopen().change() as change:
        assert [change.next_broker_counter(METER), change.next_broker_counter(HUB)] == [3, 1]


def test_an_alert_is_new_once(reopen: Reopen) -> None:
    """By its device and counter."""
    with reopen().change() as change:
        assert change.keep_alert(METER, TOP)
        assert not change.keep_alert(METER, TOP)
        assert change.keep_alert(HUB, TOP)
    with reopen().change() as change:
        assert not change.keep_alert(METER, TOP)


def test_requests_are_held_found_and_let_go(reopen: Reopen) -> None:
    """By number, RequestID, kind and time; numbers rise and are not given again."""
    with reopen().change() as change:
        later = change.hold(HELD)
        quarantined = change.hold(
            replace(HELD, kind=HeldKind.QUARANTINE, request_id="odd", due_at=None, stage=Stage.TRANSFORM)
        )
        sequence = replace(HELD, kind=HeldKind.SEQUENCE, request_id="next", due_at=90, after_request_id="later")
        waiting = change.hold(sequence)
        assert later < quarantined < waiting
    with reopen().change() as change:
        assert change.held(later) == change.held_of("later") == replace(HELD, number=later)
        assert change.held(waiting + 1) is None
        assert change.held_of("nothing") is None
        assert [held.number for held in change.held_requests()] == [later, quarantined, waiting]
        assert change.held_requests(HeldKind.QUARANTINE)[0].request_id == "odd"
        assert change.due(100) == (replace(sequence, number=waiting), replace(HELD, number=later))
        assert [held.number for held in change.due(99)] == [waiting]
        assert change.due(89) == ()
        change.move_due(later, 80)
        assert [held.number for held in change.due(89)] == [later]
        assert change.let_go(waiting)
        assert not change.let_go(waiting)
        assert change.held(waiting) is None
    with reopen().change() as change:
        assert change.hold(sequence) > waiting


def test_failed_requests_are_known(reopen: Reopen) -> None:
    """What waits for one in a sequence fails with it."""
    with reopen().change() as change:
        assert not change.failed_request("request")
        change.fail_request("request", 5)
        change.fail_request("request", 6)
        assert change.failed_request("request")


def test_uses_are_counted_by_user_service_and_time(reopen: Reopen) -> None:
    """Of one service or of all, from a time on; those forgotten count no more."""
    with reopen().change() as change:
        for user_id, variant, at in (
            (SUPPLIER, "4.18", 10),
            (SUPPLIER, "7.3", 20),
            (SUPPLIER, "7.3", 30),
            (HUB, "7.3", 30),
        ):
            change.note_use(user_id, variant, at)
        assert change.uses(SUPPLIER, "7.3", 0) == 2
        assert change.uses(SUPPLIER, "7.3", 21) == 1
        assert change.uses(SUPPLIER, "7.3", 30) == 1
        assert change.uses(SUPPLIER, None, 0) == 3
        change.forget_uses(20)
        assert change.uses(SUPPLIER, None, 0) == 2


def test_a_decision_is_written_once_and_carried_out_once(reopen: Reopen) -> None:
    """The audit keeps every decision in the order made; one that is done is not found again."""
    release = Decision(7, release=True, person="first", reason="known work", at=50)
    reject = Decision(3, release=False, person="second", reason="odd", at=51)
    with reopen().change() as change:
        assert change.decide(release)
        assert not change.decide(replace(release, release=False, person="other"))
        assert change.decide(reject)
        assert change.undone_decisions() == (release, reject)
    with reopen().change() as change:
        change.mark_decision_done(7, "request", 60)
        assert change.undone_decisions() == (reject,)
        assert change.decisions() == (replace(release, request_id="request", done_at=60), reject)


def test_the_highest_top_ups_are_given_back(reopen: Reopen) -> None:
    """A hundred of a pair's counters, falling."""
    with reopen().change() as change:
        for counter in range(1, 121):
            change.keep_top_up(SUPPLIER, METER, counter)
        change.keep_top_up(SUPPLIER, HUB, 500)
        assert change.top_ups(SUPPLIER, METER) == tuple(range(120, 20, -1))
        assert change.top_ups(METER, SUPPLIER) == ()


def test_devices_are_replaced_whole(reopen: Reopen) -> None:
    """The last row kept is the one given back, by identifier."""
    with reopen().change() as change:
        for row in (DeviceRow(METER, "old"), DeviceRow(HUB, "{}"), DeviceRow(METER, "new")):
            change.keep_device(row)
    with reopen().change() as change:
        assert change.devices() == (DeviceRow(HUB, "{}"), DeviceRow(METER, "new"))


def test_absences_begin_once_and_end(reopen: Reopen) -> None:
    """The first time stands; what was told is kept; a hub that is back is away no more."""
    with reopen().change() as change:
        change.hub_away(HUB, 20)
        change.hub_away(HUB, 30)
        change.hub_away(METER, 10)
        change.mark_absence_told(HUB, 25)
        assert change.absences() == (HubAbsence(METER, 10), HubAbsence(HUB, 20, 25))
    with reopen().change() as change:
        assert change.hub_back(HUB) == HubAbsence(HUB, 20, 25)
        assert change.hub_back(HUB) is None
        assert change.absences() == (HubAbsence(METER, 10),)


def test_blocks_wait_for_the_rest_of_their_transfer(reopen: Reopen) -> None:
    """In the order they came, each once, however large; a transfer is dropped whole, or when its first block is old."""
    large = bytes(range(256)) * 40
    with reopen().change() as change:
        for transfer, block, at in ((b"one", b"b", 10), (b"one", large, 99), (b"one", b"b", 11), (b"two", b"b", 50)):
            change.keep_block(transfer, block, at)
    with reopen().change() as change:
        assert change.blocks(b"one") == (b"b", large)
        assert change.blocks(b"three") == ()
        assert change.transfers() == 2
        assert change.drop_old_blocks(10) == 0
        assert change.drop_old_blocks(50) == 1
        assert change.blocks(b"one") == ()
        change.drop_blocks(b"two")
        assert change.transfers() == 0
