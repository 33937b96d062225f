"""What a device's word changes in the inventory: a Response that succeeded, or an Alert.

Rules this module keeps (reference: duis 1.4, 2.3; transform A1, B6 to B8; gbcs-messages 9.3, 10):

* Only what was *verified* comes here: signed by the device, or MACed for the ACB. One MACed for a User moves nothing.
* The Command that was sealed says what was asked; its Response says whether it happened. Of the request's XML only what
  never reaches a device is kept beside it (``beside``): MPxNs of an added device, the old hub of a restored log.
* Once: the caller applies a Response only when its Command was not answered before.
* Which status follows which step is not public. The rows here are DESIGN CHOICE after the names of the statuses:
  Pending, Whitelisted on a hub's log, InstalledNotCommissioned once it has joined, Commissioned by SRV 8.1.1 (meters)
  or by joining a meter (PPMID, HCALCS, IHD, CAD).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from lastmetre.dcc.inventory import NO_HUB, DeviceStatus, DeviceType, Mpxns
from lastmetre.dcc.ports import LaneMarks
from lastmetre.duis.errors import DuisDecodeError
from lastmetre.duis.identifiers import parse_entity
from lastmetre.gbcs.asn1 import (
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    DeviceLogAlert,
    FirmwareActivatedAlert,
    FirmwareVersion,
    Join,
    Unjoin,
    UpdateCredentialsAlert,
    UpdateCredentialsResponse,
    UpdateDeviceCertificate,
)
from lastmetre.gbcs.asn1 import DeviceType as GbcsDeviceType
from lastmetre.gbcs.axdr import Array, OctetString, Structure
from lastmetre.gbcs.catalogue import Lane, Role
from lastmetre.gbcs.certificates import CertificateRefused, Usage, parse_certificate
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import Gbz
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import Cra, parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.zcl import ReadAttributesResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.dcc.inventory import Device, Pending
    from lastmetre.dcc.outcomes import Outcome
    from lastmetre.dcc.ports import DspChange, SealedCommand
    from lastmetre.duis.documents import Request
    from lastmetre.gbcs.asn1 import UpdateOutcome
    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.message import Message
    from lastmetre.gbcs.payload import Payload

ADD_TO_HUB: Final = 0x0001
REMOVE_FROM_HUB: Final = 0x0002
HUB_LOG_CHANGED: Final = 0x0018
GAS_FIRMWARE: Final = 0x0206
EXECUTED: Final = 0x8F66

METERS: Final = frozenset({DeviceType.ESME, DeviceType.GSME, DeviceType.GPF})
GBCS_TYPES: Final = MappingProxyType(
    {kind.value: kind.name for kind in GbcsDeviceType if kind is not GbcsDeviceType.TYPE_2}
)
"""Names of the types in a device log; one of type 2 is called so by the transform."""


class Beside(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request says and its Command does not."""

    import_mpxn: str | None = None
    secondary_import_mpan: str | None = None
    export_mpan: str | None = None
    old_hub: str | None = None
    cin: str | None = None
    """The number that the DCC made up for SRV 9.1: the User is told it with the Response."""


def beside(request: Request, cin: str | None = None) -> str:
    """What has to be kept beside a Command, as ``SealedCommand.effect``."""
    variant, body = request.header.service_reference_variant, request.body
    kept = Beside(cin=cin)
    if variant == "8.11" and (added := body.find("AddDeviceToCHFWhitelist")) is not None:
        kept = Beside(*(_words(added.find_text(name)) for name in ("ImportMPxN", "SecondaryImportMPAN", "ExportMPAN")))
    elif variant == "8.12.1":
        kept = Beside(old_hub=_words(body.find_text("OldCHFID")))
    return "" if kept == Beside() else msgspec.json.encode(kept).decode()


def read_effect(effect: str) -> Beside:
    """What was kept beside a Command."""
    return msgspec.json.decode(effect or "{}", type=Beside)


def _words(text: str | None) -> str | None:
    return None if text is None else text.strip()


@dataclass(frozen=True, slots=True)
class Happened:
    """A Command that a device has carried out, by its own verified word."""

    pending: Pending
    change: DspChange
    command: SealedCommand
    asked: Payload
    outcome: Outcome
    at: int

    @property
    def device(self) -> Device | None:
        """The Command's target."""
        return self.pending.device(self.command.target_id)


def apply_response(
    pending: Pending, change: DspChange, command: SealedCommand, outcome: Outcome, at: int
) -> None:  # fmt: skip
    """Change the inventory by a verified Response that succeeded. What it does not concern stays as it is."""
    effect = EFFECTS.get(command.service_reference_variant)
    if effect is None or outcome.succeeded is not True or not outcome.carried_out:
        return
    message = parse_message(command.command)
    asked = decode_payload(message.header.message_code, Cra.COMMAND, message.content)
    effect(Happened(pending, change, command, asked, outcome, at))


