"""The permit's record, its MAC against the published vector and a second implementation, and every rule of the hub."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.certificates import parse_certificate
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, read_header
from lastmetre.relay.errors import RelayDecodeError, RelayValueError
from lastmetre.relay.limits import PERMIT_OCTETS
from lastmetre.relay.permit import (
    ANSWER_OCTETS,
    NO_NONCE,
    QUESTION,
    Answer,
    Permit,
    Road,
    Status,
    command_digest,
    decode_answer,
    decode_permit,
    encode_answer,
    is_permit,
    make_permit,
)
from lastmetre.relay.permit_rules import (
    COMMAND_WAIT_S,
    NONCE_LIFE_S,
    Carrier,
    Hub,
    Moment,
    PermitBook,
    durable,
    give_nonce,
    judge_command,
    judge_permit,
    judge_release,
    response_seen,
)
from tests import own_world as own
from tests.agent_world import GPF, command
from tests.own_world import BROKER, CHF, ESME, NOW, PPMID
from tests.relay.second_permit import permit_body, permit_key, permit_mac
from tests.shared_data import RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds, rtds_messages

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "relay" / "permits.json"
SECRET = own.secret(BROKER, CHF)
HUB = Hub(CHF, GPF, BROKER, SECRET)
CARRIER = Carrier(PPMID)
COMMAND = command(7)
NOON = Moment(NOW, 1_000.0)
DARK = Moment(None, 1_000.0)
NONCE = bytes(range(1, 9))


def a_permit(sent: bytes = COMMAND, **changes: Any) -> Permit:
    """A good permit for a Command to the ESME."""
    header = read_header(sent)
    good = Permit(
        serial=5,
        broker_id=BROKER,
        hub_id=CHF,
        carrier_id=PPMID,
        target_id=header.business_target_id,
        message_code=header.message_code,
        command_octets=len(sent),
        digest=command_digest(sent),
        issued_at=NOW,
        not_before=NOW,
        not_after=NOW + 900,
        hold_until=NOW + 900,
    )
    return replace(good, **changes)


def record(**changes: Any) -> bytes:
    """Its octets, with a true MAC."""
    return make_permit(a_permit(**changes), SECRET)


def status_of(data: bytes, book: PermitBook | None = None, moment: Moment = NOON, carrier: Carrier = CARRIER) -> Status:
    """What the hub says to a permit."""
    return judge_permit(book or PermitBook(), HUB, carrier, data, moment)[1].status


def carried(book: PermitBook, data: bytes, moment: Moment = NOON, sent: bytes = COMMAND) -> tuple[PermitBook, Status]:
    """A permit and its Command, the one after the other."""
    book, answer = judge_permit(book, HUB, CARRIER, data, moment)
    if answer.status is not Status.ACCEPTED:
        return book, answer.status
    book, second = judge_command(book, HUB, CARRIER, sent, moment)
    assert second is not None
    return book, second.status


@needs_rtds
def test_the_published_vector() -> None:
    """The record of the reference, with the published test keys: body, key and MAC, octet for octet."""
    with RTDS_KEYS.open() as file:
        keys = {(row["entity_id"], row["usage"]): row["p256_scalar_hex"] for row in csv.DictReader(file)}
    broker = ec.derive_private_key(int(keys["90b3d51f30000002", "ka"], 16), ec.SECP256R1())
    hub = parse_certificate((RTDS_CERTIFICATES / "00db1234567890a2-ka.pem").read_bytes()).public_key
    digest = "ca64564e05f11b3665c8a8bb1abf08a7859e9625bdcfa1de858f9189ee190532"
    sent = next(one for one in rtds_messages().values() if command_digest(one).hex() == digest)
    permit = Permit(
        serial=1,
        broker_id=bytes.fromhex("90b3d51f30000002"),
        hub_id=bytes.fromhex("00db1234567890a2"),
        carrier_id=bytes.fromhex("00db1234567890a4"),
        target_id=bytes.fromhex("00db1234567890a0"),
        message_code=0x0007,
        command_octets=0x64,
        digest=command_digest(sent),
        issued_at=0x1C374A80 + 946_684_800,
        not_before=0x1C374A80 + 946_684_800,
        not_after=0x1C374E04 + 946_684_800,
        hold_until=0x1C374E04 + 946_684_800,
    )
    body = bytes.fromhex(
        "50010100000000000000000190b3d51f3000000200db1234567890a200db1234567890a400db1234567890a000070064"
        "ca64564e05f11b3665c8a8bb1abf08a7859e9625bdcfa1de858f9189ee1905321c374a801c374a801c374e041c374e04"
        "0000000000000000000000000000000003000000"
    )
    made = make_permit(permit, agree(broker, hub))
    assert made == body + bytes.fromhex("c03dab9e57ec9e7c39df54d9")
    key = permit_key(broker, hub, body)
    assert key.hex() == "ca8ad6180c8777a94ef7ee599ca4f4d7"
    assert permit_mac(key, body) == made[116:]
    assert decode_permit(made) == permit


def test_our_vectors_hold() -> None:
    """The published vectors of our own: the record as stored, and the second implementation agrees."""
    stored = json.loads(VECTORS.read_text())
    broker = ec.derive_private_key(int(stored["broker_scalar"], 16), ec.SECP256R1())
    hub = ec.derive_private_key(int(stored["hub_scalar"], 16), ec.SECP256R1())
    assert len(stored["permits"]) >= 3
    for vector in stored["permits"]:
        data = bytes.fromhex(vector["record"])
        read = decode_permit(data)
        assert isinstance(read, Permit)
        assert make_permit(read, agree(hub, broker.public_key())) == data
        assert permit_body(vector["fields"]) == data[:116]
        assert permit_mac(permit_key(broker, hub.public_key(), data), data[:116]) == data[116:]
        assert fields_of(read) == vector["fields"]


def fields_of(permit: Permit) -> dict[str, object]:
    """As a vector's file has them."""
    values = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(permit).items()}
    return values | {"hub_nonce": (permit.hub_nonce or b"").hex(), "road": int(permit.road)}


