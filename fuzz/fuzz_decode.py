"""Invariant: any octets end in a value or in ``GbcsDecodeError``, in at most 10 ms of CPU time per kB of input.

A coverage-guided fuzzer for every reader of ``lastmetre.gbcs``. It needs atheris, which is no dependency of the
project; ``fuzz/README.md`` says how to run it. The first octet of an input says which reader gets the rest:

* ``00``: a message, then its payload; what was read must be written back to the same octets;
* ``01``: a payload; the next three octets are the message code and the CRA flag;
* ``02``: a block; ``03``: a certificate; ``04``: the header alone, which hubs read;
* ``05``: a list of DLMS values, the next octet their count; the quick and the careful reader must agree.

Without atheris the files named as arguments are run once each, which is how a finding is looked at again.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

atheris: Any
try:
    atheris = import_module("atheris")
except ImportError:
    atheris = None

if atheris is not None:
    with atheris.instrument_imports(include=["lastmetre"]):
        from lastmetre.gbcs import axdr, axdr_quick, blocks, certificates, message, payload
        from lastmetre.gbcs.errors import GbcsDecodeError
else:
    from lastmetre.gbcs import axdr, axdr_quick, blocks, certificates, message, payload
    from lastmetre.gbcs.errors import GbcsDecodeError

CPU_S_PER_KB = 0.010
TRIES = 3
"""The shortest of so many runs counts: what remains is neither the garbage collector's nor a neighbour's."""


def read(data: bytes) -> None:
    """One input, given to the reader it names."""
    choice, rest = (data[0] if data else 0), data[1:]
    if choice == 1:
        code, cra, content = int.from_bytes(rest[:2], "big"), rest[2] if len(rest) > 2 else 1, rest[3:]
        value = payload.decode_payload(code, cra, content)
        assert payload.encode_payload(value) == content, "a payload was read, but not written back as it was"
    elif choice == 2:
        block = blocks.decode_block(rest)
        assert blocks.encode_block(block) == rest, "a block was read, but not written back as it was"
    elif choice == 3:
        certificates.parse_certificate(rest)
    elif choice == 4:
        message.read_header(rest)
    elif choice == 5:
        read_values(rest[:1], rest[1:])
    else:
        read_message(rest)


def read_message(data: bytes) -> None:
    """A whole message and its payload, both ways."""
    parsed = message.parse_message(data)
    again = message.Message(parsed.header, parsed.content, parsed.signature, parsed.mac)
    assert message.encode_message(again) == data, "a message was read, but not written back as it was"
    assert message.read_header(data) == parsed.header, "the hub and the device read two headers"
    value = payload.decode_payload(parsed.header.message_code, parsed.header.cra, parsed.content)
    assert payload.encode_payload(value) == parsed.content, "a payload was read, but not written back as it was"


def read_values(count: bytes, data: bytes) -> None:
    """A list of DLMS values by both readers: the same values, or the same words of refusal."""
    outcomes: list[object] = []
    wanted = count[0] if count else 0
    for reader in (axdr.read_values, lambda *args: axdr_quick.read_values(args[0], 0, len(data), *args[2:])):
        try:
            outcomes.append(reader(data, 0, wanted, "list"))
        except GbcsDecodeError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1], "the quick and the careful reader disagree"


def one_input(data: bytes) -> None:
    """The invariant, for one input."""
    allowed_s = CPU_S_PER_KB * max(1.0, len(data) / 1024)
    for attempt in range(TRIES):
        if attempt:
            payload.forget_shared()  # what was kept from the slow try must not make the next one look quick
        started = process_time()
        with suppress(GbcsDecodeError, certificates.CertificateRefused):
            read(data)
        spent_s = process_time() - started
        if spent_s <= allowed_s:
            return
        if attempt == TRIES - 1:
            raise AssertionError(f"{len(data)} octets took {spent_s * 1000:.1f} ms")


def main() -> None:
    """Fuzz, or without atheris run the files named."""
    if atheris is None:
        for name in sys.argv[1:]:
            one_input(Path(name).read_bytes())
        print(f"{len(sys.argv) - 1} inputs kept the invariant; install atheris to look for more")
        return
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
