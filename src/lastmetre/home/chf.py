"""The Communications Hub Function as a device of its own: its Device Logs, and the Commands addressed to it.

Besides the logs it answers reads of its identity (ECS26i, ECS26n) and of its event and security logs (ECS35c, ECS35d),
keeps sub-GHz settings (DBCH01 to DBCH09, ``home.sub_ghz``), and does about itself what every device does
(``home.own_commands``).

Rules this module keeps (reference: gbcs-messages 7.1, 10.1, 12.4; han 2.8, 3.3; transform, rows CCS01 to CCS07):

* Whatever is addressed to it goes through ``gbcs.acceptance`` with its own keys and trust anchors: that a PPMID
  passed a Command up gives it no weight here, and that the hub itself passes it on gives it none either.
* Counter and log are saved in one step, before the Response leaves. Every change raises CS14, to the broker.
* CCS02 moves a device into the Historic Device Log (fifteen, the oldest overwritten), but never an HHT. Adding what is
  listed already is a success that changes no key. A device of the Historic Log comes back with its old key.
* A device's type is not in CCS01; it is learned when the device joins. Link keys are provisioned, not agreed: their
  hash is what the logs hold (DESIGN CHOICE, han 4.4).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from lastmetre.gbcs import asn1
from lastmetre.gbcs.acceptance import Accepted, Reason, Refused, accept_command
from lastmetre.gbcs.asn1 import Asn1, encode_asn1
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    CompactArray,
    Data,
    DoubleLongUnsigned,
    Integer,
    LongUnsigned,
    NullData,
    OctetString,
    SimpleType,
    Structure,
    StructureType,
    Unsigned,
    encode_data,
)
from lastmetre.gbcs.catalogue import Role, UseCaseKind, catalogue
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    AccessResult,
    Action,
    DataNotification,
    Get,
    GetWithSelection,
    ItemResult,
    Obis,
    Set,
    Spec,
    encode_access_response,
    encode_data_notification,
)
from lastmetre.home.calendars import since_2000
from lastmetre.home.hub_policy import DeviceType
from lastmetre.home.own_commands import OwnCommands, generate_key
from lastmetre.home.own_memory import OwnMemory, own_from_store, own_to_store
from lastmetre.home.sub_ghz import (
    CHANNEL_CHANGED,
    CONFIGURATION_CHANGED,
    DBCH07,
    DBCH08,
    DBCH09,
    SCAN_ASSESSED,
    SubGhz,
    is_configuration,
    scanned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.counters import CounterState
    from lastmetre.gbcs.keys import KeyUse, SharedSecret
    from lastmetre.gbcs.payload import Payload
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.ports import DeviceStore, Tell

DEVICE_LOG_MAX: Final = 16
HISTORIC_LOG_MAX: Final = 15
"""Entries of the two logs (han 3.4)."""
SECURITY_LOG_MAX: Final = 100
EVENT_LOG_MAX: Final = 100
HHT_LIFE_S: Final = 18 * 3_600
"""How long an HHT stays listed (han 2.8; that it counts from the listing is a DESIGN CHOICE there)."""
SUPPORTED: Final = frozenset(
    code for code, case in catalogue().items() if "CHF" in case.devices and case.kind is UseCaseKind.COMMAND
)
"""What the hub's own function executes: every Command of the catalogue that is for it."""
CS14: Final = 0x0018
DEVICE_LOG_CHANGED: Final = 0x8F12
STATE_VERSION: Final = 2

_NETWORK: Final = 104
_DEVICE_LOG: Final = Obis.parse("0-0:30.3.0")
_HISTORIC_LOG: Final = Obis.parse("0-0:30.3.1")
_JOINING, _JOIN_TIMEOUT, _ACTIVE_DEVICES = 2, 3, 4
_REGISTER, _UNREGISTER, _BACKUP, _RESTORE = 1, 2, 4, 5
_GET, _SET, _ACTION = 1, 2, 3
_OTHER_REASON: Final = 250
_UNEXPECTED: Final = 0x8F60
"""Security log code of a refusal that has no Alert code of its own (INFERENCE)."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry: who, what it is (known once it joined), the hash of its link key, when it was listed."""

    device_id: bytes
    device_type: DeviceType | None = None
    key_hash: bytes = b""
    listed_at: int = 0


