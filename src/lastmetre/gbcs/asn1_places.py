"""Where the parts of an ASN.1 payload stand in its octets, and which type each payload class has.

For those who walk a value along its type: ``json_form`` and ``payload_words``.
"""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.asn1 import SCHEMAS, Asn1, encode_asn1
from lastmetre.gbcs.der import Alone, Codec, Reader, Sequence


def _by_class() -> dict[type, Alone | Sequence]:
    return {codec.cls: codec for codec in SCHEMAS.values() if isinstance(codec, Alone | Sequence)}


CODECS: Final[dict[type, Alone | Sequence]] = _by_class()
"""The type of each payload class; several message codes may share one."""


class _Tracer(Reader):
    """A reader that notes where each tag stands."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, allow_long_lengths=True)
        self.places: list[int] = []

    def enter(self, at: int, end: int, tag: int, name: str) -> tuple[int, int]:
        """As a reader does."""
        self.places.append(at)
        return super().enter(at, end, tag, name)


def places_of(payload: Asn1) -> tuple[int, ...]:
    """Where each tag stands in the payload's octets, in reading order; a certificate counts as one."""
    tracer = _Tracer(encode_asn1(payload))
    codec: Codec = CODECS[type(payload.value)]
    codec.read(tracer, 0, len(tracer.data), codec.tag, "payload")
    return tuple(tracer.places)
