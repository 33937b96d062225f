"""The settings of homes: of one (``serve home --config``), or of many in one file (``serve home --premises``).

A home's own table is the same in both; ``docs/home.md`` explains each name. What homes of a premises file have in
common (keys, trust anchors, store, clock) stands once at its top, and a home may differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from lastmetre.cli.settings import LOOPBACK, EntityId, Moment, Pan, Port, Short, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
"""A Zigbee key: 32 lower-case hexadecimal digits."""
Watts = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Seconds = Annotated[float, msgspec.Meta(ge=1, le=1_800)]


class LoadRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What flows through the electricity meter, the same every day."""

    watts: Watts | Annotated[list[Watts], msgspec.Meta(min_length=24, max_length=24)] = 0
    reactive_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 10
    export_watts: Watts = 0
    voltages: Annotated[list[int], msgspec.Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: [240]
    )


class EsmeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The electricity meter, as it is when new, and its load."""

    id: EntityId
    short_address: Short = 0x1001
    balance: int = 0
    supply: Literal["ON", "ARMED", "OFF_BY_CREDIT", "OFF_BY_COMMAND"] = "ON"
    load: LoadRow = LoadRow()


class GsmeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gas meter, as it is when new, what flows through it, and its proxy in the hub."""

    id: EntityId
    store: str = ""
    short_address: Short = 0x9D03
    balance: int = 0
    mode: Literal["prepayment", "credit"] = "credit"
    valve: Literal["ON", "ARMED", "OFF_BY_CREDIT", "OFF_BY_COMMAND"] = "ON"
    litres_per_day: Annotated[int, msgspec.Meta(ge=0)] = 0
    proxy_id: EntityId | None = None
    proxy_store: str = ""


class ChfRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hub's own function."""

    store: str = ""


class PpmidRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The PPMID: a radio in another process, or a device in this one (``inside``)."""

    id: EntityId
    short_address: Short = 0x4A21
    inside: bool = False
    store: str = ""


class HhtRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hand-held terminals that may join in the hour after power-on."""

    ids: list[EntityId]
    short_address: Short = 0x7701


class SecurityRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Zigbee keys. Link keys are made from the network key and the two devices' ids (provisioned, DESIGN CHOICE)."""

    network_key: Key


class AnchorRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the devices trust when new."""

    supplier: EntityId
    access_control_broker: EntityId
    network_operator: EntityId | None = None


class WanRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The way to the DSP's gateway."""

    port: Port
    gateway_id: EntityId
    host: str = LOOPBACK


class FaceplateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The front of meter and hub, for demonstrations."""

    token: str
    port: Port = 0


class ClockRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The homes' time: how fast it runs, and when it begins."""

    speed: Annotated[float, msgspec.Meta(ge=0.1, le=3_600)] = 1.0
    starts_at: Moment | None = None


class _OneHome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What each home has of its own."""

    hub_id: EntityId
    esme: EsmeRow
    ppmid: PpmidRow | None = None
    gsme: GsmeRow | None = None
    chf: ChfRow | None = None
    hht: HhtRow | None = None
    security: SecurityRow | None = None
    hub_store: str | None = None
    policy: Literal["today", "proposed", "permit"] = "proposed"
    hht_needs_permit: bool = False
    air_port: Port | None = 0
    pan_id: Pan = 0x1A62
    capture: str | None = None
    wan: WanRow | None = None
    tls: TlsFiles | None = None
    faceplate: FaceplateSettings | None = None


class HomeSettings(_OneHome, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything ``serve home --config`` reads from its file."""

    certificates: str
    keys: str
    store: str
    anchors: AnchorRow
    authorities: list[str] = []
    passphrase_file: str | None = None
    clock: ClockRow = ClockRow()
    tick_s: Seconds = 10.0
    shelf: bool = False
    """Whether stores are names in one file (a premises file's), instead of files."""


class PremisesHome(_OneHome, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One home of a premises file; it may have keys and anchors of its own."""

    keys: str | None = None
    anchors: AnchorRow | None = None
    air_port: Port | None = None
    """No port unless it is given: a home without radios in other processes needs none."""


class PremisesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything ``serve home --premises`` reads from its file."""

    certificates: str
    keys: str
    store: str
    anchors: AnchorRow
    home: Annotated[list[PremisesHome], msgspec.Meta(min_length=1)]
    authorities: list[str] = []
    passphrase_file: str | None = None
    clock: ClockRow = ClockRow()
    tick_s: Seconds = 60.0

    def homes(self) -> Iterator[HomeSettings]:
        """Each home with what all have in common."""
        for home in self.home:
            own = {name: getattr(home, name) for name in _OneHome.__struct_fields__}
            own["air_port"] = home.air_port
            yield HomeSettings(
                **own,
                certificates=self.certificates,
                keys=home.keys or self.keys,
                store=f"{home.hub_id}/esme",
                anchors=home.anchors or self.anchors,
                authorities=self.authorities,
                passphrase_file=self.passphrase_file,
                clock=self.clock,
                tick_s=self.tick_s,
                shelf=True,
            )