@dataclass(frozen=True, slots=True)
class ChfState(OwnMemory):
    """What the CHF remembers. The log and the counter that changed it are parts of one value."""

    device_log: tuple[Listed, ...] = ()
    historic_log: tuple[Listed, ...] = ()
    changed_at: int = 0
    join_until: int = 0
    join_timeout_s: int = 0
    hht_spent_s: int = 0
    hht_seen_at: int = 0
    extended_pan_id: bytes = bytes(8)
    security_log: tuple[tuple[int, str], ...] = ()
    security_lines: tuple[tuple[int, int], ...] = ()
    """The log as it is read (ECS35d): when, seconds since 2000, and the event."""
    events: tuple[tuple[int, int, bytes], ...] = ()
    """The event log (ECS35c): when, seconds since 2000, the event, and what it was about."""
    sub_ghz: SubGhz = field(default_factory=SubGhz)
    clock_set: bool = True
    """Whether the WAN ever told it the time: else certificates are not judged by it."""

    def find(self, device_id: bytes) -> Listed | None:
        """A device of the Device Log."""
        return next((entry for entry in self.device_log if entry.device_id == device_id), None)

    @property
    def hht(self) -> Listed | None:
        """The hand-held terminal that is listed."""
        return next((entry for entry in self.device_log if entry.device_type is DeviceType.HHT), None)

    def noting(self, event: int, at: int, about: bytes = b"") -> ChfState:
        """The state with one more entry in the event log."""
        return replace(self, events=(*self.events, (since_2000(at), event, about))[-EVENT_LOG_MAX:])

    def without(self, device_id: bytes) -> ChfState:
        """The state after a device left; its key is remembered unless it is an HHT or never had one."""
        entry = self.find(device_id)
        log = tuple(other for other in self.device_log if other.device_id != device_id)
        historic = self.historic_log
        if entry is not None and entry.key_hash and entry.device_type is not DeviceType.HHT:
            others = tuple(old for old in historic if old.device_id != device_id)
            historic = (*others, entry)[-HISTORIC_LOG_MAX:]
        return replace(self, device_log=log, historic_log=historic)


def link_key_hash(device_id: bytes, key: bytes) -> bytes:
    """The sixteen octets the logs hold for a link key. The real hash is Zigbee's; this stands in (DESIGN CHOICE)."""
    return sha256(device_id + key).digest()[:16]


