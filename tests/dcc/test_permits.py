"""The DSP's relay permits: whom they are made for, how long they live, and that a serial is never given twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.dcc.inventory import DeviceStatus, Inventory, Registration, UserRole, UserStatus
from lastmetre.dcc.permits import AHEAD_MAX_S, GAS_WAIT_S, LIFE_S, LIVE_MAX, PermitCode, Permits
from lastmetre.dcc.ports import PermitAsk, PermitRecord, PermitRefused
from lastmetre.dcc.sealing import Broker
from lastmetre.duis.identifiers import RequestID
from lastmetre.links.permit_store import PermitStoreError, SqlitePermitStore
from lastmetre.relay.permit import Permit, command_digest, decode_permit, mac_is_right
from tests import dsp_world as dsp
from tests import own_world as own
from tests.dsp_world import DARK_CHF, GSME
from tests.own_world import BROKER, CHF, ESME, NOW, OTHER_SUPPLIER, PPMID, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTER = 70


class PermitDsp:
    """A DSP with a maker of permits; one Command is sealed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = dsp.World(path / "dsp.sqlite")
        self.inventory = self.world.inventory
        self.told = own.Told()
        self.open()
        self.command = self.world.local_command(self.world.sign_off(dsp.arm(COUNTER)))

    def open(self) -> None:
        """Open the permits' store."""
        self.store = SqlitePermitStore(self.path / "permits.sqlite")
        self.permits = Permits(
            broker=Broker(BROKER, dsp.BrokerKeys(), dsp.EveryCertificate()),
            inventory=lambda: self.inventory,
            commands=self.world.store,
            store=self.store,
            tell=self.told,
            clock=lambda: self.world.now,
        )

    def close(self) -> None:
        """Give the files back."""
        self.store.close()
        self.world.close()

    def ask(self, user_id: bytes = SUPPLIER, **changes: Any) -> PermitRecord:
        """Ask for a permit for the Command."""
        request_id = str(RequestID(SUPPLIER, ESME, COUNTER))
        fields = {"request_id": request_id, "digest": command_digest(self.command), "carrier_id": PPMID} | changes
        return self.permits.issue(user_id, PermitAsk(**fields))

    def refused(self, user_id: bytes = SUPPLIER, **changes: Any) -> str:
        """Why no permit is made."""
        with pytest.raises(PermitRefused) as caught:
            self.ask(user_id, **changes)
        with self.store.change() as change:
            assert change.records(CHF) == () or change.records(CHF)[-1].issued_at < self.world.now
        return caught.value.code

    def change_device(self, device_id: bytes, **fields: Any) -> None:
        """The inventory says something else of a device."""
        devices = [
            replace(device, **fields) if device.device_id == device_id else device
            for device in self.inventory.devices.values()
        ]
        self.inventory = Inventory(devices, self.inventory.users.values())


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[PermitDsp]:
    """One of them."""
    one = PermitDsp(tmp_path)
    yield one
    one.close()


def fields_of(record: PermitRecord) -> Permit:
    """What the permit says, its MAC checked with the hub's own key."""
    assert mac_is_right(record.permit, BROKER, record.hub_id, own.secret(record.hub_id, BROKER))
    read = decode_permit(record.permit)
    assert isinstance(read, Permit)
    return read


def test_a_permit_says_what_was_sealed(maker: PermitDsp) -> None:
    """Command, target, hub and carrier; fifteen minutes from now; its MAC is for that hub; and it is recorded."""
    record = maker.ask()
    permit = fields_of(record)
    assert (permit.hub_id, permit.carrier_id, permit.target_id) == (CHF, PPMID, ESME)
    assert (permit.digest, permit.command_octets) == (command_digest(maker.command), len(maker.command))
    assert (permit.issued_at, permit.not_before) == (NOW, NOW)
    assert permit.not_after == permit.hold_until == record.not_after == NOW + LIFE_S
    assert (permit.hub_nonce, permit.target_is_hub, permit.void_below) == (None, False, 0)
    with maker.store.change() as change:
        assert change.records(CHF) == (record,)
    assert maker.told.of("relay_permit_issued")[0]["serial"] == "1"


