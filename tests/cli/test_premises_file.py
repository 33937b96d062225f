"""``serve home --premises`` and ``hht``: homes of one file, time that runs faster, and a field visit by a process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from lastmetre.cli.app import serve_home
from lastmetre.cli.field_visit import Visit, run_hht
from lastmetre.cli.home_process import PremisesSettings, run_premises
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.axdr import LongUnsigned
from lastmetre.gbcs.catalogue import Role, use_case_by_name
from lastmetre.gbcs.dlms import AccessRequest, Action, Obis, encode_access_request
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.protect import pre_command, seal, sign_pre_command
from lastmetre.gbcs.utrn import ValueClass, make_utrn
from lastmetre.links.faceplate import ask_faceplate
from lastmetre.links.keystore import Keyring
from lastmetre.links.pki import DeviceIdentity, Organisation, TestSmki
from lastmetre.relay.hht_pack import Pack, decode_responses, encode_pack
from tests.program import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lastmetre.links.faceplate import Answer

TOKEN = "in front of the whole street"
SUPPLIER, BROKER = "00005eef10000010", "00005eef10000002"
HHT, STRANGER = "00005eef100000f7", "00005eef100000f8"
SPEED = 600.0


def ids(letter: str) -> dict[str, str]:
    """The devices of a home."""
    names = ("esme", "gsme", "chf", "gpf", "ppmid")
    return {name: f"00005eef100000{letter}{number}" for number, name in enumerate(names)}


def home(letter: str, **more: object) -> dict[str, object]:
    """One home of the file."""
    device = ids(letter)
    return {
        "hub_id": device["chf"],
        "chf": {},
        "esme": {"id": device["esme"], "balance": 100_000, "load": {"watts": 2_000}},
        "ppmid": {"id": device["ppmid"], "inside": True},
        "gsme": {"id": device["gsme"], "proxy_id": device["gpf"], "balance": 10_000_000, "litres_per_day": 48_000},
        "faceplate": {"token": TOKEN},
        **more,
    }


@pytest.fixture(scope="module")
def smki(tmp_path_factory: pytest.TempPathFactory) -> TestSmki:
    """Keys of everybody, made for the occasion."""
    made = TestSmki(tmp_path_factory.mktemp("premises") / "smki", now=dt.datetime.now(dt.UTC))
    made.add_organisation(Organisation("supplier", bytes.fromhex(SUPPLIER), Role.SUPPLIER, tuple(KeyUse)))
    made.add_organisation(Organisation("dcc", bytes.fromhex(BROKER), Role.ACCESS_CONTROL_BROKER))
    for letter in "ab":
        for device_id in ids(letter).values():
            made.add_device(DeviceIdentity("homes", bytes.fromhex(device_id)))
    return made


def settings(smki: TestSmki, path: Path, *homes: dict[str, object], speed: float = SPEED) -> PremisesSettings:
    """The file, as read."""
    raw = {
        "certificates": str(smki.certificates),
        "keys": str(smki.party("homes") / "keys"),
        "store": str(path / "homes.sqlite"),
        "authorities": [str(smki.certificates / "root.pem")],
        "anchors": {"supplier": SUPPLIER, "access_control_broker": BROKER},
        "clock": {"speed": speed},
        "home": homes,
    }
    return msgspec.convert(raw, PremisesSettings)


@contextlib.asynccontextmanager
async def running(
    file: PremisesSettings, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[dict[str, dict[str, int]]]:
    """The homes as a task; their ready events by hub."""
    ending = asyncio.Event()
    task = asyncio.create_task(run_premises(file, ending))
    try:
        told: list[dict[str, object]] = []
        async with asyncio.timeout(20):
            while not any(event["event"] == "premises_ready" for event in told):
                assert not task.done(), task.result()
                await asyncio.sleep(0.02)
                told += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        yield {str(event["hub_id"]): event for event in told if event["event"] == "ready"}  # type: ignore[misc]
    finally:
        ending.set()
        await task


async def ask(port: int, **request: object) -> Answer:
    """Somebody in the home asks."""
    return await ask_faceplate("127.0.0.1", port, TOKEN, request)


def test_two_homes_of_a_file_live_in_fast_time(
    smki: TestSmki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten minutes a second: gas meters wake and report untold; a PPMID's code is credited; states remain."""

    async def until_gas(port: int) -> Answer:
        async with asyncio.timeout(20):
            while True:
                shown = await ask(port, do="display")
                assert isinstance(shown["gas_copy"], dict)
                if shown["gas_copy"]["volume_litres"]:
                    return shown
                await asyncio.sleep(0.1)

    async def live() -> None:
        file = settings(smki, tmp_path, home("a"), home("b"))
        ring = Keyring.open(certificates=smki.certificates, keys=smki.party("supplier") / "keys", password=None)
        meter = bytes.fromhex(ids("a")["esme"])
        secret = agree(
            ring.private_key(bytes.fromhex(SUPPLIER), KeyUse.PREPAYMENT),
            ring.certificate(meter, KeyUse.KEY_AGREEMENT).public_key,
        )
        code = make_utrn(
            500, ValueClass.PENCE, originator_counter=7 << 32, supplier_id=bytes.fromhex(SUPPLIER), device_id=meter,
            secret=secret,
        ).digits  # fmt: skip
        async with running(file, capsys) as ready:
            ports = {hub: event["faceplate_port"] for hub, event in ready.items()}
            assert len(ports) == 2
            assert [event["air_port"] for event in ready.values()] == [None, None]
            first = ports[ids("a")["chf"]]
            await ask(first, do="ppmid", enter=code)
            assert await until_gas(ports[ids("b")["chf"]])
            shown = await ask(first, do="display")
            assert (shown["balance"], shown["ppmid"]) == (600_000, "electricity: code accepted")
        async with running(file, capsys) as ready:
            shown = await ask(ready[ids("a")["chf"]]["faceplate_port"], do="display")
            assert (shown["balance"], shown["utrn_cache"]) == (600_000, [7])

    asyncio.run(live())


