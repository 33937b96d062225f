"""Commands of a gas meter and its proxy (transform B1, B2, B4, B5, B10): prepayment, debt, supply, messages, settings.

Most are GBZ payloads, which need the time of their issue (``issued_at``).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.asn1 import Asn1, SetClock
from lastmetre.gbcs.build.checks import Checked, Digits, Int32, Moment, Size, UInt16, UInt32, Whole, ZigbeeMoment
from lastmetre.gbcs.build.debt import PercentHundredths
from lastmetre.gbcs.build.frame import Command, Found, Frame
from lastmetre.gbcs.build.prepayment import Utrn
from lastmetre.gbcs.build.zigbee import ISSUED, WHEN, GbzCommand, Own, Read, Send, moment, plain_rows, send, text
from lastmetre.gbcs.datetimes import generalized_from_unix, unix_from_generalized
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component
from lastmetre.gbcs.payload import Payload

MESSAGE_LENGTH_MAX: Final = 116
NAME_LENGTH_MAX: Final = 30
Message: TypeAlias = Annotated[str, Size(1, MESSAGE_LENGTH_MAX)]
Name: TypeAlias = Annotated[str, Size(1, NAME_LENGTH_MAX)]

# --- CS01b, PCS01, GCS06, PCS02: what a PPMID may ask as well

BY_SUPPLIER, BY_PPMID = 0, 2
"""Originating device of a top-up and of emergency credit."""


@dataclass(frozen=True, slots=True)
class TopUp(GbzCommand):
    """CS01b: add credit by the twenty digits of a UTRN."""

    CODES: ClassVar = (0x0097,)
    LAYOUT: ClassVar = (send("ConsumerTopUp", code=text("utrn")),)

    utrn: Utrn


@dataclass(frozen=True, slots=True)
class TopUpFromPpmid(GbzCommand):
    """PCS01: the same, from a PPMID."""

    CODES: ClassVar = (0x009B,)
    LAYOUT: ClassVar = (send("ConsumerTopUp", originating_device=BY_PPMID, code=text("utrn")),)

    utrn: Utrn


@dataclass(frozen=True, slots=True)
class ActivateEmergencyCredit(GbzCommand):
    """GCS06."""

    CODES: ClassVar = (0x0070,)
    LAYOUT: ClassVar = (send("SelectAvailableEmergencyCredit", issued=0),)


@dataclass(frozen=True, slots=True)
class ActivateEmergencyCreditFromPpmid(GbzCommand):
    """PCS02: the same, from a PPMID."""

    CODES: ClassVar = (0x0090,)
    LAYOUT: ClassVar = (send("SelectAvailableEmergencyCredit", issued=0, originating_device=BY_PPMID),)


# --- GCS02, GCS03: payment mode

CREDIT_MODE: Final = 0x0C94
PREPAYMENT_MODE: Final = 0x0097
SUSPEND_WHEN_DISABLED: Final = 0x0400
COLLECT_IN_EMERGENCY: Final = 0x0800
"""Set when debt collection is *not* suspended in emergency credit."""
NO_CUT_OFF: Final = -1


@dataclass(frozen=True, slots=True)
class SetCreditMode(GbzCommand):
    """GCS02: payment in arrears."""

    CODES: ClassVar = (0x006C,)
    LAYOUT: ClassVar = (send("ChangePaymentMode", implementation=WHEN, configuration=CREDIT_MODE, cut_off=NO_CUT_OFF),)


@dataclass(frozen=True, slots=True)
class SetPrepaymentMode(GbzCommand):
    """GCS03: payment in advance. Of the four combinations of the flags, that with both set is inferred [I]."""

    CODES: ClassVar = (0x006D,)

    disablement_threshold_millipence: Int32
    suspend_debt_when_disabled: bool
    suspend_debt_in_emergency_credit: bool

    @property
    def configuration(self) -> int:
        """The payment configuration's bits."""
        return (
            PREPAYMENT_MODE
            | SUSPEND_WHEN_DISABLED * self.suspend_debt_when_disabled
            | COLLECT_IN_EMERGENCY * (not self.suspend_debt_in_emergency_credit)
        )

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """One component."""
        del message_code
        cut_off = self.disablement_threshold_millipence
        return (send("ChangePaymentMode", implementation=WHEN, configuration=self.configuration, cut_off=cut_off),)

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """The bits one by one."""
        (only,) = components
        body: Any = only.body
        WHEN.read(body["implementation"], found)
        ISSUED.read(body["issuer_event"], found)
        found.put("disablement_threshold_millipence", body["cut_off"])
        found.put("suspend_debt_when_disabled", bool(body["configuration"] & SUSPEND_WHEN_DISABLED))
        found.put("suspend_debt_in_emergency_credit", not body["configuration"] & COLLECT_IN_EMERGENCY)


