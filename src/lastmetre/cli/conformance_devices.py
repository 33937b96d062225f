"""``lastmetre conformance devices``: published Commands to a fresh emulated device; its answers beside the published.

Rules kept here:

* Every Command that has a published Response is executed by a new device of its target's kind, through the library's
  own acceptance; the Response, and the Alerts of what it set for later, are compared (``home.likeness``). The kind is
  that of all Commands to one target; where two kinds are left, the one that no other target is.
* First without help. Only where the published Response reports failures is it tried again with exactly those items
  failing with those codes: nothing else is ever injected, and the verdict says so.
* What a Command takes for granted (one element or two, a day lived) is tried from a short list, and told.
* ``NOT_FOR_US``: Commands that cannot be answered as published, each with its reason. They count as *without*.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from lastmetre.cli.device_bench import KINDS, Bench, authorities_in, grounds, usual_time
from lastmetre.cli.keyrings import Keys
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.gbcs.asn1 import (
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    ClockResponse,
    CredentialsDetails,
    FirmwareVersion,
    IssueCredentialsResponse,
    JoinDetails,
    JoinResponse,
    ProvideDeviceCertificateResponse,
    UnjoinResponse,
    UpdateCredentials,
    UpdateCredentialsAlert,
    UpdateCredentialsResponse,
    UpdateDeviceCertificateResponse,
)
from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.catalogue import Role, use_case
from lastmetre.gbcs.datetimes import CosemDateTime, unix_from_generalized
from lastmetre.gbcs.dlms import AccessResponse, DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import EncryptedZcl, FutureDatedZcl, Gbz, GbzAlert, open_component
from lastmetre.gbcs.message import Cra, Kind, Message, parse_message
from lastmetre.gbcs.payload import Payload, decode_payload
from lastmetre.gbcs.zcl import DefaultResponse, ReadAttributes, ReadAttributesResponse
from lastmetre.home.chf import Chf
from lastmetre.home.esme import Esme
from lastmetre.home.gas import history
from lastmetre.home.gas.components import FAILED_ANSWERS
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState
from lastmetre.home.likeness import first_difference
from lastmetre.home.state import MeterState, SecurityEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lastmetre.cli.device_bench import BenchDevice, Ground

EQUAL, DIFFERENT, WITHOUT = "equal", "different", "without"
OUTCOMES: Final = (EQUAL, DIFFERENT, WITHOUT)
_FUTURE_DATED: Final = 0x00CC
_LATER: Final = frozenset({_FUTURE_DATED, 0x00CA, 0x00CB, 0x00CD, 0x0124})
"""Message codes of Alerts that report a future-dated Command."""
COMMAND_WORD, PRE_COMMAND_WORD, RESPONSE_WORD = "_COMMAND", "PRECOMMAND", "_RESPONSE"
NOT_FOR_US: Final = {
    "CS03CNonCritical_8.7.2_SUCCESS": (
        "it joins one device (..94) and carries the certificate of another (..A1): ours refuses that (T10)"
    ),
}
"""Beginnings of names of Commands that our devices do not answer as published, and why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one Command, or of one Alert that follows from it."""

    stem: str
    use_case: str
    outcome: str
    difference: str = ""
    taken: tuple[str, ...] = ()
    injected: Mapping[int, int] = field(default_factory=dict)
    same_octets: bool = False
    """Whether even the octets before the signature are the same."""
    kind: str = ""
    """The kind of device that answered, or would have."""


@dataclass(frozen=True, slots=True)
class Published:
    """One message of the set, read."""

    stem: str
    octets: bytes
    message: Message
    payload: Payload


def run_conformance_devices(
    directory: Path, *, certificates: Path, keys: Path, passphrase_file: Path | None = None, as_json: bool = False
) -> int:
    """Hold the emulated meter against every published Command to one; 0 when nothing differs."""
    opened = Keys(certificates=certificates, keys=keys, passphrase_file=passphrase_file)
    verdicts = check_devices(read_messages(directory), opened)
    counts = Counter(verdict.outcome for verdict in verdicts)
    same = sum(verdict.same_octets for verdict in verdicts)
    if as_json:
        rows = [_row(verdict) for verdict in verdicts]
        print(json.dumps({"counts": counts, "same_octets": same, "messages": rows}, indent=2))
    else:
        _print(verdicts)
        for kind in sorted({verdict.kind for verdict in verdicts}):
            by_kind = Counter(verdict.outcome for verdict in verdicts if verdict.kind == kind)
            print(f"{kind or '?'}: " + ", ".join(f"{by_kind[outcome]} {outcome}" for outcome in OUTCOMES))
        shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
        print(f"{len(verdicts)} answers: {shown}; {same} of them octet for octet, but for the signature")
    return EXIT_FAILED if counts[DIFFERENT] else 0


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "stem": verdict.stem,
        "use_case": verdict.use_case,
        "device": verdict.kind,
        "outcome": verdict.outcome,
        "difference": verdict.difference,
        "taken": list(verdict.taken),
        "injected": {str(item): code for item, code in verdict.injected.items()},
        "same_octets": verdict.same_octets,
    }


def _print(verdicts: tuple[Verdict, ...]) -> None:
    width = max((len(verdict.stem) for verdict in verdicts), default=0)
    for verdict in verdicts:
        notes = [f"taken for granted: {', '.join(verdict.taken)}"] if verdict.taken else []
        if verdict.injected:
            notes.append(
                "injected: "
                + ", ".join(f"item {item + 1} fails with {code}" for item, code in verdict.injected.items())
            )
        notes += [verdict.difference] if verdict.difference else []
        print(f"{verdict.stem:<{width}}  {verdict.outcome}" + (f"  ({'; '.join(notes)})" if notes else ""))


# --- the set ---------------------------------------------------------------------------------------------------------


def read_messages(directory: Path) -> tuple[Published, ...]:
    """Every message of a directory; raises ``ProblemError`` for one that cannot be read."""
    if not directory.is_dir():
        raise ProblemError(f"there is no directory {directory}")
    messages = []
    for path in sorted(path for path in directory.rglob("*") if path.suffix.lower() == ".hex"):
        try:
            octets = bytes.fromhex(path.read_text("ascii").strip())
            message = parse_message(octets)
            payload = decode_payload(message.header.message_code, message.header.cra, message.content)
        except (OSError, ValueError, GbcsDecodeError) as error:
            raise ProblemError(f"{path}: {error}") from error
        messages.append(Published(path.stem, octets, message, payload))
    if not messages:
        raise ProblemError(f"there is no HEX file under {directory}")
    return tuple(messages)


def kinds_of(messages: tuple[Published, ...]) -> dict[bytes, str]:
    """What each target of the set is: what all Commands to it are for; of two kinds left, the one nobody else is."""
    candidates: dict[bytes, frozenset[str]] = {}
    for each in messages:
        case = use_case(each.message.header.message_code)
        if case is not None and each.message.kind is Kind.COMMAND:
            target = each.message.header.business_target_id
            candidates[target] = candidates.get(target, frozenset(KINDS)) & case.devices
    found: dict[bytes, str] = {}
    for target, kinds in sorted(candidates.items(), key=lambda item: len(item[1])):
        left = sorted(kinds - set(found.values())) or sorted(kinds)
        if left:
            found[target] = left[0]
    return found


def check_devices(messages: tuple[Published, ...], keys: Keys) -> tuple[Verdict, ...]:
    """A verdict for every Command that has a target, and for every Alert that its answer led to."""
    kinds = kinds_of(messages)
    roles = {role: keys.ring.entities_in_role(role) for role in Role}
    commands = [each for each in messages if each.message.kind is Kind.COMMAND]
    bench = Bench(keys.ring, roles, authorities_in(each.payload for each in commands))
    for each in commands:
        header = each.message.header
        bench.add_party(header.business_originator_id)
        if header.other_information.supplementary_remote_party_id is not None:
            bench.add_party(header.other_information.supplementary_remote_party_id)
    set_ = _Set(messages, bench, kinds)
    verdicts: list[Verdict] = []
    for each in commands:
        verdicts += set_.judge(each)
    return (*verdicts, *set_.answers_without_command())


class _Set:
    """The published messages, by what they answer."""

    def __init__(self, messages: tuple[Published, ...], bench: Bench, kinds: Mapping[bytes, str]) -> None:
        self._bench = bench
        self._kinds = kinds
        self._messages = messages
        self._by_stem = {each.stem: each for each in messages}
        responses = [each.message for each in messages if each.message.kind is Kind.RESPONSE]
        self._now = usual_time(responses)

    def judge(self, command: Published) -> Iterator[Verdict]:
        """The verdicts of one Command: its Response, then its Alerts."""
        case = use_case(command.message.header.message_code)
        name = case.name if case is not None else "?"
        response = self._by_stem.get(command.stem.replace(COMMAND_WORD, RESPONSE_WORD))
        if response is None:
            yield Verdict(command.stem, name, WITHOUT, "no Response to it is published", kind=self._kind(command))
            return
        reason = next((why for start, why in NOT_FOR_US.items() if command.stem.startswith(start)), None)
        if reason is None and command.message.header.message_code in _BETWEEN_DEVICES:
            reason = "made and sealed by the PPMID, whose private key is not published"
        if reason is not None:
            yield Verdict(command.stem, name, WITHOUT, reason, kind=self._kind(command))
            return
        alerts = self._alerts_of(command)
        verdict, meter = self._best(command, response, alerts, name)
        yield verdict
        if alerts and meter is not None:
            yield from self._judge_alerts(meter, command, alerts, verdict)

    def _kind(self, command: Published) -> str:
        return self._kinds.get(command.message.header.business_target_id, "")

    def _best(
        self, command: Published, response: Published, alerts: list[Published], name: str
    ) -> tuple[Verdict, BenchDevice | None]:
        """The first trial that is equal, else the first: without help, then with the reported codes, by ground."""
        trials: list[tuple[Verdict, BenchDevice | None]] = []
        reported = _faults(command, [self._opened(response), *alerts])
        answers = tuple(each.payload for each in (response, *alerts))
        for faults in ({}, reported) if reported else ({},):
            now, status = self._clock(response)
            for start in grounds(self._kind(command), command.payload, answers, now, status):
                trial = self._try(command, response, name, replace(start, faults=faults), now)
                if trial[0].outcome == EQUAL and (not reported or faults or not _faults(command, alerts)):
                    return trial
                trials.append(trial)
        equal = [trial for trial in trials if trial[0].outcome == EQUAL]
        return (equal or trials)[0]

    def _opened(self, answer: Published) -> Published:
        """A published answer with the encrypted parts of a gas payload opened."""
        if not isinstance(answer.payload, Gbz):
            return answer
        parts = []
        for part in answer.payload.components:
            plain = None
            if isinstance(part.body, EncryptedZcl):
                plain = self._bench.open_data(part.body.wire, answer.message.header)
            parts.append(part if plain is None else open_component(part, plain))
        return replace(answer, payload=Gbz(tuple(parts)))

    def _clock(self, response: Published) -> tuple[int, int]:
        """The time and clock status that a published Response tells: those of its device, taken for granted."""
        raw = response.message.header.date_time
        now = CosemDateTime.from_bytes(raw).unix_seconds() if raw else None
        if isinstance(response.payload, Asn1) and isinstance(response.payload.value, ClockResponse):
            now = unix_from_generalized(response.payload.value.device_time)
        status = raw[-1] if raw and raw[-1] != _NO_STATUS else 0
        return now or self._now, status

    def _try(
        self, command: Published, response: Published, name: str, start: Ground, now: int
    ) -> tuple[Verdict, BenchDevice | None]:
        header = command.message.header
        speaker = header.business_originator_id, _authorising(command.payload)
        device = self._bench.device(header.business_target_id, speaker, start)
        verdict = Verdict(command.stem, name, DIFFERENT, "", start.taken, dict(start.faults), kind=start.kind)
        answers = [parse_message(answer) for answer in device.receive(command.octets, now)]
        ours = next((answer for answer in answers if answer.kind is Kind.RESPONSE), None)
        if ours is None:
            return replace(verdict, difference=f"refused: {_why(device)}"), None
        difference = first_difference(
            (ours, decode_payload(header.message_code, Cra.RESPONSE, ours.content)),
            (response.message, response.payload),
            command.payload,
            lambda wire: (
                self._bench.open_data(wire, ours.header) or self._bench.open_data(wire, response.message.header)
            ),
        )
        if difference is not None:
            return replace(verdict, difference=difference), device
        same = (ours.header, ours.content) == (response.message.header, response.message.content)
        return replace(verdict, outcome=EQUAL, same_octets=same), device

    # --- Alerts ---

    def _alerts_of(self, command: Published) -> list[Published]:
        """The published Alerts that report this Command: they name its counter, and come from its target."""
        header = command.message.header
        found = []
        for each in self._messages:
            alert = each.message.header
            if alert.cra is not Cra.ALERT or alert.message_code not in _LATER:
                continue
            if alert.business_originator_id != header.business_target_id:
                continue
            if _reported(each.payload) == (header.message_code, header.originator_counter) or (
                _reported(each.payload) == (None, header.originator_counter)
                and each.stem.split("_")[0] == command.stem.split("_")[0]
            ):
                found.append(each)
        return found

    def _judge_alerts(
        self, device: BenchDevice, command: Published, alerts: list[Published], verdict: Verdict
    ) -> Iterator[Verdict]:
        """Let the time come, and look for each published Alert among the device's own."""
        raised = [parse_message(alert) for alert in _when_due(device)]
        for published in alerts:
            wanted = published.message.header
            differences = []
            for ours in raised:
                if ours.header.message_code != wanted.message_code:
                    continue
                payload = decode_payload(ours.header.message_code, Cra.ALERT, ours.content)
                # An Alert's counter is the device's own.
                mine = replace(ours, header=replace(ours.header, originator_counter=wanted.originator_counter))
                found = first_difference(
                    (mine, payload), (published.message, published.payload), command.payload, lambda _wire: None
                )
                differences.append(found)
            outcome = EQUAL if None in differences else DIFFERENT
            words = "" if outcome == EQUAL else next((each for each in differences if each), "no such Alert was raised")
            name = f"{verdict.use_case} Alert"
            yield Verdict(published.stem, name, outcome, words, verdict.taken, verdict.injected, kind=verdict.kind)

    def answers_without_command(self) -> Iterator[Verdict]:
        """Published Responses whose Command is not published."""
        for each in self._messages:
            header = each.message.header
            alone = each.stem.replace(RESPONSE_WORD, COMMAND_WORD) not in self._by_stem
            if header.cra is Cra.RESPONSE and alone:
                case = use_case(header.message_code)
                kind = self._kinds.get(header.business_originator_id, "")
                words = "its Command is not published"
                yield Verdict(each.stem, case.name if case else "?", WITHOUT, words, kind=kind)


