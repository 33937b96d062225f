"""What a hub does with relay permits: every check in its order, over a state that is a value.

Reference: permit, "Rules at the hub" 1, 2, 3 and 5. DESIGN CHOICES beyond it: a record whose form breaks any rule but
length and version fails as *reserved bits*; an accepted permit waits 60 s for its Command, one per carrier; the road
byte is judged with the carrier.

Rules this module keeps: a function takes a ``PermitBook`` and gives the next one with the status; the caller stores
what ``durable`` keeps of it before anything is forwarded. Randomness (nonces) and both clocks come in as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import read_header
from lastmetre.relay.errors import RelayValueError
from lastmetre.relay.permit import (
    NO_NONCE,
    NONCE_OCTETS,
    Answer,
    Permit,
    Road,
    Status,
    command_digest,
    decode_permit,
    mac_is_right,
)

if TYPE_CHECKING:
    from lastmetre.gbcs.keys import SharedSecret
    from lastmetre.gbcs.message import GroupingHeader

NONCE_LIFE_S: Final = 15 * 60
COMMAND_WAIT_S: Final = 60
"""How long an accepted permit waits for its Command, blocks included."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Who judges: its two device identifiers, its broker, and the secret it shares with the broker."""

    hub_id: bytes
    gpf_id: bytes
    broker_id: bytes
    secret: SharedSecret


@dataclass(frozen=True, slots=True)
class Carrier:
    """Whose tunnel it came by."""

    carrier_id: bytes
    road: Road = Road.PPMID


@dataclass(frozen=True, slots=True)
class Moment:
    """Two clocks. ``now_at`` is UTC, ``None`` while no WAN time was received since power-on; the other never jumps."""

    now_at: int | None
    monotonic_s: float


@dataclass(frozen=True, slots=True)
class CommandKey:
    """What a Response repeats of its Command, identifiers swapped."""

    originator_id: bytes
    target_id: bytes
    originator_counter: int


@dataclass(frozen=True, slots=True)
class Used:
    """A serial under which a Command was handed over. ``ends_s``: a nonce permit's end, on this power-on's clock."""

    serial: int
    digest: bytes
    key: CommandKey
    uses: int
    keep_until: int
    hold_until: int
    nonce_mode: bool
    ends_s: float | None = None
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A nonce given to a carrier and not come back yet."""

    carrier_id: bytes
    nonce: bytes
    ends_s: float


@dataclass(frozen=True, slots=True)
class Pending:
    """An accepted permit that waits for its Command."""

    permit: Permit
    accepted_s: float


@dataclass(frozen=True, slots=True)
class PermitBook:
    """All that a hub remembers of permits."""

    used: tuple[Used, ...] = ()
    void_below: int = 0
    floor_at: int = 0
    nonces: tuple[Outstanding, ...] = ()
    pending: tuple[Pending, ...] = ()


def durable(book: PermitBook) -> PermitBook:
    """What is kept over a power cut: serials, what is void, and the floor of the clock; never a nonce."""
    return replace(book, used=tuple(replace(one, ends_s=None) for one in book.used), nonces=(), pending=())


def judge_permit(
    book: PermitBook, hub: Hub, carrier: Carrier, data: bytes, moment: Moment
) -> tuple[PermitBook, Answer]:
    """Checks 02 to 0B. An accepted permit waits for its Command; a refused one leaves no trace but a valid one's."""
    book = clock_heard(book, moment)
    read = decode_permit(data)
    if isinstance(read, Status):
        return book, _answer(book, read, 0, moment)
    status = _origin(read, hub, carrier, data)
    if status is None:
        # The broker said this, whatever comes of it: time has passed issued_at, and older serials are dead.
        floor_at = max(book.floor_at, read.issued_at)
        book = replace(book, floor_at=floor_at, void_below=max(book.void_below, read.void_below))
        status = _replay(book, read) or _time(book, read, carrier, moment) or _handovers(book, read)
    if status is not None:
        return book, _answer(book, status, read.serial, moment)
    # A nonce is spent when its permit is accepted, whether or not the Command ever comes.
    book = replace(
        book,
        nonces=tuple(one for one in book.nonces if one.nonce != read.hub_nonce),
        pending=(*_others(book, carrier.carrier_id), Pending(read, moment.monotonic_s)),
    )
    return book, _answer(book, Status.ACCEPTED, read.serial, moment)


