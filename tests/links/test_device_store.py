"""Devices' states in a file: saved whole or not at all, in steps that stay small, and read back exactly."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.home.load import steady_load
from lastmetre.home.supply import Supply
from lastmetre.links.device_store import DeviceShelf, SqliteDeviceStore
from lastmetre.links.errors import LinkError
from lastmetre.links.state_delta import difference, patched
from tests import own_world as own

if TYPE_CHECKING:
    from pathlib import Path

PIECES = st.lists(st.sampled_from([b"[1,2,3],", b'"log":', bytes(40), b"0123456789abcdef" * 4, b"x", b""]), max_size=30)


@given(PIECES, PIECES)
def test_a_difference_makes_the_new_state(old: list[bytes], new: list[bytes]) -> None:
    """For any two states of like parts: exactly, or it is said that there is no short way."""
    before, after = b"".join(old), b"".join(new)
    delta = difference(before, after)
    assert delta is None or patched(before, delta) == after


@given(st.binary(min_size=200, max_size=600), st.data())
def test_a_small_change_is_a_small_difference(state: bytes, data: st.DataObject) -> None:
    """Octets put in, taken out or changed anywhere."""
    at = data.draw(st.integers(0, len(state)))
    put, cut = data.draw(st.binary(max_size=20)), data.draw(st.integers(0, 20))
    changed = state[:at] + put + state[at + cut :]
    delta = difference(state, changed)
    assert delta is None or (patched(state, delta) == changed and len(delta) < len(changed))


def test_states_without_anything_in_common_are_written_whole() -> None:
    """The search is given up: half a megabyte of other octets costs no seconds."""
    assert difference(bytes(500_000), b"\x01" * 500_000) is None


def test_a_difference_of_another_state_is_refused() -> None:
    """A row lost or moved is noticed at loading, not lived with."""
    delta = difference(bytes(900), bytes(900) + b"end of the new state")
    assert delta is not None
    with pytest.raises(ValueError, match="another state"):
        patched(bytes(901), delta)
    with pytest.raises(ValueError, match="does not lead"):
        patched(bytes(900), delta[:-1] + b"?")


def test_a_command_to_an_old_meter_is_a_small_durable_step(tmp_path: Path) -> None:
    """After thirty days of half hours its state has tens of kilobytes; a Command's step has two at most."""
    path = tmp_path / "esme.sqlite"
    with SqliteDeviceStore(path) as store:
        meter = own.meter(balance=10**8, supply=Supply.ON, store=store, load=steady_load(400))
        meter.tick(own.NOW)
        at = own.NOW + 30 * 86_400 + 1
        meter.tick(at)
        meter.save()
        whole = store.load()
        assert whole is not None
        assert len(whole) > 50_000
        for counter in range(1, 40):
            assert meter.receive(own.read_balance(counter), at + 60 * counter)
            assert 0 < store.written_octets < 2_000
        saved = store.load()
    with SqliteDeviceStore(path) as store:
        assert store.load() == saved
        again = own.meter(store=store)
        assert again.state == meter.state


def test_changes_are_folded_into_the_state_before_they_outgrow_it(tmp_path: Path) -> None:
    """A hundred thousand octets of changes: then the state is written whole and they are gone."""
    path = tmp_path / "device.sqlite"
    with SqliteDeviceStore(path) as store:
        state = bytes(5_000)
        store.save(state)
        for number in range(60):
            state += number.to_bytes(2, "big") * 1_000
            store.save(state)
        assert store.load() == state
    db = sqlite3.connect(path)
    (octets,) = db.execute("SELECT sum(length(change)) FROM changes").fetchone()
    db.close()
    assert octets < 70_000
    with SqliteDeviceStore(path) as store:
        assert store.load() == state


def test_a_step_that_fails_leaves_the_state_before(tmp_path: Path) -> None:
    """The disk says no: the store says so, and what was saved last is what is loaded."""
    path = tmp_path / "device.sqlite"
    with SqliteDeviceStore(path) as store:
        store.save(b"before" * 50)
        store._shelf.db.execute("CREATE TRIGGER no BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'full'); END")
        with pytest.raises(LinkError, match="full"):
            store.save(b"before" * 50 + b"after")
        assert store.load() == b"before" * 50
    with SqliteDeviceStore(path) as store:
        assert store.load() == b"before" * 50


def test_many_devices_share_a_file(tmp_path: Path) -> None:
    """Each its own state and its own changes."""
    with DeviceShelf(tmp_path / "homes.sqlite") as shelf:
        stores = {name: shelf.store(name) for name in ("a/esme", "a/chf", "b/esme")}
        for name, store in stores.items():
            assert store.load() is None
            store.save(name.encode() * 100)
            store.save(name.encode() * 100 + b"more")
    with DeviceShelf(tmp_path / "homes.sqlite") as shelf:
        assert {name: shelf.store(name).load() for name in stores} == {n: n.encode() * 100 + b"more" for n in stores}


def test_a_file_of_the_first_form_is_taken_over(tmp_path: Path) -> None:
    """A meter's counters are not forgotten because the program became newer."""
    path = tmp_path / "old.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE device (only INTEGER PRIMARY KEY CHECK (only = 1), state BLOB NOT NULL)")
    db.execute("INSERT INTO device VALUES (1, ?)", (b"counter 9",))
    db.commit()
    db.close()
    for _ in range(2):
        with SqliteDeviceStore(path) as store:
            assert store.load() == b"counter 9"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A change that is cut is told with the file's name, instead of a state that never was."""
    path = tmp_path / "device.sqlite"
    with SqliteDeviceStore(path) as store:
        store.save(bytes(900))
        store.save(bytes(900) + b"more")
        store._shelf.db.execute("UPDATE changes SET change = substr(change, 1, 20)")
    with SqliteDeviceStore(path) as store, pytest.raises(LinkError, match=r"device\.sqlite holds a damaged state"):
        store.load()
