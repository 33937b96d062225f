"""Auxiliary loads and controllers of an ESME or a stand-alone controller (transform B10): names, schedules, switching.

Scripts of a schedule are numbers that ``load_script`` and ``level_script`` make.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.axdr import Boolean, LongUnsigned, OctetString, VisibleString
from lastmetre.gbcs.build.calendars import Schedule, ScheduleTable, SpecialDays, check_schedule, special_days
from lastmetre.gbcs.build.checks import Checked, EntityId, Moment, Size, UInt16, Whole
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import WHEN, DlmsCommand, Items, Line, read_lines, set_, write_lines
from lastmetre.gbcs.build.times import moment_of
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import Action, Obis, Set
from lastmetre.gbcs.errors import GbcsValueError

LOADS: Final = 5
DESCRIPTION_LENGTH_MAX: Final = 22
LEVEL_MAX: Final = 100
SCRIPT_TABLE: Final = "0-0:10.0.103.255"
LIMIT_SCRIPT_TABLE: Final = "0-0:10.0.107.255"

Load: TypeAlias = Annotated[int, Whole(1, LOADS)]
Percent: TypeAlias = Annotated[int, Whole(0, 100)]


def _data(target: str) -> Set:
    """Write the value of a data object."""
    return Set(1, Obis.parse(target), 2)


def _run(table: str, script: int) -> tuple[Action, LongUnsigned]:
    return Action(9, Obis.parse(table), 1), LongUnsigned(script)


def _check_once(where: str, numbers: list[int]) -> None:
    if not numbers or len(set(numbers)) != len(numbers):
        raise GbcsValueError(f"{where} names one load at least, and none twice")


# --- ECS46a: names


@dataclass(frozen=True, slots=True)
class LoadDescription(Checked):
    """What a display calls a load."""

    load: Load
    description: Annotated[str, Size(1, DESCRIPTION_LENGTH_MAX)]


@dataclass(frozen=True, slots=True)
class SetLoadDescriptions(DlmsCommand):
    """ECS46a."""

    CODES: ClassVar = (0x0053,)

    descriptions: tuple[LoadDescription, ...]

    def _agree(self) -> None:
        _check_once("SetLoadDescriptions.descriptions", [each.load for each in self.descriptions])

    def items(self, frame: Frame) -> Items:
        """One attribute for each."""
        del frame
        return tuple(
            (_data(f"0-0:94.44.0.{10 + each.load}"), VisibleString(each.description.encode()))
            for each in self.descriptions
        )

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """The load's number stands in the object's name."""
        pairs: Any = items
        found.put(
            "descriptions",
            tuple(LoadDescription(spec.obis.raw[5] - 10, data.value.decode("ascii")) for spec, data in pairs),
        )


# --- ECS46c, ECS46d: schedules

ACTIVATE, DEACTIVATE = 1, 2
OUTPUT: Final = 0x1000
INPUT: Final = 0x2000
BY_SCHEDULE: Final = 0x80


def load_script(load: int, *, activate: bool) -> int:
    """The script of a load schedule that activates or deactivates a load."""
    return _in_range(load, 1, LOADS, "load") * 256 + (ACTIVATE if activate else DEACTIVATE)


def level(controller: int, percent: int, *, from_load: bool) -> int:
    """A controller's level in one number: direction, controller, level. ``from_load``: energy comes from the load."""
    direction = INPUT if from_load else OUTPUT
    _in_range(controller, 1, LOADS, "controller")
    return direction + controller * 256 + _in_range(percent, 0, 100, "level")


def level_script(controller: int, percent: int, *, from_load: bool = False) -> int:
    """The script of a controller schedule that sets a level."""
    return level(controller, percent, from_load=from_load) + BY_SCHEDULE


def _in_range(value: int, low: int, high: int, name: str) -> int:
    if not low <= value <= high:
        raise GbcsValueError(f"{name} is {value}; it is a whole number from {low} to {high}")
    return value


def _schedule_lines(activations: tuple[str, ...]) -> tuple[Line, ...]:
    return (
        set_("11/0-1:11.0.3.255", 2, special_days()),
        set_("10/0-1:12.0.2.255", 2, ScheduleTable("schedule", SCRIPT_TABLE)),
        *(set_(f"9000/0-0:94.44.128.{last}", 6, WHEN) for last in activations),
    )


_SCHEDULE: Final = _schedule_lines(("26", "35"))


@dataclass(frozen=True, slots=True)
class LoadSwitch(Checked):
    """Which HCALCS is behind a load; eight zeros for a switch inside the meter."""

    load: Load
    device: EntityId = bytes(8)


@dataclass(frozen=True, slots=True)
class SetLoadSchedule(DlmsCommand):
    """ECS46c: when loads are activated and deactivated (``load_script``), and which devices switch them."""

    CODES: ClassVar = (0x0054,)

    switches: Annotated[tuple[LoadSwitch, ...], Size(0, LOADS)] = ()
    special_days: SpecialDays = ()
    schedule: Schedule = ()

    def _agree(self) -> None:
        check_schedule(self.schedule, self.special_days)
        if self.switches:
            _check_once("SetLoadSchedule.switches", [each.load for each in self.switches])

    def items(self, frame: Frame) -> Items:
        """Switches first."""
        switches = tuple((_data(f"0-0:94.44.0.{20 + each.load}"), OctetString(each.device)) for each in self.switches)
        return (*switches, *write_lines(_SCHEDULE, self, frame))

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """What stands before the schedule are switches."""
        pairs: Any = items[: -len(_SCHEDULE)]
        found.put("switches", tuple(LoadSwitch(spec.obis.raw[5] - 20, data.value) for spec, data in pairs))
        read_lines(_SCHEDULE, items[-len(_SCHEDULE) :], found)


