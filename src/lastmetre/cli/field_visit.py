"""A field visit, as ``lastmetre hht`` plays it: join a hub's network, hand over a pack, bring back Responses.

The hub is a ``serve home`` process on this machine; the air between is ZEP over UDP. Rules:

* A pack is checked before anything is on the air: its issuer's signature, its hub, its Commands.
* The Responses are written after each one that comes, in one step, so that a tool that is switched off loses none.
* Exit status 0 when every Command was answered, 1 when some were not (the file says which and why), 2 when the pack or
  the way it was asked is wrong, 3 when the hub did not let it join.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.cli.home_build import first_frame_counter, link_key
from lastmetre.cli.keyrings import Keys
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.keys import KeyUse
from lastmetre.han import HandheldDevice, Joined, JoiningRadio, JoinStatus, Security, TunnelOpened
from lastmetre.home.hht import FieldTool
from lastmetre.links.air import LOOPBACK, Pump, open_radio
from lastmetre.links.errors import LinkError
from lastmetre.relay.hht_pack import FieldResponses, Pack, PackRefused, decode_pack, encode_responses, pack_issuer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lastmetre.han import Event, NotJoined

EXIT_UNANSWERED: Final = 1
EXIT_NOT_JOINED: Final = 3
NO_ADDRESS: Final = 0xFFFF
_WHY_NOT: Final = {
    JoinStatus.DENIED: "the hub refused: a terminal may join within 60 minutes of the hub's power-on only, and only if "
    "it is known there ([hht] in its settings)",
    JoinStatus.AT_CAPACITY: "the hub refused: another terminal is listed; a hub has one at a time",
    None: "the hub did not answer: is it at this port, and is the PAN id right?",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """How the tool was asked to go."""

    device_id: bytes
    hub_port: int
    pan_id: int
    wait_s: float
    network_key: bytes | None = None


def run_hht(pack_file: Path, certificates: Path, out: Path, visit: Visit) -> int:
    """Play a visit; returns the exit status."""
    pack = _read(pack_file, certificates)
    print(f"pack: {len(pack.commands)} Commands for hub {pack.hub_id.hex()}, signed by {pack.issuer_id.hex()}")
    try:
        return asyncio.run(_visit(pack, out, visit))
    except LinkError as error:
        raise ProblemError(str(error)) from error


def _read(path: Path, certificates: Path) -> Pack:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProblemError(f"{path} cannot be read: {error.strerror}") from error
    try:
        issuer_id = pack_issuer(data)
        keys = Keys(certificates=certificates, keys=None, passphrase_file=None)
        certificate = keys.certificate(issuer_id, KeyUse.DIGITAL_SIGNATURE)
        if certificate is None:
            raise ProblemError(f"{path} names issuer {issuer_id.hex()}, whose certificate is not in {certificates}")
        return decode_pack(data, certificate)
    except PackRefused as error:
        raise ProblemError(f"{path}: the pack {error}; nothing was sent") from error


async def _visit(pack: Pack, out: Path, visit: Visit) -> int:
    feeds: list[Callable[[bytes], object]] = []
    address = LOOPBACK, visit.hub_port

    def hear(frame: bytes) -> object:
        return feeds[-1](frame)  # of the radio that joins, later of the one that has joined

    async with open_radio(address, NO_ADDRESS, hear) as radio:
        joining = JoiningRadio(visit.device_id, visit.pan_id, pack.hub_id)
        answers: asyncio.Queue[Joined | NotJoined] = asyncio.Queue()
        pump: Pump[Joined | NotJoined] = Pump(joining, answers.put_nowait)
        feeds.append(pump.feed)
        task = asyncio.create_task(pump.run(radio.send))
        try:
            answer = await answers.get()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not isinstance(answer, Joined):
            print(f"not joined: {_WHY_NOT[answer.status]}")
            return EXIT_NOT_JOINED
        print(f"joined as {answer.short_address:#06x}")
        return await _deliver(pack, out, visit, answer.short_address, feeds, radio.send)


async def _deliver(  # what to carry, how, and through which radio
    pack: Pack,
    out: Path,
    visit: Visit,
    short_address: int,
    feeds: list[Callable[[bytes], object]],
    send: Callable[[bytes], bool],
) -> int:
    device = HandheldDevice(
        visit.device_id, short_address, visit.pan_id, pack.hub_id, first_counter=secrets.randbelow(256)
    )
    if visit.network_key is not None:
        links = {pack.hub_id: link_key(visit.network_key, pack.hub_id, visit.device_id)}
        device.node.security = Security(visit.network_key, links, first_counter=first_frame_counter(int(time.time())))
    tool = FieldTool(device, pack.commands)
    changed = asyncio.Event()

    def happened(event: Event) -> None:
        tool.happened(event, int(time.time()))
        if isinstance(event, TunnelOpened):
            print(f"tunnel {event.tunnel_id} is open")
        tool.go_on(pump.now())
        changed.set()

    pump: Pump[Event] = Pump(device, happened)
    feeds.append(pump.feed)
    task = asyncio.create_task(pump.run(send))
    try:
        await _until_done(tool, pump, changed, visit.wait_s, lambda: _write(out, pack, tool))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    print(f"{len(tool.responses)} messages brought back, {len(tool.failed)} Commands without an answer: {out}")
    return EXIT_UNANSWERED if tool.failed else 0


async def _until_done(
    tool: FieldTool, pump: Pump[Event], changed: asyncio.Event, wait_s: float, write: Callable[[], None]
) -> None:
    """Hand over one Command after the other; each is waited for so long from when anything happened last."""
    tool.go_on(pump.now())
    pump.wake()
    seen = -1
    while not tool.is_done:
        changed.clear()
        try:
            async with asyncio.timeout(wait_s):
                while not tool.is_done and len(tool.responses) + len(tool.failed) == seen:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            tool.give_up()
            tool.go_on(pump.now())
            pump.wake()
        seen = len(tool.responses) + len(tool.failed)
        write()
    write()


def _write(out: Path, pack: Pack, tool: FieldTool) -> None:
    brought = FieldResponses(pack.hub_id, pack.issuer_id, pack.issued_at, tuple(tool.responses), tuple(tool.failed))
    partial = out.with_name(out.name + ".part")
    try:
        partial.write_bytes(encode_responses(brought))
        partial.replace(out)
    except OSError as error:
        raise ProblemError(f"{out} cannot be written: {error.strerror}") from error
