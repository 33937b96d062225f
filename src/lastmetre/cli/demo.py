"""``lastmetre demo``: the main job, played with real processes, in six steps (design section 7).

Each step is checked as it is played: what the meter shows, what the order's state is, what the hub logged. The demo
ends with exit status 0 only when all of it came out as told.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

from lastmetre.cli.demo_world import ACB, HOMES, SUPPLIER, Home, World, prepare_folder
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.cli.screen import Screen, pounds
from lastmetre.gbcs.dlms import decode_access_response
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import parse_message, read_header
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lastmetre.cli.screen import Event

HOME_A, HOME_B, HOME_C = HOMES

NEW_SETTINGS: Final[Mapping[str, int]] = {
    "debt_recovery_rate_cap": 500,
    "emergency_credit_limit": 750_000,
    "emergency_credit_threshold": 150_000,
    "low_credit_threshold": 300_000,
    "max_meter_balance": 90_000_000,
    "max_credit_threshold": 25_000_000,
}
"""What step 2 sets; money in thousandths of a penny."""
TOP_UP_PENCE: Final = 1_500
ORDER_TIMEOUT_S: Final = 45.0
ASK_EVERY_S: Final = 0.1


POLICIES: Final[Mapping[str, str]] = {
    "proposed": "What the hubs accept here is SECMP0038's proposal, which was never adopted.",
    "permit": "From a PPMID the hubs accept what they do today, and all else only with a relay permit (our addition).",
}
"""The settings of the hubs the story can be played under, and what is said of them."""


def run_demo(out: Path, *, bearer: str, as_json: bool, policy: str = "proposed") -> int:
    """Play the story; returns the exit status."""
    if bearer not in {"https", "mqtt"}:
        raise ProblemError("--bearer is https or mqtt")
    if policy not in POLICIES:
        raise ProblemError(f"--policy is {' or '.join(POLICIES)}")
    prepare_folder(out)
    screen = Screen(as_json=as_json)
    try:
        asyncio.run(_play(out, bearer, policy, screen))
    except LinkError as error:
        raise ProblemError(str(error), EXIT_FAILED) from error
    return 0


async def _play(out: Path, bearer: str, policy: str, screen: Screen) -> None:
    began = time.monotonic()
    world = World(out, screen, bearer=bearer, policy=policy)
    screen.title(
        "lastmetre demo: the same sealed Commands by the SM WAN and by the customer's PPMID",
        "Supplier, DSP, hubs, meters and PPMIDs are processes on this machine; bytes, keys and checks are real.",
        POLICIES[policy],
    )
    smki = world.make_smki()
    world.write_settings(smki)
    made = sum(1 for _ in smki.certificates.glob("*.pem"))
    screen.note(f"test SMKI: {made} certificates in the GBCS profile; keys unencrypted, for this run only")
    async with world.running(smki):
        screen.note(f"{len(world.parties)} processes are up; PPMIDs reach the supplier by {bearer.upper()}, mutual TLS")
        story = Story(world, screen)
        for step in (story.step_1, story.step_2, story.step_3, story.step_4, story.step_5, story.step_6):
            await step()
        audit = await world.audit()
    files = write_files(out, story.orders, audit)
    screen.title(f"Done in {time.monotonic() - began:.0f} s. Files of this run:")
    screen.facts(files, ("file", "what it is"))


def write_files(out: Path, orders: list[dict[str, Any]], audit: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Write audit and messages; returns every file's path with a word on it."""
    audit_path = out / "audit.jsonl"
    audit_path.write_text("".join(json.dumps(entry) + "\n" for entry in audit))
    number = 0
    for order in orders:
        for kind in ("command", "response"):
            if order[kind]:
                number += 1
                name = f"{number:02d}-{order['service']}-{order['device_id'][-2:]}-{kind}.hex"
                (out / "messages" / name).write_text(order[kind] + "\n")
    rows = [(str(path), "capture of a hub, opens in Wireshark") for path in sorted((out / "captures").glob("*.pcap"))]
    rows.append((str(audit_path), f"{len(audit)} audit entries, hash-chained"))
    rows.append((str(out / "messages"), f"{number} messages as hex: lastmetre decode FILE"))
    rows.append((str(out / "events.jsonl"), "everything every process told"))
    return rows


