"""The items of an access-request, executed on a meter's state: gets, sets, actions, reads of logs, protected reads.

Every function takes a state and gives the next one with a DLMS result; an item that fails changes nothing and the
others still count. What may be asked for at all is judged before (``objects.use_case_items``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    encode_data,
)
from lastmetre.gbcs.datetimes import CosemDateTime, date_time_from_unix
from lastmetre.gbcs.dlms import AccessResult, Action, Get, GetWithSelection, ItemResult, Obis, Set
from lastmetre.home import attributes as cosem
from lastmetre.home.activation import schedule
from lastmetre.home.attributes import Attribute, parse_attribute
from lastmetre.home.attributes import at as attribute_at
from lastmetre.home.calendars import since_2000
from lastmetre.home.controllers import run_script
from lastmetre.home.live import read, read_log
from lastmetre.home.metering import reset_blocks
from lastmetre.home.money import select_emergency_credit, settle
from lastmetre.home.objects import ACTIVATIONS, OBJECTS
from lastmetre.home.objects.device import BEHAVIOURS
from lastmetre.home.objects.logs import BY_ATTRIBUTE
from lastmetre.home.objects.network import PHASE_BASES
from lastmetre.home.objects.rows import Held
from lastmetre.home.objects.shapes import fits
from lastmetre.home.objects.use_case_items import protected_by
from lastmetre.home.state import Clock
from lastmetre.home.supply import SCRIPTS, after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.dlms import AccessRequest, Spec
    from lastmetre.gbcs.message import GroupingHeader
    from lastmetre.home.state import MeterState

_GET, _SET, _ACTION = 1, 2, 3
_PROTECTION: Final = 30
_RANGE_SELECTOR: Final = 1
_OK: Final = int(AccessResult.SUCCESS)
_OTHER_REASON: Final = 250
_WRONG_TYPE: Final = int(AccessResult.TYPE_UNMATCHED)
_UNDEFINED: Final = int(AccessResult.OBJECT_UNDEFINED)


@dataclass(frozen=True, slots=True)
class Order:
    """What the items of one Command have in common. ``now`` is the meter's clock, ``hub_now`` the hub's.

    ``encrypt`` seals a protected answer for whom it is meant, or says ``None`` when it cannot. ``top_up`` judges the
    digits of a UTRN. ``faults`` is for test benches: items that fail, with their result, and are not executed.
    """

    header: GroupingHeader
    now: int
    hub_now: int
    device_id: bytes
    encrypt: Callable[[bytes], bytes | None]
    top_up: Callable[[MeterState, bytes], tuple[MeterState, int]]
    faults: Mapping[int, int] = field(default_factory=dict)


def execute_items(state: MeterState, request: AccessRequest, order: Order) -> tuple[MeterState, tuple[ItemResult, ...]]:
    """All items of a request, in order."""
    results = []
    for number, (spec, value) in enumerate(request.items):
        if number in order.faults:
            results.append(ItemResult(_kind(spec), NullData(), order.faults[number]))
            continue
        state, result = _item(state, spec, value, order)
        results.append(result)
    return state.bounded(), tuple(results)


def _kind(spec: Spec) -> int:
    return {Set: _SET, Action: _ACTION}.get(type(spec), _GET)


def _item(state: MeterState, spec: Spec, value: Data, order: Order) -> tuple[MeterState, ItemResult]:
    match spec:
        case Get():
            found = read(state, Attribute(spec.class_id, spec.obis, spec.attribute), order.now, order.device_id)
            return state, _got(found)
        case GetWithSelection():
            return state, _got(_selected(state, spec))
        case Set():
            changed, result = _set(state, Attribute(spec.class_id, spec.obis, spec.attribute), value, order)
            return changed, ItemResult(_SET, NullData(), result)
        case Action(class_id=30, method=1):
            return state, _protected(state, spec.obis, value, order)
        case Action():
            act = ACTIONS.get(Attribute(spec.class_id, spec.obis, spec.method))
            changed, result = act(state, value, order) if act else (state, _UNDEFINED)
            return changed, ItemResult(_ACTION, NullData(), result)


def _got(found: Data | None) -> ItemResult:
    if found is None:
        return ItemResult(_GET, NullData(), _UNDEFINED)
    return ItemResult(_GET, found, _OK)


def _selected(state: MeterState, spec: GetWithSelection) -> Data | None:
    """A log between two times (gbcs-messages 7.5)."""
    attribute = Attribute(spec.class_id, spec.obis, spec.attribute)
    if attribute not in BY_ATTRIBUTE or spec.selector != _RANGE_SELECTOR or not isinstance(spec.parameter, Structure):
        return None
    match spec.parameter.elements:
        case (_, DoubleLongUnsigned(value=first), DoubleLongUnsigned(value=last), _):
            return read_log(state, attribute, first, last)
        case _:
            return None


# --- sets ------------------------------------------------------------------------------------------------------------


def _set(state: MeterState, attribute: Attribute, value: Data, order: Order) -> tuple[MeterState, int]:
    row = OBJECTS.get(attribute)
    if row is None:
        return state, _UNDEFINED
    if row.held is not Held.WRITABLE:
        return state, int(AccessResult.READ_WRITE_DENIED)
    if not fits(row.shape, value):
        return state, _WRONG_TYPE
    if attribute in ACTIVATIONS:
        assert isinstance(value, OctetString)
        scheduled = schedule(state, attribute, value.value, order.header, order.now)
        return (state, _OTHER_REASON) if scheduled is None else (settle(scheduled, order.now), _OK)
    state = state.with_attribute(attribute, value)
    effect = EFFECTS.get(attribute)
    return (effect(state, value) if effect else state), _OK


def _behaviour(channel: int, number: int) -> tuple[Attribute, Callable[[MeterState, Data], MeterState]]:
    """Selected events take the value given, the others keep theirs."""
    target = parse_attribute(f"1/0-{channel}:97.98.{number + 4}#2")
    octets = BEHAVIOURS // 8

    def effect(state: MeterState, value: Data) -> MeterState:
        held = state.read(target)
        assert isinstance(value, BitString)
        assert isinstance(held, BitString)
        selected, wanted = value.value[:octets], value.value[octets:]
        triples = zip(held.value, selected, wanted, strict=True)
        return state.with_attribute(target, BitString(BEHAVIOURS, bytes(h & ~s | w & s for h, s, w in triples)))

    return parse_attribute(f"1/0-{channel}:97.98.{number}#2"), effect


def _without_pin(state: MeterState, _value: Data) -> MeterState:
    return state.with_attribute(cosem.PRIVACY_PIN, OctetString(b""))


def _also_waiting(state: MeterState, value: Data) -> MeterState:
    """ECS08 sets the maximum balance itself and then its time: what waits must not undo it (DESIGN CHOICE)."""
    return state.with_attribute(attribute_at(cosem.EXTENDED_DATA, "0-0:94.44.2.20", cosem.PASSIVE), value)


def _offset(state: MeterState, value: Data) -> MeterState:
    """The randomised offset is the device's number, in thousandths, of the limit (DESIGN CHOICE)."""
    assert isinstance(value, LongUnsigned)
    number = state.number(parse_attribute("1/0-0:94.44.0.2#2"))
    return state.with_attribute(parse_attribute("1/0-0:94.44.0.0#2"), LongUnsigned(value.value * number // 1_000))


EFFECTS: Final[Mapping[Attribute, Callable[[MeterState, Data], MeterState]]] = {
    parse_attribute("1/0-0:94.44.3.1#2"): _without_pin,
    parse_attribute("1/0-0:94.44.0.1#2"): _offset,
    cosem.MAX_BALANCE: _also_waiting,
    **dict(_behaviour(30, number) for number in (11, 12, 13, 14)),
    **dict(_behaviour(33, number) for number in (11, 14)),
}
"""What setting an attribute does besides."""


# --- actions ---------------------------------------------------------------------------------------------------------


def _top_up(state: MeterState, value: Data, order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, OctetString):
        return state, _WRONG_TYPE
    return order.top_up(state, value.value)


def _adjust_balance(state: MeterState, value: Data, order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, DoubleLong):
        return state, _WRONG_TYPE
    return settle(replace(state, balance=state.balance + value.value), order.now), _OK


def _set_balance(state: MeterState, value: Data, order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, DoubleLong):
        return state, _WRONG_TYPE
    return settle(replace(state, balance=value.value), order.now), _OK


def _reset_emergency(state: MeterState, value: Data, order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, DoubleLong):
        return state, _WRONG_TYPE
    account = replace(state.account, emergency_credit=value.value, emergency_active=value.value > 0)
    return settle(replace(state, account=account), order.now), _OK


def _reset_accumulated(state: MeterState, value: Data, _order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, DoubleLong):
        return state, _WRONG_TYPE
    return replace(state, account=replace(state.account, accumulated_debt=value.value)), _OK


def _emergency(state: MeterState, _value: Data, order: Order) -> tuple[MeterState, int]:
    selected = select_emergency_credit(state, order.now)
    return (state, _OTHER_REASON) if selected is None else (selected, _OK)


def _supply(state: MeterState, value: Data, _order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, LongUnsigned):
        return state, _WRONG_TYPE
    event = SCRIPTS.get(value.value)
    following = after(state.supply, event) if event else None
    return (state, _OTHER_REASON) if following is None else (replace(state, supply=following), _OK)


_RESET_SCRIPT: Final = LongUnsigned(99)


def _reset_blocks(state: MeterState, value: Data, _order: Order) -> tuple[MeterState, int]:
    return (reset_blocks(state), _OK) if value == _RESET_SCRIPT else (state, _OTHER_REASON)


def _controllers(state: MeterState, value: Data, order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, LongUnsigned):
        return state, _WRONG_TYPE
    done = run_script(state, value.value, order.now, limit=False)
    return (state, _OTHER_REASON) if done is None else (done, _OK)


def _limit_controller(state: MeterState, value: Data, order: Order) -> tuple[MeterState, int]:
    if not isinstance(value, LongUnsigned):
        return state, _WRONG_TYPE
    done = run_script(state, value.value, order.now, limit=True)
    return (state, _OTHER_REASON) if done is None else (done, _OK)


def _rate(obis: str) -> Callable[[MeterState, Data, Order], tuple[MeterState, int]]:
    passive, active = attribute_at(113, obis, 6), attribute_at(113, obis, 5)

    def act(state: MeterState, _value: Data, _order: Order) -> tuple[MeterState, int]:
        held = state.read(passive)
        assert held is not None
        return state.with_attribute(active, held), _OK

    return act


def _debt(place: int | None) -> Callable[[MeterState, Data, Order], tuple[MeterState, int]]:
    """Method 4 of a charge adds to what remains of it, never below nothing; ``None`` is the debt by payment."""

    def act(state: MeterState, value: Data, _order: Order) -> tuple[MeterState, int]:
        if not isinstance(value, DoubleLong):
            return state, _WRONG_TYPE
        account = state.account
        if place is None:
            account = replace(account, payment_debt=max(0, account.payment_debt + value.value))
        else:
            debts = list(account.time_debts)
            debts[place] = max(0, debts[place] + value.value)
            account = replace(account, time_debts=(debts[0], debts[1]))
        return replace(state, account=account), _OK

    return act


def _clear(log: str) -> Callable[[MeterState, Data, Order], tuple[MeterState, int]]:
    return lambda state, _value, _order: (state.without_lines(log), _OK)


def _zero(counter: Attribute) -> Callable[[MeterState, Data, Order], tuple[MeterState, int]]:
    return lambda state, _value, _order: (state.with_attribute(counter, DoubleLongUnsigned(0)), _OK)


def _reset_demand(obis: str, when: str) -> Callable[[MeterState, Data, Order], tuple[MeterState, int]]:
    def act(state: MeterState, _value: Data, order: Order) -> tuple[MeterState, int]:
        now = OctetString(date_time_from_unix(order.now))
        state = state.with_attribute(attribute_at(4, obis, 2), DoubleLongUnsigned(0))
        state = state.with_attribute(attribute_at(4, obis, 5), now)
        return state.with_attribute(attribute_at(1, when, 2), now), _OK

    return act


def _clock_window(state: MeterState, value: Data, _order: Order) -> tuple[MeterState, int]:
    match value:
        case Structure(elements=(OctetString(), OctetString(value=first), OctetString(value=last))) if (
            len(first) == len(last) == 12
        ):
            return replace(state, clock=replace(state.clock, window=(first, last))), _OK
        case _:
            return state, _WRONG_TYPE


_CLOCK_DOUBTFUL: Final = 2
"""Bit 1 of the clock status: the value is doubtful (DESIGN CHOICE for a clock that could not be set)."""


def _adjust_clock(state: MeterState, value: Data, order: Order) -> tuple[MeterState, int]:
    """Take the hub's time if it is within the window that was set before (ECS70); else the clock stays doubtful."""
    if not isinstance(value, Integer) or state.clock.window is None:
        return state, _OTHER_REASON
    first, last = (CosemDateTime.from_bytes(each).unix_seconds() for each in state.clock.window)
    if first is None or last is None or not first <= order.hub_now <= last:
        return replace(state, clock=replace(state.clock, status=_CLOCK_DOUBTFUL, window=None)), _OK
    return replace(state, clock=Clock(), updated_at=order.hub_now), _OK


ACTIONS: Final[Mapping[Attribute, Callable[[MeterState, Data, Order], tuple[MeterState, int]]]] = {
    cosem.TOKEN_ENTER: _top_up,
    cosem.ADJUST_BALANCE: _adjust_balance,
    cosem.SUPPLY_SCRIPT: _supply,
    attribute_at(112, "0-0:19.10.0", 2): _set_balance,
    attribute_at(112, "0-0:19.10.1", 2): _reset_emergency,
    attribute_at(112, "0-0:19.10.2", 2): _reset_accumulated,
    attribute_at(112, "0-0:19.10.1", 3): _emergency,
    attribute_at(9, "0-0:10.0.100", 1): _reset_blocks,
    attribute_at(9, "0-0:10.0.103", 1): _controllers,
    attribute_at(9, "0-0:10.0.107", 1): _limit_controller,
    attribute_at(113, "0-0:19.20.1", 2): _rate("0-0:19.20.1"),
    attribute_at(113, "0-0:19.20.2", 2): _rate("0-0:19.20.2"),
    attribute_at(113, "0-0:19.20.1", 4): _debt(0),
    attribute_at(113, "0-0:19.20.2", 4): _debt(1),
    attribute_at(113, "0-0:19.20.3", 4): _debt(None),
    attribute_at(7, "0-0:99.98.0", 1): _clear("events"),
    attribute_at(7, "0-17:99.98.2", 1): _clear("controller_events"),
    attribute_at(3, "0-0:94.44.42", 1): _zero(cosem.LIMIT_COUNT),
    **{
        attribute_at(3, f"1-0:{base}.{which}.0.4", 1): _zero(attribute_at(3, f"1-0:{base}.{which}.0.4", 2))
        for base in PHASE_BASES
        for which in (32, 36)
    },
    attribute_at(4, "1-0:1.6.0", 1): _reset_demand("1-0:1.6.0", "0-0:94.44.5.0"),
    attribute_at(4, "1-0:1.6.1", 1): _reset_demand("1-0:1.6.1", "0-0:94.44.5.1"),
    attribute_at(4, "1-0:2.6.0", 1): _reset_demand("1-0:2.6.0", "0-0:94.44.5.2"),
    attribute_at(8, "0-0:1.0.0", 5): _clock_window,
    attribute_at(8, "0-0:1.0.0", 4): _adjust_clock,
}
"""The methods of objects, but for class 30."""


# --- protected reads -------------------------------------------------------------------------------------------------


def protection_parameters(device_id: bytes, recipient_id: bytes, counter: int) -> Array:
    """What stands before encrypted data (gbcs-messages 11.2)."""
    agreed_key = Structure((Enum(2), Structure((OctetString(b"\x02"), OctetString(b"")))))
    names = (b"\x04" + counter.to_bytes(8, "big"), device_id, recipient_id, b"")
    return Array((Structure((Enum(2), Structure((*(OctetString(name) for name in names), agreed_key)))),))


def _protected(state: MeterState, protection: Obis, value: Data, order: Order) -> ItemResult:
    wanted = _wanted(value)
    if wanted is None:
        return ItemResult(_ACTION, NullData(), _WRONG_TYPE)
    values = []
    for attribute, span in wanted:
        if attribute not in protected_by(protection):
            return ItemResult(_ACTION, NullData(), int(AccessResult.SCOPE_OF_ACCESS_VIOLATED))
        if span is None:
            found = read(state, attribute, order.now, order.device_id)
        else:
            found = read_log(state, attribute, *span) if attribute in BY_ATTRIBUTE else None
        if found is None:
            return ItemResult(_ACTION, NullData(), _UNDEFINED)
        values.append(found)
    wire = order.encrypt(encode_data(Structure(tuple(values))))
    if wire is None:
        return ItemResult(_ACTION, NullData(), _OTHER_REASON)
    header = order.header
    parameters = protection_parameters(order.device_id, header.business_originator_id, header.originator_counter)
    return ItemResult(_ACTION, Structure((parameters, OctetString(wire))), _OK)


def _wanted(value: Data) -> list[tuple[Attribute, tuple[int, int] | None]] | None:
    """The attributes asked for, each with its span of time if it has one; ``None`` when this cannot be read."""
    if not isinstance(value, Structure) or len(value.elements) != 2 or not isinstance(value.elements[0], Array):
        return None
    wanted: list[tuple[Attribute, tuple[int, int] | None]] = []
    for row in value.elements[0].elements:
        match row:
            case Structure(
                elements=(
                    LongUnsigned(value=class_id),
                    OctetString(value=obis),
                    Integer(value=number),
                    LongUnsigned(),
                    Structure(elements=(Enum(value=restriction), span)),
                )
            ) if len(obis) == 6:
                limits = _span(span) if restriction == 1 else None
                if restriction > 1 or (restriction == 1 and limits is None):
                    return None
                wanted.append((Attribute(class_id, Obis(obis), number), limits))
            case _:
                return None
    return wanted


def _span(value: Data) -> tuple[int, int] | None:
    match value:
        case Structure(elements=(OctetString(value=first), OctetString(value=last))) if len(first) == len(last) == 12:
            moments = [CosemDateTime.from_bytes(each).unix_seconds() for each in (first, last)]
            if moments[0] is not None and moments[1] is not None:
                return since_2000(moments[0]), since_2000(moments[1])
    return None
