"""A PPMID as a device of today: its screen, its keys for top-ups, and the Commands addressed to itself.

The PPMID of a home may be a process of its own, with an agent (``lastmetre agent``); or, where nobody is to deliver
through it, this one inside the home's process. Rules (reference: han 2.5; gbcs-messages 13):

* Electricity is plain Smart Energy: a code (PECS01), emergency credit (PECS02), supply on (PECS03); a status answers.
* Gas is GBCS: PCS01 and PCS02, under keys shared with the gas meter and a counter that is saved before anything leaves.
  The Response is believed by its MAC; it may come half an hour later.
* Of Commands to itself it executes CS08, its firmware version; acceptance is the library's.
* What the screen shows of balances it is told by the home: reading display attributes is not modelled (DESIGN CHOICE).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.acceptance import Accepted, Refused, accept_command
from lastmetre.gbcs.asn1 import Asn1, FirmwareVersion, encode_asn1
from lastmetre.gbcs.catalogue import Role, use_case_by_name
from lastmetre.gbcs.counters import CounterState
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse, SharedSecret
    from lastmetre.han import Device, Event, ZseCommand
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.ports import DeviceStore, Tell

STATE_VERSION: Final = 1
SUPPORTED: Final = frozenset({use_case_by_name("CS08").message_code})
_CLIENT_TO_SERVER: Final = 0x01
_IN_HOME_DISPLAY: Final = 0x02


@dataclass(frozen=True, slots=True)
class PpmidState:
    """What it remembers: whom it heard, under which counter it spoke, and its firmware."""

    counters: CounterState = field(default_factory=CounterState)
    spoken: int = 0
    firmware_version: bytes = b"\x00\x00\x00\x01"


@dataclass(frozen=True, slots=True)
class Partners:
    """The meters it was joined with; of the gas meter the key agreement certificate."""

    esme_id: bytes
    gas: Certificate | None = None
    gsme_id: bytes | None = None


class Ppmid:
    """One PPMID. Its radio is driven by the home; ``happened`` takes the radio's events."""

    device_type = "PPMID"
    supported = SUPPORTED

    def __init__(
        self, identity: DeviceIdentity, radio: Device, partners: Partners, store: DeviceStore, tell: Tell
    ) -> None:
        self._identity = identity
        self.radio: Final = radio
        self._partners = partners
        self._store = store
        self._tell = tell
        saved = store.load()
        self.state = decode_state(saved) if saved is not None else PpmidState()
        self._asked: dict[int, str] = {}
        self._said = "ready"

    # --- what acceptance asks of a device ---

    @property
    def entity_id(self) -> bytes:
        """The PPMID's identifier."""
        return self._identity.entity_id

    @property
    def trust_anchors(self) -> Mapping[tuple[Role, KeyUse], Certificate]:
        """The certificates it holds."""
        return self._identity.trust_anchors

    @property
    def counters(self) -> CounterState:
        """What it accepted before."""
        return self.state.counters

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """A secret with another party."""
        return self._identity.agree(public_key)

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

    def _ask(self, command: ZseCommand, what: str, now: float) -> None:
        self._asked[self.radio.send_zse(self._partners.esme_id, command, now)] = what
        self._show(f"electricity: {what} sent")

    def _to_gas(self, name: str, body: ZclCommand, now: float) -> None:
        partners = self._partners
        if partners.gas is None or partners.gsme_id is None:
            self._show("gas: no meter is joined")
            return
        self._keep(replace(self.state, spoken=self.state.spoken + 1))
        code = use_case_by_name(name).message_code
        header = GroupingHeader(
            Cra.COMMAND, self.state.spoken, self.entity_id, partners.gsme_id, OtherInformation(code)
        )
        content = encode_gbz(Gbz((Component(body.cluster, _CLIENT_TO_SERVER, 0, body),)))
        message = seal(unsigned_df(header, content), self.agree(partners.gas.public_key))
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
        verdict = accept_command(data, self)
        if isinstance(verdict, Accepted):
            self._execute(verdict, now)
        elif isinstance(verdict, Refused) and not self._is_from_gas_meter(data):
            self._tell("ppmid_message_refused", device_id=self.entity_id.hex(), reason=verdict.reason.words)

    def _execute(self, accepted: Accepted, now: float) -> None:
        counter = accepted.message.header.originator_counter
        counters = self.state.counters.with_accepted(accepted.role, accepted.use_case.lane, counter)
        self._keep(replace(self.state, counters=counters))
        content = encode_asn1(Asn1(FirmwareVersion(self.state.firmware_version, 0)))
        self.radio.send(self._identity.response(accepted, content, b""), now)
        self._tell("ppmid_command_accepted", device_id=self.entity_id.hex(), use_case=accepted.use_case.name)

    def _is_from_gas_meter(self, data: bytes) -> bool:
        """Take a Response of the gas meter to this PPMID; false for anything else, and for a forged one."""
        gas = self._partners.gas
        try:
            message = parse_message(data)
            header = message.header
            if gas is None or header.cra is not Cra.RESPONSE or header.business_originator_id != self._partners.gsme_id:
                return False
            verify_mac(message, self.agree(gas.public_key))
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

    def _keep(self, state: PpmidState) -> None:
        self._store.save(encode_state(state))
        self.state = state


def encode_state(state: PpmidState) -> bytes:
    """JSON, versioned."""
    raw = {
        "version": STATE_VERSION,
        "counters": {role.name: counter for role, counter in state.counters.ordinary},
        "spoken": state.spoken,
        "firmware_version": state.firmware_version.hex(),
    }
    return json.dumps(raw).encode()


def decode_state(data: bytes) -> PpmidState:
    """Back from the store; raises ``ValueError`` for a form this version does not know."""
    raw = json.loads(data)
    if raw["version"] != STATE_VERSION:
        raise ValueError(f"PPMID state version {raw['version']} is not {STATE_VERSION}")
    marks = tuple(sorted((Role[name], counter) for name, counter in raw["counters"].items()))
    return PpmidState(CounterState(marks), raw["spoken"], bytes.fromhex(raw["firmware_version"]))