@given(
    st.integers(0, 2**64 - 1),
    st.binary(min_size=8, max_size=8),
    st.integers(1, 3),
    st.sampled_from(Road),
    st.booleans(),
)
def test_two_implementations_agree(serial: int, target: bytes, handovers: int, road: Road, hub: bool) -> None:
    """Ours and the second one write the same octets, and ours reads them back."""
    permit = a_permit(serial=serial, target_id=target, max_handovers=handovers, road=road, target_is_hub=hub)
    data = make_permit(permit, SECRET)
    assert data[:116] == permit_body(fields_of(permit))  # type: ignore[arg-type]
    key = permit_key(own.private_key(BROKER, KeyUse.KEY_AGREEMENT), own.certificate(CHF, own.KA).public_key, data)
    assert data[116:] == permit_mac(key, data[:116])
    assert decode_permit(data) == permit


@pytest.mark.parametrize(
    "changes",
    [
        {"hub_id": b"short"},
        {"digest": b"short"},
        {"command_octets": 0},
        {"command_octets": 8_193},
        {"message_code": 0x10000},
        {"issued_at": 0},
        {"not_after": NOW - 1},
        {"hold_until": NOW + 1},
        {"void_below": 6},
        {"serial": -1},
        {"max_handovers": 0},
        {"max_handovers": 4},
        {"hub_nonce": NO_NONCE},
        {"hub_nonce": b"short"},
    ],
    ids=str,
)
def test_no_permit_is_made_that_a_hub_could_not_take(changes: dict[str, Any]) -> None:
    """The maker refuses its own mistakes."""
    with pytest.raises(RelayValueError):
        make_permit(a_permit(**changes), SECRET)


# The order of the checks. Each row breaks one thing; a record that breaks two gets the status of the earlier.


