"""Which parts a gas use case may carry: commands by name, and attributes that it reads; nothing else is executed.

A Command that carries more is refused whole, as at the electricity meter: else one that needs no supplier's signature
(GCS07, say) could close the valve, and a plain read could bring out what another encrypts. Facts of structure, taken
from the published Commands (gbcs-messages 16); of the settings and reads a Command may carry some, in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.zcl import ReadAttributes, ZclCommand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.gbcs.gbz import Gbz

_CALENDAR: Final = "PublishCalendar PublishDayProfile PublishWeekProfile PublishSeasons PublishSpecialDays"
_ASK_CALENDAR: Final = "GetDayProfiles GetWeekProfiles GetSeasons GetSpecialDays"

COMMANDS: Final[Mapping[int, frozenset[str]]] = {
    code: frozenset(names.split())
    for code, names in {
        0x0014: "GetEventLog",
        0x0015: "ClearEventLogRequest",
        0x006B: f"{_CALENDAR} PublishTariffInformation PublishBlockThresholds PublishPriceMatrix",
        0x006C: "ChangePaymentMode",
        0x006D: "ChangePaymentMode",
        0x006E: "ChangeDebt",
        0x006F: f"EmergencyCreditSetup SetOverallDebtCap SetLowCreditWarningLevel SetMaximumCreditLimit {_CALENDAR}",
        0x0070: "SelectAvailableEmergencyCredit",
        0x0071: "DisplayMessage",
        0x0072: "PublishChangeOfTenancy",
        0x0073: "RequestNewPasswordResponse",
        0x0076: "GetSnapshot GetPrepaySnapshot",
        0x0077: "GetSnapshot",
        0x0078: "GetSampledData",
        0x0079: "GetSampledData",
        0x007C: "PublishConversionFactor PublishCalorificValue",
        0x007D: "SetUncontrolledFlowThreshold SetSupplyStatus",
        0x007E: "PublishBillingPeriod PublishBlockPeriod",
        0x0080: "StartSampling",
        0x0081: "ChangeSupply",
        0x0083: "UpdateCIN",
        0x0085: "ChangeSupply",
        0x0086: "CreditAdjustment",
        0x0087: "UpdateSiteID",
        0x0088: "PublishChangeOfSupplier",
        0x0090: "SelectAvailableEmergencyCredit",
        0x0096: "GetPrepaySnapshot",
        0x0097: "ConsumerTopUp",
        0x009B: "ConsumerTopUp",
        0x009D: "GetBillingPeriod",
        0x009F: f"{_ASK_CALENDAR} GetCurrentPrice",
        0x00A0: "GetSampledData",
        0x00A1: "GetEventLog",
        0x00A3: "PublishTariffInformation PublishPriceMatrix",
        0x00AD: "SetEventConfiguration",
        0x00B4: "CreditAdjustment",
        0x00B5: _ASK_CALENDAR,
        0x00C0: "CreditAdjustment",
        0x00C2: "CreditAdjustment",
        0x00C3: "GetPrepaySnapshot GetSnapshot",
        0x00C4: "GetDebtRepaymentLog",
        0x00C5: "GetTopUpLog",
        0x00D8: "PublishBillingPeriod PublishBlockPeriod",
        0x00DA: "GetBillingPeriod",
        0x00F1: "GetEventConfiguration",
        0x00FC: "SetUncontrolledFlowThreshold SetSupplyStatus",
    }.items()
}
"""Commands by message code, by the names of ``gbcs.zcl_commands``."""

_REGISTERS: Final = {0x0000, 0x0300, 0x0301, 0x0302}
READS: Final[Mapping[int, Mapping[int, frozenset[int]]]] = {
    code: {cluster: frozenset(ids) for cluster, ids in clusters.items()}
    for code, clusters in {
        0x0074: {0x0702: _REGISTERS},
        0x0075: {0x0700: {0x0616, 0x0617}, 0x0705: {0x0001, 0x0002, 0x0005, 0x0211, 0x0221, 0x0231}},
        0x007B: {0x0700: set(range(0x0302, 0x0307)), 0x0702: set(range(0x0B10, 0x0B16))},
        0x0082: {0x0702: {0x0014, 0x0205}},
        0x0084: {0x0702: {0x0206}},
        0x0089: {0x0702: {0x0307}},
        0x008D: {0x0702: {0x0A00}, 0x0705: {0x0001}},
        0x009E: {0x0000: {0x0003, 0x0004, 0x0005}, 0x0702: {0x0607, 0x0608}},
        0x009F: {
            0x0700: {
                0x0100, 0x0101, 0x0102, 0x0202, 0x0203, 0x0301, 0x0400, 0x0401, 0x0402, 0x0403, 0x0410, 0x0420, 0x0430,
                0x0440, 0x0615, 0x0616, 0x0617,
            }
        },
        0x00B5: {
            0x0700: {0x0617},
            0x0705: {
                0x0006, 0x0010, 0x0011, 0x0021, 0x0022, 0x0031, 0x0040, 0x0216, 0x0217, 0x0226, 0x0227, 0x0239,
            },
        },
        0x00B6: {0x0702: {*_REGISTERS, 0x0100, 0x0102, 0x0104, 0x0106}},
        0x00B8: {0x0702: {*_REGISTERS, 0x0700, 0x0701, 0x0702, 0x0703}},
        0x00BF: {0x0705: {0x0000}},
        0x00FB: {0x0000: {0x0004, 0x0005}, 0x0702: {0x0607, 0x0608}},
        0x012A: {0x0702: {0x0A00}, 0x0705: {0x0001}},
    }.items()
}  # fmt: skip
"""Attributes by message code and cluster."""


TOP_UPS: Final = frozenset({0x0097, 0x009B})


def belongs(message_code: int, payload: Gbz) -> bool:
    """Whether all parts of a payload are of its use case; a top-up has one: a code said twice counts once."""
    if message_code in TOP_UPS and len(payload.components) != 1:
        return False
    commands, reads = COMMANDS.get(message_code, frozenset()), READS.get(message_code, {})
    for component in payload.components:
        match component.body:
            case ZclCommand() as body if body.name in commands:
                continue
            case ReadAttributes(attribute_ids=ids) if set(ids) <= reads.get(component.cluster, frozenset()):
                continue
            case _:
                return False
    return True
