"""The PPMID's buttons: what each says to the ESME. Plain Smart Energy commands, no GBCS message (HAN reference 2.5).

The customer's own hand is what makes these safe to exist: nothing in the agent presses a button, and no envelope can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.han.clusters import LocalChangeSupply, SelectAvailableEmergencyCredit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.han.clusters import ZseCommand

BUTTONS: Final[Mapping[str, ZseCommand]] = {
    "enable-supply": LocalChangeSupply(),  # PECS03; works only when the meter is armed
    "emergency-credit": SelectAvailableEmergencyCredit(),  # PECS02
}
"""Every button there is. Source: HAN reference 2.5, the table of plain frames."""

SUCCESS: Final = 0
"""The ZCL status of a Default Response that says yes."""


def words_for(status: int) -> str:
    """What the display says about the meter's answer."""
    return "accepted" if status == SUCCESS else "refused"
