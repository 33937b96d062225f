"""``lastmetre sign``, ``seal`` and ``verify``: a Pre-Command signed, a DF part sealed, a Command judged.

``verify`` goes through the very steps of a device's acceptance (reference: gbcs-messages 12.3). What a device knows and
this program cannot - whose certificates it holds, what it accepted before - is given by options or said to be assumed;
what lacks its key is *not checked*, and a Command of which that is true is never called accepted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.cli.inputs import read_message
from lastmetre.cli.keyrings import Keys, parse_entity_id, shown
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.gbcs.acceptance import Accepted, Reason, Refused, accept_command, command_protection
from lastmetre.gbcs.catalogue import Lane, Protection, Role, UseCase, UseCaseKind, catalogue, use_case
from lastmetre.gbcs.counters import COUNTER_MAX, UTRN_COUNTER_MAX, CounterState
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.keys import KeyUse, SharedSecret, agree, public_point
from lastmetre.gbcs.message import Kind, Message, parse_message
from lastmetre.gbcs.protect import CryptoRefused, seal, sign_pre_command, verify_signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate

HOLDS, FAILS, OPEN, ASSUMED = "holds", "does not hold", "not checked", "assumed"


def _read(argument: str) -> tuple[bytes, Message]:
    data = read_message(argument)
    try:
        return data, parse_message(data)
    except GbcsDecodeError as error:
        raise ProblemError(f"this is no GBCS message: {error}") from error


# --- sign and seal ---------------------------------------------------------------------------------------------------


def run_sign(argument: str, *, keys: Path, certificates: Path | None, passphrase_file: Path | None) -> None:
    """Print the Signed Pre-Command; raises ``ProblemError`` for what is none or lacks its key."""
    data, message = _read(argument)
    signer = message.header.business_originator_id
    store = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file)
    key = store.private_key(signer, KeyUse.DIGITAL_SIGNATURE)
    if key is None:
        raise ProblemError(f"--keys holds no ds key of {shown(signer)}, the Business Originator who must sign")
    certificate = store.certificate(signer, KeyUse.DIGITAL_SIGNATURE)
    if certificate is not None and public_point(certificate.public_key) != public_point(key.public_key()):
        raise ProblemError(f"the ds key of {shown(signer)} does not belong to the certificate in --certificates")
    try:
        print(sign_pre_command(data, key).hex())
    except GbcsValueError as error:
        raise ProblemError(f"{error}; this is a {_kind_words(message)}") from error


def run_seal(
    argument: str, *, keys: Path, certificates: Path, broker: str | None, passphrase_file: Path | None
) -> None:
    """Print the Command; raises ``ProblemError`` for what cannot be sealed or lacks its keys."""
    data, message = _read(argument)
    if message.signature is None:
        raise ProblemError(
            "this Pre-Command has no signature field; sign it first, or add 00 where its use case needs no signature"
        )
    if message.mac is not None or message.kind is not Kind.COMMAND:
        raise ProblemError(f"only the DF part of a Command is sealed; this is a {_kind_words(message)}")
    target = message.header.business_target_id
    store = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file)
    certificate = store.certificate(target, KeyUse.KEY_AGREEMENT)
    if certificate is None:
        raise ProblemError(f"--certificates holds no ka certificate of {shown(target)}, the Business Target")
    print(seal(data, agree(_broker_key(store, broker), certificate.public_key)).hex())


def _broker_key(store: Keys, broker: str | None) -> ec.EllipticCurvePrivateKey:
    """The key agreement key of the access control broker: the one named, or the only one whose key is at hand."""
    if broker is not None:
        named = [parse_entity_id(broker, "--broker")]
    else:
        named = list(store.ring.entities_in_role(Role.ACCESS_CONTROL_BROKER))
    found = [key for entity_id in named if (key := store.private_key(entity_id, KeyUse.KEY_AGREEMENT)) is not None]
    if len(found) != 1:
        raise ProblemError(
            f"--keys and --certificates hold the ka pair of {len(found)} access control brokers, not of one; "
            "name one with --broker, and give its key"
        )
    return found[0]


def _kind_words(message: Message) -> str:
    form = "" if message.kind is Kind.PRE_COMMAND else ", signed" if message.signature else ", without signature"
    return f"{message.kind.value}{form}{'' if message.mac is None else ', sealed with a MAC'}"


# --- verify ----------------------------------------------------------------------------------------------------------


class _KeyMissing(Exception):
    """No private key at hand makes the secret of the MAC."""


@dataclass(frozen=True, slots=True)
class ShownDevice:
    """A device as the options describe it: what ``accept_command`` asks for."""

    entity_id: bytes
    device_type: str
    trust_anchors: Mapping[tuple[Role, KeyUse], Certificate]
    counters: CounterState
    store: Keys

    @property
    def supported(self) -> frozenset[int]:
        """Every Command the catalogue has for this type of device."""
        rows = catalogue().values()
        return frozenset(
            row.message_code for row in rows if row.kind is UseCaseKind.COMMAND and self.device_type in row.devices
        )

    def agree(self, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """With the device's own key, or else with the broker's: both make the same secret."""
        own = self.store.private_key(self.entity_id, KeyUse.KEY_AGREEMENT)
        if own is not None:
            return agree(own, public_key)
        certificate = self.store.certificate(self.entity_id, KeyUse.KEY_AGREEMENT)
        broker = self.trust_anchors[Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT]
        assert broker.entity_id is not None
        theirs = self.store.private_key(broker.entity_id, KeyUse.KEY_AGREEMENT)
        if theirs is None or certificate is None:
            raise _KeyMissing
        return agree(theirs, certificate.public_key)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of acceptance and what became of it."""

    name: str
    state: str
    words: str = ""


