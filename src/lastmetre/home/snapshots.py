"""The registers and the account as logs and reads have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.home.calendars import since_2000
from lastmetre.home.objects.tariff import BLOCKS

if TYPE_CHECKING:
    from lastmetre.home.objects.logs import Line
    from lastmetre.home.state import MeterState


def log_change(state: MeterState, at: int) -> MeterState:
    """The line that a change of payment mode or tariff leaves in the billing data log (ECS20b)."""
    line = (since_2000(at), *register_cells(state), *money_cells(state))
    if state.lines("changes")[-1:] == (line,):
        return state  # one Command that changes several things leaves one line
    return state.with_line("changes", line)


def register_cells(state: MeterState) -> Line:
    """The registers as daily and billing lines have them."""
    registers = state.registers
    blocks = tuple(registers.blocks[8 * block : 8 * block + 8] for block in range(BLOCKS))
    if state.twin:
        return (registers.active_import, registers.secondary_import, registers.tou, registers.secondary, *blocks)
    return (registers.active_import, registers.tou, *blocks)


def money_cells(state: MeterState) -> tuple[int, int, int, int, int, int]:
    """The account as ECS19 and the logs have it: balance, emergency credit, accumulated, payment and time debts."""
    account = state.account
    return (
        state.balance,
        account.emergency_credit,
        account.accumulated_debt,
        account.payment_debt,
        *account.time_debts,
    )
