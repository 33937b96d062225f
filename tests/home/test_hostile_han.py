"""No input from the HAN, however broken, stops the hub or changes a meter; nor does nonsense that is authentic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.gbz import Component, Gbz, decode_gbz, encode_gbz
from lastmetre.gbcs.message import Cra, GroupingHeader, Kind, OtherInformation, parse_message
from lastmetre.gbcs.zcl import LAYOUTS, SIZES, Field, ReadAttributes, ZclCommand
from lastmetre.han.frames import ApsData, MacFrame, NwkFrame
from lastmetre.han.tunnelling import CLUSTER, TransferData, encode_command
from lastmetre.han.zcl import ZclFrame
from lastmetre.home.gas.gsme import SUPPORTED
from lastmetre.home.gas.state import decode_state, encode_state
from lastmetre.home.gas.use_case_parts import COMMANDS, READS
from tests import gas_world as gas
from tests import own_world as own
from tests.gas_world import GSME
from tests.home.test_premises import PAN, SHORTS, Home
from tests.own_world import CHF, ESME, NOW, PPMID, SUPPLIER

if TYPE_CHECKING:
    from lastmetre.gbcs.zcl import ZclValue

CODES = sorted(
    code
    for code in (COMMANDS.keys() | READS.keys()) & SUPPORTED - {0x0097}
    if Role.SUPPLIER in gas.use_case_by_code(code).originators
)


def _number(type_: str) -> st.SearchStrategy[int]:
    bits = 8 * SIZES[type_]
    edges = [0, 1, (1 << bits) - 1, (1 << bits) - 2]
    if type_ == "i32":
        return st.sampled_from([0, -1, 1, -(1 << 31), (1 << 31) - 1]) | st.integers(-(1 << 31), (1 << 31) - 1)
    return st.sampled_from(edges) | st.integers(0, (1 << bits) - 1) | st.integers(0, 4)


def _plain(field: Field) -> st.SearchStrategy[int | bytes | None]:
    if field.type == "os":
        return st.none() | st.binary(max_size=12)
    if field.type in SIZES:
        return _number(field.type)
    return st.binary(min_size=4, max_size=4) if field.type == "date" else st.binary(min_size=19, max_size=19)


def clear(log: int) -> ZclCommand:
    """A request to clear a log there may not be."""
    return ZclCommand(0x0709, False, 0x01, (("log", log),))  # as the record has it


@st.composite
def bodies(draw: st.DrawFn, code: int) -> Component:
    """Any part that a use case may carry, with any values."""
    names, reads = COMMANDS.get(code, frozenset()), READS.get(code, {})
    if reads and (not names or draw(st.booleans())):
        cluster = draw(st.sampled_from(sorted(reads)))
        return Component(cluster, 0, 0, ReadAttributes(tuple(draw(st.lists(st.sampled_from(sorted(reads[cluster])))))))
    layout = draw(st.sampled_from([one for one in LAYOUTS.values() if one.name in names]))
    fields: list[tuple[str, ZclValue]] = []
    for field in layout.fields:
        if field.optional:
            continue
        if field.row:
            count = draw(st.integers(0, 5))
            rows = tuple(tuple((part.name, draw(_plain(part))) for part in field.row) for _ in range(count))
            fields.append((field.name, rows))
        else:
            fields.append((field.name, draw(_plain(field))))
    body = ZclCommand(layout.cluster, layout.from_server, layout.command_id, tuple(fields))
    return Component(layout.cluster, 0x09 if layout.from_server else 0x01, 0, body)


def _commands() -> st.SearchStrategy[tuple[int, list[Component]]]:
    return st.sampled_from(CODES).flatmap(
        lambda code: st.tuples(st.just(code), st.lists(bodies(code), min_size=1, max_size=4))
    )


@settings(max_examples=150, deadline=None)
@example([(0x0015, [Component(0x0709, 1, 0, clear(255))])])
@given(st.lists(_commands(), min_size=1, max_size=5))
def test_authentic_nonsense_is_answered_and_the_state_stays_sound(commands: list[tuple[int, list[Component]]]) -> None:
    """Whatever a supplier puts into a Command: one message back, readable; the state saves, loads and lives on."""
    meter = gas.meter()
    for counter, (code, parts) in enumerate(commands, 1):
        components = tuple(replace(part, sequence=number) for number, part in enumerate(parts))
        head = GroupingHeader(Cra.COMMAND, counter, SUPPLIER, GSME, OtherInformation(code))
        content = encode_gbz(Gbz(components))
        critical = gas.use_case_by_code(code).critical
        (answer,) = meter.receive((own.critical if critical else own.non_critical)(head, content), NOW)
        parsed = parse_message(answer)
        assert parsed.kind is Kind.RESPONSE
        assert len(decode_gbz(parsed.content).components) >= len(parts)
        meter.consume(500, NOW + counter)
    assert decode_state(encode_state(meter.state)) == meter.state
    meter.tick(NOW + 3 * 86_400)
    for attribute in list(meter.state.attributes):
        assert meter.state.read(attribute) is not None
    one = gas.command("GCS14", 99, (0x0700, 0x0617, 0x0616), (0x0705, 5, 2, 1, 0x0231, 0x0211, 0x0221))
    assert parse_message(meter.receive(one, NOW)[0]).kind is Kind.RESPONSE


def _frames() -> st.SearchStrategy[bytes]:
    """Frames of a listed device's radio with any ZCL in them, tunnelled or not; and plain noise."""
    zcl = st.builds(
        ZclFrame, st.integers(0, 0x10), st.integers(0, 255), st.binary(max_size=40), st.booleans(), st.booleans()
    ).map(lambda frame: frame.encode())
    tunnelled = st.builds(
        lambda tunnel, data, server: encode_command(
            TransferData(tunnel, data), from_server=server, sequence=1
        ).encode(),
        st.integers(0, 3),
        st.binary(max_size=60),
        st.booleans(),
    )
    aps = st.builds(
        lambda endpoint, cluster, counter, payload: ApsData(endpoint, cluster, 0x0109, 1, counter, payload).encode(),
        st.sampled_from([0, 1, 2, 3]),
        st.sampled_from([CLUSTER, 0x0702, 0x0705, 0x0019, 0x0013]),
        st.integers(0, 255),
        zcl | tunnelled | st.binary(max_size=40),
    )

    def radio(source: int, payload: bytes) -> bytes:
        return MacFrame(1, PAN, 0, source, NwkFrame(0, source, 1, payload).encode()).encode()

    return st.builds(radio, st.sampled_from([*SHORTS.values(), 0x5555]), aps) | st.binary(max_size=60)


