"""What flows through a meter: a load profile is asked for each span of time. No clock and no chance in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Flow:
    """What flowed in a span: watt hours and reactive volt-ampere hours, and the mean voltage of each phase."""

    active_import: int = 0
    reactive_import: int = 0
    active_export: int = 0
    reactive_export: int = 0
    secondary_import: int = 0
    voltages: tuple[int, ...] = (240,)


class LoadProfile(Protocol):
    """Gives the flow of a span; asked for spans that join without a gap, it must give whole watt hours that add up."""

    def __call__(self, from_at: int, until_at: int) -> Flow:
        """What flowed between two moments, with the supply on."""


def no_load(from_at: int, until_at: int) -> Flow:  # noqa: ARG001 - one of the profiles
    """Nothing is switched on."""
    return Flow()


@dataclass(frozen=True, slots=True)
class HourlyLoad:
    """The same every day: mean watts for each hour of it; export and reactive energy as shares in per cent."""

    watts: tuple[int, ...]
    reactive_percent: int = 10
    export_watts: int = 0
    secondary_watts: int = 0
    voltages: tuple[int, ...] = (240,)

    def _watt_seconds(self, at: int) -> int:
        """Counted from 1970, so that spans add up whatever their ends."""
        days, seconds = divmod(at, 86_400)
        hours, rest = divmod(seconds, 3_600)
        whole = days * sum(self.watts) + sum(self.watts[:hours])
        return whole * 3_600 + rest * self.watts[hours]

    def __call__(self, from_at: int, until_at: int) -> Flow:
        """What flowed between two moments, with the supply on."""
        active = self._watt_seconds(until_at) // 3_600 - self._watt_seconds(from_at) // 3_600
        reactive = (
            self._watt_seconds(until_at) * self.reactive_percent // 360_000
            - self._watt_seconds(from_at) * self.reactive_percent // 360_000
        )
        return Flow(
            active,
            reactive,
            _steady(self.export_watts, from_at, until_at),
            _steady(self.export_watts, from_at, until_at) * self.reactive_percent // 100,
            _steady(self.secondary_watts, from_at, until_at),
            self.voltages,
        )


def steady_load(watts: int) -> HourlyLoad:
    """The same watts at all hours."""
    return HourlyLoad((watts,) * 24)


HALF_HOURS: Final = 48
HALF_HOUR_S: Final = 1_800
WATTS_MAX: Final = 30_000
"""More than a house's fuse lets through: such a table has a slip in it."""


@dataclass(frozen=True, slots=True)
class HalfHourlyLoad:
    """The same every day: mean watts for each half hour of it, in UTC, from midnight."""

    watts: tuple[int, ...]
    reactive_percent: int = 10
    voltages: tuple[int, ...] = (240,)

    def __post_init__(self) -> None:
        """Forty-eight of them, or it is no day."""
        if len(self.watts) != HALF_HOURS:
            raise LoadTableError(f"a day has {HALF_HOURS} half hours, not {len(self.watts)}")

    def _watt_seconds(self, at: int) -> int:
        """Counted from 1970, so that spans add up whatever their ends."""
        days, seconds = divmod(at, 86_400)
        slots, rest = divmod(seconds, HALF_HOUR_S)
        return (days * sum(self.watts) + sum(self.watts[:slots])) * HALF_HOUR_S + rest * self.watts[slots]

    def __call__(self, from_at: int, until_at: int) -> Flow:
        """What flowed between two moments, with the supply on."""
        first, last = self._watt_seconds(from_at), self._watt_seconds(until_at)
        active = last // 3_600 - first // 3_600
        reactive = last * self.reactive_percent // 360_000 - first * self.reactive_percent // 360_000
        return Flow(active, reactive, voltages=self.voltages)


class LoadTableError(ValueError):
    """A table of watts that cannot be read; its words say which line and why."""


def parse_half_hours(text: str) -> HalfHourlyLoad:
    """Read a table of watts by half hour: a line ``HH:MM watts`` for each half hour at which the load changes.

    What a line says holds until the next one; the day begins with the first line, which must be ``00:00``. A comma may
    stand for the space; ``#`` begins a remark. Raises ``LoadTableError``.
    """
    watts: list[int] = []
    level: int | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].replace(",", " ").split()
        if not line:
            continue
        slot, wanted = _table_line(line, number)
        if (level is None and slot) or slot < len(watts) or (level is not None and slot == len(watts) - 1):
            raise LoadTableError(f"line {number}: times must begin at 00:00 and rise")
        watts += [level or 0] * (slot - len(watts))
        level = wanted
        watts.append(wanted)
    if level is None:
        raise LoadTableError("there is no line in the table")
    return HalfHourlyLoad(tuple(watts + [level] * (HALF_HOURS - len(watts))))


def _table_line(line: list[str], number: int) -> tuple[int, int]:
    try:
        moment, watts = line
        hour, _, minute = moment.partition(":")
        slot, value = int(hour) * 2 + {"00": 0, "30": 1}[minute], int(watts)
    except (ValueError, KeyError):
        raise LoadTableError(f"line {number}: wants a half hour and watts, as in 07:30 450") from None
    if not 0 <= slot < HALF_HOURS or not 0 <= value <= WATTS_MAX:
        raise LoadTableError(f"line {number}: hours go to 23:30 and watts to {WATTS_MAX}")
    return slot, value


def _steady(watts: int, from_at: int, until_at: int) -> int:
    return watts * until_at // 3_600 - watts * from_at // 3_600
