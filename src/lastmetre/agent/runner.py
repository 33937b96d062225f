"""Drives the core over its ports: three loops that run until they are cancelled.

* from the bearer into the store, acknowledged only then;
* receipts out of the store to the bearer, dropped only when the other side has them;
* one Command at a time up the tunnel, behind its permit where it has one.

An outage of the bearer or the tunnel is waited out here. A store that fails ends the loops, and with them the program:
an agent that cannot remember must not acknowledge.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lastmetre.agent.core import wants_nonce
from lastmetre.agent.errors import BearerDownError, ReceiptRefusedError, TunnelDownError
from lastmetre.agent.limits import IDLE_S, PERMIT_ANSWER_S, TRANSFER_S
from lastmetre.relay.backoff import Backoff
from lastmetre.relay.permit import QUESTION, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.agent.core import Offer, StoreAndForward
    from lastmetre.agent.ports import Bearer, Clock, Keypad, Tell, Tunnel
    from lastmetre.relay.permit import Answer


class Runner:
    """One agent at work. ``random`` spreads the returns of a fleet."""

    def __init__(
        self,
        core: StoreAndForward,
        bearer: Bearer,
        tunnel: Tunnel,
        clock: Clock,
        random: Callable[[], float],
        tell: Tell,
        keypad: Keypad | None = None,
    ) -> None:
        self._keypad = keypad
        self._core = core
        self._bearer = bearer
        self._tunnel = tunnel
        self._clock = clock
        self._random = random
        self._tell = tell
        self._to_offer = asyncio.Event()
        self._to_hand_on = asyncio.Event()
        self._answered = asyncio.Event()
        self._bearer_down = False

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fetch())
            group.create_task(self._hand_on())
            group.create_task(self._offer())

    # What the composition's tunnel says

    def tunnel_opened(self) -> None:
        """The hub opened its tunnel to this PPMID, or asked for it anew."""
        self._core.tunnel_opened()
        self._to_offer.set()

    def tunnel_closed(self) -> None:
        """The tunnel is gone."""
        self._core.tunnel_closed()

    def message_from_tunnel(self, message: bytes) -> None:
        """The hub passed a message down."""
        before = self._core.permit_answer()
        self._core.from_tunnel(message, self._clock.now())
        if self._core.permit_answer() is not before:
            self._answered.set()
        self._to_hand_on.set()

    # The loops

    async def _fetch(self) -> None:
        backoff = Backoff(self._random)
        while True:
            try:
                envelope = await self._bearer.next_envelope()
                self._bearer_found()
                readable = True
                if envelope is not None:
                    readable = self._core.take(envelope, self._clock.now())
                    self._to_hand_on.set()
                    self._to_offer.set()
                    await self._bearer.stored()
            except BearerDownError as error:
                await self._bearer_lost(error, backoff)
                continue
            if readable:
                backoff.succeeded()
            else:
                await asyncio.sleep(backoff.failed())  # else a supplier in error and we would spin together

    async def _hand_on(self) -> None:
        backoff = Backoff(self._random)
        while True:
            self._to_hand_on.clear()
            waiting = self._core.waiting_receipts()
            if not waiting:
                await self._to_hand_on.wait()
                continue
            for receipt in waiting:
                try:
                    await self._bearer.hand_on(receipt.receipt)
                except ReceiptRefusedError as error:
                    self._core.receipt_refused(receipt, error.reason)
                except BearerDownError as error:
                    await self._bearer_lost(error, backoff)
                    break
                else:
                    backoff.succeeded()
                    self._bearer_found()
                    self._core.receipt_handed_on(receipt)

    async def _offer(self) -> None:
        while True:
            self._to_offer.clear()
            offer = self._core.next_offer(self._clock.now())
            self._to_hand_on.set()  # something may have expired
            if offer is None:
                await self._idle()
                continue
            try:
                if offer.code_for is not None:
                    await self._enter(offer, offer.code_for)
                    continue
                if offer.permit is not None and not await self._permit_goes(offer):
                    continue
                for message in offer.messages:
                    await self._transfer(message)
            except TunnelDownError as error:
                self._core.transfer_failed(offer, error.reason, self._clock.now())
            except TimeoutError:
                self._core.transfer_failed(offer, "timed_out", self._clock.now())
            else:
                self._core.transfer_accepted(offer, self._clock.now())
                self._to_hand_on.set()

    async def _enter(self, offer: Offer, device_id: bytes) -> None:
        """A code, at the device; its answer ends it."""
        assert self._keypad is not None, "a core that takes codes needs a keypad"
        async with asyncio.timeout(TRANSFER_S):
            accepted = await self._keypad.enter(device_id, offer.command.decode("ascii"))
        self._core.code_answered(offer, self._clock.now(), accepted=accepted, silence_before=offer.again)
        self._to_hand_on.set()

    async def _transfer(self, message: bytes) -> None:
        async with asyncio.timeout(TRANSFER_S):
            await self._tunnel.transfer(message)

    async def _permit_goes(self, offer: Offer) -> bool:
        """The permit ahead; whether the Command follows. A hub that says nothing may not know permits: it follows."""
        assert offer.permit is not None
        answer = await self._said_to(offer.permit)
        if answer is not None and wants_nonce(answer):
            answer = await self._said_to(QUESTION)
        if answer is not None and answer.status is not Status.ACCEPTED:
            self._core.permit_refused(offer, self._clock.now())
            self._to_hand_on.set()
            return False
        return self._core.command_follows(offer, self._clock.now())

    async def _said_to(self, record: bytes) -> Answer | None:
        """What the hub says to a permit or a question; what it said before when it says nothing."""
        self._answered.clear()
        await self._transfer(record)
        try:
            async with asyncio.timeout(PERMIT_ANSWER_S):
                await self._answered.wait()
        except TimeoutError:
            pass
        return self._core.permit_answer()

    async def _idle(self) -> None:
        """Until something happens, or the core's next moment; never longer than the clock may be trusted to run on."""
        wake_at = self._core.next_wake_at()
        wait_s = IDLE_S if wake_at is None else min(max(wake_at - self._clock.now(), 1), IDLE_S)
        try:
            async with asyncio.timeout(wait_s):
                await self._to_offer.wait()
        except TimeoutError:
            return

    # Outages

    async def _bearer_lost(self, error: BearerDownError, backoff: Backoff) -> None:
        wait_s = backoff.failed()
        if not self._bearer_down:
            self._bearer_down = True
            self._tell("bearer_lost", reason=str(error), wait_ms=round(wait_s * 1_000))
        await asyncio.sleep(wait_s)

    def _bearer_found(self) -> None:
        if self._bearer_down:
            self._bearer_down = False
            self._tell("bearer_found")
