"""Correlate: every value of every published Pre-Command, changed alone, is named; an untouched one gives no finding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.duis import compose
from lastmetre.duis.correlate import (
    Agreed,
    Differences,
    IssueTimes,
    check_certificates,
    compare_command,
    compare_pre_command,
    correlate,
)
from lastmetre.duis.documents import (
    LocalCommand,
    PreCommand,
    Request,
    Response,
    VerifiedResponse,
    answer,
    build_signed_response,
    parse_request,
    read_signed_response,
)
from lastmetre.duis.errors import CorrelationRefused, TransformError
from lastmetre.duis.transform import DeviceFacts, Sender, transform
from lastmetre.duis.use_cases.reads import SELECTION
from lastmetre.duis.use_cases.security import new_certificates
from lastmetre.gbcs.axdr import Array, Boolean, Long, OctetString, Structure, Unsigned
from lastmetre.gbcs.dlms import Obis, Set, decode_access_request
from lastmetre.gbcs.message import Message, OtherInformation, df_part, parse_message
from tests.duis.mutation import issue_changes, single_changes, with_content
from tests.duis.pairs import Pair, golden_pairs, pre_command_pairs
from tests.duis.support import DSP, METER, SUPPLIER, find_published, published_signer, templates
from tests.shared_data import needs_duis, needs_rtds

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.duis.xml import Element

ESME = DeviceFacts("ESME", known_remote_parties=frozenset({SUPPLIER}))
REQUEST = compose.update_prepay_configuration(
    SUPPLIER, METER, 1003, compose.PrepayConfiguration(30, 5000, 100, 200, 5_000_000, 1_000_000)
)
PRE_COMMAND = transform(REQUEST, ESME).message


def the_one_difference(request: Request, pre_command: bytes, device: DeviceFacts) -> tuple[str, str, str]:
    """The only difference there is: its name and both values."""
    result = compare_pre_command(request, pre_command, device)
    assert isinstance(result, Differences)
    assert len(result.found) == 1, str(result)
    (found,) = result.found
    assert found.asked != found.found
    return found.name, found.asked, found.found


RTDS_DAY = IssueTimes(1_420_070_400 - 3600, 1_420_070_400 + 3600)
"""Around 2015-01-01T00:00:00Z, at which the clock of the published set stands still."""


def judge(pair: Pair, df: bytes, issued: IssueTimes = RTDS_DAY) -> Agreed | Differences:
    """Compare a message with the pair's request, as the User (Pre-Commands) or as one who knows the sender."""
    if pair.pre_command is not None:
        return compare_pre_command(pair.request, df, pair.device, issued)
    return compare_command(pair.request, df, pair.device, pair.sender, issued)


def published(pair: Pair) -> bytes:
    """What the DSP made, before signature and MAC."""
    return pair.pre_command if pair.pre_command is not None else pair.result.message


@needs_duis
@needs_rtds
@pytest.mark.parametrize("pair", golden_pairs(), ids=lambda pair: pair.stem)
def test_untouched_messages_agree(pair: Pair) -> None:
    """The published message of a request gives no finding, but for certificates of a holder that has no place there."""
    result = judge(pair, published(pair))
    if pair.result.use_case == "CS02g":
        # The message gives the supplier's own certificates to the load controller; its template gives the right ones.
        assert isinstance(result, Differences)
        assert {found.check for found in result.found} == {13}
        return
    assert isinstance(result, Agreed), str(result)
    assert result.pre_command == published(pair)


@needs_duis
@needs_rtds
@pytest.mark.parametrize("pair", golden_pairs(), ids=lambda pair: pair.stem)
def test_every_value_changed_alone_is_named(pair: Pair) -> None:
    """Each value of the published message, changed alone, is the one difference reported, under its own name."""
    names = []
    untouched = judge(pair, published(pair))
    before = untouched.found if isinstance(untouched, Differences) else ()
    for name, tampered in single_changes(pair.result, published(pair)):
        result = judge(pair, tampered)
        assert isinstance(result, Differences), name
        (found,) = (difference for difference in result.found if difference not in before)
        assert found.name == name
        assert found.asked != found.found
        names.append(name)
    values = [name for name in names if not name.startswith("value ")]
    assert len(values) == len(set(values)), "two values go by one name"


@needs_duis
@needs_rtds
@pytest.mark.parametrize("pair", golden_pairs(), ids=lambda pair: pair.stem)
def test_times_of_issue_are_compared_by_range(pair: Pair) -> None:
    """A time of issue is reported when out of range or when it makes one component another calendar."""
    day = 473_385_600
    for field, name, tampered in issue_changes(pair.result, published(pair), day + 60):
        result = judge(pair, tampered)
        if field == "calendar" and "calendar" in name:
            assert isinstance(result, Differences)
            assert [found.name for found in result.found] == [name]
        else:
            assert isinstance(result, Agreed), str(result)
    for seconds in (0, day - 86_400, day + 86_400, 0xFFFF_FFFF):
        for _, name, tampered in issue_changes(pair.result, published(pair), seconds):
            result = judge(pair, tampered)
            assert isinstance(result, Differences)
            assert [found.name for found in result.found] == [name]


