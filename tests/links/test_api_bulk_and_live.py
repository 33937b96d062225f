"""Bulks, held answers, live updates and figures of the supplier's API; the limits at its door over a real socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lastmetre.duis import compose
from lastmetre.duis.documents import build_request
from lastmetre.links import api_door
from lastmetre.links.http_server import serve
from lastmetre.links.supplier_api import create_supplier_api
from tests.own_world import ESME, OTHER_ESME, SUPPLIER
from tests.supplier_world import SupplierWorld, supplier_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

TOKEN = "a token of sixteen characters or more"
ORDER: dict[str, Any] = {"device_id": ESME.hex(), "service": "arm_supply", "deadline_s": 60, "roads": ["ppmid"]}
TOP_UP = ORDER | {"service": "top_up", "values": {"amount_pence": 1_000}}
NDJSON = {"content-type": "application/x-ndjson"}


def run(tmp_path: Path, work: Callable[[SupplierWorld, httpx.AsyncClient], Awaitable[None]]) -> None:
    """Runs one test's work with a client of a served API."""

    async def main() -> None:
        with supplier_world(tmp_path) as world:
            async with (
                serve(create_supplier_api(world.desk, TOKEN), "127.0.0.1", 0, None) as served,
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{served.port}",
                    headers={"authorization": f"Bearer {TOKEN}"},
                    trust_env=False,
                    timeout=20,
                ) as client,
            ):
                await work(world, client)

    asyncio.run(main())


def lines(*orders: object) -> bytes:
    """NDJSON."""
    return b"".join(json.dumps(order).encode() + b"\n" for order in orders)


def test_a_bulk_answers_line_by_line(tmp_path: Path) -> None:
    """A bad line is named by its number and stops nothing; a top-up's digits come in its line; blank lines count."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        body = lines(TOP_UP) + b"\n{no json\n" + lines(ORDER | {"service": "fly"}, ORDER | {"tenant": "x"}, ORDER)
        answer = await client.post("/orders", content=body, headers=NDJSON)
        assert answer.status_code == 200
        told = [json.loads(line) for line in answer.text.splitlines()]
        assert [(one["line"], one["status"]) for one in told] == [(1, 201), (3, 422), (4, 422), (5, 422), (6, 201)]
        assert len(told[0]["order"]["utrn"]) == 20
        assert "there is no service" in told[2]["error"]["message"]
        assert len(await world.store.orders(10)) == 2

    run(tmp_path, work)


def test_a_bulk_sent_again_is_the_same_orders(tmp_path: Path) -> None:
    """A key on the bulk is each line's with its number; a key in a line is its own."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        body = lines(TOP_UP, ORDER | {"idempotency_key": "mine"})
        headers = NDJSON | {"idempotency-key": "night run"}
        told = [
            [json.loads(line)["order"]["order_id"] for line in answer.text.splitlines()]
            for answer in [await client.post("/orders", content=body, headers=headers) for _ in range(2)]
        ]
        assert told[0] == told[1]
        keys = {order.idempotency_key for order in await world.store.orders(10)}
        assert keys == {"night run/1", "mine"}

    run(tmp_path, work)


def test_a_bulk_is_placed_while_it_comes(tmp_path: Path) -> None:
    """The first line is an order before the last one was sent."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        async def slowly() -> AsyncIterator[bytes]:
            yield lines(ORDER)
            async with asyncio.timeout(10):
                seen = 0
                while not await world.store.orders(1):
                    seen = await world.store.wait_for_change(seen, 10)
            yield lines(ORDER)

        answer = await client.post("/orders", content=slowly(), headers=NDJSON)
        assert [json.loads(line)["status"] for line in answer.text.splitlines()] == [201, 201]

    run(tmp_path, work)


def test_orders_by_csv(tmp_path: Path) -> None:
    """Names in the first line, values under ``values.NAME``, roads by spaces; wrong columns stop it before anything."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        table = (
            "device_id,service,deadline_s,roads,values.amount_pence,priority\r\n"
            f"{ESME.hex()},top_up,3600,ppmid wan,500,\r\n{ESME.hex()},arm_supply,x,ppmid,,2\r\n"
        )
        answer = await client.post("/orders", content=table, headers={"content-type": "text/csv"})
        told = [json.loads(line) for line in answer.text.splitlines()]
        assert [(one["line"], one["status"]) for one in told] == [(2, 201), (3, 422)]
        assert told[0]["order"]["values"] == {"amount_pence": 500}
        wrong = await client.post(
            "/orders", content=f"device_id,state\n{ESME.hex()},confirmed\n", headers={"content-type": "text/csv"}
        )
        assert "state" in json.loads(wrong.text)["error"]["message"]
        assert len(await world.store.orders(10)) == 1

    run(tmp_path, work)


