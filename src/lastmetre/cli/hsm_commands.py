"""``lastmetre hsm``: keys in a hardware security module, by PKCS#11 (extra ``hsm``; docs/dcc.md, "Keys and database").

``import`` puts keys from files into a token, for tests and for moving in. A key that was ever in a file is as safe as
that file was: for production make keys in the token, and have its public key certified.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

hsm = typer.Typer(no_args_is_help=True, help="Keys in a hardware security module (PKCS#11).")


@hsm.command("import")
def import_(
    key: Annotated[list[Path], typer.Argument(help="Key files, named as lastmetre pki names them.", dir_okay=False)],
    module: Annotated[Path, typer.Option(help="The HSM's PKCS#11 library.")],
    token: Annotated[str, typer.Option(help="The token's label.")],
    pin_file: Annotated[Path | None, typer.Option(help="Holds the token's PIN; else LASTMETRE_HSM_PIN has it.")] = None,
    passphrase_file: Annotated[Path | None, typer.Option(help="Holds the passphrase of encrypted keys.")] = None,
) -> None:
    """Put keys into a token, never to come out again. The files are left: delete them when the token works."""
    from lastmetre.cli.passphrases import read_passphrase
    from lastmetre.cli.problems import EXIT_FAILED, ProblemError
    from lastmetre.links.errors import LinkError
    from lastmetre.links.keystore import load_private_key
    from lastmetre.links.keystore_hsm import TokenKeys, label_of, read_pin

    try:
        passphrase = read_passphrase(passphrase_file)
        keys = [(path, load_private_key(path, passphrase)) for path in key]
        with TokenKeys(module, token, read_pin(pin_file)) as opened:
            for path, private_key in keys:
                opened.add(path.name, private_key)
                print(f"{label_of(path.name)} is in the token {token}; it signs and agrees there, and stays there.")
    except LinkError as error:
        raise ProblemError(str(error), EXIT_FAILED) from error


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(hsm, name="hsm")