@needs_duis
@needs_rtds
@pytest.mark.parametrize("pair", pre_command_pairs(), ids=lambda pair: pair.stem)
def test_every_octet_changed_alone_is_noticed(pair: Pair) -> None:
    """No octet of a published Pre-Command can change without a finding, but for a time of issue within its range."""
    assert pair.pre_command is not None
    at_once = IssueTimes(1_420_070_400, 1_420_070_400)
    step = max(1, len(pair.pre_command) // 60)
    for at in range(0, len(pair.pre_command), step):
        tampered = bytearray(pair.pre_command)
        tampered[at] ^= 0x01
        assert isinstance(judge(pair, bytes(tampered), at_once), Differences)


@needs_duis
@needs_rtds
def test_every_value_has_a_name() -> None:
    """No value of any published message, critical or not, goes without a name."""
    for pair in golden_pairs():
        for name, shown in pair.result.values:
            assert name, pair.stem
            assert shown, pair.stem


@needs_duis
def test_certificates_must_be_what_their_place_asks_for() -> None:
    """A template's new certificates are in order, but for one that is for signing where agreement is due (check 13)."""
    sender = Sender("IS", DSP, 1, DSP, 2)
    for path in templates():
        request = parse_request(path.read_bytes())
        if request.header.service_reference_variant not in ("6.15.1", "6.21", "6.23", "8.5"):
            continue
        kind = "GPF" if request.header.service_reference_variant == "6.21" else "ESME"
        found = check_certificates(transform(request, replace(ESME, device_type=kind), sender))
        if request.header.service_reference_variant == "8.5":
            assert [str(difference.found) for difference in found] == [
                "it is for digitalSignature, not for keyAgreement"
            ]
        else:
            assert found == (), path.name


@needs_duis
def test_certificates_of_others_are_named() -> None:
    """Certificates of two holders, without their issuer in the path, or that are none at all, are each refused."""
    request = next(
        request
        for request in (parse_request(path.read_bytes()) for path in templates())
        if request.header.service_reference_variant == "6.15.1"
    )
    texts = {element.name: element.text for element in new_certificates(request.body).children}
    mixed = with_text(request, {texts["KeyAgreementCertificate"]: texts["DigitalSigningCertificate"]})
    assert "not for keyAgreement" in str(check_certificates(transform(mixed, ESME))[0].found)
    path = request.body.find_text("CertificationPathCertificates/Certificate") or ""
    astray = with_text(request, {path: texts["DigitalSigningCertificate"]})
    assert all("not in the certification path" in d.found for d in check_certificates(transform(astray, ESME)))
    nothing = with_text(request, {texts["DigitalSigningCertificate"]: "MAA="})
    assert [d.name for d in check_certificates(transform(nothing, ESME))] == ["certificate"]


def with_text(request: Request, swap: dict[str, str]) -> Request:
    """The request with texts replaced."""

    def swapped(element: Element) -> Element:
        children = tuple(map(swapped, element.children))
        return element._replace(text=swap.get(element.text, element.text), children=children)

    return replace(request, body=swapped(request.body))


def test_the_difference_reads_as_a_sentence() -> None:
    """A wrong limit is told with both values, in the words of the service."""
    other = transform(replace_limit(500), ESME).message
    result = compare_pre_command(REQUEST, other, ESME)
    assert str(result) == "the Pre-Command sets the emergency credit limit to 500; you asked for 5000"


def replace_limit(limit: int) -> Request:
    """The request with another emergency credit limit."""
    configuration = compose.PrepayConfiguration(30, limit, 100, 200, 5_000_000, 1_000_000)
    return compose.update_prepay_configuration(SUPPLIER, METER, 1003, configuration)


def test_another_date_is_told_in_dates() -> None:
    """Activation at another time, at once, or never is named for each setting with readable times."""
    dated = compose.set_credit_mode(SUPPLIER, METER, 5, execution_at=1_894_698_000)
    now = transform(compose.set_credit_mode(SUPPLIER, METER, 5), ESME).message
    assert the_one_difference(dated, now, ESME) == (
        "activation time of the payment mode",
        "2030-01-15T09:00:00Z",
        "at once",
    )
    never = transform(compose.set_credit_mode(SUPPLIER, METER, 5, execution_at=32_535_129_600), ESME).message
    assert the_one_difference(dated, never, ESME)[2] == "never (cancelled)"


def test_another_service_altogether() -> None:
    """A Pre-Command that disables the supply where arming was asked names use case and script."""
    disable = transform(compose.disable_supply(SUPPLIER, METER, 9), ESME).message
    result = compare_pre_command(compose.arm_supply(SUPPLIER, METER, 9), disable, ESME)
    assert isinstance(result, Differences)
    assert [found.name for found in result.found] == ["use case", "supply script"]
    assert "disable supply (52); you asked for arm supply (54)" in str(result)


HEADER = parse_message(PRE_COMMAND).header
OTHER = HEADER.other_information


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("originator", replace(HEADER, business_originator_id=DSP)),
        ("target device", replace(HEADER, business_target_id=METER[:-1] + b"\xb0")),
        ("originator counter", replace(HEADER, originator_counter=2**40 + 1003)),
        ("use case", replace(HEADER, other_information=OtherInformation(0x001F))),
        ("supplementary information", replace(HEADER, other_information=OtherInformation(OTHER.message_code, DSP))),
        ("header date and time", replace(HEADER, date_time=bytes(12))),
    ],
)
def test_header_fields_changed_alone_are_named(name: str, header: object) -> None:
    """Whose message it is, for whom, under which counter and code: each is reported by name."""
    message = Message(header, parse_message(PRE_COMMAND).content, None, None)  # type: ignore[arg-type]
    assert the_one_difference(REQUEST, df_part(message), ESME)[0] == name


