"""The gas meter: judges Commands with the library's own acceptance, executes, remembers, answers.

Rules this module keeps:

* Whatever arrives goes through ``gbcs.acceptance``; there is no other way in. The road is not known here.
* Counter and effect are saved in one step, before the Response leaves.
* A Command whose parts are not those of its use case is refused whole.
* A refused Command changes nothing but the security log, and is answered by no Response; some refusals raise an Alert.
* A CS01b Command takes its UTRN counter whether or not its code is credited, as at the electricity meter. A code typed
  in at the PPMID (PCS01) takes its counter when it is credited: its Response is under the PPMID's own counter.
* A Command for later is tried on the state as it is now (its answers say whether it would work), kept, and executed
  when its time comes; each part of it that bears a time raises an Alert then. A newer one with the same message code
  takes its place (DESIGN CHOICE).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from lastmetre.gbcs.acceptance import (
    Accepted,
    AcceptedFromPartner,
    Reason,
    Refused,
    accept_command,
    accept_from_partner,
)
from lastmetre.gbcs.asn1 import Asn1, ClockResponse, DeviceType, SetClock, encode_asn1
from lastmetre.gbcs.catalogue import Role, UseCaseKind, catalogue
from lastmetre.gbcs.certificates import parse_certificate
from lastmetre.gbcs.datetimes import (
    date_time_from_unix,
    generalized_from_unix,
    unix_from_generalized,
    unix_from_zigbee,
    zigbee_from_unix,
)
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsError
from lastmetre.gbcs.gbz import (
    CODE_BILLING_LOG,
    CODE_FUTURE_DATED,
    Component,
    EncryptedZcl,
    FutureDatedZcl,
    Gbz,
    GbzAlert,
    encode_gbz,
    encode_gbz_alert,
)
from lastmetre.gbcs.keys import KeyUse, SharedSecret
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, read_header
from lastmetre.gbcs.protect import CryptoRefused, encrypt_attribute, encryption_key, seal, signed_df, unsigned_df
from lastmetre.gbcs.utrn import Utrn, UtrnRefused, check_utrn, complete_counter
from lastmetre.gbcs.zcl import DefaultResponse, ZclCommand, encode_zcl
from lastmetre.han import Reported
from lastmetre.home import code_guard
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import history, money
from lastmetre.home.gas.components import (
    FAILURE,
    FROM_SERVER,
    NEW_BEHAVIOURS,
    QUIET,
    Context,
    execute,
    payment_mode_response,
    plaintext_of,
)
from lastmetre.home.gas.state import EVENT_LOG, SECURITY_LOG, GasState, Pending, decode_state, encode_state
from lastmetre.home.gas.use_case_parts import belongs
from lastmetre.home.own_commands import OwnCommands, generate_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.counters import CounterState
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.ports import DeviceStore, Tell

SUPPORTED: Final = frozenset(
    code
    for code, case in catalogue().items()
    if "GSME" in case.devices and case.kind is UseCaseKind.COMMAND and case.payload in {"GBZ", "ASN.1"}
)
"""What this meter executes: every Command of the catalogue that is for a gas meter. Others get the 8F85 Alert."""
FUTURE_DATABLE: Final = frozenset({0x006B, 0x006C, 0x006D, 0x006F, 0x00A3})
"""Codes with 00CD Alerts in the published messages (gbcs-messages 10.3)."""
ENCRYPTED: Final = frozenset(
    {
        *((code, zcl.METERING) for code in (0x0074, 0x0076, 0x0077, 0x0078, 0x0079, 0x00A0, 0x00B6, 0x00B8, 0x00C3)),
        *((code, zcl.PREPAYMENT) for code in (0x0075, 0x0076, 0x0096, 0x00C3, 0x00C4)),
    }
)
"""Use case and cluster of the answers that are encrypted for their reader (gbcs-messages 11.4)."""
CANCELLED: Final = frozenset({0xFFFFFFFF, 0xFFFFFFFE})
ACTIONED, NOT_ACTIONED = 0x8154, 0x8155
EXECUTED, EXECUTION_FAILED = 0x8F66, 0x8F67
GENERIC_CRITICAL_ALERT: Final = 0x1000
COUNTER_OF_COMMAND: Final = frozenset({0x00A0, 0x00C4})
"""Codes whose secret answers to an unknown party are under the Command's own counter (gbcs-messages 11.3, 17.2)."""
GENERIC_ALERT: Final = 0x1001
LOG_ACTION, PUSH_BY_WAN = 0x07, 0x08
CLOCK_NEVER_SET: Final = 0x01
CLOCK_DOUBTFUL: Final = 0x02
"""Clock status, and the result of GCS28, for a time that could not be set."""
TELLS_CLOCK: Final = frozenset({0x0074, 0x0075, 0x00B6, 0x00B8, 0x012A})
"""Codes whose Responses carry the clock's status; others leave it unsaid (gbcs-messages 3.5)."""
BILLING_UPDATED: Final = 0x8F0A
PENNY: Final = 1_000
"""Thousandths of a penny in a penny."""


