"""The hand-held terminal: when it may join, how long it stays, what it can carry and what it cannot."""

from __future__ import annotations

import pytest

from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.dlms import Action, Obis
from lastmetre.gbcs.message import Cra, parse_message
from lastmetre.han import HandheldDevice, Joined, JoiningRadio, JoinStatus, NotJoined
from lastmetre.han.joining import AssociationRequest
from lastmetre.han.node import ZclReceived
from lastmetre.han.zcl import ZclFrame, parse_zcl
from lastmetre.home.chf import HHT_LIFE_S
from lastmetre.home.hht import JOIN_WINDOW_S, FieldTool, HhtDesk
from lastmetre.home.hub_policy import DeviceType, Policy
from lastmetre.home.premises import Neighbour
from lastmetre.home.supply import Supply
from tests import own_world as own
from tests.home.test_gpf import tariff
from tests.home.test_premises import PAN, SHORTS, Home, ccs
from tests.own_world import CHF, NOW

HHT = bytes.fromhex("00005eef100000a7")
HHT_SHORT = 0x7701
KEY = b"session link key"


class FieldVisit(Home):
    """A home, and a terminal in the PPMID's place on the outer air."""

    def __init__(self) -> None:
        super().__init__()
        self.tool = FieldTool(HandheldDevice(HHT, HHT_SHORT, PAN, CHF, first_counter=9), ())
        self.ppmid = self.tool.radio  # type: ignore[assignment]  # any core will do for the air
        object.__setattr__(self.premises.parts, "desk", HhtDesk(self.chf, 0.0))

    def joins(self) -> bool:
        """The terminal's session succeeded; does the hub take it?"""
        return self.premises.hht_joins(HHT, Neighbour(DeviceType.HHT, HHT_SHORT, KEY), self.now, self.at)

    def _ppmid(self, events: list) -> None:  # type: ignore[type-arg]
        super()._ppmid(events)
        for event in events:
            self.tool.happened(event, self.at)
        self.tool.go_on(self.now)

    def minutes(self, count: int) -> None:
        """Let minutes pass as the process does."""
        for _ in range(count):
            self.run(60)
            self.premises.tick(self.now, self.at)


def test_a_terminal_plays_a_visit() -> None:
    """Joined, it hands over Commands for meter and gas meter in order, and brings back every Response."""
    visit = FieldVisit()
    assert visit.joins()
    visit.tool.commands = (own.arm(9), own.read_balance(10), tariff(1, 500))
    visit.minutes(35)
    assert visit.tool.is_done
    assert [parse_message(response).header.cra for response in visit.tool.responses] == [Cra.RESPONSE] * 3
    assert visit.meter.state.supply is Supply.ARMED
    assert visit.tool.failed == []


def test_today_s_setting_lets_a_terminal_carry_commands() -> None:
    """HHT is today's road already: the policy for PPMIDs does not concern it."""
    visit = FieldVisit()
    visit.premises.hub.settings.policy = Policy.TODAY
    assert visit.joins()
    visit.tool.commands = (own.arm(9),)
    visit.run(60)
    assert visit.tool.is_done


def test_it_joins_only_in_the_hour_after_power_on() -> None:
    """At 59 minutes yes, at 60 no; and one at a time."""
    visit = FieldVisit()
    visit.now = JOIN_WINDOW_S - 1.0
    assert visit.joins()
    assert not visit.joins()
    late = FieldVisit()
    late.now = float(JOIN_WINDOW_S)
    assert not late.joins()
    assert late.chf.state.hht is None


def test_after_eighteen_hours_it_is_a_stranger() -> None:
    """Removed, its tunnel gone, its Commands unheard, its Response to the WAN alone, no trace in the logs."""
    visit = FieldVisit()
    visit.premises.wan_connected(NOW)
    assert visit.joins()
    visit.run(60)
    visit.tool.commands = (tariff(1, 500),)
    visit.now = float(HHT_LIFE_S)
    visit.premises.tick(visit.now, visit.at)
    assert visit.chf.state.hht is None
    assert HHT not in {entry.device_id for entry in visit.chf.state.historic_log}
    visit.tool.commands = (*visit.tool.commands, own.arm(9))
    visit.minutes(10)
    assert visit.meter.state.supply is Supply.OFF_BY_COMMAND
    assert [parse_message(message).header.message_code for message in visit.wan][:2] == [0x18, 0x18]


def test_the_hours_run_on_whatever_the_calendar_says() -> None:
    """The hub's own clock counts when the calendar is set back: eighteen hours from the listing, no more."""
    visit = FieldVisit()
    assert visit.joins()
    desk = visit.premises.parts.desk
    assert desk is not None
    assert desk.tick(HHT_LIFE_S / 2, NOW - 86_400) == []
    assert desk.tick(HHT_LIFE_S - 2.0, NOW - 86_400) == []
    assert desk.tick(float(HHT_LIFE_S), NOW - 86_400) != []


def test_a_ccs02_ends_the_visit_early() -> None:
    """By the WAN: the terminal is off the network, and its hour does not begin anew."""
    visit = FieldVisit()
    assert visit.joins()
    visit.run(30)
    removal = ccs("CCS02", 1, (Action(104, Obis.parse("0-0:30.3.0"), 2), OctetString(HHT)))
    visit.premises.from_wan(removal, visit.now, visit.at)
    visit.tool.commands = (own.arm(9),)
    visit.minutes(10)
    assert visit.meter.state.supply is Supply.OFF_BY_COMMAND
    visit.now = float(JOIN_WINDOW_S)
    assert not visit.joins()


