"""The gas meter of our small world, and the Commands its supplier and its PPMID make for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.gbcs.catalogue import use_case, use_case_by_name
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz, decode_gbz, encode_gbz, open_component
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.protect import decrypt_attribute, encryption_key, seal, unsigned_df
from lastmetre.gbcs.zcl import ReadAttributes, ReadAttributesResponse, ZclCommand, zcl_command
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState
from lastmetre.home.ports import MemoryStore
from tests import own_world as own
from tests.own_world import KA, PPMID, SUPPLIER, Told

if TYPE_CHECKING:
    from lastmetre.gbcs.catalogue import UseCase
    from lastmetre.gbcs.zcl import Plain
    from lastmetre.home.ports import DeviceStore

GSME = bytes.fromhex("00005eef100000a1")
PREPAYMENT_MODE = 0x0097
CLIENT_TO_SERVER, SERVER_TO_CLIENT, PROFILE_WIDE = 0x01, 0x09, 0x00


def meter(state: GasState | None = None, *, store: DeviceStore | None = None, told: Told | None = None) -> Gsme:
    """A gas meter that knows our supplier, and was joined with the PPMID."""
    identity = own.identity_of(GSME)
    partners = {PPMID: own.certificate(PPMID, KA)}
    new = state or GasState(attributes={(0x0705, 0x0000): PREPAYMENT_MODE, (0x0705, 0x0001): 1_000_000})
    return Gsme(identity, store or MemoryStore(), told or Told(), new=new, partners=partners)


def command(name: str, counter: int, *bodies: ZclCommand | tuple[int, ...], at: int | None = None) -> bytes:
    """A Command of the supplier's; a tuple of cluster and ids reads attributes. ``at`` is a From Date Time."""
    components = []
    for number, body in enumerate(bodies):
        if isinstance(body, ZclCommand):
            control = SERVER_TO_CLIENT if body.from_server else CLIENT_TO_SERVER
            dated = at if body.name == "SetLowCreditWarningLevel" else None
            components.append(Component(body.cluster, control, number, body, dated))
        else:
            components.append(Component(body[0], PROFILE_WIDE, number, ReadAttributes(tuple(body[1:]))))
    case = use_case_by_name(name)
    head = GroupingHeader(Cra.COMMAND, counter, SUPPLIER, GSME, OtherInformation(case.message_code))
    content = encode_gbz(Gbz(tuple(components)))
    return own.critical(head, content) if case.critical else own.non_critical(head, content)


def use_case_by_code(code: int) -> UseCase:
    """The use case of a message code that there is."""
    case = use_case(code)
    assert case is not None
    return case


def from_ppmid(name: str, counter: int, body: ZclCommand, *, partner: bytes = PPMID) -> bytes:
    """A Command the PPMID makes itself, under the keys it shares with the meter."""
    code = use_case_by_name(name).message_code
    head = GroupingHeader(Cra.COMMAND, counter, partner, GSME, OtherInformation(code))
    content = encode_gbz(Gbz((Component(body.cluster, CLIENT_TO_SERVER, 0, body),)))
    return seal(unsigned_df(head, content), own.secret(partner, GSME))


def top_up(utrn_counter: int, pence: int, *, digits: str | None = None) -> bytes:
    """CS01b."""
    code = digits or own.top_up_digits(utrn_counter, pence, target=GSME)
    return command("CS01b", utrn_counter << 32, zcl_command("ConsumerTopUp", originating_device=0, code=code.encode()))


def answers(response: bytes) -> tuple[Component, ...]:
    """The components of a Response, its secret parts opened with the supplier's key."""
    message = parse_message(response)
    key = encryption_key(
        own.secret(SUPPLIER, GSME),
        device_id=GSME,
        counter=message.header.originator_counter,
        recipient_id=SUPPLIER,
    )
    return tuple(
        open_component(component, decrypt_attribute(component.body.wire, key, GSME))
        if isinstance(component.body, EncryptedZcl)
        else component
        for component in decode_gbz(message.content).components
    )


def statuses(response: bytes) -> list[int]:
    """The status of each Default Response; zero for any other answer."""
    return [getattr(component.body, "status", 0) for component in answers(response)]


def values(response: bytes) -> dict[tuple[int, int], Plain]:
    """The attributes a Response brought."""
    return {
        (component.cluster, record.attribute_id): record.value
        for component in answers(response)
        if isinstance(component.body, ReadAttributesResponse)
        for record in component.body.records
    }


def bodies(response: bytes, name: str) -> list[ZclCommand]:
    """The publications of one name in a Response."""
    found = [component.body for component in answers(response)]
    return [body for body in found if isinstance(body, ZclCommand) and body.name == name]
