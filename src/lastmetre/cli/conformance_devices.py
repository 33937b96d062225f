"""``lastmetre conformance devices``: published Commands to a fresh emulated meter; its answers beside the published.

Rules kept here:

* Every Command to an electricity meter that has a published Response is executed by a new meter, through the library's
  own acceptance; the Response, and the Alerts of what it set for later, are compared (``home.likeness``).
* First without help. Only where the published Response reports failures is it tried again with exactly those items
  failing with those codes: nothing else is ever injected, and the verdict says so.
* Which of the meter's variants answers (one element or two) is tried, as the message cannot say it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from lastmetre.cli.device_bench import Bench, authorities_in, ground, usual_time
from lastmetre.cli.keyrings import Keys
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.gbcs.asn1 import (
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    CredentialsDetails,
    IssueCredentialsResponse,
    JoinDetails,
    JoinResponse,
    ProvideDeviceCertificateResponse,
    UnjoinResponse,
    UpdateCredentialsAlert,
    UpdateCredentialsResponse,
    UpdateDeviceCertificateResponse,
)
from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.catalogue import Role, use_case
from lastmetre.gbcs.dlms import AccessResponse, DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Cra, Kind, Message, parse_message
from lastmetre.gbcs.payload import Payload, decode_payload
from lastmetre.home.likeness import first_difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lastmetre.home.esme import Esme

EQUAL, DIFFERENT, WITHOUT = "equal", "different", "without"
OUTCOMES: Final = (EQUAL, DIFFERENT, WITHOUT)
_FUTURE_DATED: Final = 0x00CC
_LATER: Final = frozenset({_FUTURE_DATED, 0x00CA, 0x00CB, 0x0124})
"""Message codes of Alerts that report a future-dated Command."""
COMMAND_WORD, PRE_COMMAND_WORD, RESPONSE_WORD = "_COMMAND", "PRECOMMAND", "_RESPONSE"


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
        shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
        print(f"{len(verdicts)} answers: {shown}; {same} of them octet for octet, but for the signature")
    return EXIT_FAILED if counts[DIFFERENT] else 0


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "stem": verdict.stem,
        "use_case": verdict.use_case,
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


def _meters(messages: tuple[Published, ...]) -> frozenset[bytes]:
    """The electricity meters of the set: whoever gets a Command that is for nobody else."""
    found = set()
    for each in messages:
        case = use_case(each.message.header.message_code)
        if case is not None and case.devices == {"ESME"} and each.message.header.cra is Cra.COMMAND:
            found.add(each.message.header.business_target_id)
    return frozenset(found)


def check_devices(messages: tuple[Published, ...], keys: Keys) -> tuple[Verdict, ...]:
    """A verdict for every Command to an electricity meter, and for every Alert that its answer led to."""
    meters = _meters(messages)
    roles = {role: keys.ring.entities_in_role(role) for role in Role}
    commands = [each for each in messages if each.message.kind is Kind.COMMAND]
    bench = Bench(keys.ring, roles, authorities_in(each.payload for each in commands))
    for each in commands:
        header = each.message.header
        bench.add_party(header.business_originator_id)
        if header.other_information.supplementary_remote_party_id is not None:
            bench.add_party(header.other_information.supplementary_remote_party_id)
    set_ = _Set(messages, bench)
    verdicts: list[Verdict] = []
    for each in commands:
        if each.message.header.business_target_id in meters:
            verdicts += set_.judge(each)
    return (*verdicts, *set_.answers_without_command(meters))


class _Set:
    """The published messages, by what they answer."""

    def __init__(self, messages: tuple[Published, ...], bench: Bench) -> None:
        self._bench = bench
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
            yield Verdict(command.stem, name, WITHOUT, "no Response to it is published")
            return
        alerts = self._alerts_of(command)
        verdict, meter = self._best(command, response, alerts, name)
        yield verdict
        if alerts and meter is not None:
            yield from self._judge_alerts(meter, command, alerts, verdict)

    def _best(
        self, command: Published, response: Published, alerts: list[Published], name: str
    ) -> tuple[Verdict, Esme | None]:
        """The first trial that is equal, else the first: without help, then with the reported codes, by variant."""
        trials: list[tuple[Verdict, Esme | None]] = []
        reported = _faults([response, *alerts])
        for faults in ({}, reported) if reported else ({},):
            for twin in (False, True):
                trial = self._try(command, response, alerts, name, faults, twin=twin)
                if trial[0].outcome == EQUAL and (not reported or faults or not _due(alerts)):
                    return trial
                trials.append(trial)
        equal = [trial for trial in trials if trial[0].outcome == EQUAL]
        return (equal or trials)[0]

    def _try(
        self, command: Published, response: Published, alerts: list[Published], name: str, faults: Mapping[int, int],
        *, twin: bool,
    ) -> tuple[Verdict, Esme | None]:  # fmt: skip
        header = command.message.header
        start = ground(command.payload, tuple(each.payload for each in (response, *alerts)), twin=twin)
        meter = self._bench.meter(header.business_target_id, header.business_originator_id, start.state, faults)
        verdict = Verdict(command.stem, name, DIFFERENT, "", start.taken, dict(faults))
        answers = [parse_message(answer) for answer in meter.receive(command.octets, self._now)]
        ours = next((answer for answer in answers if answer.kind is Kind.RESPONSE), None)
        if ours is None:
            why = meter.state.security_log[-1] if meter.state.security_log else None
            words = f"refused: {why.reason}, {why.detail}" if why else "not answered"
            return replace(verdict, difference=words), None
        difference = first_difference(
            (ours, decode_payload(header.message_code, Cra.RESPONSE, ours.content)),
            (response.message, response.payload),
            command.payload,
            lambda wire: (
                self._bench.open_data(wire, ours.header) or self._bench.open_data(wire, response.message.header)
            ),
        )
        if difference is not None:
            return replace(verdict, difference=difference), meter
        same = (ours.header, ours.content) == (response.message.header, response.message.content)
        return replace(verdict, outcome=EQUAL, same_octets=same), meter

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
        self, meter: Esme, command: Published, alerts: list[Published], verdict: Verdict
    ) -> Iterator[Verdict]:
        """Let the time come, and look for each published Alert among the meter's own."""
        state = meter.state
        times = [pending.at for pending in state.pending] + [waiting.at for waiting in state.pending_commands]
        due = max(times, default=state.updated_at)
        # The years until then are not lived through: nothing in them is compared.
        meter.state = replace(state, updated_at=due - 1)
        raised = [parse_message(alert) for alert in meter.tick(due)]
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
            yield Verdict(published.stem, name, outcome, words, verdict.taken, verdict.injected)

    def answers_without_command(self, meters: frozenset[bytes]) -> Iterator[Verdict]:
        """Published Responses whose Command is not published."""
        for each in self._messages:
            header = each.message.header
            alone = each.stem.replace(RESPONSE_WORD, COMMAND_WORD) not in self._by_stem
            if header.cra is Cra.RESPONSE and header.business_originator_id in meters and alone:
                case = use_case(header.message_code)
                yield Verdict(each.stem, case.name if case else "?", WITHOUT, "its Command is not published")


def _due(alerts: list[Published]) -> bool:
    return bool(_faults(alerts))


def _reported(payload: Payload) -> tuple[int | None, int] | None:
    """The Command that an Alert reports: message code, where it says it, and counter."""
    match payload:
        case DataNotification(extra=(OctetString(value=named),)) if len(named) > 10:
            return int.from_bytes(named[:2], "big"), int.from_bytes(named[2:10], "big")
        case Asn1(value=ActivateFirmwareAlert(counter=counter)):
            return None, counter
        case Asn1(value=UpdateCredentialsAlert(outcome=outcome)):
            return None, outcome.authorising_counter
        case _:
            return None


def _faults(answers: list[Published]) -> dict[int, int]:
    """The items that published answers report as failed, with their codes."""
    found: dict[int, int] = {}
    for each in answers:
        match each.payload:
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
            ):
                codes = [code]
            case _:
                codes = []
        found |= {place: code for place, code in enumerate(codes) if code}
    return found
