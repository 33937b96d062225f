"""The Communications Hub's judgement: what it passes on, where Responses go, what it drops. No frames here.

Rules this module keeps (reference: han 2.7, 3.2 to 3.4, 3.7; the routing of Responses is a DESIGN CHOICE there):

* It reads headers, never contents, MACs or signatures: the target judges those. Blocks pass as they are. (One content
  it reads: which Command an Alert of a future-dated execution names.)
* A Command's road is remembered under {originator, target, counter}; its Response goes back by every road it came, and
  to the WAN. Alerts go to the WAN; that of a future-dated Command also by its roads. A message for a device on the HAN
  goes to that device alone.
* A repeat of a Command that was handed over, the same bytes, is dropped: it adds its road and nothing else (a switch
  turns this off). Other bytes under the same counter pass: else whoever guesses a counter could block a Command.
* What is for a gas meter waits in its mailbox; what is for a PPMID or HHT that cannot be reached is kept a day.
* A PPMID has a rate limit and cannot fill a queue the WAN or an alarm needs: mailbox, tunnel, records, WAN store.
  Every refusal is logged with its reason; nothing new goes on the air.
* Roads, what waits for the WAN and what waits for a PPMID survive a power cut; the gas mailbox does not (han 3.7).
* Under ``permit``, what the rule refuses passes with a relay permit (``permit_gate``): a long Command whole, cut again
  behind the gate; what waits for a gas meter is judged again when it asks. What the gate remembers is saved in the
  step in which the Command is, before anything leaves. Under any other setting a permit is a malformed message.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.blocks import decode_block
from lastmetre.gbcs.dlms import DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import FutureDatedZcl, GbzAlert
from lastmetre.gbcs.message import Cra, GroupingHeader, Kind, parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.home.block_door import cut, is_block
from lastmetre.home.hub_policy import DeviceType, Policy, Refusal, Road, allowed, by_permit, road_of
from lastmetre.home.mailbox import GasMailbox
from lastmetre.home.permit_gate import Passed, PermitGate
from lastmetre.relay.permit import Road as PermitRoad
from lastmetre.relay.permit import Status, encode_answer
from lastmetre.relay.permit_rules import Carrier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lastmetre.home.ports import DeviceStore, Tell
    from lastmetre.relay.permit import Answer

MESSAGE_SIZE_MAX: Final = 1_500
"""One tunnel message at most (han 0.1); longer ones come in blocks."""
GAS_MESSAGE_SIZE_MAX: Final = 1_498
"""The same in a gas meter's tunnel, whose GB header takes two octets (han 1.5)."""
RECORD_LIFE_S: Final = 3_600
GAS_RECORD_LIFE_S: Final = 25 * 3_600
"""How long a Command's road is remembered: an hour, or as long as it may wait for a gas meter and one hour more (han
R9, DESIGN CHOICE)."""
FUTURE_RECORD_LIFE_S: Final = 7 * 86_400
"""The same for Commands that may name a time: their Alert comes when it has passed. R9 wants that time and an hour; a
hub that opens no Command cannot know it, so it keeps the road as long as what waits for the WAN (DESIGN CHOICE)."""
FUTURE_DATABLE: Final = frozenset({
    0x0019, 0x001A, 0x001B, 0x001F, 0x0043, 0x0054, 0x00A2, 0x00B7, 0x00C7, 0x00DE, 0x011A,
    0x006B, 0x006C, 0x006D, 0x006F, 0x00A3,
})  # fmt: skip
"""Commands with Alerts 00CC and 00CD in the published messages (gbcs-messages 10.3)."""
FUTURE_DATED: Final = frozenset({0x00CC, 0x00CD})
RECORDS_MAX: Final = 1_024
HAN_RECORDS_MAX: Final = RECORDS_MAX // 2
"""Roads remembered; those of Commands that came by the HAN alone have half of the places (DESIGN CHOICE)."""
WAN_STORE_MAX: Final = 64
WAN_STORE_LIFE_S: Final = 7 * 86_400
"""What waits for a lost WAN: 64 messages or seven days (han R7, DESIGN CHOICE)."""
WAN_STORE_ALERTS_MAX: Final = 48
"""Places of it that Alerts may hold: a full store drops its oldest Response first, so that no flood of Responses to
what a PPMID passed up costs an alarm, and beyond this its oldest Alert (DESIGN CHOICE)."""
KEPT_MAX: Final = 64
KEPT_LIFE_S: Final = 24 * 3_600
"""What waits for a PPMID or HHT out of reach: a day (han R8); the number is a DESIGN CHOICE."""
RATE_PER_MINUTE: Final = 10
RATE_PER_DAY: Final = 200
"""Commands one PPMID may pass up (han 3.3, DESIGN CHOICE); each block counts."""
LOG_MAX: Final = 1_000
MEMORY_VERSION: Final = 1
_COUNTER_END: Final = 10
"""In an Alert 00CC the message code comes first, then the counter (gbcs-messages 10.3)."""

