"""A PPMID's Zigbee side on the emulated air: the agent's ``Tunnel`` port, and plain commands to the ESME.

A maker with a Zigbee stack of its own replaces this module and nothing else. Rules: a message that came down is handed
on before the hub hears that it was taken, so the hub never believes what a power cut undid; what went up unanswered is
a failure with its reason, never a guess.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lastmetre.agent.ports import TunnelDownError
from lastmetre.han import (
    Device,
    Dropped,
    Event,
    HanError,
    MessageReceived,
    TransferAccepted,
    TransferFailed,
    TunnelClosed,
    TunnelOpened,
    ZseAnswered,
    ZseFailed,
    ZseReceived,
)
from lastmetre.han.zcl import Status
from lastmetre.links.air import Address, Pump, open_radio
from lastmetre.links.answers import fail, nobody_listens, settle
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from lastmetre.agent.ports import Tell
    from lastmetre.han import ZseCommand

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RadioSettings:
    """Where this PPMID is on its home's network."""

    agent_id: bytes
    hub_id: bytes
    hub_address: Address
    pan_id: int
    short_address: int
    peers: Mapping[bytes, int]
    """Other devices it speaks with directly: its ESME, by short address."""


class NoAnswerError(LinkError):
    """The device did not answer a plain command; press again, nearer to it."""


class PpmidRadio:
    """``agent.ports.Tunnel``, and ``ask`` for the buttons. ``first_counter`` is any octet from chance."""

    def __init__(self, settings: RadioSettings, first_counter: int, tell: Tell) -> None:
        self._settings = settings
        self._tell = tell
        self._device = Device(
            settings.agent_id,
            settings.short_address,
            settings.pan_id,
            settings.hub_id,
            settings.peers,
            first_counter=first_counter,
        )
        self._pump: Pump[Event] = Pump(self._device, self._happened)
        self._transfers: dict[int, asyncio.Future[None]] = {}
        self._questions: dict[int, asyncio.Future[int]] = {}
        self.on_opened: Callable[[], None] = nobody_listens
        self.on_closed: Callable[[], None] = nobody_listens
        self.on_message: Callable[[bytes], None] = nobody_listens

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """On the air until the block ends. The task ends only by an error, which the composition should look at."""
        settings = self._settings
        async with open_radio(settings.hub_address, settings.short_address, self._pump.feed) as radio:
            task = asyncio.create_task(self._pump.run(radio.send))
            try:
                yield task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @property
    def tunnel_is_open(self) -> bool:
        """Whether the hub has a tunnel open to this PPMID."""
        return self._device.server.tunnel_with(self._settings.hub_id) is not None

    async def transfer(self, message: bytes) -> None:
        """Pass a message up, unchanged; returning means that the hub's Default Response said success."""
        try:
            handle = self._device.send(message, self._pump.now())
        except HanError as error:
            raise TunnelDownError("not_for_a_tunnel") from error
        await self._wait(self._transfers, handle)

    async def ask(self, peer: bytes, command: ZseCommand) -> int:
        """Say a plain command to a device; the ZCL status of its answer. Raises ``NoAnswerError``."""
        return await self._wait(self._questions, self._device.send_zse(peer, command, self._pump.now()))

    async def _wait(self, waiting: dict[int, asyncio.Future[T]], handle: int) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting[handle] = answer
        self._pump.wake()
        try:
            return await answer
        finally:
            del waiting[handle]

    def _happened(self, event: Event) -> None:
        """Called by the pump before anything that answers the event leaves the radio."""
        match event:
            case MessageReceived(data=message):
                self.on_message(message)
            case TunnelOpened():
                self.on_opened()
            case TunnelClosed():
                self.on_closed()
            case TransferAccepted(handle=handle):
                settle(self._transfers, handle, None)
            case TransferFailed(handle=handle, reason=reason):
                fail(self._transfers, handle, TunnelDownError(reason))
            case ZseAnswered(handle=handle, status=status):
                settle(self._questions, handle, status)
            case ZseFailed(handle=handle, reason=reason):
                fail(self._questions, handle, NoAnswerError(f"the device did not answer: {reason}"))
            case ZseReceived():
                self._device.answer_zse(event, Status.UNSUPPORTED_CLUSTER_COMMAND, self._pump.now())
            case Dropped(reason=reason, detail=detail):
                self._tell("han_frame_dropped", reason=reason, detail=detail)
            case _:
                pass  # TunnelRefused is a client's
