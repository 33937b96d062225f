"""What can go wrong at the door. Every error says what happened and what to do next."""

from __future__ import annotations


class LinkError(Exception):
    """The root: something outside this process did not do what was asked."""


class PeerRefused(LinkError):  # the house says Refused
    """The other side did not show a certificate that names it; nothing was exchanged. Check its certificate and CA."""
