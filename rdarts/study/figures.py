"""What a search found and cost, and what a network of it reached: figures of one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rdarts.architect.discretizers import Argmax
from rdarts.benchmarks import NASBench201
from rdarts.configuration.as_data import FILE as CONFIG
from rdarts.configuration.as_data import entry, read_config, type_name
from rdarts.deploy.description import planned_network
from rdarts.errors import UserError
from rdarts.genotypes import Genotype, count_skips, load_genotype, read_genotype
from rdarts.results.digest import run_of
from rdarts.results.margins import machine_of, smallest_margin
from rdarts.results.phases import last_row
from rdarts.results.queries import QUERY
from rdarts.results.row import TIME_LIMIT, number
from rdarts.results.search_run import SearchRun
from rdarts.study.statistics import COLUMNS

FIGURES = 'figures.json'  # of an evaluation
ACCURACIES = dict(error='accuracy/top1', error_top5='accuracy/top5')  # of networks, by their errors
WITHOUT_NONE = ', without none'  # behind the name of a method whose cells are derived so
EPOCHS = 200  # of a training whose accuracy the table has
Figures = dict[str, Any]
"""Of one search or network: what it found, reached and cost."""


def read_search(folder: Path, without_none: bool = False) -> Figures:
    """What a search found and cost: what it did not write is None.

    Of one that asks, with ``queries``, how many there were, and where a table answered them, with
    ``trainings``, how many of 200 epochs it would have trained; ``steps`` are iterations with
    gradients.

    Args:
        folder (Path): Its work directory.
        without_none (bool): Derive from its last weights without ``none``, instead of what it
            derived itself.
    """
    run = SearchRun(folder, folder.name)
    genotype = derive_without_none(run) if without_none else load_genotype(folder, run.space)
    memory = [value for _, value in run.digest.largest('memory')]
    asked = dict(queries=len(run.queries.rows)) if run.asks else {}
    share = share_of_training(run.queries.config.get('evaluator')) if run.asks else None
    if share is not None:
        asked['trainings'] = asked['queries'] * share
    return dict(
        **asked,
        genotype=genotype.to_string(),
        skip_connections=count_skips(genotype),
        seconds=run.seconds,
        memory_mb=max(memory, default=None),
        steps=_steps(run),
        margin=_margin(run, without_none),
        machine=machine_of(run),
        cut=_cut(run),
    )


def _cut(run: SearchRun) -> dict[str, Any] | None:
    """After how many of its epochs or queries its time was over; None where it was not."""
    last = {run_of(row): row for row in run.digest.rows if row['kind'] in ('epoch', QUERY)}
    ends = [row.get('stopped') for row in last.values()]  # one that was gone on with is no end
    if not any(isinstance(end, dict) and end.get('by') == TIME_LIMIT for end in ends):
        return None
    unit, after = run.reached
    return dict(after=after, of=run.queries.budget if unit == QUERY else run.max_epochs, unit=unit)


def share_of_training(evaluator: Any) -> float | None:
    """Which share of the table's 200 epochs an answer stands for that is read in the table.

    Args:
        evaluator: The config of what answers; that within another one counts.

    Returns:
        float | None: None where nothing is read: what trains or measures does so in its own time.
    """
    while isinstance(evaluator, Mapping) and 'evaluator' in evaluator:
        evaluator = evaluator['evaluator']
    if type_name(evaluator) != 'Table':
        return None
    epochs = number(evaluator, 'epochs') if isinstance(evaluator, Mapping) else None
    return (epochs or EPOCHS) / EPOCHS


def _steps(run: SearchRun) -> int | None:
    """Iterations of all epochs; nothing of a search that has none."""
    told = [number(row, 'iter') for row in run.of_kind('epoch')]
    return max((int(steps) for steps in told if steps is not None), default=None)


def _margin(run: SearchRun, without_none: bool) -> float | None:
    try:
        return smallest_margin(run, without_none)
    except UserError:  # no hook has logged the weights
        return None


def derive_without_none(run: SearchRun) -> Genotype:
    """The best operation but ``none`` on every edge, by the weights that the search ended with."""
    rows = run.of_kind('epoch')
    weights = {}
    for group in run.space.groups:
        try:
            row = last_row(rows, run.parts)
            weight = torch.tensor(row['weights'][group.name], dtype=torch.float64)
        except (IndexError, KeyError, TypeError, ValueError, RuntimeError, OverflowError):
            weight = torch.empty(0)
        if weight.shape != (len(group.edges), len(group.candidates)) or not weight.isfinite().all():
            raise UserError(
                f'{run.folder}: its log has no weights of the last epoch (AlphaStatisticsHook '
                'writes them), which --without-none needs'
            )
        weights[group.name] = weight
    return Argmax(allow_none=False).of_weights(weights, run.space)


def look_up(found: Figures, table: NASBench201) -> Figures:
    """What the table says of a cell, on the data sets that it has."""
    record = table.query(found['genotype'])
    accuracies = {
        f'{d}_{split}': record.accuracy(d, split) for d, split in COLUMNS if d in table.datasets
    }
    return dict(found, index=record.index, **accuracies)


def read_retraining(folder: Path) -> Figures:
    """Test error, top-5 error where it is measured, and size of a retrained cell."""
    last: dict[str, float] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        try:
            lines = path.read_text(encoding='utf-8').splitlines()
        except (OSError, ValueError) as error:
            raise UserError(f'{path}: cannot be read: {error}') from None
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            last.update(_errors(row))
    if 'error' not in last:
        raise UserError(f'{folder}: its log has no test accuracy ({ACCURACIES["error"]})')
    return dict(last, parameters=count_parameters(folder))


def _errors(row: Any) -> dict[str, float]:
    """The errors in percent whose accuracies a row has."""
    found = {name: number(row, key) for name, key in ACCURACIES.items()}
    return {name: 100 - accuracy for name, accuracy in found.items() if accuracy is not None}


def read_evaluation(folder: Path, source: Path) -> Figures:
    """What is known of a network whose search is not.

    Args:
        folder (Path): Of the evaluation.
        source (Path): Work directory of the retraining.
    """
    path = folder / FIGURES
    try:
        errors = _errors(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError):
        errors = {}
    if 'error' not in errors:
        raise UserError(f'{path}: no test accuracy ({ACCURACIES["error"]})')
    genotype = read_genotype(entry(read_config(source), 'model', 'backbone', 'genotype'))
    return dict(
        genotype=genotype.to_string(),
        skip_connections=count_skips(genotype),
        **errors,
        parameters=count_parameters(source),
    )


def count_parameters(folder: Path) -> int:
    """Parameters of a run's network and its classifier, without an auxiliary head."""
    config = read_config(folder)
    classes = entry(config, 'model', 'head', 'num_classes')
    try:
        net = planned_network(entry(config, 'model', 'backbone'), classes)
    except UserError as error:
        raise UserError(f'{folder / CONFIG}: {error}') from None
    return sum(parameter.numel() for parameter in net.parameters())
