"""A wire with faults, in virtual time, and the identities the HAN's tests use."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.han import Device, Hub
from lastmetre.han.frames import parse_mac

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lastmetre.han import Core, Event

PAN = 0x1A62
HUB = bytes.fromhex("00005eef100000a2")
METER = bytes.fromhex("00005eef100000a0")
PPMID = bytes.fromhex("00005eef100000a4")
STRANGER = bytes.fromhex("00005eef100000ff")
METER_SHORT = 0x1001
PPMID_SHORT = 0x4A21

# A Command of the published envelope vectors (reference/gbcs-messages.md section 14), 101 octets.
ECS26C_COMMAND = bytes.fromhex(
    "dd0000000000005d1100000000df09010000" + "0000000003e9" + "0890b3d51f30010000" + "0800db1234567890a0" + "0002003d29"
    "d9200003e90003010001" + "00005e2c000002" + "010001" + "00005e2c000202" + "010001" + "00005e2c000102" + "03000000"
    "00" + "6353878edad4ad0f1bf2aa8f"
)  # fmt: skip


@dataclass(frozen=True)
class Faults:
    """How bad the air is: chances per frame, and how late a frame may come."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_s: float = 0.0


class Wire:
    """Joins cores in virtual time. A frame may be lost, come twice, or come late and so out of order."""

    def __init__(self, cores: Mapping[int, Core[Event]], faults: Faults | None = None, seed: int = 0) -> None:
        self.cores = dict(cores)
        self.faults = faults or Faults()
        self.now = 0.0
        self.frames: list[bytes] = []
        self.events: list[tuple[int, Event]] = []
        self._chance = random.Random(seed)
        self._flying: list[tuple[float, int, bytes]] = []
        self._number = 0

    def run(self, until: float) -> None:
        """Let the time pass, doing what is due in order."""
        self.settle()
        while True:
            due = [deadline for core in self.cores.values() if (deadline := core.next_deadline()) is not None]
            due += [self._flying[0][0]] if self._flying else []
            if not due or min(due) > until:
                break
            self.now = max(self.now, min(due))
            while self._flying and self._flying[0][0] <= self.now:
                self._land(heapq.heappop(self._flying)[2])
            for short, core in self.cores.items():
                deadline = core.next_deadline()
                if deadline is not None and deadline <= self.now:
                    self.tell(short, core.tick(self.now))
            self.settle()
        self.now = until

    def tell(self, short: int, events: Sequence[Event]) -> None:
        """Note what a core said."""
        self.events += [(short, event) for event in events]

    def settle(self) -> None:
        """Put what the cores have to send into the air."""
        for core in self.cores.values():
            for frame in core.outgoing():
                self.frames.append(frame)
                copies = 2 if self._chance.random() < self.faults.duplication else 1
                for _ in range(copies):
                    if self._chance.random() >= self.faults.loss:
                        self._number += 1
                        at = self.now + 0.002 + self._chance.random() * self.faults.delay_s
                        heapq.heappush(self._flying, (at, self._number, frame))

    def _land(self, frame: bytes) -> None:
        short = parse_mac(frame).destination
        if short in self.cores:
            self.tell(short, self.cores[short].receive(frame, self.now))
        self.settle()

    def of(self, short: int, kind: type[Event]) -> list[Event]:
        """The events of one kind that one core told."""
        return [event for where, event in self.events if where == short and isinstance(event, kind)]


def home(faults: Faults | None = None, seed: int = 0) -> tuple[Hub, Device, Device, Wire]:
    """A hub, a meter and a PPMID on one wire."""
    hub = Hub(HUB, PAN, {METER: METER_SHORT, PPMID: PPMID_SHORT}, first_counter=seed)
    meter = Device(METER, METER_SHORT, PAN, HUB, {PPMID: PPMID_SHORT}, first_counter=seed + 1)
    ppmid = Device(PPMID, PPMID_SHORT, PAN, HUB, {METER: METER_SHORT}, first_counter=seed + 2)
    return hub, meter, ppmid, Wire({0: hub, METER_SHORT: meter, PPMID_SHORT: ppmid}, faults, seed)
