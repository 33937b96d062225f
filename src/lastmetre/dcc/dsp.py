"""The DSP's front door: one signed document in, one signed document out, everything between in one transaction.

The order, read aloud: read and verify the document; check who asks for what; look whether this very document was
answered before; check its counter; hold it if it has to wait; carry it out; keep the answer; only then tell, push and
reply. ``chores`` does what has waited: dates, sequences, decisions, outages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from lastmetre.dcc.access_control import (
    Code,
    OurCode,
    ask,
    check_counter,
    check_request,
    check_sealed,
    check_top_up,
    moved,
)
from lastmetre.dcc.anomalies import AnomalyRules
from lastmetre.dcc.credentials import DeviceCertificates, UserCertificates, dsp_signer
from lastmetre.dcc.egress import Egress
from lastmetre.dcc.errors import NotADocument, RequestRefused
from lastmetre.dcc.holding import Holding, HoldLimits
from lastmetre.dcc.inventory import CERTIFICATE_ROLES, Pending
from lastmetre.dcc.non_device import NonDevice
from lastmetre.dcc.outages import OutageRules, Outages
from lastmetre.dcc.ports import KeptReply, Stage
from lastmetre.dcc.replies import Replies
from lastmetre.dcc.responses import Responses
from lastmetre.dcc.sealing import Broker
from lastmetre.dcc.transform_service import Done, TransformService
from lastmetre.duis.documents import BodyError, parse_request, read_signed_request
from lastmetre.duis.errors import DuisDecodeError, SignatureRefused
from lastmetre.gbcs.catalogue import Lane, Role

if TYPE_CHECKING:
    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.egress import Waits
    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import (
        CertificateStore,
        Clock,
        DspChange,
        DspStore,
        HeldRequest,
        KeyStore,
        Service,
        Tell,
        Users,
        WanDoor,
        XmlIdentities,
    )
    from lastmetre.dcc.transform_service import Luck
    from lastmetre.duis.documents import Request
    from lastmetre.gbcs.certificates import Certificate

LOCAL_RESPONSE: Final = "8.13"

SIGNER_ROLES: Final = frozenset(int(role) for role in (*CERTIFICATE_ROLES.values(), Role.XML_SIGN_USER))
"""Certificate roles of which some User may have one; which of them this User has is asked by access control."""


@dataclass(frozen=True, slots=True)
class DspOptions:
    """What a DSP may have or leave out."""

    rules: AnomalyRules = field(default_factory=AnomalyRules)
    limits: HoldLimits = field(default_factory=HoldLimits)
    outages: OutageRules = field(default_factory=OutageRules)
    change_of_supplier_id: bytes | None = None
    """The change of supplier party, where this DSP's key store holds its keys too (SRV 6.23)."""
    luck: Luck = token_bytes
    """Random octets, for the numbers of SRV 9.1."""


