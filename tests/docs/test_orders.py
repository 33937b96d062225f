"""docs/orders.md: its drawing is that of the table in the code, and every road and setting it names exists."""

from __future__ import annotations

from pathlib import Path

from lastmetre.supplier.drawing import state_drawing
from lastmetre.supplier.orders import TRANSITIONS, Road

DOCUMENT = Path(__file__).parents[2] / "docs" / "orders.md"


def test_the_drawing_is_current() -> None:
    """Made anew (python -m lastmetre.supplier.drawing) it is, letter for letter, the one in the document."""
    assert state_drawing() in DOCUMENT.read_text(encoding="utf-8")


def test_the_drawing_has_every_row() -> None:
    """No transition of the table is left out of the drawing."""
    drawing = state_drawing()
    for (state, event), target in TRANSITIONS.items():
        line = next(line for line in drawing.splitlines() if line.startswith(f"    {state.value} --> {target.value}:"))
        assert event.value in line


def test_every_road_is_in_the_table() -> None:
    """A road that can be ordered is explained."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"| `{road.value}` |" in text for road in Road)
