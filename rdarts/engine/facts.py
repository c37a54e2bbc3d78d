"""What is known of a search as it runs: hooks write it here, and what logs and draws reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rdarts.genotypes import Genotype

if TYPE_CHECKING:
    from rdarts.architect.architect import Architect
    from rdarts.benchmarks import NASBench201


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
    """

    def __init__(self) -> None:
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
