"""One home put together: hub and meters on one air, and what passes between them.

A ``Premises`` has no socket and no clock. Its ``medium`` is driven by a pump (or by a test); every event of the pump is
handed to ``happened``; ``tick`` lets the minutes pass for meters and hub; frames for radios in other processes, the
PPMID's above all, come out of the medium.

What is optional is ``Parts``: a gas meter with its radio, the hub's own function (CHF) and the gas proxy (GPF), which
live inside the hub and are handed messages without a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from lastmetre.han import (
    ConsumerTopUp,
    Device,
    Dropped,
    Event,
    FellAsleep,
    Flag,
    Heard,
    Hub,
    JoinAsked,
    JoinStatus,
    LocalChangeSupply,
    Medium,
    MessageAsked,
    MessageReceived,
    MirrorReported,
    SelectAvailableEmergencyCredit,
    SleepyDevice,
    Status,
    TransferAccepted,
    TransferFailed,
    TunnelClosed,
    TunnelCloseRefused,
    TunnelOpened,
    TunnelRefused,
    WokeUp,
    ZseReceived,
)
from lastmetre.han.errors import HanValueError
from lastmetre.han.gb_header import PUT_OCTETS_MAX
from lastmetre.han.limits import TRANSFER_OCTETS_MAX
from lastmetre.home.block_door import BlockDoor, cut
from lastmetre.home.comms_hub import Deliver, LogEntry
from lastmetre.home.hub_policy import DeviceType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lastmetre.home.chf import Chf, ChfState
    from lastmetre.home.comms_hub import CommsHub
    from lastmetre.home.esme import Esme
    from lastmetre.home.gas.gsme import Gsme
    from lastmetre.home.gpf import Gpf
    from lastmetre.home.hht import HhtDesk
    from lastmetre.home.ports import Tell
    from lastmetre.home.ppmid import Ppmid

COORDINATOR: Final = 0x0000
FROM_HAN_UNDER_WAY_MAX: Final = 5
"""Commands from the HAN in one tunnel at a time: half of what a tunnel holds (han 2.2), so that the WAN finds room.
DESIGN CHOICE, as in the gas mailbox."""
ON_THE_WAY_MAX: Final = 256
"""Messages handed to a tunnel whose end is awaited; the oldest is forgotten. DESIGN CHOICE."""


@dataclass(frozen=True, slots=True)
class Radios:
    """The Zigbee sides of hub and meter."""

    hub: Hub
    meter: Device


@dataclass(frozen=True, slots=True)
class Gas:
    """A gas meter and its radio."""

    meter: Gsme
    radio: SleepyDevice


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A radio within reach that joins when it is listed: what it is, its short address and its provisioned key."""

    device_type: DeviceType
    short_address: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """What a home may have besides a hub and an electricity meter."""

    gas: Gas | None = None
    chf: Chf | None = None
    gpf: Gpf | None = None
    neighbours: Mapping[bytes, Neighbour] = field(default_factory=dict)
    desk: HhtDesk | None = None
    terminals: Mapping[bytes, Neighbour] = field(default_factory=dict)
    """Hand-held terminals that may join while the desk is open: those an Inter-PAN session could end well for."""
    ppmid: Ppmid | None = None
    """The PPMID, where it is not a process of its own."""


class _Inside(Protocol):
    """A function inside the hub that is addressed like a device."""

    @property
    def entity_id(self) -> bytes: ...

    def receive(self, data: bytes, now: int) -> list[bytes]: ...


