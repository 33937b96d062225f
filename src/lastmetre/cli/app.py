"""The subcommands of ``lastmetre``. Each imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from lastmetre import __version__
from lastmetre.cli import app_duis, dcc_commands, hht_command, hsm_commands, order_commands
from lastmetre.cli.audit_commands import audit
from lastmetre.cli.bench import bench
from lastmetre.cli.capture_command import capture
from lastmetre.cli.policy_commands import policy
from lastmetre.cli.problems import EXIT_USAGE, ProblemError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deliver a GBCS Command to a smart meter by whichever road reaches it, and prove what happened.",
)
serve = typer.Typer(no_args_is_help=True, help="Run one party as a process of its own.")
app.add_typer(serve, name="serve")
utrn = typer.Typer(no_args_is_help=True, help="Make or check a UTRN, the twenty digits of a prepayment top-up.")
app.add_typer(utrn, name="utrn")
conformance = typer.Typer(no_args_is_help=True, help="Check this program against published test data.")
app.add_typer(conformance, name="conformance")
app_duis.register(app, conformance)
app.add_typer(bench, name="bench")
app.add_typer(capture, name="capture")
app.add_typer(audit, name="audit")
app.add_typer(policy, name="policy")
order_commands.register(app)
dcc_commands.register(app)
hsm_commands.register(app)
hht_command.register(app)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Message = Annotated[str, typer.Argument(help="A GBCS message: hex, base64, a file, or - for standard input.")]
Keys = Annotated[Path, typer.Option(help="Private keys: a directory of PEM files, a test SMKI, or a CSV.")]
Certificates = Annotated[Path, typer.Option(help="A directory of certificates, or a test SMKI.")]
Passphrase = Annotated[Path | None, typer.Option("--passphrase-file", help="Holds the passphrase of encrypted keys.")]
Config = Annotated[Path, typer.Option("--config", help="Settings file (TOML).", exists=True, dir_okay=False)]
Role = Annotated[str, typer.Option(help="all, api or worker: which part of the service this process is.")]


def run() -> None:
    """Run the command line; a problem is one line on standard error and its exit status."""
    try:
        status = app(standalone_mode=False)
    except TyperException as problem:  # an option that is missing, unknown or of the wrong kind
        words = " ".join(problem.format_message().split())
        if words:  # none after the help that is shown where nothing at all was asked
            print(f"lastmetre: {words} (--help tells more)", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    except ProblemError as problem:
        print(f"lastmetre: {problem}", file=sys.stderr)
        raise SystemExit(problem.status) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
    raise SystemExit(status if isinstance(status, int) else 0)


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
    policy: Annotated[str, typer.Option(help="What the hubs accept: proposed or permit.")] = "proposed",
    json: Json = False,
) -> None:
    """Play the main job: a whole world of real processes on this machine, and the story of three homes."""
    from lastmetre.cli.demo import run_demo

    raise typer.Exit(run_demo(out, bearer=bearer, as_json=json, policy=policy))


@app.command()
def decode(
    message: Message,
    keys: Annotated[Path | None, typer.Option(help="Private keys: a directory of PEM files or a CSV.")] = None,
    certificates: Annotated[Path | None, typer.Option(help="A directory of certificates.")] = None,
    passphrase_file: Passphrase = None,
    command: Annotated[str | None, typer.Option(help="The Command a Response answers: it names the results.")] = None,
    offsets: Annotated[bool, typer.Option("--offsets", help="Say at which octet each thing stands.")] = False,
    json: Json = False,
) -> None:
    """Say what a GBCS message is, who made it for whom, and whether its protection is valid."""
    from lastmetre.cli.decode import run_decode

    run_decode(
        message, keys=keys, certificates=certificates, passphrase_file=passphrase_file, as_json=json, offsets=offsets,
        command=command,
    )  # fmt: skip


@app.command()
def encode(
    document: Annotated[str, typer.Argument(metavar="FILE", help="A message as decode --json prints it, or -.")],
    base64: Annotated[bool, typer.Option("--base64", help="Print base64 instead of hex.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the octets to this file instead.", dir_okay=False)] = None,
) -> None:
    """Make the octets of a GBCS message from its JSON form, and print them in hex."""
    from lastmetre.cli.encode import run_encode

    run_encode(document, as_base64=base64, output=output)


@conformance.command("rtds")
def conformance_rtds(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A release of the Reference Test Data Set.")],
    certificates: Certificates,
    keys: Keys,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Read, write and check every message of an RTDS release. Exit status 1 if any differs or is invalid."""
    from lastmetre.cli.conformance import run_rtds

    status = run_rtds(directory, certificates=certificates, keys=keys, passphrase_file=passphrase_file, as_json=json)
    raise typer.Exit(status)