# --- GCS04: debt


class RecoveryPeriod(IntEnum):
    """Between two collections."""

    HOURLY = 0
    DAILY = 1


TIME_BASED, PAYMENT_BASED = 0, 1
DEBT_1, DEBT_2, PAYMENT_DEBT = 1, 3, 5


def _time_debt(number: int, kind: int) -> Send:
    name = f"time_debt_{number}"
    return send(
        "ChangeDebt",
        amount=Own(f"{name}_millipence"),
        method=TIME_BASED,
        amount_type=kind,
        collection_time=0,
        frequency=Own(f"{name}_recovery_period", int, RecoveryPeriod),
        recovery_amount=Own(f"{name}_recovery_rate"),
        percentage=0,
    )


@dataclass(frozen=True, slots=True)
class ManageDebt(GbzCommand):
    """GCS04: change the debt registers and how debt is recovered; a recovery rate is an amount per period."""

    CODES: ClassVar = (0x006E,)
    LAYOUT: ClassVar = (
        _time_debt(1, DEBT_1),
        _time_debt(2, DEBT_2),
        send(
            "ChangeDebt",
            amount=Own("payment_debt_millipence"),
            method=PAYMENT_BASED,
            amount_type=PAYMENT_DEBT,
            collection_time=0,
            frequency=RecoveryPeriod.DAILY.value,
            recovery_amount=0,
            percentage=Own("recovery_per_payment_percent_hundredths"),
        ),
    )

    time_debt_1_recovery_rate: Int32
    time_debt_2_recovery_rate: Int32
    recovery_per_payment_percent_hundredths: PercentHundredths
    payment_debt_millipence: Int32 = 0
    time_debt_1_millipence: Int32 = 0
    time_debt_2_millipence: Int32 = 0
    time_debt_1_recovery_period: RecoveryPeriod = RecoveryPeriod.DAILY
    time_debt_2_recovery_period: RecoveryPeriod = RecoveryPeriod.DAILY


# --- GCS40: balance

ADJUST_PREPAYMENT, RESET_PREPAYMENT, RESET_CREDIT, ADJUST_CREDIT = range(4)


@dataclass(frozen=True, slots=True)
class AdjustBalanceInPrepaymentMode(GbzCommand):
    """GCS40a: add to the meter balance, or take from it."""

    CODES: ClassVar = (0x0086,)
    LAYOUT: ClassVar = (send("CreditAdjustment", type=ADJUST_PREPAYMENT, value=Own("adjustment_millipence")),)

    adjustment_millipence: Int32


@dataclass(frozen=True, slots=True)
class ResetBalanceInPrepaymentMode(GbzCommand):
    """GCS40b."""

    CODES: ClassVar = (0x00B4,)
    LAYOUT: ClassVar = (send("CreditAdjustment", type=RESET_PREPAYMENT, value=0),)


@dataclass(frozen=True, slots=True)
class AdjustBalanceInCreditMode(GbzCommand):
    """GCS40c: add to the meter balance, or take from it."""

    CODES: ClassVar = (0x00C0,)
    LAYOUT: ClassVar = (send("CreditAdjustment", type=ADJUST_CREDIT, value=Own("adjustment_millipence")),)

    adjustment_millipence: Int32


