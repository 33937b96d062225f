"""What a gas meter keeps of its past: snapshots and the half-hourly profile (gbcs-messages 8.3; GCS15 to GCS17).

A snapshot holds registers and balances as they stood when a day, a billing period, a payment mode or a tariff ended;
its cause says which (bits of Smart Energy's SnapshotCause, from memory: INFERENCE, borne out by the causes the
published Commands ask for). The profile counts litres by half-hour.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.datetimes import unix_from_zigbee, zigbee_from_unix
from lastmetre.gbcs.zcl import zcl_command
from lastmetre.home.gas import attributes as zcl

if TYPE_CHECKING:
    from lastmetre.gbcs.zcl import ZclCommand
    from lastmetre.home.gas.state import GasState

DAILY: Final = 1 << 0
BILLING: Final = 1 << 1
TARIFF_CHANGED: Final = 1 << 3
MODE_CHANGED: Final = 1 << 14
KEPT: Final = {DAILY: 31, BILLING: 13, TARIFF_CHANGED: 12, MODE_CHANGED: 12}
"""Snapshots kept for each cause. DESIGN CHOICE, after how many the published Commands ask for."""
HALF_HOUR_S: Final = 1_800
PROFILE_MAX: Final = 48 * 31
"""Half-hours kept. DESIGN CHOICE."""
SAMPLES_MAX: Final = 1_000
METERING_PAYLOAD: Final = 6
NOT_RECORDED: Final = 0xFFFFFF


def take(state: GasState, cause: int, at: int) -> GasState:
    """The state with one more snapshot; the oldest of its cause leaves when there are enough."""
    number = max((_int(metering, "id") for metering, _money in state.snapshots), default=0) + 1
    head = {"id": number, "time": zigbee_from_unix(at), "found": 1, "index": 0, "count": 1, "cause": cause}
    metering = zcl_command(
        "PublishSnapshot",
        **head,
        payload_type=METERING_PAYLOAD,
        summation=state.number(zcl.SUMMATION),
        tiers=[{"summation": state.number(key)} for key in zcl.TIER_SUMMATIONS],
        tiers_and_thresholds=0,
        blocks=[{"counter": state.number(key)} for key in zcl.BLOCK_SUMMATIONS],
    )
    money = zcl_command(
        "PublishPrepaySnapshot",
        **head,
        payload_type=0,
        accumulated_debt=state.number(zcl.TOTAL_DEBT),
        time_debt_1=state.number(zcl.DEBT_AMOUNT[0]),
        time_debt_2=state.number(zcl.DEBT_AMOUNT[1]),
        payment_debt=state.number(zcl.DEBT_AMOUNT[2]),
        emergency_credit=state.emergency_remaining,
        balance=state.number(zcl.CREDIT),
    )
    alike = [pair for pair in state.snapshots if _int(pair[0], "cause") == cause][-(KEPT[cause] - 1) :]
    others = [pair for pair in state.snapshots if _int(pair[0], "cause") != cause]
    return replace(state, snapshots=(*others, *alike, (metering, money)))


def find(state: GasState, ask: ZclCommand, *, money: bool) -> ZclCommand | None:
    """The snapshot a GetSnapshot or GetPrepaySnapshot asks for: the offset-th of a time and of any of its causes."""
    start, end, causes = _int(ask, "earliest_start"), _int(ask, "latest_end"), _int(ask, "cause")
    found = [
        pair[1 if money else 0]
        for pair in state.snapshots
        if start <= _int(pair[0], "time") <= end and _int(pair[0], "cause") & causes
    ]
    offset = _int(ask, "offset")
    if offset >= len(found):
        return None
    chosen = found[offset]
    fields = tuple(
        (name, len(found) - offset if name == "found" and value == 1 else value) for name, value in chosen.fields
    )
    return replace(chosen, fields=fields)


def count(state: GasState, litres: int, at: int) -> GasState:
    """The profile with some litres more in its half-hour."""
    slot = at // HALF_HOUR_S
    past = dict(state.profile)
    past[slot] = min(past.get(slot, 0) + litres, NOT_RECORDED - 1)
    return replace(state, profile=tuple((s, used) for s, used in sorted(past.items()) if s > slot - PROFILE_MAX))


def samples(state: GasState, ask: ZclCommand, now: int) -> ZclCommand | None:
    """The half-hours a GetSampledData asks for, those that ended; ``None`` for a sample there is none of."""
    if _int(ask, "sample_id") != 0 or _int(ask, "type") != 0:
        return None
    first = -(-unix_from_zigbee(_int(ask, "earliest")) // HALF_HOUR_S)
    first = max(first, now // HALF_HOUR_S - PROFILE_MAX)
    ended = max(0, now // HALF_HOUR_S - first)
    if not ended:
        return None
    past = dict(state.profile)
    wanted = range(first, first + min(ended, _int(ask, "count"), SAMPLES_MAX))
    return zcl_command(
        "GetSampledDataResponse",
        id=0,
        start=zigbee_from_unix(first * HALF_HOUR_S),
        type=0,
        interval_s=HALF_HOUR_S,
        samples=[{"value": past.get(slot, 0)} for slot in wanted],
    )


def _int(command: ZclCommand, field: str) -> int:
    value = command[field]
    assert isinstance(value, int)
    return value
