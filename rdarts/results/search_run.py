"""Reading what a search wrote.

Longer than 400 lines: one class, which everything that shows a run asks.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rdarts.configuration import as_data
from rdarts.configuration.phases import Phase
from rdarts.configuration.retraining import training_images
from rdarts.errors import UserError
from rdarts.genotypes import Genotype, load_genotype, parse_genotype
from rdarts.results.digest import Digest
from rdarts.results.log import LOG, ROLL_BACK
from rdarts.results.phases import Part, last_row, length, parts_of, planned
from rdarts.results.queries import FRONT, QUERY, Queries, check_front, check_queries, that_asks
from rdarts.results.row import check_epoch, is_count, number, tells_of_alpha
from rdarts.search_spaces import SearchSpace
from rdarts.search_spaces.as_data import from_data

MOST_GENOTYPES = 1000  # parsed ones that a run holds
SEED_FOLDER = re.compile(r'seed_(\d+)')


@dataclass(frozen=True)
class SearchRun:
    """A search, running or ended, as its work directory tells it.

    Args:
        folder (Path): The work directory.
        method (str): What it is called; runs of one name differ in their seeds alone.
        known_config (dict, optional): Of a search in this process, as data. Defaults to what
            ``config.json`` holds.
        known_end (bool, optional): Whether it has ended. Defaults to whether there is a
            ``genotype.json``.
    """

    folder: Path
    method: str
    known_config: Mapping[str, Any] | None = field(default=None, repr=False)
    known_end: bool | None = None

    @cached_property
    def digest(self) -> Digest:
        """What is kept of its log."""
        return Digest(self.folder)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Its rows of one kind, which is not ``iter``."""
        return self._by_kind.get(kind, [])

    @cached_property
    def _by_kind(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.digest.rows:
            found.setdefault(row['kind'], []).append(row)
        return found

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """Its rows of kind ``epoch``, at least one; there may be none of a search that asks.

        Raises:
            UserError: No epoch has ended, or a row lacks what the hooks of a search write.
        """
        rows = self.of_kind('epoch')
        if not self.begun:
            raise UserError(f'{self.folder}: {self.not_begun}')
        for row in rows:
            if tells_of_alpha(row):
                check_epoch(row, self.space, f'{self.folder / LOG}, epoch {row["epoch"]}')
        return rows

    @cached_property
    def queries(self) -> Queries:
        """What it has asked; of a search with alpha, nothing.

        Raises:
            UserError: A row is none that a search that asks writes.
        """
        rows = self.of_kind(QUERY)
        check_queries(rows, str(self.folder / LOG))
        front = next(reversed(self.of_kind(FRONT)), None)
        if front is not None:
            check_front(front, len(rows), str(self.folder / LOG))
        return Queries(rows, that_asks(self.config, self.phases) or {}, front)

    @cached_property
    def asks(self) -> bool:
        """Whether it is a search that asks, or has a phase that is one."""
        if self.of_kind(QUERY):
            return True
        if any(map(tells_of_alpha, self.of_kind('epoch'))):
            return False  # until then, if ever
        return that_asks(self.config, self.phases) is not None

    @cached_property
    def parts(self) -> list[Part]:
        """Its epochs by phase and branch, in order; none of a search without phases."""
        return parts_of(self.digest.rows, str(self.folder / LOG))

    @cached_property
    def phases(self) -> list[Phase]:
        """Its phases as its config has them, all of them; none of a search without.

        Raises:
            UserError: What the config says is none.
        """
        return planned(self.config, str(self.folder / as_data.FILE))

    @property
    def max_epochs(self) -> int | None:
        """Epochs that it has if nothing stops it, in all phases and branches."""
        return length(self.config, self.phases)

    def part(self, epoch: int) -> Part | None:
        """The phase and branch of an epoch; None of a search without phases."""
        return next((part for part in self.parts if part.first <= epoch <= part.last), None)

    @property
    def breaks(self) -> list[int]:
        """Epochs after which another phase or branch begins: no line goes on beyond them."""
        return [part.last for part in self.parts[:-1]]

    @cached_property
    def last(self) -> Mapping[str, Any]:
        """The row of the epoch that it has come to; of branches, of that which was chosen."""
        return last_row(self.epochs, self.parts)

    @property
    def begun(self) -> bool:
        """Whether an epoch has ended, or a query was answered."""
        return bool(self.of_kind('epoch') or self.of_kind(QUERY))

    @property
    def reached(self) -> tuple[str, int]:
        """What it has come to: ``('epoch', n)``, or ``('query', n)`` of one that asks."""
        if self.asks and self.queries.rows:
            return 'query', len(self.queries.rows)
        return 'epoch', self.epochs[-1]['epoch']

    @property
    def not_begun(self) -> str:
        """What is said of a search that has not :attr:`begun`."""
        asks = bool(self.of_kind('start')) and self.asks
        return 'no query was answered yet' if asks else 'no epoch has ended yet'

    @cached_property
    def seed(self) -> int | None:
        """Its random seed."""
        # later phases have seeds that follow from the first one's
        starts = (row for row in self.of_kind('start') if row.get('phase') in (None, 0))
        seed = next((row.get('seed') for row in starts), None)
        if seed is None and self.config.get('init'):
            seed = as_data.entry(self.config, 'randomness', 'seed')
        return seed if is_count(seed) else None

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its whole config, as data."""
        return as_data.read_config(self.folder) if self.known_config is None else self.known_config

    @cached_property
    def space(self) -> SearchSpace:
        """Its search space, which the log's first row says.

        Raises:
            UserError: It does not, or what it says is no space.
        """
        starts = self.of_kind('start')
        # a log of an earlier version that was resumed has a further row
        space = next((row['space'] for row in reversed(starts) if 'space' in row), None)
        if space is None and not self.digest.rows:
            raise UserError(f'{self.folder}: {self.not_begun}')
        if space is None:
            raise UserError(as_data.older(self.folder, f'space into its {LOG}'))
        try:
            return from_data(space)
        except UserError as error:
            raise UserError(f'{self.folder / LOG}, the row of kind start: {error}') from None

    def genotype_of(self, row: Mapping[str, Any]) -> Genotype:
        """The genotype of a row of kind ``epoch`` or ``query``.

        Raises:
            UserError: It is none of the run's space, or not that of ``genotypes/epoch_<n>.json``.
        """
        text, kind = row['genotype'], row['kind']
        if text not in self._genotypes:
            # the file says more than the log's text, which is that of the official codes
            path = self.folder / 'genotypes' / f'epoch_{row["epoch"]}.json'
            try:
                if kind == 'epoch' and path.is_file():
                    genotype = load_genotype(path, self.space)
                    if genotype.to_string() != text:
                        raise UserError(f'the log has another genotype than {path.name}')
                else:
                    genotype = parse_genotype(text, self.space.name).validate(self.space)
            except UserError as error:
                where = f'{self.folder}, {kind} {row[kind]}'
                raise UserError(f'{where}: {error}') from None
            if len(self._genotypes) >= MOST_GENOTYPES:
                del self._genotypes[next(iter(self._genotypes))]
            self._genotypes[text] = genotype
        return self._genotypes[text]

    @cached_property
    def _genotypes(self) -> dict[str, Genotype]:
        return {}

    @property
    def ended(self) -> bool:
        """Whether the search has ended."""
        return (
            (self.folder / 'genotype.json').is_file() if self.known_end is None else self.known_end
        )

    @cached_property
    def found(self) -> Genotype:
        """What ``genotype.json`` holds once the search has ended, until then the last epoch's.

        A search may keep the genotype of an earlier epoch than its last. One that asks has the
        best so far.

        Raises:
            UserError: ``genotype.json`` cannot be read, or is of another space; or nothing was
                asked yet.
        """
        if not self.ended:
            if self.asks and not self.queries.rows:
                raise UserError(f'{self.folder}: no query was answered yet')
            row = self.queries.best if self.asks else self.last
            if 'genotype' not in row:
                raise UserError(f'{self.folder}: a supernet was trained, which gives no genotype')
            return self.genotype_of(row)
        try:
            return load_genotype(self.folder / 'genotype.json', self.space)
        except UserError as error:
            raise UserError(f'{self.folder}, genotype.json: {error}') from None

    @cached_property
    def found_epoch(self) -> int | None:
        """The epoch that :attr:`found` is the genotype of; None where it is no epoch's."""
        text = self.found.to_string()
        parts = [p for p in self.parts if p.phase == self.parts[-1].phase and p.chosen is not False]
        same = [
            row['epoch']
            for row in self.epochs
            if row.get('genotype') == text and (not parts or self.part(row['epoch']) in parts)
        ]
        kept = number(self.last, 'stopped', 'kept_epoch')
        return int(kept) if kept in same else max(same, default=None)

    @cached_property
    def found_query(self) -> int | None:
        """The query that :attr:`found` is the genotype of; None where it is no query's."""
        text, queries = self.found.to_string(), self.queries
        rows = [queries.best, *queries.rows] if queries.rows else []
        return next((row['query'] for row in rows if row['genotype'] == text), None)

    @property
    def dataset(self) -> str:
        """The data set that was searched on."""
        return dataset_name(self.config)

    @cached_property
    def lambdas(self) -> list[float]:
        """The factors of the regulariser ``ber``, each change; 0 alone of a search without."""
        return self.digest.factors or [0.0]

    def means(self, *keys: str) -> dict[int, float]:
        """Epoch -> mean over its ``iter`` rows of one number.

        Args:
            *keys (str): Where the number is, for example ``'arch_cosine_total', 'normal'``.

        Returns:
            dict[int, float]: Only epochs that have ended, and in which it was logged.
        """
        ended = {row['epoch'] for row in self.epochs}
        means = self.digest.means(*keys)
        return {epoch: mean for epoch, mean in means.items() if epoch in ended}

    @property
    def seconds(self) -> float | None:
        """How long it has run, all phases and branches together; None where no row says."""
        longest = self.digest.seconds()
        return sum(longest.values()) if longest else None

    def roll_backs(self) -> list[tuple[int, int]]:
        """After which epochs the search went back, and to which, in order."""
        rows = (row for row in self.of_kind(ROLL_BACK) if is_count(row.get('left_epoch')))
        return [(row['left_epoch'], row['epoch']) for row in rows]

    def validation(self) -> dict[int, float]:
        """Epoch -> accuracy of the supernet on alpha's half (%)."""
        found = {row['epoch']: number(row, 'accuracy/top1') for row in self.of_kind('val')}
        return {epoch: value for epoch, value in found.items() if value is not None}


def dataset_name(config: Mapping[str, Any]) -> str:
    """The data set of a config: the innermost ``type`` of its training data."""
    return as_data.type_name(training_images(config))


def find_runs(folders: Sequence[str | os.PathLike]) -> list[SearchRun]:
    """The searches of work directories, and of folders that hold work directories.

    A folder without a log stands for those up to two levels below it, so that what
    ``tools/analysis/compare.py`` wrote can be named as a whole. ``seed_<n>`` is called after the
    folder that it is in, every other run after its own.

    Raises:
        UserError: A folder holds no search, one is named twice, or they search different spaces.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        logs = [folder / LOG] if (folder / LOG).is_file() else []
        if not logs:
            logs = [*folder.glob(f'*/{LOG}'), *folder.glob(f'*/*/{LOG}')]
            logs = [log for log in logs if not log.parent.name.startswith('previous_')]
        if not logs:
            raise UserError(f'no {LOG} in {folder}: {_what_instead(folder)}')
        found += [log.parent for log in sorted(logs, key=_natural)]
    twice = [path for path, count in Counter(path.resolve() for path in found).items() if count > 1]
    if twice:
        raise UserError(f'{twice[0]} is named twice')
    names = map(_shown, _methods(found))
    runs = [SearchRun(path, method) for path, method in zip(found, names, strict=True)]
    spaces = {run.space.name: run.folder for run in runs}
    if len(spaces) > 1:
        (first, one), (second, other), *_ = spaces.items()
        raise UserError(
            f'runs of different spaces cannot be shown together: {one} searches {first}, {other} '
            f'searches {second}'
        )
    return runs


def _what_instead(folder: Path) -> str:
    """Why a folder has no log: that of a phase lies in the folder of the whole search."""
    above = [path for path in folder.absolute().parents[:2] if (path / LOG).is_file()]
    if above and folder.absolute().relative_to(above[0]).parts[0].startswith('phase_'):
        return f'it is a phase of the search {above[0]}, which is shown as a whole'
    return 'is it the folder of a search?'


def begun_runs(runs: Sequence[SearchRun]) -> list[SearchRun]:
    """The searches that have begun; of each other one, a line goes to stderr.

    Raises:
        UserError: None is left.
    """
    if not any(run.begun for run in runs):
        raise UserError(f'{", ".join(str(run.folder) for run in runs)}: {runs[0].not_begun}')
    for run in runs:
        if not run.begun:
            print(f'left out: {run.folder}: {run.not_begun}', file=sys.stderr)
    return [run for run in runs if run.begun]


def _natural(path: Path) -> list[tuple[int, str]]:
    """seed_2 before seed_10."""
    return [(int(part or 0), text) for text, part in re.findall(r'(\D*)(\d*)', str(path))]


def method_of(folder: str | os.PathLike) -> str:
    """What the search of a work directory is called."""
    return _shown(_methods([Path(folder)])[0])


def _shown(name: str) -> str:
    """A name as it can be drawn and written: what is no UTF-8 in it is replaced."""
    return os.fsencode(name).decode('utf-8', 'replace')


def _methods(folders: Iterable[Path]) -> list[str]:
    """Names as short as they can be without two methods having the same."""
    paths = [path.resolve() for path in folders]
    paths = [path.parent if SEED_FOLDER.fullmatch(path.name) else path for path in paths]
    different = set(paths)
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = {path: '/'.join(path.parts[-depth:]) for path in different}
        if len(set(names.values())) == len(different):
            return [names[path] for path in paths]
    return [str(path) for path in paths]