@dataclass(frozen=True, slots=True)
class ResetBalanceInCreditMode(GbzCommand):
    """GCS40d."""

    CODES: ClassVar = (0x00C2,)
    LAYOUT: ClassVar = (send("CreditAdjustment", type=RESET_CREDIT, value=0),)


# --- GCS32, GCS39: supply. There is no remote enabling of gas.

_OFF, _ARMED = 0, 1


@dataclass(frozen=True, slots=True)
class DisableSupply(GbzCommand):
    """GCS32: close the valve."""

    CODES: ClassVar = (0x0081,)
    LAYOUT: ClassVar = (send("ChangeSupply", request_time=0, status=_OFF, control=1),)


@dataclass(frozen=True, slots=True)
class ArmSupply(GbzCommand):
    """GCS39: let the consumer open the valve."""

    CODES: ClassVar = (0x0085,)
    LAYOUT: ClassVar = (send("ChangeSupply", request_time=0, status=_ARMED, control=1),)


# --- GCS07, GCS44, GCS09, GCS11, GCS41, GCS36: messages, names, access

SHOWN_FOR_EVER: Final = 0xFFFF
RESTRICT_ACCESS: Final = 0x0200
NEW_NAME: Final = 0x1800
PRIVACY_PIN: Final = 2


@dataclass(frozen=True, slots=True)
class SendMessage(GbzCommand):
    """GCS07: a message to the consumer."""

    CODES: ClassVar = (0x0071,)
    LAYOUT: ClassVar = (send("DisplayMessage", duration_minutes=SHOWN_FOR_EVER, message=text("message")),)

    message: Message


@dataclass(frozen=True, slots=True)
class SetSupplierContact(GbzCommand):
    """GCS44."""

    CODES: ClassVar = (0x0088,)
    LAYOUT: ClassVar = (
        send(
            "PublishChangeOfSupplier",
            proposed_provider=0,
            control=NEW_NAME,
            name=text("supplier_name"),
            contact=text("supplier_telephone_number"),
        ),
    )

    supplier_name: Name
    supplier_telephone_number: Name


@dataclass(frozen=True, slots=True)
class SetChangeOfTenancy(GbzCommand):
    """GCS09: what was recorded before this moment is not shown any more."""

    CODES: ClassVar = (0x0072,)
    LAYOUT: ClassVar = (
        send("PublishChangeOfTenancy", implementation=moment("restriction_at"), control=RESTRICT_ACCESS),
    )

    restriction_at: ZigbeeMoment


@dataclass(frozen=True, slots=True)
class DisablePrivacyPin(GbzCommand):
    """GCS11."""

    CODES: ClassVar = (0x0073,)
    LAYOUT: ClassVar = (send("RequestNewPasswordResponse", duration_minutes=0, type=PRIVACY_PIN, password=b""),)


@dataclass(frozen=True, slots=True)
class SetMprn(GbzCommand):
    """GCS41."""

    CODES: ClassVar = (0x0087,)
    LAYOUT: ClassVar = (send("UpdateSiteID", site_id=text("mprn")),)

    mprn: Annotated[str, Size(1, 10)]


@dataclass(frozen=True, slots=True)
class SetCustomerIdentificationNumber(GbzCommand):
    """GCS36."""

    CODES: ClassVar = (0x0083,)
    LAYOUT: ClassVar = (send("UpdateCIN", cin=text("customer_identification_number")),)

    customer_identification_number: Annotated[str, Digits(4)]


# --- GCS23 to GCS25, GCS31, CS11: settings

MEGAJOULES: Final = 1
CUBIC_METRES: Final = 1
UNCHANGED: Final = 3
OFF: Final = 0


