"""Requests to the DCC itself: the inventory, schedules, the WAN matrix, and news of Communications Hubs.

Rules this module keeps (reference: duis 1.4, 2.2; service-requests; transform B10; the bodies are those of schema 5.4):

* A result with data is I0 with its payload; where there is none, I99 (duis 1.5).
* Reading is for every eligible role; changing a device is for whom it is registered to, or, of one not installed yet,
  for whoever notified it: no name is kept of that, so for every eligible role (DESIGN CHOICE).
* The meanings of the service-specific codes are not public. Those here were chosen by their numbers' order, the first
  for "not there" (DESIGN CHOICE); each refusal has its reason in words in the DSP's events.
* Schedules end with their device, or when their User is registered for it no longer; the User is told.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.access_control import Code, OurCode
from lastmetre.dcc.errors import RequestRefused
from lastmetre.dcc.inventory import (
    ESME_VARIANT_STARTS,
    METERS,
    NO_HUB,
    Device,
    DeviceStatus,
    DeviceType,
    Mpxns,
    Pending,
    WanCoverage,
)
from lastmetre.dcc.ports import HeldKind, HeldRequest, OutboxKind
from lastmetre.dcc.replies import OTHER_EVENT, removed_from_inventory, schedule_removed
from lastmetre.dcc.schedules import SCHEDULES_MAX, device_of, next_due, scheduled_service
from lastmetre.dcc.transform_service import Done
from lastmetre.duis.documents import OtherPayload, parse_request
from lastmetre.duis.errors import DuisDecodeError
from lastmetre.duis.identifiers import entity_text, parse_entity
from lastmetre.duis.xml import Element

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lastmetre.dcc.access_control import Asked
    from lastmetre.dcc.inventory import Inventory
    from lastmetre.dcc.ports import DspChange
    from lastmetre.dcc.replies import Replies

DEVICES_MAX: Final = 17
"""As many as one answer can list (schema 5.4)."""
READ_NOT_FOUND: Final = "E080201"
DECOMMISSION_REFUSED: Final = "E080301"
UPDATE_NOT_FOUND: Final = "E080405"
UPDATE_REFUSED: Final = "E080406"
HUB_NOT_FOUND: Final = "E081401"
HUB_REFUSED: Final = "E081402"
MATRIX_NOT_FOUND: Final = "E120101"
NOTIFIED_ALREADY: Final = "E120201"
SCHEDULE_REFUSED: Final = "E050101"
SCHEDULE_NOT_FOUND_TO_READ: Final = "E050201"
SCHEDULE_NOT_FOUND_TO_DELETE: Final = "E050301"

NEWEST_GBCS: Final = "4.3"
"""The GBCS version of a device that was notified: the request does not say it (DESIGN CHOICE)."""
LIKELIHOOD: Final = MappingProxyType(
    {WanCoverage.GOOD: "High", WanCoverage.INTERMITTENT: "Medium", WanCoverage.NONE: "Low"}
)


class NonDevice:
    """Carries out requests to the DCC itself, inside one transaction."""

    def __init__(self, inventory: Inventory, replies: Replies) -> None:
        self._inventory = inventory
        self._replies = replies
        self._services: dict[str, Callable[[Asked, DspChange, Pending, bytes], Done]] = {
            "5.1": self._create_schedule,
            "5.2": self._read_schedule,
            "5.3": self._delete_schedule,
            "8.2": self._read_inventory,
            "8.3": self._decommission,
            "8.4": self._update_inventory,
            "8.14.1": self._hub_news,
            "8.14.2": self._hub_news,
            "8.14.3": self._hub_news,
            "8.14.4": self._hub_news,
            "12.1": self._wan_matrix,
            "12.2": self._pre_notify,
        }

    def carry_out(self, asked: Asked, change: DspChange, pending: Pending, document: bytes) -> Done:
        """One request; raises ``RequestRefused``."""
        try:
            return self._services[asked.request.header.service_reference_variant](asked, change, pending, document)
        except ValueError as error:  # a status or a type that the inventory does not know
            raise RequestRefused(OurCode.CONTENT, str(error)) from error

    # --- 8.2, 8.3, 8.4, 12.2: the inventory

    def _read_inventory(self, asked: Asked, _change: DspChange, _pending: Pending, _document: bytes) -> Done:
        """Everything at the premises that the request names by a device, an MPxN or an address."""
        body = asked.request.body
        devices = list(self._named(body))
        hubs = {device.hub_id for device in devices} - {NO_HUB}
        found = [device for hub in sorted(hubs) for device in self._inventory.on_hub(hub)]
        found += [device for device in devices if device.hub_id == NO_HUB]
        if not found:
            raise RequestRefused(READ_NOT_FOUND, "the inventory has nothing under what was named")
        listed = tuple(_device_element(device) for device in found[:DEVICES_MAX])
        return _result(Element("DSPInventory", children=listed), "inventory_read", count=str(len(listed)))

    def _named(self, body: Element) -> Iterator[Device]:
        if body.find("DeviceID") is not None:
            device = self._inventory.device(_entity(body))
            if device is not None:
                yield device
        elif (mpxn := body.find_text("MPxN")) is not None:
            yield from self._inventory.with_mpxn(mpxn.strip())
        else:
            yield from self._at_address(body)

    def _at_address(self, body: Element) -> Iterator[Device]:
        """Devices at a UPRN, or at a post code and address identifier; letter case and spaces do not count."""
        uprn = body.find_text("UPRN")
        address = body.find("PropertyFilter") or body.find("PartialAddress")
        for device in self._inventory.devices.values():
            if uprn is not None:
                if device.uprn == uprn.strip():
                    yield device
            elif address is not None and _plain(device.post_code) == _plain(address.find_text("PostCode")):
                wanted = _plain(address.find_text("AddressIdentifier"))
                if device.post_code and (not wanted or wanted == _plain(device.address_identifier)):
                    yield device

    def _decommission(self, asked: Asked, change: DspChange, pending: Pending, _document: bytes) -> Done:
        device = self._registered(asked, pending, Code.NO_SUCH_DEVICE)
        if device.status in {DeviceStatus.DECOMMISSIONED, DeviceStatus.WITHDRAWN}:
            raise RequestRefused(DECOMMISSION_REFUSED, f"the device is {device.status} already")
        pending.keep(replace(device, status=DeviceStatus.DECOMMISSIONED))
        self._end_schedules(change, device.device_id, asked.at)
        return _done("device_decommissioned", device)

    def _update_inventory(self, asked: Asked, change: DspChange, pending: Pending, _document: bytes) -> Done:
        device = pending.device(_entity(asked.request.body))
        if device is None:
            raise RequestRefused(UPDATE_NOT_FOUND, "no such device")
        what = asked.request.body.children[-1]
        if device.status is not DeviceStatus.PENDING:
            self._registered(asked, pending, UPDATE_NOT_FOUND)
        hub = device.device_type is DeviceType.CHF
        match what.name:
            case "UpdateDeviceStatusExceptCH" | "UpdateDeviceStatusCH" if hub is (what.name == "UpdateDeviceStatusCH"):
                pending.keep(replace(device, status=DeviceStatus(what.text.strip())))
            case "UpdateDeviceDetails":
                pending.keep(_with_details(device, what))
            case "UpdateMPxN" if device.device_type in METERS:
                pending.keep(replace(device, mpxns=_with_mpxn(device.mpxns, what)))
            case "DeleteDevice" if device.status is DeviceStatus.PENDING and not self._carries(device):
                pending.keep(replace(device, deleted=True))
                self._tell_registered(asked, change, device)
            case _:
                raise RequestRefused(UPDATE_REFUSED, f"{what.name} does not fit a {device.device_type} {device.status}")
        return _done("inventory_updated", device, what=what.name)

    def _carries(self, device: Device) -> bool:
        return any(other.device_id != device.device_id for other in self._inventory.on_hub(device.device_id))

    def _tell_registered(self, asked: Asked, change: DspChange, device: Device) -> None:
        alert = self._replies.dcc_alert(OTHER_EVENT, removed_from_inventory(device.device_id), asked.at)
        for user_id in sorted({row.user_id for row in self._inventory.registered(device, asked.at)}):
            change.put_out(OutboxKind.PUSH, user_id, alert, None, asked.at)

    def _registered(self, asked: Asked, pending: Pending, missing: str) -> Device:
        device = pending.device(_entity(asked.request.body))
        if device is None:
            raise RequestRefused(missing, "no such device")
        roles = self._inventory.roles_of(device, asked.caller_id, asked.at)
        if asked.row is None or not roles & asked.row.roles:
            raise RequestRefused(Code.NOT_AUTHORISED, "the User is not registered for this device")
        return device

    def _pre_notify(self, asked: Asked, _change: DspChange, pending: Pending, _document: bytes) -> Done:
        """SRV 12.2: a device that will be installed some day."""
        body = asked.request.body
        device_id, kind = _entity(body), DeviceType(_words(body, "DeviceType") or "")
        gpf = _words(body, "AssociatedGPFDeviceID")
        gpf_id = None if gpf is None or kind is not DeviceType.CHF else parse_entity(gpf)
        if gpf_id == device_id or any(pending.device(each) for each in (device_id, gpf_id) if each is not None):
            raise RequestRefused(NOTIFIED_ALREADY, "the device, or its Gas Proxy Function, is in the inventory already")
        device = Device(
            device_id, kind, DeviceStatus.PENDING, NEWEST_GBCS, device_id if kind is DeviceType.CHF else NO_HUB
        )
        pending.keep(_with_details(device, body))
        if gpf_id is not None:  # a hub comes with its Gas Proxy Function
            pending.keep(Device(gpf_id, DeviceType.GPF, DeviceStatus.PENDING, NEWEST_GBCS, device_id))
        return _done("device_notified", device)

    # --- 8.14: news of a Communications Hub

    def _hub_news(self, asked: Asked, _change: DspChange, pending: Pending, _document: bytes) -> Done:
        hub = pending.device(_entity(asked.request.body))
        if hub is None or hub.device_type is not DeviceType.CHF:
            raise RequestRefused(HUB_NOT_FOUND, "no such Communications Hub")
        status = HUB_NEWS[asked.request.header.service_reference_variant]
        if hub.status in {DeviceStatus.DECOMMISSIONED, DeviceStatus.WITHDRAWN}:
            raise RequestRefused(HUB_REFUSED, f"the hub is {hub.status}")
        pending.keep(replace(hub, status=status))
        for device in self._inventory.on_hub(hub.device_id):
            if device.device_type is DeviceType.GPF and status is DeviceStatus.COMMISSIONED:
                pending.keep(replace(device, status=DeviceStatus.INSTALLED_NOT_COMMISSIONED))
        return _done("hub_status_changed", hub, status=status.value)

    # --- 12.1: the WAN matrix

    def _wan_matrix(self, asked: Asked, _change: DspChange, _pending: Pending, _document: bytes) -> Done:
        """SM WAN where hubs of the inventory stand; of any other address the DSP knows nothing."""
        body = asked.request.body
        hubs = [device for device in self._at_address(body) if device.device_type is DeviceType.CHF]
        if not hubs:
            raise RequestRefused(MATRIX_NOT_FOUND, "no premises of the inventory have that address")
        hub = hubs[0]
        parts = (
            Element("CSPRegion", hub.csp_region or "Unknown"),
            Element("CSPRegionResponseCode", Code.SUCCESS),
            Element("CoverageAvailability", "false" if hub.wan_coverage is WanCoverage.NONE else "true"),
            Element("WANTechnology", "modelled"),
            Element("ConnectivityLikelihood", LIKELIHOOD[hub.wan_coverage]),
        )
        named = Element("Request", children=body.children)
        matrix = Element("DSPWANMatrix", children=(named, Element("DSPWANMatrixResponse", children=parts)))
        return _result(matrix, "wan_matrix_read", device_id=hub.device_id.hex())

    # --- 5.1 to 5.3: schedules

    def _create_schedule(self, asked: Asked, change: DspChange, _pending: Pending, document: bytes) -> Done:
        body = asked.request.body
        row, device_id = scheduled_service(body), device_of(body)
        device = self._inventory.device(device_id)
        if device is None:
            raise RequestRefused(Code.NO_SUCH_DEVICE, "no such device")
        if not self._inventory.roles_of(device, asked.caller_id, asked.at) & row.roles:
            raise RequestRefused(Code.NOT_AUTHORISED, "the User is not registered for this device in a role that may")
        if device.device_type not in row.devices:
            raise RequestRefused(Code.DEVICE_TYPE, f"{row.variant} is not for a {device.device_type}")
        if len(_schedules(change, asked.caller_id, device_id)) >= SCHEDULES_MAX:
            raise RequestRefused(SCHEDULE_REFUSED, f"there are {SCHEDULES_MAX} schedules for this device already")
        due_at = next_due(body, asked.at)
        if due_at is None:
            raise RequestRefused(SCHEDULE_REFUSED, "the schedule would have ended before it began")
        request_id = asked.request.header.request_id
        number = change.hold(
            HeldRequest(
                number=0, kind=HeldKind.SCHEDULE, request_id=str(request_id), stage=asked.stage,
                service=asked.service, user_id=asked.caller_id, target_id=device_id,
                service_reference_variant="5.1", document=document, at=asked.at, due_at=due_at,
                reason=f"{row.variant} {body.find_text('ScheduleFrequency')}",
            )
        )  # fmt: skip
        return _result(Element("DSPScheduleID", str(number)), "schedule_created", device_id=device_id.hex())

    def _read_schedule(self, asked: Asked, change: DspChange, _pending: Pending, _document: bytes) -> Done:
        body = asked.request.body
        if body.find("DSPScheduleID") is not None:
            held = self._schedule(asked, change, SCHEDULE_NOT_FOUND_TO_READ)
            found: tuple[HeldRequest, ...] = (held,)
        else:
            found = _schedules(change, asked.caller_id, _entity(body) if body.find("DeviceID") is not None else None)
        if not found:
            raise RequestRefused(SCHEDULE_NOT_FOUND_TO_READ, "no such schedule")
        listed = tuple(_schedule_element(held) for held in found[:SCHEDULES_MAX])
        return _result(Element("DSPSchedulesRead", children=listed), "schedules_read", count=str(len(listed)))

    def _delete_schedule(self, asked: Asked, change: DspChange, _pending: Pending, _document: bytes) -> Done:
        body = asked.request.body
        if body.find("DSPScheduleID") is not None:
            held = self._schedule(asked, change, SCHEDULE_NOT_FOUND_TO_DELETE)
            found: tuple[HeldRequest, ...] = (held,)
        else:
            found = _schedules(change, asked.caller_id, _entity(body))
        if not found:
            raise RequestRefused(SCHEDULE_NOT_FOUND_TO_DELETE, "no such schedule")
        for held in found:
            change.let_go(held.number)
        return Done(Code.ACKNOWLEDGED, None, "schedules_deleted", {"count": str(len(found))})

    def _schedule(self, asked: Asked, change: DspChange, missing: str) -> HeldRequest:
        """One's own schedule: another User's is as good as none."""
        number = _words(asked.request.body, "DSPScheduleID") or ""
        held = change.held(int(number)) if number.isascii() and number.isdigit() else None
        if held is None or held.kind is not HeldKind.SCHEDULE or held.user_id != asked.caller_id:
            raise RequestRefused(missing, "no such schedule of this User")
        return held

    def _end_schedules(self, change: DspChange, device_id: bytes, at: int) -> None:
        for held in _schedules(change, None, device_id):
            change.let_go(held.number)
            alert = self._replies.dcc_alert(OTHER_EVENT, schedule_removed(device_id, held.number), at)
            change.put_out(OutboxKind.PUSH, held.user_id, alert, None, at)


HUB_NEWS: Final = MappingProxyType(
    {
        "8.14.1": DeviceStatus.COMMISSIONED,
        "8.14.2": DeviceStatus.INSTALLED_NOT_COMMISSIONED,
        "8.14.3": DeviceStatus.DECOMMISSIONED,
        "8.14.4": DeviceStatus.DECOMMISSIONED,
    }
)
"""What a hub's status is after its news: installed with WAN, without, given back. DESIGN CHOICE."""


