"""Counters from another head-end: never one twice, whatever the service forgets, repeats or says."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.counter_service import CounterService, CounterServiceError
from lastmetre.supplier.store_memory import MemoryOrderStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SUPPLIER, ESME = bytes.fromhex("00005eef10000010"), bytes.fromhex("00005eef100000a0")


class HeadEnd:
    """A head-end that counts, and can be restored from a backup."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], int] = {}
        self.epoch = 1
        self.asked: list[dict[str, object]] = []
        self.instead: httpx.Response | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        body = json.loads(request.content)
        self.asked.append(body)
        if self.instead is not None:
            return self.instead
        lane = (body["target"], body["lane"])
        self.last[lane] = max(self.last.get(lane, -1) + 1, body["at_least"])
        return httpx.Response(200, json={"value": self.last[lane], "epoch": self.epoch})


def run(story: Callable[[HeadEnd, CounterService, MemoryOrderStore], Awaitable[None]]) -> None:
    """One story with a head-end, a supplier's client of it and its store."""

    async def main() -> None:
        head_end, store = HeadEnd(), MemoryOrderStore()
        async with httpx.AsyncClient(transport=httpx.MockTransport(head_end)) as client:
            await story(head_end, CounterService(client, "https://head-end/", SUPPLIER, store), store)

    asyncio.run(main())


def test_two_systems_never_share_a_value() -> None:
    """Our values and those that another system takes meanwhile are all different, and rise."""

    async def story(head_end: HeadEnd, counters: CounterService, _: MemoryOrderStore) -> None:
        ours = []
        for _number in range(5):
            ours.append(await counters.next_counter(ESME, Lane.ORDINARY, 100))
            head_end.last[ESME.hex(), "ordinary"] += 1  # somebody else takes one
        assert ours == [100, 102, 104, 106, 108]
        assert head_end.asked[0] == {
            "supplier": SUPPLIER.hex(), "target": ESME.hex(), "lane": "ordinary", "at_least": 100,
        }  # fmt: skip

    run(story)


def test_a_service_restored_from_a_backup_repeats_nothing() -> None:
    """It gives an old value again: our store knows it, asks above it, and uses only what neither gave before."""

    async def story(head_end: HeadEnd, counters: CounterService, _: MemoryOrderStore) -> None:
        before = [await counters.next_counter(ESME, Lane.TOP_UP, 7) for _n in range(4)]
        head_end.last.clear()
        after = [await counters.next_counter(ESME, Lane.TOP_UP, 7) for _n in range(4)]
        assert len({*before, *after}) == 8
        assert min(after) > max(before)

    run(story)


def test_a_service_that_stays_behind_is_refused_with_words() -> None:
    """One that says the same for ever gives nothing out; the text says what to do."""

    async def story(head_end: HeadEnd, counters: CounterService, store: MemoryOrderStore) -> None:
        await store.next_counter(ESME, Lane.ORDINARY, 500)
        head_end.instead = httpx.Response(200, json={"value": 500, "epoch": 1})
        with pytest.raises(CounterServiceError, match=r"SRV 6\.24\.1"):
            await counters.next_counter(ESME, Lane.ORDINARY, 100)

    run(story)


def test_an_instance_no_longer_in_charge_is_refused() -> None:
    """Fencing: after an answer of epoch 2, one of epoch 1 is not taken."""

    async def story(head_end: HeadEnd, counters: CounterService, _: MemoryOrderStore) -> None:
        head_end.epoch = 2
        await counters.next_counter(ESME, Lane.ORDINARY, 1)
        head_end.epoch = 1
        with pytest.raises(CounterServiceError, match="no longer in charge"):
            await counters.next_counter(ESME, Lane.ORDINARY, 1)

    run(story)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, content=b"nothing"),
        httpx.Response(200, json={"value": "9", "epoch": 1}),
        httpx.Response(200, json={"value": 99, "epoch": 1}),
    ],
)
def test_no_counter_is_an_error_with_words(answer: httpx.Response) -> None:
    """A service that is away, talks nonsense or gives less than was asked for."""

    async def story(head_end: HeadEnd, counters: CounterService, store: MemoryOrderStore) -> None:
        head_end.instead = answer
        with pytest.raises(CounterServiceError, match="counter service"):
            await counters.next_counter(ESME, Lane.ORDINARY, 100)
        assert await store.last_counter(ESME, Lane.ORDINARY) is None

    run(story)
