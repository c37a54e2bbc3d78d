"""A CSV of scores that grows cell by cell, and goes on where it was stopped."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping

from rdarts.errors import UserError
from rdarts.utils.files import check_output, read_text
from rdarts.utils.wording import plural

OF_A_ROW = ('setting', 'genotype')
START = ','.join(OF_A_ROW)
MOST_BYTES = 2**30


class ScoreFile:
    """What was measured of cells; kept in a file, or in memory alone.

    A row is a setting, a genotype as text, and a column for each score. Rows of other settings stay
    as they are. A line that a kill cut off is scored again.

    Args:
        path (str | PathLike, optional): The CSV. Defaults to none.
        setting (str): Of the rows that are read and added.

    Raises:
        UserError: It cannot be written, or is another file.
    """

    def __init__(self, path: str | os.PathLike | None, setting: str) -> None:
        self.setting = setting
        self.path = None if path is None else check_output(path)
        self.columns: list[str] = []
        self._rows: dict[str, dict[str, float]] = {}
        if self.path is not None and self.path.exists():
            self._read()

    def _read(self) -> None:
        text = read_text(self.path, MOST_BYTES)
        whole = text[: text.rfind('\n') + 1]
        cut = text[len(whole) :]
        rows = csv.reader(io.StringIO(whole))
        header = next(rows, [])
        begins = tuple(header[:2]) == OF_A_ROW if header else START.startswith(cut[: len(START)])
        if not begins:
            raise UserError(
                f'{self.path} is no file of scores, which begins with {" and ".join(OF_A_ROW)}'
            )
        if cut:
            os.truncate(self.path, os.path.getsize(self.path) - len(cut.encode()))
        self.columns = header[2:]
        for row in rows:
            try:
                setting, genotype, *texts = row
                values = dict(zip(self.columns, map(float, texts), strict=True))
            except ValueError:
                raise UserError(
                    f'{self.path}, line {rows.line_num}: not a setting, a genotype and '
                    + plural(len(self.columns), 'number')
                ) from None
            if setting == self.setting:
                self._rows[genotype] = values

    def check_columns(self, names: Iterable[str]) -> None:
        """See that it has these scores, and no others.

        Args:
            names (Iterable[str]): Of scores; those of a ranking's parts begin with its name and a
                dot.

        Raises:
            UserError: It has others.
        """
        there = list(dict.fromkeys(column.partition('.')[0] for column in self.columns))
        if there and set(there) != set(names):
            raise UserError(
                f'{self.path} has the scores {" ".join(there)}: name the same, or another file'
            )

    def __contains__(self, genotype: str) -> bool:
        return genotype in self._rows

    def __getitem__(self, genotype: str) -> dict[str, float]:
        return self._rows[genotype]

    def add(self, genotype: str, values: Mapping[str, float]) -> None:
        """Add what was measured of a cell.

        Args:
            genotype (str): As text.
            values (Mapping[str, float]): By column, the same ones for each cell.

        Raises:
            UserError: It cannot be written.
        """
        lines = []
        if not self.columns:
            self.columns = list(values)
            lines.append([*OF_A_ROW, *self.columns])
        self._rows[genotype] = dict(values)
        if self.path is None:
            return
        numbers = [repr(float(values[column])) for column in self.columns]
        lines.append([self.setting, genotype, *numbers])
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator='\n').writerows(lines)
        try:
            with open(self.path, 'a', encoding='utf-8', newline='') as file:
                file.write(buffer.getvalue())
        except OSError as error:
            raise UserError(f'{self.path} cannot be written: {error.strerror}') from None