@pytest.mark.parametrize(("asked", "answered"), [(0x01, 0x02), (0x03, 0x05)])
@pytest.mark.parametrize("who", ["HHT", "PPMID"])
def test_nobody_is_given_a_firmware_image(asked: int, answered: int, who: str) -> None:
    """An image query and a block request are answered "no image"; an OTA server's frame "unsupported"."""
    home = FieldVisit() if who == "HHT" else Home()
    if isinstance(home, FieldVisit):
        assert home.joins()
    home.run(30)
    node = home.ppmid.node
    heard: list[ZclFrame] = []
    original = node.receive

    def listen(frame: bytes, now: float) -> list:  # type: ignore[type-arg]
        indications = original(frame, now)
        heard.extend(parse_zcl(i.zcl) for i in indications if isinstance(i, ZclReceived) and i.cluster == 0x0019)
        return indications

    node.receive = listen  # type: ignore[method-assign]
    node.send(0, ZclFrame(asked, 77, bytes(9)).encode(), 0x0019, home.now)
    node.send(0, ZclFrame(0x00, 78, bytes(9), from_server=True).encode(), 0x0019, home.now)
    home.run(5)
    assert [(frame.command, frame.payload) for frame in heard] == [(answered, b"\x98"), (0x0B, b"\x00\x81")]
    assert [values["reason"] for values in home.told.of("han_frame_dropped")][-2:] == ["unsupported"] * 2


def test_a_flood_of_strangers_asking_to_join_costs_the_hub_nothing_but_answers() -> None:
    """Ten thousand of them: none listed, none heard, and the PPMID's Command passes as ever."""
    home = Home()
    home.run(60)
    for number in range(10_000):
        request = AssociationRequest(number & 0xFF, PAN, number.to_bytes(8, "big"))
        for heard in home.premises.medium.receive(request.encode(), home.now):
            home.premises.happened(heard, home.now, home.at)
        home.premises.medium.settle(home.now)
        home.premises.medium.outgoing()
    assert set(home.premises._radios.hub.node.neighbours) == set(SHORTS)
    home.pass_up(own.arm(9))
    home.run(5)
    assert home.meter.state.supply is Supply.ARMED


def test_the_tool_waits_for_each_answer_and_can_give_up() -> None:
    """The second Command leaves only after the first was answered; what gives no answer is reported."""
    tool = FieldTool(HandheldDevice(HHT, HHT_SHORT, PAN, CHF, first_counter=9), (own.arm(9), own.arm(10)))
    tool.go_on(0.0)
    tool.go_on(1.0)
    assert len(tool.failed) == 0
    tool.give_up()
    tool.go_on(2.0)
    tool.give_up()
    assert tool.is_done
    assert tool.failed == [(0, "no answer while the tool waited"), (1, "no answer while the tool waited")]


class AirVisit(FieldVisit):
    """The terminal asks over the air: association, and the hub's answer."""

    OTHER = bytes.fromhex("00005eef100000a8")

    def __init__(self) -> None:
        super().__init__()
        known = {HHT: Neighbour(DeviceType.HHT, HHT_SHORT, KEY), self.OTHER: Neighbour(DeviceType.HHT, 0x7702, KEY)}
        object.__setattr__(self.premises.parts, "terminals", known)

    def asks(self, device_id: bytes) -> Joined | NotJoined:
        """What the hub says to this radio."""
        radio = JoiningRadio(device_id, PAN, CHF)
        radio.tick(self.now)
        (frame,) = radio.outgoing()
        for heard in self.premises.medium.receive(frame, self.now):
            self.premises.happened(heard, self.now, self.at)
        self.premises.medium.settle(self.now)
        answers = [told for answer in self.premises.medium.outgoing() for told in radio.receive(answer, self.now)]
        assert len(answers) == 1
        return answers[0]


def test_a_terminal_joins_by_asking_over_the_air() -> None:
    """Given its short address it speaks; its Commands are answered."""
    visit = AirVisit()
    assert visit.asks(HHT) == Joined(HHT_SHORT)
    visit.tool.commands = (own.arm(9),)
    visit.run(60)
    assert visit.tool.is_done
    assert visit.told.of("hub_terminal_joined")


def test_the_hub_refuses_strangers_seconds_and_latecomers() -> None:
    """Unknown: denied. Another while one is listed: at capacity. After the hour: denied. Each told with its reason."""
    visit = AirVisit()
    assert visit.asks(bytes.fromhex("00005eef100000ff")) == NotJoined(JoinStatus.DENIED)
    assert visit.asks(HHT) == Joined(HHT_SHORT)
    assert visit.asks(AirVisit.OTHER) == NotJoined(JoinStatus.AT_CAPACITY)
    late = AirVisit()
    late.now = float(JOIN_WINDOW_S)
    assert late.asks(HHT) == NotJoined(JoinStatus.DENIED)
    reasons = [values["reason"] for values in visit.told.of("hub_join_refused") + late.told.of("hub_join_refused")]
    assert [str(reason).split()[0] for reason in reasons] == ["unknown", "another", "the"]


def test_a_listed_terminal_that_was_switched_off_may_come_back() -> None:
    """Within its eighteen hours and after the hour of joining: the same short address; after them no more."""
    visit = AirVisit()
    assert visit.asks(HHT) == Joined(HHT_SHORT)
    visit.now = float(2 * JOIN_WINDOW_S)
    assert visit.asks(HHT) == Joined(HHT_SHORT)
    visit.now = float(HHT_LIFE_S)
    visit.premises.tick(visit.now, visit.at)
    assert visit.asks(HHT) == NotJoined(JoinStatus.DENIED)