class Gsme:
    """One gas meter. ``receive`` takes a GBCS message and returns those it sends in answer."""

    device_type = "GSME"
    own_kind = DeviceType.GSME
    supported = SUPPORTED

    def __init__(
        self,
        identity: DeviceIdentity,
        store: DeviceStore,
        tell: Tell,
        *,
        new: GasState,
        partners: Mapping[bytes, Certificate] | None = None,
        faults: Mapping[int, int] | None = None,
        new_key: Callable[[], ec.EllipticCurvePrivateKey] = generate_key,
    ) -> None:
        self._made_with = identity
        self._store = store
        self._tell = tell
        self._faults = faults or {}
        self._own = OwnCommands(identity, self.own_kind, new_key, self._faults, dict(partners or {}))
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
    def partners(self) -> Mapping[bytes, Certificate]:
        """The devices it is joined with by method C, with their key agreement certificates."""
        return self._own.partners_of(self.state)

    @property
    def _identity(self) -> DeviceIdentity:
        """The keys of now."""
        return self._own.identity(self.state)

    @property
    def counters(self) -> CounterState:
        """What it accepted before."""
        return self.state.counters

    def partner_counter(self, partner_id: bytes) -> int:
        """The highest counter accepted from a device it was joined with."""
        return self.state.partner_counters.get(partner_id, 0)

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """A secret with another party."""
        return self._identity.agree(public_key)

    # --- what reaches it ---

    def receive(self, data: bytes, now: int) -> list[bytes]:
        """Judge one message; execute it once if it is accepted. ``now`` is UTC, Unix seconds, of the hub's clock."""
        verdict = accept_from_partner(data, self) if self._is_from_partner(data) else accept_command(data, self)
        if not isinstance(verdict, Refused) and not self._is_content(verdict):
            words = f"is not the content of {verdict.use_case.name}"
            verdict = Refused(Reason.CONTENT_REFUSED, verdict.message.header, words)
        match verdict:
            case Accepted() | AcceptedFromPartner():
                return self._execute(verdict, now)
            case Refused():
                return self._refuse(verdict, now)
            case _:
                assert_never(verdict)

    def _is_content(self, verdict: Accepted | AcceptedFromPartner) -> bool:
        """Whether the content is this use case's; gbcs.acceptance knows only whether it can be read."""
        payload = verdict.payload
        if isinstance(payload, Gbz):
            return belongs(verdict.message.header.message_code, payload)
        return isinstance(verdict, Accepted) and isinstance(payload, Asn1) and self._own.belongs(verdict, payload.value)

    def tick(self, now: int) -> list[bytes]:
        """Execute what is due and take the charges of the days that ended; Alerts come out."""
        newest = max((_id_of(pair) for pair in self.state.snapshots), default=0)
        state = money.accrue(self.state, self.clock(now))
        alerts: list[bytes] = []
        for pair in state.snapshots:
            if _id_of(pair) > newest and pair[0]["cause"] == history.BILLING:
                state, more = self._billed(state, pair[0])
                alerts += more
        for command in state.pending_commands:
            if command.at <= self.clock(now):
                rest = tuple(each for each in state.pending_commands if each is not command)
                state, alert, code = self._own.execute_due(
                    replace(state, pending_commands=rest), command, clock_set=self._is_clock_set(state)
                )
                state = state.noting(EVENT_LOG, code, command.at)
                alerts.append(alert)
        for pending in sorted(state.pending, key=lambda entry: entry.at):
            if pending.at <= self.clock(now):
                state, more = self._due(state, pending, now)
                alerts += more
        if state != self.state:
            before = self.state
            self._keep(state)
            self._tell_changes(before)
        return alerts

    def _billed(self, state: GasState, snapshot: ZclCommand) -> tuple[GasState, list[bytes]]:
        """GCS53: the newest entry of the billing data log, encrypted for the supplier under the Alert's own counter."""
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.KEY_AGREEMENT))
        time = snapshot["time"]
        if supplier is None or supplier.entity_id is None or not isinstance(time, int):
            return state, []
        counter = state.alert_counter + 1
        state = replace(state, alert_counter=counter).noting(EVENT_LOG, BILLING_UPDATED, unix_from_zigbee(time))
        key = encryption_key(
            self.agree(supplier.public_key), device_id=self.entity_id, counter=counter, recipient_id=supplier.entity_id
        )
        wire = encrypt_attribute(encode_zcl(snapshot), key, self.entity_id)
        body = EncryptedZcl.from_wire(snapshot.command_id, 0, wire)
        entry = Component(snapshot.cluster, FROM_SERVER | QUIET | 0x01, 0, body)
        return state, self._alert(counter, CODE_BILLING_LOG, encode_gbz_alert(GbzAlert(BILLING_UPDATED, time, entry)))

    @staticmethod
    def _is_clock_set(state: GasState) -> bool:
        return not state.clock_status & CLOCK_NEVER_SET

    def clock(self, now: int) -> int:
        """The meter's own time."""
        return now + self.state.clock_offset_s

    # --- what the customer does and sees ---

    def customer_open(self, now: int) -> bool:
        """The customer opens the valve at the meter; whether it opened."""
        following = money.after(self.state.valve, money.ValveEvent.CUSTOMER_OPEN)
        return following is not None and self._happen(replace(self.state, valve=following), now)

    def customer_emergency_credit(self, now: int) -> bool:
        """The customer takes the emergency credit at the meter."""
        following = money.take_emergency_credit(self.state, self.clock(now))
        return following is not None and self._happen(following, now)

    def consume(self, litres: int, now: int) -> None:
        """Gas flows through the meter, if the valve lets it."""
        self._happen(money.consume(self.state, litres, self.clock(now)), now)

    def display(self) -> dict[str, str | int]:
        """What the meter's display shows."""
        return {
            "supply": self.state.valve.words,
            "mode": "prepayment" if self.state.is_prepayment else "credit",
            "balance": self.state.number(zcl.CREDIT),
            "emergency_credit": self.state.emergency_remaining,
            "volume_litres": self.state.number(zcl.SUMMATION),
        }

    def reports(self) -> tuple[Reported, ...]:
        """What it tells its mirror at every wake."""
        return (
            Reported(zcl.SUMMATION[1], zcl.U48, self.state.number(zcl.SUMMATION)),
            Reported(zcl.SUPPLY_STATUS[1], zcl.ENUM8, self.state.valve.status),
        )

    def _happen(self, state: GasState, _now: int) -> bool:
        before = self.state
        if state != before:
            self._keep(state)
            self._tell_changes(before)
        return True

    def _is_from_partner(self, data: bytes) -> bool:
        try:
            return read_header(data).business_originator_id in self.partners
        except GbcsDecodeError:
            return False

    # --- the two ends a Command can come to ---

    def _execute(self, accepted: Accepted | AcceptedFromPartner, now: int) -> list[bytes]:
        before = self.state
        header = accepted.message.header
        if isinstance(accepted, Accepted):
            identity, anchors, own_counter = self._identity, self.trust_anchors, self._own_counter(header)
            # The counter first: an update of credentials may set it anew.
            counters = before.counters.with_accepted(accepted.role, accepted.use_case.lane, header.originator_counter)
            state = replace(before, counters=counters, alert_counter=own_counter or before.alert_counter)
            state, content, succeeded = self._do(state, accepted, now)
            when = date_time_from_unix(self.clock(now))
            if header.message_code in TELLS_CLOCK:
                when = when[:-1] + bytes((before.clock_status,))
            response = identity.response(accepted, content, when, own_counter=own_counter, trust_anchors=anchors)
        else:
            state, content, succeeded = self._do(before, accepted, now)
            marks = {**state.partner_counters, accepted.partner_id: header.originator_counter}
            code = header.message_code.to_bytes(2, "big")
            state = replace(state, partner_counters=marks).noting(
                EVENT_LOG, ACTIONED if succeeded else NOT_ACTIONED, self.clock(now), code
            )
            partner = self.partners[accepted.partner_id]
            response = seal(unsigned_df(_answer_to(header), content), self.agree(partner.public_key))
        self._keep(state)
        self._tell(
            "meter_command_accepted",
            device_id=self.entity_id.hex(),
            use_case=accepted.use_case.name,
            originator_counter=header.originator_counter,
            succeeded=succeeded,
        )
        self._tell_changes(before)
        self._tell("meter_answered", device_id=self.entity_id.hex(), message=response.hex())
        unsent, self._unsent = self._unsent, []
        return [response, *unsent]

    def _event(self, state: GasState, code: int, at: int) -> GasState:
        """A non-critical event: logged and told as its behaviour says (GCS20; bits as in Smart Energy: INFERENCE)."""
        behaviour = {**NEW_BEHAVIOURS, **state.behaviours}.get(code, 0)
        if behaviour & LOG_ACTION == EVENT_LOG:
            state = state.noting(EVENT_LOG, code, at)
        return self._pushed(state, code, at, behaviour)

    def _pushed(self, state: GasState, code: int, at: int, behaviour: int) -> GasState:
        if not behaviour & PUSH_BY_WAN:
            return state
        counter = state.alert_counter + 1
        content = encode_gbz_alert(GbzAlert(code, zigbee_from_unix(at)))
        alert = self._identity.mac_alert(counter, GENERIC_ALERT, Role.SUPPLIER, content)
        self._unsent += [] if alert is None else [alert]
        return replace(state, alert_counter=counter)

    def _own_counter(self, header: GroupingHeader) -> int | None:
        """A counter of the meter's own, for data encrypted to a party whose certificate came along (11.3)."""
        code, other = header.message_code, header.other_information
        if other.supplementary_certificate is None or code in COUNTER_OF_COMMAND:
            return None
        return self.state.alert_counter + 1

    def _do(self, state: GasState, accepted: Accepted | AcceptedFromPartner, now: int) -> tuple[GasState, bytes, bool]:
        """The state after a Command, the content of its Response, and whether all of it succeeded."""
        header, payload = accepted.message.header, accepted.payload
        if isinstance(payload, Asn1) and isinstance(payload.value, SetClock):
            return self._set_clock(state, payload.value, now)
        if isinstance(payload, Asn1) and isinstance(accepted, Accepted):
            return self._do_own(state, accepted, payload.value, now)
        if not isinstance(payload, Gbz):  # the catalogue promises one or the other for every supported code
            raise TypeError(f"{accepted.use_case.name} carries no GBZ payload")
        context = self._context(header, now, is_partner=isinstance(accepted, AcceptedFromPartner))
        scheduled = self.scheduled(state, payload, header.message_code, header.originator_counter, now)
        if scheduled is not None:
            _tried, answers, succeeded = execute(state, payload, context)
            if _is_cancelling(payload):
                return scheduled, encode_gbz(_with_modes_of(state, answers)), True
            return scheduled if succeeded else state, encode_gbz(answers), succeeded
        tried, answers, succeeded = execute(state, payload, context)
        return tried, encode_gbz(self._encrypted(header, answers)), succeeded

    def _do_own(self, state: GasState, accepted: Accepted, command: object, now: int) -> tuple[GasState, bytes, bool]:
        """A Command about the meter itself: credentials, keys, joins, firmware."""
        at = self.clock(now)
        state, answer, succeeded, event = self._own.execute(
            state, accepted, command, at, clock_set=self._is_clock_set(state)
        )
        state = state if event is None else state.noting(EVENT_LOG, event, at)
        return state, encode_asn1(Asn1(answer)), succeeded

    def scheduled(self, state: GasState, payload: Gbz, message_code: int, counter: int, now: int) -> GasState | None:
        """The state with a Command kept for later, or with one cancelled; ``None`` for what is to be done now."""
        times = _times(payload) if message_code in FUTURE_DATABLE else ()
        if times and _is_cancelling(payload):
            kept = tuple(entry for entry in state.pending if entry.message_code != message_code)
            return replace(state, pending=kept)
        later = [unix_from_zigbee(at) for at in times if at not in CANCELLED and unix_from_zigbee(at) > self.clock(now)]
        return _with_pending(state, Pending(max(later), message_code, counter, payload)) if later else None

    def _due(self, state: GasState, pending: Pending, now: int) -> tuple[GasState, list[bytes]]:
        """A Command whose time has come: executed, and an Alert for each part that bears a time."""
        context = Context(self.clock(now), pending.message_code, lambda state, _digits, _source: (state, None))
        state = replace(state, pending=tuple(entry for entry in state.pending if entry is not pending))
        state, _answers, succeeded = execute(state, pending.payload, context)
        alerts = []
        code = EXECUTED if succeeded else EXECUTION_FAILED
        for component in pending.payload.components:
            if _time_of(component) is None:
                continue
            state = replace(state, alert_counter=state.alert_counter + 1)
            specific = FutureDatedZcl(
                pending.message_code,
                pending.originator_counter,
                component.cluster,
                component.frame_control,
                component.command_id,
            )
            content = encode_gbz_alert(GbzAlert(code, zigbee_from_unix(pending.at), specific))
            alerts += self._alert(state.alert_counter, CODE_FUTURE_DATED, content)
        state = state.noting(EVENT_LOG, code, pending.at)
        return state, alerts

    def _refuse(self, refused: Refused, now: int) -> list[bytes]:
        reason = refused.reason
        event_id = reason.alert_code if reason.alert_code is not None else 0x8F60
        state = self.state.noting(SECURITY_LOG, event_id, self.clock(now))
        alerts = []
        if reason.alert_code is not None:
            counter = state.alert_counter + 1
            state = replace(state, alert_counter=counter)
            content = encode_gbz_alert(GbzAlert(reason.alert_code, zigbee_from_unix(self.clock(now))))
            alerts = self._alert(counter, GENERIC_CRITICAL_ALERT, content)
        self._keep(state)
        self._tell(
            "meter_command_refused",
            device_id=self.entity_id.hex(),
            reason=reason.words,
            reason_code=reason.name,
            message_code=refused.header.message_code if refused.header else None,
        )
        for alert in alerts:
            self._tell(
                "meter_alerted",
                device_id=self.entity_id.hex(),
                alert_code=f"{reason.alert_code:04X}",
                message=alert.hex(),
            )
        return alerts

    def _alert(self, counter: int, message_code: int, content: bytes) -> list[bytes]:
        """A signed Alert to the supplier, where one is known."""
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.DIGITAL_SIGNATURE))
        if supplier is None or supplier.entity_id is None:
            return []
        other = OtherInformation(message_code)
        header = GroupingHeader(Cra.ALERT, counter, self.entity_id, supplier.entity_id, other)
        return [signed_df(header, content, self._identity.signing_key)]

    def _keep(self, state: GasState) -> None:
        """Save first, then believe it: what was not saved did not happen."""
        self._store.save(encode_state(state))
        self.state = state

    def _tell_changes(self, before: GasState) -> None:
        device_id = self.entity_id.hex()
        old, new = before.number(zcl.CREDIT), self.state.number(zcl.CREDIT)
        if old != new:
            self._tell("balance_changed", device_id=device_id, before=old, after=new)
        if before.valve is not self.state.valve:
            self._tell("valve_changed", device_id=device_id, before=before.valve.words, after=self.state.valve.words)

    # --- clock ---

    def _set_clock(self, state: GasState, command: SetClock, now: int) -> tuple[GasState, bytes, bool]:
        """GCS28: take the hub's time when it lies within the supplier's bounds (DESIGN CHOICE: else keep one's own)."""
        within = unix_from_generalized(command.not_before) <= now <= unix_from_generalized(command.not_after)
        state = replace(state, clock_offset_s=0, clock_status=0) if within else state
        if not within:
            state = replace(state, clock_status=CLOCK_DOUBTFUL)
        answer = ClockResponse(generalized_from_unix(now + state.clock_offset_s), 0 if within else CLOCK_DOUBTFUL)
        return state, encode_asn1(Asn1(answer)), within

    # --- top-ups and secrets ---

    def _context(self, header: GroupingHeader, now: int, *, is_partner: bool) -> Context:
        def top_up(state: GasState, digits: bytes, _source: int) -> tuple[GasState, int | None]:
            return self._top_up(state, digits, None if is_partner else header.originator_counter, now)

        return Context(self.clock(now), header.message_code, top_up, self._faults)

    def _top_up(
        self, state: GasState, digits: bytes, originator_counter: int | None, now: int
    ) -> tuple[GasState, int | None]:
        """Credit a UTRN, or not (gbcs-messages 13.4). ``originator_counter`` is there when the supplier sent it."""
        supplier = self.trust_anchors.get((Role.SUPPLIER, KeyUse.PREPAYMENT))
        if supplier is None or supplier.entity_id is None:
            return state, None
        at = self.clock(now)
        if originator_counter is None and code_guard.is_suspended(state, at):
            return self._event(state, code_guard.REJECTED, at), None
        state_, amount = self._credit_code(state, digits, originator_counter, supplier, at)
        if originator_counter is not None:
            return state_, amount
        if amount is None:
            state_, suspended = code_guard.wrong(state_, at)
            return self._event(state_, code_guard.SUSPENDED, at) if suspended else state_, None
        behaviour = state.behaviours.get(money.CREDIT_ADDED_LOCALLY, 0)
        return self._pushed(code_guard.right(state_), money.CREDIT_ADDED_LOCALLY, at, behaviour), amount

    def _credit_code(
        self, state: GasState, digits: bytes, originator_counter: int | None, supplier: Certificate, at: int
    ) -> tuple[GasState, int | None]:
        given = 0 if originator_counter is None else originator_counter >> 32
        assert supplier.entity_id is not None
        try:
            utrn = Utrn.parse(digits.decode("ascii", "replace"))
            counter = complete_counter(utrn.counter_bits, max(self.state.counters.utrn_highest, given))
            check_utrn(
                utrn,
                originator_counter=counter << 32,
                supplier_id=supplier.entity_id,
                device_id=self.entity_id,
                secret=self.agree(supplier.public_key),
            )
            amount = utrn.pence * PENNY
        except (UtrnRefused, CryptoRefused):
            return state, None
        if originator_counter is not None and counter << 32 != originator_counter:
            return state, None
        # The cache of before: a CS01b Command's counter is in the state's already.
        if self.state.counters.refuses_utrn(counter) or not money.fits(state, amount):
            return state, None
        state = history.paid(state, digits, amount, at)
        state = money.credit(state, amount, at, is_payment=True)
        if originator_counter is None:
            state = replace(state, counters=state.counters.with_utrn(counter))
            state = money.note_local_credit(state, at)
        return state, amount

    def _encrypted(self, header: GroupingHeader, answers: Gbz) -> Gbz:
        """The answers, those that only their reader may see encrypted for it (gbcs-messages 11)."""
        wanted = [component for component in answers.components if _is_secret(header.message_code, component)]
        if not wanted:
            return answers
        key = self._reader_key(header)
        frame_counter = 0
        out: list[Component] = []
        for component in answers.components:
            plaintext = plaintext_of(component) if component in wanted else None
            if plaintext is None:
                out.append(component)
                continue
            body: EncryptedZcl | DefaultResponse = DefaultResponse(0xFF, FAILURE)  # in clear it is told to nobody
            if key is not None:
                wire = encrypt_attribute(plaintext, key, self.entity_id)
                body = EncryptedZcl.from_wire(component.command_id, frame_counter, wire)
            out.append(replace(component, body=body))
            frame_counter += 1
        return Gbz(tuple(out))

    def _reader_key(self, header: GroupingHeader) -> bytes | None:
        """The key agreed with whoever the data is for: the originator, or the party it speaks for (11.3)."""
        other = header.other_information
        reader_id = other.supplementary_remote_party_id or header.business_originator_id
        public_key = self._reader(reader_id, other.supplementary_certificate)
        if public_key is None:
            return None
        return encryption_key(
            self.agree(public_key),
            device_id=self.entity_id,
            counter=self._own_counter(header) or header.originator_counter,
            recipient_id=reader_id,
        )

    def _reader(self, reader_id: bytes, certificate: bytes | None) -> ec.EllipticCurvePublicKey | None:
        """A reader's public key: that of a trust anchor, else of the certificate its Command brought."""
        for (_role, use), anchor in self.trust_anchors.items():
            if use is KeyUse.KEY_AGREEMENT and anchor.entity_id == reader_id:
                return anchor.public_key
        if certificate is None:
            return None
        try:
            brought = parse_certificate(certificate)
        except GbcsError:
            return None
        return brought.public_key if brought.entity_id == reader_id else None


