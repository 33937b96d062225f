"""What the stories share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.supplier_world import Run


@pytest.fixture
def run() -> Run:
    """Runs one story to its end."""

    def play(story: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await story()

        asyncio.run(main())

    return play
