"""Private keys in a hardware security module, by PKCS#11: what is asked of them leaves it, they themselves never do.

Rules this module keeps (docs/decisions/0007):

* A key is asked for two things, both done in the token: ECDH on P-256 with a public key, and an ECDSA signature over a
  SHA-256 digest. A ``TokenKey`` is an ``EllipticCurvePrivateKey`` to everything that signs and agrees, so no other room
  knows where a key is; what would show the key (``private_bytes``, ``private_numbers``) raises ``KeyStoreError``.
* A token key that could be taken out (``CKA_EXTRACTABLE``) or read (not ``CKA_SENSITIVE``) is refused.
* What ECDH yields leaves the token, since GBCS's key derivation is none that PKCS#11 knows. It is a secret of one pair
  of parties, not the key: it goes into ``gbcs.keys.SharedSecret`` at once, and its session object is destroyed.
* A session that the token dropped is opened again, once for each thing asked; a key that is gone is not replaced.
* The PIN comes from a file that nobody else may read, or from the environment; it is never shown.

A signature made in a token is not deterministic (RFC 6979 is not in PKCS#11): the token's own randomness makes it.

Objects are named as the files are (``<entity id>-<use>``, ``xml-sign-<entity id>-ds``): private and public key of a
pair have the same label. ``python-pkcs11`` (the extra ``hsm``) is imported when a token is first opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.keys import POINT_SIZE, KeyUse, load_point, public_point
from lastmetre.links.keystore import KeyStoreError, key_file_name, xml_file_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

    from pkcs11 import PrivateKey, Session

Asked = TypeVar("Asked")

PIN_VARIABLE: Final = "LASTMETRE_HSM_PIN"
PIN_OCTETS_MAX: Final = 255
SECRET_SIZE: Final = 32
_POINT_HEADER: Final = bytes((0x04, POINT_SIZE))
"""PKCS#11 keeps a point as a DER octet string."""
_STAYS: Final = "a key in a token does not leave it"


def label_of(file_name: str) -> str:
    """What a pair is called in a token, from the name of its file."""
    return file_name.removesuffix(".pem")


def read_pin(pin_file: Path | None) -> str:
    """The token's PIN: the first line of a file that only its owner reads, or ``LASTMETRE_HSM_PIN``."""
    if pin_file is None:
        pin = os.environ.get(PIN_VARIABLE, "")
        if not pin:
            raise KeyStoreError(f"the token's PIN is needed: name a pin_file, or set {PIN_VARIABLE}")
        return pin
    try:
        if pin_file.stat().st_mode & 0o077:
            raise KeyStoreError(f"{pin_file} can be read by others; run chmod 600 on it")
        with pin_file.open(encoding="utf-8") as file:
            pin = file.readline(PIN_OCTETS_MAX + 1).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyStoreError(f"cannot read the PIN file {pin_file}: {error}") from error
    if not pin:
        raise KeyStoreError(f"{pin_file} holds no PIN in its first line")
    return pin