def _result(payload: Element, event: str, **facts: str) -> Done:
    return Done(Code.SUCCESS, OtherPayload(payload), event, facts)


def _done(event: str, device: Device, **facts: str) -> Done:
    return Done(Code.ACKNOWLEDGED, None, event, {"device_id": device.device_id.hex()} | facts)


def _entity(body: Element) -> bytes:
    text = body.find_text("DeviceID")
    if text is None:
        raise DuisDecodeError(body.name, "DeviceID is missing")
    return parse_entity(text)


def _words(element: Element, name: str) -> str | None:
    text = element.find_text(name)
    return None if text is None else text.strip()


def _plain(text: str | None) -> str:
    return "".join((text or "").split()).upper()


def _schedules(change: DspChange, user_id: bytes | None, device_id: bytes | None) -> tuple[HeldRequest, ...]:
    return tuple(
        held
        for held in change.held_requests(HeldKind.SCHEDULE)
        if user_id in {None, held.user_id} and device_id in {None, held.target_id}
    )


def _schedule_element(held: HeldRequest) -> Element:
    details = Element("DSPScheduleDetails", children=parse_request(held.document).body.children)
    return Element("DSPSchedules", children=(Element("DSPScheduleID", str(held.number)), details))


def _with_details(device: Device, details: Element) -> Device:
    variant = _words(details, "ESMEVariant") or device.esme_variant
    if variant is not None and not variant.startswith(ESME_VARIANT_STARTS):
        raise RequestRefused(OurCode.CONTENT, "there is no such ESMEVariant")
    return replace(
        device,
        manufacturer=_words(details, "DeviceManufacturer") or device.manufacturer,
        model=_words(details, "DeviceModel") or device.model,
        smets_version=_words(details, "SMETSCHTSVersion") or device.smets_version,
        firmware_version=_words(details, "FirmwareVersion") or device.firmware_version,
        esme_variant=variant,
    )


