"""What every single run found, how narrowly it was decided, and on which processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rdarts.study.figures import WITHOUT_NONE, Figures
from rdarts.study.tables import Table, note_of
from rdarts.utils.wording import plural

NOISE = 0.01
"""Below this lead of the largest weight of an edge, rounding in float32 may decide another cell.

Leads of one search with AVX2 and with AVX-512 came so far apart in 77 steps: docs/en/compare.md.
"""
UNKNOWN = 'not recorded'
NARROW = f'Cells with a margin below {NOISE:g}, by which the largest weight of an edge leads'
MOST_PRINTED = 30  # of more runs, those alone that rounding may have decided


def is_narrow(margin: float | None) -> bool:
    """Whether a margin is within what rounding in float32 may change."""
    return margin is not None and margin < NOISE


def margin_text(margin: float | None) -> str:
    """In two digits, with a star where rounding may have decided."""
    if margin is None:
        return '-'
    return f'{margin:.1e}{" *" if is_narrow(margin) else ""}'


def were_cut(found: Mapping[int, Figures]) -> list[Mapping[str, Any]]:
    """Of each search of a method whose time was over, after what it was."""
    return [figures['cut'] for figures in found.values() if figures.get('cut')]


def _cut_line(method: str, found: Mapping[int, Figures]) -> str:
    cut = were_cut(found)
    least, most = (way(one['after'] for one in cut) for way in (min, max))
    after = f'{least:,}' if least == most else f'{least:,} to {most:,}'
    of, unit = cut[0]['of'], dict(epoch='epochs', query='queries').get(cut[0]['unit'])
    whole = f' of {of:,}' if of is not None else ''
    searches = 'the search' if len(found) == 1 else f'{len(cut)} of {len(found)} searches'
    return (
        f'†: {method}: the time of {searches} was over (max_seconds) after {after}{whole} {unit}: '
        'what was found then counts.'
    )


def machines_of(methods: Mapping[str, Mapping[int, Figures]]) -> dict[str, str]:
    """Of each processor that a run has named, a letter or two: A, B, ..., AA."""
    told = (figures.get('machine') for found in methods.values() for figures in found.values())
    names = dict.fromkeys(name for name in told if name)
    return {name: _letters(number) for number, name in enumerate(names)}


def _letters(number: int) -> str:
    head, last = divmod(number, 26)
    return (_letters(head - 1) if head else '') + chr(ord('A') + last)


def found_table(methods: Mapping[str, Mapping[int, Figures]]) -> Table:
    """A row for each run: its cell, margin and processor.

    Args:
        methods (dict): Method -> seed -> figures.

    Returns:
        Table: The short one is without the cells, and of many runs without those of clear margins.
    """
    letters = machines_of(methods)
    looked_up = any('index' in figures for found in methods.values() for figures in found.values())
    header = ['search', 'seed', *(['index'] if looked_up else []), 'cell', 'margin', 'CPU']
    rows, narrow = [], []
    for method, found in methods.items():
        for seed, figures in sorted(found.items()):
            index = [str(figures.get('index', '-'))] if looked_up else []
            margin = margin_text(figures.get('margin'))
            cpu = letters.get(figures.get('machine'), '-')
            rows.append([method, str(seed), *index, figures['genotype'], margin, cpu])
            if is_narrow(figures.get('margin')):
                narrow.append(rows[-1])
    title = 'What each run found; margin: the least lead of the largest weight of an edge'
    table = Table('found', title, header, rows)
    short = table if len(rows) <= MOST_PRINTED else replace(table, rows=narrow, title=NARROW)
    return replace(table, short=short.only([name for name in header if name != 'cell']))


def about_runs(methods: Mapping[str, Mapping[int, Figures]]) -> str:
    """Lines on the processors, and on cells that rounding may have decided."""
    cells = [figures for found in methods.values() for figures in found.values()]
    # cells without `none` are of the same runs
    methods = {name: found for name, found in methods.items() if not name.endswith(WITHOUT_NONE)}
    all_runs = [figures for found in methods.values() for figures in found.values()]
    lines = [
        f'CPU {letter}: {name} '
        f'({plural(sum(figures.get("machine") == name for figures in all_runs), "run")}).'
        for name, letter in machines_of(methods).items()
    ]
    lines += [_cut_line(method, found) for method, found in methods.items() if were_cut(found)]
    unknown = sum(not figures.get('machine') for figures in all_runs)
    if unknown:
        lines.append(f'CPU {UNKNOWN}: {plural(unknown, "run")}.')
    narrow = sum(is_narrow(figures.get('margin')) for figures in cells)
    if narrow:
        lines.append(
            f'*: {plural(narrow, "cell")} with a margin below {NOISE:g}, where rounding in float32 '
            'may decide: another CPU may find another cell.'
        )
    return note_of(lines)