def arm(smki: TestSmki, meter_id: str, counter: int) -> bytes:
    """ECS44, signed by the supplier and sealed by the broker."""
    supplier, broker, meter = (bytes.fromhex(text) for text in (SUPPLIER, BROKER, meter_id))
    code = use_case_by_name("ECS44").message_code
    header = GroupingHeader(Cra.COMMAND, counter, supplier, meter, OtherInformation(code))
    script = Action(9, Obis.parse("0-0:10.0.106"), 1)
    content = encode_access_request(AccessRequest(counter & 0xFFFFFF, ((script, LongUnsigned(54)),)))
    suppliers = Keyring.open(certificates=smki.certificates, keys=smki.party("supplier") / "keys", password=None)
    brokers = Keyring.open(certificates=smki.certificates, keys=smki.party("dcc") / "keys", password=None)
    signed = sign_pre_command(pre_command(header, content), suppliers.private_key(supplier, KeyUse.DIGITAL_SIGNATURE))
    shared = agree(
        brokers.private_key(broker, KeyUse.KEY_AGREEMENT),
        suppliers.certificate(meter, KeyUse.KEY_AGREEMENT).public_key,
    )
    return seal(signed, shared)


def pack_file(smki: TestSmki, path: Path, *commands: bytes) -> Path:
    """A pack of the supplier's."""
    ring = Keyring.open(certificates=None, keys=smki.party("supplier") / "keys", password=None)
    pack = Pack(bytes.fromhex(ids("a")["chf"]), bytes.fromhex(SUPPLIER), 1_795_400_000, commands)
    path.write_bytes(encode_pack(pack, ring.private_key(pack.issuer_id, KeyUse.DIGITAL_SIGNATURE)))
    return path


async def visit(smki: TestSmki, pack: Path, port: int, out: Path, *more: str, device: str = HHT) -> tuple[int, str]:
    """The field tool, as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lastmetre", "hht", "--pack", str(pack), "--certificates", str(smki.certificates),
        "--device", device, "--hub-port", str(port), "--out", str(out), "--wait-s", "5", *more,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    shown, _ = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode or 0, shown.decode()


@pytest.mark.parametrize("network_key", [None, "000102030405060708090a0b0c0d0e0f"])
def test_a_field_visit(
    smki: TestSmki, tmp_path: Path, capsys: pytest.CaptureFixture[str], network_key: str | None
) -> None:
    """In the clear and under keys: the tool joins, delivers, brings the Response; a strange terminal may not join."""
    row = home(
        "a", hht={"ids": [HHT]}, air_port=0, **({"security": {"network_key": network_key}} if network_key else {})
    )
    meter = ids("a")["esme"]
    row["esme"] = {"id": meter, "supply": "OFF_BY_COMMAND"}
    pack = pack_file(smki, tmp_path / "pack.json", arm(smki, meter, 9))
    keys = ("--network-key", network_key) if network_key else ()
    out = tmp_path / "responses.json"

    async def live() -> None:
        async with running(settings(smki, tmp_path, row, speed=1.0), capsys) as ready:
            event = ready[ids("a")["chf"]]
            status, words = await visit(smki, pack, event["air_port"], out, *keys, device=STRANGER)
            assert (status, "only if it is known" in words) == (3, True), words
            assert not out.exists()
            status, words = await visit(smki, pack, event["air_port"], out, *keys)
            assert status == 0, words
            shown = await ask(event["faceplate_port"], do="display")
            assert str(shown["supply"]).startswith("armed")

    asyncio.run(live())
    brought = decode_responses(out.read_bytes())
    (response,) = (parse_message(message) for message in brought.responses)
    assert (response.header.cra, response.header.originator_counter) == (Cra.RESPONSE, 9)
    assert brought.failed == ()


def test_a_visit_without_a_hub_and_bad_packs_are_told_in_words(
    smki: TestSmki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent of a pack that was changed; a hub that is not there is named as that."""
    pack = pack_file(smki, tmp_path / "pack.json", arm(smki, ids("a")["esme"], 9))
    changed, none, out = tmp_path / "changed.json", tmp_path / "none", tmp_path / "out"
    changed.write_text(pack.read_text().replace("1795400000", "1795400001"))
    none.mkdir()
    nobody = Visit(bytes.fromhex(HHT), hub_port=9, pan_id=0x1A62, wait_s=1.0)
    with pytest.raises(ProblemError, match=r"signed by its issuer, or was changed since; nothing was sent"):
        run_hht(changed, smki.certificates, out, nobody)
    with pytest.raises(ProblemError, match="whose certificate is not in"):
        run_hht(pack, none, out, nobody)
    with pytest.raises(ProblemError, match="cannot be read"):
        run_hht(tmp_path / "nowhere", smki.certificates, out, nobody)
    assert run_hht(pack, smki.certificates, out, nobody) == 3
    assert "did not answer" in capsys.readouterr().out
    assert not out.exists()


def test_a_premises_file_with_a_wrong_name_is_refused(tmp_path: Path) -> None:
    """One line with the file and the field; and serve home wants one of its two files."""
    file = tmp_path / "premises.toml"
    file.write_text('certificates = "x"\nkeys = "x"\nstore = "x"\nhomes = []\n')
    assert "premises.toml" in refused("serve", "home", "--premises", str(file))
    with pytest.raises(ProblemError, match="either --config or --premises"):
        serve_home()