# --- the effects -----------------------------------------------------------------------------------------------------


def _commissioned(happened: Happened) -> None:
    if happened.device is not None:
        day = datetime.fromtimestamp(happened.at, UTC).date().isoformat()
        commissioned = replace(happened.device, status=DeviceStatus.COMMISSIONED, commissioned_on=day)
        happened.pending.keep(commissioned)


def _hub_log(happened: Happened) -> None:
    """SRV 8.11: CCS01 puts a device on the hub's log, CCS02 takes it off."""
    if not isinstance(happened.asked, AccessRequest):
        return
    code = parse_message(happened.command.command).header.message_code
    listed = _octets(happened.asked.items[0][1])
    device = None if listed is None else happened.pending.device(listed)
    if device is None:
        return
    if code == REMOVE_FROM_HUB:
        if device.hub_id == happened.command.target_id:
            happened.pending.keep(replace(device, hub_id=NO_HUB, status=DeviceStatus.PENDING))
        return
    kept = read_effect(happened.command.effect)
    known = device.mpxns
    mpxns = Mpxns(
        kept.import_mpxn or known.import_mpxn,
        kept.secondary_import_mpan or known.secondary_import_mpan,
        kept.export_mpan or known.export_mpan,
    )
    status = DeviceStatus.WHITELISTED if device.status is DeviceStatus.PENDING else device.status
    happened.pending.keep(replace(device, hub_id=happened.command.target_id, mpxns=mpxns, status=status))


def _octets(data: Data) -> bytes | None:
    """The device named in a CCS01 or CCS02 Command."""
    first = data.elements[0] if isinstance(data, Structure) else data
    return first.value if isinstance(first, OctetString) else None


def _joined(happened: Happened) -> None:
    device = happened.device
    if device is None or not isinstance(happened.asked, Asn1) or not isinstance(happened.asked.value, Join):
        return
    other_id = happened.asked.value.other_device
    joined = tuple(sorted({*device.joined, other_id}))
    happened.pending.keep(_on_the_han(replace(device, joined=joined)))
    other = happened.pending.device(other_id)
    if other is not None:
        happened.pending.keep(_on_the_han(other))


def _on_the_han(device: Device) -> Device:
    if device.status is not DeviceStatus.WHITELISTED:
        return device
    meter = device.device_type in METERS
    status = DeviceStatus.INSTALLED_NOT_COMMISSIONED if meter else DeviceStatus.COMMISSIONED
    return replace(device, status=status)


def _unjoined(happened: Happened) -> None:
    device = happened.device
    if device is not None and isinstance(happened.asked, Asn1) and isinstance(happened.asked.value, Unjoin):
        gone = happened.asked.value.other_device
        happened.pending.keep(replace(device, joined=tuple(one for one in device.joined if one != gone)))


def _credentials(happened: Happened) -> None:
    payload = happened.outcome.payload
    if isinstance(payload, Asn1) and isinstance(payload.value, UpdateCredentialsResponse) and payload.value.outcome:
        _credentials_changed(happened.pending, happened.change, happened.command.target_id, payload.value.outcome)


def _credentials_changed(pending: Pending, change: DspChange, device_id: bytes, outcome: UpdateOutcome) -> None:
    """Who the device knows now; a new party's counters begin at the floors that were set (T59)."""
    device = pending.device(device_id)
    if device is None:
        return
    known = dict(device.credentials)
    for row in outcome.replacements:
        if row.status == 0 and row.new_subject_id:
            known[_role_name(row.cell.role)] = row.new_subject_id[-8:]
    pending.keep(replace(device, credentials=tuple(sorted(known.items()))))
    for counter in outcome.counter_changes:
        party = known.get(_role_name(counter.role))
        if party is not None:
            _raise_lane(change, party, device_id, Lane.ORDINARY, counter.floor)


def _raise_lane(change: DspChange, party: bytes, device_id: bytes, lane: Lane, floor: int) -> None:
    marks = change.lane(party, device_id, lane)
    change.set_lane(party, device_id, lane, LaneMarks(max(marks.seen, floor), max(marks.sealed, floor)))


def _role_name(role: int) -> str:
    return Role(role).name if role in {known.value for known in Role} else str(role)


def _own_certificate(happened: Happened) -> None:
    """CS02d: the device's own new certificate, which the DSP goes by from now on."""
    device, asked = happened.device, happened.asked
    if device is None or not isinstance(asked, Asn1) or not isinstance(asked.value, UpdateDeviceCertificate):
        return
    try:
        certificate = parse_certificate(asked.value.certificate)
    except CertificateRefused:
        return
    use = KeyUse.DIGITAL_SIGNATURE if certificate.usage is Usage.DIGITAL_SIGNATURE else KeyUse.KEY_AGREEMENT
    own = {**dict(device.certificates), use.value: certificate.der}
    happened.pending.keep(replace(device, certificates=tuple(sorted(own.items()))))


