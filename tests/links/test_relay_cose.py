"""Envelopes and receipts signed and encrypted: two implementations, every octet, every wrong key (T27-T30)."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.links.pki import RelayIdentity, TestSmki, TlsIdentity
from lastmetre.links.relay_cose import (
    AgentSide,
    RelayKeyError,
    SealedBearer,
    SealedOutbox,
    SupplierSide,
    encrypt,
    load_agents,
    load_relay_certificates,
    load_relay_key,
    sign,
)
from lastmetre.relay import (
    Receipt,
    ReceiptKind,
    RelayDecodeError,
    decode_envelope,
    decode_receipt,
    encode_envelope,
    encode_receipt,
    make_envelope,
)
from lastmetre.relay.cose_form import envelope_bound_to, receipt_bound_to
from lastmetre.relay.limits import COMMAND_OCTETS_MAX, ENVELOPE_OCTETS_MAX, MESSAGE_OCTETS_MAX, RECEIPT_OCTETS_MAX
from tests.agent_world import ELSEWHERE, ESME, HUB, NOW, PPMID, SUPPLIER, Told
from tests.outbox import ListOutbox
from tests.relay import second_relay

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "relay" / "envelopes.json"


def scalar(number: int) -> ec.EllipticCurvePrivateKey:
    """A key that protects nothing."""
    return ec.derive_private_key(number, ec.SECP256R1())


SUPPLIERS, AGENTS, STRANGERS = scalar(2001), scalar(2002), scalar(2003)
SUPPLIER_SIDE = SupplierSide(SUPPLIER, SUPPLIERS, {PPMID: [AGENTS.public_key()]})
AGENT_SIDE = AgentSide(PPMID, AGENTS, SUPPLIER, [SUPPLIERS.public_key()])
ENVELOPE = make_envelope("order-1", HUB, ESME, NOW + 600, b"\xddcommand", sent_at=NOW)
CONTENT = encode_envelope(ENVELOPE)
RECEIPT = encode_receipt(Receipt("order-1", ReceiptKind.TAKEN, NOW, ENVELOPE.digest))


def test_there_and_back() -> None:
    """What the supplier seals the agent opens, and what the agent signs the supplier opens; nobody else reads it."""
    sealed = SUPPLIER_SIDE.seal(PPMID, CONTENT)
    assert AGENT_SIDE.open(sealed) == CONTENT
    assert b"command" not in sealed
    assert b"order-1" not in sealed
    assert SUPPLIER_SIDE.open(PPMID, AGENT_SIDE.sign(RECEIPT)) == RECEIPT
    assert SUPPLIER_SIDE.seal(PPMID, CONTENT) != sealed, "every envelope has its own ephemeral key"


def test_the_second_implementation_agrees_both_ways() -> None:
    """Each opens what the other made."""
    sealed = SUPPLIER_SIDE.seal(PPMID, CONTENT)
    assert second_relay.unseal(sealed, AGENTS, SUPPLIERS.public_key(), SUPPLIER, PPMID) == CONTENT
    theirs = second_relay.seal(CONTENT, SUPPLIERS, AGENTS.public_key(), SUPPLIER, PPMID, scalar(2004), bytes(12))
    assert AGENT_SIDE.open(theirs) == CONTENT
    bound_to = second_relay.receipt_bound_to(SUPPLIER, PPMID)
    assert second_relay.open_signed(AGENT_SIDE.sign(RECEIPT), AGENTS.public_key(), bound_to) == RECEIPT
    assert SUPPLIER_SIDE.open(PPMID, second_relay.sign(RECEIPT, AGENTS, bound_to)) == RECEIPT


def test_the_vectors_hold() -> None:
    """The published envelopes and receipts: both implementations open them, and both write their contents."""
    stored = json.loads(VECTORS.read_text())
    suppliers, agents = (scalar(int(stored[name], 16)) for name in ("supplier_scalar", "agent_scalar"))
    supplier_id, agent_id = (bytes.fromhex(stored[name]) for name in ("supplier_id", "agent_id"))
    agent = AgentSide(agent_id, agents, supplier_id, [suppliers.public_key()])
    supplier = SupplierSide(supplier_id, suppliers, {agent_id: [agents.public_key()]})
    for vector in stored["envelopes"]:
        data, content = bytes.fromhex(vector["envelope"]), bytes.fromhex(vector["content"])
        assert agent.open(data) == content
        assert second_relay.unseal(data, agents, suppliers.public_key(), supplier_id, agent_id) == content
        assert encode_envelope(decode_envelope(content)) == content
        assert second_relay.envelope_content(vector["fields"]) == content
    bound_to = second_relay.receipt_bound_to(supplier_id, agent_id)
    for vector in stored["receipts"]:
        data, content = bytes.fromhex(vector["receipt"]), bytes.fromhex(vector["content"])
        assert supplier.open(agent_id, data) == content
        assert second_relay.open_signed(data, agents.public_key(), bound_to) == content
        assert encode_receipt(decode_receipt(content)) == content
        assert second_relay.receipt_content(vector["fields"]) == content
    for vector in stored["refused"]:
        data = bytes.fromhex(vector["envelope"])
        with pytest.raises(RelayDecodeError):
            agent.open(data)
        with pytest.raises((second_relay.SecondError, ValueError, TypeError, LookupError)):
            second_relay.unseal(data, agents, suppliers.public_key(), supplier_id, agent_id)
    assert {len(stored[name]) >= 3 for name in ("envelopes", "receipts", "refused")} == {True}


def test_no_octet_can_be_changed() -> None:
    """T30: whichever octet of an envelope or a receipt a cloud changes, it does not open."""
    sealed, signed = SUPPLIER_SIDE.seal(PPMID, CONTENT), AGENT_SIDE.sign(RECEIPT)
    for at in range(len(sealed)):
        with pytest.raises(RelayDecodeError):
            AGENT_SIDE.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    for at in range(len(signed)):
        with pytest.raises(RelayDecodeError):
            SUPPLIER_SIDE.open(PPMID, signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :])
    for cut in (0, 1, 2, len(sealed) - 1):
        with pytest.raises(RelayDecodeError):
            AGENT_SIDE.open(sealed[:cut])


def _by_a_stranger() -> bytes:
    return replace(SUPPLIER_SIDE, key=STRANGERS).seal(PPMID, CONTENT)


def _for_a_stranger() -> bytes:
    return replace(SUPPLIER_SIDE, agents={PPMID: [STRANGERS.public_key()]}).seal(PPMID, CONTENT)


def _of_another_supplier() -> bytes:
    return replace(SUPPLIER_SIDE, supplier_id=ELSEWHERE).seal(PPMID, CONTENT)


def _passed_on() -> bytes:
    """What another agent was sent, encrypted anew for this one by that agent: the signature names its reader."""
    signed = sign(CONTENT, SUPPLIERS, envelope_bound_to(SUPPLIER, ELSEWHERE))
    return encrypt(signed, AGENTS.public_key(), SUPPLIER, PPMID)


def _a_receipt() -> bytes:
    """What the agent itself said, come back as an envelope."""
    signed = sign(CONTENT, SUPPLIERS, receipt_bound_to(SUPPLIER, PPMID))
    return encrypt(signed, AGENTS.public_key(), SUPPLIER, PPMID)


def _unencrypted() -> bytes:
    return sign(CONTENT, SUPPLIERS, envelope_bound_to(SUPPLIER, PPMID))


def _unsigned() -> bytes:
    return encrypt(CONTENT, AGENTS.public_key(), SUPPLIER, PPMID)


def _bare() -> bytes:
    return CONTENT


WRONG = [_by_a_stranger, _for_a_stranger, _of_another_supplier, _passed_on, _a_receipt, _unencrypted, _unsigned, _bare]


@pytest.mark.parametrize("make", WRONG)
def test_what_the_supplier_did_not_make_for_this_agent_stays_shut(make: Callable[[], bytes]) -> None:
    """T27, T29: other keys, other readers, other purposes, and less protection than version 1 has."""
    with pytest.raises(RelayDecodeError):
        AGENT_SIDE.open(make())


def test_a_receipt_counts_from_its_own_agent_only() -> None:
    """T29, second layer: another agent's signature, another topic, an unknown agent."""
    other = AgentSide(ELSEWHERE, STRANGERS, SUPPLIER, [SUPPLIERS.public_key()])
    both = replace(SUPPLIER_SIDE, agents={PPMID: [AGENTS.public_key()], ELSEWHERE: [STRANGERS.public_key()]})
    assert both.open(ELSEWHERE, other.sign(RECEIPT)) == RECEIPT
    for agent_id, data in ((PPMID, other.sign(RECEIPT)), (ELSEWHERE, AGENT_SIDE.sign(RECEIPT)), (PPMID, RECEIPT)):
        with pytest.raises(RelayDecodeError):
            both.open(agent_id, data)
    with pytest.raises(RelayDecodeError):
        SUPPLIER_SIDE.open(ELSEWHERE, other.sign(RECEIPT))