RecordKey = tuple[bytes, bytes, int]
_REQUESTERS: Final = frozenset({DeviceType.PPMID, DeviceType.HHT})
_PERMIT_ROADS: Final = {Road.PPMID: PermitRoad.PPMID, Road.HHT: PermitRoad.HHT}


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One device in the Device Log."""

    device_id: bytes
    device_type: DeviceType


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message to hand on: to a device's tunnel, or to the WAN when ``device_id`` is ``None``.

    ``from_han``: it is a Command that a device passed up. It may not take the places of those the WAN brings.
    """

    device_id: bytes | None
    message: bytes
    from_han: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class HubEvent:
    """One line of the hub's own log."""

    at: int
    road: Road
    refusal: Refusal
    message_code: int | None
    permit_status: Status | None = None
    """What a relay permit, or its Command, failed at."""

    @property
    def event_code(self) -> int:
        """What the line is called in the event log."""
        return self.refusal.event_code


@dataclass(slots=True)
class _Record:
    """Where a Command came from, so that its Response finds the way back."""

    expires_at: int
    roads: set[bytes | None] = field(default_factory=set)
    digests: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class HubSettings:
    """What can be switched on a running hub."""

    policy: Policy = Policy.PROPOSED
    drop_repeats: bool = True
    hht_needs_permit: bool = False
    """Whether, under ``permit``, an HHT needs one too."""


