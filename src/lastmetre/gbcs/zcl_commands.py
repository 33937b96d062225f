"""The cluster commands of GBCS, one row each (gbcs-messages section 8.3); ``zcl`` reads and writes by this table.

A field is ``name:type``. A trailing ``?`` may be missing at the end of a command. ``name:u8*{...}`` is a count and so
many rows; ``name:*{...}`` is rows up to the end. The types are those of section 8.3: ``zcl`` lists their sizes.
"""

from __future__ import annotations

from typing import Final

_TO_SERVER: Final = False
_FROM_SERVER: Final = True

_S83: Final = "gbcs-messages 8.3"
_ZSE: Final = "Zigbee Smart Energy 1.2, from memory: gbcs-messages 8.3 names it without fields [I]"

COMMANDS: Final[tuple[tuple[int, bool, int, str, str, str], ...]] = (
    # cluster, from server, command id, name, fields, source
    (0x0700, _TO_SERVER, 0x00, "GetCurrentPrice", "options:u8", _S83),
    (
        0x0700,
        _TO_SERVER,
        0x0B,
        "GetBillingPeriod",
        "earliest_start:utc min_issuer_event_id:u32 count:u8 tariff_type:b8",
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x00,
        "PublishPrice",
        (
            "provider:u32 rate_label:os issuer_event:utc current_time:utc unit:e8 currency:u16 "
            "trailing_digit_and_tier:b8 tiers_and_register_tier:b8 "
            "start:utc duration_minutes:u16 price:u32 ignorable:o19?"
        ),
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x01,
        "PublishBlockPeriod",
        "provider:u32 issuer_event:utc start:utc duration:u24 control:b8 duration_type:b8 tariff_type:b8 resolution:e8",
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x02,
        "PublishConversionFactor",
        "issuer_event:utc start:utc factor:u32 trailing_digit:b8",
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x03,
        "PublishCalorificValue",
        "issuer_event:utc start:utc calorific_value:u32 unit:e8 trailing_digit:b8",
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x04,
        "PublishTariffInformation",
        (
            "provider:u32 issuer_event:utc tariff_id:u32 start:utc type_and_scheme:b8 label:os tiers:u8 "
            "block_thresholds:u8 unit:e8 currency:u16 trailing_digit:b8 standing_charge:u32 tier_block_mode:u8 "
            "multiplier:u24 divisor:u24"
        ),
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x05,
        "PublishPriceMatrix",
        (
            "provider:u32 issuer_event:utc start:utc tariff_id:u32 index:u8 count:u8 control:b8 "
            "prices:*{tier_and_block:u8 price:u32}"
        ),
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x06,
        "PublishBlockThresholds",
        (
            "provider:u32 issuer_event:utc start:utc tariff_id:u32 index:u8 count:u8 control:b8 "
            "thresholds:u8*{threshold:u48}"
        ),
        _S83,
    ),
    (
        0x0700,
        _FROM_SERVER,
        0x09,
        "PublishBillingPeriod",
        "provider:u32 issuer_event:utc start:utc duration:u24 duration_type:u8 tariff_type:u8",
        _S83,
    ),
    (0x0702, _TO_SERVER, 0x06, "GetSnapshot", "earliest_start:utc latest_end:utc offset:u8 cause:b32", _S83),
    (
        0x0702,
        _TO_SERVER,
        0x07,
        "StartSampling",
        "issuer_event:utc start:utc type:e8 interval_s:u16 max_samples:u16",
        _S83,
    ),
    (0x0702, _TO_SERVER, 0x08, "GetSampledData", "sample_id:u16 earliest:utc type:e8 count:u16", _S83),
    (
        0x0702,
        _TO_SERVER,
        0x0B,
        "ChangeSupply",
        "provider:u32 issuer_event:utc request_time:utc implementation:utc status:e8 control:b8",
        _S83,
    ),
    (
        0x0702,
        _TO_SERVER,
        0x0D,
        "SetSupplyStatus",
        "issuer_event:utc tamper:e8 depletion:e8 uncontrolled_flow:e8 load_limit:e8",
        _S83,
    ),
    (
        0x0702,
        _TO_SERVER,
        0x0E,
        "SetUncontrolledFlowThreshold",
        (
            "provider:u32 issuer_event:utc threshold:u16 unit:e8 multiplier:u16 divisor:u16 stabilisation:u8 "
            "measurement:u16"
        ),
        _S83,
    ),
    (
        0x0702,
        _FROM_SERVER,
        0x06,
        "PublishSnapshot",
        (
            "id:u32 time:utc found:u8 index:u8 count:u8 cause:b32 payload_type:e8 summation:u48 "
            "tiers:u8*{summation:u48} tiers_and_thresholds:b8 blocks:*{counter:u48}"
        ),
        _S83,
    ),
    (
        0x0702,
        _FROM_SERVER,
        0x07,
        "GetSampledDataResponse",
        "id:u16 start:utc type:e8 interval_s:u16 samples:u16*{value:u24}",
        _S83,
    ),
    (
        0x0702,
        _FROM_SERVER,
        0x0C,
        "SupplyStatusResponse",
        "provider:u32 issuer_event:utc implementation:utc status:e8",
        _S83,
    ),
    (0x0702, _FROM_SERVER, 0x0D, "StartSamplingResponse", "sample_id:u16", _S83),
    (
        0x0703,
        _FROM_SERVER,
        0x00,
        "DisplayMessage",
        "id:utc control:b8 start:utc duration_minutes:u16 message:os extended_control:b8?",
        _S83,
    ),
    (0x0705, _TO_SERVER, 0x00, "SelectAvailableEmergencyCredit", "issued:utc originating_device:e8", _S83),
    (
        0x0705,
        _TO_SERVER,
        0x02,
        "ChangeDebt",
        (
            "issuer_event:utc label:os amount:i32 method:u8 amount_type:e8 start:u32 collection_time:u16 frequency:e8 "
            "recovery_amount:i32 percentage:u16"
        ),
        _S83,
    ),
    (0x0705, _TO_SERVER, 0x03, "EmergencyCreditSetup", "issuer_event:utc start:utc limit:u32 threshold:u32", _S83),
    (0x0705, _TO_SERVER, 0x04, "ConsumerTopUp", "originating_device:u8 code:os", _S83),
    (0x0705, _TO_SERVER, 0x05, "CreditAdjustment", "issuer_event:utc start:utc type:u8 value:i32", _S83),
    (
        0x0705,
        _TO_SERVER,
        0x06,
        "ChangePaymentMode",
        "provider:u32 issuer_event:utc implementation:utc configuration:b16 cut_off:i32",
        _S83,
    ),
    (0x0705, _TO_SERVER, 0x07, "GetPrepaySnapshot", "earliest_start:utc latest_end:utc offset:u8 cause:b32", _S83),
    (0x0705, _TO_SERVER, 0x08, "GetTopUpLog", "latest_end:utc count:u8", _S83),
    (0x0705, _TO_SERVER, 0x09, "SetLowCreditWarningLevel", "level:u32", _S83),
    (0x0705, _TO_SERVER, 0x0A, "GetDebtRepaymentLog", "latest_end:utc debts:u8 type:e8", _S83),
    (
        0x0705,
        _TO_SERVER,
        0x0B,
        "SetMaximumCreditLimit",
        "provider:u32 issuer_event:utc implementation:utc max_level:u32 max_per_top_up:u32",
        _S83,
    ),
    (0x0705, _TO_SERVER, 0x0C, "SetOverallDebtCap", "provider:u32 issuer_event:utc implementation:utc cap:i32", _S83),
    (
        0x0705,
        _FROM_SERVER,
        0x01,
        "PublishPrepaySnapshot",
        (
            "id:u32 time:utc found:u8 index:u8 count:u8 cause:b32 payload_type:e8 accumulated_debt:i32 time_debt_1:u32 "
            "time_debt_2:u32 payment_debt:u32 emergency_credit:u32 balance:i32"
        ),
        _S83,
    ),
    (
        0x0705,
        _FROM_SERVER,
        0x02,
        "ChangePaymentModeResponse",
        "friendly_credit:b8 calendar_id:u32 emergency_limit:u32 emergency_threshold:u32",
        _S83,
    ),
    (
        0x0705,
        _FROM_SERVER,
        0x03,
        "ConsumerTopUpResponse",
        "result:e8 value:i32 source:u8 credit_remaining:i32",
        _S83,
    ),
    (0x0705, _FROM_SERVER, 0x05, "PublishTopUpLog", "index:u8 count:u8 entries:*{code:os amount:i32 time:utc}", _S83),
    (
        0x0705,
        _FROM_SERVER,
        0x06,
        "PublishDebtLog",
        "index:u8 count:u8 entries:*{time:utc collected:u32 type:e8 outstanding:u32}",
        _S83,
    ),
    (
        0x0707,
        _TO_SERVER,
        0x00,
        "GetCalendar",
        "earliest_start:utc min_issuer_event_id:u32 count:u8 type:e8 provider:u32",
        _ZSE,
    ),
    (0x0707, _TO_SERVER, 0x01, "GetDayProfiles", "provider:u32 calendar:u32 start_id:u8 count:u8", _S83),
    (0x0707, _TO_SERVER, 0x02, "GetWeekProfiles", "provider:u32 calendar:u32 start_id:u8 count:u8", _S83),
    (0x0707, _TO_SERVER, 0x03, "GetSeasons", "provider:u32 calendar:u32", _S83),
    (0x0707, _TO_SERVER, 0x04, "GetSpecialDays", "start:utc count:u8 type:e8 provider:u32 calendar:u32", _S83),
    (
        0x0707,
        _FROM_SERVER,
        0x00,
        "PublishCalendar",
        (
            "provider:u32 issuer_event:utc calendar:u32 start:utc type:e8 time_reference:u8 name:os seasons:u8 "
            "weeks:u8 days:u8"
        ),
        _S83,
    ),
    (
        0x0707,
        _FROM_SERVER,
        0x01,
        "PublishDayProfile",
        (
            "provider:u32 issuer_event:utc calendar:u32 day_id:u8 total_entries:u8 index:u8 count:u8 type:e8 "
            "entries:*{minute_of_day:u16 tier_or_flag:u8}"
        ),
        _S83,
    ),
    (
        0x0707,
        _FROM_SERVER,
        0x02,
        "PublishWeekProfile",
        (
            "provider:u32 issuer_event:utc calendar:u32 week_id:u8 monday:u8 tuesday:u8 wednesday:u8 thursday:u8 "
            "friday:u8 saturday:u8 sunday:u8"
        ),
        _S83,
    ),
    (
        0x0707,
        _FROM_SERVER,
        0x03,
        "PublishSeasons",
        "provider:u32 issuer_event:utc calendar:u32 index:u8 count:u8 seasons:*{start:date week_id:u8}",
        _S83,
    ),
    (
        0x0707,
        _FROM_SERVER,
        0x04,
        "PublishSpecialDays",
        (
            "provider:u32 issuer_event:utc calendar:u32 start:utc type:e8 total_days:u8 index:u8 count:u8 "
            "days:*{date:date day_id:u8}"
        ),
        _S83,
    ),
    (
        0x0708,
        _TO_SERVER,
        0x04,
        "ReportEventConfiguration",
        "index:u8 count:u8 events:*{event_id:u16 configuration:b8}",
        _S83,
    ),
    (
        0x0708,
        _FROM_SERVER,
        0x00,
        "PublishChangeOfTenancy",
        "provider:u32 issuer_event:utc tariff_type:b8 implementation:utc control:b32",
        _S83,
    ),
    (
        0x0708,
        _FROM_SERVER,
        0x01,
        "PublishChangeOfSupplier",
        (
            "provider:u32 issuer_event:utc tariff_type:b8 proposed_provider:u32 implementation:utc control:b32 name:os "
            "contact:os"
        ),
        _S83,
    ),
    (
        0x0708,
        _FROM_SERVER,
        0x02,
        "RequestNewPasswordResponse",
        "issuer_event:utc implementation:utc duration_minutes:u16 type:e8 password:os",
        _S83,
    ),
    (0x0708, _FROM_SERVER, 0x03, "UpdateSiteID", "issuer_event:utc time:utc provider:u32 site_id:os", _S83),
    (
        0x0708,
        _FROM_SERVER,
        0x04,
        "SetEventConfiguration",
        "issuer_event:utc start:utc configuration:b8 control:e8 events:u8*{event_id:u16}",
        _S83,
    ),
    (0x0708, _FROM_SERVER, 0x05, "GetEventConfiguration", "event_id:u16", _S83),
    (0x0708, _FROM_SERVER, 0x06, "UpdateCIN", "issuer_event:utc time:utc provider:u32 cin:os", _S83),
    (
        0x0709,
        _TO_SERVER,
        0x00,
        "GetEventLog",
        "control_and_log:b8 event_id:u16 start:utc end:utc count:u8 offset:u16",
        _S83,
    ),
    (0x0709, _TO_SERVER, 0x01, "ClearEventLogRequest", "log:b8", _S83),
    (
        0x0709,
        _FROM_SERVER,
        0x01,
        "PublishEventLog",
        "total:u16 index:u8 count:u8 control:b8 events:*{log:b8 event_id:u16 time:utc data:os}",
        _S83,
    ),
    (0x0709, _FROM_SERVER, 0x02, "ClearEventLogResponse", "cleared:b8", _S83),
)
