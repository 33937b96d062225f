"""The COSEM objects of an electricity meter, as tables: what exists, of what type, what it holds when new, who sets it.

An attribute that is in none of the tables cannot be read or written. Every row names its source; what no public text
fixes says DESIGN CHOICE, what is concluded from the reference data says INFERENCE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.home.objects import account, auxiliary, device, network, tariff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.home.attributes import Attribute
    from lastmetre.home.objects.rows import ActivationRow, Row

OBJECTS: Final[Mapping[Attribute, Row]] = {
    row.attribute: row
    for table in (account.ROWS, tariff.ROWS, network.ROWS, device.ROWS, auxiliary.ROWS)
    for row in table
}
"""Every attribute, but for the buffers of logs (``logs.LOGS``)."""

ACTIVATIONS: Final[Mapping[Attribute, ActivationRow]] = {
    row.attribute: row
    for table in (account.ACTIVATIONS, tariff.ACTIVATIONS, network.ACTIVATIONS, auxiliary.ACTIVATIONS)
    for row in table
}
"""Every activation time."""
