"""What is known of a search as it runs: hooks write it here, and what logs and draws reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdarts.genotypes import Genotype

if TYPE_CHECKING:
    from rdarts.architect.architect import Architect
    from rdarts.benchmarks import NASBench201


@dataclass(frozen=True)
class Place:
    """Where a run stands in its search: all of it, or one of its phases.

    Args:
        folder (Path): The work directory of the search.
        phase (int, optional): Which phase, from 0. Defaults to None: the search has none.
        branch (int, optional): Which one of the phase's branches. Defaults to None: it has none.
        phases (int): How many phases there are. Defaults to 1.
        epochs_before, iterations_before (int): Of the runs before this one. Defaults to 0.
        epochs_after (int): Of the runs after this one. Defaults to 0.
        log_bytes (int): The length of the search's log when this run begins. Defaults to 0.
        done (tuple[int, int]): Epochs and iterations that schedules of learning rates begin after.
            Defaults to none.
        progress (tuple[int, int], optional): The epochs before, and those of all, for what changes
            over the epochs. Defaults to None: those of the run alone.
    """

    folder: Path
    phase: int | None = None
    branch: int | None = None
    phases: int = 1
    epochs_before: int = 0
    iterations_before: int = 0
    epochs_after: int = 0
    log_bytes: int = 0
    done: tuple[int, int] = (0, 0)
    progress: tuple[int, int] | None = None

    @classmethod
    def of(cls, runner: Any) -> Place:
        """That of a runner: all of its search, unless a search in phases has said otherwise."""
        return Facts.of(runner).place or cls(Path(runner.work_dir))

    def steps_done(self, meta: Mapping[str, int]) -> tuple[int, int]:
        """Epochs and iterations that schedules of learning rates have behind them.

        Args:
            meta (dict): ``epoch`` and ``iter`` that the run itself has done.
        """
        epochs, iterations = self.done
        return epochs + meta['epoch'], iterations + meta['iter']

    @property
    def keys(self) -> dict[str, int]:
        """What rows of the log say of it; nothing of a search without phases."""
        said = dict(phase=self.phase, branch=self.branch)
        return {key: value for key, value in said.items() if value is not None}

    @property
    def name(self) -> str:
        """Such as ``phase 2 of 3, branch 1``, counted from 1."""
        if self.phase is None:
            return ''
        branch = '' if self.branch is None else f', branch {self.branch + 1}'
        return f'phase {self.phase + 1} of {self.phases}{branch}'


class Facts:
    """The one record through which the hooks of a run know of each other.

    A hook that has something to tell adds it to :attr:`iteration` or :attr:`epoch` in its
    ``after_train_iter`` (or before) and ``after_train_epoch``, at the priority ``'NORMAL'`` or a
    higher one. :class:`~rdarts.hooks.SearchLogHook`, which comes after these, writes the rows,
    hands their numbers to the visualizer, and empties them; the report reads its file.

    Attributes:
        iteration (dict): Of the row of the running iteration: numbers, texts, tensors, and dicts of
            these. Tensors become numbers where the row is written, in one of ten iterations.
        epoch (dict): Of the row of the ending epoch, likewise.
        kept (Genotype | None): What a hook that has ended the search has chosen as its result, in
            place of the last genotype.
        architect (Architect | None): What moves alpha.
        table (NASBench201 | None): In which the found cells are looked up.
        derive (Callable | None): Derives the genotype of alpha now.
        place (Place | None): Where the run stands in its search, if that has phases; it is read by
            :meth:`Place.of`.
        last_arch (Mapping | None): The entry ``arch`` of the phase before, where the state of
            alpha's optimizer goes on from it.
    """

    def __init__(self) -> None:
        self.place: Place | None = None
        self.last_arch: Mapping[str, Any] | None = None
        self.iteration: dict[str, Any] = {}
        self.epoch: dict[str, Any] = {}
        self.kept: Genotype | None = None
        self.architect: Architect | None = None
        self.table: NASBench201 | None = None
        self.derive: Callable[[], Genotype] | None = None

    @classmethod
    def of(cls, runner: Any) -> Facts:
        """The facts of a runner's search."""
        found = getattr(runner, 'search_facts', None)
        if found is None:
            found = runner.search_facts = cls()
        return found

    @property
    def genotype(self) -> Genotype | None:
        """That of alpha now; None where no hook says how it is derived."""
        return None if self.derive is None else self.derive()
