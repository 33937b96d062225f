"""``lastmetre capture day``: a day in the life of one home, from a seed: every frame on its air, in a capture file.

The home is built as ``serve home`` builds it, with keys made from numbers and states that end with the day. Time is
virtual; chance comes from the seed alone, so that the same seed gives the same file, octet for octet.

What happens (a few minutes more or less, by the seed): the hub's power comes on, tunnels open, a field engineer's
terminal joins and delivers two Commands; the supplier sends a tariff by WAN that is too long for one message (GBT) and
sets payment in advance; the credit runs out, the customer takes emergency credit and later tops up at the PPMID,
electricity and gas; the WAN is lost, and a gas price and a reading come by the PPMID (as SECMP0038 proposed, which was
never adopted): the display's copy follows the meter; the WAN comes back; the terminal's eighteen hours end.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import msgspec

from lastmetre.cli.bench_home import NumberKeys
from lastmetre.cli.home_build import World, build_home, first_frame_counter, link_key
from lastmetre.cli.home_settings import PremisesSettings
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs import build
from lastmetre.gbcs.build.gas_tariff import Price, SetGasPrice
from lastmetre.gbcs.build.prepayment import SetPrepaymentMode
from lastmetre.gbcs.build.reads import ReadAttributes, ReadProtected
from lastmetre.gbcs.build.tariff import Day, Season, SetTariff, Switch, TariffSpecialDay, Week
from lastmetre.gbcs.build.times import Date, TimeOfDay
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.protect import seal, sign_pre_command
from lastmetre.gbcs.utrn import ValueClass, make_utrn
from lastmetre.han import HandheldDevice, Joined, JoiningRadio, Security
from lastmetre.han.pcap import global_header, record
from lastmetre.home.hht import FieldTool
from lastmetre.home.ports import MemoryStore
from lastmetre.sim import keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lastmetre.gbcs.build import Command
    from lastmetre.home.household import Household
    from lastmetre.home.ports import DeviceStore, EventValue
    from lastmetre.links.keystore import Keyring

STARTS_AT: Final = 1_795_392_000
"""2026-11-23, 00:00 UTC."""
DAY_S: Final = 86_400.0
FRAME_US: Final = 4_300
"""The time a full frame takes on the air (han 5): frames of one moment follow one another."""
JITTER_S: Final = 240.0
SPECIAL_DAYS: Final = 40
PAN: Final = 0x1A62
ESME, GSME, CHF, GPF, PPMID, HHT = (bytes.fromhex(f"00005eef100000a{last}") for last in "012347")
HHT_SHORT: Final = 0x7701
NETWORK_KEY: Final = bytes(range(16))
"""Of a secured capture; the octets 0 to 15, so that everybody can read it."""


@dataclass(frozen=True, slots=True)
class DayRun:
    """What a day left: its frames with their times, and what was told."""

    frames: tuple[tuple[int, bytes], ...]
    told: tuple[tuple[str, dict[str, EventValue]], ...]
    wan: tuple[bytes, ...]
    responses: tuple[bytes, ...]
    """What the terminal brought back."""

    def capture(self) -> bytes:
        """The capture file's octets."""
        return global_header() + b"".join(record(frame, at_us) for at_us, frame in self.frames)


def _settings(*, secured: bool) -> PremisesSettings:
    home: dict[str, object] = {
        "hub_id": CHF.hex(),
        "pan_id": PAN,
        "chf": {},
        "hht": {"ids": [HHT.hex()], "short_address": HHT_SHORT},
        "esme": {"id": ESME.hex(), "balance": 100_000, "load": {"watts": 900}},
        "gsme": {"id": GSME.hex(), "proxy_id": GPF.hex(), "balance": 150_000, "mode": "prepayment",
                 "litres_per_day": 4_800},
        "ppmid": {"id": PPMID.hex(), "inside": True},
    }  # fmt: skip
    if secured:
        home["security"] = {"network_key": NETWORK_KEY.hex()}
    anchors = {"supplier": keys.SUPPLIER.hex(), "access_control_broker": keys.BROKER.hex()}
    raw = {"certificates": "", "keys": "", "store": "", "anchors": anchors, "home": [home]}
    return msgspec.convert(raw, PremisesSettings)


