"""The DSP's store on PostgreSQL beyond the port's promises: who may open it, and what its role cannot do."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from lastmetre.dcc.ports import Decision, KeptReply, LaneMarks, OutboxKind, Route, SealedCommand, Stage
from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.dsp_store import DspStoreError, PostgresDspStore, migrations, prepare_schema
from lastmetre.links.postgres import DCC_PLACE, DatabaseUrls, EmbeddedPostgres, PostgresError

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPPLIER, METER, HUB = b"supplier", b"themeter", b"aboutHUB"
COMMAND = SealedCommand("request", SUPPLIER, "7.3", "7.3", METER, HUB, SUPPLIER, 1, b"\xdd", Route.BOTH, 100)


@pytest.fixture(scope="module")
def urls() -> Iterator[DatabaseUrls]:
    """A server with the DSP's place in it."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "store")
        try:
            found = server.start(DCC_PLACE)
            with pytest.raises(PostgresError, match=r"to be run: 0001_first\.sql, 0002"):
                PostgresDspStore(found.application)
            assert prepare_schema(found.owner, DCC_PLACE.application_role) == sorted(migrations())
            yield found
        finally:
            server.remove()


def test_migrations_are_run_once(urls: DatabaseUrls) -> None:
    """A second preparation changes nothing."""
    assert prepare_schema(urls.owner, DCC_PLACE.application_role) == []


def test_one_dsp_owns_the_store(urls: DatabaseUrls) -> None:
    """A second DSP on the same store is refused at its start, until the first has gone (T18)."""
    with PostgresDspStore(urls.application), pytest.raises(DspStoreError, match="another DSP"):
        PostgresDspStore(urls.application, lock_wait_s=0.1)
    PostgresDspStore(urls.application).close()


def test_an_operator_may_decide_while_the_dsp_runs(urls: DatabaseUrls) -> None:
    """What another process writes is found by the next change."""
    decision = Decision(7, release=True, person="first", reason="known work", at=50)
    with PostgresDspStore(urls.application) as dsp:
        with PostgresDspStore(urls.application, sole=False) as operator, operator.change() as change:
            assert change.decide(decision)
        with dsp.change() as change:
            assert change.undone_decisions() == (decision,)
            change.mark_decision_done(7, None, 60)


def test_a_lost_connection_is_made_anew_with_its_lock(urls: DatabaseUrls) -> None:
    """The change in which it was lost has not happened; the next one works, and nobody else came in."""
    with PostgresDspStore(urls.application) as dsp:
        with pytest.raises(DspStoreError, match="was lost"):
            _lose(urls, dsp)
        with dsp.change() as change:
            assert change.keep_alert(METER, 1)
        with pytest.raises(DspStoreError, match="another DSP"):
            PostgresDspStore(urls.application, lock_wait_s=0.1)


def _lose(urls: DatabaseUrls, dsp: PostgresDspStore) -> None:
    with dsp.change() as change:
        change.keep_alert(METER, 1)
        _cut(urls, "lastmetre dcc")
        change.keep_alert(METER, 2)


def _cut(urls: DatabaseUrls, application: str) -> None:
    with psycopg.connect(urls.application) as connection:
        question = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
        connection.execute(question, [application])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM dcc.replies",
        "UPDATE dcc.replies SET reply = ''",
        "DELETE FROM dcc.commands",
        "UPDATE dcc.commands SET command = ''",
        "UPDATE dcc.commands SET counter = counter + 1",
        "DELETE FROM dcc.lanes",
        "DELETE FROM dcc.broker_counters",
        "DELETE FROM dcc.top_ups",
        "DELETE FROM dcc.decisions",
        "UPDATE dcc.decisions SET release = true",
        "DELETE FROM dcc.local_responses",
        "DELETE FROM dcc.alerts",
        "TRUNCATE dcc.outbox",
        "DROP TABLE dcc.outbox",
        "CREATE TABLE dcc.more (value int)",
    ],
)
def test_the_role_cannot_rewrite_what_was(urls: DatabaseUrls, statement: str) -> None:
    """The database itself refuses what this store never does (T18)."""
    with psycopg.connect(urls.application) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_a_broker_counter_never_falls(urls: DatabaseUrls) -> None:
    """Not even for whoever may update it: the same key twice would be the end of the MAC."""
    with PostgresDspStore(urls.application) as store, store.change() as change:
        change.next_broker_counter(METER)
    with (
        psycopg.connect(urls.application) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="only rises"),
    ):
        connection.execute("UPDATE dcc.broker_counters SET counter = counter - 0")


def test_the_owner_is_refused_as_the_application(urls: DatabaseUrls) -> None:
    """A DSP whose role owns its tables would be bound by nothing."""
    with pytest.raises(PostgresError, match="owns tables"):
        PostgresDspStore(urls.owner)


def test_a_database_of_another_version_is_refused(urls: DatabaseUrls) -> None:
    """One that knows a script which we do not."""
    with psycopg.connect(urls.owner) as connection:
        connection.execute("INSERT INTO dcc.migrations (name, digest) VALUES ('9999_later.sql', '')")
    with pytest.raises(PostgresError, match="not of this version"):
        PostgresDspStore(urls.application)
    with psycopg.connect(urls.owner) as connection:
        connection.execute("DELETE FROM dcc.migrations WHERE name = '9999_later.sql'")


def test_nothing_is_half_done_when_the_process_dies_in_a_change(urls: DatabaseUrls) -> None:
    """A connection that ends in the middle of a change leaves nothing of it."""
    store = PostgresDspStore(urls.application)
    with pytest.raises(DspStoreError, match="was lost"):
        _die(urls, store)
    with store.change() as change:
        assert change.command_of_request("request") is None
        assert change.lane(SUPPLIER, METER, Lane.ORDINARY) == LaneMarks()
        assert change.reply("request", Stage.COMMAND) is None
        assert change.outbox() == ()
    store.close()


def _die(urls: DatabaseUrls, store: PostgresDspStore) -> None:
    with store.change() as change:
        change.keep_command(COMMAND)
        change.set_lane(SUPPLIER, METER, Lane.ORDINARY, LaneMarks(1, 1))
        change.keep_reply("request", Stage.COMMAND, KeptReply(b"d", b"r"))
        change.put_out(OutboxKind.WAN, HUB, b"\xdd", "request", 5)
        _cut(urls, "lastmetre dcc")
