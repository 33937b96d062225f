"""The subcommands about DUIS: ``transform``, ``correlate``, ``duis new/sign/verify`` and ``conformance transform``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lastmetre.cli.passphrases import read_passphrase

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Request = Annotated[Path, typer.Argument(metavar="REQUEST.xml", help="A Service Request.", exists=True, dir_okay=False)]
Document = Annotated[Path, typer.Argument(metavar="FILE", help="A DUIS document.", exists=True, dir_okay=False)]
DeviceType = Annotated[str | None, typer.Option(help="The device's type: ESME, GSME, GPF, CHF, PPMID, HCALCS, SAPC.")]
GbcsVersion = Annotated[str | None, typer.Option(help="The device's GBCS version, such as 4.3.")]
Twin = Annotated[bool | None, typer.Option("--twin/--single", help="Whether an ESME has a second element.")]
Phases = Annotated[int | None, typer.Option(help="An ESME's phases: 1 or 3.", min=1, max=3)]
Role = Annotated[str | None, typer.Option(help="The User's role: IS, GS, ED, GT, ES, OU, RSA.")]
OtherType = Annotated[str | None, typer.Option(help="The type of the device to be joined (CS03).")]
OtherCertificate = Annotated[
    Path | None, typer.Option(help="The key agreement certificate of the device to be joined.", exists=True)
]
Pin = Annotated[str | None, typer.Option(help="The PIN that the DCC makes up (SRV 9.1).")]
Broker = Annotated[
    str | None, typer.Option(help="The access control broker's EUI-64, where the device does not know the User.")
]
Schema = Annotated[
    Path | None,
    typer.Option(help="A folder with the official schema, to validate against too.", exists=True, file_okay=False),
]
BrokerCounter = Annotated[int | None, typer.Option(help="Its own counter.")]

duis = typer.Typer(no_args_is_help=True, help="Make, sign or verify a DUIS document.")


def register(app: typer.Typer, conformance: typer.Typer) -> None:
    """Put the subcommands where they belong."""
    app.add_typer(duis, name="duis")
    app.command()(transform)
    app.command()(correlate)
    conformance.command("transform")(conformance_transform)


def transform(
    request: Request,
    device_type: DeviceType = None,
    gbcs_version: GbcsVersion = None,
    twin: Twin = None,
    phases: Phases = None,
    user_role: Role = None,
    other_device_type: OtherType = None,
    other_device_certificate: OtherCertificate = None,
    customer_identification_number: Pin = None,
    broker: Broker = None,
    broker_counter: BrokerCounter = None,
    schema: Schema = None,
    json: Json = False,
) -> None:
    """Build the GBCS message that the DCC would build from a Service Request, with its values by name."""
    from lastmetre.cli.duis_commands import GivenFacts, run_transform

    given = GivenFacts(
        device_type=device_type, gbcs_version=gbcs_version, twin=twin, phases=phases, user_role=user_role,
        other_device_type=other_device_type, other_device_certificate=other_device_certificate,
        customer_identification_number=customer_identification_number, broker=broker, broker_counter=broker_counter,
    )  # fmt: skip
    raise typer.Exit(run_transform(request, given, as_json=json, schema=schema))


def correlate(
    request: Request,
    pre_command: Annotated[str, typer.Argument(help="The Pre-Command: hex, base64, a file, or the DSP's XML.")],
    device_type: DeviceType = None,
    gbcs_version: GbcsVersion = None,
    twin: Twin = None,
    phases: Phases = None,
    user_role: Role = None,
    other_device_type: OtherType = None,
    other_device_certificate: OtherCertificate = None,
    issued_from: Annotated[str | None, typer.Option(help="Gas: the earliest time of issue to accept.")] = None,
    issued_to: Annotated[str | None, typer.Option(help="Gas: the latest time of issue to accept.")] = None,
    schema: Schema = None,
    json: Json = False,
) -> None:
    """Say whether a Pre-Command says what was asked; every difference is named. Exit status 1 if it does not."""
    from lastmetre.cli.duis_commands import GivenFacts, run_correlate

    given = GivenFacts(
        device_type=device_type, gbcs_version=gbcs_version, twin=twin, phases=phases, user_role=user_role,
        other_device_type=other_device_type, other_device_certificate=other_device_certificate,
    )  # fmt: skip
    status = run_correlate(
        request, pre_command, given, as_json=json, issued_from=issued_from, issued_to=issued_to, schema=schema
    )
    raise typer.Exit(status)


def conformance_transform(
    templates: Annotated[Path, typer.Option(help="A folder of request templates.", exists=True, file_okay=False)],
    messages: Annotated[Path, typer.Option(help="A folder of their messages.", exists=True, file_okay=False)],
    expected: Annotated[
        Path | None, typer.Option(help="Stems that are known to differ, each with its reason.", exists=True)
    ] = None,
    json: Json = False,
) -> None:
    """Hold our transform against published requests and messages. Exit status 0 when every difference is expected."""
    from lastmetre.cli.duis_commands import run_conformance_transform

    raise typer.Exit(run_conformance_transform(templates, messages, expected, as_json=json))


@duis.command("new")
def duis_new(
    variant: Annotated[str, typer.Argument(metavar="SRV", help="The Service Reference Variant, such as 7.3.")],
    originator: Annotated[str | None, typer.Option(help="The User's EUI-64.")] = None,
    target: Annotated[str | None, typer.Option(help="The device's EUI-64.")] = None,
    counter: Annotated[int, typer.Option(help="The RequestID's counter.", min=0)] = 1,
    choose: Annotated[list[str] | None, typer.Option(help="An alternative to take, where there are some.")] = None,
) -> None:
    """Print a filled-in, commented skeleton of any Service Request."""
    from lastmetre.cli.duis_commands import run_duis_new

    status = run_duis_new(variant, originator=originator, target=target, counter=counter, choose=tuple(choose or ()))
    raise typer.Exit(status)


@duis.command("sign")
def duis_sign(
    document: Document,
    key: Annotated[Path, typer.Option(help="The signer's private key (PEM).", exists=True, dir_okay=False)],
    certificate: Annotated[Path, typer.Option(help="The signer's certificate (PEM).", exists=True, dir_okay=False)],
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
    passphrase_file: Annotated[Path | None, typer.Option(help="Holds the passphrase of an encrypted key.")] = None,
) -> None:
    """Sign a document in the DUIS profile."""
    from lastmetre.cli.duis_commands import run_duis_sign

    password = read_passphrase(passphrase_file)
    raise typer.Exit(run_duis_sign(document, key=key, certificate=certificate, out=out, password=password))


@duis.command("verify")
def duis_verify(
    document: Document,
    certificates: Annotated[Path, typer.Option(help="A folder of certificates.", exists=True, file_okay=False)],
    schema: Schema = None,
    json: Json = False,
) -> None:
    """Say whether a document's signature is right, and whose it is. Exit status 1 if not."""
    from lastmetre.cli.duis_commands import run_duis_verify

    raise typer.Exit(run_duis_verify(document, certificates=certificates, schema=schema, as_json=json))