class Story:
    """The six steps, in order."""

    def __init__(self, world: World, screen: Screen) -> None:
        self._world = world
        self._screen = screen
        self.orders: list[dict[str, Any]] = []

    async def step_1(self) -> None:
        """Home A: a wait that ends unsent; a top-up by the PPMID; the customer switches on."""
        screen, world = self._screen, self._world
        screen.title("1. Home A has never had WAN. Its prepaid supply went off by credit.")
        unsent = await world.order(HOME_A, "read_meter_balance", "wan", deadline_s=3)
        waiting = await self._await_order(unsent, "said that it waits", lambda view: "WAN" in str(view["why_waiting"]))
        screen.note(f"an order by WAN only waits: {waiting['why_waiting']}")
        before = await self._shown(HOME_A)
        top_up = await world.order(HOME_A, "top_up", "ppmid", deadline_s=60, amount_pence=TOP_UP_PENCE)
        screen.note(f"a top-up of {pounds(TOP_UP_PENCE * 1_000)}; its code {top_up['utrn']} could be keyed in, too")
        await self._confirmed(top_up)
        await self._press_at_ppmid(HOME_A)
        after = await self._shown(HOME_A)
        self._compare("Home A", before, after)
        _check(after["supply"] == "on" and after["balance"] == before["balance"] + TOP_UP_PENCE * 1_000, "supply is on")
        ended = await self._await_order(unsent, "ended", lambda view: bool(view["final"]))
        _check(
            ended["state"] == "expired_unsent" and not ended["command"], "the WAN order expired unsent, never sealed"
        )
        screen.note("the order by WAN only has ended: expired unsent; nothing was ever sealed for it")

    async def step_2(self) -> None:
        """Home A: settings no code can change, as a critical Command by the PPMID."""
        self._screen.title("2. Home A: prepayment settings that no top-up code can change, as a critical Command.")
        before = await self._shown(HOME_A)
        order = await self._world.order(HOME_A, "update_prepay_configuration", "ppmid", deadline_s=60, **NEW_SETTINGS)
        await self._confirmed(order)
        after = await self._shown(HOME_A)
        self._compare("Home A", before, after)
        _check(after["emergency_credit_limit"] == NEW_SETTINGS["emergency_credit_limit"], "the new limit is in force")

    async def step_3(self) -> None:
        """Home B: arm the supply by the PPMID; the customer switches on."""
        self._screen.title("3. Home B's WAN is down. The supplier arms the supply it had disabled.")
        before = await self._shown(HOME_B)
        await self._confirmed(await self._world.order(HOME_B, "arm_supply", "ppmid", deadline_s=60))
        await self._press_at_ppmid(HOME_B)
        after = await self._shown(HOME_B)
        self._compare("Home B", before, after)
        _check(after["supply"] == "on", "supply is on in home B")

    async def step_4(self) -> None:
        """Home C: the same service by WAN; the meter's answer is alike."""
        self._screen.title("4. Home C has good WAN: the same service by the SM WAN.")
        before = await self._shown(HOME_C)
        await self._confirmed(await self._world.order(HOME_C, "arm_supply", "wan", deadline_s=60))
        await self._world.at_home(HOME_C, "press", button="enable-supply")
        after = await self._shown(HOME_C)
        self._compare("Home C", before, after)
        _check(after["supply"] == "on", "supply is on in home C")
        by_ppmid, by_wan = self.orders[-2], self.orders[-1]
        _check(_alike(by_ppmid["response"], by_wan["response"]), "the two Responses are alike")
        self._screen.note("both Responses: same kind, use case, protection and results; only ids and counter differ")

    async def step_5(self) -> None:
        """A repeat is dropped by the hub; with that rule off, the meters refuse the same bytes."""
        screen, world = self._screen, self._world
        screen.title("5. Somebody who owns the PPMID passes the same Commands up again.")
        top_up, arm = self._done("top_up"), self._done("arm_supply", HOME_B)
        if world.policy == "permit":
            for home, order in ((HOME_B, arm), (HOME_A, top_up)):
                await self._pass_up_again(home, order)
            return
        for home, order, case in ((HOME_B, arm, "ECS44"), (HOME_A, top_up, "CS01a")):
            before = await world.at_home(home, "display")
            since = world.event_count
            await world.at_ppmid(home, "pass-up", message=order["command"])
            await world.until(
                f"the hub's drop of {case}",
                _is(f"hub {home.letter}", "hub_command_refused", reason="duplicate"),
                since=since,
            )
            await world.at_home(home, "set", drop_repeats=False)
            screen.note(f"hub {home.letter}'s rule is switched off: now the very same bytes reach the meter")
            since = world.event_count
            await world.at_ppmid(home, "pass-up", message=order["command"])
            refused = "UTRN_COUNTER_USED" if case == "CS01a" else "COUNTER_USED"
            await world.until(
                f"the meter's refusal of {case}",
                _is(f"meter {home.letter}", "meter_command_refused", reason_code=refused),
                since=since,
            )
            await world.at_home(home, "set", drop_repeats=True)
            after = await world.at_home(home, "display")
            _check(before == after, f"nothing moved in home {home.letter}")
            screen.note(f"nothing moved in home {home.letter}: {after['supply']}, {pounds(after['balance'])}")

    async def _pass_up_again(self, home: Home, order: dict[str, Any]) -> None:
        """Under ``permit``: alone, the Command finds no permit; behind its own, no hand-over is left."""
        screen, world = self._screen, self._world
        hub = f"hub {home.letter}"
        permits = [
            str(event["permit"])
            for _label, event in world.events
            if event["event"] == "permit_offered" and event.get("order_id") == order["order_id"]
        ]
        before, since = await world.at_home(home, "display"), world.event_count
        await world.at_ppmid(home, "pass-up", message=order["command"])
        await world.until("the hub's drop", _is(hub, "hub_command_refused", reason="no-permit"), since=since)
        since = world.event_count
        await world.at_ppmid(home, "pass-up", message=permits[-1])
        refusal = _is(hub, "hub_command_refused", reason="permit-refused", permit_status="no_handover_left")
        await world.until("the hub's refusal of the old permit", refusal, since=since)
        _check(before == await world.at_home(home, "display"), f"nothing moved in home {home.letter}")
        screen.note(
            f"nothing moved in home {home.letter}: no permit, no Command; its old permit ended with the Response"
        )

    async def step_6(self) -> None:
        """The hub set to today's rule refuses what the proposed one carried."""
        screen, world = self._screen, self._world
        screen.title("6. Home A's hub is set to today's rule: it refuses what the proposed one carried.")
        await world.at_home(HOME_A, "set", policy="today")
        before = await world.at_home(HOME_A, "display")
        since = world.event_count
        # A hub that knows no permits says nothing to one: the agent waits a while before the Command follows.
        order = await world.order(HOME_A, "disable_supply", "ppmid", deadline_s=4 if world.policy == "proposed" else 12)
        await world.until(
            "the hub's refusal", _is("hub A", "hub_command_refused", reason="code-not-allowed"), since=since
        )
        ended = await self._await_order(order, "was unknown", lambda view: view["state"] == "unknown")
        screen.note(
            f"order state: {ended['state']}: it left and nothing answered, so it may have run; nobody says more"
        )
        _check(before == await world.at_home(HOME_A, "display"), "nothing moved in home A")

    # --- helpers ---

    async def _confirmed(self, order: dict[str, Any]) -> None:
        """Wait until an order is confirmed and its Response handed to the DCC; any other end stops the story."""
        view = await self._await_order(order, "was confirmed", lambda view: view["final"] or view["alarm"])
        _check(view["state"] == "confirmed", f"order {view['service']} ended as {view['state']}: {view['why_ended']}")
        if view["road"] == "ppmid":
            view = await self._await_order(
                order, "was known to the DCC", lambda view: view["returned_to_dcc"] == "done"
            )
        self.orders.append(view)

    async def _await_order(self, order: dict[str, Any], what: str, happened: Any) -> dict[str, Any]:  # Any: a predicate
        """Ask for an order until something is true of it; the store's word, not the screen's."""
        view = order
        try:
            async with asyncio.timeout(ORDER_TIMEOUT_S):
                while True:
                    view = await self._world.get_order(order["order_id"])
                    if happened(view):
                        return view
                    await asyncio.sleep(ASK_EVERY_S)
        except TimeoutError:
            line = f"the story stopped: order {order['service']} never {what}; it is {view['state']}"
            raise ProblemError(f"{line} ({view['why_waiting']})", EXIT_FAILED) from None

    async def _press_at_ppmid(self, home: Home) -> None:
        """The customer presses the PPMID's button."""
        answer = await self._world.at_ppmid(home, "press", button="enable-supply")
        _check(answer["outcome"] == "accepted", f"the meter accepted the button (PECS03): {answer['outcome']}")

    async def _shown(self, home: Home) -> dict[str, Any]:
        return await self._world.at_home(home, "display")

    def _done(self, service: str, home: Home | None = None) -> dict[str, Any]:
        for order in self.orders:
            if order["service"] == service and (home is None or order["device_id"] == home.esme.hex()):
                return order
        raise ProblemError(f"no order {service} was confirmed", EXIT_FAILED)

    def _compare(self, title: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Before and after, as the meter's display shows them."""
        money = ("balance", "emergency_credit_limit")
        rows = [
            (
                name.replace("_", " "),
                *(pounds(shown[name]) if name in money else shown[name] for shown in (before, after)),
            )
            for name in ("supply", "balance", "emergency_credit_limit")
        ]
        self._screen.facts(rows, (title, "before", "after"))


def _is(label: str, name: str, **values: object) -> Any:  # Any: a predicate
    def happened(told_by: str, event: Event) -> bool:
        return (
            told_by == label
            and event["event"] == name
            and all(event.get(key) == value for key, value in values.items())
        )

    return happened


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise ProblemError(f"the story did not come out: {what}", EXIT_FAILED)


def _alike(one: str, other: str) -> bool:
    """Whether two Responses say the same, their ids and counters apart."""
    try:
        first, second = parse_message(bytes.fromhex(one)), parse_message(bytes.fromhex(other))
        results = [decode_access_response(message.content).results for message in (first, second)]
    except GbcsDecodeError:
        return False
    headers = [read_header(bytes.fromhex(text)) for text in (one, other)]
    return (
        results[0] == results[1]
        and headers[0].message_code == headers[1].message_code
        and first.kind is second.kind
        and (first.mac is None) is (second.mac is None)
        and bool(first.signature) is bool(second.signature)
        and {header.business_target_id for header in headers} == {SUPPLIER}
        and ACB not in {header.business_originator_id for header in headers}
    )
