"""Writes inputs to begin fuzzing with: our own messages, whole and as payloads, blocks, headers, lists, certificates.

``write_seeds.py DIRECTORY [CORPUS ...]``: .HEX files of messages under each CORPUS are added as well. They stay where
they were written; nothing of others is kept in the project.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lastmetre.cli import unsafe_bench_vectors as own
from lastmetre.gbcs.blocks import split
from lastmetre.gbcs.message import parse_message

BLOCK_SIZE = 200


def seeds_of(data: bytes) -> list[bytes]:
    """One message as inputs for every reader; the first octet names the reader (see ``fuzz_decode``)."""
    message = parse_message(data)
    header = message.header
    made = [b"\0" + data, b"\4" + data[:60]]
    made.append(b"\1" + header.message_code.to_bytes(2, "big") + bytes((header.cra,)) + message.content)
    made += [b"\2" + block for block in split(data, BLOCK_SIZE)[:2]]
    if message.content[:1] == b"\xda":
        made.append(b"\5" + message.content[7:])
    return made


def main() -> None:
    """Write one file for each different input."""
    directory, *corpora = map(Path, sys.argv[1:])
    directory.mkdir(parents=True, exist_ok=True)
    messages = own.messages()[:: own.ROUNDS // 4]
    for corpus in corpora:
        messages += [bytes.fromhex(path.read_text()) for path in sorted(corpus.rglob("*.HEX"))]
    inputs = {seed for message in messages for seed in seeds_of(message)}
    inputs |= {
        b"\3" + own.certificate(entity, use).der for entity in (own.BROKER, own.ESME) for use in (own.DS, own.KA)
    }
    for number, seed in enumerate(sorted(inputs)):
        (directory / f"seed-{number:05}").write_bytes(seed)
    print(f"{len(inputs)} inputs in {directory}")


if __name__ == "__main__":
    main()
