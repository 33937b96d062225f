"""The electricity meter: judges Commands with the library's own acceptance, executes, remembers, answers.

Rules this module keeps:

* Whatever arrives goes through ``gbcs.acceptance``; there is no other way in. The road is not known here.
* A Command whose items are not those of its use case, or not in its order where it is critical, is refused whole.
* Counter and effect are saved in one step, before the Response leaves.
* A refused Command changes nothing but the security log, and is answered by no Response; some refusals raise an Alert.
* A CS01a Command takes its UTRN counter whether or not its code is credited: its Response was made under that counter,
  and a second one under it would repeat a key (DESIGN CHOICE).
* Time passes before anything is executed: what fell due first happened first.

What attributes there are is in ``home.objects``; what items do in ``home.items``; what time does in ``home.metering``.
"""

from __future__ import annotations

from dataclasses import replace
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.acceptance import Accepted, Reason, Refused, accept_command
from lastmetre.gbcs.asn1 import Asn1, DeviceType, encode_asn1
from lastmetre.gbcs.axdr import BitString, OctetString, Structure, Unsigned, encode_data
from lastmetre.gbcs.catalogue import Lane, Role, UseCaseKind, catalogue
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, Usage, parse_certificate
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    AccessResult,
    DataNotification,
    encode_access_response,
    encode_data_notification,
)
from lastmetre.gbcs.keys import KeyUse, SharedSecret
from lastmetre.gbcs.message import OtherInformation
from lastmetre.gbcs.protect import CryptoRefused, encrypt_attribute, encryption_key
from lastmetre.gbcs.utrn import Utrn, UtrnRefused, check_utrn, complete_counter
from lastmetre.home import attributes as cosem
from lastmetre.home import code_guard
from lastmetre.home.attributes import Attribute, parse_attribute
from lastmetre.home.calendars import since_2000
from lastmetre.home.controllers import limits_ended
from lastmetre.home.identity import GENERIC_CRITICAL_ALERT
from lastmetre.home.items import Order, execute_items, protection_parameters
from lastmetre.home.load import no_load
from lastmetre.home.metering import BillingUpdated, CameIntoForce, CommandDue, VoltageEvent, live_through
from lastmetre.home.money import PENNY, pay_in, select_emergency_credit
from lastmetre.home.objects.logs import BY_NAME, Line
from lastmetre.home.objects.use_case_items import belongs
from lastmetre.home.own_commands import OwnCommands, generate_key
from lastmetre.home.state import MeterState, SecurityEvent, decode_state, encode_state
from lastmetre.home.supply import SupplyEvent, after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.counters import CounterState
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.load import LoadProfile
    from lastmetre.home.metering import Signal
    from lastmetre.home.ports import DeviceStore, Tell

SUPPORTED: Final = frozenset(
    code
    for code, case in catalogue().items()
    if "ESME" in case.devices and case.kind is UseCaseKind.COMMAND and case.payload in {"DLMS", "ASN.1"}
)
"""What this meter executes: every Command of the catalogue that is for a meter. Others get the ECS100 Alert."""

FUTURE_DATED: Final = 0x00CC
NOT_SUPPORTED: Final = 0x0120
BILLING_LOG: Final = 0x0061
CONTROLLER_LIMITED: Final = 0x0121
CONTROLLER_FREE: Final = 0x0122
OUTAGE_RESTORED: Final = 0x0067
GENERIC_ALERT: Final = 0x1001
"""Message codes of Alerts (gbcs-messages 10.1)."""
_DONE: Final = 0x8F66
_BILLING_UPDATED, _LIMITED, _LIMIT_ENDED = 0x8F0A, 0x8F86, 0x8F87
_CREDIT_ADDED_LOCALLY: Final = 0x810E
_OUTAGE, _LONG_OUTAGE, _LONG_OUTAGE_S = 0x8F35, 0x8F36, 180
"""An outage and one of three minutes or more (the published ECS80 has the second for nine minutes; else INFERENCE)."""
_BY_WAN, _LOG = 11, 14
"""Event behaviours: numbers of their objects (ECS25a, ECS25a3)."""
UNSENT_MAX: Final = 32
"""Non-critical Alerts kept until the next tick; a restart loses them (DESIGN CHOICE)."""
_UNEXPECTED: Final = 0x8F60
"""Security log code of a refusal that has no Alert code of its own (INFERENCE)."""
_NOT_AUTHENTIC, _OTHER_DEVICE, _ABOVE_MAXIMUM, _ABOVE_BALANCE = 0x8F63, 0x8F64, 0x8F5B, 0x8F47
_OTHER_REASON: Final = 250
_LIMIT_CONTROLLER: Final = 0x011F
_CLOCK_NEVER_SET: Final = 0x01


