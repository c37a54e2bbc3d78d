"""What the tables of a study say beside figures: its scale, and what has no run and why."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from rdarts.study.tables import WIDTH, Table, wrapped


class Remarked(Protocol):
    """What every kind of study has."""

    @property
    def remark(self) -> str:
        """What every table says beside its title."""

    @property
    def absent(self) -> Mapping[str, str]:
        """What has no run, by name, and why."""


def print_remarks(plan: Remarked) -> None:
    """What has no run, and the remark, below the runs that a dry run lists."""
    for name, reason in plan.absent.items():
        print(wrapped(f'no run  {name}: {reason}'))
    if plan.remark:
        print(wrapped(plan.remark))


def with_remarks(plan: Remarked, tables: Sequence[Table], note: str) -> tuple[list[Table], str]:
    """Tables whose titles have the remark, the first with a row of what has no run.

    Args:
        plan (Remarked): The study.
        tables (Sequence[Table]): Its tables, that of the methods first.
        note (str): What follows them.

    Returns:
        tuple[list[Table], str]: The tables, and the note with the reasons.
    """
    first, *others = tables
    changed = [_titled(table, plan.remark) for table in (_lengthened(plan, first), *others)]
    reasons = [f'{name}: no run: {reason}' for name, reason in plan.absent.items()]
    lines = [textwrap.fill(line, WIDTH, subsequent_indent='  ') for line in reasons]
    return changed, note + (('\n' + '\n'.join(lines) + '\n') if lines else '')


def _titled(table: Table, remark: str) -> Table:
    if not remark:
        return table
    short = None if table.short is None else _titled(table.short, remark)
    return replace(table, title=f'{table.title}; {remark}', short=short)


def _lengthened(plan: Remarked, table: Table) -> Table:
    """With a row of dashes for each name that has no run."""
    if not plan.absent:
        return table
    rows = [[name, *['-'] * (len(table.header) - 1)] for name in plan.absent]
    short = None if table.short is None else _lengthened(plan, table.short)
    return replace(table, rows=[*table.rows, *rows], short=short)
