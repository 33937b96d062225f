"""Road policy as data: which roads an order tries, when the next one, at what cost, and what may go where.

A policy file is TOML (``policy_default.toml`` is one, and says what each setting means). The rules kept here:

- A file is taken whole or refused whole: every fault is named with its line, what is wrong and what to write instead.
- A file can forbid more than ``class_rules`` does, never less: those rules are not settings.
- Costs are whole thousandths of a penny; times of day are UTC (threats T20).

Pure: text in, records out. Figures are DESIGN CHOICES.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from lastmetre.relay import CommandClass
from lastmetre.supplier.errors import PolicyRefused
from lastmetre.supplier.orders import Road
from lastmetre.supplier.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VERSION: Final = 1
DEFAULT: Final = "default"
"""The policy of orders that name none; its steps also say how a road is used when an order names its roads itself."""
EVERY: Final = "*"
DAY_MIN: Final = 24 * 60
WAIT_MAX_S: Final = 28 * 86_400
COST_MAX: Final = 10**9
"""Ten thousand pounds: more is a slip of the pen."""
STEPS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of every day, in minutes since midnight UTC; it may go over midnight."""

    start_min: int
    end_min: int

    def __contains__(self, at: int) -> bool:
        minute = at // 60 % DAY_MIN
        if self.start_min < self.end_min:
            return self.start_min <= minute < self.end_min
        return minute >= self.start_min or minute < self.end_min

    def next_start(self, at: int) -> int:
        """The next moment at which they begin."""
        today = at - at % (DAY_MIN * 60) + self.start_min * 60
        return today if today > at else today + DAY_MIN * 60

    def __str__(self) -> str:
        times = ((self.start_min, self.end_min),)
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for pair in times for minute in pair)


@dataclass(frozen=True, slots=True)
class Step:
    """One road of a policy, and how it is used."""

    road: Road
    wait_s: int | None = None
    """How long to wait for an answer before the next road is used as well; 0 races them, ``None`` waits until this
    road is known to have failed."""
    hours: Hours | None = None
    seen_within_s: int | None = None
    """A carrier silent for longer is passed over while another road is open."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An order's way: its roads, the first first."""

    name: str
    steps: tuple[Step, ...]
    cheapest_first: bool = False
    cost_max: int | None = None
    """What all uses of roads for one order may cost."""

    def step(self, road: Road) -> Step:
        """How this policy uses a road; plainly, where it does not name it."""
        return next((step for step in self.steps if step.road is road), Step(road))


@dataclass(frozen=True, slots=True)
class Ban:
    """Services that may not use a road, by a file's wish."""

    road: Road
    services: frozenset[str]
    reason: str

    def forbids(self, service: str, road: Road) -> bool:
        """Whether it is about this use."""
        return road is self.road and (EVERY in self.services or service in self.services)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many Commands of a class may be at large with the PPMIDs of a vendor (threats 1, consequence d)."""

    vendor: str
    command_class: str
    at_large_max: int

    def covers(self, vendor: str, command_class: str) -> bool:
        """Whether it is about them."""
        return self.vendor in {EVERY, vendor} and self.command_class in {EVERY, command_class}


_PLAIN_STEPS: Final[tuple[Step, ...]] = (Step(Road.WAN, 900), Step(Road.PPMID, 3_600), Step(Road.HHT), Step(Road.CODE))
"""How roads are used where no file says it: tests and simulations."""


@dataclass(frozen=True, slots=True)
class RoadPolicy:
    """Everything a policy file says."""

    redeliver_after_s: int = 5
    """An envelope that the agent has not acknowledged is handed over again, the same bytes, after this long; the wait
    doubles with each try, up to the maximum."""
    redeliver_max_s: int = 60
    resend_after_s: int = 5
    """A request whose answer from the DCC was lost goes again, the same bytes; the wait doubles up to the maximum."""
    resend_max_s: int = 300
    jitter_percent: int = 20
    """By how much chance shortens or lengthens a wait, so that a thousand orders do not come back in one second."""
    failures_max: int = 3
    failures_within_s: int = 3_600
    """A road that failed so often so lately is passed over while another is open."""
    return_responses: bool = True
    """Every Response that came by local delivery goes back to the DCC (SRV 8.13). Where it changes inventory or
    credentials that is no choice (DESIGN CHOICE, design section 5); for the rest this setting decides."""
    costs: Mapping[Road, int] = field(default_factory=lambda: MappingProxyType({}))
    policies: Mapping[str, Policy] = field(
        default_factory=lambda: MappingProxyType({DEFAULT: Policy(DEFAULT, _PLAIN_STEPS)})
    )
    bans: tuple[Ban, ...] = ()
    limits: tuple[Limit, ...] = ()

    def cost(self, road: Road) -> int:
        """What one use of a road costs."""
        return self.costs.get(road, 0)

    def policy(self, name: str) -> Policy:
        """The policy of this name, or the default one where it was taken out of the file since."""
        return self.policies.get(name) or self.policies[DEFAULT]


# --- reading


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a file."""

    line: int
    words: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.words}"


