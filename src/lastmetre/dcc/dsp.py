"""The DSP's front door: one signed document in, one signed document out, everything between in one transaction.

The order, read aloud: read and verify the document; check who asks for what; look whether this very document was
answered before; check its counter; carry it out; keep the answer; only then tell, push and reply.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.access_control import Code, OurCode, ask, check_counter, check_request, moved
from lastmetre.dcc.credentials import UserCertificates, dsp_signer
from lastmetre.dcc.egress import Egress
from lastmetre.dcc.errors import NotADocument, RequestRefused
from lastmetre.dcc.inventory import CERTIFICATE_ROLES
from lastmetre.dcc.ports import KeptReply
from lastmetre.dcc.replies import Replies
from lastmetre.dcc.responses import Responses
from lastmetre.dcc.sealing import Broker
from lastmetre.dcc.transform_service import Done, TransformService
from lastmetre.duis.documents import BodyError, parse_request, read_signed_request
from lastmetre.duis.errors import DuisDecodeError, SignatureRefused
from lastmetre.gbcs.catalogue import Role

if TYPE_CHECKING:
    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.egress import Waits
    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import (
        CertificateStore,
        Clock,
        DspChange,
        DspStore,
        KeyStore,
        Service,
        Tell,
        Users,
        WanDoor,
        XmlIdentities,
    )
    from lastmetre.duis.documents import Request
    from lastmetre.gbcs.certificates import Certificate

SIGNER_ROLES: Final = frozenset(int(role) for role in (*CERTIFICATE_ROLES.values(), Role.XML_SIGN_USER))
"""Certificate roles of which some User may have one; which of them this User has is asked by access control."""


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
    ) -> None:
        """``issuers`` are the authorities whose certificates of Users are believed; ``xml`` are pairs for DUIS."""
        self._dsp_id = dsp_id
        self._inventory = inventory
        self._store = store
        self._tell = tell
        self._clock = clock
        self._replies = Replies(dsp_signer(dsp_id, keys, certificates, xml))
        self._user_certificates = UserCertificates(inventory.users, certificates, issuers, clock, xml)
        broker = Broker(dsp_id, keys, certificates)
        self._transforms = TransformService(broker, self._user_certificates, self._replies)
        self._responses = Responses(
            inventory=inventory, store=store, broker=broker, replies=self._replies, tell=tell, clock=clock
        )
        self.egress = Egress(
            inventory=inventory,
            store=store,
            wan=wan,
            users=users,
            replies=self._replies,
            tell=tell,
            clock=clock,
            waits=waits,
        )

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
        self.egress.poke()

    def hub_disconnected(self, hub_id: bytes) -> None:
        """A hub has gone."""
        self._tell("hub_disconnected", hub_id=hub_id.hex())

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
        asked = ask(verified.request, role, service, caller_id, self._inventory, self._dsp_id, now)
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
            kept = change.reply(str(request_id), asked.stage)
            if kept is not None and kept.digest != digest:
                raise RequestRefused(OurCode.REQUEST_ID_USED, "another document came under this RequestID before")
            if kept is None:
                done = self._do(asked, change)
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
        self._tell(done.event, **({"request_id": str(request_id)} | done.facts))
        return reply

    def _do(self, asked: Asked, change: DspChange) -> Done:
        request_id = asked.request.header.request_id
        marks = change.lane(request_id.originator, request_id.target, asked.lane)
        check_counter(asked, marks)
        change.set_lane(request_id.originator, request_id.target, asked.lane, moved(asked, marks))
        match asked.command_variant:
            case 4:
                return self._transforms.transform(asked, change)
            case 1 | 2 | 3:
                return self._transforms.command(asked, change)
            case 5 | 6 | 7:
                return self._transforms.signed_command(asked, change)
            case _:
                facts = self._responses.take_returned(asked, change)
                return Done(Code.ACKNOWLEDGED, None, "local_response_recorded", facts)

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
