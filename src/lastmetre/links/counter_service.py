"""Counters from another head-end's service: several systems of one supplier share each device's counters (design 2).

The contract is this project's own (DESIGN CHOICE): JSON over HTTP(S), one request for one value::

    POST {url}/counters
    {"supplier": "<16 hex>", "target": "<16 hex>", "lane": "ordinary" | "top-up", "at_least": 1795400000123}
    200 {"value": 1795400000124, "epoch": 7}

Rules this module keeps (threats T18, R17):

- The value is at least what was asked for and is given to nobody else, now or ever. The service keeps it before it
  answers; an answer that is lost is a gap, which harms nobody.
- ``epoch`` is the service's fencing token: it rises whenever another instance takes over. An answer of a lower epoch
  than one seen before comes from an instance that is no longer in charge, and is refused.
- Our own store gives the value out once more: what is not above everything this store knows for the lane is never used,
  whatever the service says. A service that stays behind is refused with words on how to bring it level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from lastmetre.links.errors import LinkError
from lastmetre.supplier.ports import CountersUnavailable

if TYPE_CHECKING:
    from lastmetre.gbcs.catalogue import Lane
    from lastmetre.supplier.ports import CountedStore

TRIES_MAX: Final = 3
"""Values that our store finds used before the service is taken to be behind."""


class CounterServiceError(LinkError, CountersUnavailable):
    """No counter can be had from the other head-end; the text says why. Nothing was given out."""


class _Given(msgspec.Struct, frozen=True):
    value: int
    epoch: int


class CounterService:
    """Implements ``supplier.ports.Counters`` on another head-end's service and our own store."""

    def __init__(self, client: httpx.AsyncClient, url: str, supplier_id: bytes, store: CountedStore) -> None:
        self._client = client
        self._url = f"{url.rstrip('/')}/counters"
        self._supplier_id = supplier_id
        self._store = store
        self._epoch = 0

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """As in the port; raises ``CounterServiceError``."""
        for _ in range(TRIES_MAX):
            value = await self._ask(target_id, lane, lowest)
            mine = await self._store.next_counter(target_id, lane, value)
            if mine == value:
                return value
            lowest = mine + 1  # this store knows of a higher one: both are spent, and neither is used
        raise CounterServiceError(_behind(target_id, lane, lowest))

    async def _ask(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        body = {
            "supplier": self._supplier_id.hex(), "target": target_id.hex(), "lane": lane.value, "at_least": lowest,
        }  # fmt: skip
        try:
            answer = await self._client.post(self._url, json=body)
            answer.raise_for_status()
            given = msgspec.json.decode(answer.content, type=_Given)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise CounterServiceError(f"the counter service at {self._url} gave no counter: {error!r}") from error
        if given.epoch < self._epoch:
            raise CounterServiceError(
                f"the counter service answered in epoch {given.epoch} after {self._epoch}: an instance that is no "
                "longer in charge still answers; stop it"
            )
        self._epoch = given.epoch
        if given.value < lowest:
            raise CounterServiceError(f"{_behind(target_id, lane, lowest)} (it gave {given.value})")
        return given.value


def _behind(target_id: bytes, lane: Lane, lowest: int) -> str:
    return (
        f"the counter service is behind this store on the {lane.value} lane of {target_id.hex()}: it was restored from "
        "a backup, or serves another supplier. Read the device's counters (SRV 6.24.1), bring the service to at least "
        f"{lowest}, and try again"
    )
