"""Attacks that relay permits are there for, by those who own the PPMID, its vendor's cloud, or another home's tunnel.

Each names its threat (reference: threats). The defender is the real hub under ``permit`` with a real DSP and supplier;
what an attacker holds is what he would have: Commands, permits, the agent's store and keys.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.agent.core import Binding, StoreAndForward
from lastmetre.dcc.permits import LIFE_S, LIVE_MAX
from lastmetre.gbcs.blocks import split
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.protect import seal, unsigned_df
from lastmetre.home.hub_policy import DeviceType
from lastmetre.home.permit_gate import RECORDS_PER_MINUTE
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.links.relay_cose import AgentSide, SupplierSide
from lastmetre.relay import CommandClass, RelayDecodeError, decode_envelope, encode_envelope, make_envelope
from lastmetre.relay.permit import QUESTION, Status, decode_permit, make_permit
from lastmetre.supplier.errors import NoPermit
from tests import own_world as own
from tests.own_world import BROKER, CHF, ESME, NOW, OTHER_ESME, PPMID, SUPPLIER
from tests.permit_story import Story, story
from tests.permit_world import GPF, GSME, LOG, SECRET, PermitHub, permit_for, record_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

OTHER_PPMID = bytes.fromhex("00005eef100000a8")
ARM = own.arm(9)


def play(path: Path, act: Callable[[Story], Coroutine[object, object, None]], hub: PermitHub | None = None) -> None:
    """Play one act."""

    async def run() -> None:
        with story(path, hub) as one:
            await act(one)

    asyncio.run(asyncio.wait_for(run(), 20))


def a_command(counter: int, *, target: bytes = GSME, size: int = 20) -> bytes:
    """A Command as the hub sees it."""
    header = GroupingHeader(Cra.COMMAND, counter, SUPPLIER, target, OtherInformation(0x0082))
    return seal(unsigned_df(header, bytes(size)), own.secret(BROKER, ESME))


def test_a_stolen_permit_is_no_good_in_another_tunnel(tmp_path: Path) -> None:
    """T25, T26: with the queue of one PPMID in hand, a second PPMID of the home and another home's hub take nothing."""

    async def act(one: Story) -> None:
        loot = await one.loot()
        hub = one.hub
        hub.hub.set_device_log([*LOG, replace(LOG[0], device_id=OTHER_PPMID, device_type=DeviceType.PPMID)])
        assert loot.permit is not None
        assert hub.ask(loot.permit, OTHER_PPMID).status is Status.CARRIER
        assert hub.up(loot.command, OTHER_PPMID) == []
        permit = decode_permit(loot.permit)
        assert not isinstance(permit, Status)
        elsewhere = make_permit(replace(permit, hub_id=OTHER_ESME), SECRET)
        assert hub.ask(elsewhere).status is Status.HUB
        assert hub.carry(loot.permit, loot.command) == [loot.command], "in its own tunnel it is good"

    play(tmp_path, act)


def test_one_permits_acceptance_does_not_serve_another_tunnel() -> None:
    """T26: while one carrier's permit waits, the same Command from another carrier finds none."""
    hub = PermitHub()
    hub.hub.set_device_log([*LOG, replace(LOG[0], device_id=OTHER_PPMID, device_type=DeviceType.PPMID)])
    assert hub.ask(record_for(ARM)).status is Status.ACCEPTED
    assert hub.up(ARM, OTHER_PPMID) == []
    assert hub.last == ("no-permit", None)


def test_a_cloud_cannot_swap_or_strip_the_permit() -> None:
    """T27, T30: the permit is inside the supplier's signature; changed or left out, the envelope does not open."""
    suppliers, agents = (ec.derive_private_key(scalar, ec.SECP256R1()) for scalar in (2001, 2002))
    supplier = SupplierSide(SUPPLIER, suppliers, {PPMID: [agents.public_key()]})
    agent = AgentSide(PPMID, agents, SUPPLIER, [suppliers.public_key()])
    made = make_envelope("order-1", CHF, ESME, NOW + 60, ARM, permit=record_for(ARM))
    sealed = supplier.seal(PPMID, encode_envelope(made))
    assert decode_envelope(agent.open(sealed)).permit == made.permit
    rogue = replace(supplier, key=ec.derive_private_key(2003, ec.SECP256R1()))
    for forged in (replace(made, permit=None), replace(made, permit=record_for(ARM))):
        with pytest.raises(RelayDecodeError):
            agent.open(rogue.seal(PPMID, encode_envelope(forged)))


