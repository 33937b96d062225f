"""A PPMID as a device of today: its screen, its keys for top-ups, and the Commands addressed to itself.

The PPMID of a home may be a process of its own, with an agent (``lastmetre agent``); or, where nobody is to deliver
through it, this one inside the home's process. Rules (reference: han 2.5; gbcs-messages 13):

* Electricity is plain Smart Energy: a code (PECS01), emergency credit (PECS02), supply on (PECS03); a status answers.
* Gas is GBCS: PCS01 and PCS02, under keys shared with the gas meter and a counter that is saved before anything leaves.
  The Response is believed by its MAC; it may come half an hour later.
* Of Commands to itself it executes what every such device does (``own_device``): joins (CS03, CS04, CS07), credentials,
  its firmware version (CS08). It has no clock that a certificate could be judged by (DESIGN CHOICE). A gas meter it was
  joined with by method C is its partner from then on, and no longer once it was parted from.
* What the screen shows of balances it is told by the home: reading display attributes is not modelled (DESIGN CHOICE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.asn1 import DeviceType
from lastmetre.gbcs.catalogue import use_case_by_name
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import Component, Gbz, encode_gbz
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.protect import CryptoRefused, seal, unsigned_df, verify_mac
from lastmetre.gbcs.zcl import DefaultResponse, ZclCommand, zcl_command
from lastmetre.han import (
    ConsumerTopUp,
    LocalChangeSupply,
    MessageReceived,
    SelectAvailableEmergencyCredit,
    TransferFailed,
    ZseAnswered,
    ZseFailed,
)
from lastmetre.home.own_device import OwnDevice, OwnState, decode_state

if TYPE_CHECKING:
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.han import Device, Event, ZseCommand
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.ports import DeviceStore, Tell


__all__ = ["Partners", "Ppmid", "decode_state"]

_CLIENT_TO_SERVER: Final = 0x01
_IN_HOME_DISPLAY: Final = 0x02
FUELS: Final = ("electricity", "gas")
SHOWN: Final = ("supply", "balance", "emergency_credit", "message", "supplier", "volume_litres")
"""What of a meter's display the screen repeats; a balance behind a privacy PIN is not among it."""


@dataclass(frozen=True, slots=True)
class Partners:
    """The meters it was joined with; of the gas meter the key agreement certificate."""

    esme_id: bytes
    gas: Certificate | None = None
    gsme_id: bytes | None = None


