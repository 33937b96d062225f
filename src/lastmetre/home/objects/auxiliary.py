"""Auxiliary load control: five controllers, in the meter or on the HAN (HC ALCS), their calendar and boost button.

Sources name rules of the transform reference (B3, B10, B11). Values of a new meter are a DESIGN CHOICE.
"""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.axdr import Boolean, LongUnsigned, OctetString, VisibleString
from lastmetre.home.attributes import NEVER
from lastmetre.home.objects.account import EMPTY, NOT_PENDING, SCHEDULE_SHAPE, SPECIAL_DAYS_SHAPE
from lastmetre.home.objects.rows import ActivationRow, Row, activation, fixed, live, move, writable

CONTROLLERS: Final = (1, 2, 3, 4, 5)
TIMES_BASE: Final = 116
"""Object 94.44.(116+n) holds the times of controller n."""


def _controller(number: int) -> tuple[Row, ...]:
    times = f"0-0:94.44.{TIMES_BASE + number}"
    return (
        writable(f"1/0-0:94.44.0.{10 + number}#2", "vs", VisibleString(b""), "ECS46a, ECS61a, ECS61d: label"),
        writable(
            f"1/0-0:94.44.0.{20 + number}#2",
            "os8|os1|os0",
            OctetString(bytes(8)),
            "ECS46c, ECS61a, ECS61e: device, or 0",
        ),
        live(f"1/0-0:94.44.0.{30 + number}#2", "utf", "ECS61e: its state, a JSON object"),
        writable(f"1/0-0:94.44.6.{number}#2", "bool", Boolean(value=False), "ECS62, ECS61c: boost button switches it"),
        live(f"70/0-{number}:96.3.10#2", "bool", "ECS61a: whether it is switched on"),
        writable(f"1/{times}.1#2", "u16|os12", LongUnsigned(0), "ECS47: minutes on; ECS47a: from"),
        writable(f"1/{times}.2#2", "u16|os12", LongUnsigned(0), "ECS47: minutes off; ECS47a: until"),
        writable(f"1/{times}.3#2", "os12", OctetString(NEVER), "ECS47e: from"),
        writable(f"1/{times}.4#2", "os12", OctetString(NEVER), "ECS47e: until"),
    )


ROWS: Final[tuple[Row, ...]] = (
    *(row for number in CONTROLLERS for row in _controller(number)),
    fixed("1/0-0:94.44.7#2", "bool", Boolean(value=True), "ECS61c: there is a boost button"),
    fixed("11/0-0:11.0.3#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS61a, ECS61d"),
    writable("11/0-1:11.0.3#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS46c, ECS46d"),
    fixed("10/0-0:12.0.2#2", SCHEDULE_SHAPE, EMPTY, "ECS61a, ECS61d: controllers' calendar"),
    writable("10/0-1:12.0.2#2", SCHEDULE_SHAPE, EMPTY, "ECS46c, ECS46d"),
    writable("9000/0-0:94.44.128.26#6", "os12", NOT_PENDING, "ECS46c, ECS46d: when the calendar counts (INFERENCE)"),
    writable("9000/0-0:94.44.128.35#6", "os12", NOT_PENDING, "ECS46c, ECS46d: when its special days count (INFERENCE)"),
)

ACTIVATIONS: Final[tuple[ActivationRow, ...]] = (
    activation(
        "9000/0-0:94.44.128.26#6",
        move("10/0-1:12.0.2#2", "10/0-0:12.0.2#2"),
        source="INFERENCE from the like pair .28 and .31: calendar first, special days second",
    ),
    activation(
        "9000/0-0:94.44.128.35#6", move("11/0-1:11.0.3#2", "11/0-0:11.0.3#2"), source="INFERENCE, as the row above"
    ),
)
