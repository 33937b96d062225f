"""Commands, Responses and Alerts from values: what ``lastmetre.gbcs`` can say, for people who have no XML.

One frozen record for each Command or family of Commands, grouped by chapter. Its fields have the standard's names, with
units at their end; every value is checked when the record is made, and what does not fit is a ``GbcsValueError`` that
says what is allowed::

    values = build.prepayment.AdjustMeterBalance(adjustment_millipence=500_000)
    built = build.command("ECS04a", values, originator=supplier, target=meter, counter=1001)
    pre_command = built.message          # to be signed and sealed by gbcs.protect

A layout is written once and goes both ways: ``from_payload`` reads a record from a payload.
"""

from lastmetre.gbcs.build import (
    alerts,
    alerts_and_events,
    auxiliary,
    credentials,
    debt,
    gas,
    gas_tariff,
    hub,
    joining,
    logs,
    prepayment,
    reads,
    settings,
    supply,
    tariff,
)
from lastmetre.gbcs.build.alerts import BuiltAlert, alert
from lastmetre.gbcs.build.commands import BuiltCommand, command, command_class, command_classes, read_command
from lastmetre.gbcs.build.frame import Command, ReadBack
from lastmetre.gbcs.build.responses import BuiltResponse, Result, ZclAnswer, response
from lastmetre.gbcs.build.times import CANCEL, NOW, Date, TimeOfDay, When

__all__ = [
    "CANCEL",
    "NOW",
    "BuiltAlert",
    "BuiltCommand",
    "BuiltResponse",
    "Command",
    "Date",
    "ReadBack",
    "Result",
    "TimeOfDay",
    "When",
    "ZclAnswer",
    "alert",
    "alerts",
    "alerts_and_events",
    "auxiliary",
    "command",
    "command_class",
    "command_classes",
    "credentials",
    "debt",
    "gas",
    "gas_tariff",
    "hub",
    "joining",
    "logs",
    "prepayment",
    "read_command",
    "reads",
    "response",
    "settings",
    "supply",
    "tariff",
]