@conformance.command("devices")
def conformance_devices(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A release of the Reference Test Data Set.")],
    certificates: Certificates,
    keys: Keys,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Feed every published Command for an electricity meter to the emulated one, and compare what it answers."""
    from lastmetre.cli.conformance_devices import run_conformance_devices

    status = run_conformance_devices(
        directory, certificates=certificates, keys=keys, passphrase_file=passphrase_file, as_json=json
    )
    raise typer.Exit(status)


@serve.command("supplier")
def serve_supplier(config: Config, role: Role = "all") -> None:
    """Run the supplier's delivery service: its API and its worker as two processes, or one of them alone."""
    from functools import partial

    from lastmetre.cli.processes import run_process
    from lastmetre.cli.supplier_process import SupplierSettings, run_supplier

    if role not in {"all", "api", "worker"}:
        raise ProblemError(f"there is no role {role}; there are api, worker and all")
    run_process(config, SupplierSettings, partial(run_supplier, role=role, config=config))


@serve.command("dcc")
def serve_dcc(config: Config) -> None:
    """Run the DCC's Data Service Provider, as an emulation."""
    from lastmetre.cli.dcc_process import DccSettings, run_dcc
    from lastmetre.cli.processes import run_process

    run_process(config, DccSettings, run_dcc)


@serve.command("home")
def serve_home(
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings of one home (TOML).", exists=True, dir_okay=False)
    ] = None,
    premises: Annotated[
        Path | None,
        typer.Option("--premises", help="One or many homes in one file (TOML).", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Run homes: Communications Hubs and the devices behind them, as an emulation."""
    from lastmetre.cli.home_process import HomeSettings, PremisesSettings, run_home, run_premises
    from lastmetre.cli.processes import run_process

    if config is not None and premises is None:
        run_process(config, HomeSettings, run_home)
    elif premises is not None and config is None:
        run_process(premises, PremisesSettings, run_premises)
    else:
        raise ProblemError("serve home needs either --config or --premises")


@app.command()
def agent(config: Config) -> None:
    """Run the PPMID's agent: takes sealed Commands from the supplier and passes them up the Zigbee tunnel."""
    from lastmetre.cli.agent_process import AgentSettings, run_agent
    from lastmetre.cli.processes import run_process

    run_process(config, AgentSettings, run_agent)


@app.command()
def pki(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    home: Annotated[list[str] | None, typer.Option(help="A home by its letter: A, or A:ESME,CHF,PPMID.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="A device under its own EUI-64: ESME:00DB1234567890A0.")
    ] = None,
    suppliers: Annotated[int, typer.Option(help="How many suppliers.", min=1, max=8)] = 2,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Holds the passphrase to encrypt with; else one is made, beside DIR.")
    ] = None,
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Leave the keys readable: throwaway only.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a complete test SMKI: root, issuing authorities, organisations of each role, devices, TLS identities."""
    from lastmetre.cli.pki import run_pki

    run_pki(
        directory, homes=home or (), devices=device or (), suppliers=suppliers, passphrase_file=passphrase_file,
        unencrypted=unencrypted, as_json=json,
    )  # fmt: skip


@utrn.command("new")
def utrn_new(
    pence: Annotated[int, typer.Option(help="The amount: 1 to 8,191 pence, or whole pounds up to 8,191.")],
    counter: Annotated[int, typer.Option(help="The UTRN counter, 32 bits; never used before for this device.")],
    supplier: Annotated[str, typer.Option(help="The supplier's EUI-64.")],
    device: Annotated[str, typer.Option(help="The meter's EUI-64.")],
    keys: Keys,
    certificates: Certificates,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Make a UTRN and print its twenty digits."""
    from lastmetre.cli.utrn import run_new

    run_new(
        pence=pence, counter=counter, supplier=supplier, device=device, keys=keys, certificates=certificates,
        passphrase_file=passphrase_file, as_json=json,
    )  # fmt: skip


@utrn.command("check")
def utrn_check(
    digits: Annotated[str, typer.Argument(help="The twenty digits; spaces and dashes do not matter.")],
    supplier: Annotated[str | None, typer.Option(help="The supplier's EUI-64.")] = None,
    device: Annotated[str | None, typer.Option(help="The meter's EUI-64.")] = None,
    counter: Annotated[int | None, typer.Option(help="The UTRN counter it was made with.")] = None,
    highest_counter: Annotated[
        int | None, typer.Option(help="Or: the highest UTRN counter the meter has used.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="Private keys: the supplier's pp-ka or the meter's ka.")] = None,
    certificates: Annotated[Path | None, typer.Option(help="A directory of certificates, or a test SMKI.")] = None,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Say what is in a UTRN; with keys, whether it is authentic. Exit status 1 if not, 2 if the digits are none."""
    from lastmetre.cli.utrn import run_check

    status = run_check(
        digits, supplier=supplier, device=device, counter=counter, highest_counter=highest_counter, keys=keys,
        certificates=certificates, passphrase_file=passphrase_file, as_json=json,
    )  # fmt: skip
    raise typer.Exit(status)


@app.command()
def sign(
    message: Message,
    keys: Keys,
    certificates: Annotated[Path | None, typer.Option(help="Certificates, to make sure that the key fits.")] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Sign a Pre-Command with its Business Originator's key, and print the Signed Pre-Command in hex."""
    from lastmetre.cli.protect_commands import run_sign

    run_sign(message, keys=keys, certificates=certificates, passphrase_file=passphrase_file)


@app.command()
def seal(
    message: Message,
    keys: Keys,
    certificates: Certificates,
    broker: Annotated[
        str | None, typer.Option(help="The access control broker's EUI-64, where there are several.")
    ] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Seal a DF part with the access control broker's key, and print the Command in hex."""
    from lastmetre.cli.protect_commands import run_seal

    run_seal(message, keys=keys, certificates=certificates, broker=broker, passphrase_file=passphrase_file)


@app.command()
def verify(
    message: Message,
    certificates: Certificates,
    keys: Annotated[Path | None, typer.Option(help="Private keys: the device's ka or the broker's.")] = None,
    device: Annotated[str | None, typer.Option(help="The device's EUI-64, if not the one it is addressed to.")] = None,
    device_type: Annotated[str | None, typer.Option(help="Its type: ESME, GSME, CHF, ...")] = None,
    trust: Annotated[list[str] | None, typer.Option(help="A party whose certificates the device holds.")] = None,
    highest_counter: Annotated[
        int | None, typer.Option(help="The highest counter it accepted of the originator; a UTRN counter for top-ups.")
    ] = None,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Judge a Command as the device would, step by step. Exit status 1 unless it would be accepted."""
    from lastmetre.cli.protect_commands import run_verify

    status = run_verify(
        message, keys=keys, certificates=certificates, passphrase_file=passphrase_file, device=device,
        device_type=device_type, trust=trust or (), highest_counter=highest_counter, as_json=json,
    )  # fmt: skip
    raise typer.Exit(status)
