"""The electricity meter: judges Commands with the library's own acceptance, executes, remembers, answers.

Rules this module keeps:

* Whatever arrives goes through ``gbcs.acceptance``; there is no other way in. The road is not known here.
* Counter and effect are saved in one step, before the Response leaves.
* A refused Command changes nothing but the security log, and is answered by no Response; some refusals raise an Alert.
* A CS01a Command takes its UTRN counter whether or not its code is credited: its Response was made under that counter,
  and a second one under it would repeat a key (DESIGN CHOICE).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.acceptance import Accepted, Reason, Refused, accept_command
from lastmetre.gbcs.axdr import Data, DoubleLong, LongUnsigned, NullData, OctetString
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    AccessResult,
    Action,
    DataNotification,
    Get,
    ItemResult,
    Set,
    Spec,
    encode_access_response,
    encode_data_notification,
)
from lastmetre.gbcs.keys import KeyUse, SharedSecret
from lastmetre.gbcs.protect import CryptoRefused
from lastmetre.gbcs.utrn import Utrn, UtrnRefused, check_utrn, complete_counter
from lastmetre.home import attributes as cosem
from lastmetre.home.attributes import Attribute
from lastmetre.home.state import MeterState, SecurityEvent, decode_state, encode_state
from lastmetre.home.supply import SCRIPTS, Supply, SupplyEvent, after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.counters import CounterState
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.ports import DeviceStore, Tell

SUPPORTED: Final = frozenset(
    {
        0x0007,  # CS01a top up
        0x001C,  # ECS04a adjust balance
        0x003B,  # ECS26a read prepayment configuration
        0x004F,  # ECS42 close the load switch
        0x0050,  # ECS43 open the load switch
        0x0051,  # ECS44 arm the load switch
        0x0052,  # ECS45 read the load switch
        0x0069,  # ECS82 read the balance
        0x00BE,  # ECS26j read the payment mode
        0x00DE,  # ECS08a prepayment configuration
    }
)
"""What this meter executes today. Anything else that is authentic is answered with the 8F85 Alert."""

PENNY: Final = 1_000
"""Thousandths of a penny in a penny."""
_GET, _SET, _ACTION = 1, 2, 3
_OTHER_REASON: Final = 250


class Esme:
    """One electricity meter. ``receive`` takes a GBCS message and returns those it sends in answer."""

    device_type = "ESME"
    supported = SUPPORTED

    def __init__(self, identity: DeviceIdentity, store: DeviceStore, tell: Tell, *, new: MeterState) -> None:
        self._identity = identity
        self._store = store
        self._tell = tell
        saved = store.load()
        self.state = decode_state(saved) if saved is not None else new
        if saved is None:
            store.save(encode_state(new))

    # --- what acceptance asks of a device ---

    @property
    def entity_id(self) -> bytes:
        """The meter's identifier."""
        return self._identity.entity_id

    @property
    def trust_anchors(self) -> Mapping[tuple[Role, KeyUse], Certificate]:
        """The certificates it holds."""
        return self._identity.trust_anchors

    @property
    def counters(self) -> CounterState:
        """What it accepted before."""
        return self.state.counters

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """A secret with another party."""
        return self._identity.agree(public_key)

    # --- what reaches it ---

    def receive(self, data: bytes, now: int) -> list[bytes]:
        """Judge one message; execute it once if it is accepted. ``now`` is UTC, Unix seconds."""
        verdict = accept_command(data, self)
        match verdict:
            case Accepted():
                return self._execute(verdict, now)
            case Refused():
                return self._refuse(verdict, now)

    def customer_enable(self) -> bool:
        """The customer asks for supply, at the meter or at the PPMID (PECS03); whether that switched it on."""
        return self._happen(self.state, SupplyEvent.CUSTOMER_ENABLE) is not None

    def display(self) -> dict[str, str | int]:
        """What the meter's display shows."""
        return {
            "supply": self.state.supply.words,
            "balance": self.state.balance,
            "emergency_credit_limit": self.state.number(cosem.EMERGENCY_CREDIT_LIMIT),
            "disablement_threshold": self.state.number(cosem.DISABLEMENT_THRESHOLD),
        }

    # --- the two ends a Command can come to ---

    def _execute(self, accepted: Accepted, now: int) -> list[bytes]:
        header = accepted.message.header
        request = accepted.payload
        if not isinstance(request, AccessRequest):
            return self._refuse(Refused(Reason.CONTENT_REFUSED, header, "is no access-request"), now)
        before = self.state
        state = before
        results = []
        for spec, value in request.items:
            state, result = self._item(state, spec, value, accepted)
            results.append(result)
        lane = accepted.use_case.lane
        counters = before.counters.with_accepted(accepted.role, lane, header.originator_counter)
        self._keep(replace(state, counters=counters))
        content = encode_access_response(AccessResponse(request.invoke_id, tuple(results)))
        response = self._identity.response(accepted, content, date_time_from_unix(now))
        self._tell(
            "meter_command_accepted",
            device_id=self.entity_id.hex(),
            use_case=accepted.use_case.name,
            originator_counter=header.originator_counter,
            succeeded=all(result.result == AccessResult.SUCCESS for result in results),
        )
        self._tell_changes(before)
        self._tell("meter_answered", device_id=self.entity_id.hex(), message=response.hex())
        return [response]

    def _refuse(self, refused: Refused, now: int) -> list[bytes]:
        event = SecurityEvent(now, refused.reason.name, refused.detail)
        state = self.state.with_security_event(event)
        alerts = []
        if refused.reason.alert_code is not None:
            counter = state.alert_counter + 1
            state = replace(state, alert_counter=counter)
            notification = DataNotification(counter & 0xFFFFFF, refused.reason.alert_code, date_time_from_unix(now))
            alert = self._identity.critical_alert(counter, encode_data_notification(notification))
            if alert is not None:
                alerts.append(alert)
        self._keep(state)
        self._tell(
            "meter_command_refused",
            device_id=self.entity_id.hex(),
            reason=refused.reason.words,
            reason_code=refused.reason.name,
            message_code=refused.header.message_code if refused.header else None,
        )
        for alert in alerts:
            self._tell(
                "meter_alerted",
                device_id=self.entity_id.hex(),
                alert_code=f"{refused.reason.alert_code:04X}",
                message=alert.hex(),
            )
        return alerts

    def _keep(self, state: MeterState) -> None:
        """Save first, then believe it: what was not saved did not happen."""
        self._store.save(encode_state(state))
        self.state = state

    def _tell_changes(self, before: MeterState) -> None:
        device_id = self.entity_id.hex()
        if before.balance != self.state.balance:
            self._tell("balance_changed", device_id=device_id, before=before.balance, after=self.state.balance)
        if before.supply is not self.state.supply:
            self._tell("supply_changed", device_id=device_id, before=before.supply.words, after=self.state.supply.words)

    def _happen(self, state: MeterState, event: SupplyEvent) -> MeterState | None:
        """Let an event that no Command carries happen to the supply."""
        following = after(state.supply, event)
        if following is None:
            return None
        before = self.state
        self._keep(replace(state, supply=following))
        self._tell_changes(before)
        return self.state

    # --- items of an access-request ---

    def _item(self, state: MeterState, spec: Spec, value: Data, accepted: Accepted) -> tuple[MeterState, ItemResult]:
        match spec:
            case Get():
                found = state.read(Attribute(spec.class_id, spec.obis, spec.attribute))
                if found is None:
                    return state, ItemResult(_GET, NullData(), AccessResult.OBJECT_UNDEFINED)
                return state, ItemResult(_GET, found, AccessResult.SUCCESS)
            case Set():
                changed, result = _set(state, Attribute(spec.class_id, spec.obis, spec.attribute), value)
                return changed, ItemResult(_SET, NullData(), result)
            case Action():
                changed, result = self._act(state, Attribute(spec.class_id, spec.obis, spec.method), value, accepted)
                return changed, ItemResult(_ACTION, NullData(), result)
            case _:
                return state, ItemResult(_GET, NullData(), AccessResult.OBJECT_UNDEFINED)

    def _act(self, state: MeterState, method: Attribute, value: Data, accepted: Accepted) -> tuple[MeterState, int]:
        match method, value:
            case cosem.TOKEN_ENTER, OctetString():
                return self._top_up(state, value.value, accepted)
            case cosem.ADJUST_BALANCE, DoubleLong():
                return _with_credit(state, value.value), AccessResult.SUCCESS
            case cosem.SUPPLY_SCRIPT, LongUnsigned():
                event = SCRIPTS.get(value.value)
                following = after(state.supply, event) if event else None
                if following is None:
                    return state, _OTHER_REASON
                return replace(state, supply=following), AccessResult.SUCCESS
            case _:
                return state, AccessResult.OBJECT_UNDEFINED

    def _top_up(self, state: MeterState, digits: bytes, accepted: Accepted) -> tuple[MeterState, int]:
        """Credit a UTRN, or not (gbcs-messages 13.4). The code's own MAC is judged besides the Command's."""
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.PREPAYMENT))
        header = accepted.message.header
        if supplier is None or supplier.entity_id is None:
            return state, _OTHER_REASON
        try:
            utrn = Utrn.parse(digits.decode("ascii", "replace"))
            counter = complete_counter(
                utrn.counter_bits, max(state.counters.utrn_highest, header.originator_counter >> 32)
            )
            check_utrn(
                utrn,
                originator_counter=counter << 32,
                supplier_id=supplier.entity_id,
                device_id=self.entity_id,
                secret=self.agree(supplier.public_key),
            )
            amount = utrn.pence * PENNY
        except (UtrnRefused, CryptoRefused):
            return state, _OTHER_REASON
        if counter << 32 != header.originator_counter:
            return state, _OTHER_REASON
        if amount > state.number(cosem.MAX_CREDIT) or state.balance + amount > state.number(cosem.MAX_BALANCE):
            return state, _OTHER_REASON
        return _with_credit(state, amount), AccessResult.SUCCESS


