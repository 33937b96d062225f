"""The devices of one home for attacks: how each is made, a Command that each executes, and what must not move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.dlms import AccessRequest, Action, Obis, encode_access_request
from lastmetre.gbcs.gbz import Component, Gbz, encode_gbz
from lastmetre.gbcs.message import Cra, GroupingHeader, Kind, OtherInformation, parse_message
from lastmetre.gbcs.zcl import zcl_command
from lastmetre.home.chf import Chf, ChfState, Listed
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState, Valve
from lastmetre.home.gpf import Gpf
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from lastmetre.home.supply import Supply
from tests import gas_world as gas
from tests import own_world as own
from tests.own_world import BROKER, CHF, DS, ESME, KA, SUPPLIER, Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.home.esme import Esme
    from lastmetre.home.ports import DeviceStore

GPF = bytes.fromhex("00005eef100000a3")


def identity(entity_id: bytes) -> DeviceIdentity:
    """Keys and trust anchors of a device of ours."""
    if entity_id != CHF:
        return own.identity_of(entity_id)
    anchors = {(Role.ACCESS_CONTROL_BROKER, KA): own.certificate(BROKER, KA)}
    return DeviceIdentity(entity_id, own.private_key(entity_id, DS), own.private_key(entity_id, KA), anchors)


def esme(store: DeviceStore | None = None) -> Esme:
    """An electricity meter that the supplier switched off."""
    return own.meter(supply=Supply.OFF_BY_COMMAND, store=store)


def gsme(store: DeviceStore | None = None) -> Gsme:
    """A gas meter that the supplier closed."""
    state = GasState(Valve.OFF_BY_COMMAND, attributes={(0x0705, 0): 0x0097, (0x0705, 1): 1_000_000})
    partners = {own.PPMID: own.certificate(own.PPMID, KA)}
    return Gsme(identity(gas.GSME), store or MemoryStore(), Told(), new=state, partners=partners)


def chf(store: DeviceStore | None = None) -> Chf:
    """A hub's own function with one device listed."""
    return Chf(identity(CHF), store or MemoryStore(), Told(), new=ChfState((Listed(ESME),)))


def gpf(store: DeviceStore | None = None) -> Gpf:
    """A gas proxy."""
    return Gpf(
        identity(GPF), store or MemoryStore(), Told(), new=GasState(), gsme_id=gas.GSME,
        gsme_signing=own.certificate(gas.GSME, DS),
    )  # fmt: skip


def arm(counter: int) -> bytes:
    """ECS44 to the electricity meter: critical."""
    return own.arm(counter)


def arm_gas(counter: int) -> bytes:
    """GCS39 to the gas meter: critical."""
    body = zcl_command(
        "ChangeSupply", provider=0, issuer_event=0, request_time=0, implementation=0, status=1, control=0
    )
    return gas.command("GCS39", counter, body)


def unlist(counter: int) -> bytes:
    """CCS02 to the hub: a device leaves its log."""
    item = Action(104, Obis.parse("0-0:30.3.0"), 2), OctetString(ESME)
    content = encode_access_request(AccessRequest(counter & 0xFFFFFF, (item,)))
    return own.non_critical(own.header("CCS02", counter, originator=BROKER, target=CHF), content)


def tenancy(counter: int) -> bytes:
    """GCS09 to the proxy."""
    body = zcl_command("PublishChangeOfTenancy", provider=0, issuer_event=0, tariff_type=0, implementation=1, control=0)
    head = GroupingHeader(Cra.COMMAND, counter, SUPPLIER, GPF, OtherInformation(0x0072))
    return own.non_critical(head, encode_gbz(Gbz((Component(body.cluster, 0x09, 0, body),))))


@dataclass(frozen=True)
class HomeDevice:
    """One kind of device: how to make one, a Command it executes, and its identifier."""

    name: str
    entity_id: bytes
    make: Callable[..., Esme | Gsme | Chf]
    command: Callable[[int], bytes]


KINDS = (
    HomeDevice("ESME", ESME, esme, arm),
    HomeDevice("GSME", gas.GSME, gsme, arm_gas),
    HomeDevice("CHF", CHF, chf, unlist),
    HomeDevice("GPF", GPF, gpf, tenancy),
)


def untouched(device: Esme | Gsme | Chf) -> tuple[object, ...]:
    """All that no attack may move: everything but logs, Alert counter and the time that passed."""
    state = device.state
    if isinstance(state, ChfState):
        return state.device_log, state.historic_log, state.counters, state.cells, state.join_until, state.sub_ghz
    return state.counters, state.cells, state.firmware_version, state.behaviour()


def executed(answers: list[bytes]) -> bool:
    """Whether a Response is among the answers."""
    return any(parse_message(answer).kind is Kind.RESPONSE for answer in answers)