class Chf:
    """The hub's own function. ``receive`` takes a message addressed to it and returns what it says."""

    device_type = "CHF"
    supported = SUPPORTED

    def __init__(
        self,
        identity: DeviceIdentity,
        store: DeviceStore,
        tell: Tell,
        *,
        new: ChfState,
        on_change: Callable[[ChfState], None] = lambda _state: None,
        faults: Mapping[int, int] | None = None,
        new_key: Callable[[], ec.EllipticCurvePrivateKey] = generate_key,
    ) -> None:
        self._faults = faults or {}
        self._own = OwnCommands(identity, asn1.DeviceType.CHF, new_key, self._faults)
        self._store = store
        self._tell = tell
        self.on_change = on_change
        saved = store.load()
        self.state = decode_state(saved) if saved is not None else new
        if saved is None:
            store.save(encode_state(new))

    # --- what acceptance asks of a device ---

    @property
    def entity_id(self) -> bytes:
        """The CHF's identifier."""
        return self._own.made_with.entity_id

    @property
    def trust_anchors(self) -> Mapping[tuple[Role, KeyUse], Certificate]:
        """The certificates it holds now."""
        return self._own.anchors(self.state)

    @property
    def _identity(self) -> DeviceIdentity:
        """The keys of now."""
        return self._own.identity(self.state)

    @property
    def counters(self) -> CounterState:
        """What it accepted before."""
        return self.state.counters

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """A secret with another party."""
        return self._identity.agree(public_key)

    # --- Commands ---

    def receive(self, data: bytes, now: int) -> list[bytes]:
        """Judge one message; execute it once if it is accepted."""
        fallen_due = self.tick(now)
        verdict = accept_command(data, self)
        if isinstance(verdict, Accepted) and self._is_content(verdict):
            return fallen_due + self._execute(verdict, now)
        refused = verdict if isinstance(verdict, Refused) else Refused(Reason.CONTENT_REFUSED, verdict.message.header)
        log = (*self.state.security_log, (now, refused.reason.name))[-SECURITY_LOG_MAX:]
        line = (since_2000(now), refused.reason.alert_code or _UNEXPECTED)
        lines = (*self.state.security_lines, line)[-SECURITY_LOG_MAX:]
        self._keep(replace(self.state, security_log=log, security_lines=lines))
        self._tell(
            "chf_command_refused",
            device_id=self.entity_id.hex(),
            reason=refused.reason.words,
            reason_code=refused.reason.name,
        )
        return fallen_due

    def tick(self, now: int) -> list[bytes]:
        """Execute what is due; the Alerts of it come out."""
        state, alerts = self.state, []
        for command in state.pending_commands:
            if command.at <= now:
                rest = tuple(each for each in state.pending_commands if each is not command)
                state = replace(state, pending_commands=rest)
                state, alert, code = self._own.execute_due(state, command, clock_set=state.clock_set)
                state = state.noting(code, now)
                alerts.append(alert)
        if state is not self.state:
            self._keep(state)
        return alerts

    def _is_content(self, accepted: Accepted) -> bool:
        """Whether the content is this use case's, item by item."""
        match accepted.payload:
            case AccessRequest(items=items):
                allowed = ITEMS.get(accepted.message.header.message_code, frozenset())
                return all(_named(spec) in allowed for spec, _value in items)
            case Asn1(value=command):
                return self._own.belongs(accepted, command)
            case _:
                return False

    def _execute(self, accepted: Accepted, now: int) -> list[bytes]:
        header, before = accepted.message.header, self.state
        identity, anchors = self._identity, self.trust_anchors
        counters = before.counters.with_accepted(accepted.role, accepted.use_case.lane, header.originator_counter)
        state = replace(before, counters=counters)
        if isinstance(accepted.payload, AccessRequest):
            state, content = self._items(state, accepted.payload, now)
        else:
            assert isinstance(accepted.payload, Asn1)
            state, answer, _succeeded, event = self._own.execute(
                state, accepted, accepted.payload.value, now, clock_set=state.clock_set
            )
            state = state if event is None else state.noting(event, now)
            content = encode_asn1(Asn1(answer))
        when = date_time_from_unix(now)
        response = identity.response(accepted, content, when, trust_anchors=anchors)
        self._tell("chf_command_accepted", device_id=self.entity_id.hex(), use_case=accepted.use_case.name)
        alerts = self._changed(state, now, announced=_adds_a_listed_device(accepted.payload, before, state))
        return [response, *alerts, *self._sub_ghz_alerts(before.sub_ghz, accepted.payload, now)]

    def _items(self, state: ChfState, request: AccessRequest, now: int) -> tuple[ChfState, bytes]:
        results = []
        for number, (spec, value) in enumerate(request.items):
            if number in self._faults:
                kind = {Set: _SET, Action: _ACTION}.get(type(spec), _GET)
                results.append(ItemResult(kind, NullData(), self._faults[number]))
                continue
            state, result = _item(state, spec, value, now, self.entity_id)
            results.append(result)
        return state, encode_access_response(AccessResponse(request.invoke_id, tuple(results)))

    def _sub_ghz_alerts(self, before: SubGhz, payload: Payload, now: int) -> list[bytes]:
        """DBCH07 for another channel, DBCH08 for a scan that was asked for, DBCH09 for another configuration."""
        after = self.state.sub_ghz
        wanted: list[tuple[int, int, Data]] = []
        if isinstance(payload, AccessRequest) and any(_named(spec) == _SCAN for spec, _value in payload.items):
            changed = before.channel != after.channel
            assessed = Structure((OctetString(bytes((changed,))), OctetString(b"\x00")))
            wanted.append((DBCH08, SCAN_ASSESSED, assessed))
            if changed:
                page = OctetString(after.log[-1][2][-1:])
                wanted.append((DBCH07, CHANNEL_CHANGED, Structure((BitString(32, after.channel), page))))
        if before.configuration != after.configuration:
            wanted.append((DBCH09, CONFIGURATION_CHANGED, after.configuration_data()))
        alerts = []
        for message_code, code, extra in wanted:
            counter = self.state.alert_counter + 1
            notification = DataNotification(counter & 0xFFFFFF, code, date_time_from_unix(now), (extra,))
            content = encode_data_notification(notification)
            alert = self._identity.mac_alert(counter, message_code, Role.ACCESS_CONTROL_BROKER, content)
            self._keep(replace(self.state, alert_counter=counter).noting(code, now))
            alerts += [] if alert is None else [alert]
        return alerts

    def _changed(self, state: ChfState, now: int, *, announced: bool = False) -> list[bytes]:
        """Keep a state; when its Device Log is another, raise CS14 and tell the hub.

        ``announced``: raise it in any case. A CCS01 for a device that is listed changes nothing and is announced all
        the same (gbcs-messages 12.4).
        """
        before = self.state
        alerts = []
        if announced or state.device_log != before.device_log:
            state = replace(state, changed_at=now, alert_counter=state.alert_counter + 1).noting(
                DEVICE_LOG_CHANGED, now
            )
            alerts = self._cs14(state, now)
        self._keep(state)
        if alerts or state.device_log != before.device_log:
            self._tell(
                "device_log_changed",
                hub_id=self.entity_id.hex(),
                devices=",".join(entry.device_id.hex() for entry in state.device_log),
            )
            self.on_change(state)
        return alerts

    def _cs14(self, state: ChfState, now: int) -> list[bytes]:
        """The Alert that carries the changed log (gbcs-messages 10.1)."""
        counter = state.alert_counter
        notification = DataNotification(
            counter & 0xFFFFFF,
            DEVICE_LOG_CHANGED,
            date_time_from_unix(now),
            (_backup(state.device_log, state),),
        )
        content = encode_data_notification(notification)
        alert = self._identity.mac_alert(counter, CS14, Role.ACCESS_CONTROL_BROKER, content)
        return [] if alert is None else [alert]

    def _keep(self, state: ChfState) -> None:
        """Save first, then believe it."""
        self._store.save(encode_state(state))
        self.state = state

    # --- what happens at the hub itself ---

    def joined(self, device_id: bytes, device_type: DeviceType, key: bytes, now: int) -> bool:
        """A device asks to join: allowed when it is listed, and new keys only while joining is open."""
        entry = self.state.find(device_id)
        if entry is None:
            return False
        key_hash = link_key_hash(device_id, key)
        if entry.key_hash == key_hash and entry.device_type is device_type:
            return True
        if now >= self.state.join_until or self._waits_for_old_key(device_id, key_hash, now):
            return False
        joined = replace(entry, device_type=device_type, key_hash=key_hash)
        log = tuple(joined if other.device_id == device_id else other for other in self.state.device_log)
        old = tuple(other for other in self.state.historic_log if other.device_id != device_id)
        self._keep(replace(self.state, device_log=log, historic_log=old))
        self._tell("device_joined", device_id=device_id.hex(), device_type=device_type.name, event_code="8183")
        self.on_change(self.state)
        return True

    def _waits_for_old_key(self, device_id: bytes, key_hash: bytes, now: int) -> bool:
        """A device of the Historic Device Log comes back with its old key in the first half of the time (han 3.3)."""
        known = next((old for old in self.state.historic_log if old.device_id == device_id), None)
        half = self.state.join_until - self.state.join_timeout_s // 2
        return known is not None and known.key_hash != key_hash and now < half

    def list_hht(self, device_id: bytes, key: bytes, now: int) -> list[bytes] | None:
        """List a hand-held terminal; ``None`` when another is listed or there is no room. Returns its CS14."""
        state = self.state
        if state.hht is not None or state.find(device_id) is not None or len(state.device_log) >= DEVICE_LOG_MAX:
            return None
        entry = Listed(device_id, DeviceType.HHT, link_key_hash(device_id, key), now)
        return self._changed(replace(state, device_log=(*state.device_log, entry), hht_spent_s=0, hht_seen_at=now), now)

    def remove_hht(self, now: int) -> list[bytes]:
        """The hand-held terminal leaves, and nothing of it stays. Returns its CS14."""
        entry = self.state.hht
        if entry is None:
            return []
        state = replace(self.state.without(entry.device_id), hht_spent_s=0, hht_seen_at=0)
        return self._changed(state, now)

    def hht_clock(self, now: int, passed_s: int) -> int:
        """Seconds the HHT has left. ``passed_s`` went by on the hub's own clock since this was last asked.

        The clock runs by whichever ran further, the hub's own or the calendar: neither setting the calendar back nor
        a power cut stretches it.
        """
        state = self.state
        if state.hht is None:
            return 0
        spent = state.hht_spent_s + max(passed_s, now - state.hht_seen_at, 0)
        self._keep(replace(state, hht_spent_s=spent, hht_seen_at=now))
        return max(0, HHT_LIFE_S - max(spent, now - state.hht.listed_at))


