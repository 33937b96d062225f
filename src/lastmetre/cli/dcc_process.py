"""``lastmetre serve dcc``: the DSP as a process; how its rooms and links are put together.

Its settings are in ``dcc_settings``. Between the DSP and the hubs' connections stands the model of the SM WAN.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lastmetre.cli.dcc_database import open_dsp_store
from lastmetre.cli.dcc_settings import DccSettings, inventory_of, options_of, waits_of, wan_profiles_of
from lastmetre.cli.key_settings import check_own_keys, open_keyring
from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.cli.processes import tell_line
from lastmetre.dcc.dsp import Dsp
from lastmetre.dcc.errors import SettingsRefused
from lastmetre.dcc.permits import Permits
from lastmetre.dcc.wan_model import ModelledWan
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, parse_certificate
from lastmetre.gbcs.keys import KeyUse
from lastmetre.links.dsp_store import DspStoreError
from lastmetre.links.dsp_store_permits import PostgresPermitStore
from lastmetre.links.duis_http import ReceiveResponseClient, create_dsp_app
from lastmetre.links.duis_schema import violations_by
from lastmetre.links.http_server import serve
from lastmetre.links.keystore import KeyStoreError
from lastmetre.links.permit_http import add_permit_route
from lastmetre.links.tls import client_context, server_context
from lastmetre.links.wan import WanGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.dcc.ports import DspStore, Users, WanDoor
    from lastmetre.links.dsp_store import PostgresDspStore
    from lastmetre.links.keystore import Keyring

__all__ = ["DccSettings", "run_dcc"]

STORE_RETRY_S: Final = 1.0
"""How long the way out waits for a database that went away."""


async def run_dcc(settings: DccSettings, ending: asyncio.Event) -> None:
    """Run the DSP until ``ending`` is set. A fault of ours in the way out ends the process, for its starter to see."""
    passphrase = read_passphrase(settings.passphrase_file)
    tls = settings.tls.opened_with(passphrase)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(open_dsp_store(settings))
        keyring = _keyring(settings, stack)
        users = await stack.enter_async_context(ReceiveResponseClient(client_context(*tls)))
        # Gateway, WAN model and DSP need each other; the DSP is there before the gateway listens.
        gateway = WanGateway(
            server_context(*tls),
            lambda hub_id, message: wan.take(hub_id, message, dsp.take_from_wan),
            admit=lambda hub_id: dsp.inventory.has_hub(hub_id),  # noqa: PLW0108
            on_connected=lambda hub_id: dsp.hub_connected(hub_id),  # noqa: PLW0108
            on_disconnected=lambda hub_id: dsp.hub_disconnected(hub_id),  # noqa: PLW0108
        )
        with _problems():
            wan = ModelledWan(
                gateway, wan_profiles_of(settings), tell=tell_line, clock=_now, draw=random.SystemRandom().random
            )
            dsp = _dsp(settings, keyring, store, wan, users)
        await gateway.start(settings.wan_host, settings.wan_port)
        stack.push_async_callback(gateway.close)
        app = create_dsp_app(dsp, violations_by(settings.duis_schema))
        if settings.permits:
            add_permit_route(app, _permits(dsp, store))
        served = await stack.enter_async_context(
            serve(app, settings.duis_host, settings.duis_port, server_context(*tls))
        )
        tell_line("ready", party="dcc", duis_port=served.port, wan_port=gateway.port)
        await _until_ending(dsp, ending)


async def _way_out(dsp: Dsp) -> None:
    """The way out, begun anew when the database was lost in it: what it had not finished is still in the outbox."""
    while True:
        try:
            await dsp.egress.run()
        except* DspStoreError:
            tell_line("store_lost", party="dcc")
        await asyncio.sleep(STORE_RETRY_S)


async def _until_ending(dsp: Dsp, ending: asyncio.Event) -> None:
    way_out = asyncio.create_task(_way_out(dsp))
    end = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait((way_out, end), return_when=asyncio.FIRST_COMPLETED)
    finally:
        end.cancel()
        way_out.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await way_out


def _now() -> int:
    return int(time.time())


def _dsp(settings: DccSettings, keyring: Keyring, store: DspStore, wan: WanDoor, users: Users) -> Dsp:
    return Dsp(
        dsp_id=bytes.fromhex(settings.acb_id),
        inventory=inventory_of(settings),
        keys=keyring,
        certificates=keyring,
        xml=keyring,
        issuers=_issuers(settings),
        store=store,
        wan=wan,
        users=users,
        tell=tell_line,
        clock=_now,
        waits=waits_of(settings),
        options=options_of(settings),
    )


def _permits(dsp: Dsp, store: PostgresDspStore) -> Permits:
    """The maker of relay permits, beside DUIS."""
    return Permits(
        broker=dsp.broker,
        inventory=lambda: dsp.inventory,
        commands=store,
        store=PostgresPermitStore(store),
        tell=tell_line,
        clock=_now,
    )


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    """What the settings have wrong becomes one clear line."""
    try:
        yield
    except (SettingsRefused, KeyStoreError, CertificateRefused, OSError) as error:
        raise ProblemError(str(error)) from error


def _keyring(settings: DccSettings, stack: contextlib.AsyncExitStack) -> Keyring:
    keyring = open_keyring(
        stack, certificates=settings.certificates, keys=settings.keys, passphrase_file=settings.passphrase_file,
        hsm=settings.hsm,
    )  # fmt: skip
    check_own_keys(keyring, bytes.fromhex(settings.acb_id), (KeyUse.KEY_AGREEMENT, KeyUse.DIGITAL_SIGNATURE))
    return keyring


def _issuers(settings: DccSettings) -> tuple[Certificate, ...]:
    return tuple(parse_certificate((Path(settings.certificates) / name).read_bytes()) for name in settings.issuers)
