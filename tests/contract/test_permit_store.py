"""The permits store's promises, kept by the one in a file of its own and the one in the DSP's PostgreSQL alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from lastmetre.dcc.ports import PermitChange, PermitRecord, PermitStore
from lastmetre.links.dsp_store import PostgresDspStore, prepare_schema
from lastmetre.links.dsp_store_permits import PostgresPermitStore
from lastmetre.links.permit_store import SqlitePermitStore
from lastmetre.links.postgres import DCC_PLACE, DatabaseUrls, EmbeddedPostgres

HUB, OTHER = b"aboutHUB", b"otherHUB"
Reopen = Callable[[], PermitStore]


def record(serial: int, **changes: object) -> PermitRecord:
    """A permit that was made."""
    given = {"hub_id": HUB, "request_id": "request", "issued_at": 100 + serial} | changes
    return PermitRecord(
        serial=serial, user_id=b"supplier", carrier_id=b"carrier.", digest=b"digest", not_after=1_000,
        permit=b"\x01" * 128, **given,  # type: ignore[arg-type]
    )  # fmt: skip


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


@pytest.fixture(params=["file", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """A store without anything in it, opened as often as it is asked for."""
    with ExitStack() as stack:
        if request.param == "postgres":
            urls: DatabaseUrls = request.getfixturevalue("database")
            with psycopg.connect(urls.owner) as connection:
                connection.execute("TRUNCATE dcc.permits, dcc.permit_hubs")

        def again() -> PermitStore:
            stack.pop_all().close()
            if request.param == "file":
                return stack.enter_context(SqlitePermitStore(tmp_path / "permits"))
            return PostgresPermitStore(stack.enter_context(PostgresDspStore(urls.application)))

        yield again


def test_serials_rise_for_each_hub_apart_and_are_never_given_twice(reopen: Reopen) -> None:
    """Restart or not, and not after a change that failed either."""
    with reopen().change() as change:
        assert [change.next_serial(HUB), change.next_serial(HUB), change.next_serial(OTHER)] == [1, 2, 1]
    with reopen().change() as change:
        assert change.next_serial(HUB) == 3


def test_permits_come_back_as_they_went_in(reopen: Reopen) -> None:
    """By hub, oldest first; counted by request and time."""
    made = (record(1), record(2), record(3, request_id="other"))
    with reopen().change() as change:
        for permit in (*made, record(1, hub_id=OTHER)):
            change.keep(permit)
    with reopen().change() as change:
        assert change.records(HUB) == made
        assert change.issued("request", 0) == 3
        assert change.issued("request", 101) == 1
        assert change.issued("nothing", 0) == 0


def test_voiding_kills_every_serial_given_so_far(reopen: Reopen) -> None:
    """The first that is not dead is the next."""
    with reopen().change() as change:
        assert change.void_below(HUB) == 0
        change.next_serial(HUB)
        assert change.void(HUB) == 2
        assert change.void(OTHER) == 1
    with reopen().change() as change:
        assert (change.void_below(HUB), change.void_below(OTHER)) == (2, 1)
        assert change.next_serial(HUB) == 2


def test_a_change_that_fails_leaves_nothing(reopen: Reopen) -> None:
    """All of a change or none of it."""
    store = reopen()
    with pytest.raises(RuntimeError), store.change() as change:
        _keep_and_fail(change)
    with store.change() as change:
        assert change.records(HUB) == ()
        assert change.next_serial(HUB) == 1


def _keep_and_fail(change: PermitChange) -> None:
    change.keep(record(change.next_serial(HUB)))
    raise RuntimeError("stop")