@settings(max_examples=60, deadline=None)
@given(st.lists(_frames(), max_size=12))
def test_no_frame_stops_the_home_or_changes_a_meter(frames: list[bytes]) -> None:
    """Noise from every listed radio: nothing raises, no meter's state moves, and a Command still gets through."""
    home = Home()
    home.run(30)
    before = home.gsme.state.behaviour(), home.meter.state.supply, home.chf.state.device_log
    for frame in frames:
        for heard in home.premises.medium.receive(frame, home.now):
            home.premises.happened(heard, home.now, home.at)
    assert (home.gsme.state.behaviour(), home.meter.state.supply, home.chf.state.device_log) == before
    home.run(120)
    home.pass_up(own.arm(9))
    home.run(300)
    assert [parse_message(message).header.business_originator_id for message in home.received][-1:] == [ESME]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 400), st.sampled_from([PPMID, ESME, GSME, CHF]))
def test_no_message_stops_the_hub(noise: bytes, at: int, sender: bytes) -> None:
    """A genuine Command with noise written into it, from anybody: refused or passed, never an exception."""
    home = HUBS[0]
    genuine = gas.top_up(5, 100)
    broken = genuine[:at] + noise + genuine[at + len(noise) :]
    for delivery in home.premises.hub.from_device(sender, broken, NOW):
        assert delivery.message == broken
    home.gsme.receive(broken, NOW)


HUBS = [Home()]
