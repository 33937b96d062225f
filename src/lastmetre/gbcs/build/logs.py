"""Reads of a gas meter and its proxy (transform B3, B11): attributes are data, logs and snapshots a few small forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.build.checks import LAST_MOMENT_AT, UInt16, Whole, ZigbeeMoment
from lastmetre.gbcs.build.frame import Found
from lastmetre.gbcs.build.reads import log_seconds
from lastmetre.gbcs.build.zigbee import GbzCommand, Own, Read, Send, moment, send
from lastmetre.gbcs.datetimes import ZIGBEE_EPOCH_AT
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component

BASIC, PRICE, METERING, PREPAYMENT = 0x0000, 0x0700, 0x0702, 0x0705

CURRENT_CALENDAR, CURRENT_NON_DISABLEMENT = 0xFFFF_FFFF, 0xFFFF_FFFE
NON_DISABLEMENT_KIND: Final = 3
ANY_EVENT: Final = 0x81FF


def _calendar_reads(kind: int, calendar: int) -> tuple[Send, ...]:
    """Everything of one calendar: days, weeks, seasons, special days."""
    return (
        send("GetDayProfiles", calendar=calendar, start_id=1, count=0),
        send("GetWeekProfiles", calendar=calendar, start_id=1, count=0),
        send("GetSeasons", calendar=calendar),
        send("GetSpecialDays", count=0, type=kind, calendar=calendar),
    )


_BALANCE: Final = (Read(METERING, (0x0A00,)), Read(PREPAYMENT, (0x0001,)))
_BILLING_PERIOD: Final = (send("GetBillingPeriod", earliest_start=0, min_issuer_event_id=0xFFFF_FFFF, count=1),)
_PREPAYMENT_SETTINGS: Final[tuple[Send | Read, ...]] = (
    Read(
        PREPAYMENT,
        (0x0239, 0x0006, 0x0216, 0x0226, 0x0040, 0x0010, 0x0011, 0x0031, 0x0021, 0x0022, 0x0217, 0x0227),
    ),
    Read(PRICE, (0x0617,)),
    *_calendar_reads(NON_DISABLEMENT_KIND, CURRENT_NON_DISABLEMENT),
)
_TARIFF: Final[tuple[Send | Read, ...]] = (
    Read(
        PRICE,
        (0x0203, 0x0202, 0x0100, 0x0101, 0x0102, 0x0615, 0x0400, 0x0401, 0x0402, 0x0403, 0x0410, 0x0420, 0x0430,
         0x0440, 0x0616, 0x0617, 0x0301),
    ),
    *_calendar_reads(0, CURRENT_CALENDAR),
    send("GetCurrentPrice", options=0),
)  # fmt: skip

READ_LISTS: Final[Mapping[int, tuple[Send | Read, ...]]] = MappingProxyType(
    {
        0x0074: (Read(METERING, (0x0302, 0x0301, 0x0300, 0x0000)),),  # GCS13a
        0x00B8: (Read(METERING, (0x0700, 0x0701, 0x0702, 0x0703, 0x0302, 0x0301, 0x0300)),),  # GCS13b
        0x00B6: (Read(METERING, (0x0302, 0x0301, 0x0300, 0x0100, 0x0102, 0x0104, 0x0106)),),  # GCS13c
        0x0075: (  # GCS14
            Read(PRICE, (0x0617, 0x0616)),
            Read(PREPAYMENT, (0x0005, 0x0002, 0x0001, 0x0231, 0x0211, 0x0221)),
        ),
        0x012A: _BALANCE,  # GCS60a
        0x008D: _BALANCE,  # GCS60
        0x0084: (Read(METERING, (0x0206,)),),  # GCS38
        0x0082: (Read(METERING, (0x0205, 0x0014)),),  # GCS33
        0x007B: (  # GCS21a
            Read(PRICE, (0x0306, 0x0305, 0x0304, 0x0303, 0x0302)),
            Read(METERING, (0x0B13, 0x0B12, 0x0B11, 0x0B10, 0x0B14, 0x0B15)),
        ),
        0x00FB: (Read(BASIC, (0x0004, 0x0005)), Read(METERING, (0x0608, 0x0607))),  # GCS21m
        0x009E: (Read(BASIC, (0x0004, 0x0005, 0x0003)), Read(METERING, (0x0608, 0x0607))),  # GCS21e
        0x00BF: (Read(PREPAYMENT, (0x0000,)),),  # GCS21j
        0x0089: (Read(METERING, (0x0307,)),),  # GCS46
        0x00DA: _BILLING_PERIOD,  # GCS21k
        0x009D: _BILLING_PERIOD,  # GCS21d
        0x00B5: _PREPAYMENT_SETTINGS,  # GCS21b
        0x009F: _TARIFF,  # GCS21f
        0x00F1: (send("GetEventConfiguration", event_id=ANY_EVENT),),  # GCS20r
    }
)
"""What each read asks for, by message code; sources: transform B2, B3, B11."""


@dataclass(frozen=True, slots=True)
class ReadGasAttributes(GbzCommand):
    """A read of fixed attributes. It has no values: the use case says it all."""

    CODES: ClassVar = tuple(READ_LISTS)

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """The list of the use case."""
        return READ_LISTS[message_code]

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """There is nothing to find."""


# --- logs of a period

LogEnd: TypeAlias = Annotated[int, Whole(ZIGBEE_EPOCH_AT, LAST_MOMENT_AT)]
"""Unix seconds; an end beyond the year 2136 is written as the last moment there is."""


def log_end(name: str) -> Own:
    """The end of a period in seconds since 2000."""
    return Own(name, log_seconds, lambda seconds: seconds + ZIGBEE_EPOCH_AT)


DAILY, BILLING, CHANGE = 0x0001, 0x0002, 0x6008
"""Causes of snapshots: every day, at the end of a billing period, at a change of mode or tariff."""
DAYS_KEPT: Final = 31
BILLS_KEPT: Final = 12


def _snapshots(commands: tuple[str, ...], count: int, cause: int) -> tuple[Send, ...]:
    """One command for each snapshot, counted from the latest, all with the same period and cause."""
    return tuple(
        send(
            command,
            earliest_start=moment("start_at"),
            latest_end=log_end("end_at"),
            offset=offset,
            cause=cause,
        )
        for command in commands
        for offset in range(count)
    )


_SNAPSHOTS: Final[Mapping[int, tuple[Send, ...]]] = MappingProxyType(
    {
        0x00C3: _snapshots(("GetPrepaySnapshot", "GetSnapshot"), BILLS_KEPT, CHANGE),  # GCS15b
        0x0076: _snapshots(("GetSnapshot", "GetPrepaySnapshot"), BILLS_KEPT, BILLING),  # GCS15c
        0x0077: _snapshots(("GetSnapshot",), DAYS_KEPT, DAILY),  # GCS16a
        0x0096: _snapshots(("GetPrepaySnapshot",), DAYS_KEPT, DAILY),  # GCS16b
    }
)

DEBT_ENTRIES: Final = 10
PAYMENT_DEBT: Final = 2
TOP_UP_ENTRIES: Final = 5
GENERAL_LOG: Final = 0x13
SECURITY_LOG: Final = 0x04
METERS_GENERAL_LOG: Final = 0x16
METERS_SECURITY_LOG: Final = 0x07
"""Which log, in the low half; what to tell of each event, in the high half. The meter's logs that its proxy keeps are 6
and 7 in the Smart Energy Profile, from memory; no sample has them [I]."""


def _check_period(values: Any) -> None:
    if values.end_at < values.start_at:
        raise GbcsValueError(f"{type(values).__name__}.end_at must not lie before start_at")


_LOGS: Final[Mapping[int, tuple[Send, ...]]] = MappingProxyType(
    {
        **_SNAPSHOTS,
        0x00C4: (  # GCS15d
            send(
                "GetDebtRepaymentLog",
                from_date_time=moment("start_at"),
                latest_end=log_end("end_at"),
                debts=DEBT_ENTRIES,
                type=PAYMENT_DEBT,
            ),
        ),
        0x00C5: (  # GCS15e
            send("GetTopUpLog", from_date_time=moment("start_at"), latest_end=log_end("end_at"), count=TOP_UP_ENTRIES),
        ),
    }
)


@dataclass(frozen=True, slots=True)
class ReadGasLog(GbzCommand):
    """A read of billing, daily, debt or top-up entries of a period: the use case says which."""

    CODES: ClassVar = tuple(_LOGS)

    start_at: ZigbeeMoment
    end_at: LogEnd

    def _agree(self) -> None:
        _check_period(self)

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """The list of the use case."""
        return _LOGS[message_code]

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """The period."""
        for each, component in zip(_LOGS[found.message_code], components, strict=True):
            each.read(component, found)


@dataclass(frozen=True, slots=True)
class ReadGasEventLog(GbzCommand):
    """CS10a, CS10b: events of a period. ``of_meter``: the meter's log where its proxy keeps it [I]."""

    CODES: ClassVar = (0x0014, 0x00A1)
    _SECURITY: ClassVar = 0x00A1

    start_at: ZigbeeMoment
    end_at: LogEnd
    of_meter: bool = False

    def _agree(self) -> None:
        _check_period(self)

    @classmethod
    def _layout(cls, message_code: int, log: int) -> Send:
        del message_code
        return send(
            "GetEventLog",
            control_and_log=log,
            event_id=0,
            start=moment("start_at"),
            end=log_end("end_at"),
            count=0,
            offset=0,
        )

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """One component."""
        if message_code == self._SECURITY:
            log = METERS_SECURITY_LOG if self.of_meter else SECURITY_LOG
        else:
            log = METERS_GENERAL_LOG if self.of_meter else GENERAL_LOG
        return (self._layout(message_code, log),)

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """The period and the log."""
        (only,) = components
        body: Any = only.body
        cls._layout(found.message_code, 0).read(only, found)
        found.put("of_meter", body["control_and_log"] in {METERS_GENERAL_LOG, METERS_SECURITY_LOG})