@dataclass(frozen=True, slots=True)
class SetGasConversion(GbzCommand):
    """GCS23."""

    CODES: ClassVar = (0x007C,)
    LAYOUT: ClassVar = (
        send("PublishConversionFactor", factor=Own("conversion_factor_1e_5"), trailing_digit=0x50),
        send(
            "PublishCalorificValue",
            calorific_value=Own("calorific_value_tenths_mj_per_m3"),
            unit=MEGAJOULES,
            trailing_digit=0x10,
        ),
    )

    conversion_factor_1e_5: UInt32
    calorific_value_tenths_mj_per_m3: UInt32


class SupplyState(IntEnum):
    """What the supply becomes: 0 off, 3 unchanged, as the Smart Energy Profile numbers it.

    Only UNCHANGED was seen. LOCKED is inferred from that numbering and from the constant 0 for uncontrolled flow [I];
    the reference presumes 2, which there means on, and a supply that is to be locked must not be switched on.
    """

    LOCKED = 0
    UNCHANGED = 3


CODE_WHOLE_FLOW, CODE_DECIMAL_FLOW = 0x007D, 0x00FC


@dataclass(frozen=True, slots=True)
class SetUncontrolledFlow(GbzCommand):
    """GCS24 and GCS24a: the flow threshold in cubic metres per hour over ``flow_rate_divisor``.

    The divisor is 1 (GCS24) or 10,000 (GCS24a), and chooses the use case.
    """

    CODES: ClassVar = (CODE_DECIMAL_FLOW, CODE_WHOLE_FLOW)
    LAYOUT: ClassVar = (
        send(
            "SetUncontrolledFlowThreshold",
            threshold=Own("flow_rate"),
            unit=CUBIC_METRES,
            multiplier=1,
            divisor=Own("flow_rate_divisor"),
            stabilisation=Own("stabilisation_period"),
            measurement=Own("measurement_period"),
        ),
        send(
            "SetSupplyStatus",
            tamper=Own("supply_tamper_state", int, SupplyState),
            depletion=Own("supply_depletion_state", int, SupplyState),
            uncontrolled_flow=OFF,
            load_limit=UNCHANGED,
        ),
    )

    flow_rate: UInt16
    flow_rate_divisor: Annotated[int, Whole(1, 1, frozenset({10_000}))]
    stabilisation_period: Annotated[int, Whole(1, 255)]
    measurement_period: Annotated[int, Whole(1, 65_535)]
    supply_tamper_state: SupplyState = SupplyState.UNCHANGED
    supply_depletion_state: SupplyState = SupplyState.UNCHANGED

    @property
    def message_codes(self) -> tuple[int, ...]:
        """By the divisor."""
        return (CODE_WHOLE_FLOW if self.flow_rate_divisor == 1 else CODE_DECIMAL_FLOW,)


class PeriodUnit(IntEnum):
    """Units of a billing period; MONTHS were seen, days and weeks are the units of the Smart Energy Profile [I]."""

    DAYS = 0x21
    WEEKS = 0x22
    MONTHS = 0x23


CODE_MONTHLY, CODE_ANY_PERIOD = 0x007E, 0x00D8


@dataclass(frozen=True, slots=True)
class SetBillingCalendar(GbzCommand):
    """GCS25a, and GCS25 for months: when billing periods begin, and how long one is."""

    CODES: ClassVar = (CODE_ANY_PERIOD, CODE_MONTHLY)
    _PERIOD: ClassVar = {
        "start": moment("start_at"),
        "duration": Own("duration"),
        "duration_type": Own("unit", int, PeriodUnit),
    }
    LAYOUT: ClassVar = (
        send("PublishBillingPeriod", **_PERIOD),
        send("PublishBlockPeriod", **_PERIOD, control=2, resolution=1),
    )

    start_at: ZigbeeMoment
    duration: Annotated[int, Whole(1, 0xFF_FFFF)] = 1
    unit: PeriodUnit = PeriodUnit.MONTHS


SAMPLING_INTERVAL_S: Final = 360
SAMPLES: Final = 41


