"""Many orders in one body: NDJSON or CSV, a line in, an answer out, each line for itself.

Rules this module keeps:

* A line is an order placed or refused, never half of one; what came before a bad line, and what comes after, stands.
* Lines are placed while the body still comes; answers are never waited for by the reader, so that a caller who sends
  everything before it reads anything does not stop both.
* Every answer names its line in the body, blank lines and a CSV's header counted.
* ``Idempotency-Key`` on a bulk is each line's with its number: the same bulk sent again is the same orders.

CSV: a first line of names. ``values.NAME`` is a value; ``roads`` are separated by spaces; an empty cell is left out.
"""

from __future__ import annotations

import asyncio
import csv
import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from lastmetre.links.api_door import BODY_MAX, BodyTooSlow
from lastmetre.links.api_models import NewOrder
from lastmetre.supplier.ports import CountersUnavailable, KeyReused, OrderRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Place = Callable[[dict[str, Any]], Awaitable[dict[str, object]]]

LINES_MAX: Final = 100_000
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
_NUMBERS: Final = {"deadline_s", "priority"}


class LineRefused(Exception):
    """A line that is no order; the text says why."""


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Lines with their numbers; one that is too long is cut where it is, and refused by whoever reads it."""
    rest, number = b"", 1
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield number, line
            number += 1
        if len(rest) > BODY_MAX:
            yield number, rest
            return
    if rest:
        yield number, rest


def ndjson_order(line: bytes) -> dict[str, Any]:
    """The order of one line of NDJSON; raises ``LineRefused``."""
    if len(line) > BODY_MAX:
        raise LineRefused(f"an order has at most {BODY_MAX} octets; nothing after this line was read")
    try:
        return NewOrder.model_validate_json(line).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise LineRefused(words_of(error)) from None


def words_of(error: ValidationError) -> str:
    """The first fault, by the name of its field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'body'}: {first['msg']}"


class CsvReader:
    """Orders from lines of CSV; the first line names the columns. A cell may not contain a line break."""

    def __init__(self) -> None:
        self._columns: list[str] | None = None

    def order(self, line: bytes) -> dict[str, Any] | None:
        """The order of a line; ``None`` for the first, which names the columns. Raises ``LineRefused``."""
        cells = self._cells(line)
        if self._columns is None:
            columns = [cell.strip() for cell in cells]
            known = set(NewOrder.model_fields) - {"values", "duis"}
            wrong = [name for name in columns if name not in known and not name.startswith("values.")]
            if wrong or len(set(columns)) != len(columns):
                raise LineRefused(f"no columns of orders: {', '.join(wrong) or 'one stands twice'}; nothing was read")
            self._columns = columns
            return None
        if len(cells) != len(self._columns):
            raise LineRefused(f"{len(cells)} cells under {len(self._columns)} columns")
        body: dict[str, Any] = {}
        for name, cell in zip(self._columns, (cell.strip() for cell in cells), strict=True):
            if not cell:
                continue
            if name == "roads":
                body["roads"] = cell.split()
            elif name.startswith("values."):
                body.setdefault("values", {})[name.removeprefix("values.")] = _number(name, cell)
            else:
                body[name] = _number(name, cell) if name in _NUMBERS else cell
        try:
            return NewOrder.model_validate(body).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise LineRefused(words_of(error)) from None

    @property
    def begun(self) -> bool:
        """Whether the columns are known."""
        return self._columns is not None

    @staticmethod
    def _cells(line: bytes) -> list[str]:
        if len(line) > BODY_MAX:
            raise LineRefused(f"a line has at most {BODY_MAX} octets; nothing after it was read")
        try:
            rows = list(csv.reader([line.decode("utf-8-sig")], strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise LineRefused(f"no line of CSV: {error}") from None
        return rows[0] if rows else []


def _number(name: str, cell: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise LineRefused(f"{name}: a whole number is wanted") from None


def answer(number: int, status: int, *, order: object = None, error: tuple[str, str] | None = None) -> bytes:
    """One line of the answer."""
    content: dict[str, object] = {"line": number, "status": status}
    if error is not None:
        content["error"] = {"code": error[0], "message": error[1]}
    else:
        content["order"] = order
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


async def place_all(chunks: AsyncIterator[bytes], kind: str, place: Place, key: str | None) -> AsyncIterator[bytes]:
    """Places every line of a body and gives the answers, in the lines' order."""
    answers: asyncio.Queue[bytes | None] = asyncio.Queue()
    reading = asyncio.create_task(_read(chunks, kind, place, key, answers))
    try:
        while (line := await answers.get()) is not None:
            yield line
        await reading
    finally:
        reading.cancel()


async def _read(
    chunks: AsyncIterator[bytes], kind: str, place: Place, key: str | None, answers: asyncio.Queue[bytes | None]
) -> None:
    table = CsvReader() if kind == CSV else None
    number = 0
    try:
        async for number, line in lines_of(chunks):
            if not line.strip():
                continue
            if number > LINES_MAX:
                words = f"a bulk has at most {LINES_MAX} lines; this line and those after it were not read"
                answers.put_nowait(answer(number, 413, error=("too_large", words)))
                return
            try:
                body = table.order(line) if table is not None else ndjson_order(line)
            except LineRefused as refused:
                answers.put_nowait(answer(number, 422, error=("order_refused", str(refused))))
                if table is not None and not table.begun:
                    return
                continue
            if body is not None:
                answers.put_nowait(await _place_one(number, body, place, key))
    except BodyTooSlow:
        answers.put_nowait(answer(number + 1, 408, error=("too_slow", "the body stopped; nothing after was read")))
    finally:
        answers.put_nowait(None)


async def _place_one(number: int, body: dict[str, Any], place: Place, key: str | None) -> bytes:
    if key is not None:
        body.setdefault("idempotency_key", f"{key}/{number}")
    try:
        return answer(number, 201, order=await place(body))
    except OrderRefused as refused:
        return answer(number, 422, error=("order_refused", str(refused)))
    except KeyReused as reused:
        return answer(number, 409, error=("key_reused", str(reused)))
    except CountersUnavailable as error:
        return answer(number, 503, error=("counters_unavailable", str(error)))
