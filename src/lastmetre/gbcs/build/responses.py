"""Responses: what a device answers to a Command, item by item, dated and encrypted where the use case wants it.

The header follows from the Command's: the parties change places, the counter stays (gbcs-messages 3.4, 3.5). A payload
is of the Command's own kind: results of DLMS items, ZCL answers to components, or one ASN.1 value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, TypeAlias

from lastmetre.gbcs.asn1 import Asn1, Asn1Response
from lastmetre.gbcs.axdr import Array, Data, NullData, OctetString, Structure, encode_data
from lastmetre.gbcs.build.built import Built
from lastmetre.gbcs.build.reads import protection
from lastmetre.gbcs.catalogue import Protection, Role, use_case
from lastmetre.gbcs.datetimes import STATUS_UNSPECIFIED, CosemDateTime
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, AccessResult, Action, ItemResult, Set
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.protect import encrypt_attribute
from lastmetre.gbcs.zcl import (
    FRAME_CLUSTER_SPECIFIC,
    FRAME_FROM_SERVER,
    FRAME_NO_DEFAULT_RESPONSE,
    DefaultResponse,
    ZclBody,
    encode_zcl,
    frame_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastmetre.gbcs.payload import Payload

KIND_GET, KIND_SET, KIND_ACTION = 1, 2, 3
SUCCESS: Final = int(AccessResult.SUCCESS)


class Asked(Protocol):
    """A Command, decoded or built."""

    @property
    def header(self) -> GroupingHeader:
        """Who asks whom."""

    @property
    def payload(self) -> Payload:
        """What is asked."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one item of a DLMS Command. ``encrypted``: the data is for the asker alone (section 11.2)."""

    data: Data = NullData()  # noqa: RUF009 - a frozen value
    result: int = SUCCESS
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class ZclAnswer:
    """The answer to the component of this number, from 0, of a GBZ Command. Several may answer one."""

    to: int
    body: ZclBody
    encrypted: bool = False
    no_default_response: bool = False


Answers: TypeAlias = "Sequence[Result] | Sequence[ZclAnswer] | Asn1Response"


@dataclass(frozen=True, slots=True)
class BuiltResponse(Built):
    """A Response before signature and MAC."""

    WHAT: ClassVar = "Response"


def status(to: int, command_id: int, code: int = 0) -> ZclAnswer:
    """The answer to a component that has no answer of its own: a Default Response."""
    return ZclAnswer(to, DefaultResponse(command_id, code))


def response(
    command: Asked,
    answers: Answers,
    *,
    answered_at: int | None = None,
    clock_status: int = STATUS_UNSPECIFIED,
    encryption_key: bytes | None = None,
    supplementary_originator_counter: int | None = None,
    originator_role: Role = Role.SUPPLIER,
) -> BuiltResponse:
    """The Response to a Command.

    ``answered_at`` (Unix seconds) is needed by the use cases whose Response is dated, and refused by others;
    ``encryption_key`` (``protect.encryption_key``) where an answer is encrypted; the supplementary counter where the
    Command brought a certificate. ``originator_role`` is the Command's: some Responses are signed by who asked.
    """
    asked = command.header
    row = use_case(asked.message_code)
    if asked.cra is not Cra.COMMAND or row is None:
        raise GbcsValueError("a Response answers a Command of a use case that is known")
    if row.response_date_time is not (answered_at is not None):
        needs = "needs answered_at" if row.response_date_time else "has no date-time"
        raise GbcsValueError(f"the Response of {row.name} {needs}")
    date_time = (
        b"" if answered_at is None else CosemDateTime.from_unix(answered_at, clock_status=clock_status).to_bytes()
    )
    other = asked.other_information
    header = GroupingHeader(
        Cra.RESPONSE,
        asked.originator_counter,
        asked.business_target_id,
        asked.business_originator_id,
        OtherInformation(
            other.message_code,
            other.supplementary_remote_party_id,
            other.supplementary_remote_party_counter,
            supplementary_originator_counter,
        ),
        date_time,
    )
    signed = row.response_protection in {Protection.SIGNATURE, Protection.MAC_AND_SIGNATURE}
    if row.response_protection is Protection.BY_ORIGINATOR:
        signed = originator_role is not Role.ACCESS_CONTROL_BROKER
    return BuiltResponse(header, _payload(command.payload, header, answers, encryption_key), signed)


