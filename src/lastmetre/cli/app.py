"""The subcommands of ``lastmetre``. Each imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lastmetre import __version__
from lastmetre.cli.problems import ProblemError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deliver a GBCS Command to a smart meter by whichever road reaches it, and prove what happened.",
)
serve = typer.Typer(no_args_is_help=True, help="Run one party as a process of its own.")
app.add_typer(serve, name="serve")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Config = Annotated[Path, typer.Option("--config", help="Settings file (TOML).", exists=True, dir_okay=False)]


def run() -> None:
    """Run the command line; a problem is one line on standard error and its exit status."""
    try:
        app()
    except ProblemError as problem:
        print(f"lastmetre: {problem}", file=sys.stderr)
        raise SystemExit(problem.status) from None
    except BrokenPipeError:
        raise SystemExit(0) from None


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Options of the program itself."""
    if version:
        print(f"lastmetre {__version__}")
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the run writes its files.")] = Path("demo-out"),
    bearer: Annotated[str, typer.Option(help="How the PPMIDs reach the supplier: https or mqtt.")] = "https",
    json: Json = False,
) -> None:
    """Play the main job: a whole world of real processes on this machine, and the story of three homes."""
    from lastmetre.cli.demo import run_demo

    raise typer.Exit(run_demo(out, bearer=bearer, as_json=json))


@app.command()
def decode(
    message: Annotated[str, typer.Argument(help="A GBCS message: hex, base64, a file, or - for standard input.")],
    keys: Annotated[Path | None, typer.Option(help="Private keys: a directory of PEM files or a CSV.")] = None,
    certificates: Annotated[Path | None, typer.Option(help="A directory of certificates.")] = None,
    json: Json = False,
) -> None:
    """Say what a GBCS message is, who made it for whom, and whether its protection is valid."""
    from lastmetre.cli.decode import run_decode

    run_decode(message, keys=keys, certificates=certificates, as_json=json)


@serve.command("supplier")
def serve_supplier(config: Config) -> None:
    """Run the supplier's delivery service."""
    from lastmetre.cli.processes import run_process
    from lastmetre.cli.supplier_process import SupplierSettings, run_supplier

    run_process(config, SupplierSettings, run_supplier)


@serve.command("dcc")
def serve_dcc(config: Config) -> None:
    """Run the DCC's Data Service Provider, as an emulation."""
    from lastmetre.cli.dcc_process import DccSettings, run_dcc
    from lastmetre.cli.processes import run_process

    run_process(config, DccSettings, run_dcc)


@serve.command("home")
def serve_home(config: Config) -> None:
    """Run one home: its Communications Hub and the devices behind it, as an emulation."""
    from lastmetre.cli.home_process import HomeSettings, run_home
    from lastmetre.cli.processes import run_process

    run_process(config, HomeSettings, run_home)


@app.command()
def agent(config: Config) -> None:
    """Run the PPMID's agent: takes sealed Commands from the supplier and passes them up the Zigbee tunnel."""
    from lastmetre.cli.agent_process import AgentSettings, run_agent
    from lastmetre.cli.processes import run_process

    run_process(config, AgentSettings, run_agent)
