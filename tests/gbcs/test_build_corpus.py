"""Building against the published Commands: the values taken out of each make the same octets again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs import build, decode
from lastmetre.gbcs.catalogue import Protection, Role, use_case
from lastmetre.gbcs.message import Cra, Kind
from tests.shared_data import needs_rtds, rtds_messages

if TYPE_CHECKING:
    from lastmetre.gbcs.decoded import DecodedMessage

ACB = bytes.fromhex("90b3d51f30000002")
"""The access control broker of the published messages."""


def _commands() -> dict[str, DecodedMessage]:
    messages = {name: decode(octets) for name, octets in rtds_messages().items()}
    return {name: message for name, message in messages.items() if message.header.cra is Cra.COMMAND}


COMMANDS = _commands()


def _rebuilt(message: DecodedMessage) -> build.BuiltCommand:
    header = message.header
    row = use_case(header.message_code)
    assert row is not None
    found = build.read_command(header.message_code, message.payload)
    return build.command(
        row.name,
        found.values,
        originator=header.business_originator_id,
        target=header.business_target_id,
        counter=header.originator_counter,
        when=found.when,
        issued_at=found.issued_at,
        supplementary=header.other_information,
        originator_role=Role.ACCESS_CONTROL_BROKER if header.business_originator_id == ACB else Role.SUPPLIER,
    )


@needs_rtds
@pytest.mark.parametrize(
    "name", [name for name, message in COMMANDS.items() if message.header.message_code in build.command_classes()]
)
def test_the_values_of_a_published_command_make_its_octets(name: str) -> None:
    """Decode, read the values, build: header and content are the published ones, and so is a whole Pre-Command."""
    message = COMMANDS[name]
    built = _rebuilt(message)
    published = message.to_message()
    assert built.header == published.header
    assert built.content == published.content
    if message.kind is Kind.PRE_COMMAND:
        assert built.signed
        assert built.message == rtds_messages()[name]


@needs_rtds
def test_signatures_stand_where_the_published_ones_do() -> None:
    """What is built is to be signed exactly where the published Command is, joins through the broker excepted."""
    for name, message in COMMANDS.items():
        row = use_case(message.header.message_code)
        if row is None or message.header.message_code not in build.command_classes():
            continue
        if row.protection is Protection.BY_ORIGINATOR or message.signature is None:
            continue
        assert _rebuilt(message).signed is bool(message.signature), name