def test_the_key_in_the_header(tmp_path: Path) -> None:
    """The same key and body: the same order; another body 409; header and body that differ 422."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        key = {"idempotency-key": "till 4"}
        first, again = [(await client.post("/orders", json=TOP_UP, headers=key)).json() for _ in range(2)]
        assert first == again
        in_body = (await client.post("/orders", json=TOP_UP | {"idempotency_key": "till 4"})).json()
        assert in_body == first
        assert (await client.post("/orders", json=ORDER, headers=key)).status_code == 409
        both = await client.post("/orders", json=ORDER | {"idempotency_key": "other"}, headers=key)
        assert both.status_code == 422
        assert len(await world.store.orders(10)) == 1

    run(tmp_path, work)


def test_an_answer_held_until_the_end(tmp_path: Path) -> None:
    """``Prefer: wait`` answers with the end as soon as it is there, and with what is so far when the time is over."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        early = await client.post("/orders", json=ORDER, headers={"prefer": "wait=1"})
        assert (early.json()["state"], early.headers["preference-applied"]) == ("accepted", "wait=1")
        assert (await client.post(f"/orders/{early.json()['order_id']}/cancel")).status_code == 200
        held = asyncio.create_task(client.post("/orders", json=ORDER, headers={"prefer": "respond-async, wait=60"}))
        async with asyncio.timeout(15):
            seen = world.store.changes
            while len(await world.store.orders(5)) < 2:
                seen = await world.store.wait_for_change(seen, 10)
            await world.work()
            await world.carry()
            answer = await held
        assert answer.json()["state"] == "confirmed"

    run(tmp_path, work)


def test_live_updates_go_on_where_they_were_left(tmp_path: Path) -> None:
    """What was written before, then what is written now; a reader that comes again with its last number misses none."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        order_id = await world.place()

        async def read(after: int, wanted: int, **query: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            headers = {"last-event-id": str(after)}
            async with asyncio.timeout(15), client.stream("GET", "/events", headers=headers, params=query) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        found.append(json.loads(line.removeprefix("data: ")))
                        if len(found) == wanted:
                            break
            return found

        reading = asyncio.create_task(read(0, 4))
        await asyncio.sleep(0)
        await world.work()
        first = await reading
        assert [event["seq"] for event in first] == [1, 2, 3, 4]
        assert (first[0]["event"], first[0]["order_id"]) == ("order_accepted", order_id)
        assert [event["seq"] for event in await read(2, 2)] == [3, 4]
        other = await world.place(device=OTHER_ESME)
        assert [event["order_id"] for event in await read(0, 1, order_id=other)] == [other]

    run(tmp_path, work)


def test_figures_name_nobody(tmp_path: Path) -> None:
    """Prometheus reads them; no label holds an identifier, a path somebody made up or the token."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        order_id = await world.place()
        await client.get(f"/orders/{order_id}")
        await client.get("/made/up/by/somebody")
        text = (await client.get("/metrics")).text
        assert 'lastmetre_orders_open{service="arm_supply",state="accepted"} 1.0' in text
        assert 'route="/orders/{order_id}"' in text
        for secret in (order_id, ESME.hex(), "somebody", TOKEN):
            assert secret not in text

    run(tmp_path, work)


