"""The supplier's HTTP API on a real desk: what it takes, what it refuses, and its silence without the token."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lastmetre.links.supplier_api import create_supplier_api
from lastmetre.supplier.audit import ChainedEntry, Entry, verify
from lastmetre.supplier.ports import CountersUnavailable
from tests.own_world import ESME, OTHER_ESME
from tests.supplier_world import SupplierWorld, supplier_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from lastmetre.gbcs.catalogue import Lane

TOKEN = "a token of sixteen characters or more"
ORDER: dict[str, Any] = {"device_id": ESME.hex(), "service": "arm_supply", "deadline_s": 60, "roads": ["ppmid"]}
TOP_UP = ORDER | {"service": "top_up", "values": {"amount_pence": 1_000}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SupplierWorld]:
    """A supplier with everything it talks to."""
    with supplier_world(tmp_path) as world:
        yield world


def run(world: SupplierWorld, work: Callable[[httpx.AsyncClient], Awaitable[None]], token: str = TOKEN) -> None:
    """Runs one test's work with a client of the API."""

    async def main() -> None:
        transport = httpx.ASGITransport(create_supplier_api(world.desk, TOKEN))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://supplier", headers=headers) as client:
            await work(client)

    asyncio.run(main())


def test_an_order_and_its_story(world: SupplierWorld) -> None:
    """Placed, followed, shown with attempts, Command, Response and every document."""

    async def work(client: httpx.AsyncClient) -> None:
        placed = await client.post("/orders", json=TOP_UP)
        assert placed.status_code == 201
        assert len(placed.json()["utrn"]) == 20
        await world.work()
        envelope = await world.carry()
        await world.work()
        shown = (await client.get(f"/orders/{placed.json()['order_id']}")).json()
        assert shown["state"] == "confirmed"
        assert shown["why_waiting"] is None
        assert shown["command"] == envelope.command.hex()
        assert shown["response"] == shown["documents"][-2]["content"]
        assert [attempt["road"] for attempt in shown["attempts"]] == ["code", "ppmid"]
        assert shown["attempts"][1]["state"] == "answered"
        forms = {document["name"]: document["form"] for document in shown["documents"]}
        assert forms["service_request"] == "text"
        assert forms["command"] == "hex"
        listed = (await client.get("/orders")).json()["orders"]
        assert [order["order_id"] for order in listed] == [placed.json()["order_id"]]

    run(world, work)


def test_why_it_waits(world: SupplierWorld) -> None:
    """A home without WAN and a road that needs it: the answer is there to be read."""

    async def work(client: httpx.AsyncClient) -> None:
        placed = await client.post("/orders", json=ORDER | {"device_id": OTHER_ESME.hex(), "roads": ["wan"]})
        await world.work()
        shown = (await client.get(f"/orders/{placed.json()['order_id']}")).json()
        assert (shown["state"], shown["why_waiting"]) == ("accepted", "no WAN here")

    run(world, work)


def test_the_audit_can_be_checked_from_outside(world: SupplierWorld) -> None:
    """What GET /audit shows is enough to recompute the chain; it comes in pages."""

    async def work(client: httpx.AsyncClient) -> None:
        await client.post("/orders", json=TOP_UP)
        await world.work()
        first = (await client.get("/audit", params={"limit": 2})).json()["entries"]
        rest = (await client.get("/audit", params={"after": 2})).json()["entries"]
        entries = [
            ChainedEntry(
                e["seq"],
                Entry(
                    e["order_id"],
                    e["at"],
                    e["event"],
                    e["from"],
                    e["to"],
                    e["detail"],
                    tuple((name, bytes.fromhex(digest)) for name, digest in e["documents"].items()),
                ),
                bytes.fromhex(e["previous"]),
                bytes.fromhex(e["hash"]),
            )
            for e in first + rest
        ]
        assert len(first) == 2
        head = verify(entries)
        assert head is not None
        assert head.entry.event == "order_sealed"

    run(world, work)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ü"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/orders"), ("POST", "/orders"), ("GET", "/orders/x"), ("GET", "/audit"), ("GET", "/health")],
)
def test_without_the_token_nothing_is_said(world: SupplierWorld, token: str, method: str, path: str) -> None:
    """No token or another one: 401, and no order is placed."""

    async def work(client: httpx.AsyncClient) -> None:
        headers = {b"authorization": f"Bearer {token}".encode(), b"content-type": b"application/json"}
        answer = await client.request(method, path, content=b"{no json", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "not_allowed"
        assert await world.store.orders(10) == []

    run(world, work, token="")


def test_an_api_without_a_token_is_not_made(world: SupplierWorld) -> None:
    """An empty token would let everybody in."""
    with pytest.raises(ValueError, match="token"):
        create_supplier_api(world.desk, "")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (ORDER | {"service": "fly"}, 422, "there is no service"),
        (ORDER | {"roads": ["air"]}, 422, "roads.0: Input should be 'wan'"),
        (ORDER | {"device_id": "11" * 8}, 422, "none of this supplier's devices"),
        (ORDER | {"deadline_s": "60"}, 422, "deadline_s"),
        (ORDER | {"values": {"amount_pence": 1.5}}, 422, "amount_pence"),
        (ORDER | {"priority": 10}, 422, "priority"),
        ({}, 422, "deadline_s"),
        ([], 422, "body"),
        (TOP_UP | {"values": {"amount_pence": 8_201}}, 422, "whole pounds"),
    ],
)
def test_a_refusal_names_what_is_wrong(world: SupplierWorld, body: object, status: int, word: str) -> None:
    """One error shape, with a message that says what to correct."""

    async def work(client: httpx.AsyncClient) -> None:
        answer = await client.post("/orders", json=body)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == "order_refused"
        assert word in answer.json()["error"]["message"]

    run(world, work)