def test_every_check_of_the_content_has_its_number() -> None:
    """Checks 4 to 12 of the reference are told apart by number (1 to 3 refuse the answer; 13 and 8 are further on)."""
    content = decode_access_request(parse_message(PRE_COMMAND).content)
    spec, data = content.items[1]
    date = content.items[-1][0], OctetString(b"\xff" * 9 + b"\x80\x00\xff")
    first = Message(replace(HEADER, originator_counter=7), parse_message(PRE_COMMAND).content, None, None)
    beside = replace(HEADER, other_information=OtherInformation(OTHER.message_code, DSP))
    other = replace(HEADER, other_information=OtherInformation(0x001F))
    for check, message in (
        (4, PRE_COMMAND + b"\x00"),
        (5, df_part(first)),
        (6, df_part(replace(first, header=beside))),
        (7, df_part(replace(first, header=other))),
        (9, with_content(PRE_COMMAND, replace(content, items=(content.items[0], (spec, Long(3)), *content.items[2:])))),
        (10, with_content(PRE_COMMAND, replace(content, items=content.items[:-1]))),
        (11, with_content(PRE_COMMAND, replace(content, items=(*content.items[:-1], date)))),
        (12, with_content(PRE_COMMAND, replace(content, invoke_id=4))),
    ):
        outcome = compare_pre_command(REQUEST, message, ESME)
        assert isinstance(outcome, Differences), check
        assert [difference.check for difference in outcome.found] == [check]
    assert data


def test_counter_repeated_in_the_content() -> None:
    """The counter inside the content must be the header's."""
    content = decode_access_request(parse_message(PRE_COMMAND).content)
    name, _, found = the_one_difference(REQUEST, with_content(PRE_COMMAND, replace(content, invoke_id=4)), ESME)
    assert (name, found) == ("counter repeated in the content", "4")


def test_additional_missing_and_redirected_instructions() -> None:
    """An instruction too many, one too few, and one for another object are each reported."""
    content = decode_access_request(parse_message(PRE_COMMAND).content)
    extra = (Set(9000, Obis.parse("0-0:94.44.128.2"), 4), Long(1))
    name, asked, found = the_one_difference(
        REQUEST, with_content(PRE_COMMAND, replace(content, items=(*content.items, extra))), ESME
    )
    assert name == "additional instruction set 9000/0-0:94.44.128.2 attribute 4"
    assert (asked, found) == ("nothing", "1")
    short = with_content(PRE_COMMAND, replace(content, items=content.items[:-1]))
    assert the_one_difference(REQUEST, short, ESME)[0] == "activation time of the special days"
    moved = (content.items[0], (Set(9000, Obis.parse("0-0:94.44.2.20"), 9), content.items[1][1]), *content.items[2:])
    name, *_ = the_one_difference(REQUEST, with_content(PRE_COMMAND, replace(content, items=moved)), ESME)
    assert name == "instruction for the maximum meter balance"


def test_entries_too_many_and_too_few() -> None:
    """A schedule entry that was not asked for, or is missing, is named by its number."""
    nights = compose.NIGHTS
    longer = compose.PrepayConfiguration(30, 5000, 100, 200, 5_000_000, 1_000_000, (), (*nights, nights[0]))
    other = compose.update_prepay_configuration(SUPPLIER, METER, 1003, longer)
    name, asked, _ = the_one_difference(REQUEST, transform(other, ESME).message, ESME)
    assert (name, asked) == ("non-disablement schedule entry 3", "nothing")
    name, _, found = the_one_difference(other, PRE_COMMAND, ESME)
    assert (name, found) == ("non-disablement schedule entry 3", "nothing")