def test_serials_are_never_used_twice(maker: PermitDsp) -> None:
    """Not over a restart, not after a permit that was refused at the last step; each hub has its own."""
    assert [maker.ask().serial for _ in range(3)] == [1, 2, 3]
    maker.store.close()
    maker.open()
    assert maker.ask().serial == 4
    with maker.store.change() as change:
        assert change.next_serial(DARK_CHF) == 1
    with pytest.raises(PermitStoreError, match="another DSP"):
        SqlitePermitStore(maker.path / "permits.sqlite")


def test_only_for_the_user_it_was_sealed_for(maker: PermitDsp) -> None:
    """Another User, another digest, an unknown request: one and the same answer."""
    answers = {
        maker.refused(OTHER_SUPPLIER),
        maker.refused(digest=bytes(32)),
        maker.refused(request_id=str(RequestID(SUPPLIER, ESME, COUNTER + 1))),
        maker.refused(request_id="nonsense"),
    }
    assert answers == {PermitCode.UNKNOWN_COMMAND}
    assert maker.refused(bytes(8)) == PermitCode.UNKNOWN_USER


def test_not_for_a_command_that_left_by_wan(maker: PermitDsp) -> None:
    """What the User never had in its hands needs no carrier."""
    other = dsp.read_balance(COUNTER + 1, 1)
    maker.world.post(other)
    with maker.world.store.change() as change:
        sealed = change.command_of_request(str(other.header.request_id))
    assert sealed is not None
    digest = command_digest(sealed.command)
    assert maker.refused(request_id=sealed.request_id, digest=digest) == PermitCode.UNKNOWN_COMMAND


def test_only_the_registered_supplier_of_this_moment(maker: PermitDsp) -> None:
    """A supplier who lost the home since sealing, and one who is suspended, get none."""
    lost = (Registration(UserRole.IMPORT_SUPPLIER, SUPPLIER, since_at=NOW - 1000, until_at=NOW),)
    maker.change_device(ESME, registrations=lost)
    assert maker.refused() == PermitCode.NOT_REGISTERED
    maker.inventory = maker.world.inventory
    users = [
        replace(user, status=UserStatus.SUSPENDED) if user.user_id == SUPPLIER else user
        for user in maker.inventory.users.values()
    ]
    maker.inventory = Inventory(maker.inventory.devices.values(), users)
    assert maker.refused() == PermitCode.USER_STATUS


def test_the_carrier_is_a_ppmid_in_use_at_the_targets_hub(maker: PermitDsp) -> None:
    """Not a meter, not a stranger, not another home's, not one that was withdrawn."""
    for carrier in (ESME, bytes(8), CHF):
        assert maker.refused(carrier_id=carrier) == PermitCode.UNKNOWN_CARRIER
    maker.change_device(PPMID, hub_id=DARK_CHF)
    assert maker.refused() == PermitCode.UNKNOWN_CARRIER
    maker.change_device(PPMID, hub_id=CHF, status=DeviceStatus.WITHDRAWN)
    assert maker.refused() == PermitCode.UNKNOWN_CARRIER


def test_not_when_it_is_no_longer_wanted(maker: PermitDsp) -> None:
    """An answered Command needs no hand-over; one that a later Command overtook must have none."""
    later = maker.world.local_command(dsp.read_balance(COUNTER + 5))
    assert maker.refused() == PermitCode.SUPERSEDED
    request_id = str(RequestID(SUPPLIER, ESME, COUNTER + 5))
    assert maker.ask(request_id=request_id, digest=command_digest(later)).serial == 1
    with maker.world.store.change() as change:
        change.mark_answered(request_id, NOW)
    maker.world.now += LIFE_S
    assert maker.refused(request_id=request_id, digest=command_digest(later)) == PermitCode.ANSWERED


