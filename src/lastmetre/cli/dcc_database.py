"""Where ``serve dcc`` and ``lastmetre dcc`` find the DSP's PostgreSQL, by the settings; its schema up to date."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict

from lastmetre.cli.problems import ProblemError
from lastmetre.links.dsp_store import PostgresDspStore, prepare_schema
from lastmetre.links.postgres import DCC_PLACE, EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.cli.dcc_process import DccSettings

EMBEDDED = "embedded"


@contextlib.contextmanager
def open_dsp_store(settings: DccSettings, *, sole: bool = True) -> Iterator[PostgresDspStore]:
    """The store. An embedded server is started when it does not run, and stopped when nobody else uses it.

    ``sole`` for the DSP itself; an operator's command line works beside it, and neither migrates nor starts a server.
    """
    with contextlib.ExitStack() as stack:
        url = _embedded(settings, stack) if settings.database == EMBEDDED else settings.database
        if sole and settings.database != EMBEDDED and settings.database_owner_url is not None:
            prepare_schema(settings.database_owner_url, _role(url))
        yield stack.enter_context(PostgresDspStore(url, sole=sole))


def _embedded(settings: DccSettings, stack: contextlib.ExitStack) -> str:
    if settings.database_folder is None:
        raise ProblemError('database = "embedded" needs database_folder, where the server keeps its data')
    if settings.database_owner_url is not None:
        raise ProblemError("database_owner_url is for a database by URL; the embedded one has its own")
    server = EmbeddedPostgres(Path(settings.database_folder))
    urls = server.start(DCC_PLACE)
    stack.callback(server.stop)
    prepare_schema(urls.owner, DCC_PLACE.application_role)
    return urls.application


def _role(url: str) -> str:
    role = conninfo_to_dict(url).get("user")
    if not role:
        raise ProblemError("database must name its role: postgresql://ROLE:PASSWORD@HOST/DATABASE")
    return str(role)
