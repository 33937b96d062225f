"""The published gas exchanges: each Command fed to a fresh meter, its Response compared with the reference one.

Compared are the header and, part by part, what answers what: cluster, frame control, sequence, command, status,
attribute ids and types. Values are not: they hang on what a meter lived through. Reference messages are read in place.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.datetimes import unix_from_zigbee
from lastmetre.gbcs.gbz import Component, EncryptedZcl, decode_gbz
from lastmetre.gbcs.keys import KeyUse, SharedSecret, agree
from lastmetre.gbcs.message import Kind, parse_message
from lastmetre.gbcs.zcl import DefaultResponse, ReadAttributesResponse, ZclCommand, zcl_command
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import history
from lastmetre.home.gas.gsme import SUPPORTED, Gsme
from lastmetre.home.gas.state import GasState, Valve
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from lastmetre.links.keystore import Keyring
from tests.own_world import NOW, Told
from tests.shared_data import RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds, rtds_messages

if TYPE_CHECKING:
    from lastmetre.gbcs.certificates import Certificate

GSME = bytes.fromhex("00db1234567890a1")
ORGANISATIONS = {
    Role.SUPPLIER: bytes.fromhex("90b3d51f30010000"),
    Role.ACCESS_CONTROL_BROKER: bytes.fromhex("90b3d51f30000002"),
}


@cache
def _ring() -> Keyring:
    return Keyring.open(certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS)


@cache
def _anchors() -> dict[tuple[Role, KeyUse], Certificate]:
    cells = {}
    for role, entity_id in ORGANISATIONS.items():
        for use in KeyUse:
            found = _ring().find_certificate(entity_id, use)
            if found is not None:
                cells[role, use] = found
    return cells


class PublishedIdentity(DeviceIdentity):
    """A device whose private keys nobody published: its secrets are agreed from the organisations' side."""

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """The secret with whoever's certificate it is."""
        device = _ring().certificate(GSME, KeyUse.KEY_AGREEMENT)
        for (_role, use), anchor in _anchors().items():
            if anchor.public_key.public_numbers() == public_key.public_numbers():
                assert anchor.entity_id is not None
                return agree(_ring().private_key(anchor.entity_id, use), device.public_key)
        raise LookupError("nobody's certificate")


def meter() -> Gsme:
    """A fresh meter as the published Commands take it for granted: low credit, billing calendar, some snapshots."""
    key = ec.derive_private_key(2, ec.SECP256R1())
    state = GasState(Valve.ON, attributes={zcl.CONFIGURATION: 0x0097, zcl.CREDIT: 1, zcl.MAX_TOP_UP: 100_000_000})
    period = zcl_command(
        "PublishBillingPeriod", provider=0, issuer_event=0, start=0, duration=1, duration_type=34, tariff_type=0
    )
    state = state.publish("billing-period", period)
    for cause in (history.DAILY, history.BILLING, history.MODE_CHANGED):
        for day in range(2):
            state = history.take(state, cause, unix_from_zigbee(473_400_000 + day * 86_400))
    return Gsme(PublishedIdentity(GSME, key, key, _anchors()), MemoryStore(), Told(), new=state)


def exchanges() -> list[tuple[str, bytes, bytes]]:
    """Commands for the gas meter this one supports, sealed by parties we have keys of, with their Responses."""
    messages = rtds_messages()
    found = []
    for name, command in messages.items():
        if "_SUCCESS" not in name or not name.endswith("_COMMAND_GBCS"):
            continue
        response = messages.get(name.replace("_COMMAND_", "_RESPONSE_"))
        parsed = parse_message(command)
        header = parsed.header
        if response is None or parsed.kind is not Kind.COMMAND or header.business_target_id != GSME:
            continue
        if header.message_code in SUPPORTED and header.business_originator_id in ORGANISATIONS.values():
            found.append((name.split("/")[-1], command, response))
    return found


def shape(component: Component) -> tuple[object, ...]:
    """What a part answers, without its values."""
    head = (component.cluster, component.frame_control, component.sequence, component.command_id)
    match component.body:
        case EncryptedZcl():
            return (*head, "encrypted")
        case ReadAttributesResponse(records=records):
            return (*head, *((record.attribute_id, record.status, record.type) for record in records))
        case DefaultResponse(command_id=command_id, status=status):
            return (*head, command_id, status)
        case ZclCommand() as body:
            return (*head, body.name)
        case _:
            return head


@needs_rtds
@pytest.mark.parametrize(
    ("name", "command", "reference"), exchanges(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_published_command_is_answered_as_published(name: str, command: bytes, reference: bytes) -> None:
    """Header and shape of every part are those of the reference Response."""
    one = meter()
    (response,) = one.receive(command, NOW)
    ours, theirs = parse_message(response), parse_message(reference)
    assert ours.kind is theirs.kind, name
    assert ours.header.other_information == theirs.header.other_information
    assert len(ours.header.date_time) == len(theirs.header.date_time)
    assert (ours.mac is None, bool(ours.signature)) == (theirs.mac is None, bool(theirs.signature))
    if ours.content[:2] != b"\x01\x09":
        assert ours.content[:1] == theirs.content[:1]
        return
    got = [shape(component) for component in decode_gbz(ours.content).components]
    assert got == [shape(component) for component in decode_gbz(theirs.content).components]