@dataclass(frozen=True, slots=True)
class SetControllerSchedule(DlmsCommand):
    """ECS46d: which levels controllers have, and when (``level_script``)."""

    CODES: ClassVar = (0x011A,)
    LAYOUT: ClassVar = _SCHEDULE

    special_days: SpecialDays = ()
    schedule: Schedule = ()

    def _agree(self) -> None:
        check_schedule(self.schedule, self.special_days)


# --- ECS47, ECS47a, ECS47e: switching now


class LoadAction(Enum):
    """What to do with a load; RESET gives it back to its schedule."""

    ACTIVATE = 0x11
    DEACTIVATE = 0x12
    RESET = 0x20


@dataclass(frozen=True, slots=True)
class SwitchLoad(DlmsCommand):
    """ECS47: switch a load for some minutes [I], or give it back to its schedule."""

    CODES: ClassVar = (0x0055,)

    load: Load
    action: LoadAction
    duration_minutes: UInt16 | None = None

    def _agree(self) -> None:
        if (self.duration_minutes is None) is not (self.action is LoadAction.RESET):
            raise GbcsValueError("SwitchLoad.duration_minutes is given to activate and to deactivate, and not to reset")

    def items(self, frame: Frame) -> Items:
        """The duration is in object 1 to activate, in object 2 to deactivate."""
        del frame
        script = _run(SCRIPT_TABLE, self.load * 256 + self.action.value)
        if self.duration_minutes is None:
            return (script,)
        last = 1 if self.action is LoadAction.ACTIVATE else 2
        return ((_data(f"0-0:94.44.{116 + self.load}.{last}"), LongUnsigned(self.duration_minutes)), script)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """Load and action are in the script's number."""
        values: Any = tuple(data for _, data in items)
        found.put("load", values[-1].value >> 8)
        found.put("action", LoadAction(values[-1].value & 0xFF))
        found.put("duration_minutes", values[0].value if len(values) > 1 else None)


class _Level(DlmsCommand):
    """Set (or limit) a controller's level between two moments."""

    __slots__ = ()
    _TABLE: ClassVar[str]
    _FIRST: ClassVar[int]
    controller: int
    level_percent: int
    start_at: int
    end_at: int
    from_load: bool

    def items(self, frame: Frame) -> Items:
        """Start, end, script."""
        del frame
        place = f"0-0:94.44.{116 + self.controller}"
        start, end = (OctetString(date_time_from_unix(at)) for at in (self.start_at, self.end_at))
        script = level(self.controller, self.level_percent, from_load=self.from_load)
        return (
            (_data(f"{place}.{self._FIRST}"), start),
            (_data(f"{place}.{self._FIRST + 1}"), end),
            _run(self._TABLE, script),
        )

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """Direction, controller and level are in the script's number."""
        start, end, script = (data for _, data in items)
        times: Any = (start, end)
        number: Any = script
        found.put("start_at", moment_of(times[0].value))
        found.put("end_at", moment_of(times[1].value))
        found.put("from_load", number.value >> 12 == INPUT >> 12)
        found.put("controller", number.value >> 8 & 0xF)
        found.put("level_percent", number.value & 0xFF)


@dataclass(frozen=True, slots=True)
class SetControllerLevel(_Level):
    """ECS47a: set a controller's level between two moments."""

    CODES: ClassVar = (0x011E,)
    _TABLE: ClassVar = SCRIPT_TABLE
    _FIRST: ClassVar = 1

    controller: Load
    level_percent: Percent
    start_at: Moment
    end_at: Moment
    from_load: bool = False


@dataclass(frozen=True, slots=True)
class LimitControllerLevel(_Level):
    """ECS47e: limit a controller's level between two moments."""

    CODES: ClassVar = (0x011F,)
    _TABLE: ClassVar = LIMIT_SCRIPT_TABLE
    _FIRST: ClassVar = 3

    controller: Load
    level_percent: Percent
    start_at: Moment
    end_at: Moment
    from_load: bool = False


# --- ECS62: the boost button


@dataclass(frozen=True, slots=True)
class SetBoostButton(DlmsCommand):
    """ECS62: let the boost button switch these loads, or no more; loads not named stay as they are."""

    CODES: ClassVar = (0x005F,)

    loads: tuple[Load, ...]
    add: bool

    def _agree(self) -> None:
        _check_once("SetBoostButton.loads", list(self.loads))

    def items(self, frame: Frame) -> Items:
        """One attribute for each."""
        del frame
        return tuple((_data(f"0-0:94.44.6.{load}"), Boolean(self.add)) for load in self.loads)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """The load's number stands in the object's name."""
        pairs: Any = items
        found.put("loads", tuple(spec.obis.raw[5] for spec, _ in pairs))
        for _, data in pairs:
            found.put("add", data.value)


COMMANDS: Final = (
    SetLoadDescriptions,
    SetLoadSchedule,
    SetControllerSchedule,
    SwitchLoad,
    SetControllerLevel,
    LimitControllerLevel,
    SetBoostButton,
)