class CommsHub:
    """One hub. ``from_wan`` and ``from_device`` judge a message and say where it goes."""

    def __init__(  # who it is, whom it knows, how it is set, and the world outside
        self,
        chf_id: bytes,
        device_log: tuple[LogEntry, ...],
        settings: HubSettings,
        tell: Tell,
        store: DeviceStore | None = None,
        permits: PermitGate | None = None,
    ) -> None:
        """Without ``permits`` the setting ``permit`` passes what ``today`` does and nothing else."""
        self.chf_id = chf_id
        self.settings = settings
        self.log: deque[HubEvent] = deque(maxlen=LOG_MAX)
        self._devices: dict[bytes, LogEntry] = {}
        self._tell = tell
        self._store = store
        self._records: dict[RecordKey, _Record] = {}
        self._passed: dict[bytes, deque[int]] = {}
        self._wan_store: deque[tuple[int, bytes]] = deque()
        self._kept: dict[bytes, deque[tuple[int, bytes]]] = {}
        self._mailboxes: dict[bytes, GasMailbox] = {}
        self._wan_up = False
        self._permits = permits
        self.set_device_log(device_log)
        self._remember(store.load() if store is not None else None)

    # --- who is there ---

    def set_device_log(self, entries: Iterable[LogEntry]) -> None:
        """The devices it knows from now on; what waits for those who left is dropped."""
        self._devices = {entry.device_id: entry for entry in entries}
        gas = [entry.device_id for entry in self._devices.values() if entry.device_type is DeviceType.GSME]
        self._mailboxes = {device_id: self._mailboxes.get(device_id, GasMailbox()) for device_id in gas}
        self._kept = {device_id: kept for device_id, kept in self._kept.items() if device_id in self._devices}

    def type_of(self, device_id: bytes) -> DeviceType | None:
        """What kind of device it is; ``None`` for one it does not know."""
        entry = self._devices.get(device_id)
        return entry.device_type if entry is not None else None

    # --- the two doors ---

    def from_wan(self, message: bytes, now: int) -> list[Deliver]:
        """A message the WAN brought. The WAN carries whole messages (DESIGN CHOICE); long ones are cut for the HAN."""
        limit = self._limit_for(message)
        parts = cut(message, limit) if limit is not None else [message]
        return [delivery for part in parts for delivery in self._take(Road.WAN, None, part, now)]

    def from_device(self, device_id: bytes, message: bytes, now: int) -> list[Deliver]:
        """A message out of a device's tunnel."""
        entry = self._devices.get(device_id)
        if entry is None:
            return self._refuse(Refusal.NOT_IN_LOG, Road.DEVICE, None, message, now)
        return self._take(road_of(entry.device_type), device_id, message, now)

    def _limit_for(self, message: bytes) -> int | None:
        """The size of message its target's tunnel carries; ``None`` for what is no whole message."""
        try:
            header = parse_message(message).header
        except GbcsDecodeError:
            return None
        is_gas = self.type_of(header.business_target_id) is DeviceType.GSME
        return GAS_MESSAGE_SIZE_MAX if is_gas else MESSAGE_SIZE_MAX

    def wan_connected(self, now: int) -> list[Deliver]:
        """The WAN is there: what was stored for it, in order, the too old left out."""
        self._wan_up = True
        if self._permits is not None:
            self._permits.wan_time(now)  # that the WAN brings the time with it is a DESIGN CHOICE
        waiting = [Deliver(None, message) for at, message in self._wan_store if now - at <= WAN_STORE_LIFE_S]
        self._wan_store.clear()
        self._save()
        return waiting

    def wan_lost(self) -> None:
        """The WAN is gone."""
        self._wan_up = False

    def keep_for_wan(self, message: bytes, now: int) -> None:
        """Store a message until the WAN is there: it is down, or took it back."""
        self._wan_store.append((now, message))
        if len(self._wan_store) > WAN_STORE_MAX:
            self._drop_for_wan(now)
        self._save()
        self._tell("hub_stored_for_wan", hub_id=self.chf_id.hex(), message=message.hex())

    def _drop_for_wan(self, now: int) -> None:
        """The store is full: the oldest Response leaves, or the oldest Alert where there are too many of those."""
        kinds = [header.cra if (header := _header(message)) is not None else None for _at, message in self._wan_store]
        leaves = Cra.ALERT if kinds.count(Cra.ALERT) > WAN_STORE_ALERTS_MAX else Cra.RESPONSE
        place = kinds.index(leaves) if leaves in kinds else 0
        _at, message = self._wan_store[place]
        del self._wan_store[place]
        self._note(Refusal.UNDELIVERED, Road.WAN, _header(message), message, now)

    # --- a gas meter's mailbox ---

    def waiting_for(self, gas_meter_id: bytes, now: int) -> int:
        """How many messages wait for a gas meter."""
        self.expire(now)
        mailbox = self._mailboxes.get(gas_meter_id)
        return len(mailbox) if mailbox is not None else 0

    def fetch(self, gas_meter_id: bytes, now: int) -> tuple[bytes | None, int]:
        """A gas meter's GET: the message it is given, and how many wait behind it."""
        self.expire(now)
        mailbox = self._mailboxes.get(gas_meter_id)
        while mailbox is not None:
            entry, remaining = mailbox.fetch()
            if entry is None:
                break
            status = self._may_release(entry.permit_serial, now)
            if status is Status.ACCEPTED:
                device_id, text = gas_meter_id.hex(), entry.message.hex()
                self._tell("hub_mailbox_fetched", device_id=device_id, remaining=remaining, message=text)
                return entry.message, remaining
            self._lost(entry.message)
            self._note(Refusal.PERMIT, Road.PPMID, _header(entry.message), entry.message, now, status)
        return None, 0

    def _may_release(self, permit_serial: int | None, now: int) -> Status:
        """Whether what waits may still go: a permit is judged anew, everything else may."""
        if permit_serial is None:
            return Status.ACCEPTED
        return Status.VOID if self._permits is None else self._permits.release(permit_serial, now)

    def expire(self, now: int) -> None:
        """Drop what a gas meter did not fetch in time."""
        for device_id, mailbox in self._mailboxes.items():
            for entry in mailbox.expire(now):
                road = Road.PPMID if entry.from_han else Road.WAN
                self._note(Refusal.NOT_RETRIEVED, road, _header(entry.message), entry.message, now)
                self._lost(entry.message)
                self._tell("hub_mailbox_expired", device_id=device_id.hex(), event_code=f"{0x819D:04X}")

    # --- what a device could not be given ---

    def hand_over_failed(self, device_id: bytes, message: bytes, now: int) -> None:
        """A tunnel did not take a message: kept for who can wait (PPMID, HHT, gas meter), else dropped and forgotten.

        A Command that is forgotten is no repeat when it comes again.
        """
        entry = self._devices.get(device_id)
        mailbox = self._mailboxes.get(device_id)
        if PermitGate.is_answer(message):
            return  # of use at once or never
        if mailbox is not None:
            mailbox.put_back(message, now)
            return
        if entry is not None and entry.device_type in _REQUESTERS:
            self._kept.setdefault(device_id, deque(maxlen=KEPT_MAX)).append((now, message))
            self._save()
            self._tell("hub_kept_for_device", device_id=device_id.hex(), message=message.hex())
            return
        self._lost(message)
        self._note(Refusal.UNDELIVERED, Road.DEVICE, _header(message), message, now)

    def no_room(self, message: bytes, now: int) -> None:
        """A Command from the HAN found its share of the target's tunnel taken: dropped, and no repeat later."""
        self._lost(message)
        self._note(Refusal.FULL, Road.PPMID, _header(message), message, now)

    def device_connected(self, device_id: bytes, now: int) -> list[Deliver]:
        """A device's tunnel is open: what was kept for it, in order, the too old left out (R8)."""
        kept = self._kept.pop(device_id, None)
        if kept is None:
            return []
        self._save()
        return [Deliver(device_id, message) for at, message in kept if now - at <= KEPT_LIFE_S]

    def _lost(self, message: bytes) -> None:
        """A Command that never reached its target may be forwarded again (R10)."""
        header = _header(message)
        if header is not None:
            key = (header.business_originator_id, header.business_target_id, header.originator_counter)
            record = self._records.get(key)
            if record is not None:
                record.digests.discard(sha256(message).digest())
                self._save()

    # --- judgement ---

    def _take(self, road: Road, sender_id: bytes | None, message: bytes, now: int) -> list[Deliver]:
        gate, carrier = self._gate_for(road, sender_id)
        if gate is not None and carrier is not None and gate.is_record(message):
            return self._take_permit_record(gate, carrier, road, message, now)
        header = _header(message) if len(message) <= MESSAGE_SIZE_MAX else None
        if header is None:
            return self._refuse(Refusal.MALFORMED, road, None, message, now)
        if header.cra is Cra.COMMAND:
            return self._take_command(road, sender_id, header, message, now)
        refusal = allowed(self.settings.policy, road, header, sender_id, DeviceType.CHF)
        if refusal is not None:
            return self._refuse(refusal, road, header, message, now)
        return self._route_back(header, message, now)

    def _take_command(
        self, road: Road, sender_id: bytes | None, header: GroupingHeader, message: bytes, now: int
    ) -> list[Deliver]:
        target = self._devices.get(header.business_target_id)
        target_type = target.device_type if target else DeviceType.TYPE_2
        settings = self.settings
        refusal = allowed(
            settings.policy, road, header, sender_id, target_type, hht_needs_permit=settings.hht_needs_permit
        )
        needs_permit = refusal is not None and by_permit(
            settings.policy, road, hht_needs_permit=settings.hht_needs_permit
        )
        if needs_permit:
            refusal = None
        if refusal is None and target is None:
            refusal = Refusal.UNKNOWN_TARGET
        if refusal is None and sender_id is not None and road is Road.PPMID and not self._within_rate(sender_id, now):
            refusal = Refusal.RATE
        if refusal is not None:
            return self._refuse(refusal, road, header, message, now)
        if needs_permit:
            return self._take_by_permit(road, sender_id, header, message, now)
        return self._pass_on(road, sender_id, header, [message], now)

    def _pass_on(
        self, road: Road, sender_id: bytes | None, header: GroupingHeader, parts: list[bytes], now: int,
        permit_serial: int | None = None,
    ) -> list[Deliver]:  # fmt: skip
        """Hand a Command on that may be: all of its parts, or none of them."""
        self.expire(now)
        target_id = header.business_target_id
        mailbox = self._mailboxes.get(target_id)
        key = (header.business_originator_id, target_id, header.originator_counter)
        self._forget_old(now)
        record = self._records.get(key)
        if record is None:
            if not self._has_place(from_han=sender_id is not None):
                return self._not_handed_over(Refusal.FULL, road, header, parts[0], now, permit_serial)
            life = GAS_RECORD_LIFE_S if mailbox is not None else RECORD_LIFE_S
            if header.other_information.message_code in FUTURE_DATABLE:
                life = FUTURE_RECORD_LIFE_S
            record = self._records[key] = _Record(now + life)
        digests = {sha256(part).digest() for part in parts}
        repeat = digests <= record.digests and self.settings.drop_repeats
        if mailbox is not None and not repeat:
            from_han = sender_id is not None
            if not mailbox.has_room(len(parts), from_han=from_han):
                return self._not_handed_over(Refusal.FULL, road, header, parts[0], now, permit_serial)
            for part in parts:
                mailbox.put(part, now, from_han=from_han, permit_serial=permit_serial)
        record.roads.add(sender_id)
        if repeat:
            return self._not_handed_over(Refusal.DUPLICATE, road, header, parts[0], now, permit_serial)
        record.digests |= digests
        self._save()
        for part in parts:
            self._tell("hub_command_forwarded", hub_id=self.chf_id.hex(), road=road.value, message=part.hex())
        from_han = sender_id is not None
        return [] if mailbox is not None else [Deliver(target_id, part, from_han=from_han) for part in parts]

    def _has_place(self, *, from_han: bool) -> bool:
        """Whether one more road can be remembered."""
        if len(self._records) >= RECORDS_MAX:
            return False
        return not from_han or sum(None not in record.roads for record in self._records.values()) < HAN_RECORDS_MAX

    def _not_handed_over(
        self, refusal: Refusal, road: Road, header: GroupingHeader, message: bytes, now: int, permit_serial: int | None
    ) -> list[Deliver]:
        """A Command that may pass and does not: its permit's hand-over does not count."""
        if permit_serial is not None and self._permits is not None:
            self._permits.undone(permit_serial)
        self._save()
        return self._refuse(refusal, road, header, message, now)

    # --- relay permits ---

    def _gate_for(self, road: Road, sender_id: bytes | None) -> tuple[PermitGate | None, Carrier | None]:
        """The gate and its name for the sender, where permits count."""
        settings = self.settings
        if sender_id is None or not by_permit(settings.policy, road, hht_needs_permit=settings.hht_needs_permit):
            return None, None
        return self._permits, Carrier(sender_id, _PERMIT_ROADS[road])

    def _take_permit_record(
        self, gate: PermitGate, carrier: Carrier, road: Road, message: bytes, now: int
    ) -> list[Deliver]:
        if not gate.within_rate(carrier.carrier_id):
            return self._refuse(Refusal.RATE, road, None, message, now)
        learned = gate.learned
        answer = gate.take_record(carrier, message, now)
        if answer is None:
            return self._refuse(Refusal.MALFORMED, road, None, message, now)
        if gate.learned != learned:  # a stranger's permit teaches nothing, and costs the flash nothing
            self._save()
        if answer.status > Status.NONCE:
            self._note(Refusal.PERMIT, road, None, message, now, answer.status)
        return [self._permit_answer(carrier, answer)]

    def _permit_answer(self, carrier: Carrier, answer: Answer) -> Deliver:
        self._tell(
            "hub_permit_answered",
            hub_id=self.chf_id.hex(),
            carrier_id=carrier.carrier_id.hex(),
            status=answer.status.name.lower(),
            serial=str(answer.serial),
            clock_reliable=answer.clock_reliable,
        )
        return Deliver(carrier.carrier_id, encode_answer(answer))

    def _take_by_permit(
        self, road: Road, sender_id: bytes | None, header: GroupingHeader, message: bytes, now: int
    ) -> list[Deliver]:
        """A Command, or a block of one, that the rule refuses and a permit may let pass."""
        gate, carrier = self._gate_for(road, sender_id)
        if gate is None or carrier is None or not gate.waits_for(carrier):
            return self._refuse(Refusal.NO_PERMIT, road, header, message, now)
        whole: bytes | None = message
        if is_block(message):
            try:
                whole = gate.join(carrier, message)
            except GbcsDecodeError:
                return self._refuse(Refusal.MALFORMED, road, header, message, now)
        if whole is None:
            return []
        verdict = gate.judge(carrier, whole, now)
        if isinstance(verdict, Passed):
            limit = self._limit_for(whole)
            parts = cut(whole, limit) if limit is not None else [whole]
            return self._pass_on(road, sender_id, header, parts, now, verdict.serial)
        self._save()
        status = verdict.answer.status if verdict.answer is not None else None
        self._note(Refusal.PERMIT if status else Refusal.NO_PERMIT, road, header, message, now, status)
        return [self._permit_answer(carrier, verdict.answer)] if verdict.answer is not None else []

    def _route_back(self, header: GroupingHeader, message: bytes, now: int) -> list[Deliver]:
        """A Response or Alert: rules R2, R4, R5 and R6 of han 2.7."""
        if header.cra is Cra.RESPONSE and self._permits is not None and self._permits.answered(header):
            self._save()
        target = self._devices.get(header.business_target_id)
        if target is not None:
            # A gas meter's tunnel is no road for Responses: it would only wake to drop them (DESIGN CHOICE).
            return [] if target.device_type is DeviceType.GSME else [Deliver(target.device_id, message)]
        counter = header.originator_counter if header.cra is Cra.RESPONSE else _counter_named(header, message)
        deliveries = self._by_the_roads_of(header, counter, message, now)
        if header.cra is Cra.RESPONSE:
            self._tell(
                "hub_response_returned", hub_id=self.chf_id.hex(), to_ppmid=bool(deliveries), message=message.hex()
            )
        if self._wan_up:
            deliveries.append(Deliver(None, message))
        else:
            self.keep_for_wan(message, now)
        return deliveries

    def _by_the_roads_of(self, header: GroupingHeader, counter: int | None, message: bytes, now: int) -> list[Deliver]:
        """To every device on the HAN that brought the Command a Response answers, or an Alert names (R2, R6)."""
        if counter is None:
            return []
        record = self._records.get((header.business_target_id, header.business_originator_id, counter))
        roads = record.roads if record is not None and record.expires_at > now else set()
        return [Deliver(road, message) for road in sorted(filter(None, roads)) if road in self._devices]

    def _within_rate(self, sender_id: bytes, now: int) -> bool:
        """Count a Command from the HAN; false once the sender has passed too many."""
        times = self._passed.setdefault(sender_id, deque(maxlen=RATE_PER_DAY))
        last_minute = sum(1 for at in times if now - at < 60)
        if last_minute >= RATE_PER_MINUTE or (len(times) == RATE_PER_DAY and now - times[0] < 86_400):
            return False
        times.append(now)
        return True

    def _forget_old(self, now: int) -> None:
        for key in [key for key, record in self._records.items() if record.expires_at <= now]:
            del self._records[key]

    def _refuse(
        self, refusal: Refusal, road: Road, header: GroupingHeader | None, message: bytes, now: int
    ) -> list[Deliver]:
        self._note(refusal, road, header, message, now)
        return []

    def _note(  # everything a line of the log says
        self, refusal: Refusal, road: Road, header: GroupingHeader | None, message: bytes, now: int,
        permit_status: Status | None = None,
    ) -> None:  # fmt: skip
        code = header.message_code if header is not None else None
        self.log.append(HubEvent(now, road, refusal, code, permit_status))
        self._tell(
            "hub_command_refused",
            hub_id=self.chf_id.hex(),
            road=road.value,
            reason=refusal.value,
            policy=self.settings.policy.value,
            message_code=code,
            message=message[:MESSAGE_SIZE_MAX].hex(),
            **({} if permit_status is None else {"permit_status": permit_status.name.lower()}),
        )

    # --- what survives a power cut ---

    def _save(self) -> None:
        if self._store is None:
            return
        records = [
            [
                [key[0].hex(), key[1].hex(), key[2]],
                record.expires_at,
                [road.hex() if road is not None else None for road in record.roads],
                [digest.hex() for digest in record.digests],
            ]
            for key, record in self._records.items()
        ]
        kept = {device_id.hex(): [[at, message.hex()] for at, message in q] for device_id, q in self._kept.items()}
        wan = [[at, message.hex()] for at, message in self._wan_store]
        raw = {"version": MEMORY_VERSION, "records": records, "wan": wan, "kept": kept}
        if self._permits is not None:
            raw["permits"] = self._permits.saved()
        self._store.save(json.dumps(raw).encode())

    def _remember(self, saved: bytes | None) -> None:
        """Take up what was saved. A Command's digest is not: whether its target has it, a restart cannot tell (R10)."""
        if saved is None:
            return
        raw = json.loads(saved)
        if raw["version"] != MEMORY_VERSION:
            raise ValueError(f"hub memory version {raw['version']} is not {MEMORY_VERSION}")
        if self._permits is not None and "permits" in raw:
            self._permits.restore(raw["permits"])
        for key, expires_at, roads, _digests in raw["records"]:
            originator, target, counter = key
            self._records[bytes.fromhex(originator), bytes.fromhex(target), counter] = _Record(
                expires_at, {bytes.fromhex(road) if road is not None else None for road in roads}
            )
        self._wan_store.extend((at, bytes.fromhex(message)) for at, message in raw["wan"])
        for device_id, messages in raw["kept"].items():
            if bytes.fromhex(device_id) in self._devices:
                self._kept[bytes.fromhex(device_id)] = deque(
                    ((at, bytes.fromhex(message)) for at, message in messages), maxlen=KEPT_MAX
                )


def _counter_named(header: GroupingHeader, message: bytes) -> int | None:
    """The counter of the future-dated Command that an Alert is about; no other content is read here."""
    if header.other_information.message_code not in FUTURE_DATED:
        return None
    try:
        alert = decode_payload(header.other_information.message_code, Cra.ALERT, parse_message(message).content)
    except GbcsDecodeError:
        return None
    match alert:
        case DataNotification(extra=(OctetString(value=value), *_)) if len(value) >= _COUNTER_END:
            return int.from_bytes(value[2:_COUNTER_END], "big")
        case GbzAlert(specific=FutureDatedZcl(originator_counter=counter)):
            return counter
        case _:
            return None


def _header(message: bytes) -> GroupingHeader | None:
    """The header of a whole message or of a block; ``None`` for what is neither, and for a Pre-Command."""
    try:
        if is_block(message):
            return decode_block(message).header
        parsed = parse_message(message)
    except GbcsDecodeError:
        return None
    return None if parsed.kind is Kind.PRE_COMMAND else parsed.header