def judge_command(
    book: PermitBook, hub: Hub, carrier: Carrier, command: bytes, moment: Moment
) -> tuple[PermitBook, Answer | None]:
    """Checks 0C to 10, on the whole Command. ``None``: there is no permit for it. Whatever it says, the permit is spent
    as a waiting one; after ``ACCEPTED`` the hand-over counts, and the Command may be stored or forwarded.
    """
    book = clock_heard(book, moment)
    found = [one for one in book.pending if one.permit.carrier_id == carrier.carrier_id]
    book = replace(book, pending=_others(book, carrier.carrier_id))
    if not found or moment.monotonic_s - found[0].accepted_s > COMMAND_WAIT_S:
        return book, None
    permit = found[0].permit
    if permit.serial < book.void_below:  # another carrier's permit said so meanwhile
        return book, _answer(book, Status.VOID, permit.serial, moment)
    header = _header(command)
    status = _command(permit, hub, command, header)
    if status is None and header is not None:
        book = _handed_over(book, found[0], header)
        status = Status.ACCEPTED
    assert status is not None, "a Command without a header never passes"
    return book, _answer(book, status, permit.serial, moment)


def give_nonce(book: PermitBook, carrier: Carrier, nonce: bytes, moment: Moment) -> tuple[PermitBook, Answer]:
    """Answers the question ``52``: eight random octets, one outstanding per carrier, the older one dead."""
    if len(nonce) != NONCE_OCTETS or nonce == NO_NONCE:
        raise RelayValueError("hub_nonce", "not_eight_octets")
    book = clock_heard(book, moment)
    others = tuple(
        one for one in book.nonces if one.carrier_id != carrier.carrier_id and one.ends_s > moment.monotonic_s
    )
    given = Outstanding(carrier.carrier_id, nonce, moment.monotonic_s + NONCE_LIFE_S)
    book = replace(book, nonces=(*others, given))
    return book, replace(_answer(book, Status.NONCE, 0, moment), hub_nonce=nonce)


def hand_over_undone(book: PermitBook, serial: int) -> PermitBook:
    """The Command was not handed over after all (a full queue, a repeat): the hand-over does not count, the serial and
    its digest stay bound to each other.
    """
    return replace(
        book, used=tuple(replace(one, uses=one.uses - 1) if one.serial == serial else one for one in book.used)
    )


def response_seen(book: PermitBook, header: GroupingHeader) -> PermitBook:
    """A Response passed: its Command needs no further hand-over."""
    key = CommandKey(header.business_target_id, header.business_originator_id, header.originator_counter)
    return replace(book, used=tuple(replace(one, answered=True) if one.key == key else one for one in book.used))


def judge_release(book: PermitBook, serial: int, moment: Moment) -> Status:
    """Whether a Command that waits in the gas mailbox may still go to the meter that asks (rule 5)."""
    found = _used(book, serial)
    if found is None or serial < book.void_below:
        return Status.VOID
    if found.nonce_mode:
        return Status.ACCEPTED if found.ends_s is not None and moment.monotonic_s <= found.ends_s else Status.TIME
    if moment.now_at is None:
        return Status.TIME
    return Status.ACCEPTED if max(moment.now_at, book.floor_at) <= found.hold_until else Status.TIME


def clock_heard(book: PermitBook, moment: Moment) -> PermitBook:
    """The floor of the clock never goes back; what can no longer be offered is forgotten."""
    if moment.now_at is None:
        return book
    floor_at = max(book.floor_at, moment.now_at)
    # Forgotten only by real time: from then on the time alone refuses the serial.
    used = tuple(one for one in book.used if one.keep_until >= floor_at or _runs(one, moment))
    return replace(book, floor_at=floor_at, used=used)


