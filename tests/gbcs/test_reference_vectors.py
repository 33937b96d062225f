"""Worked vectors printed in the reference (gbcs-messages 13.6 and 14), and the published data set in place.

Origin of the literals: the reference's own tables, recomputed there from the published test keys. Everything else is
read from the data set beside the checkout.
"""

from __future__ import annotations

import pytest

from lastmetre.gbcs.catalogue import Protection, Role, UseCaseKind, use_case
from lastmetre.gbcs.keys import KeyUse, Label, SharedSecret, agree, derive_key
from lastmetre.gbcs.message import Cra, Kind, encode_message, parse_message, read_header
from lastmetre.gbcs.protect import gmac, seal, sign_pre_command
from lastmetre.gbcs.utrn import Utrn, ValueClass, check_utrn, complete_counter, make_utrn
from lastmetre.gbcs.verdicts import Verdict, judge
from lastmetre.links.keystore import Keyring
from tests.shared_data import RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds, rtds_messages

SUPPLIER = bytes.fromhex("90b3d51f30010000")
BROKER = bytes.fromhex("90b3d51f30000002")
ESME = bytes.fromhex("00db1234567890a0")

COMMAND = bytes.fromhex(
    "DD0000000000005D1100000000DF09010000000000 0003E9 0890B3D51F300100000800DB1234567890A00002003D29"
    "D9200003E9000301000100005E2C00000201000100005E2C00020201000100005E2C00010203000000006353878EDAD4AD0F1BF2AA8F"
)


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    """The published test keys and certificates, read in place."""
    return Keyring.open(certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS)


def test_the_dissected_command_reads_as_the_reference_dissects_it() -> None:
    """Header, content and MAC of the ECS26c Command stand where section 14 shows them."""
    message = parse_message(COMMAND)
    assert message.kind is Kind.COMMAND
    assert message.header.originator_counter == 0x3E9
    assert message.header.business_originator_id == SUPPLIER
    assert message.header.business_target_id == ESME
    assert message.header.message_code == 0x003D
    assert message.signature == b""
    assert message.mac == bytes.fromhex("6353878edad4ad0f1bf2aa8f")
    assert encode_message(message) == COMMAND
    assert read_header(COMMAND) == message.header


@pytest.mark.parametrize(
    ("z", "label", "originator", "recipient", "counter", "key"),
    [
        (
            "ed342441df01551a6beaff3b54adc981f4c6a7e71dff4c3e1cc80b3c9f4e5ac0",
            Label.COMMAND, SUPPLIER, ESME, 0x3E9, "82ed5e3f1f6c761c0df6705b64e21088",
        ),
        (
            "42da8fad4c8c9d613976f39f1e79ccc88571efa43933d57146b533bc6d253e0f",
            Label.RESPONSE, ESME, SUPPLIER, 0x3E9, "dd3b977cef673a093aa147641829b06e",
        ),
    ],
)  # fmt: skip
def test_derived_keys_are_the_worked_ones(
    z: str, label: Label, originator: bytes, recipient: bytes, counter: int, key: str
) -> None:
    """The KDF gives the two keys worked in section 14."""
    secret = SharedSecret(bytes.fromhex(z))
    made = derive_key(secret, originator_id=originator, label=label, counter=counter, recipient_id=recipient)
    assert made.hex() == key


def test_the_worked_mac_follows_from_the_worked_key() -> None:
    """GMAC over the DF part gives the MAC of section 14, with the IV shown there."""
    key = bytes.fromhex("82ed5e3f1f6c761c0df6705b64e21088")
    df = COMMAND[13:-12]
    assert gmac(key, SUPPLIER, bytes.fromhex("110000000000") + df)[:12].hex() == "6353878edad4ad0f1bf2aa8f"


UTRN_VECTORS = [
    (100, 1, 0x0000000100000000, "73943333457189043313"),
    (1234, 0, 0x0000000400000000, "73947252416745201637"),
    (8191, 1, 0x0000000100000000, "73943680956463432551"),
]


@needs_rtds
@pytest.mark.parametrize(("value", "value_class", "counter", "digits"), UTRN_VECTORS)
def test_utrns_are_the_worked_ones(keyring: Keyring, value: int, value_class: int, counter: int, digits: str) -> None:
    """Section 13.6: made from the published prepayment key, read back and authentic."""
    secret = agree(
        keyring.private_key(SUPPLIER, KeyUse.PREPAYMENT), keyring.certificate(ESME, KeyUse.KEY_AGREEMENT).public_key
    )
    made = make_utrn(
        value,
        ValueClass(value_class),
        originator_counter=counter,
        supplier_id=SUPPLIER,
        device_id=ESME,
        secret=secret,
    )
    assert made.digits == digits
    assert Utrn.parse(digits) == made
    check_utrn(made, originator_counter=counter, supplier_id=SUPPLIER, device_id=ESME, secret=secret)