@dataclass(frozen=True, slots=True)
class RecordNetworkData(GbzCommand):
    """GCS31: take samples of the flow for the network operator."""

    CODES: ClassVar = (0x0080,)
    LAYOUT: ClassVar = (send("StartSampling", type=0, interval_s=SAMPLING_INTERVAL_S, max_samples=SAMPLES),)


GENERAL_LOG: Final = 3


@dataclass(frozen=True, slots=True)
class ClearEventLog(GbzCommand):
    """CS11."""

    CODES: ClassVar = (0x0015,)
    LAYOUT: ClassVar = (send("ClearEventLogRequest", log=GENERAL_LOG),)


# --- GCS28: clock


@dataclass(frozen=True, slots=True)
class SynchroniseClock(Command):
    """GCS28: the meter sets its clock if the hub's time lies between the two moments."""

    CODES: ClassVar = (0x007F,)

    not_before_at: Moment
    not_after_at: Moment

    def _agree(self) -> None:
        if self.not_after_at < self.not_before_at:
            raise GbcsValueError("SynchroniseClock.not_after_at must not lie before not_before_at")

    def _write(self, frame: Frame) -> Payload:
        del frame
        return Asn1(SetClock(generalized_from_unix(self.not_before_at), generalized_from_unix(self.not_after_at)))

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        value: Any = payload
        found.put("not_before_at", unix_from_generalized(value.value.not_before))
        found.put("not_after_at", unix_from_generalized(value.value.not_after))


# --- GCS20: event configurations

EVENT_LOG, WAN_ALERT, HAN_ALERT, ALARM = 0x01, 0x08, 0x10, 0x42
"""What each of the four settings adds to the configuration of an event."""


@dataclass(frozen=True, slots=True)
class EventConfiguration(Checked):
    """Events that are configured alike: logged, alerted over the WAN and the HAN, sounded as an alarm."""

    event_codes: Annotated[tuple[UInt16, ...], Size(1, 255)]
    event_log: bool = False
    wan_alert: bool = False
    han_alert: bool = False
    alarm: bool = False

    @property
    def bits(self) -> int:
        """The configuration's octet."""
        given = (self.event_log, EVENT_LOG), (self.wan_alert, WAN_ALERT), (self.han_alert, HAN_ALERT)
        return sum(bit for flag, bit in (*given, (self.alarm, ALARM)) if flag)


@dataclass(frozen=True, slots=True)
class ConfigureEvents(GbzCommand):
    """GCS20: what a gas meter does about events."""

    CODES: ClassVar = (0x00AD,)

    configurations: Annotated[tuple[EventConfiguration, ...], Size(1, 255)]

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """One component for each configuration."""
        del message_code
        return tuple(
            send(
                "SetEventConfiguration",
                configuration=each.bits,
                events=tuple({"event_id": code} for code in each.event_codes),
            )
            for each in self.configurations
        )

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """Each configuration."""
        configurations = []
        for component in components:
            body: Any = component.body
            ISSUED.read(body["issuer_event"], found)
            codes = tuple(code for (code,) in plain_rows(body["events"]))
            flags = [bool(body["configuration"] & bit) for bit in (EVENT_LOG, WAN_ALERT, HAN_ALERT, ALARM)]
            configurations.append(EventConfiguration(codes, *flags))
        found.put("configurations", tuple(configurations))


COMMANDS: Final = (
    TopUp, TopUpFromPpmid, ActivateEmergencyCredit, ActivateEmergencyCreditFromPpmid, SetCreditMode, SetPrepaymentMode,
    ManageDebt, AdjustBalanceInPrepaymentMode, ResetBalanceInPrepaymentMode, AdjustBalanceInCreditMode,
    ResetBalanceInCreditMode, DisableSupply, ArmSupply, SendMessage, SetSupplierContact, SetChangeOfTenancy,
    DisablePrivacyPin, SetMprn, SetCustomerIdentificationNumber, SetGasConversion, SetUncontrolledFlow,
    SetBillingCalendar, RecordNetworkData, ClearEventLog, SynchroniseClock, ConfigureEvents,
)  # fmt: skip
