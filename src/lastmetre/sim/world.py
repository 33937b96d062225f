"""One world of a seed: all parties, all links, an operator who orders, and everything that goes wrong on the way.

A run has two parts: faults happen for some hours; then everything heals, and the world is given time to come to rest.
What it leaves behind (``evidence``) is judged elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lastmetre.agent.core import Binding, StoreAndForward
from lastmetre.agent.ports import BearerDownError, ReceiptRefusedError, TunnelDownError
from lastmetre.agent.runner import Runner
from lastmetre.dcc.dsp import Dsp
from lastmetre.dcc.errors import NotADocument
from lastmetre.dcc.inventory import (
    Device as DspDevice,
)
from lastmetre.dcc.inventory import (
    DeviceStatus,
    DeviceType,
    Inventory,
    Registration,
    User,
    UserRole,
    UserStatus,
)
from lastmetre.dcc.inventory import (
    WanCoverage as DspCoverage,
)
from lastmetre.dcc.permits import Permits
from lastmetre.dcc.ports import PermitAsk, PermitRefused, PushOutcome, Service
from lastmetre.dcc.sealing import Broker
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.home.permit_gate import PermitGate
from lastmetre.relay import RelayDecodeError
from lastmetre.relay.hht_pack import FieldResponses, decode_pack, encode_responses
from lastmetre.relay.permit_rules import Hub as PermitHub
from lastmetre.sim import keys
from lastmetre.sim.evidence import Evidence, Said, Seen
from lastmetre.sim.faults import Faults, Sometimes, chance
from lastmetre.sim.gateway import Operator
from lastmetre.sim.homes import BALANCE, Address, Doors, Flash, Home
from lastmetre.sim.memory_agent import AgentMemory, MemoryAgentStore
from lastmetre.sim.memory_dsp import DspMemory, MemoryDspStore
from lastmetre.sim.memory_permits import MemoryPermitStore, PermitMemory
from lastmetre.sim.memory_supplier import MortalOrderStore
from lastmetre.sim.parties import Life, Lost, Party
from lastmetre.sim.wires import Wire
from lastmetre.supplier.clock import SteadyClock
from lastmetre.supplier.delivery import Delivery
from lastmetre.supplier.desk import OrderDesk
from lastmetre.supplier.errors import DspUnreachable, DspWillNotRead, NoPermit
from lastmetre.supplier.field import FieldDesk
from lastmetre.supplier.keys import SupplierKeys
from lastmetre.supplier.orders import BEFORE_THE_END, Return
from lastmetre.supplier.permits import PermitDesk
from lastmetre.supplier.queue_memory import Jobs, MemoryQueue
from lastmetre.supplier.roads import Device, RoadPolicy, WanCoverage
from lastmetre.supplier.store_memory import MemoryOrderStore
from lastmetre.supplier.views import audit_view, order_view
from lastmetre.supplier.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from lastmetre.supplier.ports import OrderStore

STARTS_AT: Final = 1_795_400_000
"""2026-11-23, UTC."""
TROUBLE_S: Final = 2 * 3_600
"""How long things go wrong."""
REST_S: Final = 4 * 3_600
"""How long the world may take afterwards to come to rest."""
QUIET_S: Final = 120.0
QUEUE_HEARTBEAT_S: Final = 30.0
SWEEP_S: Final = 10
LOOK_S: Final = 60
"""Slower than in earnest: a simulated day has many seconds."""
JUMPS_S: Final = (-86_400, -3_600, -600, 600, 3_600, 86_400)
POLL_S: Final = 25.0
ENTITY: Final = "00005eef100000"
ADDRESSES: Final = (
    Address(bytes.fromhex(ENTITY + "a0"), bytes.fromhex(ENTITY + "a2"), bytes.fromhex(ENTITY + "a4"), wan=True),
    Address(bytes.fromhex(ENTITY + "b0"), bytes.fromhex(ENTITY + "b2"), bytes.fromhex(ENTITY + "b4"), wan=False),
    Address(bytes.fromhex(ENTITY + "c0"), bytes.fromhex(ENTITY + "c2"), None, wan=True),
)


@dataclass(slots=True)
class PartyClock:
    """A party's time of day: the true one, moved by what its clock has jumped."""

    true: Callable[[], float]
    offset_s: int = 0
    latest: float = 0.0
    """The latest time it has shown in this life of its party."""

    def read(self) -> float:
        """UTC in Unix seconds."""
        now = self.true() + self.offset_s
        self.latest = max(self.latest, now)
        return now

    def now(self) -> int:
        """The same, whole (``agent.ports.Clock``)."""
        return int(self.read())

    def now_ms(self) -> int:
        """The same in milliseconds (``supplier.ports.Clock``)."""
        return int(self.read() * 1000)


