"""The UTRN: the twenty digits a prepayment customer can key in, and what is inside them.

Rules this module keeps (reference: gbcs-messages section 13):

* A UTRN is authentic only under the supplier's prepayment key and the counter it was made with; its MAC has 32 bits,
  so a device must limit attempts.
* The ten counter bits in it are completed from the highest counter the device has seen.
* The check digit uses the reference's own tables; its last one is not Verhoeff's usual inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hmac import compare_digest
from typing import Final

from lastmetre.gbcs.errors import GbcsError, GbcsValueError
from lastmetre.gbcs.keys import Label, SharedSecret, derive_key
from lastmetre.gbcs.protect import CryptoRefused, gmac

UTRN_DIGITS: Final = 20
PPTD_BASE: Final = 7394156990786306048
"""Added to the 64-bit token to give 19 digits beginning 73, 74 or 75 (section 13.3)."""
VALUE_MAX: Final = 8191
_PTUT_MAX: Final = (1 << 57) - 1
_AAD_START: Final = bytes.fromhex("110000000000")

_PERMUTE: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip
_MULTIPLY: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_INVERSE: Final = "1267583094"


class UtrnRefused(GbcsError):
    """These digits are no UTRN: their count, their check digit or their range is wrong. Key the code in again."""


class ValueClass(IntEnum):
    """What a UTRN's value counts."""

    PENCE = 0
    POUNDS = 1


@dataclass(frozen=True, slots=True)
class Utrn:
    """The fields of a prepayment token: 10 counter bits, value class, value, 32-bit MAC.

    Value classes 2 and 3 have no public meaning and are refused when a token is credited, not when it is read.
    """

    counter_bits: int
    value_class: int
    value: int
    mac: bytes

    @property
    def ptut(self) -> int:
        """The 64-bit token (section 13.1)."""
        return self.high_half << 32 | int.from_bytes(self.mac, "big")

    @property
    def high_half(self) -> int:
        """The token's upper 32 bits: what its MAC covers."""
        return self.counter_bits << 15 | self.value_class << 13 | self.value

    @property
    def pence(self) -> int:
        """The value in pence; raises ``UtrnRefused`` for a value class without a public meaning."""
        if self.value_class == ValueClass.PENCE:
            return self.value
        if self.value_class == ValueClass.POUNDS:
            return self.value * 100
        raise UtrnRefused(f"value class {self.value_class} has no meaning that we know")

    @property
    def digits(self) -> str:
        """The twenty digits."""
        body = str(PPTD_BASE + self.ptut)
        return body + check_digit(body)

    @classmethod
    def parse(cls, digits: str) -> Utrn:
        """Read twenty digits; raises ``UtrnRefused`` unless count, check digit and range are right."""
        if len(digits) != UTRN_DIGITS or not (digits.isascii() and digits.isdigit()):
            raise UtrnRefused(f"a UTRN has {UTRN_DIGITS} digits and nothing else")
        if check_digit(digits[:-1]) != digits[-1]:
            raise UtrnRefused("the check digit is wrong: one digit was mistyped or two were swapped")
        ptut = int(digits[:-1]) - PPTD_BASE
        if not 0 <= ptut <= _PTUT_MAX:
            raise UtrnRefused("the digits are outside the range of UTRNs")
        high = ptut >> 32
        return cls(high >> 15, high >> 13 & 3, high & VALUE_MAX, (ptut & 0xFFFFFFFF).to_bytes(4, "big"))


def check_digit(digits: str) -> str:
    """The digit that follows these (section 13.3); raises ``UtrnRefused`` for anything but ASCII digits."""
    if not (digits.isascii() and digits.isdigit()):
        raise UtrnRefused("a check digit follows digits only")
    total = 0
    for place, digit in enumerate(digits, start=4):
        total = int(_MULTIPLY[total][int(_PERMUTE[place % 8][int(digit)])])
    return _INVERSE[total]


def _mac(high_half: int, originator_counter: int, supplier_id: bytes, device_id: bytes, secret: SharedSecret) -> bytes:
    key = derive_key(
        secret, originator_id=supplier_id, label=Label.COMMAND, counter=originator_counter, recipient_id=device_id
    )
    counter = originator_counter.to_bytes(8, "big")
    covered = b"".join((_AAD_START, supplier_id, device_id, b"\x01", counter, high_half.to_bytes(4, "big")))
    return gmac(key, supplier_id, covered)[-4:]  # the last four octets: elsewhere tags keep the first twelve


def make_utrn(
    value: int,
    value_class: ValueClass,
    *,
    originator_counter: int,
    supplier_id: bytes,
    device_id: bytes,
    secret: SharedSecret,
) -> Utrn:
    """Make a token. ``secret`` is supplier prepayment key x device key agreement; the counter is utrnCounter << 32.

    Raises ``GbcsValueError`` for a value over 8191 or a counter with low bits.
    """
    if not 0 <= value <= VALUE_MAX:
        raise GbcsValueError(f"a UTRN carries 0 to {VALUE_MAX}; use pounds for more pence")
    utrn_counter, low = divmod(originator_counter, 1 << 32)
    if low or not 0 < utrn_counter < 1 << 32:
        raise GbcsValueError("a UTRN's Originator Counter is a 32-bit counter shifted left by 32")
    unsigned = Utrn(utrn_counter % 1024, value_class, value, bytes(4))
    mac = _mac(unsigned.high_half, originator_counter, supplier_id, device_id, secret)
    return Utrn(unsigned.counter_bits, unsigned.value_class, value, mac)


def split_pence(pence: int) -> tuple[int, ValueClass]:
    """The value and class that say an amount; raises ``GbcsValueError`` when no UTRN can say it."""
    if 0 < pence <= VALUE_MAX:
        return pence, ValueClass.PENCE
    if pence > 0 and pence % 100 == 0 and pence // 100 <= VALUE_MAX:
        return pence // 100, ValueClass.POUNDS
    raise GbcsValueError("one UTRN says 1 to 8,191 pence, or whole pounds up to 8,191")


def complete_counter(counter_bits: int, utrn_highest: int) -> int:
    """The full 32-bit UTRN counter from its ten low bits and the highest one seen (section 13.4, step 3)."""
    p = utrn_highest % 1024
    if counter_bits < p - 512:
        counter_bits += 1024
    elif counter_bits > p + 512:
        counter_bits -= 1024
    return utrn_highest - p + counter_bits


def check_utrn(
    utrn: Utrn, *, originator_counter: int, supplier_id: bytes, device_id: bytes, secret: SharedSecret
) -> None:
    """Whether a token is authentic for this device and counter; raises ``CryptoRefused`` when it is not."""
    if not 0 <= originator_counter < 1 << 64:
        raise CryptoRefused
    if not compare_digest(_mac(utrn.high_half, originator_counter, supplier_id, device_id, secret), utrn.mac):
        raise CryptoRefused
