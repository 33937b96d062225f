"""The embedded PostgreSQL: made once, started again, safe as root and below private folders, whatever the pid file."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from lastmetre.links import postgres
from lastmetre.links.postgres import DCC_PLACE, DatabaseUrls, EmbeddedPostgres, PostgresError

if TYPE_CHECKING:
    from collections.abc import Iterator

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has an unprivileged user to run PostgreSQL as")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """One server in a folder that an ordinary temporary folder of pytest's, mode 0700, is the parent of."""
    folder = Path(tempfile.mkdtemp()) / "store"
    server = EmbeddedPostgres(folder)
    server.start()
    yield server
    server.remove()
    shutil.rmtree(folder.parent)


def _one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _refused(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_a_restart_keeps_rows_port_and_passwords(server: EmbeddedPostgres) -> None:
    """What was committed is there after a stop and a start, by the same URLs."""
    urls = server.start()
    with psycopg.connect(urls.owner) as connection:
        connection.execute("CREATE TABLE kept (value int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    server.stop()
    assert not server.status().running
    assert server.start() == urls
    assert _one(urls.owner, "SELECT value FROM kept") == 7


def test_starting_twice_finds_the_running_server(server: EmbeddedPostgres) -> None:
    """A second start, as by a second process, does not start a second server."""
    urls = server.start()
    pid = server.status().pid
    assert server.start() == urls
    assert server.status().pid == pid


def test_the_version_is_the_pinned_one(server: EmbeddedPostgres) -> None:
    """Queries and data folders are those of one major version."""
    version = _one(server.start().application, "SHOW server_version_num")
    assert int(str(version)) // 10000 == postgres.MAJOR_VERSION


def test_another_versions_data_is_refused(server: EmbeddedPostgres) -> None:
    """A data folder of another major version is left untouched, and the error says what to do."""
    server.stop()
    data = server._chosen_data_folder()
    file = data / "PG_VERSION"
    file.write_text("16\n")
    try:
        with pytest.raises(PostgresError, match="made by PostgreSQL 16"):
            server.start()
    finally:
        file.write_text(f"{postgres.MAJOR_VERSION}\n")
    server.start()


def test_the_application_role_is_plain(server: EmbeddedPostgres) -> None:
    """No superuser, no bypass of row security, no table of its own, no right to make one."""
    url = server.start().application
    with psycopg.connect(url) as connection:
        assert connection.execute(postgres.POWER_OF_ROLE.encode()).fetchone() == (False, False, False)
    _refused(url, "CREATE TABLE public.mine (value int)")
    _refused(url, "CREATE SCHEMA mine")
    _refused(url, "CREATE ROLE other")


def test_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    """Nobody on this machine gets in by being on this machine."""
    url = server.start().application
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "guess")).close()


def test_passwords_and_data_are_private(server: EmbeddedPostgres) -> None:
    """Password files are ours alone, the data folder is the server's alone, no password file is left for initdb."""
    server.start()
    data = server._chosen_data_folder()
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    kept = sorted(server._folder.glob("*.secret"))
    assert len(kept) == 3
    for file in kept:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.stat().st_uid == os.geteuid()
    assert not list(server._folder.rglob("initdb.*"))


def test_urls_do_not_print() -> None:
    """A password in a traceback or a log is a password lost."""
    assert "secret" not in repr(DatabaseUrls(owner="postgresql://a:secret@b", application="postgresql://a:secret@b"))


def _kill_postmaster(server: EmbeddedPostgres) -> Path:
    """Kills the server without a chance to clean up; its pid file stays."""
    server.start()
    pid = server.status().pid
    data = server._data_folder()
    assert pid is not None
    assert data is not None
    kept = (data / "postmaster.pid").read_bytes()
    os.kill(pid, signal.SIGKILL)
    while server.status().running:
        pass
    assert (data / "postmaster.pid").read_bytes() == kept
    return data / "postmaster.pid"


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_a_killed_server_starts_again(server: EmbeddedPostgres) -> None:
    """The pid in the file is dead."""
    _kill_postmaster(server)
    assert not server.status().running
    assert _one(server.start().application, "SELECT 1") == 1


