"""Starts one party as a process: reads its settings, runs it until it is told to end, reports events as JSON lines."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from lastmetre.cli.problems import ProblemError
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from lastmetre.home.ports import EventValue

Settings = TypeVar("Settings")


def tell_line(event: str, /, **values: EventValue) -> None:
    """One event as one JSON line on standard output, with the time it was told."""
    print(json.dumps({"event": event, "at": round(time.time(), 3), **values}), flush=True)


def read_settings(path: Path, form: type[Settings]) -> Settings:
    """Settings from TOML; raises ``ProblemError`` naming the file and the field that is wrong."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=form, strict=True)
    except (OSError, msgspec.DecodeError) as error:  # a ValidationError is a DecodeError
        raise ProblemError(f"{path}: {error}") from error


def run_process(config: Path, form: type[Settings], run: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    """Run a party until SIGTERM or SIGINT; ``run`` gets its settings and an event that is set when it is to end."""
    settings = read_settings(config, form)

    async def until_told() -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        await run(settings, ending)

    try:
        asyncio.run(until_told())
    except LinkError as error:
        raise ProblemError(str(error), 1) from error
    sys.stdout.flush()