# --- items of an access-request --------------------------------------------------------------------------------------


_IDENTITY: Final = {Obis.parse("0-0:96.1.4"): b"lastmetre emulated hub", Obis.parse("0-0:96.1.6"): b"LMH"}
"""Type and manufacturer's name, as ECS26n reads them; ours are our own."""
_DEVICE_ID: Final = Obis.parse("0-0:96.1.1")
_CONFIGURATION, _SCAN_REQUEST, _CHANNEL, _CHANNEL_LOG = (
    Obis.parse("0-0:94.44.10.0"), Obis.parse("0-0:94.44.10.1"), Obis.parse("0-0:94.44.10.2"),
    Obis.parse("0-0:94.44.10.3"),
)  # fmt: skip
_EVENTS, _SECURITY = Obis.parse("0-0:99.98.0"), Obis.parse("0-0:99.98.1")
_SCAN: Final = ("S", 1, _SCAN_REQUEST, 2)
ITEMS: Final[Mapping[int, frozenset[tuple[str, int, Obis, int]]]] = {
    0x0001: frozenset(
        {("A", _NETWORK, _DEVICE_LOG, _REGISTER), ("S", _NETWORK, _DEVICE_LOG, 2), ("S", _NETWORK, _DEVICE_LOG, 3)}
    ),
    0x0002: frozenset({("A", _NETWORK, _DEVICE_LOG, _UNREGISTER)}),
    0x0003: frozenset({("A", _NETWORK, _DEVICE_LOG, _RESTORE)}),
    0x0004: frozenset({("G", _NETWORK, _DEVICE_LOG, 4)}),
    0x0092: frozenset(("G", 1, obis, 2) for obis in (_DEVICE_ID, *_IDENTITY)),
    0x0093: frozenset({("L", 7, _EVENTS, 2)}),
    0x0094: frozenset({("L", 7, _SECURITY, 2)}),
    0x00FA: frozenset(("G", 1, obis, 2) for obis in _IDENTITY),
    0x00FE: frozenset(("A", _NETWORK, obis, _BACKUP) for obis in (_DEVICE_LOG, _HISTORIC_LOG)),
    0x010A: frozenset({("G", 1, _CHANNEL, 2)}),
    0x010B: frozenset({("L", 7, _CHANNEL_LOG, 2)}),
    0x010C: frozenset({("G", 1, _CONFIGURATION, 2)}),
    0x010D: frozenset({("S", 1, _CONFIGURATION, 2)}),
    0x010E: frozenset({_SCAN}),
    0x010F: frozenset({("G", _NETWORK, _DEVICE_LOG, 4)}),
}
"""Which items a use case may carry: letter, class, object, attribute or method. From the published Commands."""