def _id_of(pair: tuple[ZclCommand, ZclCommand]) -> int:
    number = pair[0]["id"]
    assert isinstance(number, int)
    return number


def _answer_to(command: GroupingHeader) -> GroupingHeader:
    """The header of the Response to another device's Command."""
    return GroupingHeader(
        Cra.RESPONSE,
        command.originator_counter,
        command.business_target_id,
        command.business_originator_id,
        OtherInformation(command.message_code),
    )


def _is_secret(message_code: int, component: Component) -> bool:
    return (message_code, component.cluster) in ENCRYPTED and plaintext_of(component) is not None


def _is_cancelling(payload: Gbz) -> bool:
    """Whether all its times say that it cancels what was set for later."""
    return all(at in CANCELLED for at in _times(payload))


def _with_modes_of(state: GasState, answers: Gbz) -> Gbz:
    """Answers to a Command that cancels: a mode that was not changed is answered as it is."""
    unchanged = payment_mode_response(state)
    return Gbz(
        tuple(
            replace(answer, body=unchanged)
            if isinstance(answer.body, ZclCommand) and answer.body.name == unchanged.name
            else answer
            for answer in answers.components
        )
    )


def _with_pending(state: GasState, pending: Pending) -> GasState:
    others = tuple(entry for entry in state.pending if entry.message_code != pending.message_code)
    return replace(state, pending=(*others, pending))


def _time_of(component: Component) -> int | None:
    """The time at which a component is to work, seconds since 2000; zero for now, ``None`` where it bears none."""
    if component.from_date_time is not None:
        return component.from_date_time
    body = component.body
    if not isinstance(body, ZclCommand):
        return None
    fields = dict(body.fields)
    value = fields.get("start", fields.get("implementation"))
    return value if isinstance(value, int) else None


def _times(payload: Gbz) -> tuple[int, ...]:
    return tuple(at for component in payload.components if (at := _time_of(component)) is not None)
