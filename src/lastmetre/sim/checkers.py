"""Judges of a run: each invariant by its own function, from the evidence alone.

They import nothing of the supplier, the DSP or the agent: what those rooms get wrong, they cannot get wrong the same
way. States are the words of the API. Reference: threats section 7 (I1 to I8), design section 5.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lastmetre.sim.evidence import Evidence, Row

OPEN: Final = {"accepted", "prepared", "sealed", "at_large", "superseding"}
"""States that nothing may rest in."""
ALARMED: Final = {"unknown"}
RAN: Final = {"confirmed", "confirmed_late"}
NEVER_LEFT: Final = {"expired_unsent", "cancelled", "failed_before_sealing"}
FINAL: Final = RAN | NEVER_LEFT | {"confirmed_by_dcc", "refused_by_device", "superseded"}
LATER: Final = {"confirmed_late", "refused_by_device"}
"""What an end may still become when a Response proves it wrong."""
CODES: Final = {"top_up"}
"""Services whose digits are told: they may run without any Command of ours."""
SENT: Final = {"command_handed_on", "command_handed_on_again", "command_offered", "command_forwarded"}


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise."""

    invariant: str
    words: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.words}"


def judge(evidence: Evidence) -> list[Finding]:
    """Everything that is wrong with a run."""
    return [Finding(name, words) for name, check in CHECKS.items() for words in check(evidence)]


def _by_counter(evidence: Evidence) -> dict[tuple[str, str], Row]:
    """Orders by device and counter."""
    return {
        (str(order["device_id"]), str(order["originator_counter"])): order
        for order in evidence.orders
        if order["originator_counter"] is not None
    }


def once(evidence: Evidence) -> Iterable[str]:
    """I1: per meter, originator and counter at most one execution; the money agrees."""
    ran = Counter((e.device_id, e.originator_id, e.counter) for e in evidence.executions)
    for (device, _, counter), times in ran.items():
        if times > 1:
            yield f"{device} executed counter {counter} {times} times"
    orders = _by_counter(evidence)
    for device, (before, after) in evidence.balances.items():
        credited = sum(e.balance_change for e in evidence.executions if e.device_id == device)
        if before + credited != after:
            yield f"{device} went from {before} to {after}, but its executions add up to {credited}"
        asked = 0
        for execution in evidence.executions:
            order = orders.get((execution.device_id, str(execution.counter)))
            if execution.device_id == device and order is not None and execution.balance_change:
                values = order["values"]
                assert isinstance(values, dict)
                asked += 1_000 * values["amount_pence"]
        if asked != credited:
            yield f"{device} was credited {credited}, and its orders ask for {asked}"


def none_lost(evidence: Evidence) -> Iterable[str]:
    """I2: what was promised is there once, and rests at an end, or in an alarm that is on."""
    rows = {str(order["order_id"]): order for order in evidence.orders}
    keys = Counter(evidence.promised.values())
    for order_id, times in keys.items():
        if times > 1:
            yield f"{order_id} was promised for {times} idempotency keys"
        if order_id not in rows:
            yield f"{order_id} was promised and is not in the store"
    for order_id, order in rows.items():
        state = str(order["state"])
        if state in ALARMED:
            if not order["alarm"]:
                yield f"{order_id} is {state} and no alarm is on"
            if str(order["service"]) not in CODES:
                yield f"{order_id} ({order['service']}) is still {state} after everything healed"
        elif state not in FINAL:
            yield f"{order_id} rests in {state}: {order['why_waiting']}"


def none_late(evidence: Evidence) -> Iterable[str]:
    """I3: nobody who knows the expiry hands a Command on after it, by the clock it has; nor in truth."""
    deadlines = {str(order["order_id"]): int(str(order["deadline_at"])) for order in evidence.orders}
    for seen in evidence.seen:
        order_id = seen.facts.get("order_id")
        if seen.event not in SENT or order_id not in deadlines:
            continue
        deadline = deadlines[str(order_id)]
        if int(seen.clock_at) >= deadline:
            yield f"{seen.party}: {seen.event} of {order_id} at {seen.clock_at:.0f} by its clock, expiry {deadline}"
        elif not evidence.clocks_jumped and seen.at >= deadline:
            yield f"{seen.party}: {seen.event} of {order_id} at {seen.at:.0f}, expiry {deadline}"
    superseded: dict[str, float] = {}
    for seen in evidence.seen:
        if seen.event == "order_superseded":
            superseded[str(seen.facts["order_id"])] = seen.at
    orders = _by_counter(evidence)
    for execution in evidence.executions:
        order = orders.get((execution.device_id, str(execution.counter)))
        if order is not None and execution.at > superseded.get(str(order["order_id"]), execution.at):
            yield f"{order['order_id']} ran after it was superseded"