def test_a_reused_pid_is_not_the_server(server: EmbeddedPostgres) -> None:
    """The pid in the file is alive, but it is this test: PostgreSQL alone would refuse to start."""
    file = _kill_postmaster(server)
    _write(file, str(os.getpid()).encode() + file.read_bytes()[file.read_bytes().index(b"\n") :])
    assert not server.status().running
    assert _one(server.start().application, "SELECT 1") == 1


def test_a_zombie_is_not_the_server(server: EmbeddedPostgres) -> None:
    """The pid in the file is a process that ended and was not reaped, as in containers."""
    file = _kill_postmaster(server)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    _write(file, str(child.pid).encode() + file.read_bytes()[file.read_bytes().index(b"\n") :])
    assert not server.status().running
    assert _one(server.start().application, "SELECT 1") == 1
    child.wait()


@pytest.mark.parametrize("content", [b"", b"12", b"not a number\n", b"\xff\xfe"])
def test_a_cut_off_pid_file_is_survived(server: EmbeddedPostgres, content: bytes) -> None:
    """A pid file torn by a power cut names nobody."""
    _write(_kill_postmaster(server), content)
    assert not server.status().running
    assert _one(server.start().application, "SELECT 1") == 1


def test_a_half_made_data_folder_is_made_again() -> None:
    """Killed during initdb: the next start begins anew, since nothing was ever stored."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "store"
        (folder / "data.making").mkdir(parents=True)
        (folder / "data.making" / "PG_VERSION").write_text("18\n")
        server = EmbeddedPostgres(folder)
        assert _one(server.start().application, "SELECT 1") == 1
        server.remove()


def test_a_vanished_data_folder_is_not_replaced(server: EmbeddedPostgres) -> None:
    """Orders that were stored and are gone must not look like no orders."""
    server.stop()
    data = server._chosen_data_folder()
    away = data.rename(data.with_name("away"))
    try:
        with pytest.raises(PostgresError, match="restore it"):
            server.start()
    finally:
        away.rename(data)
    server.start()


@as_root
def test_as_root_the_server_is_another_user(server: EmbeddedPostgres) -> None:
    """PostgreSQL runs unprivileged, and the private parent folder kept its mode."""
    server.start()
    pid = server.status().pid
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert stat.S_IMODE(server._folder.parent.stat().st_mode) == 0o700


@as_root
def test_programs_out_of_reach_are_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A virtual environment below a 0700 folder: the copy carries its libraries and runs as the unprivileged user."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    monkeypatch.setattr(postgres, "ROOT_STATE", place / "state")
    user = postgres._unprivileged_user(None)
    package = postgres._programs(None).parent.parent
    copy = postgres._copy_of_programs(package)
    assert place in copy.parents
    assert postgres._works(user, copy)
    hidden = tmp_path / "hidden"
    shutil.copytree(package / "pginstall18" / "bin", hidden)
    tmp_path.chmod(0o700)
    assert not postgres._works(user, hidden)
    shutil.rmtree(place)


@as_root
def test_an_ordinary_user_needs_no_help() -> None:
    """The same launcher as an ordinary user, below that user's own 0700 folder: in place, no copy, no other user."""
    nobody = pwd.getpwnam("nobody")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    pythons = [Path(sys.executable), Path("/usr/local/bin") / version, Path("/usr/bin") / version]
    python = next((candidate for candidate in pythons if postgres._can(nobody, "-x", candidate)), None)
    packages = Path(psycopg.__file__).parents[1]
    sources = Path(postgres.__file__).parents[2]
    if python is None or not all(postgres._can(nobody, "-x", folder) for folder in (packages, sources)):
        pytest.skip(f"user nobody can reach no {version} or not the packages in {packages}")
    with tempfile.TemporaryDirectory() as parent:
        os.chown(parent, nobody.pw_uid, nobody.pw_gid)
        program = (
            "import sys, pathlib, psycopg\n"
            "from lastmetre.links.postgres import EmbeddedPostgres\n"
            "server = EmbeddedPostgres(pathlib.Path(sys.argv[1]) / 'store')\n"
            "print(psycopg.connect(server.start().application).execute('SELECT 40 + 2').fetchone()[0])\n"
            "server.stop()\n"
        )
        shown = subprocess.run(
            [str(python), "-W", "ignore", "-c", program, parent],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
            env={"PYTHONPATH": f"{sources}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
        ).stdout
        assert shown.strip() == "42"
        assert (Path(parent) / "store" / "data" / "PG_VERSION").exists()


def test_migrations_run_once_and_in_order(server: EmbeddedPostgres) -> None:
    """A second run does nothing; a changed or unknown script is refused."""
    urls = server.start()
    scripts = {
        "0002": "GRANT USAGE ON SCHEMA trial TO {application_role}; GRANT SELECT ON trial.t TO {application_role}",
        "0001": "CREATE TABLE trial.t (value int); INSERT INTO trial.t VALUES (1)",
    }
    role = postgres.APPLICATION_ROLE
    assert postgres.migrate(urls.owner, "trial", scripts, application_role=role) == ["0001", "0002"]
    assert postgres.migrate(urls.owner, "trial", scripts, application_role=role) == []
    assert _one(urls.application, "SELECT count(*) FROM trial.t") == 1
    for other in ({"0001": scripts["0001"]}, {**scripts, "0001": "SELECT 1"}):
        with pytest.raises(PostgresError, match="not ours"):
            postgres.migrate(urls.owner, "trial", other, application_role=role)


def test_a_failing_migration_leaves_nothing(server: EmbeddedPostgres) -> None:
    """All or nothing: the next start finds the database as it was."""
    urls = server.start()
    scripts = {"0001": "CREATE TABLE torn.t (value int)", "0002": "SELECT no_such_column"}
    with pytest.raises(psycopg.Error):
        postgres.migrate(urls.owner, "torn", scripts, application_role=postgres.APPLICATION_ROLE)
    assert _one(urls.owner, "SELECT count(*) FROM pg_namespace WHERE nspname = 'torn'") == 0


async def _refuse(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await postgres.refuse_powerful_role(connection)


@pytest.mark.parametrize(("role", "why"), [("postgres", "is a superuser"), (postgres.OWNER_ROLE, "owns tables")])
def test_a_powerful_role_is_refused(server: EmbeddedPostgres, role: str, why: str) -> None:
    """The service does not work as a role that grants and row security do not bind."""
    import asyncio

    urls = server.start()
    with psycopg.connect(urls.owner) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS owned (value int)")
    port = server.status().port
    assert port is not None
    with pytest.raises(PostgresError, match=why):
        asyncio.run(_refuse(postgres._url(role, server._password(role), port, postgres.DATABASE)))
    asyncio.run(_refuse(urls.application))


def test_two_parties_share_a_server_and_nothing_else(server: EmbeddedPostgres) -> None:
    """Each has a database and roles of its own; neither role can even connect to the other's database."""
    supplier, dcc = server.start(), server.start(DCC_PLACE)
    assert _one(dcc.application, "SELECT current_database()") == DCC_PLACE.database
    assert _one(dcc.application, "SELECT current_user") == DCC_PLACE.application_role
    strangers = (
        (supplier.application, postgres.DATABASE, DCC_PLACE.database),
        (dcc.application, DCC_PLACE.database, postgres.DATABASE),
        (dcc.owner, DCC_PLACE.database, postgres.DATABASE),
    )
    for url, own, other in strangers:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url.replace(f"/{own}?", f"/{other}?"))


def test_the_last_to_leave_stops_the_server(server: EmbeddedPostgres) -> None:
    """One party's stop leaves a server running that another party still uses."""
    server.start()
    other = EmbeddedPostgres(server._folder)
    urls = other.start(DCC_PLACE)
    server.stop()
    assert _one(urls.application, "SELECT 1") == 1
    other.stop()
    assert not other.status().running
