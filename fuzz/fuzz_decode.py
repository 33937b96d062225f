"""Invariant: any octets end in a value or in ``GbcsDecodeError``, in at most 10 ms of CPU time per kB of input.

A coverage-guided fuzzer for every reader of ``lastmetre.gbcs``. It needs atheris, which is no dependency of the
project; ``fuzz/README.md`` says how to run it. The first octet of an input says which reader gets the rest:

* ``00``: a message; what was read must be written back to the same octets, as a value and through its JSON form, and
  be told in words; the quick and the careful reader of envelopes must agree;
* ``01``: a payload; the next three octets are the message code and the CRA flag;
* ``02``: a block; ``03``: a certificate; ``04``: the header alone, which hubs read;
* ``05``: a list of DLMS values, the next octet their count; the quick and the careful reader must agree.

Without atheris the files named as arguments are run once each, which is how a finding is looked at again.
"""

from __future__ import annotations

import json
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
        from lastmetre.gbcs import axdr, axdr_quick, blocks, certificates, decoded, json_form, message, payload
        from lastmetre.gbcs.errors import GbcsDecodeError
        from lastmetre.gbcs.payload_words import describe_lines
else:
    from lastmetre.gbcs import axdr, axdr_quick, blocks, certificates, decoded, json_form, message, payload
    from lastmetre.gbcs.errors import GbcsDecodeError
    from lastmetre.gbcs.payload_words import describe_lines

CPU_S_PER_KB = 0.010 if atheris is None else 0.100
"""The promise is 10 ms; counting the branches taken costs up to some thirty times as much. What is found to be slow is
looked at again without atheris, against the promise itself."""
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
    """A whole message and its payload, both ways, by every road there is."""
    careful: object = None
    try:
        careful = message._read_carefully(data)
    finally:
        assert message._read_usual(data) in {None, careful}, "the quick and the careful reader of envelopes disagree"
    parsed = message.parse_message(data)
    again = message.Message(parsed.header, parsed.content, parsed.signature, parsed.mac)
    assert message.encode_message(again) == data, "a message was read, but not written back as it was"
    assert message.df_part(again) == message.df_part(parsed), "what is covered was written other than it was read"
    assert message.to_be_signed(again) == message.to_be_signed(parsed), "what is signed was written other than read"
    assert message.read_header(data) == parsed.header, "the hub and the device read two headers"
    SOUND.append(decoded.decode(data))


SOUND: list[Any] = []
"""The message just read, for what is done with it outside the time limit, which is for reading."""


def use_message(data: bytes, value: Any) -> None:
    """Whatever was read can be written, told in words, and taken through JSON, and is the same afterwards."""
    assert decoded.encode(value) == data, "a message was read, but not written back as it was"
    document = json.loads(json.dumps(json_form.to_json(value)))
    again = json_form.from_json(document)
    assert again == value, "JSON made another message of it"
    assert decoded.encode(again) == data, "JSON made other octets of it"
    offsets = [line.offset for line in describe_lines(value.payload) if line.offset is not None]
    assert all(0 <= offset <= len(data) for offset in offsets), "the words name a place outside the message"


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
        SOUND.clear()
        if attempt:
            payload.forget_shared()  # what was kept from the slow try must not make the next one look quick
        started = process_time()
        with suppress(GbcsDecodeError, certificates.CertificateRefused):
            read(data)
        spent_s = process_time() - started
        if spent_s <= allowed_s:
            break
        if attempt == TRIES - 1:
            raise AssertionError(f"{len(data)} octets took {spent_s * 1000:.1f} ms")
    for value in SOUND:
        use_message(data[1:], value)


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