# --- samples

PROFILE, CONSUMPTION, NETWORK = range(3)
"""Sample sets of a gas meter: half hours, days, network data."""
_SAMPLE_SETS: Final = MappingProxyType({0x0078: PROFILE, 0x00A0: CONSUMPTION})
HALF_HOUR_S: Final = 1800
DAY_S: Final = 86_400
DAYS_OF_CONSUMPTION_MAX: Final = 731
"""Entries of the daily consumption log; the count asked for in one sample with a longer period [I]."""
COUNT_MAX: Final = 0xFFFF
NETWORK_SAMPLES: Final = 41


def samples_in(start_at: int, end_at: int, step_s: int, most: int) -> int:
    """As many samples as the period has steps, and one: both ends count."""
    return min(max(end_at - start_at, 0) // step_s + 1, most)


def _sampled(number: int) -> Send:
    return send("GetSampledData", sample_id=number, earliest=moment("start_at"), type=0, count=Own("count"))


@dataclass(frozen=True, slots=True)
class ReadGasSamples(GbzCommand):
    """GCS17 (half hours), GCS61 (days): ``count`` samples from a moment on; ``samples_in`` counts those of a period."""

    CODES: ClassVar = tuple(_SAMPLE_SETS)

    start_at: ZigbeeMoment
    count: UInt16

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """The samples of the use case."""
        return (_sampled(_SAMPLE_SETS[message_code]),)

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """Start and count."""
        (only,) = components
        _sampled(_SAMPLE_SETS[found.message_code]).read(only, found)


@dataclass(frozen=True, slots=True)
class ReadGasNetworkData(GbzCommand):
    """GCS18: all samples taken for the network operator."""

    CODES: ClassVar = (0x0079,)
    LAYOUT: ClassVar = (send("GetSampledData", sample_id=NETWORK, earliest=1, type=0, count=NETWORK_SAMPLES),)


COMMANDS: Final = (
    ReadGasAttributes,
    ReadGasLog,
    ReadGasEventLog,
    ReadGasSamples,
    ReadGasNetworkData,
)
