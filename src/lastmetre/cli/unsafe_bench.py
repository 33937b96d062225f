"""A bench wire to the PPMID's tunnel: any bytes go up it. For demonstrations and attacks only.

Whoever owns a display can do as much with a soldering iron; that is why the hub and the meter must not trust it. The
agent's settings have to ask for this by name (``faceplate.pass_up``), and no party imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.agent.errors import TunnelDownError
from lastmetre.links.faceplate import FaceplateRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from lastmetre.agent.ports import Tell
    from lastmetre.links.faceplate import Answer, Handler


def pass_up_handler(transfer: Callable[[bytes], Awaitable[None]], tell: Tell) -> Handler:
    """The faceplate's ``{"do": "pass-up", "message": "<hex>"}``."""

    async def pass_up(request: Mapping[str, object]) -> Answer:
        text = request.get("message")
        try:
            message = bytes.fromhex(text) if isinstance(text, str) else b""
        except ValueError:
            message = b""
        if not message:
            raise FaceplateRefused("message must be hex")
        tell("bench_message_passed_up", message=message.hex())
        try:
            await transfer(message)
        except TunnelDownError as error:
            raise FaceplateRefused(str(error)) from error
        return {"taken_by_tunnel": True}

    return pass_up
