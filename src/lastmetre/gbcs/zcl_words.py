"""Names and units of what GBZ payloads hold, for reading: attributes by cluster and id, and amounts in commands.

The ids are those the published messages read; the names are Smart Energy's, from memory [I]. Money is in thousandths of
a penny: a published top-up of 1250 pence is answered with 1,250,000, and DUIS hands amounts through as they are
(transform.md). For fields no published message settles, the same is taken [I]. Volumes have no unit here, as a meter's
own multiplier and divisor say what they count.
"""

from __future__ import annotations

from typing import Final

MONEY: Final = "GBP 1e-5"
"""The unit of every amount of money in GBCS; ``words`` tells it in pounds as well."""

CURRENCY_POUNDS: Final = 826
"""ISO 4217's number of the pound, as tariffs carry it; amounts in another currency are told without a unit."""

_PERCENT: Final = "x 0.01 %"

ATTRIBUTES: Final[dict[tuple[int, int], tuple[str, str]]] = {
    # cluster, attribute: name, unit
    (0x0000, 0x0003): ("hardware version", ""),
    (0x0000, 0x0004): ("manufacturer", ""),
    (0x0000, 0x0005): ("model", ""),
    **{(0x0700, 0x0100 + number): (f"tier 1 block {number + 1} threshold", "") for number in range(15)},
    (0x0700, 0x0202): ("threshold multiplier", ""),
    (0x0700, 0x0203): ("threshold divisor", ""),
    (0x0700, 0x0301): ("standing charge", MONEY),
    (0x0700, 0x0302): ("conversion factor", ""),
    (0x0700, 0x0303): ("conversion factor, decimals", ""),
    (0x0700, 0x0304): ("calorific value", ""),
    (0x0700, 0x0305): ("calorific value, unit", ""),
    (0x0700, 0x0306): ("calorific value, decimals", ""),
    **{(0x0700, 0x0400 + number): (f"block {number + 1} price", MONEY) for number in range(4)},
    **{(0x0700, 0x0400 + 0x10 * tier): (f"tier {tier} price", MONEY) for tier in range(1, 5)},
    (0x0700, 0x0615): ("tariff unit", ""),
    (0x0700, 0x0616): ("currency", ""),
    (0x0700, 0x0617): ("price, decimals", ""),
    (0x0702, 0x0000): ("consumption", ""),
    (0x0702, 0x0014): ("supply status", ""),
    **{(0x0702, 0x0100 + 2 * number): (f"consumption in tier {number + 1}", "") for number in range(4)},
    (0x0702, 0x0205): ("battery life left", "days"),
    (0x0702, 0x0206): ("meter id, firmware version", ""),
    (0x0702, 0x0300): ("unit of measure", ""),
    (0x0702, 0x0301): ("multiplier", ""),
    (0x0702, 0x0302): ("divisor", ""),
    (0x0702, 0x0307): ("site id", ""),
    (0x0702, 0x0607): ("supply on tamper", ""),
    (0x0702, 0x0608): ("supply on depletion", ""),
    **{(0x0702, 0x0700 + number): (f"consumption in block {number + 1}", "") for number in range(4)},
    (0x0702, 0x0A00): ("bill to date", MONEY),
    (0x0702, 0x0B10): ("uncontrolled flow threshold", ""),
    (0x0702, 0x0B11): ("uncontrolled flow threshold, unit", ""),
    (0x0702, 0x0B12): ("uncontrolled flow multiplier", ""),
    (0x0702, 0x0B13): ("uncontrolled flow divisor", ""),
    (0x0702, 0x0B14): ("flow stabilisation period", "x 0.1 s"),
    (0x0702, 0x0B15): ("flow measurement period", "s"),
    (0x0705, 0x0000): ("payment control configuration", ""),
    (0x0705, 0x0001): ("credit remaining", MONEY),
    (0x0705, 0x0002): ("emergency credit remaining", MONEY),
    (0x0705, 0x0005): ("total debt", MONEY),
    (0x0705, 0x0006): ("overall debt cap", MONEY),
    (0x0705, 0x0010): ("emergency credit limit", MONEY),
    (0x0705, 0x0011): ("emergency credit threshold", MONEY),
    (0x0705, 0x0021): ("largest credit", MONEY),
    (0x0705, 0x0022): ("largest top-up", MONEY),
    (0x0705, 0x0031): ("low credit warning", MONEY),
    (0x0705, 0x0040): ("cut-off value", MONEY),
    **{(0x0705, 0x0201 + 0x10 * number): (f"debt {number} amount", MONEY) for number in range(1, 4)},
    **{(0x0705, 0x0206 + 0x10 * number): (f"debt {number} recovery frequency", "") for number in range(1, 4)},
    **{(0x0705, 0x0207 + 0x10 * number): (f"debt {number} recovery amount", MONEY) for number in range(1, 4)},
    (0x0705, 0x0239): ("debt 3 recovered from each top-up", _PERCENT),
}

FIELDS: Final[dict[tuple[str, str], str]] = {
    # command, field: unit
    ("PublishPrice", "price"): MONEY,
    ("PublishTariffInformation", "standing_charge"): MONEY,
    ("PublishPriceMatrix", "price"): MONEY,
    ("ChangeDebt", "amount"): MONEY,
    ("ChangeDebt", "recovery_amount"): MONEY,
    ("ChangeDebt", "percentage"): _PERCENT,
    ("EmergencyCreditSetup", "limit"): MONEY,
    ("EmergencyCreditSetup", "threshold"): MONEY,
    ("CreditAdjustment", "value"): MONEY,
    ("ChangePaymentMode", "cut_off"): MONEY,
    ("SetLowCreditWarningLevel", "level"): MONEY,
    ("SetMaximumCreditLimit", "max_level"): MONEY,
    ("SetMaximumCreditLimit", "max_per_top_up"): MONEY,
    ("SetOverallDebtCap", "cap"): MONEY,
    ("PublishPrepaySnapshot", "accumulated_debt"): MONEY,
    ("PublishPrepaySnapshot", "time_debt_1"): MONEY,
    ("PublishPrepaySnapshot", "time_debt_2"): MONEY,
    ("PublishPrepaySnapshot", "payment_debt"): MONEY,
    ("PublishPrepaySnapshot", "emergency_credit"): MONEY,
    ("PublishPrepaySnapshot", "balance"): MONEY,
    ("ChangePaymentModeResponse", "emergency_limit"): MONEY,
    ("ChangePaymentModeResponse", "emergency_threshold"): MONEY,
    ("ConsumerTopUpResponse", "value"): MONEY,
    ("ConsumerTopUpResponse", "credit_remaining"): MONEY,
    ("PublishTopUpLog", "amount"): MONEY,
    ("PublishDebtLog", "collected"): MONEY,
    ("PublishDebtLog", "outstanding"): MONEY,
}


def attribute_words(cluster: int, attribute_id: int) -> str:
    """An attribute by its name and id."""
    name, _unit = ATTRIBUTES.get((cluster, attribute_id), ("attribute", ""))
    return f"{name} ({attribute_id:04X})"


def attribute_unit(cluster: int, attribute_id: int) -> str:
    """The unit of an attribute; empty when it has none, or none is known."""
    return ATTRIBUTES.get((cluster, attribute_id), ("", ""))[1]


def field_unit(command: str, field: str) -> str:
    """The unit of a command's field; empty when it has none, or its name says it already."""
    return FIELDS.get((command, field), "")
