"""The PPMID as a device of today: its buttons, what its screen says, and the Commands addressed to itself."""

from __future__ import annotations

from lastmetre.gbcs.asn1 import Asn1, FirmwareVersion, ReadFirmwareVersion, decode_asn1, encode_asn1
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.message import Cra, parse_message
from lastmetre.han import Device, MessageReceived, TransferFailed, ZseAnswered, ZseFailed
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from lastmetre.home.ppmid import Partners, Ppmid
from tests import gas_world as gas
from tests import own_world as own
from tests.gas_world import GSME
from tests.own_world import BROKER, CHF, DS, ESME, KA, NOW, PPMID, Told


class Front:
    """A PPMID whose radio keeps what it is given."""

    def __init__(self, store: MemoryStore | None = None, *, gas_meter: bool = True) -> None:
        self.told = Told()
        self.sent: list[bytes] = []
        self.store = store or MemoryStore()
        anchors = {(Role.ACCESS_CONTROL_BROKER, KA): own.certificate(BROKER, KA)}
        identity = DeviceIdentity(PPMID, own.private_key(PPMID, DS), own.private_key(PPMID, KA), anchors)
        radio = Device(PPMID, 0x4A21, 0x1A62, CHF, {ESME: 0x1001}, first_counter=1)
        partners = Partners(ESME, own.certificate(GSME, KA), GSME) if gas_meter else Partners(ESME)
        self.ppmid = Ppmid(identity, radio, partners, self.store, self.told)
        radio.send = self._send  # type: ignore[method-assign]  # before the tunnel there is nothing to see

    def _send(self, data: bytes, now: float) -> int:
        assert now >= 0
        self.sent.append(data)
        return len(self.sent)


def read_version(counter: int) -> bytes:
    """CS08, from the broker."""
    head = own.header("CS08", counter, originator=BROKER, target=PPMID)
    return own.non_critical(head, encode_asn1(Asn1(ReadFirmwareVersion())))


def test_a_gas_top_up_is_a_command_the_meter_takes_and_its_answer_is_believed_by_its_mac() -> None:
    """PCS01: the meter credits it; the screen says so after the genuine Response and not after a changed one."""
    front, meter = Front(), gas.meter()
    front.ppmid.enter_code(own.top_up_digits(6, 100, target=GSME), "gas", 0.0)
    (response,) = meter.receive(front.sent[0], NOW)
    front.ppmid.happened(MessageReceived(CHF, response[:-1] + bytes((response[-1] ^ 1,))), 0.0)
    assert front.ppmid.screen() == "gas: PCS01 sent, wait for the meter to wake"
    front.ppmid.happened(MessageReceived(CHF, response), 0.0)
    assert front.ppmid.screen() == "gas: accepted"
    assert meter.state.number((0x0705, 1)) == 1_100_000


def test_its_counter_is_kept_before_anything_leaves() -> None:
    """Two Commands, a power cut, a third: three counters, and the meter takes none twice."""
    front = Front()
    front.ppmid.emergency_credit("gas", 0.0)
    front.ppmid.emergency_credit("gas", 0.0)
    again = Front(front.store)
    again.ppmid.emergency_credit("gas", 0.0)
    sent = [*front.sent, *again.sent]
    assert [parse_message(message).header.originator_counter for message in sent] == [1, 2, 3]


def test_it_tells_its_firmware_version_once_for_each_command() -> None:
    """CS08 answered; a repeat, a forged one, another's Command and noise are not answered."""
    front = Front()
    command = read_version(7)
    for message in (command, command, command[:-1] + b"\x00", own.arm(9), b"noise"):
        front.ppmid.happened(MessageReceived(CHF, message), 0.0)
    (response,) = (parse_message(message) for message in front.sent)
    assert (response.header.cra, response.header.originator_counter) == (Cra.RESPONSE, 7)
    payload = decode_asn1(0x0129, Cra.RESPONSE, response.content)
    assert payload.value == FirmwareVersion(b"\x00\x00\x00\x01", 0)


def test_its_screen_follows_the_meter_s_answers() -> None:
    """Plain Smart Energy: accepted, refused, no answer; and a hub that takes nothing."""
    front = Front()
    for press, event, words in (
        (front.ppmid.enable_supply, ZseAnswered, "electricity: supply on accepted"),
        (front.ppmid.enable_supply, ZseFailed, "electricity: supply on had no answer"),
    ):
        press(0.0)
        (handle,) = front.ppmid._asked
        front.ppmid.happened(event(handle, 0 if event is ZseAnswered else "no_answer"), 0.0)  # type: ignore[arg-type]
        assert front.ppmid.screen() == words
    front.ppmid.happened(TransferFailed(1, "full"), 0.0)
    assert front.ppmid.screen() == "the hub did not take it"


def test_without_a_gas_meter_nothing_is_sent() -> None:
    """The screen says why."""
    front = Front(gas_meter=False)
    front.ppmid.enter_code("1" * 20, "gas", 0.0)
    assert (front.sent, front.ppmid.screen()) == ([], "gas: no meter is joined")
