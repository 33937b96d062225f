"""The errors of ``lastmetre.dcc``: one root; a refusal carries the response code the User sees.

What a User is told is the code. The reason is for the DSP's own events and log: a refusal tells a stranger no more than
the interface demands.
"""

from __future__ import annotations


class DccError(Exception):
    """Root of every error this package raises."""


class NotADocument(DccError):
    """The bytes are no request that could be answered; the sender must mend them before sending again."""


class RequestRefused(DccError):
    """A request is not carried out; the User gets the code, the DSP's events the reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class SettingsRefused(DccError):
    """The DSP's settings contradict themselves; the text names the row to mend."""


class PermitRefused(DccError):
    """No relay permit is made; the User gets the code, the DSP's events the reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
