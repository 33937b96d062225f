"""Which alerts a meter raises, and where (transform B10, 6.22): bits on an ESME, groups of event codes on a GSME."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import Asked, Item, Part, Rule, set_
from lastmetre.duis.use_cases.terms import Term, plain
from lastmetre.duis.use_cases.values import child, one_of
from lastmetre.duis.use_cases.zigbee import send
from lastmetre.gbcs.axdr import BitString

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.duis.xml import Element

_SWITCH: Final = {"Disable": 0, "Enable": 1}

MASK_BITS: Final = 256
"""A bit for each alert code; the code's low octet counts from the last bit."""


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


def _alert_bits(asked: Asked, element: str, place: str, name: str) -> tuple[Item, ...]:
    """Which codes are meant (first half), and which of them are enabled (second half)."""
    mask = values = 0
    for code, enabled in _settings(child(asked.body, element)):
        bit = 1 << (code & 0xFF)
        mask |= bit
        values |= bit if enabled else 0
    data = BitString(2 * MASK_BITS, (mask << MASK_BITS | values).to_bytes(2 * MASK_BITS // 8, "big"))
    return (set_(place, 2, data, Term(name, _show_bits)),)


def _has(asked: Asked, element: str) -> bool:
    return asked.body.find(element) is not None


def _bits_rule(use_case: str, code: int, element: str, place: str, name: str) -> Rule:
    fill = partial(_alert_bits, element=element, place=place, name=name)
    return Rule(use_case, code, ("6.22",), fill, applies=partial(_has, element=element), source="B10")


# --- GCS20: event configurations

FLAGS: Final = (("EventLog", 0x01), ("WANAlert", 0x08), ("HANAlert", 0x10), ("Alarm", 0x42))
"""What each of the four settings adds to the configuration of an event."""


def _event_settings(asked: Asked) -> Iterator[tuple[int, int]]:
    for event in child(asked.body, "GasSupplierAlertEventSettings").children:
        yield _code(event), sum(flag for name, flag in FLAGS if one_of(event, name, _SWITCH))


def _wan_settings(asked: Asked) -> Iterator[tuple[int, int]]:
    """The older form, which sets the alert by WAN alone. That it maps to the same flag is inferred [I]."""
    alerts = child(asked.body, "GasSupplierAlerts")
    for event in alerts.children:
        yield _code(event), FLAGS[1][1] * one_of(alerts, event.name, _SWITCH)


def _event_configurations(asked: Asked) -> tuple[Part, ...]:
    """One command for each configuration that occurs, in the order of its first event (the samples have another)."""
    settings = _event_settings if _has(asked, "GasSupplierAlertEventSettings") else _wan_settings
    groups: dict[int, list[int]] = {}
    for code, configuration in settings(asked):
        groups.setdefault(configuration, []).append(code)
    return tuple(
        send(
            asked,
            "SetEventConfiguration",
            f"event configuration {configuration:02X}",
            configuration=configuration,
            events=tuple({"event_id": code} for code in codes),
        )
        for configuration, codes in groups.items()
    )


RULES: Final = (
    _bits_rule("ECS25a", 0x00AC, "ElectricitySupplierAlerts", "1/0-30:97.98.11.255", "alerts by WAN"),
    _bits_rule("ECS25a1", 0x00EA, "ElectricitySupplierHANAlertSettings", "1/0-30:97.98.12.255", "alerts by HAN"),
    _bits_rule("ECS25a2", 0x00EB, "ElectricitySupplierAlarmSettings", "1/0-30:97.98.13.255", "alarms"),
    _bits_rule("ECS25a3", 0x00EC, "ElectricitySupplierLoggingSettings", "1/0-30:97.98.14.255", "logged events"),
    _bits_rule("ECS25b", 0x00B0, "ElectricityNetworkOperatorAlerts", "1/0-33:97.98.11.255", "network alerts by WAN"),
    _bits_rule(
        "ECS25b3", 0x00ED, "ElectricityNetworkOperatorLoggingSettings", "1/0-33:97.98.14.255", "logged network events"
    ),
    Rule("GCS20", 0x00AD, ("6.22",), _event_configurations, frozenset({"GSME"}), source="B10"),
)