def _runs(used: Used, moment: Moment) -> bool:
    return used.ends_s is not None and moment.monotonic_s <= used.ends_s


def _origin(permit: Permit, hub: Hub, carrier: Carrier, data: bytes) -> Status | None:
    if permit.hub_id != hub.hub_id:
        return Status.HUB
    if permit.carrier_id != carrier.carrier_id or permit.road is not carrier.road:
        return Status.CARRIER
    if permit.broker_id != hub.broker_id or not mac_is_right(data, hub.broker_id, hub.hub_id, hub.secret):
        return Status.MAC
    return None


def _replay(book: PermitBook, permit: Permit) -> Status | None:
    if permit.serial < book.void_below:
        return Status.VOID
    before = _used(book, permit.serial)
    if before is not None and before.digest != permit.digest:
        return Status.SERIAL_USED
    return None


def _time(book: PermitBook, permit: Permit, carrier: Carrier, moment: Moment) -> Status | None:
    """The clock for ordinary permits, the nonce for the others: a hub that knows no time trusts nothing but itself."""
    if permit.hub_nonce is not None:
        before = _used(book, permit.serial)
        if before is not None:  # a repeat: its nonce was spent, its span must still run
            return None if _runs(before, moment) else Status.TIME
        good = any(
            one.nonce == permit.hub_nonce and one.carrier_id == carrier.carrier_id and moment.monotonic_s <= one.ends_s
            for one in book.nonces
        )
        return None if good else Status.TIME
    if moment.now_at is None:
        return Status.TIME
    return None if permit.not_before <= max(moment.now_at, book.floor_at) <= permit.not_after else Status.TIME


def _handovers(book: PermitBook, permit: Permit) -> Status | None:
    before = _used(book, permit.serial)
    if before is not None and (before.answered or before.uses >= permit.max_handovers):
        return Status.NO_HANDOVER_LEFT
    return None


def _command(permit: Permit, hub: Hub, command: bytes, header: GroupingHeader | None) -> Status | None:
    if len(command) != permit.command_octets:
        return Status.COMMAND_LENGTH
    if command_digest(command) != permit.digest:
        return Status.COMMAND_DIGEST
    if header is None or header.message_code != permit.message_code:
        return Status.COMMAND_CODE
    if header.business_target_id != permit.target_id:
        return Status.COMMAND_TARGET
    if permit.target_id in {hub.hub_id, hub.gpf_id} and not permit.target_is_hub:
        return Status.TARGET_IS_HUB
    return None


def _handed_over(book: PermitBook, pending: Pending, header: GroupingHeader) -> PermitBook:
    permit = pending.permit
    before = _used(book, permit.serial)
    key = CommandKey(header.business_originator_id, header.business_target_id, header.originator_counter)
    nonce_mode = permit.hub_nonce is not None
    if before is not None:
        after = replace(before, uses=before.uses + 1)
    else:
        span_s = max(permit.hold_until - permit.issued_at, 0)
        ends_s = pending.accepted_s + span_s if nonce_mode else None
        keep_until = max(permit.hold_until, permit.not_after)
        after = Used(permit.serial, permit.digest, key, 1, keep_until, permit.hold_until, nonce_mode, ends_s)
    return replace(book, used=(*(one for one in book.used if one.serial != permit.serial), after))


def _used(book: PermitBook, serial: int) -> Used | None:
    return next((one for one in book.used if one.serial == serial), None)


def _others(book: PermitBook, carrier_id: bytes) -> tuple[Pending, ...]:
    return tuple(one for one in book.pending if one.permit.carrier_id != carrier_id)


def _header(command: bytes) -> GroupingHeader | None:
    try:
        return read_header(command)
    except GbcsDecodeError:
        return None


def _answer(book: PermitBook, status: Status, serial: int, moment: Moment) -> Answer:
    return Answer(status, moment.now_at is not None, serial, book.floor_at)