_HEADER: Final = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_\-]+)\s*=")
_SYNTAX_LINE: Final = re.compile(r"\(at line (\d+)")
_TIME: Final = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")
_NAME: Final = re.compile(r"^[a-z][a-z0-9_\-]{0,63}$")
_ROADS: Final = {road.value: road for road in Road}
_CLASSES: Final = tuple(one.name.lower() for one in CommandClass)

Path = tuple[str | int, ...]


def _lines(text: str) -> dict[Path, int]:
    """Where each table and key stands. tomllib does not say; files of this form are simple enough to find it again."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    here: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            here = ()
            names = header[2].split(".")
            for depth, name in enumerate(names, 1):
                here = (*here, name)
                if depth == len(names) and header[1] == "[[":
                    counts[here] = counts.get(here, -1) + 1
                if here in counts:
                    here = (*here, counts[here])
            found.setdefault(here, number)
            continue
        key = _KEY.match(line)
        if key:
            found.setdefault((*here, key[1]), number)
    return found


class _Reader:
    """Reads the parsed file and notes every fault instead of stopping at the first."""

    def __init__(self, text: str) -> None:
        self._lines = _lines(text)
        self.faults: list[Fault] = []

    def fault(self, path: Path, words: str) -> None:
        """Notes a fault at the line of this path, or of the table it stands in."""
        where = path
        while where and where not in self._lines:
            where = where[:-1]
        self.faults.append(Fault(self._lines.get(where, 1), words))

    def table(self, value: object, path: Path, allowed: tuple[str, ...]) -> dict[str, Any]:
        """A table with known keys only."""
        if not isinstance(value, dict):
            self.fault(path, f"{path[-1]} must be a table: write [{path[-1]}] and its settings below it")
            return {}
        for key in value:
            if key not in allowed:
                self.fault((*path, key), f"there is no setting {key} here; there are {', '.join(allowed)}")
        return value

    def tables(self, value: object, path: Path, allowed: tuple[str, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """A list of tables."""
        if not isinstance(value, list):
            self.fault(path, f"{path[-1]} must be written [[{'.'.join(str(p) for p in path if isinstance(p, str))}]]")
            return
        for number, entry in enumerate(value):
            yield (*path, number), self.table(entry, (*path, number), allowed)

    def number(self, table: dict[str, Any], path: Path, key: str, limits: tuple[int, int], default: Any) -> Any:
        """A whole number, or the default where the key is not there."""
        value, (low, high) = table.get(key, default), limits
        if value is default:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fault((*path, key), f"{key} is {value!r}; it must be a whole number from {low} to {high}")
            return default
        return value

    def flag(self, table: dict[str, Any], path: Path, key: str, *, default: bool) -> bool:
        """A yes or no."""
        value = table.get(key, default)
        if not isinstance(value, bool):
            self.fault((*path, key), f"{key} is {value!r}; write true or false")
            return default
        return value

    def choice(self, table: dict[str, Any], path: Path, key: str, allowed: tuple[str, ...]) -> str | None:
        """One of some words."""
        value = table.get(key)
        if value not in allowed:
            said = f"{key} is missing" if value is None else f"{key} is {value!r}"
            self.fault((*path, key), f"{said}; it must be one of {', '.join(allowed)}")
            return None
        return str(value)


_RETRY: Final[tuple[tuple[str, tuple[int, int]], ...]] = (
    ("redeliver_after_s", (1, 3_600)),
    ("redeliver_max_s", (1, 86_400)),
    ("resend_after_s", (1, 3_600)),
    ("resend_max_s", (1, 86_400)),
    ("jitter_percent", (0, 50)),
    ("failures_max", (1, 1_000)),
    ("failures_within_s", (1, 86_400)),
)
_TOP: Final = ("version", "retry", "responses", "cost", "policy", "ban", "limit")


def read_policy(text: str) -> RoadPolicy:
    """The policy a file holds; raises ``PolicyRefused`` naming every fault with its line."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _SYNTAX_LINE.search(str(error))
        line = int(at[1]) if at else max(1, len(text.splitlines()))
        raise PolicyRefused((str(Fault(line, f"this is no TOML: {error}")),)) from error
    reader = _Reader(text)
    policy = _read(reader, raw)
    if reader.faults:
        raise PolicyRefused(tuple(str(fault) for fault in sorted(reader.faults, key=lambda fault: fault.line)))
    return policy