class Premises:
    """A hub, its meters, and the air between them; the PPMID is a radio outside."""

    def __init__(  # who lives here, and the two ways out
        self,
        hub: CommsHub,
        meter: Esme,
        radios: Radios,
        to_wan: Callable[[bytes], None],
        tell: Tell,
        parts: Parts | None = None,
    ) -> None:
        self.hub = hub
        self.meter = meter
        self.parts = parts or Parts()
        self._radios = radios
        self._to_wan = to_wan
        self._tell = tell
        gas = self.parts.gas
        cores: dict[int, Hub | Device | SleepyDevice] = {
            COORDINATOR: radios.hub,
            radios.meter.node.short_address: radios.meter,
        }
        if gas is not None:
            cores[gas.radio.node.short_address] = gas.radio
        if self.parts.ppmid is not None:
            cores[self.parts.ppmid.radio.node.short_address] = self.parts.ppmid.radio
        self.medium: Medium[Event] = Medium(cores)
        inside: list[_Inside] = [part for part in (self.parts.chf, self.parts.gpf) if part is not None]
        self._inside = {part.entity_id: part for part in inside}
        self._neighbours = dict(self.parts.neighbours)
        self._doors: dict[bytes, BlockDoor] = {}
        self._taps = BlockDoor(), BlockDoor()
        self._on_the_way: dict[int, Deliver] = {}
        if self.parts.chf is not None:
            self._recall_terminal(self.parts.chf)
            self.parts.chf.on_change = self._log_changed
            self._log_changed(self.parts.chf.state)

    def _recall_terminal(self, chf: Chf) -> None:
        """A terminal that was listed before a power cut may go on, for what is left of its hours."""
        listed = chf.state.hht
        if listed is not None and listed.device_id in self.parts.terminals:
            self._neighbours[listed.device_id] = self.parts.terminals[listed.device_id]

    def happened(self, heard: Heard[Event], now: float, at: int) -> None:
        """React to one event. ``now`` is the medium's clock, ``at`` UTC in Unix seconds."""
        gas, ppmid = self.parts.gas, self.parts.ppmid
        if heard.short_address == COORDINATOR:
            self._at_hub(heard.event, now, at)
        elif ppmid is not None and heard.short_address == ppmid.radio.node.short_address:
            ppmid.happened(heard.event, now)
        elif gas is not None and heard.short_address == gas.radio.node.short_address:
            self._at_gas_meter(gas, heard.event, now, at)
        else:
            self._at_meter(heard.event, now, at)

    def tick(self, now: float, at: int) -> None:
        """Let time pass for the meters and the hub. Call it every minute or so."""
        self._from_meter(self.meter.tick(at), now)
        if self.parts.gas is not None:
            self._from_gas_meter(self.parts.gas, self.parts.gas.meter.tick(at), now)
        if self.parts.gpf is not None:
            self.parts.gpf.tick(at)
        if self.parts.desk is not None:
            self._from_chf(self.parts.desk.tick(now, at), now, at)
        if self.parts.chf is not None:
            self._let_join(self.parts.chf, at)
        if self.parts.ppmid is not None:
            self.parts.ppmid.told("electricity", self.meter.display())
            if self.parts.gas is not None:
                self.parts.ppmid.told("gas", self.parts.gas.meter.display())
        self.hub.expire(at)
        self._notify(at)

    def hht_joins(self, device_id: bytes, neighbour: Neighbour, now: float, at: int) -> bool:
        """A hand-held terminal comes with the key its session left it; whether it may speak from now on."""
        desk = self.parts.desk
        if desk is None or neighbour.short_address in {other.short_address for other in self._neighbours.values()}:
            return False
        self._neighbours[device_id] = neighbour
        alerts = desk.join(device_id, neighbour.key, now, at)
        if alerts is None:
            del self._neighbours[device_id]
            return False
        self._from_chf(alerts, now, at)
        return True

    def _terminal_asks(self, device_id: bytes, now: float, at: int) -> None:
        """A radio asks to be on the network: a known terminal in its hour, or a listed one that was switched off."""
        terminal = self.parts.terminals.get(device_id)
        chf, radio = self.parts.chf, self._radios.hub
        if chf is None or terminal is None:
            self._tell("hub_join_refused", device_id=device_id.hex(), reason="unknown")
            radio.answer_join(device_id, JoinStatus.DENIED)
            return
        listed = chf.state.hht
        if listed is not None and listed.device_id == device_id:
            radio.forget(device_id, now)
            self._neighbours[device_id] = terminal
            self._admit(device_id, terminal)
        elif not self.hht_joins(device_id, terminal, now, at):
            reason = (
                "another is listed" if listed is not None else "the hour after power-on is over, or the log is full"
            )
            self._tell("hub_join_refused", device_id=device_id.hex(), reason=reason)
            radio.answer_join(device_id, JoinStatus.AT_CAPACITY if listed is not None else JoinStatus.DENIED)
            return
        self._tell("hub_terminal_joined", device_id=device_id.hex(), short_address=terminal.short_address)
        radio.answer_join(device_id, JoinStatus.SUCCESS, terminal.short_address)

    def _from_chf(self, messages: Iterable[bytes], now: float, at: int) -> None:
        """What the hub's own function says unasked."""
        assert self.parts.chf is not None
        for message in messages:
            self._deliver(self.hub.from_device(self.parts.chf.entity_id, message, at), now, at)

    def from_wan(self, message: bytes, now: float, at: int) -> None:
        """The WAN brought a message."""
        self._deliver(self.hub.from_wan(message, at), now, at)

    def wan_connected(self, at: int) -> None:
        """The WAN is there: what waited for it goes out."""
        for delivery in self.hub.wan_connected(at):
            self._to_wan(delivery.message)

    # --- the hub ---

    def _at_hub(self, event: Event, now: float, at: int) -> None:
        match event:
            case MessageReceived(peer=peer, data=message):
                self._tap_response(peer, message, at)
                self._deliver(self.hub.from_device(peer, message, at), now, at)
            case MessageAsked(peer=peer):
                self._give(peer, now, at)
            case MirrorReported(peer=peer, attributes=attributes):
                values = {item.attribute_id: item.value for item in attributes}
                if self.parts.gpf is not None:
                    self.parts.gpf.reported(values, at)
                self._tell("gas_reported", device_id=peer.hex(), attributes=len(values))
            case TunnelOpened(peer=peer, tunnel_id=tunnel_id):
                self._tell("hub_tunnel_opened", device_id=peer.hex(), tunnel_id=tunnel_id)
                self._deliver(self.hub.device_connected(peer, at), now, at)
            case TunnelClosed(peer=peer, reason=reason):
                self._tell("hub_tunnel_closed", device_id=peer.hex(), reason=reason)
            case TransferAccepted(handle=handle):
                self._on_the_way.pop(handle, None)  # no word of it: only a Response says that something was done
            case TransferFailed(handle=handle, reason=reason):
                self._tell("hub_delivery_failed", hub_id=self.hub.chf_id.hex(), reason=reason)
                self._failed(handle, at)
            case TunnelRefused(peer=peer, status=status):
                self._tell("hub_tunnel_refused", device_id=peer.hex(), status=status, event_code="81BA")
            case TunnelCloseRefused(peer=peer, status=status):
                self._tell("hub_tunnel_close_refused", device_id=peer.hex(), status=status, event_code="81A4")
            case JoinAsked(eui64=device_id):
                self._terminal_asks(device_id, now, at)
            case Dropped(reason=reason, detail=detail):
                self._tell("han_frame_dropped", at_device="hub", reason=reason, detail=detail)
            case _:
                pass

    def _deliver(self, deliveries: Iterable[Deliver], now: float, at: int) -> None:
        for delivery in deliveries:
            if delivery.device_id is None:
                self._to_wan(delivery.message)
            elif delivery.device_id in self._inside:
                self._hand_inside(self._inside[delivery.device_id], delivery.message, now, at)
            else:
                self._send(delivery, now, at)
        self._notify(at)

    def _send(self, delivery: Deliver, now: float, at: int) -> None:
        assert delivery.device_id is not None
        if delivery.from_han and self._from_han(delivery.device_id) >= FROM_HAN_UNDER_WAY_MAX:
            self.hub.no_room(delivery.message, at)
            return
        try:
            handle = self._radios.hub.send(delivery.device_id, delivery.message, now)
        except HanValueError:  # listed, but no tunnel leads to it
            self.hub.hand_over_failed(delivery.device_id, delivery.message, at)
            return
        self._await(handle, delivery)

    def _from_han(self, device_id: bytes) -> int:
        """Commands from the HAN that are on the way to a device, or held for its tunnel."""
        return sum(each.from_han and each.device_id == device_id for each in self._on_the_way.values())

    def _await(self, handle: int, delivery: Deliver) -> None:
        self._on_the_way[handle] = delivery
        while len(self._on_the_way) > ON_THE_WAY_MAX:
            del self._on_the_way[next(iter(self._on_the_way))]

    def _failed(self, handle: int, at: int) -> None:
        delivery = self._on_the_way.pop(handle, None)
        if delivery is not None and delivery.device_id is not None:
            self.hub.hand_over_failed(delivery.device_id, delivery.message, at)
            self._notify(at)

    def _hand_inside(self, part: _Inside, message: bytes, now: float, at: int) -> None:
        """A message for the CHF or GPF: no frame, the same judgement, and the answers go the common way."""
        whole = self._door(part.entity_id).take(message, at)
        if whole is None:
            return
        for answer in part.receive(whole, at):
            for piece in cut(answer, TRANSFER_OCTETS_MAX):
                self._deliver(self.hub.from_device(part.entity_id, piece, at), now, at)

    def _door(self, device_id: bytes) -> BlockDoor:
        return self._doors.setdefault(device_id, BlockDoor())

    # --- the gas meter's mailbox, mirror and copy ---

    def _give(self, gas_meter_id: bytes, now: float, at: int) -> None:
        """Answer a GET; the proxy sees in passing what the meter is given."""
        message, remaining = self.hub.fetch(gas_meter_id, at)
        if message is not None and self.parts.gpf is not None:
            whole = self._taps[0].take(message, at)
            if whole is not None:
                self.parts.gpf.passes(whole)
        handle = self._radios.hub.answer_get(gas_meter_id, message, remaining, now)
        if message is not None:
            self._await(handle, Deliver(gas_meter_id, message))
        self._notify(at)

    def _tap_response(self, peer: bytes, message: bytes, at: int) -> None:
        gas = self.parts.gas
        if self.parts.gpf is None or gas is None or peer != gas.meter.entity_id:
            return
        whole = self._taps[1].take(message, at)
        if whole is not None:
            self.parts.gpf.answered(whole, at)

    def _notify(self, at: int) -> None:
        """Tell the mirror whether something waits for the gas meter."""
        if self.parts.gas is not None:
            device_id = self.parts.gas.meter.entity_id
            waits = self.hub.waiting_for(device_id, at) > 0
            self._radios.hub.notify(device_id, Flag.TUNNEL_MESSAGE_PENDING if waits else 0)

    # --- the Device Log ---

    def _log_changed(self, state: ChfState) -> None:
        """Whoever is listed and within reach may speak; whoever is not, may not."""
        chf = self.parts.chf
        assert chf is not None
        self._let_join(chf, state.changed_at)
        listed = {entry.device_id: entry for entry in chf.state.device_log}
        known = [LogEntry(e.device_id, e.device_type) for e in listed.values() if e.device_type is not None]
        inside = [LogEntry(chf.entity_id, DeviceType.CHF)]
        inside += [LogEntry(self.parts.gpf.entity_id, DeviceType.GPF)] if self.parts.gpf is not None else []
        self.hub.set_device_log([*known, *(entry for entry in inside if entry.device_id not in listed)])
        radio = self._radios.hub
        for device_id in [device_id for device_id in radio.node.neighbours if device_id not in listed]:
            radio.forget(device_id, 0.0)
        for device_id, neighbour in list(self._neighbours.items()):
            if neighbour.device_type is DeviceType.HHT and device_id not in listed:
                del self._neighbours[device_id]  # a terminal that left is a stranger again
            elif device_id in listed and listed[device_id].key_hash and device_id not in radio.node.neighbours:
                self._admit(device_id, neighbour)

    def _let_join(self, chf: Chf, at: int) -> None:
        """A device that is listed joins while its window is open: key establishment is not modelled."""
        for entry in chf.state.device_log:
            neighbour = self._neighbours.get(entry.device_id)
            if neighbour is not None and not entry.key_hash:
                chf.joined(entry.device_id, neighbour.device_type, neighbour.key, at)

    def _admit(self, device_id: bytes, neighbour: Neighbour) -> None:
        radio = self._radios.hub
        if radio.node.security is not None:
            radio.node.security.add_link(device_id, neighbour.key)
        if neighbour.device_type is DeviceType.GSME:
            radio.admit_gas(device_id, neighbour.short_address)
        elif neighbour.device_type is DeviceType.HHT:
            radio.admit_handheld(device_id, neighbour.short_address)
        else:
            tunnel = neighbour.device_type is not DeviceType.TYPE_2
            radio.admit(device_id, neighbour.short_address, tunnel=tunnel)

    # --- the meters ---

    def _at_meter(self, event: Event, now: float, at: int) -> None:
        match event:
            case MessageReceived(data=message):
                whole = self._door(self.meter.entity_id).take(message, at)
                if whole is not None:
                    self._from_meter(self.meter.receive(whole, at), now)
            case ZseReceived(command=LocalChangeSupply()):
                self._pressed(event, "PECS03", done=self.meter.customer_enable(), now=now)
            case ZseReceived(command=SelectAvailableEmergencyCredit()):
                self._pressed(event, "PECS02", done=self.meter.customer_emergency_credit(), now=now)
            case ZseReceived(command=ConsumerTopUp(digits=digits)):
                self._pressed(event, "PECS01", done=self.meter.customer_top_up(digits), now=now)
            case ZseReceived():
                self._radios.meter.answer_zse(event, Status.UNSUPPORTED_CLUSTER_COMMAND, now)
            case Dropped(reason=reason, detail=detail):
                self._tell("han_frame_dropped", at_device="meter", reason=reason, detail=detail)
            case _:
                pass

    def _pressed(self, event: ZseReceived, use_case: str, *, done: bool, now: float) -> None:
        self._tell("meter_button_answered", device_id=self.meter.entity_id.hex(), use_case=use_case, done=done)
        self._radios.meter.answer_zse(event, Status.SUCCESS if done else Status.FAILURE, now)

    def _from_meter(self, answers: Iterable[bytes], now: float) -> None:
        for answer in answers:
            for piece in cut(answer, TRANSFER_OCTETS_MAX):
                self._radios.meter.send(piece, now)

    def _at_gas_meter(self, gas: Gas, event: Event, now: float, at: int) -> None:
        match event:
            case WokeUp():
                self._from_gas_meter(gas, gas.meter.tick(at), now)
            case MessageReceived(data=message):
                whole = self._door(gas.meter.entity_id).take(message, at)
                if whole is not None:
                    self._from_gas_meter(gas, gas.meter.receive(whole, at), now)
            case FellAsleep(awake_s=awake_s, frames=frames):
                device_id = gas.meter.entity_id.hex()
                self._tell("gas_meter_slept", device_id=device_id, awake_ms=round(awake_s * 1_000), frames=frames)
            case Dropped(reason=reason, detail=detail):
                self._tell("han_frame_dropped", at_device="gas meter", reason=reason, detail=detail)
            case _:
                pass

    def _from_gas_meter(self, gas: Gas, answers: Iterable[bytes], now: float) -> None:
        for answer in answers:
            for piece in cut(answer, PUT_OCTETS_MAX):
                gas.radio.put(piece, now)
