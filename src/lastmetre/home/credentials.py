"""Who a meter trusts, and how that changes: reading cells (CS02a, CS02f), replacing certificates (CS02b, CS02g).

Rules kept here (reference: gbcs-messages 4.4, 9.3, 12.1; transform B6; threats T10):

* Who may replace whose certificates is the table ``MODES``; a Command that says otherwise is refused whole.
* A certificate takes its cell only below an authority the meter already trusts, for the cell's own role and use. One
  that fails leaves its cell as it was, and says so; the others count (as the published Responses have it).
* Time checks apply unless the Command waives them. A meter whose clock was never set cannot apply them (DESIGN CHOICE).
* A counter floor of a role counts only when no cell of that role failed, and never below what was accepted from a key
  that stays: else what that key signed before could be said again (DESIGN CHOICE; the Response repeats what was asked).
* A new root takes the place of the old only with a link to it: a certificate in the path that an authority of the
  device made for the new root's own name and key. How the field proves one is not public (DESIGN CHOICE).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    KEY_USAGE_KEY_CERT_SIGN,
    CellId,
    CellUsage,
    CredentialsDetails,
    CredentialsQuery,
    CredentialStatus,
    HeldCredential,
    Replacement,
    ReplacementOutcome,
    RoleCounter,
    RoleCredentials,
    UpdateCredentials,
    UpdateOutcome,
)
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import (
    Certificate,
    CertificateRefused,
    CertificateRule,
    Usage,
    check_period,
    check_signed_by,
    parse_certificate,
)
from lastmetre.gbcs.counters import CounterState
from lastmetre.gbcs.keys import KeyUse
from lastmetre.home.own_memory import AnchorCell, OwnMemory

if TYPE_CHECKING:
    from collections.abc import Mapping

S = TypeVar("S", bound=OwnMemory)


@dataclass(frozen=True, slots=True)
class Mode:
    """One row: the message code, who authorises, and whose cells may change."""

    message_code: int
    authority: Role
    targets: frozenset[Role]


_EVERYBODY: Final = frozenset(Role) - {Role.ISSUING_AUTHORITY}
MODES: Final[Mapping[int, Mode]] = {
    0: Mode(0x0100, Role.SUPPLIER, frozenset({Role.ROOT})),
    1: Mode(0x0101, Role.WAN_PROVIDER, frozenset({Role.ROOT})),
    2: Mode(0x0102, Role.SUPPLIER, frozenset({Role.SUPPLIER})),
    3: Mode(0x0103, Role.NETWORK_OPERATOR, frozenset({Role.NETWORK_OPERATOR})),
    4: Mode(0x0104, Role.ACCESS_CONTROL_BROKER, frozenset({Role.ACCESS_CONTROL_BROKER})),
    5: Mode(0x0105, Role.WAN_PROVIDER, frozenset({Role.WAN_PROVIDER})),
    6: Mode(0x0106, Role.TRANSITIONAL_COS, frozenset({Role.TRANSITIONAL_COS})),
    7: Mode(0x0107, Role.TRANSITIONAL_COS, frozenset({Role.SUPPLIER})),
    8: Mode(0x0108, Role.RECOVERY, _EVERYBODY - {Role.ROOT}),
    9: Mode(0x0109, Role.RECOVERY, _EVERYBODY),
    10: Mode(0x0125, Role.LOAD_CONTROLLER, frozenset({Role.LOAD_CONTROLLER})),
    11: Mode(0x0126, Role.SUPPLIER, frozenset({Role.LOAD_CONTROLLER})),
}
"""Section 9.2 with transform B6. That contingency (9) speaks with the recovery key is an INFERENCE."""

RECOVERY: Final = 8
"""The one mode whose floor is for the authority itself and not only for the replaced (published messages)."""

_CELL_ORDER: Final = (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT, KeyUse.PREPAYMENT)
_NO_ID: Final = bytes(8)
TIME_CHECKS_WAIVED: Final = 1
_CONTROLLER_MODES: Final = frozenset({10, 11})


def cell_of(cell: CellId) -> tuple[Role, KeyUse] | None:
    """A cell as the meter keeps them; ``None`` for one that no meter has."""
    if cell.key_usage == KEY_USAGE_DIGITAL_SIGNATURE and cell.cell_usage == CellUsage.MANAGEMENT:
        use = KeyUse.DIGITAL_SIGNATURE
    elif cell.key_usage == KEY_USAGE_KEY_AGREEMENT:
        use = KeyUse.PREPAYMENT if cell.cell_usage == CellUsage.PREPAYMENT_TOP_UP else KeyUse.KEY_AGREEMENT
    else:
        return None
    return (Role(cell.role), use) if cell.role in set(Role) else None


def current_authorities(made_with: tuple[Certificate, ...], state: OwnMemory) -> tuple[Certificate, ...]:
    """The roots of now: the one a Command put in, else those the device was made with."""
    return tuple(parse_certificate(each) for each in state.authorities) or made_with


def current_anchors(
    made_with: Mapping[tuple[Role, KeyUse], Certificate], state: OwnMemory
) -> dict[tuple[Role, KeyUse], Certificate]:
    """The cells of now: those it was made with, but for what was replaced."""
    anchors = dict(made_with)
    for cell in state.cells:
        anchors[Role(cell.role), KeyUse(cell.use)] = parse_certificate(cell.certificate)
    return anchors


# --- CS02a, CS02f ----------------------------------------------------------------------------------------------------


def details(
    query: CredentialsQuery,
    anchors: Mapping[tuple[Role, KeyUse], Certificate],
    counters: CounterState,
    faults: Mapping[int, int],
) -> CredentialsDetails:
    """What is held for each role asked about, in that order."""
    roles = []
    for place, wanted in enumerate(query.wanted):
        held = [
            (use, anchors[role, use])
            for role in Role
            if role == wanted
            for use in _CELL_ORDER
            if (role, use) in anchors
        ]
        if place in faults or not held:
            roles.append(RoleCredentials(wanted, faults.get(place, CredentialStatus.TRUST_ANCHOR_NOT_FOUND)))
            continue
        cells = tuple(
            HeldCredential(
                KEY_USAGE_DIGITAL_SIGNATURE if use is KeyUse.DIGITAL_SIGNATURE else KEY_USAGE_KEY_AGREEMENT,
                CellUsage.PREPAYMENT_TOP_UP if use is KeyUse.PREPAYMENT else CellUsage.MANAGEMENT,
                certificate.entity_id or _NO_ID,
                certificate.subject_key_id,
            )
            for use, certificate in held
        )
        roles.append(RoleCredentials(wanted, CredentialStatus.SUCCESS, counters.high_water(Role(wanted)), cells))
    return CredentialsDetails(tuple(roles))


# --- CS02b, CS02g ----------------------------------------------------------------------------------------------------


def belongs(update: UpdateCredentials, message_code: int, role: Role, counter: int) -> bool:
    """Whether an update is what its message code, its originator and its counter say it is."""
    control = update.control
    mode = MODES.get(control.mode)
    if mode is None or mode.message_code != message_code or mode.authority is not role:
        return False
    if control.authorising_counter != counter or control.plaintext_symmetric_key is not None:
        return False
    # Whose cells it may not replace, their counters it may not touch either.
    if not all(any(change.role == role for role in mode.targets) for change in control.other_changes or ()):
        return False
    if control.new_floor is not None and control.mode != RECOVERY and mode.authority not in mode.targets:
        return False
    authorising = control.authorising_cell
    expected = (mode.authority, KeyUse.DIGITAL_SIGNATURE)
    if authorising is None:
        by_mac = mode.authority is Role.ACCESS_CONTROL_BROKER
        return by_mac and all(_target_allowed(each.target, mode) for each in update.replacements)
    return cell_of(authorising) == expected and all(_target_allowed(each.target, mode) for each in update.replacements)


def _target_allowed(target: CellId, mode: Mode) -> bool:
    return any(target.role == role for role in mode.targets)


@dataclass(frozen=True, slots=True)
class Trust:
    """What the meter trusts while it judges an update. ``at`` is ``None`` when its clock was never set."""

    anchors: Mapping[tuple[Role, KeyUse], Certificate]
    authorities: tuple[Certificate, ...]
    at: int | None


def update_credentials(
    state: S, update: UpdateCredentials, trust: Trust, faults: Mapping[int, int]
) -> tuple[S, UpdateOutcome]:
    """Replace what can be replaced; the outcome names every cell, and what was asked of the counters."""
    outcomes = []
    failed: set[int] = set()
    kept: set[int] = set()
    for place, replacement in enumerate(update.replacements):
        if _is_root(replacement.target):
            state, trust, outcome = _replace_root(state, replacement, update, trust, faults.get(place))
            outcomes.append(outcome)
            if outcome.status:
                failed.add(replacement.target.role)
            continue
        target = cell_of(replacement.target)
        old = trust.anchors.get(target) if target is not None else None
        status = faults.get(place)
        new: Certificate | None = None
        if status is None:
            status, new = _judge(replacement.certificate, target, update, trust)
        if new is None or target is None:
            failed.add(replacement.target.role)
        else:
            state = _with_cell(state, target, new)
            if old is not None and old.subject_key_id == new.subject_key_id:
                kept.add(replacement.target.role)
        old_ids = _ids(old)
        outcomes.append(ReplacementOutcome(replacement.target, status, *old_ids, *(_ids(new) if new else old_ids)))
    changes = _asked_changes(update)
    for change in changes:
        if change.role not in failed:
            state = replace(state, counters=_with_floor(state.counters, change, keep=change.role in kept))
    control = update.control
    return state, UpdateOutcome(control.authorising_counter, control.mode, changes, tuple(outcomes))


def _is_root(cell: CellId) -> bool:
    return (
        cell.role == Role.ROOT and cell.key_usage == KEY_USAGE_KEY_CERT_SIGN and cell.cell_usage == CellUsage.MANAGEMENT
    )


def _replace_root(
    state: S, replacement: Replacement, update: UpdateCredentials, trust: Trust, fault: int | None
) -> tuple[S, Trust, ReplacementOutcome]:
    """Put a new root in the place of the old; what else the Command brings is then judged below the new one."""
    old = trust.authorities[0] if trust.authorities else None
    status, new = (fault, None) if fault is not None else _judge_root(replacement.certificate, update, trust)
    ids = _ids(new or old)
    outcome = ReplacementOutcome(replacement.target, status, *_ids(old), *ids)
    if new is None:
        return state, trust, outcome
    return replace(state, authorities=(new.der,)), replace(trust, authorities=(new,)), outcome


def _judge_root(der: bytes, update: UpdateCredentials, trust: Trust) -> tuple[int, Certificate | None]:
    try:
        root = parse_certificate(der)
        path = [parse_certificate(each) for each in update.path]
        if root.usage is not Usage.CERT_SIGN or root.role is not Role.ROOT:
            return CredentialStatus.BAD_CERTIFICATE, None
        check_signed_by(root, root)
    except CertificateRefused:
        return CredentialStatus.BAD_CERTIFICATE, None
    if root in trust.authorities:
        return CredentialStatus.SUCCESS, root
    links = [each for each in path if each.subject_name == root.subject_name and _same_key(each, root)]
    for link in links:
        try:
            _check_chain(link, [each for each in path if each != link], update, trust)
        except CertificateRefused:
            continue
        return CredentialStatus.SUCCESS, root
    return CredentialStatus.NO_TRUST_ANCHOR, None


def _same_key(one: Certificate, other: Certificate) -> bool:
    return one.public_key.public_numbers() == other.public_key.public_numbers()


def _ids(certificate: Certificate | None) -> tuple[bytes, bytes]:
    if certificate is None:
        return _NO_ID, _NO_ID
    return certificate.entity_id or _NO_ID, certificate.subject_key_id


def _judge(
    der: bytes, target: tuple[Role, KeyUse] | None, update: UpdateCredentials, trust: Trust
) -> tuple[int, Certificate | None]:
    if target is None or target not in trust.anchors:
        return CredentialStatus.TRUST_ANCHOR_NOT_FOUND, None
    role, use = target
    wanted = Usage.DIGITAL_SIGNATURE if use is KeyUse.DIGITAL_SIGNATURE else Usage.KEY_AGREEMENT
    try:
        certificate = parse_certificate(der)
        path = [parse_certificate(each) for each in update.path]
    except CertificateRefused:
        return CredentialStatus.BAD_CERTIFICATE, None
    if certificate.usage is not wanted or (certificate.role is not role and not _lends(update, certificate)):
        return CredentialStatus.BAD_CERTIFICATE, None
    try:
        _check_chain(certificate, path, update, trust)
    except CertificateRefused:
        return CredentialStatus.NO_TRUST_ANCHOR, None
    return CredentialStatus.SUCCESS, certificate


def _lends(update: UpdateCredentials, certificate: Certificate) -> bool:
    """A supplier's certificate may go into the load controller's cell (seen in the published messages)."""
    return update.control.mode in _CONTROLLER_MODES and certificate.role is Role.SUPPLIER


def _check_chain(certificate: Certificate, path: list[Certificate], update: UpdateCredentials, trust: Trust) -> None:
    """Leaf, then issuing authorities of the message or the meter, up to an authority of the meter's own."""
    at = None if update.control.apply_time_checks == TIME_CHECKS_WAIVED else trust.at
    current = certificate
    for _ in range(len(path) + 2):
        if at is not None:
            check_period(current, dt.datetime.fromtimestamp(at, dt.UTC))
        if current in trust.authorities:
            return
        issuer = _issuer_of(current, [*trust.authorities, *path])
        check_signed_by(current, issuer)
        current = issuer
    raise CertificateRefused(CertificateRule.NOT_A_ROOT, "its path leads to no authority of this device")