class _Head:
    """The supplier and its broker: makes Commands as they come to a home."""

    def __init__(self, chance: random.Random) -> None:
        self._counter = itertools.count(STARTS_AT * 1_000 + chance.randrange(1_000))

    def command(self, name: str, values: Command, target: bytes) -> bytes:
        """A Command from values."""
        made = build.command(
            name, values, originator=keys.SUPPLIER, target=target, counter=next(self._counter), issued_at=STARTS_AT
        )
        message = made.message
        if made.signed:
            message = sign_pre_command(message, keys.private_key(keys.SUPPLIER, KeyUse.DIGITAL_SIGNATURE))
        return self._sealed(message, target)

    @staticmethod
    def _sealed(message: bytes, target: bytes) -> bytes:
        broker = keys.private_key(keys.BROKER, KeyUse.KEY_AGREEMENT)
        return seal(message, agree(broker, keys.certificate(target, KeyUse.KEY_AGREEMENT).public_key))

    @staticmethod
    def code(target: bytes, utrn_counter: int, pence: int) -> str:
        """Twenty digits."""
        secret = agree(
            keys.private_key(keys.SUPPLIER, KeyUse.PREPAYMENT),
            keys.certificate(target, KeyUse.KEY_AGREEMENT).public_key,
        )
        made = make_utrn(
            pence, ValueClass.PENCE, originator_counter=utrn_counter << 32, supplier_id=keys.SUPPLIER,
            device_id=target, secret=secret,
        )  # fmt: skip
        return made.digits