def test_whatever_octet_a_cloud_changes_in_a_permit_the_hub_refuses() -> None:
    """T30: with the envelope's protection off, the permit's own MAC still holds: expiry, target, digest, carrier."""
    record = record_for(ARM)
    for at in range(len(record)):
        hub = PermitHub()
        answers = hub.up(record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :])
        assert not answers or answers[0].message[2] != Status.ACCEPTED, f"octet {at}"
        assert hub.up(ARM) == []


def test_a_rooted_ppmid_cannot_make_a_permit() -> None:
    """T33: every key on the agent's image (TLS, relay, the PPMID's SMKI keys) makes records that no hub takes."""
    hub_public = own.certificate(CHF, own.KA).public_key
    for use in (KeyUse.KEY_AGREEMENT, KeyUse.DIGITAL_SIGNATURE):
        secret = agree(own.private_key(PPMID, use), hub_public)
        hub = PermitHub()
        assert hub.ask(make_permit(permit_for(ARM), secret)).status is Status.MAC
        assert hub.ask(make_permit(permit_for(ARM, broker_id=PPMID), secret)).status is Status.MAC
        assert hub.up(ARM) == []


def test_a_hostile_agent_cannot_use_a_permit_for_another_command(tmp_path: Path) -> None:
    """T34: it has a good permit and every Command ever sealed for the home: it passes the one Command, unchanged."""

    async def act(one: Story) -> None:
        loot = await one.loot()
        assert loot.permit is not None
        # one octet of its protection, one more, another Command, another target, and blocks that lie
        for other in (
            loot.command[:-1] + bytes((loot.command[-1] ^ 1,)),
            loot.command + b"\x00",
            own.arm(10),
            own.arm(9, target=OTHER_ESME),
        ):
            assert one.hub.carry(loot.permit, other) == []
        assert one.hub.carry(loot.permit, *split(own.arm(10), 40)) == []
        assert one.hub.carry(loot.permit, loot.command) == [loot.command]

    play(tmp_path, act)


def test_a_hostile_agent_cannot_replay(tmp_path: Path) -> None:
    """T34: after the Response, over power cuts of the hub, with the same permit: nothing more reaches the meter."""

    async def act(one: Story) -> None:
        await one.sealed()
        await one.run()
        permit, command = one.up[-2:]
        assert one.executed == 1
        for _ in range(5):
            one.hub.power_on()
            one.hub.hub.wan_connected(one.hub.now)
            one.hub.settings.drop_repeats = False  # the meter's own counter check is not what is tested
            assert one.hub.carry(permit, command) == []
        assert one.hub.last[0] == "no-permit"

    play(tmp_path, act)


def test_hand_overs_are_bounded_while_no_response_came() -> None:
    """T34: a meter out of reach, a hub that is power-cycled: three hand-overs under one permit and no more."""
    hub, record = PermitHub(), record_for(ARM)
    passed = 0
    for _ in range(8):
        passed += len(hub.carry(record, ARM))
        hub.power_on()
        hub.hub.wan_connected(hub.now)
    assert passed == 3


def test_a_device_log_change_needs_the_dsps_word() -> None:
    """T34: a genuine Command for the hub itself, under a permit that does not say so, does not pass."""
    for target in (CHF, GPF):
        command = a_command(3, target=target)
        assert PermitHub().carry(record_for(command), command) == []


def test_poison_permits_stop_nobody(tmp_path: Path) -> None:
    """T35: a thousand bad records: each is answered or dropped, none crashes the hub, and the next good one passes."""
    hub = PermitHub()
    good = record_for(ARM)
    for number in range(1_000):
        if number % (RECORDS_PER_MINUTE - 5) == 0:
            hub.later(60)
        hub.up(b"\x50" + bytes((number % 256,)) * (number % 200))
        hub.up(b"\x52" + bytes((number % 256,)) * (number % 5))
    hub.later(60)
    assert hub.carry(record_for(ARM, issued_at=hub.now, not_before=hub.now, not_after=hub.now + 60,
                                hold_until=hub.now + 60), ARM) == [ARM]  # fmt: skip
    assert len(good) == 128
    with SqliteAgentStore(tmp_path / "agent.db") as store:
        agent = StoreAndForward(Binding(CHF), store, own.Told(), None)
        agent.tunnel_opened()
        for number in range(300):
            agent.from_tunnel(b"\x51" + bytes((number % 256,)) * (number % 40), NOW)
        sent = make_envelope("order-1", CHF, ESME, NOW + 60, ARM, command_class=CommandClass.SUPPLY, permit=good)
        assert agent.take(encode_envelope(sent), NOW)
        offer = agent.next_offer(NOW)
        assert offer is not None
        assert offer.order_id == "order-1"