def test_a_new_key_takes_over_without_a_gap() -> None:
    """While two supplier keys are known either one signs; the agent's latest key is the one written to."""
    agent = replace(AGENT_SIDE, suppliers_keys=[SUPPLIERS.public_key(), STRANGERS.public_key()])
    assert agent.open(SUPPLIER_SIDE.seal(PPMID, CONTENT)) == CONTENT
    assert agent.open(replace(SUPPLIER_SIDE, key=STRANGERS).seal(PPMID, CONTENT)) == CONTENT
    both = replace(SUPPLIER_SIDE, agents={PPMID: [AGENTS.public_key(), STRANGERS.public_key()]})
    assert replace(AGENT_SIDE, key=STRANGERS).open(both.seal(PPMID, CONTENT)) == CONTENT
    assert both.open(PPMID, AGENT_SIDE.sign(RECEIPT)) == RECEIPT


def test_the_largest_fits() -> None:
    """Under signature and encryption the largest content stays within what bearers carry."""
    largest = make_envelope("x" * 64, HUB, ESME, NOW, bytes(COMMAND_OCTETS_MAX), permit=bytes(128), sent_at=NOW)
    assert len(SUPPLIER_SIDE.seal(PPMID, encode_envelope(largest))) <= ENVELOPE_OCTETS_MAX
    answer = Receipt("x" * 64, ReceiptKind.RESPONSE, NOW, largest.digest, bytes(MESSAGE_OCTETS_MAX))
    assert len(AGENT_SIDE.sign(encode_receipt(answer))) <= RECEIPT_OCTETS_MAX


