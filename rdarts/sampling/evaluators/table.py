"""What a benchmark's table holds of a genotype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import BENCHMARKS, EVALUATORS, lookup
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


@EVALUATORS.register_module()
class Table(Evaluator):
    """Answers with an accuracy of the table that the space names, in %, and what it costs.

    Costs are ``params``, ``macs`` and, where a device is named, ``latency`` in ms.

    Args:
        dataset (str): ``'cifar10'``, ``'cifar100'`` or ``'imagenet16_120'``. Defaults to
            ``'cifar10'``.
        split (str): ``'valid'`` or ``'test'``. Defaults to ``'valid'``, by which a search decides.
        epochs (int): 200, or 12 of the separate short schedule. Defaults to 200.
        device (str, optional): Whose latencies are costs, too. Defaults to none.
        path (str, optional): The table's folder or file. Defaults to where the data are.

    Raises:
        UserError: There is no table, or it has no such column.
    """

    def __init__(
        self,
        dataset: str = 'cifar10',
        split: Literal['valid', 'test'] = 'valid',
        epochs: Literal[12, 200] = 200,
        device: str | None = None,
        path: str | None = None,
    ) -> None:
        self.dataset, self.split, self.epochs = dataset, split, epochs
        self.device, self.path = device, path
        self.known_costs = ('params', 'macs', *(() if device is None else ('latency',)))

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`.

        Raises:
            UserError: The space names no table, it is not there, or it has no such column.
        """
        super().prepare(space, seed, cfg)
        if space.table is None:
            raise UserError(f"Table: the space '{space.name}' names no table of what is in it")
        self.table = lookup(space.table, BENCHMARKS).find(self.path)
        if self.table is None:
            raise UserError(
                f"Table: the table '{space.table}' is not there: set path, or RDARTS_DATA to the "
                'folder that holds nasbench201/'
            )
        self._answer(0)  # a column that is not there is refused before a search

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`.

        Raises:
            UserError: The table does not have the genotype.
        """
        return self._answer(genotype)

    def _answer(self, cell: Genotype | int) -> Result:
        record = self.table.query(cell)
        costs = dict(
            params=float(record.params(self.dataset)), macs=float(record.macs(self.dataset))
        )
        if self.device is not None:
            costs['latency'] = record.latency(self.device)
        return Result(record.accuracy(self.dataset, self.split, self.epochs), costs)