def _named(spec: Spec) -> tuple[str, int, Obis, int]:
    letter = {Get: "G", Set: "S", Action: "A", GetWithSelection: "L"}[type(spec)]
    return letter, spec.class_id, spec.obis, spec.method if isinstance(spec, Action) else spec.attribute


def _adds_a_listed_device(payload: Payload, before: ChfState, after: ChfState) -> bool:
    """Whether a CCS01 named a device that was listed already."""
    if not isinstance(payload, AccessRequest):
        return False
    for spec, value in payload.items:
        match spec, value:
            case Action(class_id=104, method=1), Structure(elements=(OctetString() as device, *_)):
                if spec.obis == _DEVICE_LOG and before.find(device.value) and after.find(device.value):
                    return True
            case _:
                pass
    return False


def _item(state: ChfState, spec: Spec, value: Data, now: int, device_id: bytes) -> tuple[ChfState, ItemResult]:
    result: int
    match spec:
        case Get(class_id=1):
            found = _read(state, spec.obis, device_id)
            result = AccessResult.OBJECT_UNDEFINED if found is None else AccessResult.SUCCESS
            return state, ItemResult(_GET, NullData() if found is None else found, result)
        case GetWithSelection(class_id=7):
            return state, _lines(state, spec)
        case Set(class_id=1):
            state, result = _set_sub_ghz(state, spec.obis, value, now)
            return state, ItemResult(_SET, NullData(), result)
        case Get(class_id=104, attribute=4) if spec.obis == _DEVICE_LOG:
            return state, ItemResult(_GET, _active_devices(state), AccessResult.SUCCESS)
        case Get():
            return state, ItemResult(_GET, NullData(), AccessResult.OBJECT_UNDEFINED)
        case Set(class_id=104) if spec.obis == _DEVICE_LOG:
            state, result = _set(state, spec.attribute, value, now)
            return state, ItemResult(_SET, NullData(), result)
        case Set():
            return state, ItemResult(_SET, NullData(), AccessResult.OBJECT_UNDEFINED)
        case Action(class_id=104):
            return _act(state, spec, value, now)
        case Action():
            return state, ItemResult(_ACTION, NullData(), AccessResult.OBJECT_UNDEFINED)
        case _:
            return state, ItemResult(_GET, NullData(), AccessResult.OBJECT_UNDEFINED)