def test_keys_on_disk(tmp_path: Path) -> None:
    """The test PKI's relay pairs load; a TLS certificate, another entity's, another CA's or an old one does not."""
    now = dt.datetime.now(dt.UTC)
    smki = TestSmki(tmp_path / "smki", now=now)
    smki.add_all([RelayIdentity("agent", PPMID), RelayIdentity("supplier", SUPPLIER), TlsIdentity("agent", PPMID)])
    certificate, ca = smki.relay_certificates / f"{PPMID.hex()}.pem", smki.tls_ca
    (public,) = load_relay_certificates(certificate, ca, PPMID, now)
    assert load_relay_key(smki.party("agent") / "relay.key").public_key() == public
    assert load_agents(smki.relay_certificates, ca, [PPMID, ELSEWHERE], now) == {PPMID: [public]}
    other = TestSmki(tmp_path / "other", now=now)
    wrong = [
        (smki.party("agent") / "tls.pem", ca, PPMID, now),
        (certificate, ca, SUPPLIER, now),
        (certificate, other.tls_ca, PPMID, now),
        (certificate, ca, PPMID, now + dt.timedelta(days=400)),
        (certificate, ca, PPMID, now - dt.timedelta(days=1)),
        (tmp_path / "none.pem", ca, PPMID, now),
    ]
    for arguments in wrong:
        with pytest.raises(RelayKeyError):
            load_relay_certificates(*arguments)
    with pytest.raises(RelayKeyError):
        load_relay_key(certificate)


class OneEnvelope:
    """A bearer with one envelope, which remembers what it is given."""

    def __init__(self, envelope: bytes | None) -> None:
        self.envelope = envelope
        self.handed_on: list[bytes] = []
        self.stored_calls = 0

    async def next_envelope(self) -> bytes | None:
        return self.envelope

    async def stored(self) -> None:
        self.stored_calls += 1

    async def hand_on(self, receipt: bytes) -> None:
        self.handed_on.append(receipt)


def test_between_core_and_bearer() -> None:
    """Contents inside, COSE outside, on both ends; what does not open is told and becomes nothing that decodes."""

    async def story() -> None:
        told, outbox = Told(), ListOutbox()
        sealed = SealedOutbox(outbox, SUPPLIER_SIDE, told)
        await outbox.put(PPMID, CONTENT)
        bearer = OneEnvelope(await sealed.next_envelope(PPMID, 1))
        agent = SealedBearer(bearer, AGENT_SIDE, told)
        assert await agent.next_envelope() == CONTENT
        await agent.stored()
        await agent.hand_on(RECEIPT)
        assert bearer.stored_calls == 1
        await sealed.receipt(PPMID, bearer.handed_on[0])
        assert outbox.receipts == [(PPMID, RECEIPT)]
        with pytest.raises(RelayDecodeError):
            await sealed.receipt(PPMID, RECEIPT)
        bearer.envelope = CONTENT
        assert await agent.next_envelope() == b""
        bearer.envelope = None
        assert await agent.next_envelope() is None
        assert told.names() == ["receipt_not_opened", "envelope_not_opened"]

    asyncio.run(story())


def test_an_agent_without_a_certificate_gets_nothing() -> None:
    """Its orders are not touched, so another road may take them; it is told of once."""

    async def story() -> None:
        told, outbox = Told(), ListOutbox()
        sealed = SealedOutbox(outbox, SUPPLIER_SIDE, told)
        await outbox.put(ELSEWHERE, CONTENT)
        assert await sealed.next_envelope(ELSEWHERE, 0) is None
        assert await sealed.next_envelope(ELSEWHERE, 0) is None
        assert outbox.left(ELSEWHERE) == 1
        assert told.names() == ["agent_without_relay_certificate"]

    asyncio.run(story())