def test_keys_and_cancels_that_conflict(world: SupplierWorld) -> None:
    """The same key with the same body is the same order; with another 409. A cancel too late is 409, unknown 404."""

    async def work(client: httpx.AsyncClient) -> None:
        keyed = TOP_UP | {"idempotency_key": "till 4, 17"}
        first = (await client.post("/orders", json=keyed)).json()
        assert (await client.post("/orders", json=keyed)).json() == first
        other = await client.post("/orders", json=keyed | {"values": {"amount_pence": 2_000}})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")
        late = await client.post(f"/orders/{first['order_id']}/cancel")
        assert (late.status_code, late.json()["error"]["code"]) == (409, "too_late")
        assert "may have run" in late.json()["error"]["message"]
        arm = (await client.post("/orders", json=ORDER)).json()
        assert (await client.post(f"/orders/{arm['order_id']}/cancel")).json()["state"] == "cancelled"
        for path in ("/orders/none", "/nothing"):
            missing = await client.get(path)
            assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
        assert (await client.get("/health")).json()["status"] == "ok"

    run(world, work)


def test_a_body_too_large_is_refused(world: SupplierWorld) -> None:
    """T43: an order has some hundreds of octets."""

    async def work(client: httpx.AsyncClient) -> None:
        answer = await client.post("/orders", content=b" " * 70_000, headers={"content-type": "application/json"})
        assert answer.status_code == 413

    run(world, work)


def test_supersede_and_at_large_over_http(world: SupplierWorld) -> None:
    """The superseder comes back as an order; a top-up is refused with the reason; what is out is listed."""

    async def work(client: httpx.AsyncClient) -> None:
        order_id = await world.place()
        await world.work()
        assert await world.poll() is not None
        assert [row["order_id"] for row in (await client.get("/at-large")).json()["orders"]] == [order_id]
        begun = await client.post(f"/orders/{order_id}/supersede")
        assert begun.status_code == 201
        assert (await client.get(f"/orders/{order_id}")).json()["superseded_by"] == begun.json()["order_id"]
        top_up = (await client.post("/orders", json=TOP_UP)).json()["order_id"]
        refused = await client.post(f"/orders/{top_up}/supersede", json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "cannot_supersede")
        assert (await client.post("/orders/nothing/supersede")).status_code == 404

    run(world, work)


class _NoCounters:
    """Another head-end's service that is away."""

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """As in the port."""
        raise CountersUnavailable(f"no {lane.value} counter for {target_id.hex()} from {lowest}: the service is away")


def test_no_counter_is_503_and_nothing_is_half_done(world: SupplierWorld) -> None:
    """A top-up is not placed, alone or in a bulk; an order under way waits with the reason, and goes on afterwards."""

    async def work(client: httpx.AsyncClient) -> None:
        desk_counters, worker_counters = world.desk._counters, world.worker._counters
        world.desk._counters = world.worker._counters = _NoCounters()
        refused = await client.post("/orders", json=TOP_UP)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "counters_unavailable"
        assert "the service is away" in refused.json()["error"]["message"]
        lines = json.dumps(TOP_UP) + "\n" + json.dumps(ORDER) + "\n"
        bulk = await client.post("/orders", content=lines, headers={"content-type": "application/x-ndjson"})
        answers = [json.loads(line) for line in bulk.text.splitlines()]
        assert (bulk.status_code, answers[0]["error"]["code"]) == (200, "counters_unavailable")
        shown = (await client.get("/orders")).json()["orders"]
        assert [order["service"] for order in shown] == ["arm_supply"]
        await world.work()
        shown = (await client.get(f"/orders/{shown[0]['order_id']}")).json()
        assert shown["state"] == "accepted"
        assert "the service is away" in shown["why_waiting"]
        world.desk._counters, world.worker._counters = desk_counters, worker_counters
        assert (await client.post("/orders", json=TOP_UP)).status_code == 201

    run(world, work)
