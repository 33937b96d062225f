"""``lastmetre agent``: the PPMID's agent as a process. Its settings, and how its rooms and links are put together.

Settings, in TOML (paths are taken from the working directory; ids are 16 hexadecimal digits)::

    agent_id = "00005eef100000a4"        # the PPMID: its certificate's name, its EUI-64 on the HAN
    hub_id = "00005eef100000a2"          # the one hub it serves
    device_ids = ["00005eef100000a0"]    # the only devices it carries for; leave it out for any behind that hub
    supplier_id = "00005eef10000010"     # the only supplier it talks to by HTTPS
    bearer = "https"                     # or "mqtt"
    url = "https://127.0.0.1:9090"       # or "mqtts://127.0.0.1:8883"
    store = "agent-a/agent.sqlite"
    passphrase_file = "smki.passphrase"  # leave it out where the key is not encrypted

    [fallback]                           # the bearer to use while the first is down; leave it out to have one only
    bearer = "mqtt"
    url = "mqtts://127.0.0.1:8883"

    [tls]
    ca = "smki/tls/ca.pem"
    certificate = "smki/tls/00005eef100000a4.pem"
    key = "smki/tls/00005eef100000a4.key"

    [relay]                              # what is read of envelopes and written of receipts (docs/relay.md)
    key = "smki/parties/agent-a/relay.key"
    supplier = "smki/relay/00005eef10000010.pem" # the supplier's certificate; two of them while a new one takes over

    [air]
    hub_port = 17754                     # the hub's UDP port on this machine
    pan_id = 0x1A62
    short_address = 0x4A21
    esme_id = "00005eef100000a0"         # whom the buttons speak to
    esme_short_address = 0x1001

    # [stack]                            # instead of [air]: a maker's own Zigbee stack (docs/stack-line.md)
    # socket = "/run/ppmid.sock"         # or serial = "/dev/ttyS1" and, if it is not 115200, bits_per_s
    # esme_id = "00005eef100000a0"

    [faceplate]                          # leave it out, and nobody can press anything
    token = "at least sixteen characters"
    port = 0                             # 0 takes any free port; the ready event tells which
    pass_up = false                      # true: any bytes may be pushed up the tunnel (unsafe_bench)

The faceplate does ``{"do": "display"}``, ``{"do": "press", "button": "enable-supply"}`` and, when allowed,
``{"do": "pass-up", "message": "<hex>"}``.

Events besides those of ``lastmetre.agent``: ``ready`` (party, agent_id, bearer, faceplate_port), ``button_pressed``
(button), ``button_answered`` (button, outcome, status), ``han_frame_dropped`` (reason, detail),
``bench_message_passed_up`` (message), ``envelope_not_opened`` (field, reason), ``stack_connected``, ``stack_lost``
(reason, wait_ms), ``stack_line_dropped`` (reason).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import random
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from lastmetre.agent.bearers import BearersInOrder, NamedBearer
from lastmetre.agent.core import Binding, StoreAndForward
from lastmetre.agent.errors import AgentError, TunnelDownError
from lastmetre.agent.keypad import BUTTONS, SUCCESS, words_for
from lastmetre.agent.runner import Runner
from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import EXIT_FAILED, ProblemError
from lastmetre.cli.processes import run_process, tell_line
from lastmetre.cli.settings import EntityId, Pan, Port, Short, TlsFiles  # noqa: TC001 - msgspec reads them
from lastmetre.han import ConsumerTopUp
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.links.air import LOOPBACK
from lastmetre.links.errors import LinkError
from lastmetre.links.faceplate import FaceplateRefused, serve_faceplate
from lastmetre.links.ppmid_radio import NoAnswerError, PpmidRadio, RadioSettings
from lastmetre.links.relay_cose import AgentSide, RelayKeyError, SealedBearer, load_relay_certificates, load_relay_key
from lastmetre.links.stack_line import SPEEDS, LineStack, StackSettings, StackSilentError
from lastmetre.links.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.agent.ports import Bearer
    from lastmetre.links.faceplate import Answer, Handler


class RelayFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The agent's relay key, and whose envelopes it opens."""

    key: str
    supplier: str


class FallbackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The second way to the supplier."""

    bearer: Literal["https", "mqtt"]
    url: str


class AirSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the PPMID is on the HAN."""

    hub_port: Port
    pan_id: Pan
    short_address: Short
    esme_id: EntityId
    esme_short_address: Short


class StackSettingsRead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a maker's Zigbee stack listens."""

    esme_id: EntityId
    socket: str | None = None
    serial: str | None = None
    bits_per_s: int = 115_200


class FaceplateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The PPMID's front, for demonstrations."""

    token: str
    port: Port = 0
    pass_up: bool = False


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything ``lastmetre agent`` reads from its file."""

    agent_id: EntityId
    hub_id: EntityId
    supplier_id: EntityId
    url: str
    store: str
    tls: TlsFiles
    relay: RelayFiles
    air: AirSettings | None = None
    stack: StackSettingsRead | None = None
    bearer: Literal["https", "mqtt"] = "https"
    fallback: FallbackSettings | None = None
    device_ids: tuple[EntityId, ...] | None = None
    faceplate: FaceplateSettings | None = None
    passphrase_file: str | None = None


class SystemClock:
    """``agent.ports.Clock``: this machine's."""

    def now(self) -> int:
        """UTC in Unix seconds."""
        return int(time.time())

    def counted_s(self) -> float:
        """Seconds since the machine began, sleep included; nobody sets it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class _Keypad:
    """``agent.ports.Keypad``: plain Smart Energy to the ESME (PECS01). A gas meter's PCS01 needs keys it has not."""

    def __init__(self, radio: PpmidRadio | LineStack) -> None:
        self._radio = radio

    async def enter(self, device_id: bytes, digits: str) -> bool:
        """Whether the meter's Default Response said success."""
        try:
            return await self._radio.ask(device_id, ConsumerTopUp(digits)) == SUCCESS
        except (NoAnswerError, StackSilentError) as error:
            raise TunnelDownError("no_answer") from error


def main() -> None:
    """``lastmetre-agent --config FILE``: the agent without the rest of the command line, for a PPMID."""
    parser = argparse.ArgumentParser(prog="lastmetre-agent", description="The PPMID's agent.")
    parser.add_argument("--config", type=Path, required=True, help="settings, TOML (lastmetre/cli/agent_process.py)")
    try:
        run_process(parser.parse_args().config, AgentSettings, run_agent)
    except ProblemError as problem:
        sys.stderr.write(f"lastmetre-agent: {problem}\n")
        raise SystemExit(problem.status) from None


async def run_agent(settings: AgentSettings, ending: asyncio.Event) -> None:
    """Run the agent until ``ending`` is set. A store that fails ends it, for its starter to see."""
    try:
        await _run(settings, ending)
    except AgentError as error:
        raise ProblemError(str(error), EXIT_FAILED) from error
    except ExceptionGroup as group:
        ours = group.subgroup((AgentError, LinkError))
        if ours is None:
            raise
        raise ProblemError(str(ours.exceptions[0]), EXIT_FAILED) from group


async def _run(settings: AgentSettings, ending: asyncio.Event) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clock = SystemClock()
        bearer = SealedBearer(await _enter_bearers(settings, stack, clock), _relay_side(settings), tell_line)
        store = stack.enter_context(SqliteAgentStore(Path(settings.store)))
        core = StoreAndForward(_binding(settings), store, tell_line, clock.counted_s)
        radio = _radio(settings)
        runner = Runner(core, bearer, radio, clock, random.SystemRandom().random, tell_line, _Keypad(radio))
        radio.on_opened = runner.tunnel_opened
        radio.on_closed = runner.tunnel_closed
        radio.on_message = runner.message_from_tunnel
        faceplate_port = None
        if settings.faceplate is not None:
            front = settings.faceplate
            handlers = _handlers(settings, front, radio)
            faceplate_port = await stack.enter_async_context(
                serve_faceplate(LOOPBACK, front.port, front.token, handlers)
            )
        pumping = await stack.enter_async_context(radio.running())
        tell_line(
            "ready", party="agent", agent_id=settings.agent_id, bearer=settings.bearer, faceplate_port=faceplate_port
        )
        await _until_ending(runner, pumping, ending)


