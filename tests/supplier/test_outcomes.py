"""What Responses of each form say came of a Command: the published ones, and forms that do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lastmetre import gbcs
from lastmetre.gbcs import asn1
from lastmetre.gbcs.dlms import AccessResponse
from lastmetre.gbcs.gbz import Component, Gbz
from lastmetre.gbcs.zcl import DefaultResponse
from lastmetre.supplier.outcomes import refusals
from tests.shared_data import needs_rtds, rtds_messages

if TYPE_CHECKING:
    from lastmetre.gbcs.payload import Payload


def parts(*statuses: int) -> Gbz:
    """A gas meter's plain answers."""
    return Gbz(
        tuple(Component(0x0702, 0x18, number, DefaultResponse(0, status)) for number, status in enumerate(statuses))
    )


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        (AccessResponse(1, ()), []),
        (parts(0, 0), []),
        (parts(0, 0x86), ["part 2 status 0x86"]),
        (Gbz(()), None),
        (asn1.Asn1(asn1.JoinResponse(0)), []),
        (asn1.Asn1(asn1.JoinResponse(4)), ["result 4"]),
        (asn1.Asn1(asn1.UpdateCredentialsResponse()), None),
        (asn1.Asn1(asn1.IssueCredentialsResponse(b"request")), []),
        (asn1.Asn1(asn1.IssueCredentialsResponse(2)), ["result 2"]),
    ],
    ids=str,
)
def test_each_form(payload: Payload, outcome: list[str] | None) -> None:
    """Done, refused with the place and the code, or not said."""
    assert refusals(payload) == outcome


@needs_rtds
def test_no_published_refusal_passes_for_done() -> None:
    """A Response named an error is refused or says nothing, unless its form has no place for it; a success never is."""
    judged = 0
    for name, data in rtds_messages().items():
        if "_RESPONSE" not in name.upper() or not {"SUCCESS", "ERROR"} & set(name.upper().split("_")):
            continue
        message = gbcs.decode(data)
        outcome = refusals(message.payload)
        if isinstance(message.payload, AccessResponse) or outcome is None:
            continue
        judged += 1
        assert bool(outcome) is ("_ERROR_" in name.upper()), name
    assert judged > 50
