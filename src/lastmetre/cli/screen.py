"""What the demo shows: each hop as it happens, in a supplier engineer's words; plain lines where there is no terminal.

One table turns the events that the processes tell into sentences. An event without a row is not shown, but is kept in
the run's ``events.jsonl`` with all others.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.console import Console
from rich.markup import escape

from lastmetre.gbcs.catalogue import use_case
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import read_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Event = dict[str, Any]  # Any: an event's values are whatever JSON holds

SENTENCES: Final[Mapping[str, str]] = {
    # supplier
    "order_accepted": "order {order} accepted: {service} for device {device}, by {roads}",
    "order_waits": "order {order} waits: {detail}",
    "counter_taken": "order {order} takes Originator Counter {detail}",
    "order_prepared": "order {order} prepared: {prepared}",
    "order_made_again": "order {order} is prepared anew: {detail}",
    "order_sealed": "order {order}: the Command came back sealed, for local delivery",
    "supplier command_handed_on": "order {order}: Command handed on: {carrier}",
    "supplier command_handed_on_again": "order {order}: Command handed on again, the same bytes: {carrier}",
    "supplier command_taken_by_dcc": "order {order}: receipt: the DCC has it for the SM WAN",
    "supplier command_taken_by_agent": "order {order}: receipt: the agent has it stored",
    "supplier command_taken_by_tunnel": "order {order}: receipt: taken by the tunnel",
    "supplier response_received": "order {order}: a Response {use_case} arrived, by {road}",
    "supplier command_taken": "order {order}: receipt: the agent has it stored",
    "response_verified": "Response verified: made by the meter, for this Command: {words}",
    "response_refused": "Response refused: {why}",
    "order_confirmed": "order {order} confirmed",
    "order_refused_by_device": "order {order}: refused by the device: {why}",
    "order_unknown": "order {order} unknown: its deadline passed while it was at large",
    "order_expired_unsent": "order {order} expired unsent: {detail}",
    "response_returned_to_dcc": "order {order}: Response handed to the DCC [SRV 8.13]",
    "relay_permit_renewed": "order {order}: another relay permit, beside the same bytes: {carrier}",
    "supplier permit_answered": "order {order}: the agent saw the hub say of the permit: {status}",
    # DSP
    "relay_permit_issued": "relay permit {serial} for hub {hub}: this Command, this PPMID, {life_s} s",
    "relay_permit_refused": "no relay permit: {code} {reason}",
    "pre_command_made": "Service Request checked; Pre-Command {use_case} made",
    "command_sealed": "{use_case} checked and sealed: MAC by the access control broker",
    "command_sent_by_wan": "Command sent by SM WAN to hub {hub}",
    "response_from_wan": "Response {use_case} came back by SM WAN: {judged}",
    "response_pushed": "Response handed to the supplier",
    "local_response_recorded": "Response {use_case} of the local delivery recorded: {judged}",
    "request_refused": "request refused: {code} {reason}",
    # agent
    "command_taken": "Command {use_case} taken and stored",
    "command_offered": "passes {use_case} up the Zigbee tunnel, byte for byte",
    "command_taken_by_tunnel": "the tunnel took it (that is all a PPMID can know)",
    "response_received": "Response {use_case} came down the tunnel",
    "permit_offered": "passes the relay permit up, ahead of its Command",
    "agent permit_answered": "the hub says of the permit: {status}",
    "command_not_offered": "keeps the Command: the hub would not have it behind this permit ({permit})",
    "command_refused": "refuses what came: {reason}",
    "command_expired": "drops an expired Command",
    "button_pressed": "the customer presses: {button} [PECS03, plain Zigbee to the meter]",
    "button_answered": "the meter's answer: {outcome}",
    "bench_message_passed_up": "passes up once more: {use_case}",
    # home
    "hub_command_forwarded": "the rule allows it: {use_case}, by {road}, goes down the meter's tunnel",
    "hub_permit_answered": "relay permit judged: {status}",
    "hub_command_refused": "drops {use_case}, by {road}: {reason} (rule: {policy})",
    "hub_response_returned": "Response {use_case} goes back by the road its Command came",
    "meter_command_accepted": "addressee, counter, MAC{signature} right: {use_case} executed",
    "meter_command_refused": "refuses a Command: it {reason}; no Response",
    "meter_alerted": "raises Alert {alert_code}, for the supplier by WAN",
    "balance_changed": "balance {before} -> {after}",
    "supply_changed": "supply: {before} -> {after}",
}

_JUDGED: Final = {
    "verified": "signature verified",
    "unverified": "its MAC is for the supplier, who alone can check it",
}
_COLOURS: Final = {"supplier": "cyan", "DSP": "magenta", "agent": "yellow", "hub": "green", "meter": "bright_green"}
_MONEY: Final = {"balance_changed": ("before", "after")}


def pounds(thousandths_of_a_penny: int) -> str:
    """An amount as a person reads it."""
    pence = thousandths_of_a_penny / 1_000
    sign = "-" if pence < 0 else ""
    return f"{sign}£{abs(pence) / 100:.2f}"


def use_case_words(event: Event) -> str:
    """The use case an event is about, by its message code or the message itself."""
    code = event.get("message_code")
    if not isinstance(code, int):
        message = event.get("message") or event.get("command")
        if not isinstance(message, str):
            return str(event.get("use_case", "a message"))
        if message.startswith("50"):
            return "a relay permit"
        try:
            code = read_header(bytes.fromhex(message)).message_code
        except (GbcsDecodeError, ValueError):
            return "a malformed message"
    case = use_case(code)
    return f"{case.name}" if case else f"{code:04X}"


def sentence(party: str, event: Event) -> str | None:
    """The sentence for an event, or ``None`` when it is not for the screen. A row may be for one kind of party only."""
    template = SENTENCES.get(f"{party.split(maxsplit=1)[0]} {event['event']}", SENTENCES.get(event["event"]))
    if template is None:
        return None
    values: dict[str, object] = {**event, "use_case": use_case_words(event)}
    values["order"] = str(event.get("order_id", "?"))[:6]
    values["device"] = str(event.get("device_id", "?"))[-2:].upper()
    values["hub"] = str(event.get("hub_id", "?"))[-2:].upper()
    if isinstance(event.get("status"), str):
        values["status"] = str(event["status"]).replace("_", " ")
    if event.get("permit_status"):
        values["reason"] = f"{event['reason']}, {str(event['permit_status']).replace('_', ' ')}"
    values["prepared"] = event.get("detail") or "a signed Service Request is stored"
    values["judged"] = _JUDGED.get(str(event.get("verdict")), "?")
    values["carrier"] = "to the PPMID's agent" if event.get("agent_id") else "to the DCC, for the SM WAN"
    for name in _MONEY.get(event["event"], ()):
        values[name] = pounds(event[name])
    case = event.get("use_case")
    values["signature"] = " and signature" if case and _critical(str(case)) else ""
    return template.format_map(_Missing(values))


def _critical(name: str) -> bool:
    from lastmetre.gbcs.catalogue import CatalogueError, use_case_by_name

    try:
        return use_case_by_name(name).critical
    except CatalogueError:
        return False


class _Missing(dict[str, object]):
    """A value that an event does not carry shows as a question mark, never as a crash."""

    def __missing__(self, key: str) -> str:
        return "?"


class Screen:
    """Prints the story: rich in a terminal, plain lines elsewhere, JSON lines when asked."""

    def __init__(self, *, as_json: bool, out: TextIO = sys.stdout) -> None:
        self._as_json = as_json
        self._out = out
        self._began: float | None = None
        self._console = Console(file=out, highlight=False, soft_wrap=True, width=None if out.isatty() else 120)

    def title(self, text: str, *details: str) -> None:
        """A new step of the story."""
        if self._as_json:
            self._json({"event": "step", "title": text, "details": list(details)})
            return
        self._console.print()
        self._console.print(f"[bold]{escape(text)}[/bold]")
        for detail in details:
            self._console.print(f"  {escape(detail)}")

    def event(self, party: str, event: Event) -> None:
        """One hop, if it is for the screen."""
        if self._as_json:
            self._json({**event, "party": party})
            return
        text = sentence(party, event)
        if text is None:
            return
        colour = _COLOURS.get(party.split(maxsplit=1)[0], "white")
        self._console.print(f"  [dim]{self._elapsed(event):>6}[/]  [{colour}]{escape(party):<9}[/] {escape(text)}")

    def _elapsed(self, event: Event) -> str:
        """Seconds since the first event, by the clock of the process that told it."""
        at = event.get("at")
        if not isinstance(at, float):
            return ""
        if self._began is None:
            self._began = at
        return f"{at - self._began:.2f}"

    def note(self, text: str) -> None:
        """Something the story itself says."""
        if self._as_json:
            self._json({"event": "note", "text": text})
            return
        self._console.print(f"          [italic]{escape(text)}[/italic]")

    def facts(self, rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
        """A small table, its columns as wide as they need."""
        if self._as_json:
            self._json({"event": "facts", "rows": [dict(zip(header, row, strict=True)) for row in rows]})
            return
        widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
        for line in (header, *rows):
            cells = "   ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
            style = "dim" if line is header else "default"
            self._console.print(f"            [{style}]{escape(cells.rstrip())}[/]")

    def _json(self, value: Mapping[str, object]) -> None:
        print(json.dumps(value), file=self._out, flush=True)
