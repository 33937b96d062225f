"""The Gas Proxy Function inside the hub: the copy of the gas meter that displays see, kept without waking the meter.

Rules this module keeps (reference: han 2.4; gbcs-messages 6.4):

* What the meter reports to its mirror is in the copy at once. What a Command changes is in the copy only once the
  meter's own Response said success for the matching part; until then the Command is remembered (tap-off). Which road
  the Command took is not asked.
* Only the tap-off codes are looked at, and only for what they publish; of GCS05 the calendar parts alone.
* The copy is no better than the messages it was made from, so: a signed Command counts only if its supplier signed it
  and a signed Response only if the meter did; and where two different Commands passed under one counter without a
  signature to tell them apart, neither counts (DESIGN CHOICE: no public text says what a proxy checks).
* Commands addressed to the proxy itself go through ``gbcs.acceptance``, as at every device. It answers reads of the
  copy; what is for the meter's reader only is encrypted under the proxy's own keys.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.asn1 import (
    Asn1,
    DeviceLogAlert,
    DeviceType,
    LogEntry,
    RestoredEntry,
    RestoreDeviceLog,
    RestoreDeviceLogResponse,
    encode_asn1,
)
from lastmetre.gbcs.catalogue import Protection, Role, UseCaseKind, catalogue, use_case
from lastmetre.gbcs.datetimes import generalized_from_unix
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import Gbz
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import Cra, Message, parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.protect import CryptoRefused, verify_signature
from lastmetre.gbcs.zcl import DefaultResponse, ZclCommand
from lastmetre.home.device_commands import enter
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import history
from lastmetre.home.gas.components import Context, execute
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import Valve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.gbcs.acceptance import Accepted
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.home.gas.state import GasState
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.ports import DeviceStore, Tell

TAP_OFF: Final = frozenset({0x006B, 0x006F, 0x0071, 0x0015, 0x007C, 0x007E, 0x0088, 0x00A3})
"""The gas Commands a proxy reads in passing (han 2.4)."""
CALENDAR_ONLY: Final = frozenset({0x006F})
SUPPORTED: Final = frozenset(
    code
    for code, case in catalogue().items()
    if "GPF" in case.devices and case.kind is UseCaseKind.COMMAND and case.payload in {"GBZ", "ASN.1"}
)
"""What a proxy executes: every Command of the catalogue that is for one; the rest is answered with the 8F85 Alert."""
GCS62: Final = 0x00B2
DEVICE_LOG_CHANGED: Final = 0x8071
REMEMBERED_MAX: Final = 64
"""Commands remembered until their Response; the oldest goes first. DESIGN CHOICE."""

_VALVES: Final = {0: Valve.OFF_BY_COMMAND, 1: Valve.ARMED, 2: Valve.ON}
"""What a reported supply status shows; why a valve is off the report does not say."""

_Key = tuple[bytes, bytes, int, int]


class Gpf(Gsme):
    """The proxy: a gas meter's memory and reads, fed by reports and tap-off instead of by gas."""

    device_type = "GPF"
    own_kind = DeviceType.GPF
    supported = SUPPORTED

    def __init__(  # what a meter needs, and whom it is the proxy of
        self,
        identity: DeviceIdentity,
        store: DeviceStore,
        tell: Tell,
        *,
        new: GasState,
        gsme_id: bytes,
        gsme_signing: Certificate | None,
        faults: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__(identity, store, tell, new=new, faults=faults)
        self._gsme_id = gsme_id
        self._gsme_signing = gsme_signing
        self._passed: OrderedDict[_Key, set[bytes]] = OrderedDict()

    def reported(self, attributes: Mapping[int, int], now: int) -> None:
        """The meter told its mirror these attributes of its Metering cluster."""
        values: dict[zcl.Key, zcl.Value] = {
            (zcl.METERING, number): value
            for number, value in attributes.items()
            if (zcl.METERING, number) in zcl.ATTRIBUTES and (zcl.METERING, number) not in zcl.DERIVED
        }
        before = self.state.number(zcl.SUMMATION)
        state = self.state.with_values(values)
        litres = state.number(zcl.SUMMATION) - before
        if 0 < litres < history.NOT_RECORDED and before:
            # What the meter counted since its last report is of the day of this one (DESIGN CHOICE).
            state = history.count_day(state, litres, now)
        valve = _VALVES.get(attributes.get(zcl.SUPPLY_STATUS[1], -1))
        self._happen(state if valve is None else replace(state, valve=valve), now)

    def tick(self, now: int) -> list[bytes]:
        """Put into force in the copy what was set for later, and end days. The Alerts of it are the meter's to send."""
        state, today = self.state, now // history.DAY_S
        for day in range(state.charged_until + 1, today + 1) if state.charged_until else ():
            state = history.take(state, history.DAILY, day * history.DAY_S)
        state = replace(state, charged_until=max(today, state.charged_until))
        for pending in sorted(state.pending, key=lambda entry: entry.at):
            if pending.at <= now:
                state = replace(state, pending=tuple(entry for entry in state.pending if entry is not pending))
                state, _answers, _succeeded = execute(state, pending.payload, self._proxy_context(now, 0))
        self._happen(state, now)
        return []

    # --- its Device Log ---

    def receive(self, data: bytes, now: int) -> list[bytes]:
        """As at every device; where its Device Log is another afterwards, GCS62 takes it to the broker."""
        before = self.state.joined
        answers = super().receive(data, now)
        return answers if self.state.joined == before else [*answers, *self._log_changed(now)]

    def _do_own(self, state: GasState, accepted: Accepted, command: object, now: int) -> tuple[GasState, bytes, bool]:
        if not isinstance(command, RestoreDeviceLog):
            return super()._do_own(state, accepted, command, now)
        results = []
        for entry in command.log:
            state, answer = enter(state, entry)
            results.append(RestoredEntry(entry, answer.result))
        done = RestoreDeviceLogResponse(tuple(results))
        return state, encode_asn1(Asn1(done)), all(each.join_response == 0 for each in results)

    def _log_changed(self, now: int) -> list[bytes]:
        """GCS62: the log, for safe keeping (gbcs-messages 10.2)."""
        counter = self.state.alert_counter + 1
        log = tuple(LogEntry(device_id, kind) for device_id, kind in self.state.joined)
        content = encode_asn1(Asn1(DeviceLogAlert(DEVICE_LOG_CHANGED, generalized_from_unix(now), log)))
        alert = self._identity.mac_alert(counter, GCS62, Role.ACCESS_CONTROL_BROKER, content)
        self._keep(replace(self.state, alert_counter=counter))
        return [] if alert is None else [alert]

    # --- tap-off ---

    def passes(self, message: bytes) -> None:
        """A message for the gas meter passes the hub, by whatever road: remember it if it is of the tap-off's."""
        parsed = _parse(message)
        if parsed is None or parsed.header.cra is not Cra.COMMAND or parsed.header.message_code not in TAP_OFF:
            return
        if parsed.header.business_target_id != self._gsme_id or not self._is_the_suppliers(parsed):
            return
        header = parsed.header
        key = header.business_originator_id, self._gsme_id, header.originator_counter, header.message_code
        self._passed.setdefault(key, set()).add(parsed.content)
        while len(self._passed) > REMEMBERED_MAX:
            self._passed.popitem(last=False)

    def answered(self, message: bytes, now: int) -> None:
        """A Response of the gas meter's passes: what it says succeeded goes into the copy."""
        parsed = _parse(message)
        if parsed is None or parsed.header.cra is not Cra.RESPONSE or not self._is_the_meters(parsed):
            return
        header = parsed.header
        key = header.business_target_id, header.business_originator_id, header.originator_counter, header.message_code
        contents = self._passed.pop(key, set())
        if len(contents) != 1:
            return
        try:
            command = decode_payload(header.message_code, Cra.COMMAND, contents.pop())
            response = decode_payload(header.message_code, Cra.RESPONSE, parsed.content)
        except GbcsDecodeError:
            return
        if not isinstance(command, Gbz) or not isinstance(response, Gbz):
            return
        worked = _succeeded(command, response)
        if header.message_code in CALENDAR_ONLY:
            worked = Gbz(tuple(part for part in worked.components if part.cluster == zcl.CALENDAR))
        if worked.components:
            self._take(worked, header.message_code, header.originator_counter, now)

    def _take(self, payload: Gbz, message_code: int, counter: int, now: int) -> None:
        state = self.scheduled(self.state, payload, message_code, counter, now)
        if state is None:
            state, _answers, _all = execute(self.state, payload, self._proxy_context(now, message_code))
        self._happen(state, now)
        self._tell(
            "gas_copy_changed",
            device_id=self.entity_id.hex(),
            use_case=_name(message_code),
            originator_counter=counter,
            components=len(payload.components),
        )

    def _proxy_context(self, now: int, message_code: int) -> Context:
        return Context(now, message_code, lambda state, _digits, _source: (state, None))

    def _is_the_suppliers(self, command: Message) -> bool:
        """Whether a Command may count: its signature, where its use case has one, is its supplier's."""
        case = use_case(command.header.message_code)
        if case is None or case.protection is not Protection.MAC_AND_SIGNATURE:
            return case is not None
        signer = self.trust_anchors.get((Role.SUPPLIER, KeyUse.DIGITAL_SIGNATURE))
        return signer is not None and _signed_by(command, signer, command.header.business_originator_id)

    def _is_the_meters(self, response: Message) -> bool:
        case = use_case(response.header.message_code)
        if response.header.business_originator_id != self._gsme_id or case is None:
            return False
        if case.response_protection is not Protection.SIGNATURE or self._gsme_signing is None:
            return True
        return _signed_by(response, self._gsme_signing, self._gsme_id)

    def display(self) -> dict[str, str | int]:
        """What a display in the home is shown of the gas meter."""
        message = self.state.published.get("message", ())
        text = message[0]["message"] if message else b""
        return {
            "supply": self.state.valve.words,
            "volume_litres": self.state.number(zcl.SUMMATION),
            "standing_charge": self.state.number(zcl.STANDING_CHARGE),
            "prices": ",".join(str(self.state.number(key)) for key in (*zcl.TIER_PRICES, *zcl.BLOCK_PRICES)),
            "message": text.decode("utf-8", "replace") if isinstance(text, bytes) else "",
        }


def _parse(message: bytes) -> Message | None:
    try:
        return parse_message(message)
    except GbcsDecodeError:
        return None


def _signed_by(message: Message, certificate: Certificate, entity_id: bytes) -> bool:
    if certificate.entity_id != entity_id:
        return False
    try:
        verify_signature(message, certificate.public_key)
    except CryptoRefused:
        return False
    return True


def _succeeded(command: Gbz, response: Gbz) -> Gbz:
    """The parts of a Command that its Response calls a success, matched by cluster and sequence."""
    failed = {
        (answer.cluster, answer.sequence)
        for answer in response.components
        if isinstance(answer.body, DefaultResponse) and answer.body.status != 0
    }
    answered = {(answer.cluster, answer.sequence) for answer in response.components}
    return Gbz(
        tuple(
            part
            for part in command.components
            if (part.cluster, part.sequence) in answered - failed and isinstance(part.body, ZclCommand)
        )
    )


def _name(message_code: int) -> str:
    case = use_case(message_code)
    return case.name if case is not None else f"{message_code:04X}"