class Ppmid:
    """One PPMID. Its radio is driven by the home; ``happened`` takes the radio's events."""

    def __init__(
        self, identity: DeviceIdentity, radio: Device, partners: Partners, store: DeviceStore, tell: Tell
    ) -> None:
        self.radio: Final = radio
        self._partners = partners
        self._tell = tell
        made_with = {} if partners.gas is None or partners.gsme_id is None else {partners.gsme_id: partners.gas}
        self._own = OwnDevice(
            DeviceType.PPMID, identity, store, tell, new=OwnState(), partners=made_with, clock_set=False
        )
        self._asked: dict[int, str] = {}
        self._said = "ready"
        self._meters: dict[str, dict[str, str | int]] = {}

    @property
    def entity_id(self) -> bytes:
        """The PPMID's identifier."""
        return self._own.entity_id

    @property
    def state(self) -> OwnState:
        """What it remembers."""
        return self._own.state

    # --- its buttons ---

    def enter_code(self, digits: str, fuel: str, now: float) -> None:
        """The customer types in twenty digits for ``electricity`` or ``gas``; the screen tells what became of it."""
        if fuel == "electricity":
            self._ask(ConsumerTopUp(digits), "code", now)
        else:
            body = zcl_command("ConsumerTopUp", originating_device=_IN_HOME_DISPLAY, code=digits.encode("ascii"))
            self._to_gas("PCS01", body, now)

    def emergency_credit(self, fuel: str, now: float) -> None:
        """The customer takes the emergency credit."""
        if fuel == "electricity":
            self._ask(SelectAvailableEmergencyCredit(), "emergency credit", now)
        else:
            body = zcl_command("SelectAvailableEmergencyCredit", issued=0, originating_device=_IN_HOME_DISPLAY)
            self._to_gas("PCS02", body, now)

    def enable_supply(self, now: float) -> None:
        """The customer asks for the electricity to come on."""
        self._ask(LocalChangeSupply(), "supply on", now)

    def screen(self) -> str:
        """The line the customer reads about what was done last."""
        return self._said

    def told(self, fuel: str, shown: dict[str, str | int]) -> None:
        """What a meter's own display shows, for the screen."""
        self._meters[fuel] = dict(shown)

    def model(self) -> dict[str, object]:
        """The whole screen: by fuel the balance, the supply and the supplier's message; and the last line."""
        screen: dict[str, object] = {"said": self._said, "waiting": sorted(self._asked.values())}
        for fuel, shown in self._meters.items():
            screen[fuel] = {name: value for name, value in shown.items() if name in SHOWN}
        return screen

    def _ask(self, command: ZseCommand, what: str, now: float) -> None:
        self._asked[self.radio.send_zse(self._partners.esme_id, command, now)] = what
        self._show(f"electricity: {what} sent")

    def _gas_meter(self) -> tuple[bytes, Certificate] | None:
        """The gas meter it is joined with now."""
        held = self._own.partners
        known = self._partners.gsme_id
        gas_id = known if known in held else next(iter(held), None)
        return None if gas_id is None else (gas_id, held[gas_id])

    def _to_gas(self, name: str, body: ZclCommand, now: float) -> None:
        partner = self._gas_meter()
        if partner is None:
            self._show("gas: no meter is joined")
            return
        gas_id, certificate = partner
        code = use_case_by_name(name).message_code
        header = GroupingHeader(Cra.COMMAND, self._own.next_counter(), self.entity_id, gas_id, OtherInformation(code))
        content = encode_gbz(Gbz((Component(body.cluster, _CLIENT_TO_SERVER, 0, body),)))
        message = seal(unsigned_df(header, content), self._own.agree(certificate.public_key))
        self.radio.send(message, now)
        self._show(f"gas: {name} sent, wait for the meter to wake")

    # --- its radio ---

    def happened(self, event: Event, now: float) -> None:
        """React to an event of the radio."""
        match event:
            case ZseAnswered(handle=handle, status=status) if handle in self._asked:
                what = self._asked.pop(handle)
                self._show(f"electricity: {what} {'accepted' if status == 0 else 'refused'}")
            case ZseFailed(handle=handle) if handle in self._asked:
                self._show(f"electricity: {self._asked.pop(handle)} had no answer")
            case TransferFailed():
                self._show("the hub did not take it")
            case MessageReceived(data=message):
                self._received(message, now)
            case _:
                pass

    def _received(self, data: bytes, now: float) -> None:
        if self._is_from_gas_meter(data):
            return
        for answer in self._own.receive(data, int(now)):
            self.radio.send(answer, now)

    def _is_from_gas_meter(self, data: bytes) -> bool:
        """Take a Response of the gas meter to this PPMID; false for anything else, and for a forged one."""
        partner = self._gas_meter()
        try:
            message = parse_message(data)
            header = message.header
            if partner is None or header.cra is not Cra.RESPONSE or header.business_originator_id != partner[0]:
                return False
            if header.business_target_id != self.entity_id:
                return False
            verify_mac(message, self._own.agree(partner[1].public_key))
            payload = decode_payload(header.message_code, Cra.RESPONSE, message.content)
        except (GbcsDecodeError, CryptoRefused):
            return False
        done = isinstance(payload, Gbz) and not any(
            isinstance(part.body, DefaultResponse) and part.body.status for part in payload.components
        )
        self._show(f"gas: {'accepted' if done else 'refused'}")
        return True

    def _show(self, words: str) -> None:
        self._said = words
        self._tell("ppmid_screen_changed", device_id=self.entity_id.hex(), words=words)
