"""A standalone auxiliary proportional controller: the electricity meter's controller objects without its metering.

Built on the meter, as its Commands have the same items (ECS46d, CS02f, CS02g); it supports only what the catalogue
names for it, so that a metering Command gets the ECS100 Alert.
"""

from __future__ import annotations

from lastmetre.gbcs.catalogue import UseCaseKind, catalogue
from lastmetre.home.esme import Esme


class Sapc(Esme):
    """One SAPC."""

    device_type = "SAPC"
    supported = frozenset(
        code for code, case in catalogue().items() if "SAPC" in case.devices and case.kind is UseCaseKind.COMMAND
    )
