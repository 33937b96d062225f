"""What the agent's tests share: messages with real headers, an agent on a real store, and a note of what it told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.agent.core import Binding, StoreAndForward
from lastmetre.gbcs.message import Cra, GroupingHeader, Message, OtherInformation, encode_message
from lastmetre.relay import CommandClass, Envelope, Receipt, decode_receipt, encode_envelope, make_envelope

if TYPE_CHECKING:
    from lastmetre.agent.ports import Store

NOW = 1_800_000_000
SUPPLIER = bytes.fromhex("00005eef10000010")
ESME, HUB, GPF, PPMID = (bytes.fromhex(f"00005eef100000{last}") for last in ("a0", "a2", "a3", "a4"))
ELSEWHERE = bytes.fromhex("00005eef100000b2")
ECS44 = 0x0044
TOP_UP = CommandClass.TOP_UP
_MAC = bytes(range(12))


def command(counter: int, target: bytes = ESME, content: bytes = b"opaque", originator: bytes = SUPPLIER) -> bytes:
    """A Command with a real envelope; agents look at nothing more."""
    header = GroupingHeader(Cra.COMMAND, counter, originator, target, OtherInformation(ECS44))
    return encode_message(Message(header, content, b"", _MAC))


def answer(counter: int, source: bytes = ESME, cra: Cra = Cra.RESPONSE, content: bytes = b"done") -> bytes:
    """What the device says to that counter."""
    header = GroupingHeader(cra, counter, source, SUPPLIER, OtherInformation(ECS44))
    return encode_message(Message(header, content, b"", _MAC))


def envelope(order_id: str, message: bytes, expires_at: int = NOW + 3_600, hub: bytes = HUB, to: bytes = ESME) -> bytes:
    """The content of an envelope; of the class that nothing supersedes, so that several may be open at once."""
    return encode_envelope(make_envelope(order_id, hub, to, expires_at, message, command_class=TOP_UP))


def plain(order_id: str, counter: int, expires_at: int = NOW + 3_600) -> Envelope:
    """The envelope of an ordinary Command, as a value."""
    return make_envelope(order_id, HUB, ESME, expires_at, command(counter), command_class=TOP_UP)


class Told:
    """A ``tell`` that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: str, /, **facts: object) -> None:
        """Remember it, and insist on plain values."""
        assert all(value is None or isinstance(value, str | int | bool) for value in facts.values())
        self.events.append((event, facts))

    def names(self) -> list[str]:
        """What happened, without the facts."""
        return [name for name, _ in self.events]

    def facts(self, event: str) -> dict[str, object]:
        """The facts of the last event of that name."""
        return [facts for name, facts in self.events if name == event][-1]


def make_agent(store: Store, told: Told | None = None, *, open_tunnel: bool = True) -> StoreAndForward:
    """An agent bound to home A, its tunnel open."""
    agent = StoreAndForward(Binding(HUB, frozenset({ESME, GPF})), store, told or Told(), None)
    if open_tunnel:
        agent.tunnel_opened()
    return agent


def collect(agent: StoreAndForward) -> list[Receipt]:
    """Hand on all receipts that wait, as a bearer would."""
    receipts = []
    while waiting := agent.waiting_receipts():
        for one in waiting:
            receipts.append(decode_receipt(one.receipt))
            agent.receipt_handed_on(one)
    return receipts