def _patched(at: int, octet: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([octet]) + data[at + 1 :]


FORM_FAULTS: list[tuple[Status, Callable[[bytes], bytes]]] = [
    (Status.LENGTH, lambda data: data[:-1]),
    (Status.LENGTH, lambda data: data + b"\x00"),
    (Status.VERSION, _patched(1, 2)),
    (Status.RESERVED, _patched(2, 3)),
    (Status.RESERVED, _patched(3, 4)),
    (Status.RESERVED, _patched(3, 1)),
    (Status.RESERVED, _patched(104, 1)),
    (Status.RESERVED, _patched(112, 0)),
    (Status.RESERVED, _patched(112, 4)),
    (Status.RESERVED, _patched(115, 1)),
    (Status.HUB, _patched(20, 0xFF)),
    (Status.CARRIER, _patched(28, 0xFF)),
    (Status.CARRIER, _patched(31, 0xFF)),
    (Status.MAC, _patched(127, 0)),
    (Status.MAC, _patched(12, 0xFF)),
    (Status.MAC, _patched(48, 0)),
]


@pytest.mark.parametrize(("status", "break_it"), FORM_FAULTS, ids=lambda one: getattr(one, "name", ""))
def test_each_check_of_the_record(status: Status, break_it: Callable[[bytes], bytes]) -> None:
    """One octet wrong, one status; nothing but the answer comes of it."""
    data = break_it(record())
    book, answer = judge_permit(PermitBook(), HUB, CARRIER, data, NOON)
    assert answer.status is status
    assert book == PermitBook(floor_at=NOW)
    assert judge_command(book, HUB, CARRIER, COMMAND, NOON)[1] is None


EARLIER_AND_LATER = [(one, other) for one, other in itertools.combinations(FORM_FAULTS, 2) if one[0] is not other[0]]


@pytest.mark.parametrize(("earlier", "later"), EARLIER_AND_LATER)
def test_the_earlier_check_speaks(
    earlier: tuple[Status, Callable[[bytes], bytes]], later: tuple[Status, Callable[[bytes], bytes]]
) -> None:
    """Two faults at once: the status is that of the check that comes first."""
    assert earlier[0] < later[0]
    assert status_of(earlier[1](later[1](record()))) is earlier[0]


def test_the_road_is_the_tunnels() -> None:
    """A permit for a hand-held terminal is no good in a PPMID's tunnel."""
    assert status_of(record(road=Road.HHT)) is Status.CARRIER


def test_every_octet_counts() -> None:
    """No single octet of an accepted permit can be changed: something refuses it."""
    data = record()
    assert status_of(data) is Status.ACCEPTED
    for at in range(PERMIT_OCTETS):
        changed = data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]
        assert status_of(changed) is not Status.ACCEPTED, f"octet {at}"


def test_void_serials_are_dead_for_ever() -> None:
    """A valid permit raises void_below even when it is itself too late; older serials are refused from then on."""
    book, late = judge_permit(PermitBook(), HUB, CARRIER, record(serial=9, void_below=8, issued_at=NOW), NOON)
    assert late.status is Status.ACCEPTED
    assert status_of(record(serial=7), durable(book)) is Status.VOID
    assert status_of(record(serial=8), durable(book)) is Status.ACCEPTED
    expired = record(serial=20, void_below=20, not_before=NOW - 9, not_after=NOW - 8, hold_until=NOW, issued_at=NOW - 9)
    book, answer = judge_permit(book, HUB, CARRIER, expired, NOON)
    assert (answer.status, book.void_below) == (Status.TIME, 20)
    book, answer = judge_permit(PermitBook(), HUB, CARRIER, record(), NOON)
    hht = Carrier(own.OTHER_ESME, Road.HHT)
    voiding = record(serial=50, void_below=50, carrier_id=hht.carrier_id, road=Road.HHT)
    book, answer = judge_permit(book, HUB, hht, voiding, NOON)
    assert answer.status is Status.ACCEPTED
    second = judge_command(book, HUB, CARRIER, COMMAND, NOON)[1]
    assert second is not None
    assert second.status is Status.VOID


@pytest.mark.parametrize(
    ("now_at", "status"),
    [
        (NOW - 1, Status.TIME),
        (NOW, Status.ACCEPTED),
        (NOW + 900, Status.ACCEPTED),
        (NOW + 901, Status.TIME),
        (None, Status.TIME),
    ],
)
def test_the_time_of_hand_over(now_at: int | None, status: Status) -> None:
    """From not_before to not_after inclusive, and never without reliable time."""
    assert status_of(record(issued_at=NOW - 100), moment=Moment(now_at, 5.0)) is status


def test_the_clock_never_goes_back() -> None:
    """What has expired stays expired when WAN time is set back; a valid permit's issue is a time as well."""
    book, answer = judge_permit(PermitBook(), HUB, CARRIER, record(), Moment(NOW + 901, 5.0))
    assert answer.status is Status.TIME
    assert status_of(record(), durable(book), Moment(NOW, 6.0)) is Status.TIME
    ahead = record(serial=6, issued_at=NOW + 901, not_before=NOW + 901, not_after=NOW + 999, hold_until=NOW + 999)
    book, _ = judge_permit(PermitBook(), HUB, CARRIER, ahead, NOON)
    assert book.floor_at == NOW + 901
    assert status_of(record(), book, NOON) is Status.TIME


