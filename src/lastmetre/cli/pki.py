"""``lastmetre pki``: a complete test SMKI in a folder, its keys encrypted unless told otherwise.

What it makes is listed in ``smki.json`` in that folder: parties, entities, roles, key uses. Entity identifiers are of
the EUI-64 documentation range 00-00-5E-EF-10-00-00-xx, unless a device's own is given; which number means what is a
DESIGN CHOICE of this project.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lastmetre.cli.passphrases import PASSPHRASE_VARIABLE, make_passphrase, read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse
from lastmetre.links.pki import DeviceIdentity, Organisation, RelayIdentity, TestSmki, TlsIdentity, XmlIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_RANGE: Final = bytes.fromhex("00005eef100000")
_BOTH: Final = (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT)
SUPPLIERS_MAX: Final = 8
HOME_KINDS: Final = ("ESME", "GSME", "CHF", "GPF", "PPMID")
"""What a home has unless its option says otherwise."""
_KIND_NUMBERS: Final = {"ESME": 0, "GSME": 1, "CHF": 2, "GPF": 3, "PPMID": 4, "HCALCS": 5, "SAPC": 6}
_ORGANISATIONS: Final = (
    ("recovery", 0x01, Role.RECOVERY),
    ("dcc", 0x02, Role.ACCESS_CONTROL_BROKER),
    ("transitional-cos", 0x04, Role.TRANSITIONAL_COS),
    ("wan-provider", 0x07, Role.WAN_PROVIDER),
    ("load-controller", 0x08, Role.LOAD_CONTROLLER),
    ("network-operator", 0x20, Role.NETWORK_OPERATOR),
    ("other", 0x70, Role.OTHER),
)
_USERS: Final = frozenset({Role.SUPPLIER, Role.NETWORK_OPERATOR, Role.LOAD_CONTROLLER, Role.OTHER})
"""Who sends DUIS requests, and so has an XML signing identity and one for TLS."""
_MQTT_BROKER: Final = 0x03


@dataclass(frozen=True, slots=True)
class Device:
    """A device to be made: its kind, and who holds its keys."""

    party: str
    kind: str
    entity_id: bytes


def run_pki(
    directory: Path, *, homes: Sequence[str], devices: Sequence[str], suppliers: int, passphrase_file: Path | None,
    unencrypted: bool, as_json: bool,
) -> None:  # fmt: skip
    """Make everything; raises ``ProblemError`` for a folder in use or an option that says nothing."""
    if unencrypted and passphrase_file is not None:
        raise ProblemError("--unencrypted needs no --passphrase-file; give one of the two")
    wanted = [device for home in homes for device in parse_home(home)] + [parse_device(text) for text in devices]
    ids = [device.entity_id for device in wanted]
    if len(set(ids)) < len(ids):
        raise ProblemError("a device is asked for twice; each --home and --device must name others")
    _check_empty(directory)
    passphrase = None if unencrypted else read_passphrase(passphrase_file)
    if passphrase is None and not unencrypted:
        passphrase_file = directory.parent / f"{directory.resolve().name}.passphrase"
        passphrase = make_passphrase(passphrase_file)
    try:
        smki = TestSmki(directory, now=dt.datetime.now(dt.UTC), passphrase=passphrase)
        entities = [*_add_organisations(smki, suppliers), *_add_devices(smki, wanted)]
        listing = {"encrypted": passphrase is not None, "entities": entities}
        (directory / "smki.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ProblemError(f"cannot write {error.filename or directory}: {error.strerror}") from error
    if as_json:
        print(json.dumps({**listing, "passphrase_file": str(passphrase_file) if passphrase_file else None}, indent=2))
    else:
        _tell(directory, entities, encrypted=passphrase is not None, passphrase_file=passphrase_file)


def _check_empty(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise ProblemError(f"{directory} is a file; name a folder that is new or empty")
    if directory.is_dir() and any(directory.iterdir()):
        raise ProblemError(f"{directory} is not empty; name a folder that is new or empty: no key is ever overwritten")


def parse_home(text: str) -> list[Device]:
    """``A``, or ``A:ESME,CHF``: the devices of a home, by its letter."""
    letter, _, kinds = text.upper().partition(":")
    if len(letter) != 1 or letter not in "ABCDEF":
        raise ProblemError(f"--home {text}: a home has a letter from A to F, as A or A:ESME,CHF,PPMID")
    named = kinds.split(",") if kinds else HOME_KINDS
    found = []
    for kind in named:
        if kind not in _KIND_NUMBERS:
            raise ProblemError(f"--home {text}: {kind!r} is no kind of device; those are {', '.join(_KIND_NUMBERS)}")
        # A PPMID's keys lie with its agent: it is another device than the hub and the meters.
        party = f"{'agent' if kind == 'PPMID' else 'home'}-{letter.lower()}"
        found.append(Device(party, kind, _own_id(int(letter, 16) << 4 | _KIND_NUMBERS[kind])))
    return found


def parse_device(text: str) -> Device:
    """``ESME:00DB1234567890A0``: a device under an identifier of one's own."""
    kind, _, identifier = text.upper().partition(":")
    try:
        entity_id = bytes.fromhex(identifier.replace("-", ""))
    except ValueError:
        entity_id = b""
    if kind not in _KIND_NUMBERS or len(entity_id) != 8:
        raise ProblemError(f"--device {text}: write its kind and EUI-64, as ESME:00-00-5E-EF-10-00-00-A0")
    return Device(f"device-{entity_id.hex()}", kind, entity_id)