class World:
    """Everything, for one seed."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.seed = seed
        self.faults = faults
        self.sometimes = Sometimes()
        self.evidence = Evidence()
        self.loop = asyncio.get_running_loop()
        self._adrift: set[asyncio.Task[Any]] = set()
        self.clocks: dict[str, PartyClock] = {}
        self.parties: dict[str, Party] = {}
        self.wires: dict[str, Wire] = {}
        self._ids = itertools.count(1)
        self._agents: dict[bytes, _AgentSide] = {}
        self._homes: dict[bytes, _HomeSide] = {}
        self.jobs = Jobs()
        self.store = MemoryOrderStore(self.jobs)
        self._dsp_memory = DspMemory()
        self._permit_memory = PermitMemory()
        self._add_supplier()
        self._add_dsp()
        for address in ADDRESSES:
            self._homes[address.hub_id] = _HomeSide(self, address)
            if address.ppmid_id is not None:
                self._agents[address.ppmid_id] = _AgentSide(self, address, self._homes[address.hub_id])
        self.operator = Operator(self)

    # -- building ------------------------------------------------------------------------------------------------

    def true_time(self) -> float:
        """UTC in Unix seconds, as it really is."""
        return STARTS_AT + self.loop.time()

    def adrift(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Something under way on nobody's behalf."""
        task = self.loop.create_task(work)
        self._adrift.add(task)
        task.add_done_callback(self._adrift.discard)
        return task

    def luck(self, name: str) -> Any:
        """A generator of this seed for one purpose."""
        return chance(self.seed, name)

    def wire(self, name: str) -> Wire:
        """The link of this name."""
        if name not in self.wires:
            self.wires[name] = Wire(name, self.faults, self.luck(f"wire {name}"), self.sometimes, self.adrift)
        return self.wires[name]

    def party(self, name: str, start: Callable[[Life], None]) -> Party:
        """A party of this name."""
        self.clocks[name] = PartyClock(self.true_time)

        def begin(life: Life) -> None:
            self.clocks[name].latest = 0.0
            start(life)

        self.parties[name] = Party(name, self.faults, self.luck(f"party {name}"), self.sometimes, begin)
        return self.parties[name]

    def teller(self, life: Life) -> Callable[..., None]:
        """A party's ``tell``: heard as long as it lives."""
        name = life.party.name

        def tell(event: str, /, **facts: object) -> None:
            if not life.alive:
                return
            self.sometimes.saw(f"{name.split(' ')[0]} told {event}")
            if facts.get("reason") is not None and event.endswith("refused"):
                self.sometimes.saw(f"{name.split(' ')[0]} told {event}: {facts['reason']}")
            self.evidence.seen.append(Seen(self.true_time(), name, self.clocks[name].latest, event, dict(facts)))

        return tell

    # -- the supplier --------------------------------------------------------------------------------------------

    def _add_supplier(self) -> None:
        self.supplier = self.party("supplier", self._start_supplier)
        self.devices = {
            address.meter_id: Device(
                address.meter_id,
                address.hub_id,
                WanCoverage.GOOD if address.wan else WanCoverage.NONE,
                address.ppmid_id,
                permits=bool(self.faults.permits),
            )
            for address in ADDRESSES
        }

    def _start_supplier(self, life: Life) -> None:
        tell = self.teller(life)
        clock = SteadyClock(self.clocks["supplier"], self.loop.time, self._newest_at())
        store: OrderStore = MortalOrderStore(self.store, life)
        supplier_keys = SupplierKeys(keys.SUPPLIER, keys.BROKER, keys.OwnKeys(keys.SUPPLIER), keys.Certificates())
        policy = RoadPolicy()
        permits = PermitDesk(_PermitWire(self, life), keys.SUPPLIER)
        self.delivery = Delivery(
            store=store,
            keys=supplier_keys,
            devices=self.devices,
            policy=policy,
            clock=clock,
            tell=tell,
            permits=permits,
        )
        worker = Worker(
            store=store,
            dsp=_DspWire(self, life),
            keys=supplier_keys,
            devices=self.devices,
            policy=policy,
            clock=clock,
            tell=tell,
        )
        self.desk = OrderDesk(
            store=store, keys=supplier_keys, devices=self.devices, clock=clock, tell=tell, new_id=self._new_id
        )
        queue = MemoryQueue(
            self.jobs, self.true_time, QUEUE_HEARTBEAT_S, lambda: self.sometimes.saw("dead worker's job taken over")
        )
        worker.attach(queue, sweep_every_s=SWEEP_S, look_every_s=LOOK_S)
        life.spawn(queue.run())
        self.field = FieldDesk(
            store=store, keys=supplier_keys, devices=self.devices, policy=policy, clock=clock, tell=tell,
            delivery=self.delivery,
        )  # fmt: skip

    @property
    def hubs(self) -> list[bytes]:
        """All homes, by their hubs."""
        return list(self._homes)

    async def at_the_door(self, hub_id: bytes, pack: bytes) -> bytes:
        """An engineer's tool gives a pack's Commands to their meter and keeps what it says."""
        signer = keys.Certificates().find_certificate(keys.SUPPLIER, KeyUse.DIGITAL_SIGNATURE)
        assert signer is not None
        read, side = decode_pack(pack, signer), self._homes[hub_id]
        responses: list[bytes] = []
        failed: list[tuple[int, str]] = []
        for number, command in enumerate(read.commands):
            try:
                responses += await side.party.do(lambda command=command: side.home.from_field_tool(command))  # type: ignore[misc]
            except Lost:
                failed.append((number, "no_answer"))
        return encode_responses(FieldResponses(hub_id, keys.SUPPLIER, read.issued_at, tuple(responses), tuple(failed)))

    def _newest_at(self) -> int:
        """When the newest audit entry was written: read at the start, as the composition does."""
        audit = self.store._audit  # noqa: SLF001 - a start cannot wait for a coroutine here
        return audit[-1].entry.at if audit else 0

    def _new_id(self) -> str:
        return f"order-{next(self._ids)}"

    # -- the DSP -------------------------------------------------------------------------------------------------

    def _add_dsp(self) -> None:
        self._inventory = _inventory(with_ppmids=bool(self.faults.permits))
        self.dsp_party = self.party("dsp", self._start_dsp)

    def _start_dsp(self, life: Life) -> None:
        clock = self.clocks["dsp"]
        self.dsp = Dsp(
            dsp_id=keys.BROKER,
            inventory=self._inventory,
            keys=keys.OwnKeys(keys.BROKER),
            certificates=keys.Certificates(),
            issuers=(keys.issuing_authority(),),
            store=MemoryDspStore(self._dsp_memory, life),
            wan=_WanDoor(self),
            users=_Users(self),
            tell=self.teller(life),
            clock=clock.now,
        )
        self.permits = Permits(
            broker=Broker(keys.BROKER, keys.OwnKeys(keys.BROKER), keys.Certificates()),
            inventory=lambda: self._inventory,
            commands=MemoryDspStore(self._dsp_memory, life),
            store=MemoryPermitStore(self._permit_memory, life),
            tell=self.teller(life),
            clock=clock.now,
        )
        life.spawn(self.dsp.egress.run())

    # -- playing -------------------------------------------------------------------------------------------------

    async def play(self) -> Evidence:
        """The whole run."""
        listener = _Listener()
        with listener.attached():
            for party in self.parties.values():
                party.start()
            operator = self.adrift(self.operator.run())
            for number in range(self.faults.partitions):
                self.adrift(self._cut_a_link(self.luck(f"partition {number}")))
            for number in range(self.faults.clock_jumps):
                self.adrift(self._jump_a_clock(self.luck(f"jump {number}")))
            await asyncio.sleep(TROUBLE_S)
            await operator
            self._heal()
            await self._come_to_rest()
            await self.operator.settle()
            await self._come_to_rest()
        await self._collect(listener)
        return self.evidence

    async def _cut_a_link(self, luck: Any) -> None:
        await asyncio.sleep(luck.random() * TROUBLE_S * 0.8)
        wire = self.wires[luck.choice(sorted(self.wires))]
        wire.cut = True
        self.sometimes.saw(f"{wire.name.split(' ')[0]}: cut")
        self._link_changed(wire, up=False)
        await asyncio.sleep(luck.random() * 1_200)
        wire.cut = False
        self._link_changed(wire, up=True)

    def _link_changed(self, wire: Wire, *, up: bool) -> None:
        for home in [home for home in self._homes.values() if home.wan is wire]:
            home.wan_changed(up=up)

    async def _jump_a_clock(self, luck: Any) -> None:
        await asyncio.sleep(luck.random() * TROUBLE_S * 0.8)
        name = luck.choice(sorted(self.clocks))
        self.clocks[name].offset_s += luck.choice(JUMPS_S)
        self.evidence.clocks_jumped = True
        self.sometimes.saw(f"{name.split(' ')[0]}: clock jumped")

    def _heal(self) -> None:
        """From now on nothing goes wrong any more; clocks are set right."""
        for wire in self.wires.values():
            wire.faulty = False
            if wire.cut:
                wire.cut = False
                self._link_changed(wire, up=True)
        for party in self.parties.values():
            party.mortal = False
        for clock in self.clocks.values():
            clock.offset_s = 0

    async def _come_to_rest(self) -> None:
        end = self.loop.time() + REST_S
        while self.loop.time() < end:
            await asyncio.sleep(QUIET_S)
            if not await self._left_over():
                return

    async def _left_over(self) -> list[str]:
        left = [
            f"{order.order_id} is {order.state.value}, its Response {order.returning.value}"
            for order in await self.store.open_orders()
            if order.state in BEFORE_THE_END or order.returning is Return.DUE
        ]
        left += [f"the DSP's outbox holds a {item.kind.value} item" for item in self._dsp_memory.outbox.values()]
        for agent in self._agents.values():
            left += [f"{agent.name} holds a receipt"] * len(agent.memory.receipts)
        left += [f"{party.name} is down" for party in self.parties.values() if not party.up]
        return left

    async def _collect(self, listener: _Listener) -> None:
        evidence = self.evidence
        evidence.left_over = await self._left_over()
        evidence.orders = [
            {**order_view(order), "superseder_of": getattr(order, "supersedes", "") or None}
            for order in await self.store.orders(1_000_000)
        ]
        evidence.audit = [audit_view(entry) for entry in await self.store.audit(0, 1_000_000)]
        for side in self._homes.values():
            evidence.balances[side.address.meter_id.hex()] = (BALANCE, side.home.balance())
        for party in self.parties.values():
            evidence.crashes += party.crashes
        evidence.crashes += listener.heard

    async def say(self, order_id: str, state: object) -> None:
        """Notes what the API said."""
        self.evidence.said.append(Said(self.true_time(), order_id, str(state)))


