"""Power outages: a hub that was there and stays away has lost its supply, and the home's supplier is told (AD1).

Rules this module keeps (reference: duis 1.4, 1.6):

* The public sources give the event's content and not how the DCC comes by it. Here a hub whose WAN connection has been
  gone for ``after_s`` is taken to have no power, once for each absence. DESIGN CHOICE: three minutes, the length from
  which an outage counts as one; a dropped connection that comes back sooner is nobody's news.
* A hub that the WAN reaches only at times is away for its own reasons: nothing is said of it.
* That the supply is back is for the meter to say, in an Alert of its own (ECS80), which goes to its User like any
  other; the DSP tells ``hub_power_restored`` in its events only.
* Absences are in the store: a restart of the DSP neither repeats an alert nor forgets that it owes one. A hub whose
  supply fails while the DSP is down was not seen to go, and nothing is said of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.inventory import NETWORK_ROLES, UserRole, WanCoverage
from lastmetre.dcc.ports import OutboxKind
from lastmetre.dcc.replies import POWER_OUTAGE, power_outage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import Clock, DspChange, DspStore, HubAbsence, Tell
    from lastmetre.dcc.replies import Replies

TOLD_ROLES: Final = frozenset({UserRole.IMPORT_SUPPLIER, *NETWORK_ROLES})
"""Who is told that a home has no power."""


@dataclass(frozen=True, slots=True)
class OutageRules:
    """When an absence is an outage; ``None``: never."""

    after_s: int | None = 180


class Outages:
    """Watches hubs come and go."""

    def __init__(
        self, *, rules: OutageRules, inventory: Inventory, store: DspStore, replies: Replies, tell: Tell, clock: Clock
    ) -> None:
        self._rules = rules
        self._inventory = inventory
        self._store = store
        self._replies = replies
        self._tell = tell
        self._clock = clock

    def hub_away(self, hub_id: bytes) -> None:
        """A hub's connection has gone."""
        if self._rules.after_s is not None:
            with self._store.change() as change:
                change.hub_away(hub_id, self._clock())

    def hub_back(self, hub_id: bytes) -> None:
        """It is there again."""
        with self._store.change() as change:
            absence = change.hub_back(hub_id)
        if absence is not None and absence.told_at is not None:
            self._tell("hub_power_restored", hub_id=hub_id.hex(), since=absence.since_at)

    def look(self) -> None:
        """Tell of every outage that has lasted long enough and was not told."""
        if self._rules.after_s is None:
            return
        now = self._clock()
        told = []
        with self._store.change() as change:
            for absence in change.absences():
                if absence.told_at is None and now - absence.since_at >= self._rules.after_s:
                    change.mark_absence_told(absence.hub_id, now)
                    if self._alert(change, absence, now):
                        told.append(absence)
        for absence in told:
            self._tell("power_outage_told", hub_id=absence.hub_id.hex(), since=absence.since_at)

    def _alert(self, change: DspChange, absence: HubAbsence, now: int) -> bool:
        hub = self._inventory.device(absence.hub_id)
        if hub is None or hub.wan_coverage is not WanCoverage.GOOD:
            return False
        found = False
        for user_id, mpxn in sorted(self._concerned(absence.hub_id, now)):
            event = power_outage(absence.hub_id, absence.since_at, mpxn)
            document = self._replies.dcc_alert(POWER_OUTAGE, event, now)
            change.put_out(OutboxKind.PUSH, user_id, document, None, now)
            found = True
        return found

    def _concerned(self, hub_id: bytes, at: int) -> set[tuple[bytes, str]]:
        return set(self._rows(hub_id, at))

    def _rows(self, hub_id: bytes, at: int) -> Iterator[tuple[bytes, str]]:
        for device in self._inventory.on_hub(hub_id):
            if device.mpxns.import_mpxn is not None:
                for row in self._inventory.registered(device, at):
                    if row.role in TOLD_ROLES:
                        yield row.user_id, device.mpxns.import_mpxn
