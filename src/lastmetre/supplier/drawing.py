"""The states of an order as a drawing, made from the one table (``orders.TRANSITIONS``): Mermaid text, no drawing tool.

``python -m lastmetre.supplier.drawing`` prints it; a test holds ``docs/orders.md`` to it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lastmetre.supplier.orders import FINAL, TRANSITIONS, State

if TYPE_CHECKING:
    from collections.abc import Iterator


def state_drawing() -> str:
    """A Mermaid state diagram: one arrow for each pair of states, named by the events that lead along it."""
    return "\n".join(("```mermaid", "stateDiagram-v2", *_lines(), "```"))


def _lines() -> Iterator[str]:
    yield f"    [*] --> {State.ACCEPTED.value}"
    arrows: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (state, event), target in TRANSITIONS.items():
        arrows[state, target].append(event.value)
    order = list(State)
    for (state, target), events in sorted(arrows.items(), key=lambda arrow: tuple(map(order.index, arrow[0]))):
        yield f"    {state.value} --> {target.value}: {', '.join(events)}"
    for state in order:
        if state in FINAL:
            yield f"    {state.value} --> [*]"


if __name__ == "__main__":
    print(state_drawing())  # noqa: T201 - that is its work
