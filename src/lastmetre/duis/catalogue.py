"""The 129 service requests as data: what each is called, which element carries it, how it may be sent.

Rules kept here (reference: duis sections 2.2 and 4):

* The rows live in ``catalogue.toml`` and are checked when first read; a row that contradicts itself stops the program.
* The XML schema binds neither Command Variant nor body element nor ServiceReference to the Variant; ``check_request``
  does (response code E12).
* Which Command Variants a row allows follows from *critical* and *non-device*: [I] for single rows, and no published
  template says otherwise.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import DuisError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROWS: Final = 129
"""Schema 5.4 and the request matrix both list this many."""

SIGNED_PRE_COMMAND: Final = "SignedPreCommand"
"""The body element of a Signed Pre-Command, whatever its service."""

TRANSFORM: Final = frozenset({4})
SIGNED: Final = frozenset({5, 6, 7})
NON_CRITICAL: Final = frozenset({1, 2, 3})
NON_DEVICE: Final = frozenset({8})
LOCAL: Final = frozenset({2, 3, 6, 7})
"""Command Variants that return the Command to the User for local delivery (duis section 2.1)."""

_ROLES: Final = frozenset({"IS", "ES", "GS", "ED", "GT", "RSA", "OU"})
_DEVICES: Final = frozenset({"ESME", "GSME", "GPF", "CHF", "HCALCS", "PPMID"})
_FLAGS: Final = frozenset({"critical", "on_demand", "scheduled", "non_device"})


class CatalogueError(DuisError):
    """The catalogue of service requests contradicts itself; mend ``catalogue.toml``."""


class FutureDated(StrEnum):
    """Who holds a request with an ExecutionDateTime until its time comes."""

    NONE = "none"
    DSP = "dsp"
    DEVICE = "device"
    DSP_AND_DEVICE = "dsp and device"


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One row: a Service Reference Variant."""

    variant: str
    name: str
    element: str
    critical: bool
    on_demand: bool
    scheduled: bool
    non_device: bool
    future_dated: FutureDated
    roles: frozenset[str]
    devices: frozenset[str]
    use_cases: tuple[tuple[str, int], ...]
    source: str

    @property
    def service_reference(self) -> str:
        """The first two numbers of the Variant: 8.14 for 8.14.4."""
        return ".".join(self.variant.split(".")[:2])

    @property
    def command_variants(self) -> frozenset[int]:
        """The Command Variants this request may be sent with, those of its Signed Pre-Command included."""
        if self.non_device:
            return NON_DEVICE
        return TRANSFORM | SIGNED if self.critical else NON_CRITICAL

    @property
    def message_codes(self) -> frozenset[int]:
        """The GBCS message codes it may become."""
        return frozenset(code for _, code in self.use_cases)

    @property
    def device_held(self) -> bool:
        """Whether the date is encoded into the Command, for the device to hold."""
        return self.future_dated in (FutureDated.DEVICE, FutureDated.DSP_AND_DEVICE)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A request whose parts do not belong together: the response code and the reason in words."""

    response_code: str
    reason: str


def _row(variant: str, columns: list[str], values: list[str], sources: Mapping[str, str]) -> ServiceRequest:
    if len(values) != len(columns):
        raise CatalogueError(f"{variant}: {len(values)} values for {len(columns)} columns")
    cell = dict(zip(columns, values, strict=True))
    flags = frozenset(cell["flags"].split())
    use_cases = tuple((name, int(code, 16)) for name, code in (pair.split("=") for pair in cell["use_cases"].split()))
    row = ServiceRequest(
        variant=variant,
        name=cell["name"],
        element=cell["element"],
        critical="critical" in flags,
        on_demand="on_demand" in flags,
        scheduled="scheduled" in flags,
        non_device="non_device" in flags,
        future_dated=FutureDated(cell["future_dated"]),
        roles=frozenset(cell["roles"].split()),
        devices=frozenset(cell["devices"].split()),
        use_cases=use_cases,
        source=sources[cell["source"]],
    )
    if not flags <= _FLAGS or not row.roles <= _ROLES or not row.devices <= _DEVICES:
        raise CatalogueError(f"{variant}: a flag, role or device type that is not known")
    if row.critical and row.non_device:
        raise CatalogueError(f"{variant}: a request to the DCC itself cannot be critical")
    if row.non_device == bool(use_cases):
        raise CatalogueError(f"{variant}: exactly the requests for devices become GBCS messages")
    return row


@cache
def service_requests() -> Mapping[str, ServiceRequest]:
    """Every service request by its Service Reference Variant."""
    table = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))
    try:
        rows = {
            variant: _row(variant, table["columns"], values, table["sources"])
            for variant, values in table["requests"].items()
        }
    except (KeyError, ValueError) as error:
        raise CatalogueError(f"catalogue.toml: {error}") from None
    if len(rows) != ROWS or len({row.element for row in rows.values()}) != ROWS:
        raise CatalogueError(f"catalogue.toml must hold {ROWS} requests with {ROWS} different elements")
    return MappingProxyType(rows)


def service_request(variant: str) -> ServiceRequest | None:
    """The row of a Service Reference Variant, or None."""
    return service_requests().get(variant)


def check_request(service_reference: str, variant: str, command_variant: int, element: str) -> Misfit | None:
    """Whether the parts of a request belong together; None when they do."""
    row = service_request(variant)
    if row is None:
        return Misfit("E12", f"there is no Service Reference Variant {variant}")
    if service_reference != row.service_reference:
        return Misfit("E12", f"Variant {variant} belongs to Service Reference {row.service_reference}")
    if command_variant not in row.command_variants:
        allowed = ", ".join(map(str, sorted(row.command_variants)))
        return Misfit("E12", f"{variant} {row.name} takes Command Variant {allowed}, not {command_variant}")
    expected = SIGNED_PRE_COMMAND if command_variant in SIGNED else row.element
    if element != expected:
        return Misfit(
            "E12", f"{variant} with Command Variant {command_variant} is carried by {expected}, not {element}"
        )
    return None