def _own_id(number: int) -> bytes:
    return _RANGE + bytes((number,))


def _add_organisations(smki: TestSmki, suppliers: int) -> list[dict[str, Any]]:
    named = [(f"supplier-{n + 1}" if n else "supplier", 0x10 + n, Role.SUPPLIER) for n in range(suppliers)]
    listed = []
    for party, number, role in sorted((*_ORGANISATIONS, *named), key=lambda row: row[1]):
        entity_id = _own_id(number)
        uses = tuple(KeyUse) if role is Role.SUPPLIER else _BOTH
        smki.add_organisation(Organisation(party, entity_id, role, uses))
        keys = [use.value for use in uses]
        if role in _USERS or role is Role.ACCESS_CONTROL_BROKER:
            xml = Role.XML_SIGN_USER if role in _USERS else Role.XML_SIGN_DSP
            smki.add_all([XmlIdentity(party, entity_id, xml), TlsIdentity(party, entity_id)])
            keys += ["xml-sign", "tls"]
        if role is Role.SUPPLIER:  # whose PPMIDs' agents open its envelopes
            smki.add_relay(RelayIdentity(party, entity_id))
            keys.append("relay")
        listed.append(_entity(entity_id, party, role.name.lower().replace("_", " "), keys))
    smki.add_tls(TlsIdentity("broker", _own_id(_MQTT_BROKER)))
    listed.append(_entity(_own_id(_MQTT_BROKER), "broker", "MQTT broker", ["tls"]))
    return listed


def _add_devices(smki: TestSmki, devices: Sequence[Device]) -> list[dict[str, Any]]:
    listed = []
    for device in devices:
        smki.add_device(DeviceIdentity(device.party, device.entity_id))
        keys = [use.value for use in _BOTH]
        if device.kind in {"CHF", "PPMID"}:  # what speaks to the SM WAN, and to the supplier
            smki.add_tls(TlsIdentity(device.party, device.entity_id))
            keys.append("tls")
        if device.kind == "PPMID":
            smki.add_relay(RelayIdentity(device.party, device.entity_id))
            keys.append("relay")
        listed.append(_entity(device.entity_id, device.party, device.kind, keys))
    return listed


def _entity(entity_id: bytes, party: str, kind: str, keys: list[str]) -> dict[str, Any]:
    return {"id": entity_id.hex(), "party": party, "kind": kind, "keys": keys}


def _tell(
    directory: Path, entities: Sequence[dict[str, Any]], *, encrypted: bool, passphrase_file: Path | None
) -> None:
    print(f"A test SMKI is in {directory}: root, issuing authorities, and")
    for entity in entities:
        identifier = bytes.fromhex(entity["id"]).hex("-").upper()
        print(f"  {identifier}  {entity['kind']:<21} {entity['party']:<17} {', '.join(entity['keys'])}")
    print(f"Certificates are in {directory / 'certificates'}, each party's keys in {directory / 'parties'}/PARTY/keys.")
    if not encrypted:
        print("The keys are NOT encrypted: use them for a throwaway demo only.")
    else:
        where = passphrase_file or f"the environment ({PASSPHRASE_VARIABLE})"
        print(f"The keys are encrypted; the passphrase is in {where}. Keep it elsewhere than the keys.")
    print("These are test keys: no real meter believes them.")
