"""What flows through a meter: a load profile is asked for each span of time. No clock and no chance in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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


def _steady(watts: int, from_at: int, until_at: int) -> int:
    return watts * until_at // 3_600 - watts * from_at // 3_600
