"""The home area network: Zigbee Smart Energy from the 802.15.4 header up to the tunnel that carries GBCS messages.

Pure: frames and the time go in, frames and events come out. Facts and labels: ``reference/han.md``.

* ``frames``, ``zcl``, ``tunnelling``, ``clusters``, ``zdo``: what is on the air, byte for byte;
* ``zep``, ``pcap``: how it travels between processes and lies in a capture file;
* ``node``: a Zigbee node: acknowledgements, fragments, duplicates, forwarding;
* ``tunnel``: the two ends of a tunnel; ``devices``: a whole hub, ESME or PPMID; ``medium``: the air between them;
* ``mirror``, ``gb_header``, ``sleepy``: a gas meter's mirror, the header of its tunnel, and the meter that sleeps;
* ``handheld``: a terminal in the field; ``joining``: how it comes onto the network.

* ``security``: NWK and APS security, where a node is given keys.

What a real network has and this one has not: MAC acknowledgements, routing, key establishment, flow control. Without
``security`` the frames are what a secured network carries inside; nobody may take them for what it emits.
"""

from lastmetre.han.clusters import ConsumerTopUp, LocalChangeSupply, SelectAvailableEmergencyCredit, ZseCommand
from lastmetre.han.devices import Core, Device, Hub
from lastmetre.han.errors import HanDecodeError, HanError, HanValueError
from lastmetre.han.events import (
    Event,
    FellAsleep,
    MessageAsked,
    MessageReceived,
    MirrorReported,
    TransferAccepted,
    TransferFailed,
    TunnelClosed,
    TunnelCloseRefused,
    TunnelOpened,
    TunnelRefused,
    WokeUp,
    ZseAnswered,
    ZseFailed,
    ZseReceived,
)
from lastmetre.han.handheld import HandheldDevice
from lastmetre.han.joining import Joined, JoiningRadio, JoinStatus, NotJoined
from lastmetre.han.medium import Heard, Medium
from lastmetre.han.mirror import Flag, Reported
from lastmetre.han.node import Dropped, JoinAsked, Node
from lastmetre.han.security import Security
from lastmetre.han.sleepy import SleepyDevice
from lastmetre.han.zcl import Status

__all__ = [
    "ConsumerTopUp",
    "Core",
    "Device",
    "Dropped",
    "Event",
    "FellAsleep",
    "Flag",
    "HanDecodeError",
    "HanError",
    "HanValueError",
    "HandheldDevice",
    "Heard",
    "Hub",
    "JoinAsked",
    "JoinStatus",
    "Joined",
    "JoiningRadio",
    "LocalChangeSupply",
    "Medium",
    "MessageAsked",
    "MessageReceived",
    "MirrorReported",
    "Node",
    "NotJoined",
    "Reported",
    "Security",
    "SelectAvailableEmergencyCredit",
    "SleepyDevice",
    "Status",
    "TransferAccepted",
    "TransferFailed",
    "TunnelCloseRefused",
    "TunnelClosed",
    "TunnelOpened",
    "TunnelRefused",
    "WokeUp",
    "ZseAnswered",
    "ZseCommand",
    "ZseFailed",
    "ZseReceived",
]