def test_the_worked_counter_is_completed() -> None:
    """Section 13.4: ten bits and the highest counter seen give the full one."""
    assert complete_counter(812, 2458896167) == 2458896172
    assert 2458896172 << 32 == 10560878642999590912


@needs_rtds
def test_every_reference_message_reencodes_to_its_own_bytes() -> None:
    """Parse and encode lose nothing, for every message of the data set."""
    messages = rtds_messages()
    assert len(messages) > 1000
    for name, data in messages.items():
        assert encode_message(parse_message(data)) == data, name
        assert read_header(data) == parse_message(data).header, name


@needs_rtds
def test_every_signature_and_mac_verifies_but_those_without_a_key(keyring: Keyring) -> None:
    """Every signature is valid; every MAC is valid but those of PCS01/PCS02, for which no key is published."""
    unverifiable = set()
    for name, data in rtds_messages().items():
        message = parse_message(data)
        judgement = judge(message, keyring)
        assert judgement.signature in {Verdict.VALID, Verdict.ABSENT}, name
        if judgement.mac is Verdict.UNVERIFIABLE:
            case = use_case(message.header.message_code)
            assert case is not None
            unverifiable.add(case.name)
        else:
            assert judgement.mac in {Verdict.VALID, Verdict.ABSENT}, name
        if message.kind is not Kind.PRE_COMMAND:
            assert (judgement.mac, judgement.signature) != (Verdict.ABSENT, Verdict.ABSENT), name
    assert unverifiable == {"PCS01", "PCS02"}


@needs_rtds
def test_the_catalogue_tells_the_protection_of_every_reference_message() -> None:
    """What each message carries is what its row says, so that criticality need never be read from what is present."""
    for name, data in rtds_messages().items():
        message = parse_message(data)
        case = use_case(message.header.message_code)
        assert case is not None, name
        if message.kind is Kind.PRE_COMMAND:
            assert case.protection is Protection.MAC_AND_SIGNATURE, name
            continue
        found = {
            (True, False): Protection.MAC,
            (True, True): Protection.MAC_AND_SIGNATURE,
            (False, True): Protection.SIGNATURE,
        }[message.mac is not None, bool(message.signature)]
        expected = case.response_protection if message.header.cra is Cra.RESPONSE else case.protection
        if expected is Protection.BY_ORIGINATOR:
            expected = Protection.MAC if message.mac is not None else Protection.SIGNATURE
        assert found is expected, name
        assert (case.kind is UseCaseKind.ALERT) is (message.kind is Kind.ALERT), name
        if message.kind is Kind.RESPONSE:
            assert case.response_date_time is bool(message.header.date_time), name


@needs_rtds
def test_the_catalogue_lets_every_reference_originator_speak(keyring: Keyring) -> None:
    """The role that sent each reference Command is among those its row allows."""
    for name, data in rtds_messages().items():
        message = parse_message(data)
        case = use_case(message.header.message_code)
        if message.kind is not Kind.COMMAND or case is None or case.originating_device:
            continue
        role = keyring.certificate(message.header.business_originator_id, KeyUse.DIGITAL_SIGNATURE).role
        assert role in case.originators, name


@needs_rtds
def test_reference_commands_can_be_made_from_their_pre_commands(keyring: Keyring) -> None:
    """Signing a Pre-Command and sealing it gives the reference Command, but for the signature's random part."""
    messages = rtds_messages()
    made = 0
    for name, data in messages.items():
        partner = messages.get(name.replace("_PRECOMMAND_", "_COMMAND_"))
        if "_PRECOMMAND_" not in name or partner is None:
            continue
        message = parse_message(data)
        signer = keyring.private_key(message.header.business_originator_id, KeyUse.DIGITAL_SIGNATURE)
        target = keyring.certificate(message.header.business_target_id, KeyUse.KEY_AGREEMENT)
        secret = agree(keyring.private_key(BROKER, KeyUse.KEY_AGREEMENT), target.public_key)
        sealed = seal(sign_pre_command(data, signer), secret)
        assert len(sealed) == len(partner), name
        assert sealed[: -12 - 64] == partner[: -12 - 64], name
        judgement = judge(parse_message(sealed), keyring)
        assert (judgement.mac, judgement.signature) == (Verdict.VALID, Verdict.VALID), name
        made += 1
    assert made > 100


def test_roles_are_the_published_codes() -> None:
    """The role codes equal the organisations' OU (section 2.1)."""
    assert (Role.SUPPLIER, Role.ACCESS_CONTROL_BROKER) == (2, 4)
