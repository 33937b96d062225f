"""Where ``serve dcc`` and ``lastmetre dcc`` find the DSP's PostgreSQL, by the settings."""

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

    from lastmetre.cli.dcc_settings import DccSettings
    from lastmetre.links.postgres import DatabaseUrls

EMBEDDED = "embedded"


@contextlib.contextmanager
def open_dsp_store(settings: DccSettings) -> Iterator[PostgresDspStore]:
    """The DSP's store. An embedded server is started when it does not run, and stopped when nobody else uses it."""
    with contextlib.ExitStack() as stack:
        if settings.database == EMBEDDED:
            urls = _embedded(settings, stack)
            prepare_schema(urls.owner, DCC_PLACE.application_role)
            url = urls.application
        else:
            url = settings.database
            if settings.database_owner_url is not None:
                prepare_schema(settings.database_owner_url, _role(url))
        yield stack.enter_context(PostgresDspStore(url))


@contextlib.contextmanager
def open_operator_store(settings: DccSettings) -> Iterator[PostgresDspStore]:
    """The same store, beside the DSP that has it open or without one. Its schema is left as it is."""
    with contextlib.ExitStack() as stack:
        url = _embedded(settings, stack).application if settings.database == EMBEDDED else settings.database
        yield stack.enter_context(PostgresDspStore(url, sole=False))


def _embedded(settings: DccSettings, stack: contextlib.ExitStack) -> DatabaseUrls:
    if settings.database_folder is None:
        raise ProblemError('database = "embedded" needs database_folder, where the server keeps its data')
    if settings.database_owner_url is not None:
        raise ProblemError("database_owner_url is for a database by URL; the embedded one has its own")
    server = EmbeddedPostgres(Path(settings.database_folder))
    stack.callback(server.stop)
    return server.start(DCC_PLACE)


def _role(url: str) -> str:
    role = conninfo_to_dict(url).get("user")
    if not role:
        raise ProblemError("database must name its role: postgresql://ROLE:PASSWORD@HOST/DATABASE")
    return str(role)