def test_the_same_command_three_times_and_no_more() -> None:
    """max_handovers bounds the hand-overs, over a power cut too; another digest under the serial is refused."""
    book = PermitBook()
    for _ in range(3):
        book, status = carried(durable(book), record())
        assert status is Status.ACCEPTED
    assert carried(durable(book), record())[1] is Status.NO_HANDOVER_LEFT
    assert carried(durable(book), record(sent=command(8)), sent=command(8))[1] is Status.SERIAL_USED


def test_a_response_ends_it() -> None:
    """After the Response passed there is no further hand-over; another Command's Response changes nothing."""
    book, _ = carried(PermitBook(), record())
    header = GroupingHeader(Cra.RESPONSE, 8, ESME, own.SUPPLIER, OtherInformation(0x0044))
    assert carried(response_seen(book, header), record())[1] is Status.ACCEPTED
    assert carried(response_seen(book, replace(header, originator_counter=7)), record())[1] is Status.NO_HANDOVER_LEFT


def test_spent_serials_are_forgotten_by_time_only() -> None:
    """After hold_until the time alone refuses a serial, so the book need not keep it."""
    book, _ = carried(PermitBook(), record())
    book, answer = judge_permit(book, HUB, CARRIER, record(), Moment(NOW + 901, 2_000.0))
    assert (book.used, answer.status) == ((), Status.TIME)


HUB_COMMAND = command(7, target=GPF)

COMMAND_FAULTS: list[tuple[Status, dict[str, Any], bytes]] = [
    (Status.COMMAND_LENGTH, {"command_octets": len(COMMAND) + 1}, COMMAND),
    (Status.COMMAND_LENGTH, {}, COMMAND + b"\x00"),
    (Status.COMMAND_DIGEST, {"digest": bytes(32)}, COMMAND),
    (Status.COMMAND_CODE, {"message_code": 0x45}, COMMAND),
    (Status.COMMAND_CODE, {"sent": b"", "digest": command_digest(b"junk"), "command_octets": 4}, b"junk"),
    (Status.COMMAND_TARGET, {"target_id": GPF}, COMMAND),
    (Status.TARGET_IS_HUB, {"sent": HUB_COMMAND}, HUB_COMMAND),
]


@pytest.mark.parametrize(("status", "changes", "sent"), COMMAND_FAULTS, ids=lambda one: getattr(one, "name", ""))
def test_each_check_of_the_command(status: Status, changes: dict[str, Any], sent: bytes) -> None:
    """The Command must be the one permitted; a wrong one spends the waiting permit and is no hand-over."""
    changes = {"sent": COMMAND, **changes}
    of = changes.pop("sent") or COMMAND
    book, answer = judge_permit(PermitBook(), HUB, CARRIER, make_permit(a_permit(of, **changes), SECRET), NOON)
    assert answer.status is Status.ACCEPTED
    book, second = judge_command(book, HUB, CARRIER, sent, NOON)
    assert second is not None
    assert (second.status, second.serial, book.used) == (status, 5, ())
    assert judge_command(book, HUB, CARRIER, COMMAND, NOON)[1] is None


def test_a_command_for_the_hub_itself_needs_its_flag() -> None:
    """With flag bit 1 the GPF may be addressed."""
    data = make_permit(a_permit(HUB_COMMAND, target_is_hub=True), SECRET)
    assert carried(PermitBook(), data, sent=HUB_COMMAND)[1] is Status.ACCEPTED


def test_a_permit_waits_a_minute_for_its_carrier_only() -> None:
    """Another tunnel's Command finds no permit, nor does one that comes too late."""
    book, _ = judge_permit(PermitBook(), HUB, CARRIER, record(), NOON)
    assert judge_command(book, HUB, Carrier(own.OTHER_ESME), COMMAND, NOON)[1] is None
    late = Moment(NOW + COMMAND_WAIT_S + 1, NOON.monotonic_s + COMMAND_WAIT_S + 1)
    assert judge_command(book, HUB, CARRIER, COMMAND, late)[1] is None
    assert judge_command(durable(book), HUB, CARRIER, COMMAND, NOON)[1] is None


# Without reliable time


def nonce_permit(nonce: bytes = NONCE, **changes: Any) -> bytes:
    """A permit that answers a nonce, its times long ago."""
    times = {"issued_at": NOW - 9_000, "not_before": NOW - 9_000, "not_after": NOW - 8_100, "hold_until": NOW - 8_100}
    return record(hub_nonce=nonce, **times | changes)