class Dsp:
    """The Data Service Provider (implements ``ports.DuisDoor``). Its state is all in the store."""

    def __init__(
        self,
        *,
        dsp_id: bytes,
        inventory: Inventory,
        keys: KeyStore,
        certificates: CertificateStore,
        issuers: tuple[Certificate, ...],
        store: DspStore,
        wan: WanDoor,
        users: Users,
        tell: Tell,
        clock: Clock,
        waits: Waits | None = None,
        xml: XmlIdentities | None = None,
        options: DspOptions | None = None,
    ) -> None:
        """``issuers`` are the authorities whose certificates of Users are believed; ``xml`` are pairs for DUIS."""
        options = options or DspOptions()
        self._dsp_id = dsp_id
        self.inventory = inventory.copy()
        """The present one: the settings' with what the store kept of changes."""
        self._store = store
        self._tell = tell
        self._clock = clock
        with store.change() as change:
            self.inventory.load(change)
        self._replies = Replies(dsp_signer(dsp_id, keys, certificates, xml))
        self._user_certificates = UserCertificates(inventory.users, certificates, issuers, clock, xml)
        devices = DeviceCertificates(certificates, self.inventory)
        self.broker = Broker(dsp_id, keys, devices)
        cos_id = options.change_of_supplier_id
        cos = None if cos_id is None else Broker(cos_id, keys, devices)
        self._transforms = TransformService(
            self.broker, cos, self._user_certificates, self._replies, options.rules, options.luck
        )
        parts: dict[str, Any] = {  # what all the rest has in common
            "inventory": self.inventory, "store": store, "replies": self._replies, "tell": tell, "clock": clock,
        }  # fmt: skip
        self._responses = Responses(broker=self.broker, **parts)
        self._non_device = NonDevice(self.inventory, self._replies)
        self.holding = Holding(dsp_id=dsp_id, rules=options.rules, limits=options.limits, make=self._make, **parts)
        self._outages = Outages(rules=options.outages, **parts)
        self._rules = options.rules
        self._looked_at: int | None = None
        self.egress = Egress(wan=wan, users=users, waits=waits, chores=self.chores, **parts)

    def chores(self) -> None:
        """Do what its time has come for: dates, sequences, decisions; each second at most, outages and old records."""
        self.holding.work()
        now = self._clock()
        if now == self._looked_at:
            return
        self._looked_at = now
        self._outages.look()
        self._responses.drop_old_blocks()
        if self._rules.volumes:
            with self._store.change() as change:
                change.forget_uses(now - self._rules.longest_window_s)

    async def request(self, service: Service, caller_id: bytes, document: bytes) -> bytes:
        """Answer one document; raises ``NotADocument`` for bytes that are no request."""
        reply = self.answer(service, caller_id, document)
        self.egress.poke()
        return reply

    async def take_from_wan(self, hub_id: bytes, message: bytes) -> None:
        """Take what a hub sent."""
        if self._responses.take_from_wan(hub_id, message):
            self.egress.poke()

    def hub_connected(self, hub_id: bytes) -> None:
        """A hub is there: what waits for it may go."""
        self._tell("hub_connected", hub_id=hub_id.hex())
        self._outages.hub_back(hub_id)
        self.egress.poke()

    def hub_disconnected(self, hub_id: bytes) -> None:
        """A hub has gone."""
        self._tell("hub_disconnected", hub_id=hub_id.hex())
        self._outages.hub_away(hub_id)

    def quarantine(self) -> tuple[HeldRequest, ...]:
        """Requests that wait for a person's decision."""
        return self.holding.quarantine()

    def decide(self, number: int, *, release: bool, person: str, reason: str) -> bool:
        """A person releases or rejects a quarantined request; ``False`` when there is none of that number to decide."""
        taken = self.holding.decide(number, release=release, person=person, reason=reason)
        self.egress.poke()
        return taken

    def answer(self, service: Service, caller_id: bytes, document: bytes) -> bytes:
        """As ``request``, without waking the way out."""
        now = self._clock()
        try:
            verified = read_signed_request(document, self._user_certificates.find, roles=SIGNER_ROLES)
        except BodyError as error:
            return self._refuse(error.request, caller_id, RequestRefused(OurCode.CONTENT, str(error)), now)
        except DuisDecodeError as error:
            self._tell("request_refused", request_id=None, user_id=caller_id.hex(), code=None, reason=str(error))
            raise NotADocument(str(error)) from error
        except SignatureRefused as refused:
            return self._refuse_unverified(document, caller_id, refused, now)
        role = self._user_certificates.role_behind(verified.signer)
        asked = ask(verified.request, role, service, caller_id, self.inventory, self._dsp_id, now)
        try:
            check_request(asked)
            return self._carry_out(asked, document)
        except RequestRefused as refused:
            return self._refuse(verified.request, caller_id, refused, now)
        except DuisDecodeError as error:  # a value inside a verified document, such as a date
            return self._refuse(verified.request, caller_id, RequestRefused(OurCode.CONTENT, str(error)), now)

    def _carry_out(self, asked: Asked, document: bytes) -> bytes:
        request_id, digest = asked.request.header.request_id, hashlib.sha256(document).digest()
        user_id = asked.caller_id.hex()
        with self._store.change() as change:
            pending = Pending(self.inventory, change)
            kept = change.reply(str(request_id), asked.stage)
            if kept is not None and kept.digest != digest:
                raise RequestRefused(OurCode.REQUEST_ID_USED, "another document came under this RequestID before")
            if kept is None:
                done = self._do(asked, change, pending, document)
                reply = self._replies.to_request(asked.request, done.code, asked.at, done.payload)
                change.keep_reply(str(request_id), asked.stage, KeptReply(digest, reply))
        if kept is not None:
            self._tell("request_repeated", request_id=str(request_id), user_id=user_id)
            return kept.reply
        self._tell(
            "request_accepted",
            request_id=str(request_id),
            user_id=user_id,
            service=asked.service.value,
            variant=asked.request.header.service_reference_variant,
            command_variant=asked.command_variant,
        )
        for device in pending.apply():
            self._tell("device_changed", device_id=device.device_id.hex(), status=device.status.value)
        self._tell(done.event, **({"request_id": str(request_id)} | done.facts))
        return reply

    def _do(self, asked: Asked, change: DspChange, pending: Pending, document: bytes) -> Done:
        if asked.row is not None and asked.row.non_device:
            if asked.row.variant != LOCAL_RESPONSE:
                return self._non_device.carry_out(asked, change, pending, document)
            event, facts = self._responses.take_returned(asked, change, pending)
            return Done(Code.ACKNOWLEDGED, None, event, facts)
        request_id = asked.request.header.request_id
        marks = change.lane(request_id.originator, request_id.target, asked.lane)
        if asked.stage is Stage.TRANSFORM:
            check_counter(asked, marks)
            change.set_lane(request_id.originator, request_id.target, asked.lane, moved(asked, marks))
            return self._transforms.transform(asked, change)
        if asked.lane is not Lane.TOP_UP:
            check_counter(asked, marks)
        held = self.holding.hold(asked, change, marks, document)
        return held if held is not None else self._make(asked, change)

    def _make(self, asked: Asked, change: DspChange, dsp_schedule_id: int | None = None) -> Done:
        """The Command, now: its counter is held against what was sealed so far. Raises ``RequestRefused``."""
        request_id = asked.request.header.request_id
        marks = change.lane(request_id.originator, request_id.target, asked.lane)
        if dsp_schedule_id is None:
            if asked.lane is Lane.TOP_UP:
                check_top_up(asked, change.top_ups(request_id.originator, request_id.target))
            else:
                check_sealed(asked, marks)
            change.set_lane(request_id.originator, request_id.target, asked.lane, moved(asked, marks))
        return self._transforms.seal(asked, change, dsp_schedule_id)

    def _refuse(self, request: Request, caller_id: bytes, refused: RequestRefused, now: int) -> bytes:
        self._tell(
            "request_refused",
            request_id=str(request.header.request_id),
            user_id=caller_id.hex(),
            code=refused.code,
            reason=refused.reason,
        )
        return self._replies.to_request(request, refused.code, now)

    def _refuse_unverified(self, document: bytes, caller_id: bytes, refused: SignatureRefused, now: int) -> bytes:
        """Answer a document whose signature failed, to the caller alone, with nothing but its own ids and the code."""
        try:
            request = parse_request(document)
        except BodyError as error:
            request = error.request
        except DuisDecodeError as error:
            raise NotADocument(str(error)) from error
        reason = f"{refused.reason.value}{': ' if refused.detail else ''}{refused.detail}"
        return self._refuse(request, caller_id, RequestRefused(Code.NOT_A_PARTY, reason), now)
