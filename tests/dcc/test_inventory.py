"""The inventory's rows are checked against each other when it is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lastmetre.dcc.errors import SettingsRefused
from lastmetre.dcc.inventory import Device, DeviceStatus, DeviceType, Inventory, Registration, UserRole, WanCoverage
from tests.dsp_world import DARK_CHF, NOBODY, inventory, user
from tests.own_world import CHF, ESME, OTHER_ESME, SUPPLIER


def device(inventory: Inventory, device_id: bytes) -> Device:
    """A row that is there."""
    found = inventory.device(device_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hub_id": NOBODY}, "no CHF of the inventory"),
        ({"hub_id": OTHER_ESME}, "no CHF of the inventory"),
        ({"device_type": DeviceType.CHF}, "its own hub"),
        ({"device_id": b"\x00"}, "8 octets"),
        ({"device_id": OTHER_ESME}, "stands twice"),
        ({"esme_variant": "X"}, "starts with A, B or C"),
        ({"registrations": (Registration(UserRole.IMPORT_SUPPLIER, NOBODY),)}, "no User in the role"),
        ({"registrations": (Registration(UserRole.GAS_TRANSPORTER, SUPPLIER),)}, "no User in the role"),
    ],
)
def test_a_row_that_contradicts_another_is_refused(changed: dict[str, object], words: str) -> None:
    """A wrong row stops the DSP at start and is named, instead of refusing requests later."""
    with pytest.raises(SettingsRefused, match=words):
        inventory(**changed)


def test_users_stand_once() -> None:
    """Two rows for one User would let the order of rows decide."""
    with pytest.raises(SettingsRefused, match="stands twice"):
        Inventory((), (user(SUPPLIER, UserRole.IMPORT_SUPPLIER), user(SUPPLIER, UserRole.GAS_SUPPLIER)))


def test_what_the_inventory_tells() -> None:
    """Hubs, coverage and registrations as they were put in."""
    made = inventory()
    assert made.has_hub(CHF)
    assert not made.has_hub(ESME)
    assert not made.has_hub(NOBODY)
    assert made.coverage(device(made, ESME)) is WanCoverage.GOOD
    assert made.coverage(device(made, OTHER_ESME)) is WanCoverage.NONE
    assert device(made, OTHER_ESME).hub_id == DARK_CHF
    ended = replace(device(made, ESME), registrations=(Registration(UserRole.IMPORT_SUPPLIER, SUPPLIER, 10, 20),))
    assert [bool(ended.roles_of(SUPPLIER, at)) for at in (9, 10, 19, 20)] == [False, True, True, False]
    assert device(made, ESME).status is DeviceStatus.COMMISSIONED
