"""A device whose only remote Commands are about itself: PPMID and HCALCS (joins, credentials, firmware version).

Rules kept here: the same acceptance as at every device; counter and effect in one step before the Response leaves; a
refused Command changes nothing but the security log and is not answered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.acceptance import Accepted, Reason, Refused, accept_command
from lastmetre.gbcs.asn1 import Asn1, DeviceType, encode_asn1
from lastmetre.gbcs.catalogue import UseCaseKind, catalogue
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.home.own_commands import OwnCommands, generate_key
from lastmetre.home.own_memory import OwnMemory, own_from_store, own_to_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.catalogue import Role
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.counters import CounterState
    from lastmetre.gbcs.keys import KeyUse, SharedSecret
    from lastmetre.home.identity import DeviceIdentity
    from lastmetre.home.ports import DeviceStore, Tell

SECURITY_LOG_MAX: Final = 100
STATE_VERSION: Final = 1


def supported_by(kind: DeviceType) -> frozenset[int]:
    """The Commands of the catalogue that are for a kind of device and about itself."""
    return frozenset(
        code
        for code, case in catalogue().items()
        if kind.name in case.devices and case.kind is UseCaseKind.COMMAND and case.payload == "ASN.1"
    )


@dataclass(frozen=True, slots=True)
class OwnState(OwnMemory):
    """What such a device remembers: the common fields, and what it refused."""

    security_log: tuple[tuple[int, str], ...] = ()
    spoken: int = 0
    """The counter of the last Command it made itself (PCS01, PCS02)."""


class OwnDevice:
    """One PPMID or HCALCS. ``receive`` takes a GBCS message and returns those it sends in answer."""

    def __init__(
        self,
        kind: DeviceType,
        identity: DeviceIdentity,
        store: DeviceStore,
        tell: Tell,
        *,
        new: OwnState,
        partners: Mapping[bytes, Certificate] | None = None,
        faults: Mapping[int, int] | None = None,
        new_key: Callable[[], ec.EllipticCurvePrivateKey] = generate_key,
        clock_set: bool = True,
    ) -> None:
        self._clock_set = clock_set
        self._store = store
        self._tell = tell
        self._own = OwnCommands(identity, kind, new_key, faults or {}, dict(partners or {}))
        self.device_type = kind.name
        self.supported = supported_by(kind)
        saved = store.load()
        self.state = decode_state(saved) if saved is not None else new
        if saved is None:
            store.save(encode_state(new))

    # --- what acceptance asks of a device ---

    @property
    def entity_id(self) -> bytes:
        """The device's identifier."""
        return self._own.made_with.entity_id

    @property
    def trust_anchors(self) -> Mapping[tuple[Role, KeyUse], Certificate]:
        """The certificates it holds now."""
        return self._own.anchors(self.state)

    @property
    def counters(self) -> CounterState:
        """What it accepted before."""
        return self.state.counters

    @property
    def partners(self) -> Mapping[bytes, Certificate]:
        """The devices it is joined with by method C."""
        return self._own.partners_of(self.state)

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """A secret with another party."""
        return self._own.identity(self.state).agree(public_key)

    # --- what reaches it ---

    def receive(self, data: bytes, now: int) -> list[bytes]:
        """Judge one message; execute it once if it is accepted."""
        verdict = accept_command(data, self)
        if isinstance(verdict, Refused):
            return self._refuse(verdict, now)
        if not isinstance(verdict.payload, Asn1) or not self._own.belongs(verdict, verdict.payload.value):
            return self._refuse(Refused(Reason.CONTENT_REFUSED, verdict.message.header), now)
        return [self._execute(verdict, verdict.payload, now)]

    def _execute(self, accepted: Accepted, payload: Asn1, now: int) -> bytes:
        header = accepted.message.header
        identity, anchors = self._own.identity(self.state), self.trust_anchors
        counters = self.state.counters.with_accepted(accepted.role, accepted.use_case.lane, header.originator_counter)
        state, answer, succeeded, _event = self._own.execute(
            replace(self.state, counters=counters), accepted, payload.value, now, clock_set=self._clock_set
        )
        content = encode_asn1(Asn1(answer))
        response = identity.response(accepted, content, date_time_from_unix(now), trust_anchors=anchors)
        self._keep(state)
        self._tell(
            "device_command_accepted",
            device_id=self.entity_id.hex(),
            use_case=accepted.use_case.name,
            originator_counter=header.originator_counter,
            succeeded=succeeded,
        )
        return response

    def _refuse(self, refused: Refused, now: int) -> list[bytes]:
        log = (*self.state.security_log, (now, refused.reason.name))[-SECURITY_LOG_MAX:]
        self._keep(replace(self.state, security_log=log))
        self._tell(
            "device_command_refused",
            device_id=self.entity_id.hex(),
            reason=refused.reason.words,
            reason_code=refused.reason.name,
        )
        return []

    def next_counter(self) -> int:
        """A counter for a Command of its own: kept before it is used, so that no restart brings it again."""
        self._keep(replace(self.state, spoken=self.state.spoken + 1))
        return self.state.spoken

    def _keep(self, state: OwnState) -> None:
        """Save first, then believe it."""
        self._store.save(encode_state(state))
        self.state = state


def hcalcs(
    identity: DeviceIdentity, store: DeviceStore, tell: Tell, *, faults: Mapping[int, int] | None = None
) -> OwnDevice:
    """A load control switch on the HAN."""
    return OwnDevice(DeviceType.HCALCS, identity, store, tell, new=OwnState(), faults=faults)


def encode_state(state: OwnState) -> bytes:
    """JSON, versioned."""
    raw = {
        "version": STATE_VERSION,
        "own": own_to_store(state),
        "security_log": state.security_log,
        "spoken": state.spoken,
    }
    return json.dumps(raw).encode()


def decode_state(data: bytes) -> OwnState:
    """Back from the store; raises ``ValueError`` for a form this version does not know."""
    raw = json.loads(data)
    if raw["version"] != STATE_VERSION:
        raise ValueError(f"device state version {raw['version']} is not {STATE_VERSION}")
    log = tuple((at, reason) for at, reason in raw["security_log"])
    return OwnState(security_log=log, spoken=raw["spoken"], **own_from_store(raw["own"]))
