"""The model of the SM WAN: coverage by schedule, latency and loss, each from draws that the test holds."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from lastmetre.dcc.egress import Waits
from lastmetre.dcc.errors import SettingsRefused
from lastmetre.dcc.inventory import WanCoverage
from lastmetre.dcc.ports import OutboxKind
from lastmetre.dcc.wan_model import DAY_S, ModelledWan, WanProfile, Window, passage
from tests import own_world as own
from tests.dsp_world import HandWan, World, code, inventory, read_balance
from tests.own_world import CHF, NOW, OTHER_ESME

MORNING = Window.parse("06:30-08:00")
NIGHT = Window.parse("22:00-02:00")
MIDNIGHT = NOW - NOW % DAY_S


@pytest.mark.parametrize(
    ("window", "hour", "opens_in_s"),
    [
        (MORNING, 6.5, 0),
        (MORNING, 8, 22.5 * 3_600),
        (MORNING, 0, 6.5 * 3_600),
        (NIGHT, 23, 0),
        (NIGHT, 1, 0),
        (NIGHT, 2, 20 * 3_600),
        (Window.parse("00:00-24:00"), 12, 0),
    ],
)
def test_a_window_opens_and_closes(window: Window, hour: float, opens_in_s: float) -> None:
    """At its first second it is open, at its last it is not; one may pass midnight."""
    assert window.opens_in(MIDNIGHT + int(hour * 3_600)) == opens_in_s


@pytest.mark.parametrize("text", ["", "6-8", "06:30", "25:00-26:00", "06:60-07:00", "07:00-07:00", "a:bb-c:dd"])
def test_a_window_that_is_none_is_refused(text: str) -> None:
    """A slip in the settings stops the DSP at start."""
    with pytest.raises(SettingsRefused):
        Window.parse(text)


@pytest.mark.parametrize(
    "profile",
    [
        {"coverage": WanCoverage.INTERMITTENT},
        {"windows": (MORNING,)},
        {"loss": 1.1},
        {"latency_s": -1.0},
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(profile: dict[str, object]) -> None:
    """Intermittent without a schedule, a schedule without need, a loss of more than all."""
    with pytest.raises(SettingsRefused):
        WanProfile(**profile)  # type: ignore[arg-type]  # the test knows the fields' types


def test_loss_and_delay_are_what_the_profile_says() -> None:
    """Over many draws, a fifth is lost, and no message takes less or more than it may."""
    luck = random.Random(1)
    profile = WanProfile(latency_s=2.0, jitter_s=3.0, loss=0.2)
    passages = [passage(profile, NOW, luck.random) for _ in range(2_000)]
    assert 0.17 < sum(one.lost for one in passages) / 2_000 < 0.23
    assert min(one.delay_s for one in passages) >= 2.0
    assert max(one.delay_s for one in passages) < 5.0
    assert passage(WanProfile(WanCoverage.NONE), NOW, luck.random).opens_in_s is None


class Air:
    """A modelled WAN over one in the test's hands; sleeping only notes how long."""

    def __init__(self, profile: WanProfile, *draws: float, at: int = NOW) -> None:
        self.below = HandWan()
        self.told = own.Told()
        self.slept: list[float] = []
        self.taken: list[bytes] = []
        numbers = iter(draws)
        self.wan = ModelledWan(
            self.below,
            {CHF: profile},
            tell=self.told,
            clock=lambda: at,
            draw=lambda: next(numbers),
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def take(self, _hub_id: bytes, message: bytes) -> None:
        """The DSP's side."""
        self.taken.append(message)

    def both_ways(self) -> tuple[bool, list[bytes]]:
        """One message down and one up."""

        async def play() -> bool:
            sent = await self.wan.send(CHF, b"down")
            await self.wan.take(CHF, b"up", self.take)
            return sent

        return asyncio.run(play()), self.taken


def test_a_message_takes_its_time_both_ways() -> None:
    """Latency and a part of the jitter, then it arrives."""
    air = Air(WanProfile(latency_s=1.0, jitter_s=2.0), 0.9, 0.5, 0.9, 0.0)
    assert air.both_ways() == (True, [b"up"])
    assert air.slept == [2.0, 1.0]
    assert air.below.sent == [(CHF, b"down")]


def test_a_lost_message_looks_sent() -> None:
    """Its sender learns nothing: only a Response proves arrival."""
    air = Air(WanProfile(loss=0.5), 0.4, 0.0, 0.4, 0.0)
    assert air.both_ways() == (True, [])
    assert air.below.sent == []
    assert [told["direction"] for told in air.told.of("wan_lost")] == ["down", "up"]


def test_a_closed_wan_says_so_and_a_hub_waits_for_its_window() -> None:
    """Down: not sent, to be tried again. Up: it comes when the window opens."""
    profile = WanProfile(WanCoverage.INTERMITTENT, (MORNING,))
    air = Air(profile, 0.9, 0.0, 0.9, 0.0, at=MIDNIGHT)
    assert air.both_ways() == (False, [b"up"])
    assert air.slept == [6.5 * 3_600]


def test_a_hub_without_a_profile_has_the_wan_as_it_is() -> None:
    """No draw is made for it."""
    air = Air(WanProfile())
    sent = asyncio.run(air.wan.send(OTHER_ESME, b"down"))
    assert sent is False  # not connected below, and asked there
    assert air.slept == []


def test_an_intermittent_home_is_waited_for_a_day() -> None:
    """E20 after a minute where the WAN is good; where it comes at times, the Command waits for its window."""
    devices = inventory()
    hub = devices.device(CHF)
    assert hub is not None
    for coverage, given_up in ((WanCoverage.GOOD, True), (WanCoverage.INTERMITTENT, False)):
        devices.take([replace(hub, wan_coverage=coverage)])
        world = World(devices=devices, waits=Waits(tick_s=0.001, retry_first_s=0.001))
        world.wan.connected.clear()
        assert code(world.post(read_balance(5, 1))) == "I99"
        world.now += 3_600
        (item,) = world.outbox(OutboxKind.WAN)
        assert asyncio.run(world.dsp.egress._leave(item)) is given_up


def test_a_command_without_a_response_is_sent_again_with_a_limit() -> None:
    """The very same octets, at most so many times; then E21, once."""
    waits = Waits(resend_after_s=100, sends_max=3, response_wait_s=1_000)
    world = World(waits=waits)
    world.post(read_balance(5, 1))
    sent = []
    for _ in range(15):
        world.dsp.egress.give_up_unanswered()
        world.dsp.egress.send_again()
        for item in world.outbox(OutboxKind.WAN):
            sent.append(item.body)
            assert asyncio.run(world.dsp.egress._leave(item))
        world.now += 101
    assert len(sent) == 3
    assert len(set(sent)) == 1
    assert [code(found) for found in world.documents()] == ["E21"]
    assert [told["hub_id"] for told in world.told.of("command_sent_again")] == [CHF.hex()] * 2