def test_a_duis_request_is_an_order(tmp_path: Path) -> None:
    """Its body is sent under our own RequestID and confirmed; what must not come this way is refused with words."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        request = compose.read_supply_status(SUPPLIER, ESME, 7, command_variant=2)
        asked = {"device_id": ESME.hex(), "deadline_s": 60, "roads": ["ppmid"]}
        xml = build_request(request).decode()
        placed = await client.post("/orders", json=asked | {"duis": xml})
        assert placed.status_code == 201, placed.text
        await world.work()
        await world.carry()
        shown = (await client.get(f"/orders/{placed.json()['order_id']}")).json()
        assert (shown["service"], shown["state"]) == ("read_supply_status", "confirmed")
        assert int(shown["originator_counter"]) > 7
        top_up = build_request(compose.top_up(SUPPLIER, ESME, 8, "1" * 20)).decode()
        for wrong, words in (
            ({"duis": "<x/>"}, "cannot be read"),
            ({"duis": top_up}, "by its amount"),
            ({"duis": xml, "device_id": OTHER_ESME.hex()}, "is for device"),
            ({"duis": xml, "service": "arm_supply"}, "not both"),
        ):
            refused = await client.post("/orders", json=asked | wrong)
            assert refused.status_code == 422
            assert words in refused.json()["error"]["message"]

    run(tmp_path, work)


def test_a_change_of_payment_mode_as_xml_needs_four_eyes(tmp_path: Path) -> None:
    """The rules of a service hold however it is asked for: by the PPMID, 1.6 and 7.2 wait for a second person."""

    async def work(_world: SupplierWorld, client: httpx.AsyncClient) -> None:
        mode = compose.set_prepayment_mode(
            SUPPLIER, ESME, 7, disablement_threshold=0, suspend_debt_disabled=False, suspend_debt_emergency=False
        )
        for request in (mode, compose.disable_supply(SUPPLIER, ESME, 7)):
            asked = {"device_id": ESME.hex(), "deadline_s": 60, "roads": ["ppmid"]}
            asked["duis"] = build_request(request).decode()
            alone = await client.post("/orders", json=asked)
            assert "four eyes" in alone.json()["error"]["message"]
            placed = await client.post("/orders", json=asked | {"ordered_by": "ann"})
            assert placed.json()["needs_approval"] is True

    run(tmp_path, work)


def test_a_device_by_its_supply_point(tmp_path: Path) -> None:
    """An MPxN names the one device there that the service fits; an unknown one, or both names, are refused."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        world.devices[ESME] = replace(world.devices[ESME], mpxn="1200012345678")
        asked = {name: value for name, value in ORDER.items() if name != "device_id"}
        placed = await client.post("/orders", json=asked | {"mpxn": "1200012345678"})
        assert placed.json()["device_id"] == ESME.hex()
        assert (await client.post("/orders", json=asked | {"mpxn": "1200012345679"})).status_code == 422
        assert (await client.post("/orders", json=ORDER | {"mpxn": "1200012345678"})).status_code == 422
        assert (await client.post("/orders", json=asked)).status_code == 422

    run(tmp_path, work)


def test_refusals_are_in_the_audit(tmp_path: Path) -> None:
    """An order refused, a cancel too late or of no order, a supersession that cannot be: each is written down."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        await client.post("/orders", json=ORDER | {"service": "fly"})
        top_up = (await client.post("/orders", json=TOP_UP)).json()["order_id"]
        await client.post(f"/orders/{top_up}/cancel")
        await client.post(f"/orders/{top_up}/supersede")
        await client.post(f"/orders/{top_up}/approve", json={"approved_by": "bob"})
        await client.post("/orders/another/cancel")
        events = [entry.entry.event for entry in await world.store.audit(0, 100)]
        wanted = ["order_refused", "order_accepted", "cancel_refused", "supersession_refused", "approval_refused"]
        assert events == [*wanted, "cancel_refused"]

    run(tmp_path, work)


DEEP = b'{"values":' * 20_000


@pytest.mark.parametrize(
    ("arguments", "statuses"),
    [
        ({"content": DEEP, "headers": {"content-type": "application/json"}}, {413, 422}),
        ({"content": DEEP[:60_000], "headers": {"content-type": "application/json"}}, {422}),
        ({"content": b"{" + b" " * 70_000, "headers": {"content-type": "application/json"}}, {413}),
        ({"json": ORDER, "headers": {"x-long": "x" * 40_000}}, {431}),
        ({"json": ORDER, "headers": {"x-long": "x" * 200_000}}, {400}),
        ({"json": ORDER, "params": {"x": "x" * 5_000}}, {414}),
        ({"json": ORDER, "headers": {"content-encoding": "gzip"}}, {415}),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, {415}),
    ],
    ids=["deep and long", "deep", "long", "headers", "giant headers", "url", "packed", "type"],
)
def test_what_is_too_much_is_refused(tmp_path: Path, arguments: dict[str, Any], statuses: set[int]) -> None:
    """T43: deep JSON, giant headers, URL and body, packed bodies: refused within limits, and the next caller served."""

    async def work(world: SupplierWorld, client: httpx.AsyncClient) -> None:
        try:
            answer = await client.post("/orders", **arguments)
        except (httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError):  # it hung up in the middle: refused too
            assert statuses & {400, 413}
        else:
            assert answer.status_code in statuses
        assert await world.store.orders(1) == []
        assert (await client.get("/health")).status_code == 200

    run(tmp_path, work)


def test_a_body_that_stops_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T43: a caller that sends half an order and falls silent gets 408; nothing is held open for it."""
    monkeypatch.setattr(api_door, "BODY_SILENCE_S", 0.2)

    async def work(_world: SupplierWorld, client: httpx.AsyncClient) -> None:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        head = (
            f"POST /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        )
        writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        async with asyncio.timeout(10):
            assert b" 408 " in await reader.readline()
        writer.close()

    run(tmp_path, work)
