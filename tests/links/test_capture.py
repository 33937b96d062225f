"""Captures: written as frames come, continued after a restart, whole after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lastmetre.han.pcap import global_header, record
from lastmetre.links.capture import Capture
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from pathlib import Path


def test_every_frame_is_in_the_file_at_once(tmp_path: Path) -> None:
    """What was written can be read before the file is closed: a killed process leaves a readable capture."""
    path = tmp_path / "home.pcap"
    with Capture(path) as capture:
        capture.write(b"one", 1_000_001)
        assert path.read_bytes() == global_header() + record(b"one", 1_000_001)
        capture.write(b"two")
    assert len(path.read_bytes()) == 24 + 2 * (16 + 3)


@pytest.mark.parametrize("lost", range(1, 19))
def test_a_cut_record_is_taken_away(tmp_path: Path, lost: int) -> None:
    """After a crash in the middle of a record the file goes on behind the last whole one."""
    path = tmp_path / "home.pcap"
    whole = global_header() + record(b"one", 1)
    path.write_bytes((whole + record(b"two", 2))[:-lost])
    with Capture(path) as capture:
        capture.write(b"three", 3)
    assert path.read_bytes() == whole + record(b"three", 3)


@pytest.mark.parametrize("octets", range(24))
def test_a_cut_header_is_written_anew(tmp_path: Path, octets: int) -> None:
    """A file that a crash left without its whole header begins again."""
    path = tmp_path / "home.pcap"
    path.write_bytes(global_header()[:octets])
    Capture(path).close()
    assert path.read_bytes() == global_header()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """A file that is no capture of ours is not touched; a place that cannot be written is named."""
    path = tmp_path / "letter.txt"
    path.write_text("something that matters to somebody")
    with pytest.raises(LinkError, match="no capture"):
        Capture(path)
    assert path.read_text() == "something that matters to somebody"
    with pytest.raises(LinkError, match="cannot be written"):
        Capture(tmp_path / "nowhere" / "home.pcap")
