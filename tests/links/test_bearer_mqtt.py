"""The MQTT bearer, both sides joined through a real mosquitto over mutual TLS, and the broker's access list."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from lastmetre.agent.ports import BearerDownError
from lastmetre.links import bearer_mqtt
from lastmetre.links.bearer_mqtt import MqttBearer, MqttHeadEnd
from lastmetre.links.errors import LinkError
from lastmetre.links.mosquitto import BrokerFiles, find_mosquitto, mosquitto_config, running_mosquitto
from lastmetre.links.tls import client_context
from lastmetre.relay import Receipt, ReceiptKind, command_topic, encode_receipt, receipt_topic
from lastmetre.relay.topics import ready_topic
from tests.outbox import ListOutbox
from tests.throwaway_tls import ThrowawayCa

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")

BROKER = "broker"
SUPPLIER = bytes.fromhex("00005eef10000010")
AGENT_A, AGENT_B = bytes.fromhex("00005eef100000a4"), bytes.fromhex("00005eef100000b4")


def _receipt(order_id: str) -> bytes:
    return encode_receipt(Receipt(order_id, ReceiptKind.TAKEN, 1_800_000_000, bytes(32)))


@dataclass
class Broker:
    """A mosquitto that can be stopped and started on the same files."""

    ca: ThrowawayCa
    config: Path
    port: int

    def context(self, name: bytes) -> ssl.SSLContext:
        """A client context for that entity."""
        pair = self.ca.issue(name.hex())
        return client_context(pair.ca, pair.certificate, pair.key)

    def bearer(self, agent_id: bytes) -> MqttBearer:
        """An agent's bearer."""
        return MqttBearer("127.0.0.1", self.port, self.context(agent_id), agent_id)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it."""
        async with running_mosquitto(self.config, "127.0.0.1", self.port):
            yield

    @contextlib.asynccontextmanager
    async def head_end(self, outbox: ListOutbox, *agents: bytes) -> AsyncIterator[MqttHeadEnd]:
        """The supplier's side, connected."""
        head_end = MqttHeadEnd(
            "127.0.0.1", self.port, self.context(SUPPLIER), SUPPLIER, outbox, agents, random.Random(1).random
        )
        task = asyncio.create_task(head_end.run())
        try:
            await asyncio.wait_for(head_end.connected.wait(), 10)
            yield head_end
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def client(self, name: bytes, identifier: str | None = None, *, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
        """A client that does as it likes, with that entity's certificate."""
        return aiomqtt.Client(
            "127.0.0.1",
            self.port,
            identifier=identifier or name.hex(),
            tls_context=self.context(name),
            timeout=1,
            will=will,
        )


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    """A broker that is set up and not yet running."""
    ca = ThrowawayCa(tmp_path / "tls")
    pair = ca.issue(BROKER)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = BrokerFiles(pair.ca, pair.certificate, pair.key)
    return Broker(ca, mosquitto_config(tmp_path / "broker", "127.0.0.1", port, files, [SUPPLIER]), port)


def test_an_envelope_goes_down_and_a_receipt_comes_up(broker: Broker) -> None:
    """The very bytes, both ways, through the broker."""

    async def story() -> None:
        outbox = ListOutbox()
        async with broker.running(), broker.bearer(AGENT_A) as bearer, broker.head_end(outbox, AGENT_A):
            await bearer._connected()
            await outbox.put(AGENT_A, b"envelope")
            assert await bearer.next_envelope() == b"envelope"
            await bearer.stored()
            await bearer.hand_on(_receipt("order-1"))
            assert await outbox.until_receipts(1) == [(AGENT_A, _receipt("order-1"))]

    asyncio.run(story())


def test_nothing_is_sent_to_an_agent_that_is_not_ready(broker: Broker) -> None:
    """T36: one envelope for each time it asks; the rest stays in the outbox, not in the broker."""

    async def story() -> None:
        outbox = ListOutbox()
        async with broker.running(), broker.bearer(AGENT_A) as bearer, broker.head_end(outbox, AGENT_A):
            for envelope in (b"one", b"two", b"three"):
                await outbox.put(AGENT_A, envelope)
            await bearer.hand_on(_receipt("hello"))
            await outbox.until_receipts(1)
            assert outbox.left(AGENT_A) == 3
            assert await bearer.next_envelope() == b"one"
            await bearer.stored()
            await bearer.hand_on(_receipt("one"))
            await outbox.until_receipts(2)
            assert outbox.left(AGENT_A) == 2
            assert await bearer.next_envelope() == b"two"

    asyncio.run(story())


def test_an_agent_cannot_ask_for_another(broker: Broker) -> None:
    """T29: A's word that B is ready brings B nothing."""

    async def story() -> None:
        outbox = ListOutbox()
        async with broker.running(), broker.head_end(outbox, AGENT_A, AGENT_B):
            await outbox.put(AGENT_B, b"for B")
            async with broker.client(AGENT_A) as a:
                await a.publish(ready_topic(AGENT_B), b"", 1)
                await a.publish(receipt_topic(AGENT_A), _receipt("after"), 1)
            await outbox.until_receipts(1)
            assert outbox.left(AGENT_B) == 1

    asyncio.run(story())


def test_an_envelope_that_was_not_stored_comes_again(broker: Broker) -> None:
    """The agent dies before it stored: the next session gets the envelope again; after ``stored`` it does not."""

    async def story() -> list[bytes | None]:
        outbox = ListOutbox()
        got = []
        async with broker.running():
            async with broker.bearer(AGENT_A) as first, broker.head_end(outbox, AGENT_A):
                await first._connected()
                await outbox.put(AGENT_A, b"one")
                got.append(await first.next_envelope())
            async with broker.bearer(AGENT_A) as second:
                got.append(await second.next_envelope())
                await second.stored()
            async with broker.bearer(AGENT_A) as third, broker.head_end(outbox, AGENT_A):
                await outbox.put(AGENT_A, b"two")
                got.append(await third.next_envelope())
        return got

    assert asyncio.run(story()) == [b"one", b"one", b"two"]


def test_an_envelope_waits_for_an_agent_that_is_away(broker: Broker) -> None:
    """Once an agent has been there, the broker keeps what comes while it is gone."""

    async def story() -> bytes | None:
        outbox = ListOutbox()
        async with broker.running(), broker.head_end(outbox, AGENT_A):
            async with broker.bearer(AGENT_A) as bearer:
                await bearer.hand_on(_receipt("hello"))
                await outbox.until_receipts(1)
            await outbox.put(AGENT_A, b"kept")
            async with broker.bearer(AGENT_A) as bearer:
                return await bearer.next_envelope()

    assert asyncio.run(story()) == b"kept"


def test_a_broker_that_goes_is_an_outage_and_comes_back(broker: Broker) -> None:
    """R05: both sides see it, the head end returns by itself, the agent when it is called again."""

    async def story() -> bytes | None:
        outbox = ListOutbox()
        async with broker.bearer(AGENT_A) as bearer:
            with pytest.raises(BearerDownError):
                await bearer.next_envelope()
            async with broker.running(), broker.head_end(outbox, AGENT_A) as head_end:
                await bearer.hand_on(_receipt("hello"))
                await outbox.until_receipts(1)
                assert head_end.connected.is_set()
            with pytest.raises(BearerDownError):
                await bearer.next_envelope()
            with pytest.raises(BearerDownError):
                await bearer.hand_on(_receipt("lost"))
            async with broker.running(), broker.head_end(outbox, AGENT_A):
                await outbox.put(AGENT_A, b"after")
                return await bearer.next_envelope()

    assert asyncio.run(story()) == b"after"


def test_a_receipt_that_is_none_is_let_go(broker: Broker) -> None:
    """T35: bytes that are no receipt are dropped, and the good one behind them arrives."""

    async def story() -> list[tuple[bytes, bytes]]:
        outbox = ListOutbox()
        async with broker.running(), broker.head_end(outbox, AGENT_A), broker.bearer(AGENT_A) as bearer:
            await bearer.hand_on(b"nonsense")
            await bearer.hand_on(_receipt("good"))
            return await outbox.until_receipts(1)

    assert asyncio.run(story()) == [(AGENT_A, _receipt("good"))]


@pytest.mark.parametrize(
    "topic",
    ["#", "+/#", "lastmetre/1/command/+", command_topic(AGENT_B), f"$share/g/{command_topic(AGENT_B)}", "$SYS/#"],
)
def test_an_agent_cannot_read_anothers_topic(broker: Broker, topic: str) -> None:
    """T28: whatever agent A subscribes to, only its own envelope reaches it."""

    async def story() -> list[bytes]:
        outbox = ListOutbox()
        got = []
        async with broker.running(), broker.bearer(AGENT_B) as b, broker.client(AGENT_A) as a:
            await b._connected()
            with contextlib.suppress(aiomqtt.MqttError):
                await a.subscribe(topic, 1)
            await a.subscribe(command_topic(AGENT_A), 1)
            async with broker.head_end(outbox, AGENT_A, AGENT_B):
                await outbox.put(AGENT_B, b"for B")
                assert await b.next_envelope() == b"for B"
                await a.publish(ready_topic(AGENT_A), b"", 1)
                await outbox.put(AGENT_A, b"for A")
                async for message in a.messages:
                    got.append(message.payload)
                    if message.payload == b"for A":
                        return got
        return got

    assert asyncio.run(story()) == [b"for A"]


@pytest.mark.parametrize("topic", [receipt_topic(AGENT_B), command_topic(AGENT_B), command_topic(AGENT_A)])
def test_an_agent_cannot_write_for_another(broker: Broker, topic: str) -> None:
    """T29: what A publishes on B's receipts or on any command topic reaches nobody; its own receipt does."""

    async def story() -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        outbox = ListOutbox()
        async with broker.running(), broker.bearer(AGENT_B) as b, broker.head_end(outbox, AGENT_B):
            await b.hand_on(_receipt("b"))
            await outbox.until_receipts(1)
            async with broker.client(AGENT_A) as a:
                await a.publish(topic, _receipt("forged"), 1)  # under 3.1.1 a refused publish looks sent
                await a.publish(receipt_topic(AGENT_A), _receipt("a"), 1)
            await outbox.until_receipts(2)
            await outbox.put(AGENT_B, b"true")
            return outbox.receipts, await b.next_envelope()

    receipts, envelope = asyncio.run(story())
    assert receipts == [(AGENT_B, _receipt("b")), (AGENT_A, _receipt("a"))]
    assert envelope == b"true"


def test_a_client_id_that_is_not_the_certificates_is_replaced(broker: Broker) -> None:
    """T25: with B's client id and A's certificate, a client is A; B's session and queue are untouched."""

    async def story() -> bytes | None:
        outbox = ListOutbox()
        async with broker.running(), broker.bearer(AGENT_B) as b, broker.head_end(outbox, AGENT_B):
            await b.hand_on(_receipt("b"))
            await outbox.until_receipts(1)
            async with broker.client(AGENT_A, identifier=AGENT_B.hex()) as thief:
                await thief.subscribe(command_topic(AGENT_B), 1)
                await outbox.put(AGENT_B, b"for B")
                return await b.next_envelope()

    assert asyncio.run(story()) == b"for B"


def test_nothing_is_retained_and_no_will_speaks_for_another(broker: Broker) -> None:
    """T28: a retained message ends the session that sends it; a will on B's receipts is never published."""

    async def story() -> list[tuple[bytes, bytes]]:
        outbox = ListOutbox()
        async with broker.running(), broker.head_end(outbox):
            with pytest.raises(aiomqtt.MqttError):
                async with broker.client(AGENT_A) as a:
                    await a.publish(receipt_topic(AGENT_A), _receipt("retained"), 1, retain=True)
            will = aiomqtt.Will(receipt_topic(AGENT_B), _receipt("will"), 1)
            with contextlib.suppress(aiomqtt.MqttError):
                async with broker.client(AGENT_A, will=will) as a:
                    a._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # it is connected
                    await a.publish(receipt_topic(AGENT_A), b"x", 1)
            async with broker.client(AGENT_A) as a:
                await a.publish(receipt_topic(AGENT_A), _receipt("after"), 1)
            return await outbox.until_receipts(1)

    assert asyncio.run(story()) == [(AGENT_A, _receipt("after"))]


# A handshake that fails leaves its socket to the collector: paho gives nobody a handle on it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_strangers_have_no_session(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T25, T27: another CA's agent is not let in, and an agent does not talk to another CA's broker."""
    monkeypatch.setattr(bearer_mqtt, "OPERATION_S", 1.0)  # a refused certificate is a time-out
    rogue = ThrowawayCa(tmp_path / "rogue").issue(AGENT_A.hex())
    mixed = client_context(broker.ca.ca, rogue.certificate, rogue.key)
    trusting_rogue = client_context(rogue.ca, rogue.certificate, rogue.key)

    async def story() -> None:
        async with broker.running():
            for context in (mixed, trusting_rogue):
                async with MqttBearer("127.0.0.1", broker.port, context, AGENT_A) as bearer:
                    with pytest.raises(BearerDownError):
                        await bearer.next_envelope()

    asyncio.run(story())
    gc.collect()


def test_a_broker_that_cannot_start_says_so(broker: Broker) -> None:
    """A broken configuration is one error with the log's path in it."""
    broker.config.write_text("no_such_setting true\n")

    async def story() -> None:
        async with broker.running():
            pass

    with pytest.raises(LinkError, match=r"mosquitto\.log"):
        asyncio.run(story())