class _HomeSide:
    """A home and its links."""

    def __init__(self, world: World, address: Address) -> None:
        self.world = world
        self.address = address
        self.name = f"home {address.meter_id.hex()[-2:]}"
        self.flashes = {"meter": Flash("meter"), "hub": Flash("hub")}
        self.home = Home(address, self.flashes, world.evidence)
        self.wan = world.wire(f"wan {self.name}")
        self.party = world.party(self.name, self._start)
        self.agent: _AgentSide | None = None
        self.nonces = world.luck(f"nonces {self.name}")

    def _start(self, life: Life) -> None:
        clock = self.world.clocks[self.name]
        doors = Doors(self.world.wire(f"air {self.name}"), self._to_wan, self._to_agent)
        gate = self._gate() if self.world.faults.permits else None
        self.home.start(life, doors, clock.read, self.world.true_time, self.world.teller(life), gate)
        if self.address.wan and not self.wan.cut:
            life.spawn(self._wan_connected())
        if self.agent is not None:
            self.agent.hub_started()

    def _gate(self) -> PermitGate:
        """The hub's gate of one power-on. Where no WAN ever was, nobody tells it the time."""
        hub_id = self.address.hub_id
        secret = agree(
            keys.private_key(hub_id, KeyUse.KEY_AGREEMENT),
            keys.certificate(keys.BROKER, KeyUse.KEY_AGREEMENT).public_key,
        )
        return PermitGate(PermitHub(hub_id, hub_id, keys.BROKER, secret), self.world.loop.time, self.nonces.randbytes)

    async def _wan_connected(self) -> None:
        self.home.wan_connected()

    def wan_changed(self, *, up: bool) -> None:
        """The WAN came or went."""
        if not self.party.up or not self.address.wan:
            return
        if up:
            self.party.life.spawn(self._wan_connected())
        else:
            self.home.hub.wan_lost()

    def _to_wan(self, message: bytes) -> bool:
        if self.wan.cut or not self.address.wan:
            return False
        hub_id = self.address.hub_id
        self.wan.cast(self.world.dsp_party, lambda: self.world.dsp.take_from_wan(hub_id, message))
        return True

    def _to_agent(self, message: bytes) -> bool:
        return self.agent is not None and self.agent.from_hub(message)