def _read(state: ChfState, obis: Obis, device_id: bytes) -> Data | None:
    if obis == _DEVICE_ID:
        return OctetString(device_id)
    if obis == _CONFIGURATION:
        return state.sub_ghz.configuration_data()
    if obis == _CHANNEL:
        return BitString(32, state.sub_ghz.channel)
    return OctetString(_IDENTITY[obis]) if obis in _IDENTITY else None


def _lines(state: ChfState, spec: GetWithSelection) -> ItemResult:
    """A log between two times (gbcs-messages 7.5)."""
    match spec.parameter:
        case Structure(elements=(_, DoubleLongUnsigned(value=first), DoubleLongUnsigned(value=last), _)):
            pass
        case _:
            return ItemResult(_GET, NullData(), AccessResult.TYPE_UNMATCHED)
    lines: tuple[tuple[int, int, bytes], ...] = state.sub_ghz.log if spec.obis == _CHANNEL_LOG else state.events
    columns: tuple[int, ...] = (6, 18, 9)
    if spec.obis == _SECURITY:
        lines, columns = tuple((at, event, b"") for at, event in state.security_lines), (6, 18)
    rows = tuple(
        Structure((DoubleLongUnsigned(at), LongUnsigned(event), OctetString(about))[: len(columns)])
        for at, event, about in lines
        if first <= at <= last
    )
    description = StructureType(tuple(SimpleType(column) for column in columns))
    return ItemResult(_GET, CompactArray(description, rows), AccessResult.SUCCESS)


