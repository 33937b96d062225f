"""``serve dcc`` as a process for tests: a test SMKI on disk, its settings file, a User that signs and verifies."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lastmetre.duis.documents import (
    Request,
    VerifiedResponse,
    build_signed_request,
    read_signed_response,
    signed_pre_command,
)
from lastmetre.duis.signature import Signer
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import Cra, GroupingHeader, Message, OtherInformation, encode_message, parse_message
from lastmetre.gbcs.protect import mac_of, sign_pre_command, unsigned_df
from lastmetre.links.keystore import Keyring
from lastmetre.links.pki import DeviceIdentity, Organisation, TestSmki, TlsIdentity, XmlIdentity
from tests.dsp_world import arm, local_command, pre_command
from tests.own_world import BROKER, CHF, ESME, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from lastmetre.links.duis_http import DspClient

DS, KA = KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT
PASSPHRASE = b"a passphrase for tests"


@dataclass
class Parties:
    """A test SMKI on disk and what each party opens of it."""

    directory: Path
    smki: TestSmki

    def tls(self, party: str) -> tuple[Path, Path, Path, bytes]:
        """A party's TLS files, and what opens the key."""
        home = self.smki.party(party)
        return self.smki.tls_ca, home / "tls.pem", home / "tls.key", PASSPHRASE

    def keyring(self, party: str) -> Keyring:
        """A party's keys, and everybody's certificates."""
        return Keyring.open(
            certificates=self.smki.certificates, keys=self.smki.party(party) / "keys", password=PASSPHRASE
        )


def make_parties(directory: Path) -> Parties:
    """DSP, supplier and one home; every key is encrypted at rest."""
    (directory / "passphrase").write_bytes(PASSPHRASE + b"\n")
    (directory / "passphrase").chmod(0o600)
    smki = TestSmki(directory / "smki", now=dt.datetime.now(dt.UTC), passphrase=PASSPHRASE)
    smki.add_all(
        [
            Organisation("dcc", BROKER, Role.ACCESS_CONTROL_BROKER),
            Organisation("supplier", SUPPLIER, Role.SUPPLIER, tuple(KeyUse)),
            DeviceIdentity("home", ESME),
            DeviceIdentity("home", CHF),
            XmlIdentity("supplier", SUPPLIER),
            XmlIdentity("dcc", BROKER, Role.XML_SIGN_DSP),
            TlsIdentity("dcc", BROKER),
            TlsIdentity("supplier", SUPPLIER),
            TlsIdentity("home", CHF),
        ]
    )
    return Parties(directory, smki)


def settings(parties: Parties, receive_port: int, tables: str = "", **more: str) -> Path:
    """A settings file; ``tables`` are put before the Users."""
    ca, certificate, key, _passphrase = parties.tls("dcc")
    text = f"""
acb_id = "{BROKER.hex()}"
database = "embedded"
database_folder = "{parties.directory / "postgres"}"
certificates = "{parties.smki.certificates}"
keys = "{parties.smki.party("dcc") / "keys"}"
passphrase_file = "{parties.directory / "passphrase"}"
{os.linesep.join(f"{name} = {value}" for name, value in more.items())}

[tls]
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"

{tables}
[[user]]
id = "{SUPPLIER.hex()}"
roles = ["IS"]
receive_url = "https://localhost:{receive_port}/duis/v1/responses"

[[device]]
id = "{CHF.hex()}"
type = "CHF"
registrations = [{{ role = "IS", user = "{SUPPLIER.hex()}", since = 2020-01-01T00:00:00Z }}]

[[device]]
id = "{ESME.hex()}"
type = "ESME"
hub = "{CHF.hex()}"
esme_variant = "A"
registrations = [{{ role = "IS", user = "{SUPPLIER.hex()}" }}]
"""
    path = parties.directory / "dcc.toml"
    path.write_text(text)
    return path


class Process:
    """The process, its events one by one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of this name."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        raise AssertionError(f"the process ended before it told {name}")


@contextlib.asynccontextmanager
async def serve_dcc(config: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """The DSP as a process, ended by SIGTERM, with exit status 0, unless it was killed before."""
    command = (sys.executable, "-c", "from lastmetre.cli import main; main()", "serve", "dcc", "--config", str(config))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **(environment or {})}
    )
    try:
        yield Process(process)
        if process.returncode is None:
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def read_document(keyring: Keyring, document: bytes) -> VerifiedResponse:
    """A document of the DSP, verified."""
    certificate = keyring.find_xml_signer(BROKER)
    verified = read_signed_response(document, lambda _issuer, _serial: certificate, BROKER)
    assert isinstance(verified, VerifiedResponse)
    return verified


@dataclass
class Supplier:
    """A test User: signs requests, verifies answers."""

    client: DspClient
    keyring: Keyring

    def document(self, request: Request) -> bytes:
        """The request, signed."""
        certificate, key = self.keyring.find_xml_signer(SUPPLIER), self.keyring.find_xml_signing_key(SUPPLIER)
        assert certificate is not None
        assert key is not None
        return build_signed_request(request, Signer(key, certificate.issuer_name, certificate.serial_number))

    def read(self, document: bytes) -> VerifiedResponse:
        """A document of the DSP."""
        return read_document(self.keyring, document)

    async def arm(self, counter: int) -> bytes:
        """CV4, signature, CV6: a finished Command."""
        answer = self.read(await self.client.transform(self.document(arm(counter)))).response
        signed = sign_pre_command(pre_command(answer), self.keyring.private_key(SUPPLIER, DS))
        last = signed_pre_command(arm(counter), signed, 6)
        return local_command(self.read(await self.client.non_device(self.document(last))).response)


def balance_response(parties: Parties, command: bytes) -> bytes:
    """A Response as the meter would make it: here only its protection matters."""
    head = parse_message(command).header
    header = GroupingHeader(Cra.RESPONSE, head.originator_counter, ESME, SUPPLIER, OtherInformation(head.message_code))
    home = parties.keyring("home")
    secret = agree(home.private_key(ESME, KA), home.certificate(SUPPLIER, KA).public_key)
    mac = mac_of(unsigned_df(header, b"\xda"), header, secret)
    return encode_message(Message(header, b"\xda", b"", mac))
