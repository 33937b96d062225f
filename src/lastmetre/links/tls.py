"""Mutual TLS: who is at the other end of a socket, told by its certificate alone.

Rules this module keeps:

* TLS 1.2 or newer, ephemeral P-256, no compression, no session tickets: every connection shows its certificate afresh.
* Both sides show a certificate of the pinned CA. A name in a header, a path or a body never says who somebody is.
* A certificate names one entity: its subject has exactly one common name, 16 lower-case hexadecimal digits.

uvicorn does not hand the peer's certificate to the application (reference: stack, API row), so ``http_server`` runs it
with a protocol class that does: ``request_peer(scope)`` is the only way an application here learns who is asking. An
agent needs this module and no web server.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from lastmetre.links.errors import LinkError, PeerRefused

if TYPE_CHECKING:
    from pathlib import Path

Scope = MutableMapping[str, Any]  # Any: what ASGI says a scope holds
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CIPHERS_TLS_1_2: Final = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
"""What TLS 1.2 may use: forward secret, authenticated, with an ECDSA certificate. TLS 1.3's suites all are."""
CURVE: Final = "prime256v1"
"""P-256, the curve of the whole smart metering PKI."""
PEER_KEY: Final = "lastmetre.peer_entity_id"
"""Where the verified identity stands in an ASGI scope's ``extensions``."""

_ENTITY_ID = re.compile(r"[0-9a-f]{16}")


def server_context(ca: Path, certificate: Path, key: Path, passphrase: bytes | None = None) -> ssl.SSLContext:
    """A server that talks only to holders of a certificate issued by ``ca``."""
    return _context(ssl.PROTOCOL_TLS_SERVER, ca, certificate, key, passphrase)


def client_context(ca: Path, certificate: Path, key: Path, passphrase: bytes | None = None) -> ssl.SSLContext:
    """A client that shows ``certificate`` and talks only to a server whose name and issuer are right."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, ca, certificate, key, passphrase)


def _context(protocol: int, ca: Path, certificate: Path, key: Path, passphrase: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_ciphers(CIPHERS_TLS_1_2)
    context.set_ecdh_curve(CURVE)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    try:
        context.load_verify_locations(cafile=ca)
        # Without a passphrase an empty one is given: OpenSSL would otherwise ask for it at the terminal, and wait.
        context.load_cert_chain(certificate, key, passphrase or b"")
    except OSError as error:  # ssl.SSLError is one
        remedy = "make them anew, or name the passphrase file of an encrypted key"
        raise LinkError(f"cannot use the TLS files {ca}, {certificate}, {key}: {error}; {remedy}") from error
    return context


def peer_entity_id(ssl_object: object) -> bytes:
    """The entity that the verified certificate at the other end names; raises ``PeerRefused``.

    Takes an ``ssl.SSLObject`` or ``ssl.SSLSocket`` (``transport.get_extra_info("ssl_object")``). An unverified
    certificate counts as none.
    """
    if not isinstance(ssl_object, ssl.SSLObject | ssl.SSLSocket):
        raise PeerRefused("this connection is not TLS; nobody has shown a certificate")
    if ssl_object.context.verify_mode is not ssl.CERT_REQUIRED:
        raise PeerRefused("this connection does not verify certificates; use the contexts of lastmetre.links.tls")
    certificate = ssl_object.getpeercert() or {}
    subject: Any = certificate.get("subject", ())  # Any: nested tuples, as the library documents them
    names = [str(value) for part in subject for kind, value in part if kind == "commonName"]
    if len(names) != 1 or not _ENTITY_ID.fullmatch(names[0]):
        raise PeerRefused("the certificate's common name is not one entity identifier of 16 lower-case hex digits")
    return bytes.fromhex(names[0])


def require_peer(ssl_object: object, expected: bytes) -> None:
    """Refuse to go on unless the other end is ``expected``; raises ``PeerRefused``."""
    actual = peer_entity_id(ssl_object)
    if actual != expected:
        raise PeerRefused(f"the other side is {actual.hex()}, not {expected.hex()}; check the address in the settings")


def request_peer(scope: Mapping[str, Any]) -> bytes:
    """The verified entity behind an ASGI request that ``http_server.serve`` took; raises ``PeerRefused``."""
    peer = scope.get("extensions", {}).get(PEER_KEY)
    if not isinstance(peer, bytes):
        raise PeerRefused("the request came without a client certificate that names an entity")
    return peer
