"""What a gas meter keeps of its past: snapshots and the half-hourly profile (gbcs-messages 8.3; GCS15 to GCS17).

A snapshot holds registers and balances as they stood when a day, a billing period, a payment mode or a tariff ended;
its cause says which (bits of Smart Energy's SnapshotCause, from memory: INFERENCE, borne out by the causes the
published Commands ask for). The profile counts litres by half-hour, the daily consumption log by day, and the network
data log in the intervals that GCS31 asked for, from then on and as many of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.datetimes import unix_from_zigbee, zigbee_from_unix
from lastmetre.gbcs.zcl import zcl_command
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas.state import NetworkLog

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
DAY_S: Final = 86_400
DAYS_MAX: Final = 731
"""Days of the daily consumption log: as many as the published GCS61 asks for."""
PROFILE_SAMPLE, DAILY_SAMPLE, NETWORK_SAMPLE = 0, 1, 2
"""Sample ids of GetSampledData, as the published Commands have them."""
PAYMENTS_MAX: Final = 10
"""Top-ups and debt payments kept. DESIGN CHOICE, as at the electricity meter."""


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
    """The profile, the daily log and the network data log with some litres more."""
    slot = at // HALF_HOUR_S
    past = dict(state.profile)
    past[slot] = min(past.get(slot, 0) + litres, NOT_RECORDED - 1)
    state = replace(state, profile=tuple((s, used) for s, used in sorted(past.items()) if s > slot - PROFILE_MAX))
    return _count_network(count_day(state, litres, at), litres, at)


def count_day(state: GasState, litres: int, at: int) -> GasState:
    """The daily log with some litres more."""
    day = at // DAY_S
    past = dict(state.daily)
    past[day] = min(past.get(day, 0) + litres, NOT_RECORDED - 1)
    return replace(state, daily=tuple((d, used) for d, used in sorted(past.items()) if d > day - DAYS_MAX))


def _count_network(state: GasState, litres: int, at: int) -> GasState:
    network = state.network
    if network is None or at < network.start:
        return state
    slot = (at - network.start) // network.interval_s
    if slot >= network.samples_max:
        return state
    counts = dict(network.counts)
    counts[slot] = min(counts.get(slot, 0) + litres, NOT_RECORDED - 1)
    return replace(state, network=replace(network, counts=tuple(sorted(counts.items()))))


def start_network_log(state: GasState, interval_s: int, samples_max: int, at: int) -> GasState | None:
    """A new network data log in the place of the old; ``None`` for one that would hold nothing."""
    if interval_s <= 0 or not 0 < samples_max <= SAMPLES_MAX:
        return None
    return replace(state, network=NetworkLog(at, interval_s, samples_max))


def samples(state: GasState, ask: ZclCommand, now: int) -> ZclCommand | None:
    """The samples a GetSampledData asks for, of intervals that ended; ``None`` where there is none."""
    if _int(ask, "type") != 0:
        return None
    match _int(ask, "sample_id"):
        case 0:
            return _sampled(ask, state.profile, (0, HALF_HOUR_S), now // HALF_HOUR_S - PROFILE_MAX, now)
        case 1:
            first = min((day for day, _litres in state.daily), default=now // DAY_S)
            return _sampled(ask, state.daily, (0, DAY_S), first, now)
        case 2 if state.network is not None:
            network = state.network
            end = min(now, network.start + network.samples_max * network.interval_s)
            return _sampled(ask, network.counts, (network.start, network.interval_s), 0, end)
        case _:
            return None


def _sampled(
    ask: ZclCommand, counts: tuple[tuple[int, int], ...], grid: tuple[int, int], lowest: int, now: int
) -> ZclCommand | None:
    """Samples on a grid (its start, its interval) from the time asked for, but not before the lowest slot."""
    start, interval_s = grid
    first = max(-(-(unix_from_zigbee(_int(ask, "earliest")) - start) // interval_s), lowest)
    ended = max(0, (now - start) // interval_s - first)
    if not ended:
        return None
    past = dict(counts)
    wanted = range(first, first + min(ended, _int(ask, "count"), SAMPLES_MAX))
    return zcl_command(
        "GetSampledDataResponse",
        id=_int(ask, "sample_id"),
        start=zigbee_from_unix(start + first * interval_s),
        type=0,
        interval_s=interval_s % 0x10000,
        samples=[{"value": past.get(slot, 0)} for slot in wanted],
    )


def paid(state: GasState, code: bytes, amount: int, at: int) -> GasState:
    """The state with a credited code in its log."""
    return replace(state, top_ups=(*state.top_ups, (code, amount, at))[-PAYMENTS_MAX:])


def top_ups(state: GasState, ask: ZclCommand, earliest: int | None) -> ZclCommand | None:
    """GCS15e: the codes credited between two times, the newest first (DESIGN CHOICE); ``None`` for none."""
    found = [
        {"code": code, "amount": amount, "time": zigbee_from_unix(at)}
        for code, amount, at in reversed(state.top_ups)
        if (earliest or 0) <= zigbee_from_unix(at) <= _int(ask, "latest_end")
    ]
    if not found:
        return None
    return zcl_command("PublishTopUpLog", index=0, count=1, entries=found[: _int(ask, "count") or len(found)])


def debt_payments(state: GasState, ask: ZclCommand, earliest: int | None) -> ZclCommand | None:
    """GCS15d: what payments paid of one debt, or of all (type FF), between two times; ``None`` for none."""
    wanted = _int(ask, "type")
    found = [
        {"time": zigbee_from_unix(at), "collected": amount, "type": kind, "outstanding": left}
        for at, amount, kind, left in reversed(state.debt_payments)
        if (earliest or 0) <= zigbee_from_unix(at) <= _int(ask, "latest_end") and wanted in {kind, 0xFF}
    ]
    if not found:
        return None
    return zcl_command("PublishDebtLog", index=0, count=1, entries=found[: _int(ask, "debts") or len(found)])


def _int(command: ZclCommand, field: str) -> int:
    value = command[field]
    assert isinstance(value, int)
    return value