def test_top_ups_are_not_overtaken(maker: PermitDsp) -> None:
    """The UTRN lane knows no order: an earlier top-up still gets its permit."""
    first = maker.world.local_command(dsp.top_up(500, 1_000))
    maker.world.local_command(dsp.top_up(501, 1_000))
    request_id = str(RequestID(SUPPLIER, ESME, 500 << 32))
    assert maker.ask(request_id=request_id, digest=command_digest(first)).serial == 1


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, (0, LIFE_S, LIFE_S)),
        ({"not_after": NOW + 60}, (0, 60, 60)),
        ({"not_after": NOW + 86_400, "hold_until": NOW + 86_400}, (0, LIFE_S, LIFE_S)),
        ({"not_before": NOW - 50, "not_after": NOW + 60}, (0, 60, 60)),
        ({"not_before": NOW + AHEAD_MAX_S}, (AHEAD_MAX_S, LIFE_S, LIFE_S)),
    ],
    ids=str,
)
def test_it_lives_no_longer_than_a_quarter_of_an_hour(
    maker: PermitDsp, asked: dict[str, Any], given: tuple[int, int, int]
) -> None:
    """What is asked is cut to what is allowed, and never begins before it is made."""
    permit = fields_of(maker.ask(**asked))
    assert (permit.not_before - NOW, permit.not_after - NOW, permit.hold_until - NOW) == given


def test_no_permit_for_later_or_for_the_past(maker: PermitDsp) -> None:
    """Just in time: not ahead, not over already."""
    assert maker.refused(not_before=NOW + AHEAD_MAX_S + 1) == PermitCode.NOT_NOW
    assert maker.refused(not_after=NOW - 1) == PermitCode.NOT_NOW


def test_a_sleeping_gas_meter_has_two_wake_ups_more(maker: PermitDsp) -> None:
    """not_after is the same; the last release from the mailbox is 65 minutes later, and no more than that."""
    command = maker.world.local_command(dsp.read_balance(90, target=GSME))
    known: dict[str, Any] = {"request_id": str(RequestID(SUPPLIER, GSME, 90)), "digest": command_digest(command)}
    extras: tuple[dict[str, Any], ...] = ({}, {"hold_until": NOW + 86_400})
    for extra in extras:
        permit = fields_of(maker.ask(**known, **extra))
        assert (permit.not_after, permit.hold_until) == (NOW + LIFE_S, NOW + LIFE_S + GAS_WAIT_S)


def test_a_hubs_nonce_is_answered(maker: PermitDsp) -> None:
    """The nonce goes into the record; nonsense is refused."""
    assert fields_of(maker.ask(hub_nonce=b"12345678")).hub_nonce == b"12345678"
    maker.world.now += 1
    for nonce in (bytes(8), b"short"):
        assert maker.refused(hub_nonce=nonce) == PermitCode.BAD_NONCE


def test_no_stock_of_permits(maker: PermitDsp) -> None:
    """Twelve for one Command within a quarter of an hour; then the oldest must have died."""
    for _ in range(LIVE_MAX):
        maker.ask()
    maker.world.now += LIFE_S - 1
    assert maker.refused() == PermitCode.TOO_MANY
    maker.world.now += 1
    assert maker.ask().serial == LIVE_MAX + 1


def test_voiding_kills_every_permit_made_so_far(maker: PermitDsp) -> None:
    """The next permit carries the word to the hub."""
    maker.ask()
    maker.ask()
    assert maker.permits.void(CHF) == 3
    permit = fields_of(maker.ask())
    assert (permit.serial, permit.void_below) == (3, 3)


def test_refusals_are_told_with_their_reason(maker: PermitDsp) -> None:
    """The DSP's own events say why; the User has the code."""
    maker.refused(OTHER_SUPPLIER)
    (told,) = maker.told.of("relay_permit_refused")
    assert (told["code"], told["user_id"]) == (PermitCode.UNKNOWN_COMMAND, OTHER_SUPPLIER.hex())
