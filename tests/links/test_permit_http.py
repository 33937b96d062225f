"""Relay permits over HTTPS with real mutual TLS on the loopback, and the file they are remembered in."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI

from lastmetre.dcc.ports import PermitAsk, PermitRecord, PermitRefused
from lastmetre.links.http_server import serve
from lastmetre.links.permit_http import BODY_SIZE_MAX, PERMITS_PATH, PermitClient, PermitLinkError, add_permit_route
from lastmetre.links.permit_store import PermitStoreError, SqlitePermitStore
from lastmetre.links.tls import client_context, server_context
from lastmetre.supplier.ports import DspUnreachable, NoPermit
from tests.throwaway_tls import ThrowawayCa

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.throwaway_tls import TlsPair

DSP_ID = bytes.fromhex("00005eef10000002")
SUPPLIER_ID = bytes.fromhex("00005eef10000010")
PPMID = bytes.fromhex("00005eef100000a4")
NOW = 1_795_400_000
DIGEST = bytes(range(32))
PERMIT = bytes(range(128))


@dataclass
class Door:
    """A maker that keeps what it is asked; ``code`` makes it refuse."""

    asked: list[tuple[bytes, PermitAsk]] = field(default_factory=list)
    code: str = ""

    def issue(self, user_id: bytes, ask: PermitAsk) -> PermitRecord:
        """Refuse, or give always the same."""
        self.asked.append((user_id, ask))
        if self.code:
            raise PermitRefused(self.code, "a reason for the DSP alone")
        return PermitRecord(7, DSP_ID, ask.request_id, user_id, ask.carrier_id, ask.digest, NOW, NOW + 900, PERMIT)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[TlsPair, TlsPair]:
    """The DSP's and the supplier's TLS files."""
    ca = ThrowawayCa(tmp_path_factory.mktemp("permits") / "ca")
    return ca.issue(DSP_ID.hex()), ca.issue(SUPPLIER_ID.hex())


def played(pairs: tuple[TlsPair, TlsPair], door: Door, play: Callable[[str], Awaitable[None]]) -> None:
    """Serve permits while ``play`` runs with the URL."""

    async def run() -> None:
        app = FastAPI(openapi_url=None)
        add_permit_route(app, door)
        dsp = pairs[0]
        async with serve(app, "127.0.0.1", 0, server_context(dsp.ca, dsp.certificate, dsp.key)) as served:
            await asyncio.wait_for(play(f"https://127.0.0.1:{served.port}"), 20)

    asyncio.run(run())


def client(pairs: tuple[TlsPair, TlsPair], url: str) -> PermitClient:
    """The supplier's client."""
    return PermitClient(url, client_context(pairs[1].ca, pairs[1].certificate, pairs[1].key))


def test_a_permit_is_asked_for_as_who_tls_says(pairs: tuple[TlsPair, TlsPair]) -> None:
    """What is asked reaches the maker with the certificate's identity; the octets come back; a nonce goes along."""
    door = Door()

    async def play(url: str) -> None:
        async with client(pairs, url) as one:
            assert await one.permit("req-1", DIGEST, PPMID, NOW + 60, None) == PERMIT
            assert await one.permit("req-1", DIGEST, PPMID, NOW + 60, b"12345678") == PERMIT

    played(pairs, door, play)
    plain = PermitAsk("req-1", DIGEST, PPMID, not_after=NOW + 60)
    assert door.asked[0] == (SUPPLIER_ID, plain)
    assert door.asked[1][1].hub_nonce == b"12345678"


@pytest.mark.parametrize(
    ("code", "status"),
    [("unknown-command", 404), ("not-registered", 403), ("too-many", 429), ("answered", 409), ("superseded", 409)],
)
def test_refusals_have_a_status_and_a_code(pairs: tuple[TlsPair, TlsPair], code: str, status: int) -> None:
    """The code and nothing else: the reason stays at the DSP."""
    door = Door(code=code)

    async def play(url: str) -> None:
        async with client(pairs, url) as one:
            with pytest.raises(NoPermit) as caught:
                await one.permit("req-1", DIGEST, PPMID, NOW, None)
            assert caught.value.code == code
            asked = {"request_id": "r", "digest": DIGEST.hex(), "carrier_id": PPMID.hex()}
            answer = await one._http.post(PERMITS_PATH, json=asked)
            assert (answer.status_code, answer.json()) == (status, {"code": code})

    played(pairs, door, play)


def test_what_is_no_request_reaches_nobody(pairs: tuple[TlsPair, TlsPair]) -> None:
    """Nonsense, a field too many, a wrong length, too large: 400 or 413. Without a certificate: no TLS at all."""
    door = Door()
    good = {"request_id": "r", "digest": DIGEST.hex(), "carrier_id": PPMID.hex()}

    async def play(url: str) -> None:
        async with client(pairs, url) as one:
            for body in (b"", b"{}", b"\xff", b"[]"):
                assert (await one._http.post(PERMITS_PATH, content=body)).status_code == 400
            for wrong in ({"digest": "00"}, {"serial": 1}, {"not_after": -1}, {"hub_nonce": "xx"}, {"request_id": ""}):
                assert (await one._http.post(PERMITS_PATH, json=good | wrong)).status_code == 400, wrong
            large = await one._http.post(PERMITS_PATH, content=bytes(BODY_SIZE_MAX + 1))
            assert large.status_code == 413
        context = ssl.create_default_context(cafile=str(pairs[0].ca))
        async with httpx.AsyncClient(verify=context, base_url=url) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.post(PERMITS_PATH, json=good)

    played(pairs, door, play)
    assert door.asked == []


def test_an_outage_is_told_from_a_refusal(pairs: tuple[TlsPair, TlsPair]) -> None:
    """Nobody there: ask again later; the supplier sees its own error."""

    async def play() -> None:
        async with client(pairs, "https://127.0.0.1:1") as one:
            with pytest.raises(DspUnreachable):
                await one.permit("r", DIGEST, PPMID, NOW, None)
            with pytest.raises(PermitLinkError):
                await one.permit("r", DIGEST, PPMID, NOW, None)

    asyncio.run(play())


def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """All of a change or none of it; a file of another version is refused."""
    path = tmp_path / "permits.sqlite"
    with SqlitePermitStore(path) as store:
        with pytest.raises(RuntimeError):
            _fail_after_a_serial(store)
        with store.change() as change:
            assert change.next_serial(DSP_ID) == 1
            assert (change.void(DSP_ID), change.void_below(DSP_ID)) == (2, 2)
        store._db.execute("pragma user_version=9")
    with pytest.raises(PermitStoreError, match="version 9"):
        SqlitePermitStore(path)


def _fail_after_a_serial(store: SqlitePermitStore) -> None:
    with store.change() as change:
        assert change.next_serial(DSP_ID) == 1
        raise RuntimeError
