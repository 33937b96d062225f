"""What a payload takes from around its values, what was found when one is read, and the root of every Command's record.

A Command's layout is written once, as data: the same lines write its payload and read it (``shapes``, ``zigbee``).
Reading is checked by writing again: what would come out otherwise is not this Command.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from lastmetre.gbcs.build.checks import Checked
from lastmetre.gbcs.build.times import NOW, Activation, When, activation, zigbee_moment
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError

if TYPE_CHECKING:
    from lastmetre.gbcs.payload import Payload

NO_ONE = bytes(8)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a Command's payload holds besides its own values."""

    message_code: int
    originator_counter: int
    activation: Activation
    issued: int | None = None
    """Time of issue in seconds since 2000: event, calendar and message identifiers of GBZ payloads."""
    requester_id: bytes = NO_ONE
    """For whom an answer is encrypted: the originator, or the party it speaks for."""
    target_id: bytes = NO_ONE

    @property
    def issue_time(self) -> int:
        """The time of issue, which a GBZ payload cannot do without."""
        if self.issued is None:
            raise GbcsValueError("this is a GBZ payload: it needs issued_at, the time of its issue")
        return self.issued


@dataclass(slots=True)
class Found:
    """Values read from a payload: those of the record by field, and those of its frame."""

    message_code: int
    values: dict[str, Any] = field(default_factory=dict)
    around: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, value: Any) -> None:
        """A field's value; where it stands several times it must be the same."""
        if self.values.setdefault(name, value) != value:
            raise GbcsValueError(f"{name} has two values")

    def put_around(self, name: str, value: Any) -> None:
        """The same for what belongs to the frame."""
        if self.around.setdefault(name, value) != value:
            raise GbcsValueError(f"{name} has two values")


CommandT = TypeVar("CommandT", bound="Command")


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A Command's values as they were found in its payload."""

    values: Command
    when: When
    issued_at: int | None


@dataclass(frozen=True, slots=True)
class Command(Checked):
    """The values of a Command. ``CODES`` are the message codes it can be sent under, the usual one first."""

    CODES: ClassVar[tuple[int, ...]] = ()

    @property
    def message_codes(self) -> tuple[int, ...]:
        """The codes that these very values can be sent under."""
        return self.CODES

    @abstractmethod
    def _write(self, frame: Frame) -> Payload:
        """The payload."""

    @classmethod
    @abstractmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        """Fill in ``found``; what is no payload of this kind may raise anything that ``from_payload`` catches."""

    def written(self, frame: Frame) -> Payload:
        """The payload in a frame that is made already; ``payload`` makes one."""
        return self._write(frame)

    def _code(self, message_code: int | None) -> int:
        allowed = self.message_codes
        if message_code is None:
            return allowed[0]
        if message_code not in allowed:
            codes = ", ".join(f"{code:04X}" for code in allowed)
            raise GbcsValueError(f"{type(self).__name__} goes with {codes}, not with message code {message_code:04X}")
        return message_code

    def payload(
        self,
        originator_counter: int,
        *,
        message_code: int | None = None,
        when: When = NOW,
        issued_at: int | None = None,
        requester_id: bytes = NO_ONE,
        target_id: bytes = NO_ONE,
    ) -> Payload:
        """The payload under an Originator Counter. ``message_code`` chooses where a Command has several forms.

        ``issued_at`` (Unix seconds) is needed by most GBZ Commands; the two parties by reads whose answer is encrypted.
        """
        issued = None if issued_at is None else zigbee_moment(issued_at)
        code = self._code(message_code)
        frame = Frame(code, originator_counter, activation(when), issued, requester_id, target_id)
        written = self._write(frame)
        now = activation(NOW)
        if when is not NOW and written == self._write(
            Frame(code, originator_counter, now, issued, requester_id, target_id)
        ):
            raise GbcsValueError(
                f"{type(self).__name__} takes effect at once: it has no place for a time of activation"
            )
        return written

    @classmethod
    def from_payload(cls, payload: Payload, message_code: int | None = None) -> Self:
        """The values behind a payload; ``GbcsValueError`` when it is not this Command's."""
        values = cls.read_back(payload, message_code).values
        assert isinstance(values, cls)
        return values

    @classmethod
    def read_back(cls, payload: Payload, message_code: int | None = None) -> ReadBack:
        """The values behind a payload, the time of activation and the time of issue."""
        found = Found(cls.CODES[0] if message_code is None else message_code)
        try:
            cls._read(payload, found)
            values = cls(**found.values)
            around = found.around
            frame = Frame(
                found.message_code,
                around.get("originator_counter", 0),
                activation(around.get("when", NOW)),
                around.get("issued"),
                around.get("requester_id", NO_ONE),
                around.get("target_id", NO_ONE),
            )
            again = values._write(frame)
        except (GbcsValueError, GbcsDecodeError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            raise GbcsValueError(f"this payload is no {cls.__name__}") from None
        if again != cls._comparable(payload, frame):
            raise GbcsValueError(f"this payload is no {cls.__name__} of a form that is known here")
        issued = around.get("issued")
        return ReadBack(values, around.get("when", NOW), None if issued is None else issued + 946_684_800)

    @classmethod
    def _comparable(cls, payload: Payload, frame: Frame) -> Payload:
        """The payload as far as it is decided by values and frame."""
        del frame
        return payload