class Esme:
    """One electricity meter. ``receive`` takes a GBCS message and returns those it sends in answer.

    ``load`` is what flows through it. ``faults`` is for test benches: which item of the next Commands fails, and how.
    """

    device_type = "ESME"
    own_kind = DeviceType.ESME
    supported = SUPPORTED

    def __init__(
        self,
        identity: DeviceIdentity,
        store: DeviceStore,
        tell: Tell,
        *,
        new: MeterState,
        load: LoadProfile = no_load,
        faults: Mapping[int, int] | None = None,
        new_key: Callable[[], ec.EllipticCurvePrivateKey] = generate_key,
    ) -> None:
        self._made_with = identity
        self._store = store
        self._tell = tell
        self._load = load
        self._faults = faults or {}
        self._own = OwnCommands(identity, self.own_kind, new_key, self._faults)
        self._unsent: list[bytes] = []
        saved = store.load()
        self.state = decode_state(saved) if saved is not None else new
        if saved is None:
            store.save(encode_state(new))

    # --- what acceptance asks of a device ---

    @property
    def entity_id(self) -> bytes:
        """The meter's identifier."""
        return self._made_with.entity_id

    @property
    def trust_anchors(self) -> Mapping[tuple[Role, KeyUse], Certificate]:
        """The certificates it holds now."""
        return self._own.anchors(self.state)

    @property
    def counters(self) -> CounterState:
        """What it accepted before."""
        return self.state.counters

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """A secret with another party."""
        return self._identity.agree(public_key)

    @property
    def _identity(self) -> DeviceIdentity:
        """The keys of now."""
        return self._own.identity(self.state)

    # --- what reaches it ---

    def receive(self, data: bytes, now: int) -> list[bytes]:
        """Judge one message; execute it once if it is accepted. ``now`` is UTC, Unix seconds."""
        if self.state.dark_since:
            return []
        fallen_due = self.tick(now)
        verdict = accept_command(data, self)
        if isinstance(verdict, Accepted):
            verdict = self._check_content(verdict)
        match verdict:
            case Accepted():
                return fallen_due + self._execute(verdict, now)
            case Refused():
                return fallen_due + self._refuse(verdict, now)

    def tick(self, now: int) -> list[bytes]:
        """Let time pass until ``now``; the Alerts for what fell due. Saved if there are any, else with what follows."""
        before = self.state
        if before.dark_since:
            return []
        state, signals = live_through(before, now + before.clock.offset_s, self._load)
        alerts, self._unsent = self._unsent, []
        for signal in signals:
            state, alert = self._answer_signal(state, signal)
            alerts += [alert] if alert else []
        state, ended = self._limits_ended(before, state)
        alerts += ended
        if signals or ended:
            self._keep(state)
        else:
            self.state = state
        self._tell_changes(before)
        for alert in alerts:
            self._tell("meter_alerted", device_id=self.entity_id.hex(), alert_code=None, message=alert.hex())
        return alerts

    def save(self) -> None:
        """Keep what time has changed, before the process ends."""
        self._keep(self.state)

    def power_lost(self, now: int) -> None:
        """The mains are gone: nothing flows, nothing is answered."""
        self.tick(now)
        if not self.state.dark_since:
            self._keep(replace(self.state, dark_since=self.state.updated_at))

    def power_restored(self, now: int) -> list[bytes]:
        """The mains are back: the outage is logged, and told with its two ends (ECS80)."""
        state = self.state
        if not state.dark_since:
            return []
        start, end = state.dark_since, now + state.clock.offset_s
        # The registers stand still, but the time that passed counts for charges and logs.
        state, signals = live_through(replace(state, dark_since=0), end, no_load)
        alerts = []
        for signal in signals:
            state, alert = self._answer_signal(state, signal)
            alerts += [alert] if alert else []
        code = _LONG_OUTAGE if end - start >= _LONG_OUTAGE_S else _OUTAGE
        state = state.with_line("power_events", (since_2000(end), code, max(0, end - start)))
        times = (OctetString(date_time_from_unix(start)), OctetString(date_time_from_unix(end)))
        state, alert = self._alert(state, code, *times, other=OtherInformation(OUTAGE_RESTORED), at=end)
        self._keep(state)
        return [*alerts, alert] if alert else alerts

    def _event(self, state: MeterState, code: int, at: int, role: Role = Role.SUPPLIER) -> MeterState:
        """A non-critical event: logged, and told with the next tick, as its behaviours say (ECS25a, ECS25b)."""
        channel = 30 if role is Role.SUPPLIER else 33
        if _behaves(state, channel, _LOG, code):
            state = self._note(state, code, at)
        if _behaves(state, channel, _BY_WAN, code):
            counter = state.alert_counter + 1
            notification = DataNotification(counter & 0xFFFFFF, code, date_time_from_unix(at))
            content = encode_data_notification(notification)
            alert = self._identity.mac_alert(counter, GENERIC_ALERT, role, content)
            if alert is not None:
                self._unsent = [*self._unsent, alert][-UNSENT_MAX:]
                state = replace(state, alert_counter=counter)
        return state

    def _limits_ended(self, before: MeterState, state: MeterState) -> tuple[MeterState, list[bytes]]:
        """ECS102: a load controller's limit ended, or something else was commanded meanwhile."""
        state, ended = limits_ended(before, state)
        alerts: list[bytes] = []
        for controller, level, at in ended:
            extra = Unsigned(controller), Unsigned(level)
            state, alert = self._alert(state, _LIMIT_ENDED, *extra, other=OtherInformation(CONTROLLER_FREE), at=at)
            alerts += [alert] if alert else []
        return state, alerts

    def customer_pin(self, pin: bytes) -> None:
        """The customer hides the balance behind a PIN of four digits; ECS14 takes it away, empty does too."""
        self._become(self.state.with_attribute(cosem.PRIVACY_PIN, OctetString(pin[:4])))

    def customer_enable(self) -> bool:
        """The customer asks for supply, at the meter or at the PPMID (PECS03); whether that switched it on."""
        following = after(self.state.supply, SupplyEvent.CUSTOMER_ENABLE)
        return following is not None and self._become(replace(self.state, supply=following))

    def customer_emergency_credit(self) -> bool:
        """The customer asks for emergency credit, at the meter or at the PPMID (PECS02); whether it is active now."""
        selected = select_emergency_credit(self.state, self.state.updated_at)
        return selected is not None and self._become(selected)

    def customer_top_up(self, digits: str) -> bool:
        """The customer types in a code, at the meter or at the PPMID (PECS01); whether it was credited.

        A code that is not authentic, or whose counter was used, is noted and changes nothing else (reference: han 2.5).
        """
        state = self.state
        if code_guard.is_suspended(state, state.updated_at):
            self._become(self._event(state, code_guard.REJECTED, state.updated_at))
            return False
        code = self._read_code(digits.encode("ascii", "replace"), 0)
        if code is None or state.counters.refuses_utrn(code[0]):
            state, suspended = code_guard.wrong(self._note(state, _NOT_AUTHENTIC, state.updated_at), state.updated_at)
            self._become(self._event(state, code_guard.SUSPENDED, state.updated_at) if suspended else state)
            return False
        state = code_guard.right(replace(state, counters=state.counters.with_utrn(code[0])))
        state, result = self._credit(state, code[1])
        if result == AccessResult.SUCCESS:
            state = self._event(state, _CREDIT_ADDED_LOCALLY, state.updated_at)
        self._become(state)
        return result == AccessResult.SUCCESS

    def display(self, pin: bytes = b"") -> dict[str, str | int]:
        """What the meter's display shows; the balance only to who knows the privacy PIN, where one is set."""
        held = self.state.read(cosem.PRIVACY_PIN)
        hidden = isinstance(held, OctetString) and bool(held.value) and not compare_digest(held.value, pin)
        shown = {} if hidden else {"balance": self.state.balance}
        texts = {"message": cosem.MESSAGE, "supplier": cosem.SUPPLIER_NAME, "telephone": cosem.SUPPLIER_PHONE}
        return {
            "supply": self.state.supply.words,
            **shown,
            **{name: _text(self.state, attribute) for name, attribute in texts.items()},
            "emergency_credit_limit": self.state.number(cosem.EMERGENCY_CREDIT_LIMIT),
            "disablement_threshold": self.state.number(cosem.DISABLEMENT_THRESHOLD),
        }

    # --- the two ends a Command can come to ---

    def _check_content(self, accepted: Accepted) -> Accepted | Refused:
        """Whether the content is this use case's, item by item; gbcs.acceptance knows only whether it can be read."""
        header, case = accepted.message.header, accepted.use_case
        match accepted.payload:
            case AccessRequest() as request:
                specs = [spec for spec, _value in request.items]
                fine = belongs(case.name, specs, in_order=case.critical)
                # A code said twice in one Command would be credited twice.
                fine = fine and (case.lane is not Lane.TOP_UP or len(specs) == 1)
            case Asn1(value=command):
                fine = self._own.belongs(accepted, command)
            case _:
                fine = False
        return accepted if fine else Refused(Reason.CONTENT_REFUSED, header, f"is not the content of {case.name}")

    def _execute(self, accepted: Accepted, now: int) -> list[bytes]:
        header = accepted.message.header
        before = self.state
        own_counter = None
        if header.other_information.supplementary_certificate is not None:
            own_counter = before.alert_counter + 1
        state = before if own_counter is None else replace(before, alert_counter=own_counter)
        # The counter first: an update of credentials may set it anew.
        lane = accepted.use_case.lane
        state = replace(state, counters=state.counters.with_accepted(accepted.role, lane, header.originator_counter))
        alerts: list[bytes] = []
        if isinstance(accepted.payload, AccessRequest):
            state, results = execute_items(state, accepted.payload, self._order(accepted, now, own_counter))
            content = encode_access_response(AccessResponse(accepted.payload.invoke_id, results))
            succeeded = all(result.result == AccessResult.SUCCESS for result in results)
            if header.message_code == _LIMIT_CONTROLLER and succeeded:
                state, alerts = self._limited(state, accepted.payload, state.updated_at)
        else:
            assert isinstance(accepted.payload, Asn1)
            state, answer, succeeded, event = self._own.execute(
                state, accepted, accepted.payload.value, state.updated_at, clock_set=_is_clock_set(state)
            )
            state = state if event is None else self._note(state, event, state.updated_at)
            content = encode_asn1(Asn1(answer))
        anchors = self.trust_anchors
        identity = self._identity
        state, ended = self._limits_ended(before, state)
        alerts += ended
        self._keep(state)
        when = date_time_from_unix(self.state.updated_at)
        response = identity.response(accepted, content, when, own_counter=own_counter, trust_anchors=anchors)
        self._tell(
            "meter_command_accepted",
            device_id=self.entity_id.hex(),
            use_case=accepted.use_case.name,
            originator_counter=header.originator_counter,
            succeeded=succeeded,
        )
        self._tell_changes(before)
        self._tell("meter_answered", device_id=self.entity_id.hex(), message=response.hex())
        return [response, *alerts]

    def _refuse(self, refused: Refused, now: int) -> list[bytes]:
        code = refused.reason.alert_code
        state = self.state.with_security_event(SecurityEvent(now, refused.reason.name, refused.detail))
        state = state.with_line("security", (since_2000(state.updated_at), code or _UNEXPECTED))
        alerts: list[bytes] = []
        if code is not None:
            if refused.reason is Reason.NOT_SUPPORTED and refused.header is not None:
                state, alert = self._not_supported(state, refused)
            else:
                state, alert = self._alert(state, code)
            alerts += [alert] if alert else []
        self._keep(state)
        self._tell(
            "meter_command_refused",
            device_id=self.entity_id.hex(),
            reason=refused.reason.words,
            reason_code=refused.reason.name,
            message_code=refused.header.message_code if refused.header else None,
        )
        for alert in alerts:
            self._tell("meter_alerted", device_id=self.entity_id.hex(), alert_code=f"{code:04X}", message=alert.hex())
        return alerts

    def _keep(self, state: MeterState) -> None:
        """Save first, then believe it: what was not saved did not happen."""
        self._store.save(encode_state(state))
        self.state = state

    def _become(self, state: MeterState) -> bool:
        before = self.state
        self._keep(state)
        self._tell_changes(before)
        return True

    def _tell_changes(self, before: MeterState) -> None:
        device_id = self.entity_id.hex()
        if before.balance != self.state.balance:
            self._tell("balance_changed", device_id=device_id, before=before.balance, after=self.state.balance)
        if before.supply is not self.state.supply:
            self._tell("supply_changed", device_id=device_id, before=before.supply.words, after=self.state.supply.words)

    # --- Alerts ---

    def _alert(
        self, state: MeterState, code: int, *extra: Data, other: OtherInformation | None = None,
        target_id: bytes | None = None, at: int | None = None,
    ) -> tuple[MeterState, bytes | None]:  # fmt: skip
        """A signed Alert under a new counter of the meter's own; to the supplier unless said otherwise."""
        target = target_id or self._supplier_id()
        if target is None:
            return state, None
        counter = state.alert_counter + 1
        when = date_time_from_unix(state.updated_at if at is None else at)
        content = encode_data_notification(DataNotification(counter & 0xFFFFFF, code, when, extra))
        other = other or OtherInformation(GENERIC_CRITICAL_ALERT)
        return replace(state, alert_counter=counter), self._identity.signed_alert(counter, target, other, content)

    def _supplier_id(self) -> bytes | None:
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.DIGITAL_SIGNATURE))
        return supplier.entity_id if supplier is not None else None

    def _not_supported(self, state: MeterState, refused: Refused) -> tuple[MeterState, bytes | None]:
        """ECS100: names the Command, to whoever sent it (section 12.3 step 3)."""
        header = refused.header
        assert header is not None
        assert refused.reason.alert_code is not None
        named = header.message_code.to_bytes(2, "big") + header.originator_counter.to_bytes(8, "big")
        asked = header.other_information
        other = OtherInformation(
            NOT_SUPPORTED, asked.supplementary_remote_party_id, asked.supplementary_remote_party_counter
        )
        return self._alert(
            state, refused.reason.alert_code, OctetString(named), other=other, target_id=header.business_originator_id
        )

    def _answer_signal(self, state: MeterState, signal: Signal) -> tuple[MeterState, bytes | None]:
        match signal:
            case CameIntoForce(pending=pending):
                attribute = pending.attribute
                named = (
                    pending.message_code.to_bytes(2, "big")
                    + pending.counter.to_bytes(8, "big")
                    + attribute.class_id.to_bytes(2, "big")
                    + attribute.obis.raw
                    + bytes((attribute.number,))
                )
                state = self._note(state, _DONE, pending.at)
                return self._alert(
                    state, _DONE, OctetString(named), other=OtherInformation(FUTURE_DATED),
                    target_id=pending.originator_id, at=pending.at,
                )  # fmt: skip
            case BillingUpdated(line=line, at=at):
                return self._billing_alert(self._note(state, _BILLING_UPDATED, at), line, at)
            case VoltageEvent(code=code, at=at):
                return self._event(state, code, at, Role.NETWORK_OPERATOR), None
            case CommandDue(command=command):
                state, due_alert, code = self._own.execute_due(state, command, clock_set=_is_clock_set(state))
                return self._note(state, code, command.at), due_alert

    @staticmethod
    def _note(state: MeterState, code: int, at: int) -> MeterState:
        return state.with_line("events", (since_2000(at), code, b""))

    def _billing_alert(self, state: MeterState, line: Line, at: int) -> tuple[MeterState, bytes | None]:
        """ECS68: the new line, encrypted for the supplier under the Alert's own counter."""
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.KEY_AGREEMENT))
        if supplier is None or supplier.entity_id is None:
            return state, None
        counter = state.alert_counter + 1
        log = BY_NAME["billing"].as_data([line], twin=state.twin)
        key = encryption_key(
            self.agree(supplier.public_key), device_id=self.entity_id, counter=counter, recipient_id=supplier.entity_id
        )
        wire = encrypt_attribute(encode_data(Structure((log,))), key, self.entity_id)
        parameters = protection_parameters(self.entity_id, supplier.entity_id, counter)
        other = OtherInformation(BILLING_LOG)
        return self._alert(state, _BILLING_UPDATED, parameters, OctetString(wire), other=other, at=at)

    def _limited(self, state: MeterState, request: AccessRequest, at: int) -> tuple[MeterState, list[bytes]]:
        """ECS101: a load controller limited an auxiliary controller; told to the supplier."""
        values = [getattr(value, "value", None) for _spec, value in request.items]
        if len(values) != 3 or not isinstance(values[2], int):
            return state, []
        selector = values[2]
        extra = (
            Unsigned((selector >> 8) & 0xFF),
            OctetString(values[0] if isinstance(values[0], bytes) else cosem.NEVER),
            OctetString(values[1] if isinstance(values[1], bytes) else cosem.NEVER),
            Unsigned(selector & 0xFF),
        )
        state, alert = self._alert(state, _LIMITED, *extra, other=OtherInformation(CONTROLLER_LIMITED), at=at)
        return state, [alert] if alert else []

    # --- DLMS ---

    def _order(self, accepted: Accepted, now: int, own_counter: int | None) -> Order:
        return Order(
            header=accepted.message.header,
            now=self.state.updated_at,
            hub_now=now,
            device_id=self.entity_id,
            encrypt=lambda plain: self._encrypt(plain, accepted, own_counter),
            top_up=lambda state, digits: self._top_up(state, digits, accepted),
            faults=self._faults,
        )

    def _encrypt(self, plain: bytes, accepted: Accepted, own_counter: int | None) -> bytes | None:
        """Seal data for the party that asked, known or not (gbcs-messages 11.3); ``None`` when it has no key here."""
        header = accepted.message.header
        other = header.other_information
        party_id, counter = header.business_originator_id, header.originator_counter
        anchors = self.trust_anchors
        certificate = anchors.get((accepted.role, KeyUse.KEY_AGREEMENT))
        if other.supplementary_remote_party_id is not None:
            party_id = other.supplementary_remote_party_id
            held = (each for (_role, use), each in anchors.items() if use is KeyUse.KEY_AGREEMENT)
            certificate = next((each for each in held if each.entity_id == party_id), None)
        if other.supplementary_certificate is not None and own_counter is not None:
            counter = own_counter
            certificate = _party_certificate(other.supplementary_certificate, party_id)
        if certificate is None:
            return None
        key = encryption_key(
            self.agree(certificate.public_key), device_id=self.entity_id, counter=counter, recipient_id=party_id
        )
        return encrypt_attribute(plain, key, self.entity_id)

    def _top_up(self, state: MeterState, digits: bytes, accepted: Accepted) -> tuple[MeterState, int]:
        """Credit the UTRN of a Command, or not: it must be of the Command's own counter, too."""
        counter = accepted.message.header.originator_counter
        code = self._read_code(digits, counter >> 32)
        if code is None or code[0] << 32 != counter:
            return self._note(state, _NOT_AUTHENTIC, state.updated_at), _OTHER_REASON
        return self._credit(state, code[1])

    def _read_code(self, digits: bytes, counter: int) -> tuple[int, int] | None:
        """The UTRN counter and the amount of a code (gbcs-messages 13.4); ``None`` if it is not authentic.

        ``counter`` and the highest of the cache say which counter its few bits mean. The state's own cache is asked: of
        a Command being executed, the counter is in the new state already.
        """
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.PREPAYMENT))
        if supplier is None or supplier.entity_id is None:
            return None
        try:
            utrn = Utrn.parse(digits.decode("ascii", "replace"))
            utrn_counter = complete_counter(utrn.counter_bits, max(self.state.counters.utrn_highest, counter))
            check_utrn(
                utrn,
                originator_counter=utrn_counter << 32,
                supplier_id=supplier.entity_id,
                device_id=self.entity_id,
                secret=self.agree(supplier.public_key),
            )
        except (UtrnRefused, CryptoRefused):
            return None
        return utrn_counter, utrn.pence * PENNY

    def _credit(self, state: MeterState, amount: int) -> tuple[MeterState, int]:
        """Pay in what an authentic code is worth, if that stays within what the meter may hold."""
        if amount > state.number(cosem.MAX_CREDIT):
            return self._note(state, _ABOVE_MAXIMUM, state.updated_at), _OTHER_REASON
        if state.balance + amount > state.number(cosem.MAX_BALANCE):
            return self._note(state, _ABOVE_BALANCE, state.updated_at), _OTHER_REASON
        return pay_in(state, amount, state.updated_at), AccessResult.SUCCESS


def _behaves(state: MeterState, channel: int, number: int, code: int) -> bool:
    """Whether an event's bit is set in a behaviour: the bit of its code's low octet, the last one being 0 (B10)."""
    held = state.read(parse_attribute(f"1/0-{channel}:97.98.{number + 4}#2"))
    return isinstance(held, BitString) and bool(int.from_bytes(held.value, "big") >> (code & 0xFF) & 1)


def _text(state: MeterState, attribute: Attribute) -> str:
    held = state.read(attribute)
    return held.value.decode("utf-8", "replace") if isinstance(held, OctetString) else ""


def _is_clock_set(state: MeterState) -> bool:
    return not state.clock.status & _CLOCK_NEVER_SET


def _party_certificate(der: bytes, party_id: bytes) -> Certificate | None:
    """The key agreement certificate that came with a Command, if it is that party's.

    The Command's own MAC vouches for it: the access control broker puts it there.
    """
    try:
        certificate = parse_certificate(der)
    except CertificateRefused:
        return None
    fits = certificate.usage is Usage.KEY_AGREEMENT and certificate.entity_id == party_id
    return certificate if fits else None