def _tariff() -> SetTariff:
    """A tariff too long for one message: forty special days, each dearer by night than by day."""
    switches = (Switch(at=TimeOfDay(0, 0), register=1), Switch(at=TimeOfDay(7, 0), register=2))
    return SetTariff(
        seasons=(Season(name=b"all year", start=Date(month=1, day=1), week=1),),
        weeks=(Week(number=1, days=(1,) * 7),),
        days=(Day(number=1, switches=switches), Day(number=2, switches=switches[:1])),
        special_days=tuple(
            TariffSpecialDay(date=Date(2027, 1 + n // 28, 1 + n % 28), day=2) for n in range(SPECIAL_DAYS)
        ),
        standing_charge=5_000,
        standing_charge_scale=-4,
        price_scale=-4,
        register_prices=(1_800, 3_200),
    )


def _gas_price(price: int) -> SetGasPrice:
    return SetGasPrice(standing_charge_1e_5_per_day=30_000, prices=(Price(number=1, price_1e_5=price),))


@dataclass(slots=True)
class _Terminal:
    """The hand-held terminal outside: it joins, delivers its pack, and stays switched on."""

    commands: tuple[bytes, ...]
    security: Security | None
    first_counter: int
    joining: JoiningRadio | None = None
    tool: FieldTool | None = None
    is_on: bool = True

    def switch_on(self) -> None:
        """Ask to join."""
        self.joining = JoiningRadio(HHT, PAN, CHF)

    def switch_off(self) -> None:
        """The engineer has noticed that its hours are over."""
        self.is_on = False

    def next_due(self) -> float:
        """When it has something to do."""
        if not self.is_on:
            return float("inf")
        core = self.tool.radio if self.tool is not None else self.joining
        due = core.next_deadline() if core is not None else None
        return float("inf") if due is None else due

    def hear(self, frame: bytes | None, now: float) -> list[bytes]:
        """Take a frame, or let time pass; what it sends."""
        if not self.is_on:
            return []
        at = STARTS_AT + int(now)
        if self.tool is not None:
            radio = self.tool.radio
            for event in radio.tick(now) if frame is None else radio.receive(frame, now):
                self.tool.happened(event, at)
            self.tool.go_on(now)
            return radio.outgoing()
        if self.joining is None:
            return []
        for answer in self.joining.tick(now) if frame is None else self.joining.receive(frame, now):
            if isinstance(answer, Joined):
                return self._joined(answer.short_address, now)
        return self.joining.outgoing()

    def _joined(self, short_address: int, now: float) -> list[bytes]:
        radio = HandheldDevice(HHT, short_address, PAN, CHF, first_counter=self.first_counter)
        radio.node.security = self.security
        self.tool = FieldTool(radio, self.commands)
        return self.hear(None, now)


@dataclass(slots=True)
class _Day:
    """The home, what is outside of it, and the time."""

    chance: random.Random
    secured: bool
    now: float = 0.0
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    told: list[tuple[str, dict[str, EventValue]]] = field(default_factory=list)
    wan: list[bytes] = field(default_factory=list)

    def play(self) -> DayRun:
        """The day."""
        (row,) = _settings(secured=self.secured).homes()
        world = World(
            cast("Keyring", NumberKeys()), _memory, self._tell, self.wan.append, lambda: self.now, STARTS_AT,
            self.chance.randbytes,
        )  # fmt: skip
        home, head = build_home(row, world), _Head(self.chance)
        pack = (head.command("ECS17c", ReadAttributes(), ESME), head.command("GCS01b", _gas_price(2_000), GSME))
        terminal = _Terminal(pack, self._security(), self.chance.randrange(256))
        script = [(at + self.chance.uniform(0, JITTER_S), n, what) for n, (at, what) in
                  enumerate(self._script(home, head, terminal))]  # fmt: skip
        heapq.heapify(script)
        while (due := min(home.next_due(), terminal.next_due(), script[0][0] if script else DAY_S)) < DAY_S:
            self.now = max(self.now, due)
            while script and script[0][0] <= self.now:
                heapq.heappop(script)[2]()
            self._quieten(home, terminal)
        responses = tuple(terminal.tool.responses) if terminal.tool is not None else ()
        return DayRun(tuple(self.frames), tuple(self.told), tuple(self.wan), responses)

    def _security(self) -> Security | None:
        if not self.secured:
            return None
        return Security(
            NETWORK_KEY, {CHF: link_key(NETWORK_KEY, CHF, HHT)}, first_counter=first_frame_counter(STARTS_AT)
        )

    def _script(self, home: Household, head: _Head, terminal: _Terminal) -> list[tuple[float, Callable[[], object]]]:
        """Who does what, from which second on."""
        premises, ppmid = home.premises, home.premises.parts.ppmid
        assert ppmid is not None

        def by_wan(name: str, values: Command, target: bytes) -> Callable[[], None]:
            return lambda: premises.from_wan(head.command(name, values, target), self.now, self._at())

        def by_ppmid(name: str, values: Command, target: bytes) -> Callable[[], int]:
            return lambda: ppmid.radio.send(head.command(name, values, target), self.now)

        utrn = self.chance.randrange(100, 200)
        prepayment = SetPrepaymentMode(
            disablement_threshold_millipence=0, suspend_debt_when_disabled=True, suspend_debt_in_emergency_credit=True
        )
        hour = 3_600.0
        return [
            (600.0, terminal.switch_on),
            (0.5 * hour, lambda: premises.wan_connected(self._at())),
            (1.0 * hour, by_wan("ECS01a", _tariff(), ESME)),
            (1.2 * hour, by_wan("ECS03", prepayment, ESME)),
            (1.4 * hour, by_wan("ECS19", ReadProtected(), ESME)),
            (8.0 * hour, lambda: ppmid.emergency_credit("electricity", self.now)),
            (8.2 * hour, lambda: ppmid.enable_supply(self.now)),
            (12.0 * hour, lambda: ppmid.enter_code(head.code(ESME, utrn, 1_500), "electricity", self.now)),
            (12.2 * hour, lambda: ppmid.enable_supply(self.now)),
            (13.0 * hour, lambda: ppmid.enter_code(head.code(GSME, utrn + 1, 1_000), "gas", self.now)),
            (14.0 * hour, lambda: ppmid.emergency_credit("gas", self.now)),
            (15.0 * hour, premises.hub.wan_lost),
            (15.5 * hour, by_ppmid("GCS01b", _gas_price(3_500), GSME)),
            (15.6 * hour, by_ppmid("ECS17c", ReadAttributes(), ESME)),
            (17.0 * hour, lambda: premises.wan_connected(self._at())),
            (18.3 * hour, terminal.switch_off),
            (17.5 * hour, by_wan("ECS17c", ReadAttributes(), ESME)),
        ]

    def _quieten(self, home: Household, terminal: _Terminal) -> None:
        """Turns of the home and of the terminal until neither has anything to say at this moment."""
        sent = terminal.hear(None, self.now) if terminal.next_due() <= self.now else []
        while True:
            for frame in sent:
                home.feed(frame)
            home.turn(self.now, self._at())
            for frame in home.heard():
                last = self.frames[-1][0] if self.frames else 0
                at_us = max(last + FRAME_US, STARTS_AT * 1_000_000 + int(self.now * 1_000_000))
                self.frames.append((at_us, frame))
            sent = [answer for frame in home.outgoing() for answer in terminal.hear(frame, self.now)]
            if not sent and home.next_due() > self.now:
                return

    def _at(self) -> int:
        return STARTS_AT + int(self.now)

    def _tell(self, event: str, /, **values: EventValue) -> None:
        self.told.append((event, values))


def _memory(_name: str) -> DeviceStore:
    return MemoryStore()


def play_day(seed: int, *, secured: bool = False) -> DayRun:
    """The day of a seed."""
    return _Day(random.Random(seed), secured).play()  # noqa: S311 - a seed is the point


def run_capture_day(*, seed: int, out: Path, secured: bool) -> None:
    """Write the day's capture and say what it shows."""
    run = play_day(seed, secured=secured)
    try:
        out.write_bytes(run.capture())
    except OSError as error:
        raise ProblemError(f"{out} cannot be written: {error.strerror}") from error
    print(f"{len(run.frames)} frames of a day from seed {seed}: {out}")
    if secured:
        print(f"secured by network key {NETWORK_KEY.hex()}; link keys, for Wireshark:")
        for one, other in ((CHF, ESME), (CHF, GSME), (CHF, PPMID), (CHF, HHT), (ESME, PPMID)):
            print(f"  {one.hex()} {other.hex()}  {link_key(NETWORK_KEY, one, other).hex()}")
