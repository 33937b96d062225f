"""``lastmetre hht``: the field tool's command line. What it does is ``cli.field_visit``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated, Final

import typer

from lastmetre.cli.problems import ProblemError

HEX: Final = {8: "16 hexadecimal digits", 16: "32 hexadecimal digits"}


def register(app: typer.Typer) -> None:
    """Adds the subcommand to the program."""
    app.command("hht")(hht_command)


def hht_command(
    pack: Annotated[Path, typer.Option("--pack", help="The pack of Commands, signed by who made it.", dir_okay=False)],
    certificates: Annotated[Path, typer.Option(help="Where the issuer's certificate is, or a test SMKI.")],
    device: Annotated[str, typer.Option(help="The terminal's EUI-64, one of those the hub knows.")],
    hub_port: Annotated[int, typer.Option(help="The UDP port of the hub's air (its ready event tells).", min=1)],
    out: Annotated[Path, typer.Option("--out", help="Where the pack of Responses goes.", dir_okay=False)],
    pan_id: Annotated[int, typer.Option(help="The network's PAN id.", min=0, max=0xFFFE)] = 0x1A62,
    wait_s: Annotated[
        float, typer.Option(help="How long each Command's answer is waited for; a gas meter may need 2400.", min=0.1)
    ] = 120.0,
    network_key: Annotated[str | None, typer.Option(help="The network key, where the hub's air is secured.")] = None,
) -> None:
    """Play the field tool: join a home's hub, deliver a signed pack of Commands, bring back the pack of Responses."""
    from lastmetre.cli.field_visit import Visit, run_hht

    key = None if network_key is None else _hex(network_key, 16, "--network-key")
    visit = Visit(_hex(device, 8, "--device"), hub_port, pan_id, wait_s, key)
    raise typer.Exit(run_hht(pack, certificates, out, visit))


def _hex(text: str, octets: int, name: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != octets:
        raise ProblemError(f"{name} is {HEX[octets]}")
    return value
