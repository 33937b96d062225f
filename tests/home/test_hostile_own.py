"""Authentic nonsense about a device itself, to every kind of device: nothing raises, what is kept comes back whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.asn1 import (
    ActivateFirmware,
    Asn1,
    CellId,
    CredentialsQuery,
    Join,
    LogEntry,
    ReadFirmwareVersion,
    ReadJoinDetails,
    Replacement,
    RestoreDeviceLog,
    RoleCounter,
    SetClock,
    Unjoin,
    UpdateControl,
    UpdateCredentials,
    UpdateDeviceCertificate,
    encode_asn1,
)
from lastmetre.gbcs.axdr import BitString, Structure
from lastmetre.gbcs.catalogue import Protection, Role, use_case
from lastmetre.gbcs.dlms import AccessRequest, Action, Get, GetWithSelection, Set, encode_access_request
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.protect import pre_command, sign_pre_command
from lastmetre.home import chf as chf_module
from lastmetre.home.chf import ITEMS, ChfState
from lastmetre.home.gas import state as gas_state
from lastmetre.home.gas.state import GasState
from lastmetre.home.own_device import OwnState
from lastmetre.home.own_device import decode_state as decode_own
from lastmetre.home.own_device import encode_state as encode_own
from lastmetre.home.state import MeterState
from lastmetre.home.state import decode_state as decode_meter
from lastmetre.home.state import encode_state as encode_meter
from tests import own_world as own
from tests.home import test_esme_credentials as credentials
from tests.own_world import BROKER, DS, KA, NOW, SUPPLIER
from tests.threats.the_home import KINDS, HomeDevice, unlist

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.dlms import Obis, Spec

ID = st.binary(min_size=8, max_size=8)
SMALL = st.integers(0, 300)
COUNTER = st.integers(0, 2**63 - 1)
DER = st.sampled_from([own.certificate(SUPPLIER, KA).der, credentials.authority().der, credentials.certificate(KA).der])
TIME = st.sampled_from([None, "99991231235959Z", "20270101000000Z", "19000101000000Z", "20269999999999Z", "0" * 15])
USAGE = st.sampled_from([BitString(1, b"\x80"), BitString(5, b"\x08"), BitString(6, b"\x04"), BitString(0, b"")])
CELL = st.builds(CellId, st.integers(0, 130), USAGE, st.integers(0, 3))
FLOORS = st.none() | st.lists(st.builds(RoleCounter, st.integers(0, 9), COUNTER), max_size=3).map(tuple)
CONTROL = st.builds(
    lambda mode, counter, checks, cell, floor, others: UpdateControl(
        mode, counter, None, checks, cell, floor, None, others
    ),
    st.integers(0, 13), st.sampled_from([9, 10]), st.none() | st.integers(0, 2), st.none() | CELL,
    st.none() | COUNTER, FLOORS,
)  # fmt: skip
COMMANDS = st.one_of(
    st.tuples(st.sampled_from([0x000D, 0x00AB, 0x000E, 0x00AF]),
              st.builds(Join, st.integers(0, 9), ID, st.integers(0, 9), st.none() | DER)),
    st.tuples(st.sampled_from([0x000F, 0x0010]), st.builds(Unjoin, ID)),
    st.tuples(st.just(0x0013), st.just(ReadJoinDetails())),
    st.tuples(st.just(0x0129), st.just(ReadFirmwareVersion())),
    st.tuples(st.just(0x0008), st.builds(CredentialsQuery, CELL, st.lists(st.integers(0, 130), max_size=4).map(tuple))),
    st.tuples(st.just(0x0012), st.builds(ActivateFirmware, st.binary(min_size=32, max_size=32), COUNTER, TIME)),
    st.tuples(st.just(0x000B), st.builds(UpdateDeviceCertificate, DER)),
    st.tuples(st.just(0x008C), st.lists(st.builds(LogEntry, ID, st.integers(0, 9)), max_size=20)
              .map(lambda log: RestoreDeviceLog(tuple(log)))),
    st.tuples(st.just(0x007F), st.builds(SetClock, TIME.filter(bool), TIME.filter(bool))),
    st.tuples(st.sampled_from([0x0100, 0x0102, 0x0103, 0x0104, 0x0106, 0x0108, 0x0125]),
              st.builds(UpdateCredentials, CONTROL, st.lists(st.builds(Replacement, DER, CELL), max_size=3).map(tuple),
                        st.lists(DER, max_size=2).map(tuple), TIME)),
)  # fmt: skip


def whole(state: object) -> bool:
    """Whether a state comes back from its store as it was."""
    match state:
        case MeterState():
            return decode_meter(encode_meter(state)) == state
        case GasState():
            return gas_state.decode_state(gas_state.encode_state(state)) == state
        case ChfState():
            return chf_module.decode_state(chf_module.encode_state(state)) == state
        case OwnState():
            return decode_own(encode_own(state)) == state
        case _:
            return False


def said(kind: HomeDevice, counter: int, code: int, content: bytes) -> bytes:
    """A Command by whoever may say it, protected as it must be."""
    case = use_case(code)
    assert case is not None
    speaker = SUPPLIER if Role.SUPPLIER in case.originators else BROKER
    header = GroupingHeader(Cra.COMMAND, counter, speaker, kind.entity_id, OtherInformation(code))
    if case.protection is Protection.MAC_AND_SIGNATURE:
        return own.critical(header, content)
    if case.protection is Protection.BY_ORIGINATOR and speaker is SUPPLIER:
        return sign_pre_command(pre_command(header, content), own.private_key(SUPPLIER, DS))
    return own.non_critical(header, content)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(KINDS), st.lists(COMMANDS, min_size=1, max_size=3))
def test_nonsense_about_itself_stops_no_device(kind: HomeDevice, commands: list[tuple[int, object]]) -> None:
    """Any values that DER can say: every answer reads, the state is whole, and days later it still answers."""
    device = kind.make()
    for counter, (code, value) in enumerate(commands, 9):
        try:
            content = encode_asn1(Asn1(value))  # type: ignore[arg-type]
        except (GbcsError, AttributeError):
            continue  # DER cannot say it
        for answer in device.receive(said(kind, counter, code, content), NOW):
            parse_message(answer)
        assert whole(device.state)
    for at in (NOW + 86_400, NOW + 3 * 86_400):
        for answer in device.tick(at):
            parse_message(answer)
    assert whole(device.state)
    assert isinstance(device.receive(kind.command(900), NOW + 3 * 86_400), list)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_nonsense_in_items_stops_no_hub(data: st.DataObject) -> None:
    """Any items of a hub's use case with any simple values: answered item by item; its own state stays whole."""
    (kind,) = [each for each in KINDS if each.name == "CHF"]
    device = kind.make()
    for counter in range(1, 4):
        code = data.draw(st.sampled_from(sorted(ITEMS)))
        known = st.sampled_from(sorted(ITEMS[code], key=str))
        items = [
            (_spec(*item, value), value)
            for item, value in data.draw(st.lists(st.tuples(known, anything()), min_size=1, max_size=3))
        ]
        content = encode_access_request(AccessRequest(counter, tuple(items)))
        for answer in device.receive(said(kind, counter, code, content), NOW):
            parse_message(answer)
        assert whole(device.state)
    assert device.receive(unlist(99), NOW)


