"""What published gas Commands take for granted: a meter that lived, made up here and of no particular values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.datetimes import unix_from_zigbee
from lastmetre.gbcs.gbz import EncryptedZcl, Gbz
from lastmetre.gbcs.zcl import ZclCommand, zcl_command
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import history
from lastmetre.home.gas.calendars import NON_DISABLEMENT, TARIFF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.gbcs.payload import Payload
    from lastmetre.home.gas.state import GasState

LIVED: Final = "prepayment mode with little credit, calendars, a tariff, snapshots and gas used"
ASKS: Final = frozenset({"GetSnapshot", "GetPrepaySnapshot"})
_ANY_DAY: Final = bytes((0xFF, 1, 1, 0xFF))


def lived(state: GasState, command: Payload, answers: tuple[Payload, ...], at: int) -> GasState:
    """A gas meter with what the reads of published Commands find; as many snapshots as the answers bring."""
    values: dict[zcl.Key, zcl.Value] = {zcl.CONFIGURATION: 0x0097, zcl.CREDIT: 1, zcl.MAX_TOP_UP: 100_000_000}
    state = state.with_values(values)
    state = state.publish(TARIFF, *_calendar(0, 1)).publish(NON_DISABLEMENT, *_calendar(3, 2))
    state = state.publish("tariff-information", _tariff())
    period = zcl_command(
        "PublishBillingPeriod", provider=0, issuer_event=0, start=0, duration=1, duration_type=34, tariff_type=0
    )
    state = state.publish("billing-period", period)
    for cause, moment in _snapshots(command, answers):
        state = history.take(state, cause, moment)
    begun = history.start_network_log(state, 360, 41, at - history.DAY_S)
    state = state if begun is None else begun
    for day in range(5):
        state = history.count(state, 100, at - day * history.DAY_S - 3_600)
    return state


def _snapshots(command: Payload, answers: tuple[Payload, ...]) -> Iterator[tuple[int, int]]:
    """Cause and time of the snapshots that a Command finds, going by its answers: within the times it asks for."""
    parts = command.components if isinstance(command, Gbz) else ()
    asked = [part.body for part in parts if isinstance(part.body, ZclCommand) and part.body.name in ASKS]
    found = max((_encrypted(answer) for answer in answers if isinstance(answer, Gbz)), default=0)
    if not asked:
        return
    cause, start = asked[0]["cause"], asked[0]["earliest_start"]
    assert isinstance(cause, int)
    assert isinstance(start, int)
    one_cause = next((bit for bit in history.KEPT if cause & bit), history.DAILY)
    for number in range(found):
        yield one_cause, unix_from_zigbee(start) + 3_600 + number * history.DAY_S


def _encrypted(answer: Gbz) -> int:
    """The most encrypted answers of one cluster: a snapshot has two halves."""
    clusters = [part.cluster for part in answer.components if isinstance(part.body, EncryptedZcl)]
    return max((clusters.count(cluster) for cluster in clusters), default=0)


def _calendar(kind: int, calendar_id: int) -> tuple[ZclCommand, ...]:
    head = {"provider": 0, "issuer_event": 0, "calendar": calendar_id}
    week = dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"), 1)
    return (
        zcl_command(
            "PublishCalendar", **head, start=0, type=kind, time_reference=0, name=b"", seasons=1, weeks=1, days=1,
        ),
        zcl_command(
            "PublishDayProfile", **head, day_id=1, total_entries=1, index=0, count=1, type=kind,
            entries=[{"minute_of_day": 0, "tier_or_flag": 1}],
        ),
        zcl_command("PublishWeekProfile", **head, week_id=1, **week),
        zcl_command("PublishSeasons", **head, index=0, count=1, seasons=[{"start": _ANY_DAY, "week_id": 1}]),
        zcl_command(
            "PublishSpecialDays", **head, start=0, type=kind, total_days=1, index=0, count=1,
            days=[{"date": _ANY_DAY, "day_id": 1}],
        ),
    )  # fmt: skip


def _tariff() -> ZclCommand:
    return zcl_command(
        "PublishTariffInformation", provider=0, issuer_event=0, tariff_id=1, start=0, type_and_scheme=0, label=b"",
        tiers=4, block_thresholds=0, unit=0, currency=826, trailing_digit=0x50, standing_charge=1, tier_block_mode=0xFF,
        multiplier=1, divisor=1_000,
    )  # fmt: skip


def closed(state: GasState) -> GasState:
    """The valve closed by the supplier before."""
    return replace(state, valve=type(state.valve).OFF_BY_COMMAND)