async def _until_ending(runner: Runner, pumping: asyncio.Task[None], ending: asyncio.Event) -> None:
    """Until it is told to end, or a part ends by itself, which only an error makes it do."""
    working = asyncio.create_task(runner.run())
    end = asyncio.create_task(ending.wait())
    try:
        done, _ = await asyncio.wait((working, pumping, end), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        working.cancel()
        end.cancel()
        await asyncio.gather(working, end, return_exceptions=True)


async def _enter_bearers(settings: AgentSettings, stack: contextlib.AsyncExitStack, clock: SystemClock) -> Bearer:
    """The ways to the supplier, as one."""
    ways = [(settings.bearer, settings.url)]
    if settings.fallback is not None:
        ways.append((settings.fallback.bearer, settings.fallback.url))
    if len({kind for kind, _ in ways}) != len(ways):
        raise ProblemError(f"[fallback] names {ways[1][0]} again; it is for the other bearer")
    named = [NamedBearer(kind, await _enter_bearer(settings, kind, url, stack)) for kind, url in ways]
    return BearersInOrder(named, clock.counted_s, random.SystemRandom().random, tell_line)


async def _enter_bearer(settings: AgentSettings, kind: str, url: str, stack: contextlib.AsyncExitStack) -> Bearer:
    """One way to the supplier; only the library of a bearer in use is loaded."""
    passphrase = read_passphrase(settings.passphrase_file)
    context = client_context(*settings.tls.opened_with(passphrase))
    parts = urlsplit(url)
    scheme = {"https": "https", "mqtt": "mqtts"}[kind]
    if parts.scheme != scheme or not parts.hostname:
        raise ProblemError(f"url must begin with {scheme}:// and name a host; it is {url}")
    if kind == "https":
        from lastmetre.links.bearer_https import HttpsBearer

        return await stack.enter_async_context(HttpsBearer(url, context, bytes.fromhex(settings.supplier_id)))
    from lastmetre.links.bearer_mqtt import MQTT_PORT, MqttBearer

    return await stack.enter_async_context(
        MqttBearer(parts.hostname, parts.port or MQTT_PORT, context, bytes.fromhex(settings.agent_id))
    )


def _relay_side(settings: AgentSettings) -> AgentSide:
    """The keys of the relay protocol."""
    supplier_id, now = bytes.fromhex(settings.supplier_id), dt.datetime.now(dt.UTC)
    try:
        key = load_relay_key(Path(settings.relay.key), read_passphrase(settings.passphrase_file))
        ca = Path(settings.tls.ca)
        suppliers = load_relay_certificates(Path(settings.relay.supplier), ca, supplier_id, now)
    except RelayKeyError as error:
        raise ProblemError(str(error)) from error
    return AgentSide(bytes.fromhex(settings.agent_id), key, supplier_id, suppliers)


def _binding(settings: AgentSettings) -> Binding:
    devices = settings.device_ids
    listed = None if devices is None else frozenset(map(bytes.fromhex, devices))
    return Binding(bytes.fromhex(settings.hub_id), listed, frozenset({_esme_id(settings)}))


def _esme_id(settings: AgentSettings) -> bytes:
    """The meter that the buttons speak to, and that codes are entered at."""
    side = settings.air or settings.stack
    if side is None:
        raise ProblemError("the agent needs one Zigbee side: write either [air] or [stack] into its settings")
    return bytes.fromhex(side.esme_id)


def _radio(settings: AgentSettings) -> PpmidRadio | LineStack:
    """The Zigbee side: the emulated air, or a maker's stack at the end of a line."""
    if (settings.air is None) is (settings.stack is None):
        raise ProblemError("the agent needs one Zigbee side: write either [air] or [stack] into its settings")
    if settings.stack is None:
        assert settings.air is not None
        return PpmidRadio(_radio_settings(settings, settings.air), secrets.randbelow(256), tell_line)
    read = settings.stack
    if (read.socket is None) is (read.serial is None):
        raise ProblemError("[stack] needs either socket, the path of a UNIX socket, or serial, that of a serial line")
    if read.bits_per_s not in SPEEDS:
        raise ProblemError(f"bits_per_s is one of {', '.join(map(str, SPEEDS))}; it is {read.bits_per_s}")
    line = StackSettings(
        bytes.fromhex(settings.agent_id),
        bytes.fromhex(settings.hub_id),
        None if read.socket is None else Path(read.socket),
        None if read.serial is None else Path(read.serial),
        read.bits_per_s,
    )
    return LineStack(line, random.SystemRandom().random, tell_line)


def _radio_settings(settings: AgentSettings, air: AirSettings) -> RadioSettings:
    return RadioSettings(
        bytes.fromhex(settings.agent_id),
        bytes.fromhex(settings.hub_id),
        (LOOPBACK, air.hub_port),
        air.pan_id,
        air.short_address,
        {bytes.fromhex(air.esme_id): air.esme_short_address},
    )


def _handlers(
    settings: AgentSettings, front: FaceplateSettings, radio: PpmidRadio | LineStack
) -> Mapping[str, Handler]:
    """What somebody in front of the display can do. It shows what the PPMID knows of itself, nothing of Commands."""
    side = settings.air or settings.stack
    assert side is not None  # _radio has seen to it
    esme_id = bytes.fromhex(side.esme_id)
    shown: dict[str, str | None] = {"last_button": None, "last_outcome": None}

    async def display(_request: Mapping[str, object]) -> Answer:
        return {"hub": "connected" if radio.tunnel_is_open else "not connected", **shown}

    async def press(request: Mapping[str, object]) -> Answer:
        button = request.get("button")
        if not isinstance(button, str) or button not in BUTTONS:
            raise FaceplateRefused(f"the buttons are: {', '.join(BUTTONS)}")
        tell_line("button_pressed", button=button)
        status = None
        try:
            status = await radio.ask(esme_id, BUTTONS[button])
            outcome = words_for(status)
        except (NoAnswerError, StackSilentError):
            outcome = "no answer"
        shown.update(last_button=button, last_outcome=outcome)
        tell_line("button_answered", button=button, outcome=outcome, status=status)
        return {"outcome": outcome, "status": status}

    handlers: dict[str, Handler] = {"display": display, "press": press}
    if front.pass_up:
        from lastmetre.cli.unsafe_bench import pass_up_handler

        handlers["pass-up"] = pass_up_handler(radio.transfer, tell_line)
    return handlers