def _firmware_activated(happened: Happened) -> None:
    payload = happened.outcome.payload
    if isinstance(payload, Asn1) and isinstance(payload.value, ActivateFirmwareResponse) and payload.value.outcome:
        _runs(happened.pending, happened.command.target_id, payload.value.outcome.firmware_version.hex())


def _firmware_read(happened: Happened) -> None:
    version = _firmware_version(happened.outcome.payload)
    if version:
        _runs(happened.pending, happened.command.target_id, version)


def _firmware_version(payload: Payload | None) -> str | None:
    match payload:
        case Asn1(FirmwareVersion(version, _)):
            return version.hex()
        case AccessResponse(_, (item, *_)) if isinstance(item.data, OctetString):
            return item.data.value.hex()
        case Gbz((component, *_)) if isinstance(component.body, ReadAttributesResponse):
            for record in component.body.records:
                if record.attribute_id == GAS_FIRMWARE and isinstance(record.value, int):
                    return f"{record.value:08x}"
    return None


def _runs(pending: Pending, device_id: bytes, version: str) -> None:
    device = pending.device(device_id)
    if device is not None:
        pending.keep(replace(device, firmware_version=version.upper()[:8]))


def _hub_restored(happened: Happened) -> None:
    """SRV 8.12.1: the new hub has the old one's log, so its devices hang on it now."""
    kept = read_effect(happened.command.effect)
    try:
        old_hub = happened.pending.device(parse_entity(kept.old_hub or ""))
    except DuisDecodeError:
        return
    if old_hub is None:
        return
    for device_id, _key in old_hub.hub_link_keys:
        device = happened.pending.device(device_id)
        if device is not None and device.hub_id == old_hub.device_id and device.device_type is not DeviceType.CHF:
            happened.pending.keep(replace(device, hub_id=happened.command.target_id))


EFFECTS: Final[MappingProxyType[str, Callable[[Happened], None]]] = MappingProxyType(
    {
        "6.15.1": _credentials,
        "6.15.2": _own_certificate,
        "6.21": _credentials,
        "6.23": _credentials,
        "8.5": _credentials,
        "8.1.1": _commissioned,
        "8.7.1": _joined,
        "8.7.2": _joined,
        "8.8.1": _unjoined,
        "8.8.2": _unjoined,
        "8.11": _hub_log,
        "8.12.1": _hub_restored,
        "11.2": _firmware_read,
        "11.3": _firmware_activated,
    }
)
"""What success means for the inventory, by Service Reference Variant."""


# --- alerts ----------------------------------------------------------------------------------------------------------


def apply_alert(pending: Pending, change: DspChange, alert: Message) -> None:
    """Change the inventory by a verified Alert."""
    device_id, code = alert.header.business_originator_id, alert.header.message_code
    try:
        payload = decode_payload(code, Cra.ALERT, alert.content)
    except GbcsDecodeError:
        return
    match payload:
        case DataNotification() if code == HUB_LOG_CHANGED:
            _hub_log_backed_up(pending, device_id, payload)
        case Asn1(DeviceLogAlert() as log):
            _gpf_log_backed_up(pending, device_id, log)
        case Asn1(UpdateCredentialsAlert() as updated) if updated.alert_code == EXECUTED:
            _credentials_changed(pending, change, device_id, updated.outcome)
        case Asn1(ActivateFirmwareAlert() as activated) if activated.alert_code == EXECUTED:
            _runs(pending, device_id, activated.outcome.firmware_version.hex())
        case Asn1(FirmwareActivatedAlert() as running) if running.result == 0:
            _runs(pending, device_id, running.firmware_version.hex())


def _hub_log_backed_up(pending: Pending, hub_id: bytes, alert: DataNotification) -> None:
    hub = pending.device(hub_id)
    if hub is None or not alert.extra or not isinstance(alert.extra[0], Structure):
        return
    match alert.extra[0].elements:
        case (_, OctetString(network), (Array(rows) | Structure(rows))):
            keys = tuple(_link_key(row) for row in rows if isinstance(row, Structure))
        case _:
            return
    pending.keep(replace(hub, hub_network=network, hub_link_keys=keys))
    for device_id, key in keys:
        device = pending.device(device_id)
        if device is not None and key and device.hub_id == hub_id and device.device_type in METERS:
            pending.keep(_on_the_han(device))


def _link_key(row: Structure) -> tuple[bytes, bytes]:
    device, key = row.elements[:2]
    assert isinstance(device, OctetString)
    assert isinstance(key, OctetString)
    return device.value, key.value


def _gpf_log_backed_up(pending: Pending, gpf_id: bytes, alert: DeviceLogAlert) -> None:
    gpf = pending.device(gpf_id)
    if gpf is not None:
        log = tuple((row.device_id, GBCS_TYPES.get(row.type, "type 2")) for row in alert.log)
        pending.keep(replace(gpf, device_log=log))
