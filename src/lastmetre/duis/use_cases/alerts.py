"""Which alerts a meter raises, and where (transform B10, 6.22): bits on an ESME, groups of event codes on a GSME."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import Asked, Item, Part, Rule, say
from lastmetre.duis.use_cases.terms import Term, plain
from lastmetre.duis.use_cases.values import child, one_of
from lastmetre.duis.use_cases.zigbee import say_all
from lastmetre.gbcs.axdr import BitString
from lastmetre.gbcs.build.alerts_and_events import MASK_BITS, AlertSetting, ConfigureAlerts
from lastmetre.gbcs.build.gas import ConfigureEvents, EventConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.duis.use_cases.zigbee import Named
    from lastmetre.duis.xml import Element

_SWITCH: Final = {"Disable": 0, "Enable": 1}


def _code(element: Element) -> int:
    """The alert code in an element's name: ``x810D``."""
    try:
        return int(element.name.removeprefix("x"), 16)
    except ValueError:
        raise TransformError(f"{element.name} names no alert code") from None


# --- ECS25: bits


def _settings(element: Element) -> Iterator[tuple[int, bool]]:
    """Every alert code with its setting, in whichever group of the request it stands."""
    for group in element.children:
        for setting in group.children:
            yield _code(setting), bool(one_of(group, setting.name, _SWITCH))


def _show_bits(data: object) -> str:
    if not isinstance(data, BitString) or data.bit_count != 2 * MASK_BITS:
        return plain(data)
    bits = int.from_bytes(data.value, "big")
    mask, values = bits >> MASK_BITS, bits & (1 << MASK_BITS) - 1
    shown = [f"xx{at:02X} {'on' if values >> at & 1 else 'off'}" for at in range(MASK_BITS) if mask >> at & 1]
    return ", ".join(shown) or "none"


def _alert_bits(asked: Asked, element: str, code: int, name: str) -> tuple[Item, ...]:
    """Which codes are meant (first half), and which of them are enabled (second half)."""
    settings = tuple(AlertSetting(number, enabled) for number, enabled in _settings(child(asked.body, element)))
    return say(asked, ConfigureAlerts(settings), Term(name, _show_bits), code=code)


def _has(asked: Asked, element: str) -> bool:
    return asked.body.find(element) is not None


def _bits_rule(use_case: str, code: int, element: str, name: str) -> Rule:
    fill = partial(_alert_bits, element=element, code=code, name=name)
    return Rule(use_case, code, ("6.22",), fill, applies=partial(_has, element=element), source="B10")


# --- GCS20: event configurations

PLACES: Final = ("EventLog", "WANAlert", "HANAlert", "Alarm")
"""Where an event shows: the four settings of a request, in the order of ``EventConfiguration``."""
Places: TypeAlias = tuple[bool, bool, bool, bool]


def _event_settings(asked: Asked) -> Iterator[tuple[int, Places]]:
    for event in child(asked.body, "GasSupplierAlertEventSettings").children:
        log, wan, han, alarm = (bool(one_of(event, name, _SWITCH)) for name in PLACES)
        yield _code(event), (log, wan, han, alarm)


def _wan_settings(asked: Asked) -> Iterator[tuple[int, Places]]:
    """The older form, which sets the alert by WAN alone. That it maps to the same flag is inferred [I]."""
    alerts = child(asked.body, "GasSupplierAlerts")
    for event in alerts.children:
        yield _code(event), (False, bool(one_of(alerts, event.name, _SWITCH)), False, False)


def _event_configurations(asked: Asked) -> tuple[Part, ...]:
    """One command for each configuration that occurs, in the order of its first event (the samples have another)."""
    settings = _event_settings if _has(asked, "GasSupplierAlertEventSettings") else _wan_settings
    groups: dict[Places, list[int]] = {}
    for code, places in settings(asked):
        groups.setdefault(places, []).append(code)
    configurations = tuple(EventConfiguration(tuple(codes), *places) for places, codes in groups.items())
    if not configurations:
        raise TransformError(f"{asked.body.name} names no event to configure")
    names: Iterator[Named] = ((f"event configuration {each.bits:02X}", {}) for each in configurations)
    return say_all(asked, ConfigureEvents(configurations), *names)


RULES: Final = (
    _bits_rule("ECS25a", 0x00AC, "ElectricitySupplierAlerts", "alerts by WAN"),
    _bits_rule("ECS25a1", 0x00EA, "ElectricitySupplierHANAlertSettings", "alerts by HAN"),
    _bits_rule("ECS25a2", 0x00EB, "ElectricitySupplierAlarmSettings", "alarms"),
    _bits_rule("ECS25a3", 0x00EC, "ElectricitySupplierLoggingSettings", "logged events"),
    _bits_rule("ECS25b", 0x00B0, "ElectricityNetworkOperatorAlerts", "network alerts by WAN"),
    _bits_rule("ECS25b3", 0x00ED, "ElectricityNetworkOperatorLoggingSettings", "logged network events"),
    Rule("GCS20", 0x00AD, ("6.22",), _event_configurations, frozenset({"GSME"}), source="B10"),
)