def _spec(letter: str, class_id: int, obis: Obis, number: int, value: Data) -> Spec:
    if letter == "L":
        return GetWithSelection(class_id, obis, number, 1, value)
    if letter == "A":
        return Action(class_id, obis, number)
    return Get(class_id, obis, number) if letter == "G" else Set(class_id, obis, number)


def anything() -> st.SearchStrategy[Data]:
    """Data of many shapes: what the hub's items want, and what they do not."""
    from lastmetre.gbcs import axdr

    plain = st.one_of(
        st.just(axdr.NullData()), st.booleans().map(lambda flag: axdr.Boolean(value=flag)),
        st.integers(0, 255).map(axdr.Unsigned), st.integers(0, 65_535).map(axdr.LongUnsigned),
        st.integers(0, 2**32 - 1).map(axdr.DoubleLongUnsigned), st.binary(max_size=16).map(axdr.OctetString),
        ID.map(axdr.OctetString),
        st.binary(min_size=4, max_size=4).map(lambda raw: axdr.BitString(32, raw)),
    )  # fmt: skip
    return st.recursive(plain, lambda inner: st.lists(inner, max_size=5).flatmap(
        lambda parts: st.sampled_from([Structure(tuple(parts)), axdr.Array(tuple(parts[:1]))])
    ), max_leaves=16)  # fmt: skip
