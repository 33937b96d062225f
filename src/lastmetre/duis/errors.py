"""What can go wrong with a DUIS document, each written for the person who will read it.

``DuisDecodeError`` is *theirs*: bytes that are not the document they claim to be. ``DuisValueError`` is *ours*: we
asked for something the interface cannot say. A refused signature tells the outside nothing; ``reason`` is for the
local audit.
"""

from __future__ import annotations

from enum import StrEnum


class DuisError(Exception):
    """Something is wrong with a DUIS document."""


class DuisDecodeError(DuisError):
    """The document cannot be read: ``where`` says which part, ``reason`` what is wrong with it."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class DuisValueError(DuisError, ValueError):
    """A value was asked for that DUIS cannot express; correct the value."""


class SignatureReason(StrEnum):
    """Why a signature was refused. For the local audit only, never for the sender."""

    UNSIGNED = "the document carries no signature"
    NOT_ONE = "the document carries more than one signature, or carries it in the wrong place"
    PROFILE = "the signature is not made in the DUIS profile"
    DIGEST = "the document was changed after it was signed"
    SIGNATURE = "the signature value does not belong to the certificate's key"
    UNKNOWN_CERTIFICATE = "no certificate with this issuer and serial number is known"
    WRONG_CERTIFICATE = "the certificate found is not the one that the signature names"
    WRONG_KEY = "the certificate's key is not a P-256 key"
    NOT_VALID_NOW = "the certificate is not valid at this time"
    WRONG_SIGNER = "the certificate belongs to another party than the one that must sign"
    WRONG_ROLE = "the certificate's role may not sign this kind of document"


class SignatureRefused(DuisError):
    """The XML signature was not accepted; nothing of the document may be used."""

    def __init__(self, reason: SignatureReason, detail: str = "") -> None:
        super().__init__("the XML signature was not accepted; nothing of the document may be used")
        self.reason = reason
        self.detail = detail


class CorrelationRefused(DuisError):
    """The document is no answer to the request it should answer; do not sign and ask the DCC again."""


class TransformError(DuisError):
    """No GBCS message can be built from this request for this device; the text says which fact is missing or wrong."""
