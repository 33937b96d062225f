"""What can be ordered: one row per service, with the Service Request it becomes and the values it takes.

The rows are those this issue needs (reference: duis section 4, service-requests; transform B1-B3). Values are the
API's: money of top-ups in pence, thresholds and limits as DUIS takes them, in thousandths of a penny.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.catalogue import service_request
from lastmetre.gbcs.catalogue import Lane, use_case_by_name
from lastmetre.supplier.errors import OrderRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.duis.catalogue import ServiceRequest

_INT32_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number that a service takes."""

    lowest: int
    highest: int
    required: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """One row."""

    name: str
    service_reference: str
    use_cases: tuple[str, ...]
    """GBCS use cases it may become; which of them, the device's GBCS version decides."""
    values: Mapping[str, Number] = field(default_factory=dict)
    lane: Lane = Lane.ORDINARY

    @property
    def critical(self) -> bool:
        """Whether the supplier's signature is in the Command."""
        return _row(self.service_reference).critical

    @property
    def message_codes(self) -> frozenset[int]:
        """The message codes it may become: those of its use cases, or of its whole Service Request."""
        if not self.use_cases:
            return _row(self.service_reference).message_codes
        return frozenset(use_case_by_name(name).message_code for name in self.use_cases)

    @property
    def devices(self) -> frozenset[str]:
        """The types of devices it is for."""
        return _row(self.service_reference).devices


_MONEY: Final = Number(-_INT32_MAX, _INT32_MAX, required=True)
_LIMIT: Final = Number(0, _INT32_MAX, required=True)

SERVICES: Final[Mapping[str, Service]] = MappingProxyType(
    {
        service.name: service
        for service in (
            # source: duis 4 row 2.2; transform B1 CS01a; the amount's range: gbcs-messages 13.1
            Service("top_up", "2.2", ("CS01a",), {"amount_pence": Number(1, 819_100, required=True)}, Lane.TOP_UP),
            # source: duis 4 row 2.1; transform B1 ECS08/ECS08a. All six are written together.
            Service(
                "update_prepay_configuration",
                "2.1",
                ("ECS08a", "ECS08"),
                {
                    "debt_recovery_rate_cap": Number(0, 2**16 - 1, required=True),
                    "emergency_credit_limit": _LIMIT,
                    "emergency_credit_threshold": _MONEY,
                    "low_credit_threshold": _MONEY,
                    "max_meter_balance": _LIMIT,
                    "max_credit_threshold": _LIMIT,
                },
            ),
            # source: duis 4 rows 7.2 to 7.4; transform B2
            # source: duis 4 row 6.11; the default superseder (design section 5). Its time is that of the order.
            Service("synchronise_clock", "6.11", ("ECS70",)),
            Service("disable_supply", "7.2", ("ECS43",)),
            Service("arm_supply", "7.3", ("ECS44",)),
            Service("read_supply_status", "7.4", ("ECS45",)),
            # source: duis 4 row 4.4.5; use-case commands ECS20d: what settles a top-up that nobody answered for
            Service("read_top_up_log", "4.4.5", ("ECS20d",)),
            # source: duis 4 row 4.18; transform B3
            Service("read_meter_balance", "4.18", ("ECS82",)),
        )
    }
)


SRV: Final = "srv_"
"""A service that has no row here is named by its Service Reference Variant: ``srv_1.1.1``; it comes as DUIS XML."""
DUIS: Final = "duis"
"""The value that holds a whole DUIS Request."""


def _row(variant: str) -> ServiceRequest:
    row = service_request(variant)
    if row is None:
        raise OrderRefused(f"there is no Service Reference Variant {variant}")
    return row


def service_of(name: str) -> Service:
    """The service of an order as it is stored; one that came as DUIS XML has no values of ours."""
    known = SERVICES.get(name)
    return known if known is not None else Service(name, name.removeprefix(SRV), ())


def service_for_variant(variant: str) -> Service:
    """The service that a DUIS Request asks for, under the name that our rules know it by."""
    _row(variant)
    known = (service for service in SERVICES.values() if service.service_reference == variant)
    return next(known, service_of(f"{SRV}{variant}"))


def service_named(name: object) -> Service:
    """The service; raises ``OrderRefused`` naming those there are."""
    service = SERVICES.get(name) if isinstance(name, str) else None
    if service is None:
        raise OrderRefused(f"there is no service {name!r}; there are {', '.join(sorted(SERVICES))}")
    return service


def checked_values(service: Service, values: object) -> dict[str, int]:
    """The values, each known and in range; raises ``OrderRefused``."""
    if not isinstance(values, dict):
        raise OrderRefused("values must be an object")
    unknown = values.keys() - service.values.keys()
    if unknown:
        raise OrderRefused(f"{service.name} takes no {', '.join(sorted(map(str, unknown)))}")
    checked: dict[str, int] = {}
    for name, rule in service.values.items():
        value = values.get(name)
        if value is None and not rule.required:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not rule.lowest <= value <= rule.highest:
            raise OrderRefused(f"{name} must be a whole number from {rule.lowest} to {rule.highest}")
        checked[name] = value
    return checked


def canonical(value: object) -> str:
    """JSON in one form only, to be compared and digested."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