def _set_sub_ghz(state: ChfState, obis: Obis, value: Data, now: int) -> tuple[ChfState, int]:
    """DBCH04 sets the configuration, DBCH05 asks for a scan."""
    if obis == _CONFIGURATION and is_configuration(value):
        return replace(state, sub_ghz=replace(state.sub_ghz, configuration=encode_data(value))), AccessResult.SUCCESS
    if obis == _SCAN_REQUEST and isinstance(value, Unsigned):
        sub_ghz, changed = scanned(state.sub_ghz, since_2000(now))
        state = replace(state, sub_ghz=sub_ghz)
        return (state.noting(CHANNEL_CHANGED, now) if changed else state), AccessResult.SUCCESS
    known = obis in {_CONFIGURATION, _SCAN_REQUEST}
    return state, AccessResult.TYPE_UNMATCHED if known else AccessResult.OBJECT_UNDEFINED


def _set(state: ChfState, attribute: int, value: Data, now: int) -> tuple[ChfState, int]:
    match attribute, value:
        case 3, LongUnsigned():
            return replace(state, join_timeout_s=value.value), AccessResult.SUCCESS
        case 2, Boolean():
            until = now + state.join_timeout_s if value.value else 0
            return replace(state, join_until=until), AccessResult.SUCCESS
        case ((2 | 3), _):
            return state, AccessResult.TYPE_UNMATCHED
        case _:
            return state, AccessResult.OBJECT_UNDEFINED


def _act(state: ChfState, spec: Action, value: Data, now: int) -> tuple[ChfState, ItemResult]:
    is_log, is_history = spec.obis == _DEVICE_LOG, spec.obis == _HISTORIC_LOG
    data: Data = NullData()
    result: int = AccessResult.OBJECT_UNDEFINED
    match spec.method, value:
        case 4, NullData() if is_log:
            data, result = _backup(state.device_log, state), AccessResult.SUCCESS
        case 4, NullData() if is_history:
            data, result = _backup(state.historic_log, state), AccessResult.SUCCESS
        case 1, Structure(elements=(OctetString() as device, _, OctetString(), _)) if is_log:
            state, result = _register(state, device.value, now)
        case 2, OctetString() if is_log:
            known = state.find(value.value) is not None
            state = state.without(value.value)
            result = AccessResult.SUCCESS if known else _OTHER_REASON
        case 5, Structure(elements=(OctetString() as pan_id, Array() as entries)) if is_log:
            state, result = _restore(state, pan_id.value, entries, now)
        case _ if is_log and spec.method in {_REGISTER, _UNREGISTER, _BACKUP, _RESTORE}:
            result = AccessResult.TYPE_UNMATCHED
    return state, ItemResult(_ACTION, data, result)


def _register(state: ChfState, device_id: bytes, now: int) -> tuple[ChfState, int]:
    """CCS01: list a device. The key is for its joining, which is not modelled; a known device keeps the one it has."""
    if len(device_id) != 8:
        return state, AccessResult.TYPE_UNMATCHED
    if state.find(device_id) is not None:
        return state, AccessResult.SUCCESS
    if len(state.device_log) >= DEVICE_LOG_MAX:
        return state, _OTHER_REASON
    return replace(state, device_log=(*state.device_log, Listed(device_id, listed_at=now))), AccessResult.SUCCESS


def _restore(state: ChfState, pan_id: bytes, entries: Array, now: int) -> tuple[ChfState, int]:
    """CCS03: the log of a hub that was replaced. Types that are known stay known."""
    known = {entry.device_id: entry for entry in (*state.historic_log, *state.device_log)}
    log = []
    for entry in entries.elements:
        match entry:
            case Structure(elements=(OctetString() as device, OctetString() as key_hash)) if len(device.value) == 8:
                old = known.get(device.value)
                log.append(Listed(device.value, old.device_type if old else None, key_hash.value, now))
            case _:
                return state, AccessResult.TYPE_UNMATCHED
    if len(pan_id) != 8 or len(log) > DEVICE_LOG_MAX or len({entry.device_id for entry in log}) != len(log):
        return state, _OTHER_REASON
    return replace(state, device_log=tuple(log), extended_pan_id=pan_id), AccessResult.SUCCESS


