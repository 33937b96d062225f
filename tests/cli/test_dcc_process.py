"""``lastmetre serve dcc`` as a process of its own: real keys from disk, real mutual TLS, SIGTERM, and a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from lastmetre.cli.app import app
from lastmetre.cli.problems import ProblemError
from lastmetre.duis.documents import GbcsPayload, ResponseMessage
from lastmetre.gbcs.keys import agree
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import verify_mac, verify_signature
from lastmetre.links.duis_http import DspClient, DuisLinkError, create_receive_response_app
from lastmetre.links.http_server import serve
from lastmetre.links.postgres import DCC_PLACE, EmbeddedPostgres
from lastmetre.links.tls import client_context, server_context
from lastmetre.links.wan import BackOff, WanLink
from tests.dcc_process import (
    DS,
    KA,
    Parties,
    Supplier,
    balance_response,
    make_parties,
    serve_dcc,
    settings,
)
from tests.dsp_world import code, local_command, read_balance
from tests.own_world import BROKER, ESME, SUPPLIER
from tests.soft_token import make_token, needs_softhsm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """Everybody of these tests; their database goes with them."""
    made = make_parties(tmp_path_factory.mktemp("dcc"))
    yield made
    EmbeddedPostgres(made.directory / "postgres").remove()


def run(coroutine: object) -> None:
    """Run one test's coroutine; it hangs no longer than the deadline."""
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))  # type: ignore[arg-type]


def test_the_process_from_end_to_end(parties: Parties) -> None:
    """Local and WAN Commands by real sockets, a Response pushed to the User, SIGTERM, counters kept at the restart."""

    async def play() -> None:
        pushed: asyncio.Queue[bytes] = asyncio.Queue()
        supplier_tls, dcc = parties.tls("supplier"), parties.keyring("dcc")

        async def on_response(sender_id: bytes, document: bytes) -> bool:
            assert sender_id == BROKER
            await pushed.put(document)
            return True

        receive = create_receive_response_app(on_response)
        async with serve(receive, "127.0.0.1", 0, server_context(*supplier_tls)) as receiving:
            config = settings(parties, receiving.port)
            async with serve_dcc(config) as dsp, contextlib.AsyncExitStack() as stack:
                ready = await dsp.event("ready")
                base = f"https://127.0.0.1:{ready['duis_port']}"
                client = await stack.enter_async_context(DspClient(base, client_context(*supplier_tls)))
                supplier = Supplier(client, parties.keyring("supplier"))

                command = await supplier.arm(10)
                secret = agree(dcc.private_key(BROKER, KA), dcc.certificate(ESME, KA).public_key)
                verify_mac(parse_message(command), secret)
                verify_signature(parse_message(command), dcc.certificate(SUPPLIER, DS).public_key)

                by_wan: asyncio.Queue[bytes] = asyncio.Queue()
                link = WanLink(
                    "127.0.0.1", ready["wan_port"], client_context(*parties.tls("home")), by_wan.put,
                    gateway_id=BROKER, back_off=BackOff(0.01, 0.1),
                )  # fmt: skip
                hub = asyncio.create_task(link.run())
                await link.wait_connected()
                read = read_balance(11, 1)
                answer = supplier.read(await client.send_command(supplier.document(read))).response
                assert code(answer) == "I99"
                response = balance_response(parties, await by_wan.get())
                assert await link.send(response)
                body = supplier.read(await pushed.get()).response.body
                assert isinstance(body, ResponseMessage)
                assert body.payload == GbcsPayload(response)
                hub.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await hub
                await dsp.event("hub_disconnected")
            async with serve_dcc(config) as dsp:
                ready = await dsp.event("ready")
                base = f"https://127.0.0.1:{ready['duis_port']}"
                async with DspClient(base, client_context(*supplier_tls)) as client:
                    supplier = Supplier(client, parties.keyring("supplier"))
                    answer = supplier.read(await client.non_device(supplier.document(read_balance(11, 2)))).response
                    assert code(answer) == "E40"
                    answer = supplier.read(await client.non_device(supplier.document(read_balance(10, 2)))).response
                    assert code(answer) == "E40"
                    answer = supplier.read(await client.non_device(supplier.document(read_balance(9, 2)))).response
                    assert code(answer) == "E41"
                    local_command(supplier.read(await client.non_device(supplier.document(read_balance(12)))).response)

    run(play())


