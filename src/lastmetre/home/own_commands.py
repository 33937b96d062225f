"""What every device does about itself on Command: keys, trust anchors, joins, firmware; now or at a time.

One ``OwnCommands`` serves one device, whatever its kind. Rules this module keeps:

* It executes what was accepted; acceptance itself is ``gbcs.acceptance``, asked by the device.
* A Command for later is kept in the place of any of its kind from the same party; a time that has passed is due when
  time next passes (DESIGN CHOICE); ``99991231235959Z`` only takes the waiting one away.
* What becomes of it then is told by its own Alert (00CA, 00CB, 0124), to whoever sent it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from lastmetre.gbcs.asn1 import (
    TIME_NEVER,
    ActivateFirmware,
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    CredentialsQuery,
    DeviceType,
    IssueCredentials,
    Join,
    ProvideDeviceCertificate,
    ReadFirmwareVersion,
    ReadJoinDetails,
    Unjoin,
    UpdateCredentials,
    UpdateCredentialsAlert,
    UpdateCredentialsResponse,
    UpdateDeviceCertificate,
    decode_asn1,
    encode_asn1,
)
from lastmetre.gbcs.certificates import parse_certificate
from lastmetre.gbcs.datetimes import generalized_from_unix, generalized_moment
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import Cra, OtherInformation
from lastmetre.home import device_commands
from lastmetre.home.credentials import Trust, current_anchors, current_authorities, details, update_credentials
from lastmetre.home.credentials import belongs as update_belongs
from lastmetre.home.own_memory import OwnMemory, PendingCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lastmetre.gbcs.acceptance import Accepted
    from lastmetre.gbcs.asn1 import Asn1Response, UpdateOutcome
    from lastmetre.gbcs.catalogue import Role
    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.home.identity import DeviceIdentity

S = TypeVar("S", bound=OwnMemory)

FIRMWARE_ACTIVATED: Final = 0x00CA
CREDENTIALS_UPDATED: Final = 0x00CB
CONTROLLER_CREDENTIALS_UPDATED: Final = 0x0124
"""Message codes of Alerts (gbcs-messages 10.1)."""
DONE, FAILED = 0x8F66, 0x8F67
CREDENTIALS_EVENT, FIRMWARE_EVENT, FIRMWARE_FAILED_EVENT = 0x8F70, 0x8F72, 0x8F1C
_CONTROLLER_MESSAGES: Final = frozenset({0x0125, 0x0126})


def generate_key() -> ec.EllipticCurvePrivateKey:
    """A new key pair of a device's."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class OwnCommands:
    """A device's hands for what is its own. ``faults`` is for test benches: which item fails, and with which code."""

    made_with: DeviceIdentity
    kind: DeviceType
    new_key: Callable[[], ec.EllipticCurvePrivateKey] = generate_key
    faults: Mapping[int, int] = field(default_factory=dict)
    partners: Mapping[bytes, Certificate] = field(default_factory=dict)
    """Devices it was made with as partners, with their key agreement certificates."""

    # --- who it is now ---

    def identity(self, state: OwnMemory) -> DeviceIdentity:
        """The keys of now: those it was made with, but for those that CS02d replaced."""
        identity = self.made_with
        for use, private in state.device_keys:
            if private:
                key = load_der_private_key(private, None)
                assert isinstance(key, ec.EllipticCurvePrivateKey)
                signs = use == KeyUse.DIGITAL_SIGNATURE.value
                identity = replace(identity, signing_key=key) if signs else replace(identity, agreement_key=key)
        return identity

    def anchors(self, state: OwnMemory) -> Mapping[tuple[Role, KeyUse], Certificate]:
        """The certificates it trusts now."""
        return current_anchors(self.made_with.trust_anchors, state) if state.cells else self.made_with.trust_anchors

    def partners_of(self, state: OwnMemory) -> dict[bytes, Certificate]:
        """The devices it is joined with now by method C: those made with, those joined, without those parted from."""
        first = {each: certificate for each, certificate in self.partners.items() if each not in state.unjoined}
        return first | {each: parse_certificate(der) for each, der in state.partner_certificates}

    # --- judging and executing ---

    @staticmethod
    def belongs(accepted: Accepted, command: object) -> bool:
        """Whether the content is what its message code, originator and counter say."""
        header = accepted.message.header
        match command:
            case UpdateCredentials():
                fine = update_belongs(command, header.message_code, accepted.role, header.originator_counter)
                return fine and _is_time(command.execution_time)
            case ActivateFirmware():
                return command.counter == header.originator_counter and _is_time(command.execution_time)
            case _:
                return True

    def execute(
        self, state: S, accepted: Accepted, command: object, at: int, *, clock_set: bool = True
    ) -> tuple[S, Asn1Response, bool, int | None]:
        """The next state, the answer, whether all went well, and the event to be noted. ``at`` is the device's time."""
        fault = self.faults.get(0)
        match command:
            case CredentialsQuery():
                found = details(command, self.anchors(state), state.counters, self.faults)
                return state, found, all(role.status == 0 for role in found.roles), None
            case UpdateCredentials(execution_time=None):
                state, outcome = self._update(state, command, at if clock_set else None)
                fine = all(each.status == 0 for each in outcome.replacements)
                return state, UpdateCredentialsResponse(outcome), fine, CREDENTIALS_EVENT
            case UpdateCredentials(execution_time=when):
                return self._wait(state, accepted, when, at), UpdateCredentialsResponse(), True, None
            case ActivateFirmware(execution_time=None):
                state, firmware = device_commands.activate_firmware(state, command, fault)
                event = FIRMWARE_FAILED_EVENT if firmware.result else FIRMWARE_EVENT
                return state, ActivateFirmwareResponse(firmware), not firmware.result, event
            case ActivateFirmware(execution_time=when):
                return self._wait(state, accepted, when, at), ActivateFirmwareResponse(), True, None
            case _:
                state, answer = self._plain(state, command, accepted.message.header.message_code, fault)
                return state, answer, not getattr(answer, "result", None), None

    def _plain(self, state: S, command: object, message_code: int, fault: int | None) -> tuple[S, Asn1Response]:
        """The Commands that cannot be future-dated."""
        device_id = self.made_with.entity_id
        match command:
            case IssueCredentials():
                return device_commands.issue_credentials(state, command, self.new_key(), device_id, fault)
            case UpdateDeviceCertificate():
                return device_commands.update_certificate(state, command, device_id, fault)
            case ProvideDeviceCertificate():
                held = {use: certificate.der for use, certificate in self.made_with.certificates.items()}
                held |= {KeyUse(use): der for use, der in state.device_certificates}
                return state, device_commands.provide_certificate(command, held, fault)
            case Join():
                return device_commands.join(state, command, self.kind, message_code, fault)
            case Unjoin():
                return device_commands.unjoin(state, command, frozenset(self.partners), fault)
            case ReadJoinDetails():
                return state, device_commands.join_details(state, fault)
            case ReadFirmwareVersion():
                return state, device_commands.firmware_version(state, fault)
            case _:
                raise TypeError(f"{type(command).__name__} is no Command about a device itself")

    def _update(self, state: S, update: UpdateCredentials, at: int | None) -> tuple[S, UpdateOutcome]:
        anchors = current_anchors(self.made_with.trust_anchors, state)
        trust = Trust(anchors, current_authorities(self.made_with.authorities, state), at)
        return update_credentials(state, update, trust, self.faults)

    # --- later ---

    @staticmethod
    def _wait(state: S, accepted: Accepted, when: str | None, now: int) -> S:
        header = accepted.message.header
        kind = header.message_code, header.business_originator_id
        waiting = tuple(each for each in state.pending_commands if (each.message_code, each.originator_id) != kind)
        at = None if when in {None, TIME_NEVER} else generalized_moment(when or "")
        if at is None:
            return replace(state, pending_commands=waiting)
        due = PendingCommand(
            max(at, now + 1), header.message_code, header.originator_counter, header.business_originator_id,
            accepted.message.content,
        )  # fmt: skip
        return replace(state, pending_commands=(*waiting, due))

    def execute_due(self, state: S, command: PendingCommand, *, clock_set: bool = True) -> tuple[S, bytes, int]:
        """A future-dated Command's time has come: the next state, its Alert, and the event to be noted."""
        value = decode_asn1(command.message_code, int(Cra.COMMAND), command.content).value
        when = generalized_from_unix(command.at)
        content: ActivateFirmwareAlert | UpdateCredentialsAlert
        if isinstance(value, ActivateFirmware):
            state, firmware = device_commands.activate_firmware(state, value, self.faults.get(0))
            code, alert_code = FAILED if firmware.result else DONE, FIRMWARE_ACTIVATED
            content = ActivateFirmwareAlert(code, when, command.counter, firmware)
        else:
            assert isinstance(value, UpdateCredentials)
            state, outcome = self._update(state, value, command.at if clock_set else None)
            code = FAILED if any(each.status for each in outcome.replacements) else DONE
            controllers = command.message_code in _CONTROLLER_MESSAGES
            alert_code = CONTROLLER_CREDENTIALS_UPDATED if controllers else CREDENTIALS_UPDATED
            content = UpdateCredentialsAlert(code, when, outcome)
        counter = state.alert_counter + 1
        state = replace(state, alert_counter=counter)
        other = OtherInformation(alert_code)
        alert = self.identity(state).signed_alert(counter, command.originator_id, other, encode_asn1(Asn1(content)))
        return state, alert, code


def _is_time(when: str | None) -> bool:
    """Whether an execution time is now, never or a moment: anything else must not pass for a cancellation."""
    return when is None or when == TIME_NEVER or generalized_moment(when) is not None
