"""R02, for the DSP: it is killed again and again in a hundred requests; nothing is lost and nothing doubled.

``serve dcc`` is a real process on the embedded PostgreSQL. It is killed (SIGKILL) with a request in its hands, with
Commands on their way down the WAN and with Responses on their way to the User, and started again. What is seen from
outside must be what one uninterrupted life would have shown; what may come twice is the very same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from lastmetre.duis.documents import GbcsPayload, ResponseMessage
from lastmetre.gbcs.message import parse_message
from lastmetre.links.dsp_store import PostgresDspStore
from lastmetre.links.duis_http import DspClient, DuisLinkError, create_receive_response_app
from lastmetre.links.http_server import serve
from lastmetre.links.postgres import DCC_PLACE, EmbeddedPostgres
from lastmetre.links.tls import client_context, server_context
from lastmetre.links.wan import BackOff, WanLink
from tests.dcc_process import (
    Parties,
    Process,
    Supplier,
    balance_response,
    make_parties,
    read_document,
    serve_dcc,
    settings,
)
from tests.dsp_world import code, local_command, read_balance
from tests.own_world import BROKER, ESME, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REQUESTS = 100
KILLS = (20, 45, 46, 80)
"""In which requests the process dies: every second request goes by WAN."""
SEED = 20_261_123
DEADLINE_S = 60.0


@dataclass
class Outside:
    """What the hub and the User see."""

    parties: Parties
    link: WanLink | None = None
    answers: dict[int, bytes] = field(default_factory=dict)
    hub_got: dict[int, set[bytes]] = field(default_factory=dict)
    pushed: dict[int, set[bytes]] = field(default_factory=dict)

    async def on_wan(self, command: bytes) -> None:
        """A Command down the WAN: the meter answers it, with the same bytes for the same Command."""
        self.hub_got.setdefault(parse_message(command).header.originator_counter, set()).add(command)
        assert self.link is not None
        await self.link.send(balance_response(self.parties, command))

    async def on_push(self, sender_id: bytes, document: bytes) -> bool:
        """A Response for the User, who keeps it by its counter."""
        assert sender_id == BROKER
        body = read_document(self.parties.keyring("supplier"), document).response.body
        assert isinstance(body, ResponseMessage)
        assert isinstance(body.payload, GbcsPayload)
        message = body.payload.gbcs_payload
        self.pushed.setdefault(parse_message(message).header.originator_counter, set()).add(message)
        return True


def test_r02_a_hundred_requests_through_four_deaths(tmp_path: Path) -> None:
    """R02: every request is answered once in meaning, every Command sealed once, every Response comes to the User."""
    asyncio.run(asyncio.wait_for(_play(make_parties(tmp_path)), DEADLINE_S))


async def _play(parties: Parties) -> None:
    outside, luck = Outside(parties), random.Random(SEED)
    app = create_receive_response_app(outside.on_push)
    server = EmbeddedPostgres(parties.directory / "postgres")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.remove)
        url = (await asyncio.to_thread(server.start, DCC_PLACE)).application
        context = server_context(*parties.tls("supplier"))
        receiving = await stack.enter_async_context(serve(app, "127.0.0.1", 0, context))
        config = settings(parties, receiving.port)
        counter = 1
        for death in (*KILLS, None):
            async with _life(config, outside) as (dsp, supplier):
                while counter <= REQUESTS:
                    answer = await _ask(supplier, dsp, counter, luck.uniform(0, 0.03) if counter == death else None)
                    if answer is not None:  # after a restart it is asked again, and the answer is the very same
                        assert outside.answers.setdefault(counter, answer) == answer
                    if counter == death:
                        break
                    counter += 1
                else:
                    await _until_all_came(url)
        _judge(outside, url)


@contextlib.asynccontextmanager
async def _life(config: Path, outside: Outside) -> AsyncIterator[tuple[Process, Supplier]]:
    """The process, a hub connected to it, and a User's client."""
    parties = outside.parties
    async with serve_dcc(config) as dsp, contextlib.AsyncExitStack() as stack:
        ready = await dsp.event("ready")
        assert dsp.process.stdout is not None
        outside.link = WanLink(
            "127.0.0.1", ready["wan_port"], client_context(*parties.tls("home")), outside.on_wan,
            gateway_id=BROKER, back_off=BackOff(0.01, 0.1),
        )  # fmt: skip
        for work in (outside.link.run(), dsp.process.stdout.read()):  # its events are read, so that it never waits
            stack.push_async_callback(_end, asyncio.create_task(work))
        client = DspClient(f"https://127.0.0.1:{ready['duis_port']}", client_context(*parties.tls("supplier")))
        yield dsp, Supplier(await stack.enter_async_context(client), parties.keyring("supplier"))


async def _end(task: asyncio.Task[object]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _ask(supplier: Supplier, dsp: Process, counter: int, kill_after_s: float | None) -> bytes | None:
    """One request, by WAN or local; when the process dies in it, there may be no answer."""
    by_wan = counter % 2 == 0
    document = supplier.document(read_balance(counter, 1 if by_wan else 2))
    ask = supplier.client.send_command if by_wan else supplier.client.non_device
    if kill_after_s is None:
        return await ask(document)
    asked = asyncio.ensure_future(ask(document))
    await asyncio.sleep(kill_after_s)
    dsp.process.kill()
    await dsp.process.wait()
    with contextlib.suppress(DuisLinkError):
        return await asked
    return None


async def _until_all_came(url: str) -> None:
    """Until nothing is left to leave and every Command by WAN is answered."""
    with PostgresDspStore(url, sole=False) as store:
        while True:
            with store.change() as change:
                waiting = change.outbox(), change.unanswered(1 << 40)
            if waiting == ((), ()):
                return
            await asyncio.sleep(0.05)


def _judge(outside: Outside, url: str) -> None:
    by_wan, local = set(range(2, REQUESTS + 1, 2)), set(range(1, REQUESTS + 1, 2))
    keyring = outside.parties.keyring("supplier")
    responses = {counter: read_document(keyring, answer).response for counter, answer in outside.answers.items()}
    assert responses.keys() == by_wan | local
    assert all(code(responses[counter]) == "I99" for counter in by_wan)
    commands = {counter: local_command(responses[counter]) for counter in local}
    assert all(parse_message(command).header.originator_counter == counter for counter, command in commands.items())
    assert outside.hub_got.keys() == by_wan
    assert all(len(copies) == 1 for copies in outside.hub_got.values()), "another Command under one counter"
    assert outside.pushed.keys() == by_wan
    assert all(len(copies) == 1 for copies in outside.pushed.values()), "another Response to one request"
    commands |= {counter: next(iter(copies)) for counter, copies in outside.hub_got.items()}
    with PostgresDspStore(url) as store, store.change() as change:
        for counter, command in commands.items():
            kept = change.command(ESME, SUPPLIER, counter)
            assert kept is not None
            assert kept.command == command
            assert (kept.answered_at is not None) == (counter in by_wan)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM dcc.commands").fetchone() == (REQUESTS,)
