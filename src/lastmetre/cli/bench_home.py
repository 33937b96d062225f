"""``lastmetre bench home``: many idle homes in one process: what memory they hold, what part of a core they use.

The homes are built as ``serve home --premises`` builds them, with states in one file and keys made from numbers; they
are driven by the same rule (whoever is due next has a turn), but without waiting: an hour of their time takes as long
as its work. So the part of a core that real time would cost is the work divided by that hour.
"""

from __future__ import annotations

import heapq
import json
import random
import resource
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from lastmetre.cli.home_build import World, build_home
from lastmetre.cli.home_settings import PremisesSettings
from lastmetre.home.load import steady_load
from lastmetre.home.metering import live_through
from lastmetre.home.state import MeterState, encode_state
from lastmetre.home.supply import Supply
from lastmetre.links.device_store import DeviceShelf
from lastmetre.sim import keys

if TYPE_CHECKING:
    from lastmetre.cli.home_settings import HomeSettings
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse
    from lastmetre.home.household import Household
    from lastmetre.links.keystore import Keyring

STARTS_AT: Final = 1_795_400_000
"""2026-11-23, UTC."""
LIMIT_MB: Final = 3_000
HOMES: Final = 1_000


class NumberKeys:
    """Everybody's keys and certificates, made from numbers: they protect nothing."""

    @staticmethod
    def private_key(entity_id: bytes, use: KeyUse) -> Any:
        """The key of a name."""
        return keys.private_key.__wrapped__(entity_id, use)

    @staticmethod
    def certificate(entity_id: bytes, use: KeyUse) -> Certificate:
        """Its certificate."""
        return keys.certificate(entity_id, use)


@dataclass(frozen=True, slots=True)
class Idle:
    """What was measured."""

    homes: int
    devices: int
    built_s: float
    resident_mb: float
    """At its highest, building and all."""
    simulated_s: float
    work_s: float
    core_percent: float
    """Of one core, at the speed of the world's clock."""
    speed_max: float
    """How much faster than the world one core can drive them."""
    events: int
    file_mb: float


def premises_of(count: int, *, tick_s: float = 60.0) -> PremisesSettings:
    """A file of so many homes, each with everything."""
    return msgspec.convert(
        {
            "certificates": "",
            "keys": "",
            "store": "",
            "tick_s": tick_s,
            "anchors": {"supplier": keys.SUPPLIER.hex(), "access_control_broker": keys.BROKER.hex()},
            "home": [_home(number) for number in range(count)],
        },
        PremisesSettings,
    )


def _home(number: int) -> dict[str, object]:
    esme, gsme, chf, gpf, ppmid = (f"00005eef11{number:05x}{last}" for last in "01234")
    return {
        "hub_id": chf,
        "chf": {},
        "esme": {"id": esme, "balance": 10_000_000, "load": {"watts": 300}},
        "gsme": {"id": gsme, "proxy_id": gpf, "balance": 10_000_000, "litres_per_day": 2_400},
        "ppmid": {"id": ppmid, "inside": True},
    }


def _state_after(days: int) -> bytes:
    """An electricity meter's state with so many days in its logs, up to the start."""
    state = replace(MeterState(10_000_000, Supply.ON), updated_at=STARTS_AT - days * 86_400)
    state, _signals = live_through(state, STARTS_AT, steady_load(300))
    return encode_state(state)


def measure(count: int, hours: float, *, days: int = 0) -> Idle:
    """Build the homes and let them be idle for so long; ``days`` are in their electricity meters' logs before."""
    chance = random.Random(1)  # noqa: S311 - first counters of radios
    now, told = 0.0, [0]

    def tell(_event: str, /, **_values: object) -> None:
        told[0] += 1

    with tempfile.TemporaryDirectory() as folder, DeviceShelf(Path(folder) / "homes.sqlite") as shelf:
        began = time.process_time()
        ring = cast("Keyring", NumberKeys())
        world = World(ring, shelf.store, tell, _nowhere, lambda: now, STARTS_AT, chance.randbytes)
        shelf.db.execute("PRAGMA synchronous = OFF")  # what is new need not outlive the bench, while it is built
        rows = list(premises_of(count).homes())
        if days:
            lived = _state_after(days)
            for row in rows:
                shelf.store(row.store).save(lived)
        homes = [_built(row, world, number / count) for number, row in enumerate(rows)]
        shelf.db.execute("PRAGMA synchronous = FULL")
        built_s = time.process_time() - began
        heap = [(home.next_due(), number) for number, home in enumerate(homes)]
        heapq.heapify(heap)
        began = time.process_time()
        while heap[0][0] <= hours * 3_600:
            due, number = heap[0]
            now = max(now, due)
            homes[number].turn(now, STARTS_AT + int(now))
            homes[number].heard()
            homes[number].outgoing()
            heapq.heapreplace(heap, (max(homes[number].next_due(), now), number))
        work_s = time.process_time() - began
        file_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
    resident_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    spent = hours * 3_600
    return Idle(
        count, 5 * count, round(built_s, 1), round(resident_mb, 1), spent, round(work_s, 1),
        round(100 * work_s / spent, 2), round(spent / work_s, 1), told[0], round(file_mb, 1),
    )  # fmt: skip


def _built(row: HomeSettings, world: World, place: float) -> Household:
    return build_home(row, world, place=place)


def _nowhere(_message: bytes) -> None:
    """No WAN."""


def run_bench_home(*, homes: int, hours: float, days: int, as_json: bool) -> int:
    """Print what was measured; exit status 1 when it is not within the limit."""
    idle = measure(homes, hours, days=days)
    kept = idle.resident_mb < LIMIT_MB * max(1.0, homes / HOMES) and idle.core_percent < 100
    if as_json:
        print(json.dumps({**asdict(idle), "kept": kept}))
        return 0 if kept else 1
    print(f"{idle.homes} homes with {idle.devices} devices, idle for {idle.simulated_s / 3_600:g} hours of their time")
    print(f"  {days} days in their electricity meters' logs")
    print(f"  built in             {idle.built_s:10.1f} s of one core")
    print(f"  memory at its highest{idle.resident_mb:10.1f} MB   (limit {LIMIT_MB} MB)")
    print(f"  work                 {idle.work_s:10.1f} s of one core: {idle.core_percent} % of it in real time")
    print(f"  so time can run      {idle.speed_max:10.1f} times faster than the clock, on one core")
    print(f"  states on disk       {idle.file_mb:10.1f} MB; {idle.events} events")
    return 0 if kept else 1