def test_values_that_look_alike_are_still_told_apart() -> None:
    """The octet of a true boolean, and a number of another type, are differences too."""
    content = decode_access_request(parse_message(PRE_COMMAND).content)
    spec, data = content.items[1]
    for other in (Unsigned(0), Long(1)):
        items = (content.items[0], (spec, other), *content.items[2:])
        the_one_difference(REQUEST, with_content(PRE_COMMAND, replace(content, items=items)), ESME)
    at, schedule = next((n, d) for n, (_, d) in enumerate(content.items) if isinstance(d, Array) and d.elements)
    entry = schedule.elements[0]
    assert isinstance(entry, Structure)
    odd = Structure((entry.elements[0], Boolean(value=True, raw=1), *entry.elements[2:]))
    items_2 = list(content.items)
    items_2[at] = (content.items[at][0], Array((odd, *schedule.elements[1:])))
    name, *_ = the_one_difference(REQUEST, with_content(PRE_COMMAND, replace(content, items=tuple(items_2))), ESME)
    assert name == "enabled flag of non-disablement schedule entry 1"
    assert data


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        PRE_COMMAND[:-1],
        PRE_COMMAND + b"\x00",
        PRE_COMMAND + b"\x40" + bytes(64),
        b"\xdd" + PRE_COMMAND[1:],
        PRE_COMMAND.replace(b"\xd9\x20", b"\xda\x20", 1),
    ],
)
def test_what_is_no_pre_command_never_agrees(octets: bytes) -> None:
    """Cut, lengthened, signed already, or something else: never agreed."""
    assert isinstance(compare_pre_command(REQUEST, octets, ESME), Differences)


def test_log_selections_are_compared() -> None:
    """A read of another period is named with readable times (a read is never a Pre-Command, but its form may be)."""
    assert [part.name for part in SELECTION.parts] == ["column", "start", "end", "columns selected"]


# --- the whole answer of the DSP


def respond(change: Callable[[Response], Response] = lambda response: response) -> VerifiedResponse:
    """The DSP's signed answer, read back through the door, after a change."""
    response = change(answer(REQUEST, "I0", 0, PreCommand("4.3", PRE_COMMAND)))
    document = build_signed_response(response, published_signer("dsp-xml-sign-90B3D51F30000002-ds"))
    verified = read_signed_response(document, find_published, DSP)
    assert isinstance(verified, VerifiedResponse)
    return verified


@needs_duis
def test_the_dsps_answer_agrees() -> None:
    """A signed Pre-Command for the pending request agrees, and hands over what to sign."""
    result = correlate(REQUEST, respond(), ESME)
    assert isinstance(result, Agreed)
    assert result.pre_command == PRE_COMMAND


@needs_duis
def test_another_gbcs_version_is_reported() -> None:
    """A Pre-Command made for another version than the device's is a difference."""
    older = respond(lambda r: replace(r, body=replace(r.body, payload=PreCommand("2.0", PRE_COMMAND))))  # type: ignore[arg-type]
    result = correlate(REQUEST, older, ESME)
    assert isinstance(result, Differences)
    assert [found.check for found in result.found] == [8]


@needs_duis
@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("belongs to request", lambda r: replace(r, header=replace(r.header, request_id=None))),
        ("answered E4", lambda r: replace(r, header=replace(r.header, response_code="E4"))),
        ("answered W110101", lambda r: replace(r, header=replace(r.header, response_code="W110101"))),
        ("no Pre-Command", lambda r: replace(r, body=replace(r.body, payload=LocalCommand(PRE_COMMAND)))),
        ("service 7.3", lambda r: replace(r, body=replace(r.body, service_reference_variant="7.3"))),
    ],
)
def test_answers_to_something_else_are_refused(message: str, change: Callable[[Response], Response]) -> None:
    """An answer to another request, a failure, another payload or service is no basis for a signature."""
    with pytest.raises(CorrelationRefused, match=message):
        correlate(REQUEST, respond(change), ESME)


@needs_duis
def test_only_a_transform_request_has_a_pre_command() -> None:
    """A request of another Command Variant is never answered by a Pre-Command."""
    with pytest.raises(CorrelationRefused, match="Transform"):
        correlate(compose.read_meter_balance(SUPPLIER, METER, 1003), respond(), ESME)


def test_what_we_cannot_build_is_not_agreed() -> None:
    """Without a rule of our own there is nothing to compare with, and so no agreement."""
    with pytest.raises(TransformError):
        compare_pre_command(compose.make_request("1.1.1", SUPPLIER, METER, 1003), PRE_COMMAND, ESME)
