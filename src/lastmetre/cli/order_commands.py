"""``lastmetre order``, ``orders`` and ``at-large``: place and follow deliveries from the shell, over the API."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lastmetre.cli.problems import EXIT_FAILED, ProblemError

STEP_S: Final = 0.5
GOOD: Final = {"confirmed", "confirmed_by_dcc", "confirmed_late"}

order = typer.Typer(no_args_is_help=True, help="Place an order, show one, call one off, supersede or approve one.")

Url = Annotated[str, typer.Option("--url", help="The supplier's API.", envvar="LASTMETRE_URL")]
TokenFile = Annotated[
    Path, typer.Option("--token-file", help="Holds the API's token.", envvar="LASTMETRE_TOKEN_FILE", dir_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
OrderId = Annotated[str, typer.Argument(metavar="ID", help="The order.")]


def register(app: typer.Typer) -> None:
    """Adds the subcommands to the program."""
    app.add_typer(order, name="order")
    app.command("orders")(orders_command)
    app.command("at-large")(at_large_command)


@order.command("place")
def place_command(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device: 16 hexadecimal digits.")],
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="top_up, arm_supply, ...")],
    url: Url,
    token_file: TokenFile,
    value: Annotated[list[str] | None, typer.Option("--value", metavar="NAME=NUMBER", help="A value.")] = None,
    road: Annotated[list[str] | None, typer.Option("--road", help="ppmid or wan; again for the next one.")] = None,
    deadline_s: Annotated[int, typer.Option(help="Seconds after which it is not handed on any more.")] = 3_600,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
    by: Annotated[str | None, typer.Option("--by", help="Who orders; needed where another must approve.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same key and order are one order.")] = None,
    wait_s: Annotated[float, typer.Option(help="Wait up to so long for its end; status 1 when not confirmed.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Place an order. A top-up's digits are printed at once: the customer can key them in while the Command travels."""
    from lastmetre.cli.api_client import ApiClient

    body: dict[str, object] = {
        "device_id": device,
        "service": service,
        "values": dict(_value(text) for text in value or ()),
        "deadline_s": deadline_s,
        "roads": road or ["ppmid", "wan"],
        "reason": reason,
    }
    if by is not None:
        body["ordered_by"] = by
    if key is not None:
        body["idempotency_key"] = key
    with ApiClient(url, token_file) as client:
        view = client.call("POST", "/orders", body)
        end = time.monotonic() + wait_s
        while wait_s and not view["final"] and time.monotonic() < end:
            time.sleep(STEP_S)
            view = client.call("GET", f"/orders/{view['order_id']}")
    _print(view, as_json=as_json)
    if wait_s and view["state"] not in GOOD:
        raise typer.Exit(EXIT_FAILED)


@order.command("show")
def show_command(order_id: OrderId, url: Url, token_file: TokenFile, as_json: AsJson = False) -> None:
    """Show all that is known of one order, and why it waits."""
    _act("GET", f"/orders/{_safe(order_id)}", None, url, token_file, as_json=as_json)


@order.command("cancel")
def cancel_command(order_id: OrderId, url: Url, token_file: TokenFile, as_json: AsJson = False) -> None:
    """Call an order off; refused when something of it left, for then it may have run."""
    _act("POST", f"/orders/{_safe(order_id)}/cancel", None, url, token_file, as_json=as_json)


@order.command("approve")
def approve_command(
    order_id: OrderId,
    url: Url,
    token_file: TokenFile,
    by: Annotated[str, typer.Option("--by", help="Who approves; never who ordered.")],
    as_json: AsJson = False,
) -> None:
    """Approve an order that needs four eyes and that another person placed."""
    _act("POST", f"/orders/{_safe(order_id)}/approve", {"approved_by": by}, url, token_file, as_json=as_json)


@order.command("supersede")
def supersede_command(
    order_id: OrderId,
    url: Url,
    token_file: TokenFile,
    service: Annotated[str, typer.Option(help="What overtakes it: a critical service.")] = "synchronise_clock",
    road: Annotated[list[str] | None, typer.Option("--road", help="ppmid or wan; again for the next one.")] = None,
    deadline_s: Annotated[int, typer.Option(help="Seconds for the superseder.")] = 3_600,
    as_json: AsJson = False,
) -> None:
    """Have an order overtaken by a higher counter, so that it cannot run any more; prints the superseder."""
    body = {"service": service, "roads": road or ["wan", "ppmid"], "deadline_s": deadline_s}
    _act("POST", f"/orders/{_safe(order_id)}/supersede", body, url, token_file, as_json=as_json)


def at_large_command(url: Url, token_file: TokenFile, as_json: AsJson = False) -> None:
    """List what left and may still run."""
    from lastmetre.cli.api_client import ApiClient

    with ApiClient(url, token_file) as client:
        found = client.call("GET", "/at-large")
    if as_json:
        print(json.dumps(found))
        return
    for view in found["orders"]:
        tail = "" if view["can_be_superseded"] else "  cannot be superseded"
        if view["superseded_by"]:
            tail = f"  being superseded by {view['superseded_by']}"
        print(f"{view['order_id']}  {view['device_id']}  {view['service']:28} {view['state']}{tail}")


def orders_command(
    url: Url,
    token_file: TokenFile,
    limit: Annotated[int, typer.Option(help="So many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest orders."""
    from lastmetre.cli.api_client import ApiClient

    with ApiClient(url, token_file) as client:
        found = client.call("GET", "/orders", limit=limit)["orders"]
    if as_json:
        print(json.dumps(found))
        return
    for view in found:
        alarm = " ALARM" if view["alarm"] else ""
        print(f"{view['order_id']}  {view['device_id']}  {view['service']:28} {view['state']}{alarm}")


def _act(method: str, path: str, body: object, url: str, token_file: Path, *, as_json: bool) -> None:
    from lastmetre.cli.api_client import ApiClient

    with ApiClient(url, token_file) as client:
        _print(client.call(method, path, body), as_json=as_json)


def _safe(order_id: str) -> str:
    """An order's name as it may stand in a path."""
    if not order_id or not all(letter.isalnum() or letter in "-_" for letter in order_id):
        raise ProblemError(f"{order_id!r} is no order: their names have letters, digits and - only")
    return order_id


def _value(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    try:
        return name, int(number)
    except ValueError:
        raise ProblemError(f"--value {text}: write NAME=NUMBER, such as amount_pence=1000") from None


def _print(view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(view))
        return
    print(f"order    {view['order_id']}: {view['service']} for {view['device_id']}")
    print(f"state    {view['state']}{'  ALARM' if view['alarm'] else ''}")
    words = view["why_waiting"] or view["why_ended"]
    if words:
        print(f"because  {words}")
    if view["utrn"]:
        print(f"code     {view['utrn']}")
    for attempt in view["attempts"]:
        said = f" ({attempt['said']})" if attempt["said"] else ""
        print(f"attempt  {attempt['number']} by {attempt['road']}: {attempt['state']}{said}")
    if view["result"]:
        print(f"result   {json.dumps(view['result'])}")