def test_a_flood_of_questions_is_bounded() -> None:
    """T35: thirty records a minute; the rest gets no answer and costs the hub no MAC and no write."""
    hub = PermitHub()
    answered = sum(bool(hub.up(QUESTION)) for _ in range(500))
    assert answered == RECORDS_PER_MINUTE
    assert hub.up(record_for(ARM)) == []


def test_a_hoard_is_dead_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    """T36, T14: a vendor hoards genuine Commands with their permits and releases them at one moment: none is taken."""

    async def act(one: Story) -> None:
        loot = await one.loot()
        assert loot.permit is not None
        one.hub.later(LIFE_S + 1)
        assert one.hub.ask(loot.permit).status is Status.TIME
        assert one.hub.up(loot.command) == []
        one.hub.now -= LIFE_S  # whoever can set the hub's clock back gains nothing
        assert one.hub.ask(loot.permit).status is Status.TIME

    play(tmp_path, act)


def test_a_hoard_for_a_hub_without_time_dies_with_its_nonce() -> None:
    """T36: a nonce permit works once and a quarter of an hour; the hub's restart kills it."""
    hub = PermitHub(wan_time=False)
    record = record_for(ARM, hub_nonce=hub.ask(QUESTION).hub_nonce)
    hub.later(LIFE_S + 1)
    assert hub.ask(record).status is Status.TIME
    record = record_for(ARM, hub_nonce=hub.ask(QUESTION).hub_nonce)
    hub.power_on()
    assert hub.ask(record).status is Status.TIME
    assert hub.up(ARM) == []


def test_nobody_gets_permits_ahead_or_in_stock(tmp_path: Path) -> None:
    """T36: who owns the supplier's door cannot have a hoard made: just in time, for what he got sealed, a few."""

    async def act(one: Story) -> None:
        loot = await one.loot()
        wire = one.home.wire
        ask = wire.asked[-1]
        asked: dict[str, Any] = {
            "request_id": ask.request_id, "digest": ask.digest, "carrier_id": PPMID, "not_after": NOW + 86_400,
            "hub_nonce": None,
        }  # fmt: skip
        made = [decode_permit(await wire.permit(**asked)) for _ in range(LIVE_MAX - 1)]
        assert max(permit.not_after for permit in made if not isinstance(permit, Status)) <= one.now() + LIFE_S
        with pytest.raises(NoPermit, match="too-many"):
            await wire.permit(**asked)
        with pytest.raises(NoPermit, match="unknown-command"):
            await wire.permit(**asked | {"digest": bytes(32)})
        assert loot.command

    play(tmp_path, act)


def test_what_was_overtaken_gets_no_further_permit(tmp_path: Path) -> None:
    """T36, T14: once a later Command of the lane is sealed, the earlier one has no way through the hub any more."""

    async def act(one: Story) -> None:
        loot = await one.loot()
        ask = one.home.wire.asked[-1]
        one.world.clock.pass_s(3_600)
        await one.world.work()  # its deadline passed: unknown; the lane moves on
        await one.sealed()
        with pytest.raises(NoPermit, match="superseded"):
            await one.home.wire.permit(ask.request_id, ask.digest, PPMID, one.now() + 60, None)
        one.hub.later(3_600)
        assert loot.permit is not None
        assert one.hub.ask(loot.permit).status is Status.TIME

    play(tmp_path, act)


def test_what_the_dsp_voids_is_dead_at_once() -> None:
    """T36: the road's kill-switch: the next permit that reaches a hub kills all before it, waiting ones included."""
    hub = PermitHub()
    gas, later = a_command(4), own.arm(20)
    old = record_for(ARM, serial=10_000)
    assert hub.carry(record_for(gas, serial=10_001, hold_until=NOW + 4_800), gas) == []
    assert hub.carry(record_for(later, serial=10_010, void_below=10_010), later) == [later]
    assert hub.ask(old).status is Status.VOID
    assert hub.hub.fetch(GSME, NOW) == (None, 0)


def test_the_gas_mailbox_releases_nothing_late() -> None:
    """T14, T31: the hub took it in time, the meter slept on: past hold_until it is not released, and that is logged."""
    hub, command = PermitHub(), a_command(5)
    hub.carry(record_for(command, hold_until=NOW + 4_800), command)
    hub.later(4_801)
    assert hub.hub.fetch(GSME, hub.now) == (None, 0)
    assert hub.last == ("permit-refused", "TIME")