class _AgentSide:
    """A PPMID's agent and its links."""

    def __init__(self, world: World, address: Address, home: _HomeSide) -> None:
        assert address.ppmid_id is not None
        self.world = world
        self.agent_id = address.ppmid_id
        self.hub_id = address.hub_id
        self.meter_id = address.meter_id
        self.home = home
        self.name = f"agent {address.ppmid_id.hex()[-2:]}"
        self.memory = AgentMemory()
        self.bearer = world.wire(f"bearer {self.name}")
        self.tunnel = world.wire(f"tunnel {self.name}")
        self.runner: Runner | None = None
        self.party = world.party(self.name, self._start)
        self.forger = world.luck(f"forger {self.name}")
        home.agent = self

    def _start(self, life: Life) -> None:
        world, tell = self.world, self.world.teller(life)
        core = StoreAndForward(
            Binding(self.hub_id, frozenset({self.meter_id})), MemoryAgentStore(self.memory, life), tell, world.loop.time
        )
        luck = world.luck(f"back-off {self.name}")
        self.runner = Runner(core, _Bearer(self, life), _Tunnel(self, life), world.clocks[self.name], luck.random, tell)
        life.spawn(self.runner.run())
        if self.home.party.up:
            life.spawn(self._opened())

    async def _opened(self) -> None:
        if self.runner is not None:
            self.runner.tunnel_opened()
        if self.home.party.up:
            self.home.party.life.spawn(self._home_opened())

    async def _home_opened(self) -> None:
        self.home.home.tunnel_opened()

    def hub_started(self) -> None:
        """The hub came back and opens its tunnel anew."""
        if self.party.up:
            self.party.life.spawn(self._opened())

    def from_hub(self, message: bytes) -> bool:
        """The hub passes a message down; false when the tunnel is closed."""
        if not self.party.up:
            return False

        async def arrive() -> None:
            assert self.runner is not None
            self.runner.message_from_tunnel(message)

        self.tunnel.cast(self.party, arrive)
        return True