class TokenKeys:
    """The private keys in one token, by entity and use, as ``keystore.KeyDirectory`` has those on disk."""

    def __init__(self, module: Path, token: str, pin: str) -> None:
        """``module`` is the HSM's PKCS#11 library; ``token`` the label of one of its tokens. Logs in."""
        self._module = module
        self._token = token
        self._pin = pin
        self._lock = threading.RLock()  # a session does one thing at a time
        self._found: dict[str, TokenKey] = {}
        self._session: Session | None = None
        self._handles: dict[str, PrivateKey] = {}
        _library(module)
        self.ask(lambda _session: None)

    def __repr__(self) -> str:
        return f"TokenKeys({self._token!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Log out."""
        with self._lock:
            self._drop()

    def find(self, entity_id: bytes, use: KeyUse) -> TokenKey | None:
        """The key, or ``None`` when the token has none of this name."""
        return self._find(label_of(key_file_name(entity_id, use)))

    def find_xml_signing_key(self, entity_id: bytes) -> TokenKey | None:
        """The key with which an entity signs DUIS documents, where the token has one."""
        return self._find(label_of(xml_file_name(entity_id)))

    def _find(self, label: str) -> TokenKey | None:
        with self._lock:
            if label not in self._found:
                public_key = self.ask(lambda session: _public_key(session, label))
                if public_key is None:
                    return None
                self._found[label] = TokenKey(self, label, public_key)
            return self._found[label]

    def add(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        """Put a pair into the token for good: readable by nobody, not extractable. Refused when the name is taken."""
        label = label_of(name)
        if self._find(label) is not None:
            raise KeyStoreError(f"the token {self._token} has a key {label} already; it is not replaced")
        self.ask(lambda session: _create(session, label, key))

    def ask(self, question: Callable[[Session], Asked]) -> Asked:
        """Ask the token something, in a new session when it dropped the old; ``KeyStoreError`` when it will not."""
        from pkcs11.exceptions import DeviceRemoved, PKCS11Error, SessionClosed, SessionHandleInvalid, UserNotLoggedIn

        with self._lock:
            try:
                try:
                    return question(self._open())
                except (SessionHandleInvalid, SessionClosed, UserNotLoggedIn, DeviceRemoved):
                    self._drop()
                    return question(self._open())
            except PKCS11Error as error:
                self._drop()
                said = str(error) or type(error).__name__
                raise KeyStoreError(f"the token {self._token} of {self._module} refused: {said}") from error

    def ask_key(self, label: str, question: Callable[[PrivateKey], Asked]) -> Asked:
        """As ``ask``, of a private key; its handle is good for as long as the session is."""

        def asked(session: Session) -> Asked:
            if label not in self._handles:
                self._handles[label] = _private_key(session, label)
            return question(self._handles[label])

        return self.ask(asked)

    def _open(self) -> Session:
        from pkcs11.exceptions import UserAlreadyLoggedIn

        if self._session is None:
            token = _library(self._module).get_token(token_label=self._token)
            try:
                self._session = token.open(rw=True, user_pin=self._pin)
            except UserAlreadyLoggedIn:  # a process is logged in to a token as a whole
                self._session = token.open(rw=True)
        session: Session = self._session
        return session

    def _drop(self) -> None:
        from pkcs11.exceptions import PKCS11Error

        session, self._session = self._session, None
        self._handles.clear()
        if session is not None:
            with contextlib.suppress(PKCS11Error):  # it may be gone already: that is why we drop it
                session.close()


class TokenKey(ec.EllipticCurvePrivateKey):
    """One private key in a token: it agrees and signs, and cannot be seen."""

    def __init__(self, keys: TokenKeys, label: str, public_key: ec.EllipticCurvePublicKey) -> None:
        self._keys = keys
        self._label = label
        self._public_key = public_key

    def __repr__(self) -> str:
        return f"TokenKey({self._label!r})"

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:  # noqa: ARG002 - ECDH is all there is
        """Agree with another party's public key, in the token."""
        point = public_point(peer_public_key)
        return self._keys.ask_key(self._label, lambda key: _derive(key, point))

    def sign(
        self,
        data: bytes,  # type: ignore[override]  # the library takes any buffer; all our callers have bytes
        signature_algorithm: ec.EllipticCurveSignatureAlgorithm,
    ) -> bytes:
        """Sign the SHA-256 digest of ``data``, in the token; DER, as the library's own keys give it."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise KeyStoreError("a token key signs SHA-256 digests only, as GBCS and DUIS have them")
        digest = hashlib.sha256(data).digest()
        raw = self._keys.ask_key(self._label, lambda key: _sign(key, digest))
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Its public half."""
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        """NIST P-256."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """256 bits."""
        return self._public_key.key_size

    def private_numbers(self) -> NoReturn:
        """Refused."""
        raise KeyStoreError(_STAYS)

    def private_bytes(self, *_form: object, **_named: object) -> NoReturn:
        """Refused, in whatever form."""
        raise KeyStoreError(_STAYS)

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, _memo: dict[Any, Any]) -> TokenKey:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(_STAYS)


# -- the token's own words -------------------------------------------------------------------------------------------


def _library(module: Path) -> Any:  # Any: the library's own type, imported lazily
    try:
        import pkcs11
    except ImportError as error:
        raise KeyStoreError("keys in an HSM need python-pkcs11: install lastmetre[hsm]") from error
    try:
        return pkcs11.lib(str(module))
    except RuntimeError as error:
        raise KeyStoreError(f"{module} is no PKCS#11 library that opens: {error}") from error


def _public_key(session: Session, label: str) -> ec.EllipticCurvePublicKey | None:
    """The pair's public half; ``None`` without such a pair, an error for one that is not safe where it is."""
    from pkcs11 import Attribute, ObjectClass
    from pkcs11.exceptions import NoSuchKey

    try:
        private = _private_key(session, label)
    except NoSuchKey:
        return None
    if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
        raise KeyStoreError(f"the key {label} could be taken out of its token: make it sensitive and not extractable")
    point = bytes(session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)[Attribute.EC_POINT])
    try:
        return load_point(point.removeprefix(_POINT_HEADER) if len(point) > POINT_SIZE else point)
    except GbcsDecodeError as error:
        raise KeyStoreError(f"the key {label} in the token is not on NIST P-256") from error


def _private_key(session: Session, label: str) -> PrivateKey:
    from pkcs11 import KeyType, ObjectClass

    return session.get_key(object_class=ObjectClass.PRIVATE_KEY, key_type=KeyType.EC, label=label)  # type: ignore[return-value]


def _derive(key: PrivateKey, point: bytes) -> bytes:
    from pkcs11 import KDF, Attribute, KeyType, Mechanism

    secret = key.derive_key(  # type: ignore[attr-defined]
        KeyType.GENERIC_SECRET,
        SECRET_SIZE * 8,
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        store=False,
        template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.TOKEN: False},
    )
    try:
        return bytes(secret[Attribute.VALUE]).rjust(SECRET_SIZE, b"\0")
    finally:
        secret.destroy()


def _sign(key: PrivateKey, digest: bytes) -> bytes:
    from pkcs11 import Mechanism

    return bytes(key.sign(digest, mechanism=Mechanism.ECDSA))  # type: ignore[attr-defined]


def _create(session: Session, label: str, key: ec.EllipticCurvePrivateKey) -> None:
    from pkcs11 import Attribute, KeyType, ObjectClass
    from pkcs11.util.ec import encode_named_curve_parameters

    signs = label.endswith(f"-{KeyUse.DIGITAL_SIGNATURE}")
    common: dict[Attribute, Any] = {
        Attribute.KEY_TYPE: KeyType.EC,
        Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1"),
        Attribute.LABEL: label,
        Attribute.ID: label.encode(),
        Attribute.TOKEN: True,
    }
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    session.create_object(
        common
        | {
            Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            Attribute.VALUE: scalar,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.SIGN: signs,
            Attribute.DERIVE: not signs,
        }
    )
    session.create_object(
        common
        | {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.EC_POINT: _POINT_HEADER + public_point(key.public_key()),
            Attribute.VERIFY: signs,
        }
    )
