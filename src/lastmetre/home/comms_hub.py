"""The Communications Hub's judgement: what it passes on, where Responses go, what it drops. No frames here.

Rules this module keeps (reference: han 2.7 and 3.2 to 3.4; the routing of Responses is a DESIGN CHOICE there):

* It reads headers, never contents, MACs or signatures: the target judges those.
* A Command's road is remembered under {originator, target, counter}; its Response goes back by every road it came, and
  to the WAN. Alerts go to the WAN. A message for a device on the HAN goes to that device alone.
* A repeat of a Command that was handed over, the same bytes, is dropped: it adds its road and nothing else (a switch
  turns this off). Other bytes under the same counter pass: else whoever guesses a counter could block a Command.
* A PPMID has a rate limit and cannot fill a queue the WAN needs. Every refusal is logged with its reason; nothing new
  goes on the air.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Cra, GroupingHeader, Kind, parse_message
from lastmetre.home.hub_policy import DeviceType, Policy, Refusal, Road, allowed, road_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.home.ports import Tell

MESSAGE_SIZE_MAX: Final = 1_500
"""One tunnel message at most (han 0.1); longer ones come in blocks."""
RECORD_LIFE_S: Final = 3_600
"""How long a Command's road is remembered for a device that does not sleep (han R9, DESIGN CHOICE)."""
RECORDS_MAX: Final = 1_024
WAN_STORE_MAX: Final = 64
WAN_STORE_LIFE_S: Final = 7 * 86_400
"""What waits for a lost WAN: 64 messages or seven days (han R7, DESIGN CHOICE)."""
RATE_PER_MINUTE: Final = 10
RATE_PER_DAY: Final = 200
"""Commands one PPMID may pass up (han 3.3, DESIGN CHOICE)."""
LOG_MAX: Final = 1_000

RecordKey = tuple[bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One device in the Device Log."""

    device_id: bytes
    device_type: DeviceType


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message to hand on: to a device's tunnel, or to the WAN when ``device_id`` is ``None``."""

    device_id: bytes | None
    message: bytes


@dataclass(frozen=True, slots=True)
class HubEvent:
    """One line of the hub's own log."""

    at: int
    road: Road
    refusal: Refusal
    message_code: int | None


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


class CommsHub:
    """One hub. ``take`` judges a message and says where it goes."""

    def __init__(self, chf_id: bytes, device_log: tuple[LogEntry, ...], settings: HubSettings, tell: Tell) -> None:
        self.chf_id = chf_id
        self.settings = settings
        self.log: deque[HubEvent] = deque(maxlen=LOG_MAX)
        self._devices: Mapping[bytes, LogEntry] = {entry.device_id: entry for entry in device_log}
        self._tell = tell
        self._records: dict[RecordKey, _Record] = {}
        self._passed: dict[bytes, deque[int]] = {}
        self._wan_store: deque[tuple[int, bytes]] = deque(maxlen=WAN_STORE_MAX)
        self._wan_up = False

    # --- the two doors ---

    def from_wan(self, message: bytes, now: int) -> list[Deliver]:
        """A message the WAN brought."""
        return self._take(Road.WAN, None, message, now)

    def from_device(self, device_id: bytes, message: bytes, now: int) -> list[Deliver]:
        """A message out of a device's tunnel."""
        entry = self._devices.get(device_id)
        if entry is None:
            return self._refuse(Refusal.NOT_IN_LOG, Road.DEVICE, None, message, now)
        return self._take(road_of(entry.device_type), device_id, message, now)

    def wan_connected(self, now: int) -> list[Deliver]:
        """The WAN is there: what was stored for it, in order, the too old left out."""
        self._wan_up = True
        waiting = [Deliver(None, message) for at, message in self._wan_store if now - at <= WAN_STORE_LIFE_S]
        self._wan_store.clear()
        return waiting

    def wan_lost(self) -> None:
        """The WAN is gone."""
        self._wan_up = False

    def keep_for_wan(self, message: bytes, now: int) -> None:
        """Store a message until the WAN is there: it is down, or took it back."""
        self._wan_store.append((now, message))
        self._tell("hub_stored_for_wan", hub_id=self.chf_id.hex(), message=message.hex())

    # --- judgement ---

    def _take(self, road: Road, sender_id: bytes | None, message: bytes, now: int) -> list[Deliver]:
        if len(message) > MESSAGE_SIZE_MAX:
            return self._refuse(Refusal.MALFORMED, road, None, message, now)
        try:
            parsed = parse_message(message)
        except GbcsDecodeError:
            return self._refuse(Refusal.MALFORMED, road, None, message, now)
        header = parsed.header
        if parsed.kind is Kind.PRE_COMMAND:
            return self._refuse(Refusal.MALFORMED, road, header, message, now)
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
        refusal = allowed(self.settings.policy, road, header, sender_id, target_type)
        if refusal is None and target is None:
            refusal = Refusal.UNKNOWN_TARGET
        if refusal is None and sender_id is not None and not self._within_rate(sender_id, now):
            refusal = Refusal.RATE
        if refusal is not None:
            return self._refuse(refusal, road, header, message, now)
        key = (header.business_originator_id, header.business_target_id, header.originator_counter)
        self._forget_old(now)
        record = self._records.get(key)
        if record is None:
            if len(self._records) >= RECORDS_MAX:
                return self._refuse(Refusal.FULL, road, header, message, now)
            record = self._records[key] = _Record(now + RECORD_LIFE_S)
        record.roads.add(sender_id)
        digest = sha256(message).digest()
        if digest in record.digests and self.settings.drop_repeats:
            return self._refuse(Refusal.DUPLICATE, road, header, message, now)
        record.digests.add(digest)
        self._tell("hub_command_forwarded", hub_id=self.chf_id.hex(), road=road.value, message=message.hex())
        return [Deliver(header.business_target_id, message)]

    def _route_back(self, header: GroupingHeader, message: bytes, now: int) -> list[Deliver]:
        """A Response or Alert: rules R2, R4, R5 and R6 of han 2.7."""
        if header.business_target_id in self._devices:
            return [Deliver(header.business_target_id, message)]
        deliveries: list[Deliver] = []
        if header.cra is Cra.RESPONSE:
            key = (header.business_target_id, header.business_originator_id, header.originator_counter)
            record = self._records.get(key)
            roads = record.roads if record is not None and record.expires_at > now else set()
            deliveries = [Deliver(device_id, message) for device_id in sorted(filter(None, roads))]
            self._tell(
                "hub_response_returned", hub_id=self.chf_id.hex(), to_ppmid=bool(deliveries), message=message.hex()
            )
        if self._wan_up:
            deliveries.append(Deliver(None, message))
        else:
            self.keep_for_wan(message, now)
        return deliveries

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
        code = header.message_code if header is not None else None
        self.log.append(HubEvent(now, road, refusal, code))
        self._tell(
            "hub_command_refused",
            hub_id=self.chf_id.hex(),
            road=road.value,
            reason=refusal.value,
            policy=self.settings.policy.value,
            message_code=code,
            message=message[:MESSAGE_SIZE_MAX].hex(),
        )
        return []
