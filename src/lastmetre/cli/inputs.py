"""Reads a GBCS message however it is given: hex, base64, a file of either or of raw octets, or ``-``."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from pathlib import Path
from typing import Final

from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.message import MESSAGE_SIZE_MAX

FILE_SIZE_MAX: Final = 4 * MESSAGE_SIZE_MAX
"""Octets of text read at most: a message as hex with line breaks fits."""
_ARGUMENT: Final = "the argument"
_FIRST_OCTETS: Final = b"\xdd\xdf"


def read_message(argument: str) -> bytes:
    """The octets of the message; raises ``ProblemError`` naming what is wrong with the argument."""
    if argument == "-":
        return _from_text_or_octets(sys.stdin.buffer.read(FILE_SIZE_MAX + 1), "standard input")
    path = Path(argument)
    if _is_file(path):
        try:
            with path.open("rb") as file:
                return _from_text_or_octets(file.read(FILE_SIZE_MAX + 1), str(path))
        except OSError as error:
            raise ProblemError(f"cannot read {path}: {error.strerror}") from error
    if argument and _is_directory(path):
        raise ProblemError(f"{path} is a directory; name a file in it")
    like_a_path = "/" in argument or argument.lower().endswith((".hex", ".bin", ".txt", ".xml", ".json"))
    if like_a_path and not _looks_base64(argument):
        raise ProblemError(f"there is no file {argument}")
    return _from_text(argument, _ARGUMENT)


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a message in hex is no file name, and may be too long for one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _looks_base64(text: str) -> bool:
    return len(text) >= 80 and re.fullmatch(r"[A-Za-z0-9+/=\s]+", text) is not None


def _from_text_or_octets(data: bytes, where: str) -> bytes:
    if len(data) > FILE_SIZE_MAX:
        raise ProblemError(f"{where} is longer than any GBCS message")
    if data[:1] and data[:1] in _FIRST_OCTETS:
        return data
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise ProblemError(f"{where} holds neither hex nor base64, and no octets that begin with DD or DF") from None
    return _from_text(text, where)


def _from_text(text: str, where: str) -> bytes:
    """Hex where every digit is one; base64 otherwise."""
    digits = re.sub(r"\s+", "", text)
    if digits[:2].lower() == "0x":
        digits = digits[2:]
    if not digits:
        raise ProblemError(f"{where} is empty")
    if digits[:2].upper() in {"DD", "DF"}:
        wrong = re.search(r"[^0-9A-Fa-f]", digits)
        if wrong is None and len(digits) % 2 == 0:
            return bytes.fromhex(digits)
        if wrong is None:
            raise ProblemError(f"{where} has an odd number of hex digits ({len(digits)}): one is missing")
        base64_octets = _from_base64(digits)
        if base64_octets is not None:
            return base64_octets
        raise ProblemError(f"{where} has {wrong.group()!r} at place {wrong.start() + 1}, which is no hex digit")
    octets = _from_base64(digits)
    if octets is not None:
        return octets
    no_message = "is neither a file nor a message" if where == _ARGUMENT else "holds no message"
    raise ProblemError(f"{where} {no_message} in hex or base64 (it would begin with DD, DF, 3Q or 3w)")


def _from_base64(text: str) -> bytes | None:
    """The octets when the text is base64 of something that begins like a GBCS message."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if octets[:1] and octets[:1] in _FIRST_OCTETS else None