def _with_credit(state: MeterState, amount: int) -> MeterState:
    """The balance moved by an amount, and what that does to the supply of a prepayment meter."""
    state = replace(state, balance=state.balance + amount)
    if state.read(cosem.PAYMENT_MODE) != cosem.PREPAYMENT:
        return state
    above = state.balance > state.number(cosem.DISABLEMENT_THRESHOLD)
    event = SupplyEvent.CREDIT_RESTORED if above else SupplyEvent.CREDIT_EXHAUSTED
    following: Supply | None = after(state.supply, event)
    return state if following is None else replace(state, supply=following)


def _set(state: MeterState, attribute: Attribute, value: Data) -> tuple[MeterState, int]:
    """Set one attribute; an activation time of "now" makes the passive value active at once."""
    if attribute not in cosem.WRITABLE:
        return state, AccessResult.READ_WRITE_DENIED if state.read(attribute) else AccessResult.OBJECT_UNDEFINED
    if type(value) is not type(state.read(attribute)):
        return state, AccessResult.TYPE_UNMATCHED
    if attribute not in cosem.ACTIVATIONS:
        return state.with_attribute(attribute, value), AccessResult.SUCCESS
    assert isinstance(value, OctetString)
    if value.value == cosem.NEVER:
        return state.with_attribute(attribute, value), AccessResult.SUCCESS
    if value.value != cosem.IMMEDIATELY:
        return state, _OTHER_REASON  # future dating comes with the meter's clock
    passive, actives = cosem.ACTIVATIONS[attribute]
    held = state.read(passive)
    assert held is not None
    for active in actives:
        state = state.with_attribute(active, held)
    return state.with_attribute(attribute, OctetString(cosem.NEVER)), AccessResult.SUCCESS