def all_told(evidence: Evidence) -> Iterable[str]:
    """I4: one audit entry for each transition, in a chain that holds; what it says agrees with the meters."""
    yield from _chain(evidence.audit)
    moves: dict[str, list[tuple[str | None, str]]] = defaultdict(list)
    for row in evidence.audit:
        if row["to"] is not None:
            moves[str(row["order_id"])].append((None if row["from"] is None else str(row["from"]), str(row["to"])))
    for order in evidence.orders:
        order_id, state = str(order["order_id"]), None
        for before, after in moves.get(order_id, []):
            if before != state:
                yield f"{order_id} was {state}, and the audit moves it from {before} to {after}"
            if state in FINAL and after not in (LATER if state in NEVER_LEFT | {"superseded"} else set()):
                yield f"{order_id} had ended as {state}, and became {after}"
            state = after
        if state != order["state"]:
            yield f"{order_id} is {order['state']}, and the audit left it {state}"
    for order_id in moves.keys() - {str(order["order_id"]) for order in evidence.orders}:
        yield f"the audit knows {order_id}, and the store does not"


def _chain(audit: list[Row]) -> Iterable[str]:
    previous = "00" * 32
    for number, row in enumerate(audit, 1):
        fields = {name: value for name, value in row.items() if name != "hash"}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if row["seq"] != number or row["previous"] != previous:
            yield f"audit entry {row['seq']} does not follow {number - 1}"
        if hashlib.sha256(text.encode()).hexdigest() != row["hash"]:
            yield f"audit entry {row['seq']} does not have the hash it says"
        previous = str(row["hash"])


def right_place(evidence: Evidence) -> Iterable[str]:
    """I5: what a meter executed, an order asked of this very meter, in these very octets."""
    orders = _by_counter(evidence)
    for execution in evidence.executions:
        order = orders.get((execution.device_id, str(execution.counter)))
        if order is None:
            yield f"{execution.device_id} executed counter {execution.counter}, and no order asked for it"
            continue
        if order["command"] and order["command"] != execution.message:
            yield f"{execution.device_id} executed other octets than {order['order_id']} holds"
        if order["state"] in NEVER_LEFT:
            yield f"{order['order_id']} is {order['state']}, and {execution.device_id} executed it"


def fresh(evidence: Evidence) -> Iterable[str]:
    """I6: no counter names two messages, wherever one was seen."""
    contents: dict[tuple[str, str], set[str]] = defaultdict(set)
    for execution in evidence.executions:
        contents[execution.device_id, str(execution.counter)].add(execution.message)
    for seen in evidence.seen:
        message = seen.facts.get("message") if seen.event in _COMMANDS else None
        if isinstance(message, str):
            contents[_names(message)].add(message)
    for order in evidence.orders:
        if order["command"]:
            contents[_names(str(order["command"]))].add(str(order["command"]))
    for (device, counter), messages in contents.items():
        if len(messages) > 1:
            yield f"counter {counter} of {device} names {len(messages)} messages"
    counters = Counter(
        (str(order["device_id"]), str(order["originator_counter"]))
        for order in evidence.orders
        if order["originator_counter"] is not None
    )
    for (device, counter), times in counters.items():
        if times > 1:
            yield f"counter {counter} of {device} belongs to {times} orders"


_COMMANDS: Final = {"command_sealed", "order_sealed", "command_handed_on", "command_handed_on_again"}


def _names(message: str) -> tuple[str, str]:
    """Target and counter of a sealed Command, from its octets: MAC header of 20, then the grouping header.

    Grouping header: DF 09, CRA, counter of 8 octets, 08 and originator, 08 and target (gbcs-messages 1).
    """
    octets = bytes.fromhex(message)
    at = octets.index(b"\xdf\x09") + 2
    counter = int.from_bytes(octets[at + 1 : at + 9], "big")
    return octets[at + 19 : at + 27].hex(), str(counter)


def truth(evidence: Evidence) -> Iterable[str]:
    """I7: nobody was told *confirmed* before a meter had done it; what confirms it is a Response that a meter made."""
    ran: dict[str, float] = {}
    orders = _by_counter(evidence)
    for execution in evidence.executions:
        order = orders.get((execution.device_id, str(execution.counter)))
        if order is not None:
            ran.setdefault(str(order["order_id"]), execution.at)
    for said in evidence.said:
        if said.state in RAN and ran.get(said.order_id, float("inf")) > said.at:
            yield f"{said.order_id} was said to be {said.state} when no meter had done it"
    read_back = {str(row["order_id"]) for row in evidence.audit if row["event"] == "read_back"}
    for order in evidence.orders:
        state = str(order["state"])
        if state in RAN and order["response"] is None and str(order["order_id"]) in read_back:
            pass  # the meter's own log says so; that it ran is judged below
        elif state in RAN | {"refused_by_device"} and str(order["response"]) not in evidence.answers:
            yield f"{order['order_id']} is {state} by a Response that no meter made"
        if state in RAN and str(order["order_id"]) not in ran:
            yield f"{order['order_id']} is {state}, and no meter did it"


def drains(evidence: Evidence) -> Iterable[str]:
    """I8: once everything works again, nothing waits anywhere; and no program fell over by itself."""
    yield from evidence.left_over
    yield from evidence.crashes


CHECKS: Final[dict[str, Callable[[Evidence], Iterable[str]]]] = {
    "I1 once": once,
    "I2 none lost": none_lost,
    "I3 none late": none_late,
    "I4 all told": all_told,
    "I5 right place": right_place,
    "I6 fresh": fresh,
    "I7 truth": truth,
    "I8 drains": drains,
}
