"""Whether a certificate may be believed: the whole path from its holder up to a root, and what it is wanted for.

Rules this module keeps (reference: gbcs-messages 2.3; threats T10):

* A path is leaf, issuing authority, root. The root is trusted because the caller hands it in; a message never brings
  its own. Each step is in date, made by the one above, and not revoked.
* Who asks says what for, always: usage, and role or "a device". The identity is compared wherever one is expected.
* The first rule that does not hold is named; nothing is repaired and nothing is assumed.
* Revocation lists are the caller's to fetch: this is told the revoked certificates by issuer and serial number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import (
    Certificate,
    CertificateRefused,
    CertificateRule,
    Usage,
    check_period,
    check_signed_by,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a certificate is wanted for. ``role`` is ``None`` for a device.

    ``entity_id`` is ``None`` when nobody in particular is expected; ``policies`` when not empty: it must state one.
    """

    usage: Usage
    role: Role | None
    entity_id: bytes | None = None
    policies: frozenset[str] = frozenset()


def check_path(
    leaf: Certificate,
    issuing: Certificate,
    root: Certificate,
    *,
    at: dt.datetime,
    purpose: Purpose,
    revoked: AbstractSet[tuple[str, int]] = frozenset(),
) -> None:
    """Whether ``leaf`` serves ``purpose`` at a time, below a trusted root; raises ``CertificateRefused`` if not.

    ``revoked`` holds issuer names (RFC 4514) and serial numbers.
    """
    _check_root(root)
    _check_authority(issuing, Role.ISSUING_AUTHORITY)
    if root.path_length is not None and root.path_length < 1:
        raise CertificateRefused(CertificateRule.PATH_LENGTH, "its root allows no issuing authority below it")
    check_signed_by(issuing, root)
    check_signed_by(leaf, issuing)
    for certificate in (root, issuing, leaf):
        check_period(certificate, at)
        if (certificate.issuer_name, certificate.serial_number) in revoked:
            raise CertificateRefused(CertificateRule.REVOKED, f"the certificate of {certificate.holder} is revoked")
    check_purpose(leaf, purpose)


def check_purpose(certificate: Certificate, purpose: Purpose) -> None:
    """Whether a certificate, if it may be believed, is one for this purpose."""
    if certificate.usage is not purpose.usage:
        words = f"it is for {certificate.usage}, not for {purpose.usage}"
        raise CertificateRefused(CertificateRule.WRONG_USAGE, words)
    if certificate.role is not purpose.role:
        wanted = "a device" if purpose.role is None else f"the role {purpose.role.name}"
        raise CertificateRefused(CertificateRule.WRONG_ROLE, f"it belongs to {certificate.holder}, not to {wanted}")
    if purpose.entity_id is not None and certificate.entity_id != purpose.entity_id:
        words = f"it belongs to {certificate.holder}, not to {purpose.entity_id.hex('-').upper()}"
        raise CertificateRefused(CertificateRule.WRONG_ENTITY, words)
    if purpose.policies and not purpose.policies.intersection(certificate.policies):
        wanted = " or ".join(sorted(purpose.policies))
        raise CertificateRefused(CertificateRule.POLICY, f"it is not under the policy {wanted}")


def _check_root(root: Certificate) -> None:
    _check_authority(root, Role.ROOT)
    try:
        check_signed_by(root, root)
    except CertificateRefused as refusal:
        raise CertificateRefused(
            CertificateRule.NOT_A_ROOT, "the trust anchor is no root: not self-issued"
        ) from refusal


def _check_authority(certificate: Certificate, role: Role) -> None:
    """An issuer says its role in an OU, or has none, as the test PKI's issuer of device certificates."""
    if certificate.usage is not Usage.CERT_SIGN:
        raise CertificateRefused(CertificateRule.ISSUER_USAGE, "its issuer may not sign certificates")
    if certificate.role not in {None, role}:
        words = f"{certificate.holder} is no {role.name.lower().replace('_', ' ')}"
        raise CertificateRefused(CertificateRule.ISSUER_ROLE, words)
