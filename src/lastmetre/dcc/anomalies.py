"""Anomaly detection: how many Commands a User may have made in a while, and how large the values in them may be.

Rules this module keeps (threats 1, T17, T51; the glossary's Threshold Anomaly Detection):

* Thresholds are data, each with the name of who set it. What passes one is quarantined, never refused: a person
  decides.
* Volume is counted where Commands are made, whatever road they take: those for Local Delivery count too.
* Values are read in the Service Request. Those of a critical one are read when it is transformed, and its Signed
  Pre-Command is quarantined: by then nothing but GBCS octets is left to read.
* A counter that leaps ahead is an anomaly too: once sealed it would shut out every later Command (T17).

The window slides: the count is of what was made in the last ``window_s``. DESIGN CHOICE: the public texts say that the
DCC counts per User and service, not over what time.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from lastmetre.duis.catalogue import SIGNED
from lastmetre.gbcs.catalogue import Lane
from lastmetre.gbcs.utrn import Utrn, UtrnRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.ports import DspChange, LaneMarks
    from lastmetre.duis.xml import Element

COUNTER_STEP_MAX: Final = 1 << 48
"""How far a counter may lie above the last sealed in its lane. Clocks in milliseconds pass. DESIGN CHOICE."""

UTRN: Final = "UTRN"
"""The element whose value is read out of its digits, in pence."""


class Breach(StrEnum):
    """Which kind of threshold was passed, as the interface tells it (schema 5.4, QuarantinedRequest)."""

    USER_VOLUME = "ADUserThresholdBreach"
    DCC_VOLUME = "ADDCCThresholdBreach"
    VALUE = "ADAttributeLimitsBreach"


class Anomaly(NamedTuple):
    """One threshold passed, and the sentence for the person who decides."""

    breach: Breach
    words: str

    def __str__(self) -> str:
        return f"{self.breach.value}: {self.words}"


@dataclass(frozen=True, slots=True)
class VolumeThreshold:
    """At most ``limit`` Commands in ``window_s``.

    Without ``user_id`` it holds for every User by itself; without ``variant`` for all services together. ``of_dcc``
    says whose threshold it is, the DCC's or the User's own.
    """

    limit: int
    window_s: int
    variant: str | None = None
    user_id: bytes | None = None
    of_dcc: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class ValueThreshold:
    """What stands in ``element``, anywhere in a request for ``variant``, lies between two bounds, both allowed."""

    variant: str
    element: str
    least: Decimal | None = None
    most: Decimal | None = None
    user_id: bytes | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class AnomalyRules:
    """Every threshold in force."""

    volumes: tuple[VolumeThreshold, ...] = ()
    values: tuple[ValueThreshold, ...] = ()
    counter_step_max: int = COUNTER_STEP_MAX

    @property
    def longest_window_s(self) -> int:
        """How long uses have to be remembered."""
        return max((row.window_s for row in self.volumes), default=0)

    def of_values(self, asked: Asked) -> Anomaly | None:
        """The first value threshold that a Service Request passes."""
        header = asked.request.header
        for row in self.values:
            if row.variant != header.service_reference_variant or row.user_id not in {None, asked.caller_id}:
                continue
            for value in _values(asked.request.body, row.element):
                if (row.least is not None and value < row.least) or (row.most is not None and value > row.most):
                    bounds = f"{_shown(row.least)} to {_shown(row.most)}"
                    return Anomaly(Breach.VALUE, f"{row.element} is {value}; {bounds} is allowed{_by(row.source)}")
        return None

    def of_counter(self, asked: Asked, marks: LaneMarks) -> Anomaly | None:
        """Whether a counter leaps further ahead of the last sealed than is believable."""
        counter, last = asked.request.header.request_id.counter, marks.sealed
        if asked.lane is Lane.TOP_UP:
            counter, last = counter >> 32, last >> 32
        if counter - max(last, 0) <= self.counter_step_max:
            return None
        return Anomaly(Breach.VALUE, f"the counter {counter} is more than {self.counter_step_max} above {last}")

    def of_volume(self, asked: Asked, change: DspChange) -> Anomaly | None:
        """The first volume threshold that one Command more would pass."""
        variant = asked.request.header.service_reference_variant
        for row in self.volumes:
            if row.variant not in {None, variant} or row.user_id not in {None, asked.caller_id}:
                continue
            made = change.uses(asked.caller_id, row.variant, asked.at - row.window_s)
            if made >= row.limit:
                what = row.variant or "all services"
                breach = Breach.DCC_VOLUME if row.of_dcc else Breach.USER_VOLUME
                return Anomaly(
                    breach, f"{made} of {what} in {row.window_s} s; {row.limit} are allowed{_by(row.source)}"
                )
        return None

    def of(self, asked: Asked, change: DspChange, marks: LaneMarks) -> Anomaly | None:
        """The first threshold that making this Command would pass."""
        if asked.command_variant in SIGNED:
            record = change.pre_command(str(asked.request.header.request_id))
            noted = None if record is None or record.breach is None else Anomaly(Breach.VALUE, record.breach)
        else:
            noted = self.of_values(asked)
        return noted or self.of_counter(asked, marks) or self.of_volume(asked, change)


def _values(body: Element, name: str) -> Iterator[Decimal]:
    """The numbers in every element of this name, in document order; what is no number is no value."""
    if body.name == name:
        text = body.text.strip()
        try:
            yield Decimal(Utrn.parse(text).pence) if name == UTRN else Decimal(text)
        except (InvalidOperation, UtrnRefused):
            return
    for child in body.children:
        yield from _values(child, name)


def _shown(bound: Decimal | None) -> str:
    return "anything" if bound is None else str(bound)


def _by(source: str) -> str:
    return f" ({source})" if source else ""