def _backup(log: tuple[Listed, ...], state: ChfState) -> Structure:
    """What CCS07 reads and CS14 carries: when, the network's id, and each device with its key's hash."""
    entries = tuple(Structure((OctetString(entry.device_id), OctetString(entry.key_hash))) for entry in log)
    at = OctetString(date_time_from_unix(state.changed_at))
    return Structure((at, OctetString(state.extended_pan_id), Array(entries)))


def _active_devices(state: ChfState) -> Array:
    """What CCS05 and CCS06 read. Signal figures are of an emulated air: good, and always the same (DESIGN CHOICE)."""
    return Array(
        tuple(
            Structure(
                (
                    OctetString(entry.device_id),
                    BitString(8, bytes((0xC8 if entry.key_hash else 0x00,))),
                    *(Integer(-50),) * 3,
                    *(Unsigned(255),) * 3,
                    OctetString(date_time_from_unix(max(entry.listed_at, state.changed_at))),
                    *(Unsigned(value) for value in (1, 0, 100, 1, 1)),
                )
            )
            for entry in state.device_log
        )
    )


# --- the form in the store -------------------------------------------------------------------------------------------


def _write_log(log: tuple[Listed, ...]) -> list[list[object]]:
    return [
        [entry.device_id.hex(), entry.device_type.name if entry.device_type else None, entry.key_hash.hex(),
         entry.listed_at]
        for entry in log
    ]  # fmt: skip


def _read_log(raw: list[list[object]]) -> tuple[Listed, ...]:
    return tuple(
        Listed(
            bytes.fromhex(str(device)), DeviceType[str(kind)] if kind else None, bytes.fromhex(str(key)), int(str(at))
        )
        for device, kind, key, at in raw
    )


def encode_state(state: ChfState) -> bytes:
    """JSON, versioned."""
    return json.dumps(
        {
            "version": STATE_VERSION,
            "device_log": _write_log(state.device_log),
            "historic_log": _write_log(state.historic_log),
            "changed_at": state.changed_at,
            "join": [state.join_until, state.join_timeout_s],
            "hht": [state.hht_spent_s, state.hht_seen_at],
            "extended_pan_id": state.extended_pan_id.hex(),
            "own": own_to_store(state),
            "security_log": state.security_log,
            "security_lines": state.security_lines,
            "events": [[at, event, about.hex()] for at, event, about in state.events],
            "clock_set": state.clock_set,
            "sub_ghz": msgspec.to_builtins(state.sub_ghz),
        }
    ).encode()


def decode_state(data: bytes) -> ChfState:
    """Back from the store; raises ``ValueError`` for a form this version does not know."""
    raw = json.loads(data)
    if raw["version"] != STATE_VERSION:
        raise ValueError(f"CHF state version {raw['version']} is not {STATE_VERSION}")
    return ChfState(
        device_log=_read_log(raw["device_log"]),
        historic_log=_read_log(raw["historic_log"]),
        changed_at=raw["changed_at"],
        join_until=raw["join"][0],
        join_timeout_s=raw["join"][1],
        hht_spent_s=raw["hht"][0],
        hht_seen_at=raw["hht"][1],
        extended_pan_id=bytes.fromhex(raw["extended_pan_id"]),
        security_log=tuple((at, reason) for at, reason in raw["security_log"]),
        security_lines=tuple((at, event) for at, event in raw["security_lines"]),
        events=tuple((at, event, bytes.fromhex(about)) for at, event, about in raw["events"]),
        clock_set=raw["clock_set"],
        sub_ghz=msgspec.convert(raw["sub_ghz"], SubGhz),
        **own_from_store(raw["own"]),
    )
