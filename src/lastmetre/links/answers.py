"""Answers that are waited for by number, for the two Zigbee sides of the agent; and a listener that is not there yet.

Rules this module keeps: an answer to nothing, or a second one, is nobody's and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


def settle(waiting: dict[int, asyncio.Future[T]], number: int, result: T) -> None:
    """It was answered."""
    answer = waiting.get(number)
    if answer is not None and not answer.done():
        answer.set_result(result)


def fail(waiting: dict[int, asyncio.Future[T]], number: int, error: Exception) -> None:
    """It will not be answered."""
    answer = waiting.get(number)
    if answer is not None and not answer.done():
        answer.set_exception(error)


def nobody_listens(*_facts: object) -> None:
    """Until the composition has put the parts together."""
