"""The bearer for fleets: MQTT over mutual TLS, through any broker that keeps agents apart by certificate.

Rules this module keeps (reference: stack, PPMID link; stack-notes, mosquitto):

* MQTT 3.1.1, QoS 1, sessions that outlive a connection; nothing rests on version 5, on retained messages or on wills.
* The client id is the certificate's common name, so that a broker can insist on it.
* A message is acknowledged only after it was stored: acknowledgement is by hand, which aiomqtt leaves to the client
  below it.
* TCP_NODELAY on the socket; without it every hop costs 44 ms.
* The agent pulls: the supplier sends one envelope for each *ready*, so no queue of Commands grows anywhere outside the
  supplier's own store (T36). An agent that still waits says it again, so a lost one costs a while and nothing else.
* A broker's word is worth nothing beyond the next hop: under 3.1.1 a refused publish looks sent. The supplier keeps an
  order open until its verified Response, and hands an envelope out again until a receipt comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Final, Self

import aiomqtt

from lastmetre.agent.ports import BearerDownError
from lastmetre.relay import RelayDecodeError, agent_of_receipt_topic, command_topic, receipt_topic
from lastmetre.relay.backoff import Backoff
from lastmetre.relay.limits import POLL_WAIT_S
from lastmetre.relay.topics import ALL_READY, ALL_RECEIPTS, agent_of_ready_topic, ready_topic

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from lastmetre.supplier.ports import Outbox

MQTT_PORT: Final = 8883
"""MQTT over TLS."""
QOS: Final = 1
KEEP_ALIVE_S: Final = 60
OPERATION_S: Final = 5.0
"""How long the broker may take to answer. A refused certificate shows as this time-out (stack-notes, trap 16)."""
SUBSCRIPTION_FAILED: Final = 0x80
"""The code in a SUBACK that says no (MQTT 3.1.1 section 3.9.3)."""

_log = logging.getLogger(__name__)


class MqttDownError(Exception):
    """The broker cannot be reached, or will not have us; the caller waits and tries again."""


class _Session:
    """One connection with one subscription, acknowledging by hand."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._reading: asyncio.Task[aiomqtt.Message] | None = None

    @classmethod
    async def open(cls, host: str, port: int, context: ssl.SSLContext, client_id: bytes, *subscriptions: str) -> Self:
        """Connect and subscribe."""
        client = aiomqtt.Client(
            host,
            port,
            identifier=client_id.hex(),
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            tls_context=context,
            keepalive=KEEP_ALIVE_S,
            timeout=OPERATION_S,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        client._client.manual_ack_set(True)  # noqa: SLF001  # aiomqtt has no way of its own
        try:
            await client.__aenter__()
        except aiomqtt.MqttError as error:
            _let_go(client)
            raise MqttDownError(f"no session with the broker at {host} port {port}: {error}") from error
        session = cls(client)
        try:
            codes = await client.subscribe([(subscription, QOS) for subscription in subscriptions])
            _heed_cancellation()
        except aiomqtt.MqttError as error:
            await session.close()
            raise MqttDownError(f"no answer to the subscription: {error}") from error
        if any(code == SUBSCRIPTION_FAILED for code in codes):
            await session.close()
            raise MqttDownError(f"the broker's access list does not let us read {' and '.join(subscriptions)}")
        return session

    async def close(self) -> None:
        """Leave; the broker keeps the session."""
        if self._reading is not None:
            self._reading.cancel()
        with contextlib.suppress(aiomqtt.MqttError):
            await self._client.__aexit__(None, None, None)
        _let_go(self._client)

    async def receive(self, wait_s: float) -> aiomqtt.Message | None:
        """The next message, or ``None`` after a while. One that arrives just then is kept for the next call."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._client.messages))
        done, _ = await asyncio.wait((self._reading,), timeout=wait_s)
        if not done:
            return None
        reading, self._reading = self._reading, None
        try:
            return reading.result()
        except aiomqtt.MqttError as error:
            raise MqttDownError(f"the broker left: {error}") from error

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Let the broker forget a message."""
        self._client._client.ack(message.mid, QOS)  # noqa: SLF001  # see open()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Give a message to the broker; returning means that the broker acknowledged it."""
        try:
            await self._client.publish(topic, payload, QOS)
            _heed_cancellation()
        except aiomqtt.MqttError as error:
            raise MqttDownError(f"the broker did not acknowledge: {error}") from error


def _heed_cancellation() -> None:
    """Be cancelled if somebody asked: ``wait_for`` of Python 3.11, inside aiomqtt, can swallow it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _let_go(client: aiomqtt.Client) -> None:
    """Close the socket of a connection that failed: aiomqtt leaves it to the loop, which would keep it for ever."""
    client._client._sock_close()  # noqa: SLF001  # paho closes it nowhere else after a time-out


class MqttBearer:
    """``agent.ports.Bearer`` over MQTT. The broker's name and issuer are checked by ``ssl_context``."""

    def __init__(self, host: str, port: int, ssl_context: ssl.SSLContext, agent_id: bytes) -> None:
        self._host = host
        self._port = port
        self._context = ssl_context
        self._agent_id = agent_id
        self._connecting = asyncio.Lock()
        self._session: _Session | None = None
        self._unacknowledged: tuple[_Session, aiomqtt.Message] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._drop(self._session)

    async def next_envelope(self) -> bytes | None:
        """The next message on this agent's topic, or ``None`` after a while without one."""
        session = await self._connected()
        try:
            await session.publish(ready_topic(self._agent_id), b"")
            message = await session.receive(POLL_WAIT_S)
        except MqttDownError as error:
            await self._drop(session)
            raise BearerDownError(str(error)) from error
        if message is None:
            return None
        self._unacknowledged = session, message
        return message.payload

    async def stored(self) -> None:
        """Acknowledge the last message, on the connection it came by: another one will bring it again."""
        if self._unacknowledged is not None:
            session, message = self._unacknowledged
            self._unacknowledged = None
            if session is self._session:
                session.acknowledge(message)

    async def hand_on(self, receipt: bytes) -> None:
        """Publish one receipt."""
        session = await self._connected()
        try:
            await session.publish(receipt_topic(self._agent_id), receipt)
        except MqttDownError as error:
            await self._drop(session)
            raise BearerDownError(str(error)) from error

    async def _connected(self) -> _Session:
        async with self._connecting:
            if self._session is None:
                topic = command_topic(self._agent_id)
                try:
                    self._session = await _Session.open(self._host, self._port, self._context, self._agent_id, topic)
                except MqttDownError as error:
                    raise BearerDownError(str(error)) from error
            return self._session

    async def _drop(self, session: _Session | None) -> None:
        """Close a session that failed, unless the other task did already."""
        if session is not None and session is self._session:
            self._session = None
            await session.close()


class MqttHeadEnd:
    """The supplier's side: envelopes from the outbox to the agents' topics, receipts from theirs to the outbox.

    ``head_end_id`` is this process's own certificate name: two processes with one name throw each other out.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext,
        head_end_id: bytes,
        outbox: Outbox,
        agent_ids: Sequence[bytes],
        random: Callable[[], float],
    ) -> None:
        self._host = host
        self._port = port
        self._context = ssl_context
        self._head_end_id = head_end_id
        self._outbox = outbox
        self._agent_ids = tuple(agent_ids)
        self._ready = {agent_id: asyncio.Event() for agent_id in self._agent_ids}
        self._backoff = Backoff(random)
        self.connected = asyncio.Event()
        """Set while there is a session with the broker."""

    async def run(self) -> None:
        """Work until cancelled; outages of the broker and errors of the outbox are waited out."""
        while True:
            try:
                await self._work()
            except* (MqttDownError, OSError) as errors:
                _log.warning("MQTT head end: %s", errors.exceptions[0])
            except* Exception as errors:  # noqa: BLE001  # the fleet's road outlives any error of the database
                # Receipts that were not stored are not acknowledged: the broker brings them again.
                _log.error("MQTT head end: the outbox failed", exc_info=errors)
            await asyncio.sleep(self._backoff.failed())

    async def _work(self) -> None:
        session = await _Session.open(self._host, self._port, self._context, self._head_end_id, ALL_RECEIPTS, ALL_READY)
        self._backoff.succeeded()
        self.connected.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(session))
                for agent_id in self._agent_ids:
                    group.create_task(self._write(session, agent_id))
        finally:
            self.connected.clear()
            await session.close()

    async def _read(self, session: _Session) -> None:
        while True:
            message = await session.receive(POLL_WAIT_S)
            if message is None:
                continue
            if ready := self._ready.get(agent_of_ready_topic(message.topic.value) or b""):
                ready.set()
                session.acknowledge(message)
                continue
            try:
                await self._outbox.receipt(agent_of_receipt_topic(message.topic.value), message.payload)
            except RelayDecodeError as error:  # it will never be one: let it go, or it comes again for ever
                _log.warning("not a receipt, on %s: %s", message.topic.value, error)
            session.acknowledge(message)

    async def _write(self, session: _Session, agent_id: bytes) -> None:
        while True:
            await self._ready[agent_id].wait()
            self._ready[agent_id].clear()
            envelope = await self._outbox.next_envelope(agent_id, POLL_WAIT_S)
            if envelope is not None:
                await session.publish(command_topic(agent_id), envelope)
