"""Alerts that tell the outcome of an instruction of a Command which its device held for a date (duis 1.4, 1.6).

Rules this module keeps (reference: gbcs-messages 9.3, 10.1, 10.3; transform A4):

* Such an Alert names the Command by message code and counter, and the instruction by what it sets. Its number is the
  place among the Command's instructions that have a time of their own; where the Alert names none of them, it is told
  as a plain Device Alert. INFERENCE: how the DCC counts is not public.
* Credentials and firmware are one instruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from lastmetre.duis.documents import FutureDatedAlert
from lastmetre.gbcs.asn1 import ActivateFirmwareAlert, Asn1, UpdateCredentialsAlert
from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.dlms import AccessRequest, DataNotification, Obis, Set
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import FutureDatedZcl, Gbz, GbzAlert
from lastmetre.gbcs.message import Cra, Message, parse_message
from lastmetre.gbcs.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.dcc.ports import SealedCommand
    from lastmetre.gbcs.payload import Payload

    FindCommand = Callable[[int], SealedCommand | None]
    """The Command with a counter, from the Alert's target to its device."""

CODES: Final = frozenset({0x8F66, 0x8F67})
"""Executed, failed."""
TIMES: Final = frozenset({(9000, 6), (113, 7), (20, 10), (111, 13)})
"""Class and attribute of the times at which something becomes active (10.3)."""
DLMS_NAME_SIZE: Final = 19


class OutcomeAlert(NamedTuple):
    """The Command that an Alert speaks of, and the Alert as its User gets it."""

    command: SealedCommand
    alert: FutureDatedAlert


def outcome_alert(alert: Message, octets: bytes, find: FindCommand) -> OutcomeAlert | None:
    """Read an Alert as an outcome, or ``None`` when it is not one that can be told so."""
    try:
        payload = decode_payload(alert.header.message_code, Cra.ALERT, alert.content)
    except GbcsDecodeError:
        return None
    match payload:
        case DataNotification(_, code, _, (OctetString(name),)) if code in CODES and len(name) == DLMS_NAME_SIZE:
            counter = int.from_bytes(name[2:10], "big")
            place = (int.from_bytes(name[10:12], "big"), Obis(name[12:18]))
            return _numbered(find(counter), code, octets, lambda asked: _dlms_place(asked, place))
        case GbzAlert(code, _, FutureDatedZcl() as named) if code in CODES:
            return _numbered(find(named.originator_counter), code, octets, lambda asked: _zcl_place(asked, named))
        case Asn1(ActivateFirmwareAlert() as activated) if activated.alert_code in CODES:
            return _numbered(find(activated.counter), activated.alert_code, octets, lambda _: (1, 1))
        case Asn1(UpdateCredentialsAlert() as updated) if updated.alert_code in CODES:
            return _numbered(find(updated.outcome.authorising_counter), updated.alert_code, octets, lambda _: (1, 1))
    return None


def _numbered(
    command: SealedCommand | None, code: int, octets: bytes, place: Callable[[Payload], tuple[int, int] | None]
) -> OutcomeAlert | None:
    if command is None:
        return None
    message = parse_message(command.command)
    found = place(decode_payload(message.header.message_code, Cra.COMMAND, message.content))
    if found is None:
        return None
    return OutcomeAlert(command, FutureDatedAlert(code, octets, *found))


def _dlms_place(asked: Payload, place: tuple[int, Obis]) -> tuple[int, int] | None:
    """Which of the Command's instructions with a time, by class and object."""
    if not isinstance(asked, AccessRequest):
        return None
    dated = [spec for spec, _ in asked.items if isinstance(spec, Set) and (spec.class_id, spec.attribute) in TIMES]
    for number, spec in enumerate(dated, start=1):
        if (spec.class_id, spec.obis) == place:
            return number, len(dated)
    return None


def _zcl_place(asked: Payload, named: FutureDatedZcl) -> tuple[int, int] | None:
    if not isinstance(asked, Gbz):
        return None
    for number, component in enumerate(asked.components, start=1):
        if (component.cluster, component.command_id) == (named.cluster, named.command_id):
            return number, len(asked.components)
    return None