def test_a_nonce_stands_in_for_the_clock() -> None:
    """A hub without time gives a nonce, takes one permit for it, and lets its span run on its own clock."""
    book, answer = give_nonce(PermitBook(), CARRIER, NONCE, DARK)
    assert (answer.status, answer.hub_nonce, answer.clock_reliable) == (Status.NONCE, NONCE, False)
    assert status_of(nonce_permit(b"another!"), book, DARK) is Status.TIME
    assert status_of(record(), book, DARK) is Status.TIME
    book, status = carried(book, nonce_permit(), DARK)
    assert status is Status.ACCEPTED
    assert book.nonces == ()
    assert status_of(nonce_permit(serial=6), book, DARK) is Status.TIME, "a nonce works once"
    assert carried(book, nonce_permit(), Moment(None, 1_900.0))[1] is Status.ACCEPTED, "its own Command again, in time"
    assert carried(book, nonce_permit(), Moment(None, 1_901.0))[1] is Status.TIME
    assert carried(durable(book), nonce_permit(), DARK)[1] is Status.TIME, "after a power cut its span is unknown"


def test_nonces_end_and_are_one_per_carrier() -> None:
    """Fifteen minutes; a newer one kills the older; another carrier's is not ours; a power cut ends all."""
    book, _ = give_nonce(PermitBook(), CARRIER, NONCE, DARK)
    assert status_of(nonce_permit(), book, Moment(None, 1_000.0 + NONCE_LIFE_S)) is Status.ACCEPTED
    assert status_of(nonce_permit(), book, Moment(None, 1_001.0 + NONCE_LIFE_S)) is Status.TIME
    assert status_of(nonce_permit(), durable(book), DARK) is Status.TIME
    newer, _ = give_nonce(book, CARRIER, b"newer!!!", DARK)
    assert status_of(nonce_permit(), newer, DARK) is Status.TIME
    other, _ = give_nonce(PermitBook(), Carrier(own.OTHER_ESME), NONCE, DARK)
    assert status_of(nonce_permit(), other, DARK) is Status.TIME
    with pytest.raises(RelayValueError):
        give_nonce(book, CARRIER, NO_NONCE, DARK)


# The gas mailbox


def test_the_mailbox_asks_again() -> None:
    """When the meter wakes: hold_until and void_below are judged anew, by the clock or by the nonce's span."""
    book, _ = carried(PermitBook(), record(hold_until=NOW + 4_800))
    assert judge_release(book, 5, Moment(NOW + 4_800, 0.0)) is Status.ACCEPTED
    assert judge_release(book, 5, Moment(NOW + 4_801, 0.0)) is Status.TIME
    assert judge_release(book, 5, DARK) is Status.TIME
    assert judge_release(book, 6, NOON) is Status.VOID
    assert judge_release(replace(book, void_below=6), 5, NOON) is Status.VOID
    asked, _ = give_nonce(PermitBook(), CARRIER, NONCE, DARK)
    book, _ = carried(asked, nonce_permit(), DARK)
    assert judge_release(book, 5, Moment(None, 1_900.0)) is Status.ACCEPTED
    assert judge_release(book, 5, Moment(None, 1_901.0)) is Status.TIME
    assert judge_release(durable(book), 5, DARK) is Status.TIME


# The other two records


def test_answers_are_read_back() -> None:
    """Record 51 has 24 octets and one form; 52 has two octets."""
    answer = Answer(Status.NONCE, True, 7, NOW, NONCE)
    data = encode_answer(answer)
    assert len(data) == ANSWER_OCTETS == 24
    assert data[:4] == bytes.fromhex("51010101")
    assert decode_answer(data) == answer
    for wrong in (data[:-1], b"\x50" + data[1:], b"\x51\x02" + data[2:], data[:2] + b"\x77" + data[3:], b""):
        with pytest.raises(RelayDecodeError):
            decode_answer(wrong)
    with pytest.raises(RelayValueError):
        encode_answer(replace(answer, hub_nonce=b""))
    assert bytes.fromhex("5201") == QUESTION


def test_a_permit_is_told_from_a_command() -> None:
    """The first octet alone tells them apart."""
    assert is_permit(record())
    assert not is_permit(COMMAND)
    assert not is_permit(b"")


@given(st.binary(max_size=140))
def test_rubbish_is_refused_with_a_status(data: bytes) -> None:
    """Any octets get a status; none is accepted."""
    assert status_of(b"\x50" + data) is not Status.ACCEPTED