def test_a_person_releases_what_a_threshold_held(parties: Parties) -> None:
    """A request over a User's volume waits in quarantine; the operator's command has it carried out, once, audited."""

    async def play() -> None:
        supplier_tls = parties.tls("supplier")
        threshold = '[[volume]]\nlimit = 0\nwindow_s = 60\nservice = "4.18"\n'
        config = settings(parties, 1, tables=threshold)
        async with serve_dcc(config) as dsp, contextlib.AsyncExitStack() as stack:
            ready = await dsp.event("ready")
            base = f"https://127.0.0.1:{ready['duis_port']}"
            client = await stack.enter_async_context(DspClient(base, client_context(*supplier_tls)))
            supplier = Supplier(client, parties.keyring("supplier"))
            documents = [supplier.document(read_balance(counter, 1)) for counter in (1_001, 1_002)]
            for document in documents:
                assert code(supplier.read(await client.send_command(document)).response) == "I99"
            first, second = (await _quarantine("list", config))["rows"]
            assert (first["request_id"], first["service"]) == (str(read_balance(1_001, 1).header.request_id), "4.18")
            who = ("--person", "A. Person", "--reason", "a known campaign")
            await _quarantine("release", config, str(first["number"]), *who)
            await _quarantine("reject", config, str(second["number"]), *who)
            decided = [await dsp.event("quarantine_decided") for _ in range(2)]
            assert [(event["number"], event["release"]) for event in decided] == [
                (first["number"], True),
                (second["number"], False),
            ]
            assert (await _quarantine("release", config, str(first["number"]), *who))["status"] == 1
            assert (await _quarantine("list", config))["rows"] == []
            audit = (await _quarantine("decisions", config))["rows"]
            assert [(row["person"], row["release"], bool(row["done"])) for row in audit] == [
                ("A. Person", True, True),
                ("A. Person", False, True),
            ]

    run(play())


def test_a_restart_of_the_database_is_survived(parties: Parties) -> None:
    """R06: while it is away a request fails and is asked again; then the same process goes on, nothing doubled."""

    async def play() -> None:
        config = settings(parties, 1, tables="[waits]\ntick_s = 0.2\n")
        server = EmbeddedPostgres(parties.directory / "postgres")
        async with serve_dcc(config) as dsp:
            ready = await dsp.event("ready")
            base = f"https://127.0.0.1:{ready['duis_port']}"
            async with DspClient(base, client_context(*parties.tls("supplier"))) as client:
                supplier = Supplier(client, parties.keyring("supplier"))
                documents = [supplier.document(read_balance(counter, 2)) for counter in (2_001, 2_002)]
                first = await client.non_device(documents[0])
                await asyncio.to_thread(server.stop, though_in_use=True)
                await dsp.event("store_lost")
                with pytest.raises(DuisLinkError):
                    await client.non_device(documents[1])
                await asyncio.to_thread(server.start, DCC_PLACE)
                local_command(supplier.read(await client.non_device(documents[1])).response)
                assert await client.non_device(documents[0]) == first
        server.stop()

    run(play())


async def _quarantine(verb: str, config: Path, *arguments: str) -> dict[str, Any]:
    """``lastmetre dcc quarantine``, in a thread of this process: its exit status and, of a list, its rows."""
    lists = ["--json"] if verb in {"list", "decisions"} else []
    words = ["dcc", "quarantine", verb, *arguments, "--config", str(config), *lists]
    done = await asyncio.to_thread(CliRunner().invoke, app, words)
    status = done.exception.status if isinstance(done.exception, ProblemError) else done.exit_code
    return {"status": status, "rows": json.loads(done.stdout) if lists else None}


@needs_softhsm
def test_the_acb_key_may_live_in_a_token(tmp_path: Path) -> None:
    """Imported into SoftHSM and taken off the disk, the ACB's keys seal a Command that verifies (E2E)."""
    parties = make_parties(tmp_path)
    token = make_token(tmp_path)
    folder = parties.smki.party("dcc") / "keys"
    options = ("--module", token.module, "--token", token.label, "--pin-file", token.pin_file)
    files = sorted(folder.iterdir())
    assert len(files) == 3, "key agreement, signature and XML signature"
    command = (sys.executable, "-m", "lastmetre", "hsm", "import", *files, *options, "--passphrase-file")
    subprocess.run(
        [*map(str, command), str(tmp_path / "passphrase")], check=True, env={**os.environ, **token.environment}
    )
    for file in files:
        file.unlink()

    async def play() -> None:
        hsm = f'[hsm]\nmodule = "{token.module}"\ntoken = "{token.label}"\npin_file = "{token.pin_file}"\n'
        config = settings(parties, 1, tables=hsm)
        async with serve_dcc(config, token.environment) as dsp:
            ready = await dsp.event("ready")
            base = f"https://127.0.0.1:{ready['duis_port']}"
            async with DspClient(base, client_context(*parties.tls("supplier"))) as client:
                message = parse_message(await Supplier(client, parties.keyring("supplier")).arm(10))
        home = parties.keyring("home")
        verify_mac(message, agree(home.private_key(ESME, KA), home.certificate(BROKER, KA).public_key))
        verify_signature(message, home.certificate(SUPPLIER, DS).public_key)

    try:
        run(play())
    finally:
        EmbeddedPostgres(parties.directory / "postgres").remove()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"unknown": "1"}, "unknown"),
        ({"wan_port": "70000"}, "wan_port"),
        ({"issuers": '["nobody.pem"]'}, "nobody.pem"),
    ],
)
def test_wrong_settings_are_one_clear_line(parties: Parties, wrong: dict[str, str], words: str) -> None:
    """A wrong settings file ends the process at once with status 2 and a line that names what is wrong."""

    async def play() -> None:
        config = settings(parties, 1, **wrong)
        command = (sys.executable, "-c", "from lastmetre.cli import main; main()", "serve", "dcc", "--config", config)
        process = await asyncio.create_subprocess_exec(*map(str, command), stderr=asyncio.subprocess.PIPE)
        _, errors = await process.communicate()
        assert process.returncode == 2
        lines = errors.decode().splitlines()
        assert len(lines) == 1
        assert words in lines[0]

    run(play())