def _read(reader: _Reader, raw: dict[str, Any]) -> RoadPolicy:
    reader.table(raw, (), _TOP)
    if raw.get("version") != VERSION:
        reader.fault(("version",), f"version is {raw.get('version')!r}; write version = {VERSION}")
    retry = reader.table(raw.get("retry", {}), ("retry",), tuple(name for name, _ in _RETRY))
    plain = RoadPolicy()
    numbers = {name: reader.number(retry, ("retry",), name, limits, getattr(plain, name)) for name, limits in _RETRY}
    for after, most in (("redeliver_after_s", "redeliver_max_s"), ("resend_after_s", "resend_max_s")):
        if numbers[after] > numbers[most]:
            reader.fault(("retry", after), f"{after} is {numbers[after]}, more than {most}, which is {numbers[most]}")
    responses = reader.table(raw.get("responses", {}), ("responses",), ("return_to_dcc",))
    costs = reader.table(raw.get("cost", {}), ("cost",), tuple(_ROADS))
    policies = _policies(reader, raw.get("policy", []))
    return RoadPolicy(
        **numbers,
        return_responses=reader.flag(responses, ("responses",), "return_to_dcc", default=True),
        costs=MappingProxyType(
            {_ROADS[name]: reader.number(costs, ("cost",), name, (0, COST_MAX), 0) for name in costs if name in _ROADS}
        ),
        policies=MappingProxyType(policies),
        bans=tuple(_bans(reader, raw.get("ban", []))),
        limits=tuple(_limits(reader, raw.get("limit", []))),
    )


def _policies(reader: _Reader, raw: object) -> dict[str, Policy]:
    policies: dict[str, Policy] = {}
    for path, table in reader.tables(raw, ("policy",), ("name", "order", "cost_max", "step")):
        name = table.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            reader.fault((*path, "name"), f"name is {name!r}; write small letters, digits, - and _, a letter first")
            continue
        if name in policies:
            reader.fault((*path, "name"), f"policy {name} stands in this file twice; give one of them another name")
        order = reader.choice(table, path, "order", ("as_written", "cheapest_first")) if "order" in table else None
        steps = tuple(_steps(reader, path, table.get("step", [])))
        if not steps:
            reader.fault(path, f"policy {name} names no road; write [[policy.step]] and road = ... below it")
        cost_max = reader.number(table, path, "cost_max", (0, COST_MAX), None)
        policies[name] = Policy(name, steps, order == "cheapest_first", cost_max)
    if DEFAULT not in policies:
        reader.fault(("policy",), f'there is no policy named "{DEFAULT}"; orders that name none need one')
    return policies


def _steps(reader: _Reader, path: Path, raw: object) -> Iterator[Step]:
    seen: set[Road] = set()
    for at, table in reader.tables(raw, (*path, "step"), ("road", "wait_s", "hours", "seen_within_s")):
        name = reader.choice(table, at, "road", tuple(_ROADS))
        if name is None:
            continue
        road = _ROADS[name]
        covers = {Road.WAN, Road.PPMID} if road is Road.BOTH else {road}
        if covers & seen:
            reader.fault((*at, "road"), f"this policy uses {' and '.join(sorted(covers & seen))} already; leave it out")
        seen |= covers
        yield Step(
            road,
            reader.number(table, at, "wait_s", (0, WAIT_MAX_S), None),
            _hours(reader, at, table.get("hours")),
            reader.number(table, at, "seen_within_s", (1, WAIT_MAX_S), None),
        )
    if len(seen) > STEPS_MAX:
        reader.fault(path, f"a policy has at most {STEPS_MAX} roads")


def _hours(reader: _Reader, path: Path, value: object) -> Hours | None:
    if value is None:
        return None
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None:
        reader.fault((*path, "hours"), f'hours is {value!r}; write them in UTC as "08:00-20:00"')
        return None
    first, last = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if first == last:
        reader.fault((*path, "hours"), f"hours is {value!r}, which is no time at all; leave it out for the whole day")
        return None
    return Hours(first, last)


