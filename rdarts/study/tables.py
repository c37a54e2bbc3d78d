"""Tables of text, in the forms in which they are printed and written."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdarts.study.statistics import Summary

WIDTH = 100  # of what is printed, in characters
GAP = 2  # between columns of text
LEAST_NAME = 16  # characters a line that the first column keeps
LATEX = str.maketrans(
    {
        **{char: rf'\{char}' for char in '&%_#${}'},
        '\\': r'\textbackslash{}',
        '~': r'\textasciitilde{}',
        '^': r'\textasciicircum{}',
        '±': r'$\pm$',
        '†': r'$\dagger$',
        '|': r'\textbar{}',
        # of themselves, these two are others in LaTeX's default encoding of fonts
        '<': r'\textless{}',
        '>': r'\textgreater{}',
    }
)


@dataclass(frozen=True)
class Table:
    """Cells of text.

    Args:
        name (str): Short, for the name of a file.
        title (str): What it shows.
        header (list[str]): Names of the columns.
        rows (list[list[str]]): Its rows; ``mean ± deviation`` is one cell.
        short (Table, optional): The most important of it, where the whole is too wide.
    """

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]
    short: Table | None = None

    def as_text(self, width: int | None = None) -> str:
        """Columns under each other; the first is left-aligned.

        Args:
            width (int, optional): Longest line. Where the table is wider, ``short`` stands for it,
                and the title and the first column go on in further lines.
        """
        if not self.fits(width):
            return self.short.as_text(width)
        title, widths = self.title, self._widths
        if width is not None:
            title = textwrap.fill(title, width)
            others = sum(widths[1:]) + GAP * (len(widths) - 1)
            widths[0] = min(widths[0], max(LEAST_NAME, width - others))
        texts = []
        for first, *others in (self.header, *self.rows):
            cut = len(first) > widths[0]
            first, *rest = (
                textwrap.wrap(first, widths[0], subsequent_indent='  ') if cut else [first]
            )
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(size) for cell, size in zip(others, widths[1:], strict=True)]
            texts.append('\n'.join([(' ' * GAP).join(cells).rstrip(), *rest]))
        rule = '-' * len(texts[0].partition('\n')[0])
        return '\n'.join([title, '', texts[0], rule, *texts[1:]]) + '\n'

    @property
    def _widths(self) -> list[int]:
        """Of each column, its longest cell."""
        return [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]

    def fits(self, width: int | None) -> bool:
        """Whether :meth:`as_text` with this width shows the whole, not ``short``."""
        if width is None or self.short is None:
            return True
        return sum(self._widths) + GAP * (len(self.header) - 1) <= width

    def only(self, columns: Sequence[str]) -> Table:
        """Some of its columns, by name."""
        at = [self.header.index(name) for name in columns]
        rows = [[row[i] for i in at] for row in self.rows]
        return Table(self.name, self.title, list(columns), rows)

    def as_markdown(self) -> str:
        """A table of GitHub's Markdown."""

        def line(cells: Sequence[str]) -> str:
            return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'

        rule = '| --- |' + ' ---: |' * (len(self.header) - 1)
        return '\n'.join([self.title, '', line(self.header), rule, *map(line, self.rows)]) + '\n'

    def as_latex(self) -> str:
        """A ``table`` with booktabs' rules, whose caption is the title."""

        def line(cells: Sequence[str]) -> str:
            return ' & '.join(cell.translate(LATEX) for cell in cells) + r' \\'

        columns = 'l' + 'r' * (len(self.header) - 1)
        body = [line(self.header), r'\midrule', *map(line, self.rows)]
        return '\n'.join(
            [r'\begin{table}', rf'\caption{{{self.title.translate(LATEX)}}}',
             rf'\begin{{tabular}}{{{columns}}}', r'\toprule', *body,
             r'\bottomrule', r'\end{tabular}', r'\end{table}']
        ) + '\n'  # fmt: skip

    def as_csv(self) -> str:
        """Mean and deviation in columns of their own."""
        wide = [any(' ± ' in row[i] for row in self.rows) for i in range(len(self.header))]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator='\n')
        for row in (self.header, *self.rows):
            cells: list[str] = []
            for cell, split in zip(row, wide, strict=True):
                mean, _, deviation = cell.partition(' ± ')
                cells.append(mean)
                if split:
                    cells.append(f'{cell}, deviation' if row is self.header else deviation)
            writer.writerow(cells)
        return buffer.getvalue()


def percent(value: Mapping[str, Any] | Summary | None) -> str:
    """``mean ± deviation``, two digits; the mean alone where there is no deviation."""
    if value is None:
        return '-'
    if isinstance(value, Summary):
        value = dict(mean=value.mean, deviation=value.deviation)
    text = f'{value["mean"]:.2f}'
    return text if value['deviation'] is None else f'{text} ± {value["deviation"]:.2f}'


def wrapped(line: str) -> str:
    """A printed line within the width of the tables, but for a path that is longer itself."""
    return textwrap.fill(
        line, WIDTH, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False
    )


def note_of(sentences: Sequence[str]) -> str:
    """What stands below tables: a paragraph each, in lines that can be printed; or nothing."""
    filled = [textwrap.fill(sentence, WIDTH) for sentence in sentences]
    return '\n' + '\n'.join(filled) + '\n' if filled else ''


def as_text(tables: Sequence[Table], note: str, width: int | None = None) -> str:
    """The tables and the note, in lines of a width if one is given."""
    text = '\n'.join(table.as_text(width) for table in tables) + note
    if not all(table.fits(width) for table in tables):
        text += '\nIn short: --wide prints the tables with all columns, as the files have them.\n'
    return text