_NO_STATUS: Final = 0xFF
_BETWEEN_DEVICES: Final = frozenset({0x0090, 0x009B})


def _authorising(payload: Payload) -> Role | None:
    """The role whose cells an update of credentials is authorised by, where it says one."""
    if isinstance(payload, Asn1) and isinstance(payload.value, UpdateCredentials):
        cell = payload.value.control.authorising_cell
        return Role(cell.role) if cell is not None and cell.role in set(Role) else None
    return None


def _why(device: BenchDevice) -> str:
    """What a device's own log says of the last thing it refused."""
    state = device.state
    if isinstance(state, GasState):
        return f"{state.log[-1].event_id:04X}" if state.log else "not answered"
    last = state.security_log[-1] if state.security_log else None
    if last is None:
        return "not answered"
    return f"{last.reason}, {last.detail}" if isinstance(last, SecurityEvent) else last[1]


def _when_due(device: BenchDevice) -> list[bytes]:
    """What a device says when the last of what waits is due. The years until then are not lived through."""
    state = device.state
    times = [waiting.at for waiting in state.pending_commands]
    if isinstance(device, Esme) and isinstance(state, MeterState):
        due = max([*times, *(pending.at for pending in state.pending)], default=state.updated_at)
        device.state = replace(state, updated_at=due - 1)
        return device.tick(due)
    if isinstance(device, Gsme) and isinstance(state, GasState):
        due = max([*times, *(pending.at for pending in state.pending)], default=0)
        device.state = replace(state, charged_until=due // history.DAY_S)
        return device.tick(due)
    return device.tick(max(times, default=0)) if isinstance(device, Chf) else []


def _reported(payload: Payload) -> tuple[int | None, int] | None:
    """The Command that an Alert reports: message code, where it says it, and counter."""
    match payload:
        case DataNotification(extra=(OctetString(value=named),)) if len(named) > 10:
            return int.from_bytes(named[:2], "big"), int.from_bytes(named[2:10], "big")
        case GbzAlert(specific=FutureDatedZcl(message_code=message_code, originator_counter=counter)):
            return message_code, counter
        case Asn1(value=ActivateFirmwareAlert(counter=counter)):
            return None, counter
        case Asn1(value=UpdateCredentialsAlert(outcome=outcome)):
            return None, outcome.authorising_counter
        case _:
            return None


def _faults(command: Published, answers: list[Published]) -> dict[int, int]:
    """The items that published answers report as failed, with their codes."""
    found: dict[int, int] = {}
    for each in answers:
        match each.payload:
            case Gbz() as payload:
                codes = _gas_codes(command.payload, payload)
            case AccessResponse(results=results):
                codes = [result.result for result in results]
            case Asn1(value=CredentialsDetails(roles=roles)):
                codes = [role.status for role in roles]
            case Asn1(value=UpdateCredentialsResponse(outcome=outcome) | UpdateCredentialsAlert(outcome=outcome)):
                codes = [replaced.status for replaced in outcome.replacements] if outcome is not None else []
            case Asn1(value=ActivateFirmwareResponse(outcome=firmware) | ActivateFirmwareAlert(outcome=firmware)):
                codes = [firmware.result] if firmware is not None else []
            case Asn1(
                value=IssueCredentialsResponse(result=int(code))
                | ProvideDeviceCertificateResponse(result=int(code))
                | UpdateDeviceCertificateResponse(result=code)
                | JoinResponse(result=code)
                | UnjoinResponse(result=code)
                | JoinDetails(result=code)
                | FirmwareVersion(result=code)
                | ClockResponse(result=code)
            ):
                codes = [code]
            case _:
                codes = []
        found |= {place: code for place, code in enumerate(codes) if code}
    return found


_NOT_EXECUTED: Final = 0xFF


def _gas_codes(command: Payload, answers: Gbz) -> list[int]:
    """The status that each item of a gas Command was answered with: parts, and each attribute of a part that reads.

    What was not executed because something before it failed is no failure of its own.
    """
    codes: list[int] = []
    for part in command.components if isinstance(command, Gbz) else ():
        mine = [
            each.body for each in answers.components if (each.cluster, each.sequence) == (part.cluster, part.sequence)
        ]
        records = [
            record.status for body in mine if isinstance(body, ReadAttributesResponse) for record in body.records
        ]
        if isinstance(part.body, ReadAttributes):
            codes += records or [0] * len(part.body.attribute_ids)
            continue
        failed = [
            body.status for body in mine if isinstance(body, DefaultResponse) and body.command_id != _NOT_EXECUTED
        ]
        own = any(body in FAILED_ANSWERS.values() for body in mine)
        codes.append(1 if own else max(failed, default=0))
    return codes