def _with_mpxn(mpxns: Mpxns, update: Element) -> Mpxns:
    return Mpxns(
        _words(update, "ImportMPxN") or mpxns.import_mpxn,
        _words(update, "SecondaryImportMPAN") or mpxns.secondary_import_mpan,
        _words(update, "ExportMPAN") or mpxns.export_mpan,
    )


def _device_element(device: Device) -> Element:
    """A device as SRV 8.2 tells it, in schema order; what is not known is left out."""
    address = None
    if device.post_code:
        parts = (
            Element("PostCode", device.post_code),
            Element("AddressIdentifier", device.address_identifier or ""),
        )
        address = Element("PropertyFilter", children=parts)
    rows: Iterable[tuple[str, str | None]] = (
        ("DeviceID", entity_text(device.device_id)),
        ("DeviceType", device.device_type.value),
        ("DeviceStatus", device.status.value),
        ("DeviceManufacturer", device.manufacturer),
        ("DeviceModel", device.model),
        ("SMETSCHTSVersion", device.smets_version),
        ("DeviceFirmwareVersion", device.firmware_version),
        ("DateCommissioned", device.commissioned_on),
        ("ImportMPxN", device.mpxns.import_mpxn),
        ("SecondaryImportMPAN", device.mpxns.secondary_import_mpan),
        ("ExportMPAN", device.mpxns.export_mpan),
        ("ESMEVariant", device.esme_variant),
        ("UPRN", device.uprn),
    )
    children = [Element(name, text) for name, text in rows if text is not None]
    if address is not None:
        children.append(address)
    if device.csp_region:
        children.append(Element("CSPRegion", device.csp_region))
    children.append(Element("DeviceGBCSVersion", device.gbcs_version))
    return Element("Device", children=tuple(children))