def _payload(asked: Payload, header: GroupingHeader, answers: Answers, key: bytes | None) -> Payload:
    if isinstance(asked, Asn1):
        if isinstance(answers, list | tuple):
            raise GbcsValueError("an ASN.1 Command is answered by one value of gbcs.asn1")
        return Asn1(answers)  # type: ignore[arg-type]
    listed = tuple(answers) if isinstance(answers, list | tuple) else ()
    if isinstance(asked, AccessRequest):
        return _dlms(asked, header, listed, key)
    if isinstance(asked, Gbz):
        return _gbz(asked, header, listed, key)
    raise GbcsValueError("this payload is no Command's")


def _dlms(asked: AccessRequest, header: GroupingHeader, answers: tuple[object, ...], key: bytes | None) -> Payload:
    results = [each for each in answers if isinstance(each, Result)]
    if len(results) != len(answers) or len(results) != len(asked.items):
        raise GbcsValueError(f"a DLMS Command of {len(asked.items)} items has as many Results")
    made = []
    for (spec, _), each in zip(asked.items, results, strict=True):
        kind = KIND_SET if isinstance(spec, Set) else KIND_ACTION if isinstance(spec, Action) else KIND_GET
        data = protected(each.data, header, key) if each.encrypted else each.data
        made.append(ItemResult(kind, data, each.result))
    return AccessResponse(asked.invoke_id, tuple(made))


def protected(data: Data, header: GroupingHeader, key: bytes | None) -> Structure:
    """Data encrypted for the asker, with the parameters of its protection (section 11.2)."""
    device = header.business_originator_id
    parameters = protection(header.originator_counter, device, header.business_target_id)
    wire = encrypt_attribute(encode_data(data), _needed(key), device)
    return Structure((Array((parameters,)), OctetString(wire)))


def _needed(key: bytes | None) -> bytes:
    if key is None:
        raise GbcsValueError("an encrypted answer needs encryption_key")
    return key


def _gbz(asked: Gbz, header: GroupingHeader, answers: tuple[object, ...], key: bytes | None) -> Payload:
    listed = [each for each in answers if isinstance(each, ZclAnswer)]
    if not listed or len(listed) != len(answers):
        raise GbcsValueError("a GBZ Command is answered by ZclAnswers")
    components: list[Component] = []
    encrypted = 0
    for each in listed:
        if not 0 <= each.to < len(asked.components):
            raise GbcsValueError(f"there is no component {each.to} to answer")
        components.append(_answer(asked.components[each.to], each, encrypted, header.business_originator_id, key))
        encrypted += each.encrypted
    return Gbz(tuple(components))


def _answer(asked: Component, answer: ZclAnswer, number: int, device_id: bytes, key: bytes | None) -> Component:
    """In the opposite direction, under the sequence number of what it answers."""
    specific, command_id = frame_of(answer.body)
    control = FRAME_CLUSTER_SPECIFIC if specific else 0
    control |= 0 if asked.frame_control & FRAME_FROM_SERVER else FRAME_FROM_SERVER
    control |= FRAME_NO_DEFAULT_RESPONSE if answer.no_default_response else 0
    body: ZclBody | EncryptedZcl = answer.body
    if answer.encrypted:
        wire = encrypt_attribute(encode_zcl(answer.body), _needed(key), device_id)
        body = EncryptedZcl.from_wire(command_id, number, wire)
    return Component(asked.cluster, control, asked.sequence, body)