class _Bearer:
    """The agent's way to the supplier (implements ``agent.ports.Bearer``)."""

    def __init__(self, side: _AgentSide, life: Life) -> None:
        self._side = side
        self._life = life

    async def next_envelope(self) -> bytes | None:
        """As in the port."""
        self._life.check()
        world, agent_id = self._side.world, self._side.agent_id
        try:
            return await self._side.bearer.request(
                world.supplier, lambda: world.delivery.next_envelope(agent_id, POLL_S), again=False, wait_s=POLL_S
            )
        except Lost as error:
            raise BearerDownError(str(error)) from error

    async def stored(self) -> None:
        """As in the port."""

    async def hand_on(self, receipt: bytes) -> None:
        """As in the port."""
        self._life.check()
        side, world = self._side, self._side.world
        if side.bearer.faulty and side.forger.random() < world.faults.forge:
            await self._forge(receipt)
        try:
            await side.bearer.request(world.supplier, lambda: world.delivery.receipt(side.agent_id, receipt))
        except Lost as error:
            raise BearerDownError(str(error)) from error
        except RelayDecodeError as error:
            raise ReceiptRefusedError(error.reason) from error

    async def _forge(self, receipt: bytes) -> None:
        """Somebody on the way sends the same receipt with one octet changed as well."""
        side, world = self._side, self._side.world
        at = side.forger.randrange(len(receipt))
        forged = receipt[:at] + bytes((receipt[at] ^ 1,)) + receipt[at + 1 :]
        world.sometimes.saw("forged receipt")
        with contextlib.suppress(Lost, RelayDecodeError):
            await side.bearer.request(world.supplier, lambda: world.delivery.receipt(side.agent_id, forged))


class _Tunnel:
    """The agent's way to its hub (implements ``agent.ports.Tunnel``)."""

    def __init__(self, side: _AgentSide, life: Life) -> None:
        self._side = side
        self._life = life

    async def transfer(self, message: bytes) -> None:
        """As in the port."""
        self._life.check()
        side = self._side
        try:
            await side.tunnel.request(side.home.party, lambda: side.home.home.from_ppmid(message))
        except Lost as error:
            raise TunnelDownError("not_acknowledged") from error


