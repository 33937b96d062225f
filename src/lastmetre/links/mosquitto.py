"""A mosquitto of our own, for the demonstration and the tests, set up so that a certificate is all an agent can be.

The settings are what a production broker must enforce as well, whatever its make (reference: stack-notes, traps 7, 8;
threats T25, T28, T29): no client without a certificate of the CA; the user name and the client id are the certificate's
common name; the access list is a pattern of that name; nothing is retained; acknowledged messages reach the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.links.errors import LinkError
from lastmetre.relay.limits import ENVELOPE_OCTETS_MAX
from lastmetre.relay.topics import ALL_READY, ALL_RECEIPTS, COMMAND_PREFIX, READY_PREFIX, RECEIPT_PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

MESSAGE_OCTETS_MAX: Final = ENVELOPE_OCTETS_MAX + 1_024
"""Largest payload the broker takes: an envelope and some room."""
QUEUE_MESSAGES_MAX: Final = 1_000
"""Messages kept for a client that is away."""
START_S: Final = 10.0
STOP_S: Final = 5.0

_DAEMON_FOLDERS: Final = "/usr/sbin:/usr/local/sbin"
"""Where distributions put it, often not on an ordinary user's PATH."""


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """The broker's own TLS files."""

    ca: Path
    certificate: Path
    key: Path


def find_mosquitto() -> str | None:
    """The program, or ``None`` when it is not installed."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{_DAEMON_FOLDERS}")


def mosquitto_config(directory: Path, host: str, port: int, tls: BrokerFiles, head_end_ids: Sequence[bytes]) -> Path:
    """Write configuration and access list into ``directory``; returns the path of the configuration.

    ``head_end_ids`` are the certificates' names of the supplier's processes; every other client is an agent.
    """
    directory.mkdir(parents=True, exist_ok=True)
    access = directory / "acl"
    head_ends = [
        f"user {head_end_id.hex()}\ntopic write {COMMAND_PREFIX}+\ntopic read {ALL_RECEIPTS}\ntopic read {ALL_READY}\n"
        for head_end_id in head_end_ids
    ]
    agents = f"pattern read {COMMAND_PREFIX}%u\npattern write {RECEIPT_PREFIX}%u\npattern write {READY_PREFIX}%u\n"
    access.write_text("\n".join([*head_ends, agents]))
    access.chmod(0o600)
    config = directory / "mosquitto.conf"
    config.write_text(
        "\n".join(
            (
                f"user {getpass.getuser()}",  # started by root it would become somebody who cannot read the keys
                "per_listener_settings false",
                "allow_anonymous false",
                "persistence true",
                f"persistence_location {directory}/",
                "autosave_interval 1",  # trap 8: PUBACK comes before the disk
                "set_tcp_nodelay true",
                "retain_available false",
                f"message_size_limit {MESSAGE_OCTETS_MAX}",
                f"max_queued_messages {QUEUE_MESSAGES_MAX}",
                "max_keepalive 3600",
                "connection_messages false",
                "log_dest stderr",
                "log_type error",
                "log_type warning",
                f"acl_file {access}",
                f"listener {port} {host}",
                f"cafile {tls.ca}",
                f"certfile {tls.certificate}",
                f"keyfile {tls.key}",
                "tls_version tlsv1.2",  # this and newer
                "require_certificate true",
                "use_identity_as_username true",
                "use_username_as_clientid true",
                "",
            )
        )
    )
    return config


@contextlib.asynccontextmanager
async def running_mosquitto(config: Path, host: str, port: int) -> AsyncIterator[None]:
    """Run a broker on ``config`` until the block ends; it accepts connections when the block begins."""
    program = find_mosquitto()
    if program is None:
        raise LinkError("mosquitto is not installed; install it, or use the HTTPS bearer, which needs nothing")
    log = config.with_name("mosquitto.log")
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(program, "-c", str(config), stdout=output, stderr=output)
    try:
        await _until_it_listens(process, host, port, log)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _until_it_listens(process: asyncio.subprocess.Process, host: str, port: int, log: Path) -> None:
    """A broker does not say when it is ready: knock until it opens, or it has ended, or it takes too long."""
    try:
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                try:
                    _reader, writer = await asyncio.open_connection(host, port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return
    except TimeoutError:
        raise LinkError(f"mosquitto did not listen on {host} port {port} within {START_S:.0f} s; see {log}") from None
    raise LinkError(f"mosquitto ended with status {process.returncode}; see {log}")
