"""What every Response and Alert made here is: header, payload, and whether the device signs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.payload import Payload, encode_payload
from lastmetre.gbcs.protect import unsigned_df

if TYPE_CHECKING:
    from lastmetre.gbcs.message import GroupingHeader


@dataclass(frozen=True, slots=True)
class Built:
    """What a device says, before signature and MAC."""

    WHAT: ClassVar[str]

    header: GroupingHeader
    payload: Payload
    signed: bool
    """Whether the device signs it (``protect.signed_df``); otherwise a MAC is all it needs."""

    @property
    def content(self) -> bytes:
        """The payload's octets."""
        return encode_payload(self.payload)

    @property
    def message(self) -> bytes:
        """The DF part with an empty signature, to be sealed; a signed one is ``protect.signed_df``'s."""
        if self.signed:
            raise GbcsValueError(f"this {self.WHAT} is signed: protect.signed_df makes it of header and content")
        return unsigned_df(self.header, self.content)