def _bans(reader: _Reader, raw: object) -> Iterator[Ban]:
    for path, table in reader.tables(raw, ("ban",), ("road", "services", "reason")):
        road = reader.choice(table, path, "road", tuple(_ROADS))
        services = table.get("services")
        known = {EVERY, *SERVICES}
        if not isinstance(services, list) or not services or not all(isinstance(name, str) for name in services):
            reader.fault((*path, "services"), f'services must be a list of names, such as ["{min(SERVICES)}"]')
            continue
        for name in services:
            if name not in known:
                words = f"there is no service {name}; there are {EVERY} and {', '.join(sorted(SERVICES))}"
                reader.fault((*path, "services"), words)
        reason = table.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            reader.fault((*path, "reason"), "reason is missing; say why, it is what the person at the desk will read")
            continue
        if road is not None:
            yield Ban(_ROADS[road], frozenset(services), reason)


def _limits(reader: _Reader, raw: object) -> Iterator[Limit]:
    for path, table in reader.tables(raw, ("limit",), ("vendor", "class", "at_large_max")):
        vendor = table.get("vendor", EVERY)
        if not isinstance(vendor, str) or not vendor:
            reader.fault((*path, "vendor"), f'vendor is {vendor!r}; write a name, or "{EVERY}" for all')
            continue
        name = reader.choice(table, path, "class", (*_CLASSES, EVERY)) if "class" in table else EVERY
        most = reader.number(table, path, "at_large_max", (1, 10**7), None)
        if most is None and "at_large_max" not in table:
            reader.fault((*path, "at_large_max"), "at_large_max is missing; say how many may be at large")
        if name is not None and most is not None:
            yield Limit(vendor, name, most)


@cache
def default_policy() -> RoadPolicy:
    """The policy that comes with this package."""
    return read_policy(default_text())


def default_text() -> str:
    """Its file."""
    return (files("lastmetre.supplier") / "policy_default.toml").read_text(encoding="utf-8")


# --- in words


def words(policy: RoadPolicy) -> Iterator[str]:
    """What a policy means, for who has to answer for it."""
    for one in policy.policies.values():
        yield f"Policy {one.name}{', the cheapest road first' if one.cheapest_first else ''}:"
        yield from (f"  {number}. {line}" for number, line in enumerate(map(_step_words(policy), one.steps), 1))
        if one.cost_max is not None:
            yield f"  No road is used that would bring an order above {money(one.cost_max)}."
    for ban in policy.bans:
        who = "Nothing" if EVERY in ban.services else f"Never {', '.join(sorted(ban.services))}"
        yield f"{who} by {ban.road.value}: {ban.reason}."
    for limit in policy.limits:
        vendor = "each vendor" if limit.vendor == EVERY else f"vendor {limit.vendor}"
        kind = "any class" if limit.command_class == EVERY else f"class {limit.command_class}"
        yield f"At most {limit.at_large_max} Commands of {kind} at large with the PPMIDs of {vendor}."
    yield (
        f"A PPMID that does not acknowledge gets the same octets again after {policy.redeliver_after_s} s, then later "
        f"and later, at most every {policy.redeliver_max_s} s; the DCC after {policy.resend_after_s} s to "
        f"{policy.resend_max_s} s; each wait varies by {policy.jitter_percent} %."
    )
    yield (
        f"A road that failed {policy.failures_max} times within {policy.failures_within_s} s is used only when no "
        "other is open."
    )
    back = "go back" if policy.return_responses else "go back only where they change inventory or credentials"
    yield f"Responses of local delivery {back} to the DCC (SRV 8.13)."


def _step_words(policy: RoadPolicy) -> Callable[[Step], str]:
    def one(step: Step) -> str:
        parts = [f"{_ROAD_WORDS[step.road]} ({money(policy.cost(step.road))} a use)"]
        if step.hours is not None:
            parts.append(f"between {step.hours} UTC")
        if step.seen_within_s is not None:
            parts.append(f"passed over when not heard of for {step.seen_within_s} s")
        if step.wait_s == 0:
            parts.append("the next road at the same time")
        elif step.wait_s is not None:
            parts.append(f"the next road after {step.wait_s} s without an answer")
        else:
            parts.append("the next road once this one has failed")
        return "; ".join(parts)

    return one


_ROAD_WORDS: Final = {
    Road.WAN: "SM WAN",
    Road.PPMID: "the customer's PPMID",
    Road.BOTH: "SM WAN and PPMID at once (Command Variants 3 and 7)",
    Road.HHT: "a field engineer's hand-held terminal",
    Road.CODE: "the top-up's code, keyed in",
}


def money(millipence: int) -> str:
    """An amount in pence or pounds."""
    pence = millipence / 1_000
    return f"£{pence / 100:,.2f}" if pence >= 100 else f"{pence:g}p"