def _issuer_of(certificate: Certificate, candidates: list[Certificate]) -> Certificate:
    for candidate in candidates:
        if (
            candidate.usage is Usage.CERT_SIGN
            and candidate.subject_name == certificate.issuer_name
            and candidate != certificate
        ):
            return candidate
    raise CertificateRefused(CertificateRule.NOT_A_ROOT, "its issuer is not in the path")


def _with_cell(state: S, target: tuple[Role, KeyUse], certificate: Certificate) -> S:
    role, use = target
    others = tuple(cell for cell in state.cells if (cell.role, cell.use) != (int(role), use.value))
    return replace(state, cells=(*others, AnchorCell(int(role), use.value, certificate.der)))


def _asked_changes(update: UpdateCredentials) -> tuple[RoleCounter, ...]:
    control = update.control
    changes: tuple[RoleCounter, ...] = ()
    if control.new_floor is not None:
        changes = (RoleCounter(int(MODES[control.mode].authority), control.new_floor, control.new_specialist_floor),)
    return (*changes, *(control.other_changes or ()))


def _with_floor(counters: CounterState, change: RoleCounter, *, keep: bool) -> CounterState:
    role = Role(change.role)
    marks = dict(counters.ordinary)
    marks[role] = max(change.floor, marks.get(role, 0)) if keep else change.floor
    cache = counters.utrn_cache
    for specialist in change.specialist or ():
        floor = specialist.counter >> 32
        if not keep:
            cache = (floor,) if floor else ()
    return CounterState(tuple(sorted(marks.items())), cache)
