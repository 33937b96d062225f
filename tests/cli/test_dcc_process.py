"""``lastmetre serve dcc`` as a process of its own: real keys from disk, real mutual TLS, SIGTERM, and a restart."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.duis.documents import (
    GbcsPayload,
    Request,
    ResponseMessage,
    VerifiedResponse,
    build_signed_request,
    read_signed_response,
    signed_pre_command,
)
from lastmetre.duis.signature import Signer
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import (
    Cra,
    GroupingHeader,
    Message,
    OtherInformation,
    encode_message,
    parse_message,
)
from lastmetre.gbcs.protect import mac_of, sign_pre_command, unsigned_df, verify_mac, verify_signature
from lastmetre.links.duis_http import DspClient, create_receive_response_app
from lastmetre.links.http_server import serve
from lastmetre.links.keystore import Keyring
from lastmetre.links.pki import DeviceIdentity, Organisation, TestSmki, TlsIdentity, XmlIdentity
from lastmetre.links.tls import client_context, server_context
from lastmetre.links.wan import BackOff, WanLink
from tests.dsp_world import arm, code, local_command, pre_command, read_balance
from tests.own_world import BROKER, CHF, ESME, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DEADLINE_S = 60.0
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


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """DSP, supplier and one home; every key is encrypted at rest."""
    directory = tmp_path_factory.mktemp("dcc")
    (directory / "passphrase").write_bytes(PASSPHRASE + b"\n")
    (directory / "passphrase").chmod(0o600)
    smki = TestSmki(directory / "smki", now=dt.datetime.now(dt.UTC), passphrase=PASSPHRASE)
    smki.add_all(
        [
            Organisation("dcc", BROKER, Role.ACCESS_CONTROL_BROKER),
            Organisation("supplier", SUPPLIER, Role.SUPPLIER),
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


def settings(parties: Parties, receive_port: int, **more: str) -> Path:
    """A settings file."""
    ca, certificate, key, _passphrase = parties.tls("dcc")
    text = f"""
acb_id = "{BROKER.hex()}"
database = "embedded"
database_folder = "{parties.directory / "postgres"}"
certificates = "{parties.smki.certificates}"
keys = "{parties.smki.party("dcc") / "keys"}"
passphrase_file = "{parties.directory / "passphrase"}"
{"".join(f"{name} = {value}" for name, value in more.items())}

[tls]
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"

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
async def serve_dcc(config: Path) -> AsyncIterator[Process]:
    """The DSP as a process, ended by SIGTERM, with exit status 0."""
    command = (sys.executable, "-c", "from lastmetre.cli import main; main()", "serve", "dcc", "--config", str(config))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield Process(process)
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
        certificate = self.keyring.find_xml_signer(BROKER)
        verified = read_signed_response(document, lambda _issuer, _serial: certificate, BROKER)
        assert isinstance(verified, VerifiedResponse)
        return verified

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


def run(coroutine: object) -> None:
    """Run one test's coroutine; it hangs no longer than the deadline."""
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))  # type: ignore[arg-type]


def test_the_process_from_end_to_end(parties: Parties) -> None:
    """Local and WAN Commands by real sockets, a Response pushed to the User, SIGTERM, counters kept at the restart."""

    async def play() -> None:
        pushed: asyncio.Queue[bytes] = asyncio.Queue()
        supplier_tls, dcc = parties.tls("supplier"), parties.keyring("dcc")

        async def on_response(sender_id: bytes, document: bytes) -> bool:
            assert sender_id == BROKER
            await pushed.put(document)
            return True

        app = create_receive_response_app(on_response)
        async with serve(app, "127.0.0.1", 0, server_context(*supplier_tls)) as receiving:
            config = settings(parties, receiving.port)
            async with serve_dcc(config) as dsp, contextlib.AsyncExitStack() as stack:
                ready = await dsp.event("ready")
                base = f"https://127.0.0.1:{ready['duis_port']}"
                client = await stack.enter_async_context(DspClient(base, client_context(*supplier_tls)))
                supplier = Supplier(client, parties.keyring("supplier"))

                command = await supplier.arm(10)
                secret = agree(dcc.private_key(BROKER, KA), dcc.certificate(ESME, KA).public_key)
                verify_mac(parse_message(command), secret)
                verify_signature(parse_message(command), dcc.certificate(SUPPLIER, DS).public_key)

                by_wan: asyncio.Queue[bytes] = asyncio.Queue()
                link = WanLink(
                    "127.0.0.1", ready["wan_port"], client_context(*parties.tls("home")), by_wan.put,
                    gateway_id=BROKER, back_off=BackOff(0.01, 0.1),
                )  # fmt: skip
                hub = asyncio.create_task(link.run())
                await link.wait_connected()
                read = read_balance(11, 1)
                answer = supplier.read(await client.send_command(supplier.document(read))).response
                assert code(answer) == "I99"
                response = balance_response(parties, await by_wan.get())
                assert await link.send(response)
                body = supplier.read(await pushed.get()).response.body
                assert isinstance(body, ResponseMessage)
                assert body.payload == GbcsPayload(response)
                hub.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await hub
                await dsp.event("hub_disconnected")
            async with serve_dcc(config) as dsp:
                ready = await dsp.event("ready")
                base = f"https://127.0.0.1:{ready['duis_port']}"
                async with DspClient(base, client_context(*supplier_tls)) as client:
                    supplier = Supplier(client, parties.keyring("supplier"))
                    answer = supplier.read(await client.non_device(supplier.document(read_balance(11, 2)))).response
                    assert code(answer) == "E40"
                    answer = supplier.read(await client.non_device(supplier.document(read_balance(10, 2)))).response
                    assert code(answer) == "E40"
                    answer = supplier.read(await client.non_device(supplier.document(read_balance(9, 2)))).response
                    assert code(answer) == "E41"
                    local_command(supplier.read(await client.non_device(supplier.document(read_balance(12)))).response)

    run(play())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"unknown": "1"}, "unknown"),
        ({"wan_port": "70000"}, "wan_port"),
        ({"issuers": '["nobody.pem"]'}, "nobody.pem"),
    ],
)
def test_wrong_settings_are_one_clear_line(parties: Parties, wrong: dict[str, str], words: str) -> None:
    """A wrong settings file ends the process at once with status 2 and a line that names what is wrong."""

    async def play() -> None:
        config = settings(parties, 1, **wrong)
        command = (sys.executable, "-c", "from lastmetre.cli import main; main()", "serve", "dcc", "--config", config)
        process = await asyncio.create_subprocess_exec(*map(str, command), stderr=asyncio.subprocess.PIPE)
        _, errors = await process.communicate()
        assert process.returncode == 2
        lines = errors.decode().splitlines()
        assert len(lines) == 1
        assert words in lines[0]

    run(play())
