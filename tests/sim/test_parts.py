"""The parts of the simulation: invented time, deaths at writes, links that lose and double."""

from __future__ import annotations

import asyncio

import pytest

from lastmetre.sim.faults import NAMED, Faults, Sometimes, chance, with_options
from lastmetre.sim.parties import Life, Lost, Party, PowerCut
from lastmetre.sim.scheduler import NothingLeft, run
from lastmetre.sim.wires import Wire


def test_time_jumps() -> None:
    """A year passes at once, and timers fire in their order."""

    async def year() -> list[str]:
        seen: list[str] = []

        async def after(wait_s: float, word: str) -> None:
            await asyncio.sleep(wait_s)
            seen.append(f"{word} at {asyncio.get_running_loop().time():.0f}")

        await asyncio.gather(after(31_536_000, "a year"), after(60, "a minute"))
        return seen

    assert run(year()) == ["a minute at 60", "a year at 31536000"]


def test_a_world_that_stands_still_is_an_error() -> None:
    """Waiting for what nobody will do is found, not waited for."""

    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingLeft):
        run(forever())


def _party(faults: Faults, started: list[Life]) -> Party:
    return Party("somebody", faults, chance(1, "party"), Sometimes(), started.append)


def test_a_dead_life_does_nothing_more() -> None:
    """After a kill its tasks are over, its writes fail, and another life begins."""

    async def story() -> None:
        lives: list[Life] = []
        party = _party(Faults(kill=1.0, kills_max=1), lives)
        party.start()
        task = lives[0].spawn(asyncio.sleep(1_000))
        with pytest.raises(PowerCut):
            lives[0].write("something", "before")
        await asyncio.sleep(0)
        assert task.cancelled()
        with pytest.raises(PowerCut):
            lives[0].check()
        await asyncio.sleep(301)
        assert len(lives) == 2
        lives[1].write("something", "before")

    run(story())


def test_a_caller_hears_nothing_of_a_callee_that_died() -> None:
    """Whoever asks a party that dies over it learns that the answer was lost."""

    async def story() -> None:
        party = _party(Faults(), [])
        party.start()

        async def slowly() -> None:
            await asyncio.sleep(10)

        asyncio.get_running_loop().call_later(5, party.kill)
        with pytest.raises(Lost):
            await party.do(slowly)

    run(story())


def test_links_lose_double_and_cut() -> None:
    """A link of each kind does what it is named for."""

    async def sent(faults: Faults, *, cut: bool = False) -> int:
        party = _party(Faults(), [])
        party.start()
        arrived = []

        async def take() -> None:
            arrived.append(1)

        wire = Wire("link", faults, chance(2, "wire"), Sometimes(), asyncio.ensure_future)
        wire.cut = cut
        for _ in range(100):
            wire.cast(party, take)
        await asyncio.sleep(10_000)
        return len(arrived)

    assert run(sent(Faults())) == 100
    assert run(sent(Faults(loss=1.0))) == 0
    assert run(sent(Faults(duplicate=1.0))) == 200
    assert run(sent(Faults(), cut=True)) == 0


def test_rates_are_named() -> None:
    """A rate that there is not is refused; a whole number stays one."""
    assert with_options(NAMED["calm"], {"kills_max": 3.0, "loss": 0.5}) == Faults(loss=0.5, kills_max=3)
    with pytest.raises(ValueError, match="there is no fault gremlins"):
        with_options(NAMED["calm"], {"gremlins": 1.0})
