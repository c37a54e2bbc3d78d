"""What the current cell would reach, looked up in a table."""

from __future__ import annotations

from mmengine.hooks import Hook

from rdarts.benchmarks import NASBench201
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import BENCHMARKS, HOOKS, lookup


def look_up_line(table: NASBench201, genotype: Genotype) -> str:
    """The line of a log about what the table holds of a cell.

    Args:
        table (NASBench201): The table.
        genotype (Genotype): Of its space.
    """
    record = table.query(genotype)
    accuracies = [(name, record.accuracy(name, 'test', 200)) for name in table.datasets]
    text = ', '.join(f'{name} {accuracy:.2f}' for name, accuracy in accuracies)
    return f'Cell {record.index} in the table (test %, 200 epochs): {text}'


@HOOKS.register_module()
class TabularBenchmarkHook(Hook):
    """Logs the accuracies of the current NAS-Bench-201 cell at the end of every epoch.

    Where there is no table, or the space is another one, one line says so and the search goes on.

    Args:
        path (str, optional): The table: see :class:`~rdarts.benchmarks.NASBench201`. Defaults
            to ``nasbench201`` under ``RDARTS_DATA`` or ``data``.
    """

    priority = 'NORMAL'

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.table: NASBench201 | None = None

    def before_train(self, runner) -> None:
        Facts.of(runner).table = None
        space = find_alpha_owner(runner.model).space
        if space.table is None:
            runner.logger.info(
                f"No look-up: the NAS-Bench-201 table holds no cell of the space '{space.name}'"
            )
            return
        try:
            self.table = lookup(space.table, BENCHMARKS).find(self.path)
            reason = 'put nasbench201.csv.gz into data/nasbench201, or set RDARTS_DATA'
        except UserError as error:
            reason = str(error)
        if self.table is None:
            runner.logger.info(f'No NAS-Bench-201 table, so no look-up: {reason}')
        Facts.of(runner).table = self.table

    def after_train_epoch(self, runner) -> None:
        facts = Facts.of(runner)
        if self.table is None or facts.genotype is None:
            return
        record = self.table.query(facts.genotype)
        found = {
            name: dict(
                valid=record.accuracy(name, 'valid', 200), test=record.accuracy(name, 'test', 200)
            )
            for name in self.table.datasets
        }
        runner.logger.info(look_up_line(self.table, facts.genotype))
        facts.epoch['benchmark'] = dict(index=record.index, **found)
