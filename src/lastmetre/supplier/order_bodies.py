"""An order's body read: each field checked, in words for whoever wrote it; devices found by identifier or MPxN.

The rules kept here:

- A field is known or refused; nothing that only the service decides (state, counter, approval, tenant) can be set.
- The digest of a body is that of its canonical JSON without its key: the same order, however it is spelt.
- What is stored can be shown: no control characters, nothing that turns the direction of writing.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from lastmetre.supplier.errors import OrderRefused
from lastmetre.supplier.orders import Road
from lastmetre.supplier.services import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.supplier.policy import RoadPolicy
    from lastmetre.supplier.roads import Device
    from lastmetre.supplier.services import Service

DEADLINE_MAX_S: Final = 28 * 86_400
"""Weeks: longer lives belong to future-dated Commands."""
TEXT_MAX: Final = 500
KEY_MAX: Final = 200
PRIORITY_MAX: Final = 9
DUIS_MAX: Final = 48_000
"""Characters of a whole DUIS Request; the largest (tariffs, calendars) have some 30,000."""
FIELDS: Final = frozenset(
    {
        "device_id", "mpxn", "service", "values", "duis", "deadline_s", "roads", "policy", "priority", "reason",
        "idempotency_key", "ordered_by",
    }
)  # fmt: skip
_ROADS: Final = {road.value: road for road in Road}
_UNSHOWABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def check_fields(body: Mapping[str, object]) -> None:
    """Raises ``OrderRefused`` naming what no order has."""
    unknown = body.keys() - FIELDS
    if unknown:
        raise OrderRefused(f"an order has no {', '.join(sorted(unknown))}")


def digest(body: Mapping[str, object]) -> bytes:
    """SHA-256 of what is asked; the key that names it is no part of it."""
    content = {name: value for name, value in body.items() if name != "idempotency_key"}
    return hashlib.sha256(canonical(content).encode()).digest()


def device_of(body: Mapping[str, object], devices: Mapping[bytes, Device], service: Service) -> Device:
    """The device it names, or the one at its MPxN that the service fits; raises ``OrderRefused``."""
    text, mpxn = body.get("device_id"), body.get("mpxn")
    if (text is None) == (mpxn is None):
        raise OrderRefused("say device_id or mpxn, one of the two")
    if mpxn is not None:
        return _at_supply_point(mpxn, devices, service)
    try:
        device_id = bytes.fromhex(str(text).replace("-", ""))
    except ValueError:
        device_id = b""
    if len(device_id) != 8:
        raise OrderRefused("device_id must be an entity identifier: 16 hexadecimal digits")
    if device_id not in devices:
        raise OrderRefused(f"device {device_id.hex()} is none of this supplier's devices")
    return devices[device_id]


def _at_supply_point(mpxn: object, devices: Mapping[bytes, Device], service: Service) -> Device:
    there = [device for device in devices.values() if device.mpxn and device.mpxn == mpxn]
    if not there:
        raise OrderRefused(f"none of this supplier's devices is at MPxN {mpxn}")
    fit = [device for device in there if not service.devices or device.device_type in service.devices]
    if len(fit) != 1:
        named = ", ".join(f"{device.device_id.hex()} ({device.device_type})" for device in fit or there)
        what = "several devices fit" if fit else f"no device fits {service.name}"
        raise OrderRefused(f"at MPxN {mpxn} {what}: {named}; name one with device_id")
    return fit[0]


def roads_of(body: Mapping[str, object], policy: RoadPolicy) -> tuple[Road, ...]:
    """Those it names, or those of the policy that it names; one of the two, for both would be two answers."""
    name, named = body.get("policy"), body.get("roads")
    if name is None or named is not None:
        return named_roads(named)
    found = policy.policies.get(name) if isinstance(name, str) else None
    if found is None:
        raise OrderRefused(f"there is no policy {name!r}; there are {', '.join(sorted(policy.policies))}")
    return tuple(step.road for step in found.steps)


def named_roads(value: object) -> tuple[Road, ...]:
    """Roads by name, in their order."""
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise OrderRefused(f"roads must be a list without repeats of: {', '.join(_ROADS)}; or name a policy")
    unknown = [str(road) for road in value if road not in _ROADS]
    if unknown:
        raise OrderRefused(f"there is no road {', '.join(unknown)}; there are {', '.join(_ROADS)}")
    roads = tuple(_ROADS[road] for road in value)
    if Road.BOTH in roads and {Road.WAN, Road.PPMID} & set(roads):
        raise OrderRefused("the road both is wan and ppmid at once: name it without them")
    return roads


def number(value: object, name: str, lowest: int, highest: int) -> int:
    """A whole number in its range."""
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise OrderRefused(f"{name} must be a whole number from {lowest} to {highest}")
    return value


def text(value: object, name: str, longest: int) -> str:
    """A text that may be stored and shown."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest or _UNSHOWABLE.search(value):
        raise OrderRefused(f"{name} must be text of at most {longest} characters, none of them a control character")
    return value


def duis_text(value: object) -> str:
    """A whole DUIS Request, as text; the XML reader judges the rest."""
    if not isinstance(value, str) or not 1 <= len(value) <= DUIS_MAX:
        raise OrderRefused(f"duis must be a DUIS Request of at most {DUIS_MAX} characters")
    return value