class _DspWire:
    """The supplier's way to the DCC (implements ``supplier.ports.DspPort``)."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life

    async def transform(self, xml: bytes) -> bytes:
        """As in the port."""
        return await self._carry(Service.TRANSFORM, xml)

    async def send_command(self, xml: bytes) -> bytes:
        """As in the port."""
        return await self._carry(Service.SEND_COMMAND, xml)

    async def non_device(self, xml: bytes) -> bytes:
        """As in the port."""
        return await self._carry(Service.NON_DEVICE, xml)

    async def _carry(self, service: Service, xml: bytes) -> bytes:
        self._life.check()
        world = self._world
        try:
            return await world.wire("duis").request(
                world.dsp_party, lambda: world.dsp.request(service, keys.SUPPLIER, xml)
            )
        except Lost as error:
            raise DspUnreachable(str(error)) from error
        except NotADocument as error:
            raise DspWillNotRead(str(error)) from error


class _PermitWire:
    """The supplier's way to relay permits (implements ``supplier.ports.Permits``)."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life

    async def permit(
        self, request_id: str, digest: bytes, carrier_id: bytes, not_after: int, hub_nonce: bytes | None
    ) -> bytes:
        """As in the port."""
        self._life.check()
        world = self._world
        ask = PermitAsk(request_id, digest, carrier_id, not_after=not_after, hub_nonce=hub_nonce)

        async def issue() -> bytes:
            return world.permits.issue(keys.SUPPLIER, ask).permit

        try:
            return await world.wire("duis").request(world.dsp_party, issue)
        except Lost as error:
            raise DspUnreachable(str(error)) from error
        except PermitRefused as refused:
            raise NoPermit(refused.code) from refused


class _Users:
    """The DSP's way to its Users (implements ``dcc.ports.Users``)."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def push(self, _url: str, xml: bytes) -> PushOutcome:
        """As in the port."""
        world = self._world
        try:
            taken = await world.wire("push").request(
                world.supplier, lambda: world.delivery.receive_response(keys.BROKER, xml)
            )
        except Lost:
            return PushOutcome.NOT_REACHED
        return PushOutcome.ACCEPTED if taken else PushOutcome.REFUSED


class _WanDoor:
    """The DSP's way to the hubs (implements ``dcc.ports.WanDoor``)."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def send(self, hub_id: bytes, message: bytes) -> bool:
        """As in the port."""
        side = self._world._homes[hub_id]  # noqa: SLF001 - the same module
        if side.wan.cut or not side.address.wan or not side.party.up:
            return False
        side.wan.cast(side.party, lambda: side.home.from_wan(message))
        return True


class _Listener(logging.Handler):
    """Hears what the parties log as errors: in a simulated world each one is a bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps its words."""
        error = record.exc_info[1] if record.exc_info else None
        self.heard.append(f"{record.name}: {record.getMessage()}: {error!r}")

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """For the time of a run; nothing goes to the screen meanwhile."""
        logger = logging.getLogger("lastmetre")
        before = logger.propagate
        logger.addHandler(self)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = before


def _inventory(*, with_ppmids: bool) -> Inventory:
    registered = (Registration(UserRole.IMPORT_SUPPLIER, keys.SUPPLIER),)
    ready = DeviceStatus.COMMISSIONED
    rows = []
    for address in ADDRESSES:
        hub = address.hub_id
        coverage = DspCoverage.GOOD if address.wan else DspCoverage.NONE
        rows.append(DspDevice(hub, DeviceType.CHF, ready, "4.3", hub, registered, wan_coverage=coverage))
        rows.append(DspDevice(address.meter_id, DeviceType.ESME, ready, "4.3", hub, registered, esme_variant="A"))
        if with_ppmids and address.ppmid_id is not None:
            rows.append(DspDevice(address.ppmid_id, DeviceType.PPMID, ready, "4.3", hub, registered))
    user = User(keys.SUPPLIER, frozenset({UserRole.IMPORT_SUPPLIER}), UserStatus.ACTIVE, "the supplier")
    return Inventory(rows, (user,))


@dataclass(slots=True)
class Played:
    """What became of a seed."""

    seed: int
    faults: Faults
    evidence: Evidence
    sometimes: Sometimes = field(default_factory=Sometimes)


async def play(seed: int, faults: Faults) -> Played:
    """Plays one seed; to be run by ``scheduler.run``."""
    world = World(seed, faults)
    evidence = await world.play()
    return Played(seed, faults, evidence, world.sometimes)
