"""Relay permits: the DSP's word to a hub that one Command it sealed may be handed over, by whom, and until when.

DESIGN CHOICE throughout (reference: permit): the real DCC has no such service, and DUIS no field for it. A User asks
when a PPMID is ready for the Command, not before: just-in-time issue, more than the MAC, is what shrinks a hoard.

Rules this module keeps:

* A permit is made for a Command that the DSP sealed for this very User, for local delivery, that nobody answered and
  no later Command in its lane overtook. A digest that is not that Command's gets the same answer as an unknown one.
* The User is active, and at this moment the registered supplier of the target; the carrier is a PPMID of the target's
  hub; a Command for the hub itself gets its flag here and nowhere else.
* It begins at once and lives fifteen minutes at most; for a gas meter that sleeps it may wait two wake-ups longer.
* Serial and record are durable before the permit leaves. Serials of a hub are never used twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.access_control import LOCAL_DELIVERY_ROLES, REACHABLE_STATUSES
from lastmetre.dcc.errors import PermitRefused
from lastmetre.dcc.inventory import DeviceType, UserStatus
from lastmetre.dcc.ports import PermitRecord, Route
from lastmetre.gbcs.catalogue import Lane, use_case
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import read_header
from lastmetre.relay.permit import NO_NONCE, NONCE_OCTETS, Permit, command_digest, make_permit

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.dcc.inventory import Device, Inventory
    from lastmetre.dcc.ports import Clock, DspStore, PermitAsk, PermitStore, SealedCommand, Tell
    from lastmetre.dcc.sealing import Broker

LIFE_S: Final = 15 * 60
"""From issue to the last hand-over, at most and by default."""
GAS_WAIT_S: Final = 65 * 60
"""How much longer a Command may wait for a gas meter: two wake-ups (permit, rule 5)."""
AHEAD_MAX_S: Final = 60
"""How far ahead a permit may begin: it is asked for when it is needed."""
LIVE_MAX: Final = 12
"""Permits for one Command within their longest life: renewals and nonces of an hour in trouble, and no stock."""


class PermitCode(StrEnum):
    """Why no permit is made; the User is told this word and nothing else."""

    UNKNOWN_USER = "unknown-user"
    USER_STATUS = "user-status"
    UNKNOWN_COMMAND = "unknown-command"
    NOT_REGISTERED = "not-registered"
    ANSWERED = "answered"
    SUPERSEDED = "superseded"
    UNKNOWN_CARRIER = "unknown-carrier"
    NOT_NOW = "not-now"
    BAD_NONCE = "bad-nonce"
    TOO_MANY = "too-many"
    NO_KEY = "no-key"


class Permits:
    """Makes relay permits (implements ``ports.PermitDoor``)."""

    def __init__(
        self,
        *,
        broker: Broker,
        inventory: Callable[[], Inventory],
        commands: DspStore,
        store: PermitStore,
        tell: Tell,
        clock: Clock,
    ) -> None:
        """``inventory`` gives it as it is now."""
        self._broker = broker
        self._inventory = inventory
        self._commands = commands
        self._store = store
        self._tell = tell
        self._clock = clock

    def issue(self, user_id: bytes, ask: PermitAsk) -> PermitRecord:
        """As in the port."""
        now = self._clock()
        try:
            record = self._issue(user_id, ask, now)
        except PermitRefused as refused:
            self._tell(
                "relay_permit_refused",
                request_id=ask.request_id[:64],
                user_id=user_id.hex(),
                code=refused.code,
                reason=refused.reason,
            )
            raise
        self._tell(
            "relay_permit_issued",
            request_id=record.request_id,
            user_id=user_id.hex(),
            hub_id=record.hub_id.hex(),
            carrier_id=record.carrier_id.hex(),
            serial=str(record.serial),
            life_s=record.not_after - record.issued_at,
            by_nonce=ask.hub_nonce is not None,
        )
        return record

    def void(self, hub_id: bytes) -> int:
        """Have every permit made so far for a hub dead, from the next one on that reaches it; the first good serial."""
        with self._store.change() as change:
            first = change.void(hub_id)
        self._tell("relay_permits_voided", hub_id=hub_id.hex(), void_below=str(first))
        return first

    def _issue(self, user_id: bytes, ask: PermitAsk, now: int) -> PermitRecord:
        self._check_user(user_id)
        command, device = self._command(user_id, ask, now)
        hub_id = command.hub_id
        self._check_carrier(ask.carrier_id, hub_id)
        not_before, not_after, hold_until = _times(ask, device, now)
        if ask.hub_nonce is not None and (len(ask.hub_nonce) != NONCE_OCTETS or ask.hub_nonce == NO_NONCE):
            raise PermitRefused(PermitCode.BAD_NONCE, "a hub's nonce has eight octets, not all zero")
        hub = self._broker.device_certificate(hub_id, KeyUse.KEY_AGREEMENT)
        if hub is None:
            raise PermitRefused(PermitCode.NO_KEY, f"there is no key agreement certificate of {hub_id.hex()}")
        with self._store.change() as change:
            if change.issued(command.request_id, now - LIFE_S) >= LIVE_MAX:
                raise PermitRefused(PermitCode.TOO_MANY, f"{LIVE_MAX} permits within {LIFE_S} s for one Command")
            serial = change.next_serial(hub_id)
            permit = Permit(
                serial=serial,
                broker_id=self._broker.entity_id,
                hub_id=hub_id,
                carrier_id=ask.carrier_id,
                target_id=device.device_id,
                message_code=read_header(command.command).message_code,
                command_octets=len(command.command),
                digest=ask.digest,
                issued_at=now,
                not_before=not_before,
                not_after=not_after,
                hold_until=hold_until,
                void_below=change.void_below(hub_id),
                hub_nonce=ask.hub_nonce,
                target_is_hub=device.device_type in {DeviceType.CHF, DeviceType.GPF},
            )
            octets = make_permit(permit, self._broker.agree(hub.public_key))
            record = PermitRecord(
                serial, hub_id, command.request_id, user_id, ask.carrier_id, ask.digest, now, not_after, octets
            )
            change.keep(record)
        return record

    def _check_user(self, user_id: bytes) -> None:
        user = self._inventory().user(user_id)
        if user is None:
            raise PermitRefused(PermitCode.UNKNOWN_USER, f"{user_id.hex()} is no User of the DCC")
        if user.status is not UserStatus.ACTIVE:
            raise PermitRefused(PermitCode.USER_STATUS, f"the User is {user.status}")

    def _command(self, user_id: bytes, ask: PermitAsk, now: int) -> tuple[SealedCommand, Device]:
        """The Command asked about and its target, both fit for a permit."""
        with self._commands.change() as change:
            command = change.command_of_request(ask.request_id)
            if (
                command is None
                or command.user_id != user_id
                or command.route is Route.WAN
                or command_digest(command.command) != ask.digest
            ):
                # One answer for all of them: who asks learns nothing of other Users' Commands.
                reason = "no Command with this digest was sealed for this User and request, for local delivery"
                raise PermitRefused(PermitCode.UNKNOWN_COMMAND, reason)
            lane = _lane_of(command)
            highest = -1 if lane is None else change.lane(user_id, command.target_id, lane).sealed
        device = self._inventory().device(command.target_id)
        if device is None or not self._inventory().roles_of(device, user_id, now) & LOCAL_DELIVERY_ROLES:
            raise PermitRefused(PermitCode.NOT_REGISTERED, "the User is not the device's registered supplier now")
        if device.hub_id != command.hub_id:
            raise PermitRefused(PermitCode.NOT_REGISTERED, "the device hangs on another hub now")
        if command.answered_at is not None:
            raise PermitRefused(PermitCode.ANSWERED, "the Command was answered")
        if lane is Lane.ORDINARY and command.counter < highest:
            raise PermitRefused(PermitCode.SUPERSEDED, f"a later Command, counter {highest}, was sealed")
        return command, device

    def _check_carrier(self, carrier_id: bytes, hub_id: bytes) -> None:
        carrier = self._inventory().device(carrier_id)
        if (
            carrier is None
            or carrier.device_type is not DeviceType.PPMID
            or carrier.hub_id != hub_id
            or carrier.status not in REACHABLE_STATUSES
        ):
            raise PermitRefused(PermitCode.UNKNOWN_CARRIER, "the carrier is no PPMID in use at the target's hub")


def _lane_of(command: SealedCommand) -> Lane | None:
    case = use_case(read_header(command.command).message_code)
    return None if case is None else case.lane


def _times(ask: PermitAsk, device: Device, now: int) -> tuple[int, int, int]:
    """Beginning, last hand-over and last release: what was asked, cut to what is allowed."""
    not_before = max(now if ask.not_before is None else ask.not_before, now)
    if not_before > now + AHEAD_MAX_S:
        raise PermitRefused(PermitCode.NOT_NOW, f"it would begin {not_before - now} s from now; ask when it is needed")
    longest = now + LIFE_S
    not_after = longest if ask.not_after is None else min(ask.not_after, longest)
    if not_after < not_before:
        raise PermitRefused(PermitCode.NOT_NOW, "it would be over before it begins")
    wait_s = GAS_WAIT_S if device.device_type is DeviceType.GSME else 0
    hold_until = not_after + wait_s if ask.hold_until is None else min(ask.hold_until, not_after + wait_s)
    return not_before, not_after, max(hold_until, not_after)