_NAMES: Final = {
    Reason.MALFORMED: "envelope",
    Reason.NOT_A_COMMAND: "envelope",
    Reason.OTHER_TARGET: "target",
    Reason.NO_AUTHORITY: "originator",
    Reason.COUNTER_USED: "counter",
    Reason.UTRN_COUNTER_USED: "counter",
    Reason.WRONG_PROTECTION: "protection",
    Reason.MAC_REFUSED: "MAC",
    Reason.SIGNATURE_REFUSED: "signature",
    Reason.NOT_SUPPORTED: "use case",
    Reason.CONTENT_REFUSED: "content",
}
_ORDER: Final = tuple(dict.fromkeys(_NAMES.values()))


def run_verify(
    argument: str, *, keys: Path | None, certificates: Path, passphrase_file: Path | None, device: str | None,
    device_type: str | None, trust: Sequence[str], highest_counter: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Judge a Command, print each step, and return the exit status: 0 only for one that would be accepted."""
    data, message = _read(argument)
    if message.kind is not Kind.COMMAND:
        raise ProblemError(f"only a Command is verified so; this is a {_kind_words(message)}: decode gives verdicts")
    store = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file)
    case = use_case(message.header.message_code)
    described = ShownDevice(
        entity_id=message.header.business_target_id if device is None else parse_entity_id(device, "--device"),
        device_type=_device_type(device_type, case),
        trust_anchors=_anchors(store, message, [parse_entity_id(text, "--trust") for text in trust]),
        counters=_counters(store, message, case, highest_counter),
        store=store,
    )
    try:
        outcome: Accepted | Refused | None = accept_command(data, described)
    except _KeyMissing:
        outcome = None
    steps = _steps(message, described, outcome, _missing(message, case, described))
    assumed = _assumptions(device=device, device_type=device_type, trust=trust, counter=highest_counter)
    steps = [
        Step(step.name, ASSUMED, assumed[step.name]) if step.state == HOLDS and step.name in assumed else step
        for step in steps
    ]
    refused = any(step.state == FAILS for step in steps)
    verdict = "accepted" if isinstance(outcome, Accepted) else "refused" if refused else "undecided"
    _tell(verdict, steps, described, as_json=as_json)
    return 0 if verdict == "accepted" else EXIT_FAILED


def _device_type(asked: str | None, case: UseCase | None) -> str:
    kinds = sorted({kind for row in catalogue().values() for kind in row.devices})
    if asked is None:
        return min(case.devices) if case is not None and case.devices else "ESME"
    if asked.upper() not in kinds:
        raise ProblemError(f"--device-type {asked}: those are {', '.join(kinds)}")
    return asked.upper()


def _anchors(store: Keys, message: Message, trusted: Sequence[bytes]) -> Mapping[tuple[Role, KeyUse], Certificate]:
    """The cells of the device: of those it is said to trust; else of the originator, and of the only broker at hand."""
    cells = {}
    originator = message.header.business_originator_id
    for role in Role:
        found = store.ring.entities_in_role(role)
        if trusted:
            chosen = [entity_id for entity_id in found if entity_id in trusted]
        else:
            alone = role is Role.ACCESS_CONTROL_BROKER and len(found) == 1
            chosen = [entity_id for entity_id in found if alone or entity_id == originator]
        if len(chosen) > 1:
            raise ProblemError(f"a device holds one party in each role; --trust names {len(chosen)} as {role.name}")
        for use in KeyUse:
            certificate = store.certificate(chosen[0], use) if chosen else None
            if certificate is not None and certificate.role is role:
                cells[role, use] = certificate
    return cells


def _counters(store: Keys, message: Message, case: UseCase | None, highest: int | None) -> CounterState:
    """What the device accepted before, as far as said; without, nothing was."""
    if highest is None:
        return CounterState()
    top_up = case is not None and case.lane is Lane.TOP_UP
    limit = UTRN_COUNTER_MAX if top_up else COUNTER_MAX
    if not 0 <= highest <= limit:
        what = "for a top-up a UTRN counter" if top_up else "a counter"
        raise ProblemError(f"--highest-counter {highest}: {what} lies between 0 and {limit}")
    if top_up:
        return CounterState(utrn_cache=(highest,))
    originator = message.header.business_originator_id
    roles = [role for role in Role if originator in store.ring.entities_in_role(role)]
    return CounterState(tuple((role, highest) for role in roles))


def _missing(message: Message, case: UseCase | None, device: ShownDevice) -> dict[str, str]:
    """The steps that cannot be taken with what is at hand, and what would be needed."""
    missing = {}
    originator = message.header.business_originator_id
    cells = {key for key, one in device.trust_anchors.items() if one.entity_id == originator}
    if not cells and not any(device.store.certificate(originator, use) for use in KeyUse):
        missing["originator"] = f"no certificate of {shown(originator)} is at hand"
    role = next((role for role, _ in cells), None)
    protection = command_protection(case, role) if case is not None and role is not None else Protection.MAC
    if protection in {Protection.MAC, Protection.MAC_AND_SIGNATURE}:
        if (Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT) not in device.trust_anchors:
            missing["MAC"] = "the access control broker's ka certificate is not at hand, or several are: use --trust"
        else:
            try:
                device.agree(device.trust_anchors[Role.ACCESS_CONTROL_BROKER, KeyUse.KEY_AGREEMENT].public_key)
            except _KeyMissing:
                needed = "needs the device's own ka private key, or the broker's and the device's ka certificate"
                missing["MAC"] = needed
    signed = protection in {Protection.SIGNATURE, Protection.MAC_AND_SIGNATURE}
    if signed and role is not None and (role, KeyUse.DIGITAL_SIGNATURE) not in cells:
        missing["signature"] = f"no ds certificate of {shown(originator)} is at hand"
    return missing


def _steps(
    message: Message, device: ShownDevice, outcome: Accepted | Refused | None, missing: Mapping[str, str]
) -> list[Step]:
    """Each step with its state. What comes after the step that stopped the device was not reached by it."""
    if isinstance(outcome, Accepted):
        return [Step(name, HOLDS) for name in _ORDER]
    stop = "MAC" if outcome is None else _NAMES[outcome.reason]
    at = _ORDER.index(stop)
    steps = [Step(name, HOLDS) for name in _ORDER[:at]]
    if stop not in missing:
        assert outcome is not None
        detail = f": {outcome.detail}" if outcome.detail else ""
        steps.append(Step(stop, FAILS, f"it {outcome.reason.words}{detail}"))
        return steps + [Step(name, OPEN, "an earlier step does not hold") for name in _ORDER[at + 1 :]]
    steps.append(Step(stop, OPEN, missing[stop]))
    for name in _ORDER[at + 1 :]:
        if name == "signature" and stop == "MAC":
            steps.append(_signature_alone(message, device, missing))
        else:
            steps.append(Step(name, OPEN, missing.get(name, "an earlier step could not be taken")))
    return steps


def _signature_alone(message: Message, device: ShownDevice, missing: Mapping[str, str]) -> Step:
    """The signature by itself, where the MAC before it could not be checked. That it must be there is settled."""
    if "signature" in missing:
        return Step("signature", OPEN, missing["signature"])
    if not message.signature:
        return Step("signature", HOLDS, "its use case needs none")
    originator = message.header.business_originator_id
    for (_, use), certificate in device.trust_anchors.items():
        if use is KeyUse.DIGITAL_SIGNATURE and certificate.entity_id == originator:
            try:
                verify_signature(message, certificate.public_key)
            except CryptoRefused:
                return Step("signature", FAILS, f"it {Reason.SIGNATURE_REFUSED.words}")
    return Step("signature", HOLDS)


def _assumptions(
    *, device: str | None, device_type: str | None, trust: Sequence[str], counter: int | None
) -> dict[str, str]:
    """The steps that hold only because nothing was said against it."""
    assumed = {}
    if device is None:
        assumed["target"] = "the device is the one it is addressed to; say another with --device"
    if not trust:
        assumed["originator"] = "the device holds this party's certificates; say whom it trusts with --trust"
    if counter is None:
        assumed["counter"] = "the device accepted nothing before; say what with --highest-counter"
    if device_type is None:
        assumed["use case"] = "the device is of a type that has this use case; say which with --device-type"
    return assumed


def _tell(verdict: str, steps: Sequence[Step], device: ShownDevice, *, as_json: bool) -> None:
    if as_json:
        listed = [{"step": step.name, "state": step.state, "words": step.words} for step in steps]
        print(json.dumps({"verdict": verdict, "device": device.entity_id.hex(), "steps": listed}, indent=2))
        return
    given = ", given what is assumed" if any(step.state == ASSUMED for step in steps) else ""
    means = {
        "accepted": f"ACCEPTED: {shown(device.entity_id)} would execute this Command{given}",
        "refused": f"REFUSED: {shown(device.entity_id)} would not execute this Command",
        "undecided": "UNDECIDED: not all could be checked with the keys at hand",
    }
    for step in steps:
        print(f"{step.name:<11} {step.state}{': ' if step.words else ''}{step.words}")
    print(means[verdict])
    print("Dates and paths of the certificates were not looked at; a device checks those when it takes them in.")
