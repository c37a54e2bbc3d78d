"""Steps of methods beside those of the softmax: how much longer each takes, or how much less.

A method and the softmax take turns within one process, on the same space and in the same execution.
A ratio is the median of the quotients of their steps, one by one; where candidates are drawn, so
that no two steps run the same operations, the mean.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from rdarts.configuration.composition import methods
from rdarts.configuration.folder import configs_folder
from rdarts.errors import UserError, nearest
from rdarts.measure.describe import describe, heading
from rdarts.measure.search import Search, StepSeconds
from rdarts.measure.settings import StepSettings


@dataclass(frozen=True)
class Case:
    """What is measured beside the softmax.

    Args:
        title (str): For people.
        method (str): Whose config it is.
        most (float, optional): The ratio that it may have. Defaults to any.
        changes (dict): Keys of the config, with dots, and what they are set to. Defaults to none.
        prunes (Callable, optional): Whether a candidate is pruned, by the edge's place, its own
            place there and its name. Defaults to none.
        part (str): Which steps count, ``'whole'`` (both) or ``'weights'``. Defaults to
            ``'whole'``.
        images (int): By what the batch is multiplied. Defaults to 1.
        channels (int): By what the width is multiplied. Defaults to 1.
    """

    title: str
    method: str
    most: float | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    prunes: Callable[[int, int, str], bool] | None = None
    part: Literal['whole', 'weights'] = 'whole'
    images: int = 1
    channels: int = 1

    def search(self, settings: StepSettings) -> Search:
        """Its search, with settings of its sizes."""
        settings = replace(settings, method=self.method).prepare()
        found = Search(settings, *settings.executions, changes=self.changes)
        if self.prunes is not None:
            for cell, topology in found.supernet.space.cells.items():
                for edge, one in enumerate(topology.edges):
                    names = [n for k, n in enumerate(one.candidates) if self.prunes(edge, k, n)]
                    found.supernet.prune(cell, edge, names)
        return found


STEPS_A_TURN = 2  # that count
RELAXATION = 'model.backbone.relaxation'
CASES = dict(
    gdas=Case('GDAS', 'gdas', 0.4),
    proxylessnas=Case("ProxylessNAS, the weights' step", 'proxylessnas', 0.4, part='weights'),
    pc_darts=Case('PC-DARTS', 'pc_darts', 0.6, images=4, channels=2),
    pc_darts_narrow=Case('PC-DARTS, half as wide', 'pc_darts', images=4),
    edge_weights=Case('weights of edges', 'darts', 1.05, {RELAXATION: 'rdarts.EdgeWeights'}),
    masks=Case('masks: `none` is pruned', 'darts', 1.05, prunes=lambda e, k, name: name == 'none'),
    beta_darts=Case('beta-DARTS', 'beta_darts', 1.05),
    fairdarts=Case('FairDARTS (sigmoid)', 'fairdarts', 1.05),
    gumbel=Case(
        'Gumbel-softmax of all',
        'darts',
        1.05,
        {RELAXATION: dict(type='rdarts.GumbelSoftmax', hard=False)},
    ),
    drnas=Case('DrNAS (Dirichlet)', 'drnas', 1.05),
    darts_minus=Case('DARTS- (auxiliary skip)', 'darts_minus', 1.15),
    sdarts_rs=Case('SmoothDARTS, random', 'sdarts_rs', 1.15),
    half=Case(
        'every other candidate pruned', 'darts', 0.65, prunes=lambda e, k, name: (e + k) % 2 == 1
    ),
)


def case_of(name: str) -> Case:
    """A case by its name in :data:`CASES`, or a method as its config has it.

    Raises:
        UserError: There is neither.
    """
    known = methods(configs_folder() / 'search')
    if name in CASES:
        return CASES[name]
    if name in known:
        return Case(name, name)
    raise UserError(f"--cases: unknown case '{name}': {nearest(name, [*CASES, *known])}")


@dataclass
class Taken:
    """What the steps of a case took.

    Attributes:
        settings (StepSettings): Of the softmax beside it.
        seconds (list[StepSeconds]): Of each step.
        softmax (list[StepSeconds]): Of each of the softmax in the same turns.
        draws (bool): Whether candidates are drawn.
    """

    settings: StepSettings
    seconds: list[StepSeconds] = field(default_factory=list)
    softmax: list[StepSeconds] = field(default_factory=list)
    draws: bool = False


def measure(settings: StepSettings, cases: Mapping[str, Case], draws: int) -> dict[str, Taken]:
    """Run the steps: cases of one size take turns with the softmax of that size.

    Each turn begins with ``warmup`` steps that do not count: they find the memory of results that
    another one's turn has left, in other sizes, as no step of a search does.

    Args:
        settings (StepSettings): With one execution, in float32; its method is what the cases are
            compared with.
        cases (dict[str, Case]): By name.
        draws (int): Steps of those that draw candidates, in place of the settings'.

    Raises:
        UserError: A setting is out of range, or a case does not fit the space.
    """
    if len(settings.executions) != 1 or settings.amp:
        raise UserError('one of --executions at a time, in float32')
    if draws < 1:
        raise UserError(f'--draws must be 1 or more, but is {draws}')
    found: dict[str, Taken] = {}
    for images, channels in dict.fromkeys((case.images, case.channels) for case in cases.values()):
        sizes = dict(batch_size=settings.batch_size * images, width=settings.width * channels)
        group = {n: c for n, c in cases.items() if (c.images, c.channels) == (images, channels)}
        found.update(_measure_group(replace(settings, **sizes), group, draws))
    return {name: found[name] for name in cases}


def _measure_group(
    settings: StepSettings, cases: Mapping[str, Case], draws: int
) -> dict[str, Taken]:
    prepared = settings.prepare()
    softmax = Search(prepared, *prepared.executions)
    searches = {name: case.search(settings) for name, case in cases.items()}
    found = {name: Taken(prepared) for name in cases}

    def left(one: Taken) -> int:
        return (draws if one.draws else settings.steps) - len(one.seconds)

    seeds = itertools.count(settings.seed)
    while due := {name: one for name, one in found.items() if left(one) > 0}:
        turn = list(itertools.islice(seeds, settings.warmup + STEPS_A_TURN))
        beside = _take_turn(softmax, turn, settings.warmup)
        for name, one in due.items():
            seconds = _take_turn(searches[name], turn, settings.warmup)
            one.draws = bool(searches[name].supernet.drawn)
            count = min(len(seconds), left(one))
            one.seconds += seconds[:count]
            one.softmax += beside[:count]
    return found


def _take_turn(search: Search, seeds: Sequence[int], warmup: int) -> list[StepSeconds]:
    """What the steps took that count: one for each seed, but for `warmup`."""
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        found.append(search.step())
    return found[warmup:]


def summarise(
    settings: StepSettings, cases: Mapping[str, Case], found: Mapping[str, Taken]
) -> dict[str, Any]:
    """The figures.

    Args:
        settings (StepSettings): Prepared ones.
        cases (dict[str, Case]): By name.
        found (dict[str, Taken]): As :func:`measure` gives it.

    Returns:
        dict: ``cases``, by name: sizes, ``s``, ``softmax_s``, ``ratio``, ``most`` and the number of
        ``steps``; ``exceeded``, the names of those whose ratio is more than it may be; what it ran
        on.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, taken in found.items():
        case = cases[name]
        middle = statistics.mean if taken.draws else statistics.median
        own, beside = (
            [getattr(step, case.part) for step in steps] for steps in (taken.seconds, taken.softmax)
        )
        rows[name] = dict(
            title=case.title,
            batch_size=taken.settings.batch_size,
            width=taken.settings.width,
            steps=len(own),
            draws=taken.draws,
            s=middle(own),
            softmax_s=middle(beside),
            ratio=middle(left / right for left, right in zip(own, beside, strict=True)),
            most=case.most,
        )
    exceeded = [n for n, row in rows.items() if row['most'] and row['ratio'] > row['most']]
    return dict(cases=rows, exceeded=exceeded, **describe(settings))


def print_table(settings: StepSettings, result: Mapping[str, Any]) -> None:
    """The same for people, as Markdown."""
    unit = 'core s' if settings.processor_time else 's'
    print(f'{heading(settings)}; {result["cpu"]}, torch {result["torch"]}\n')
    print(f'| case | C | batch | steps | {settings.method}, {unit} | {unit} | ratio | at most |')
    print('| --- | --- | --- | --- | --- | --- | --- | --- |')
    for row in result['cases'].values():
        sizes = f'{row["width"]} | {row["batch_size"]} | {row["steps"]}'
        ratio = f'{row["ratio"]:.2f} | {"" if row["most"] is None else row["most"]}'
        print(f'| {row["title"]} | {sizes} | {row["softmax_s"]:.3f} | {row["s"]:.3f} | {ratio} |')
