"""Every method that asks as a user runs it, in little: it starts, is killed, and goes on."""

from __future__ import annotations

import math
import uuid
from pathlib import Path

import pytest
from helpers import TOOLS, asking_methods, write_cifar
from same_runs import Killed, rows

from rdarts.apis.runs import configure_training, train
from rdarts.genotypes import load_genotype
from rdarts.sampling.query_search import QuerySearch

SEARCH = TOOLS.parent / 'configs' / 'search'
BUDGET = 6
KILLED = 5  # in which query
SMALL = {
    'model.backbone.channels': 4,
    'model.backbone.cells_per_stage': 1,
    'model.head.in_channels': 16,
}
# how single methods leave their first phase within so few queries, or start networks fewer times
FEW = {'strategy.initial': 3, 'strategy.per_round': 2}
LITTLE = dict(
    nao={**FEW, 'strategy.top': 2, 'strategy.epochs': 2},
    parzc={
        'strategy.labels': 4,
        'strategy.pool': 4,
        'strategy.predictor.type': 'BayesianMixer',
        'strategy.predictor.width': 4,
        'strategy.predictor.epochs': 2,
    },
    regularized_evolution={'strategy.population': 3, 'strategy.sample': 2},
    seminas={
        **FEW,
        'strategy.top': 2,
        'strategy.epochs': 2,
        'strategy.synthetic': 4,
        'strategy.semi_epochs': 1,
    },
    swap={'evaluator.repeats': 2},
    weaknas={**FEW, 'strategy.pool': 20, 'strategy.predictor.iterations': 2},
)
# those that ask a supernet are in test_one_shot_searches.py
METHODS = [one for one in asking_methods() if one not in ('fairnas', 'rlnas', 'single_path')]


@pytest.fixture(scope='module')
def data(data_root, tmp_path_factory) -> Path:
    """The benchmark's table, and a few images."""
    folder = tmp_path_factory.mktemp('data')
    write_cifar(folder / 'cifar10', 'cifar10', 400, 10)
    (folder / 'nasbench201').symlink_to(data_root / 'nasbench201')
    return folder


@pytest.fixture
def small(data, monkeypatch) -> None:
    """Data of small size, and a checkpoint after each query."""
    monkeypatch.setenv('RDARTS_DATA', str(data))
    monkeypatch.setattr('rdarts.sampling.query_search.SAVE_SECONDS', 0.0)
    monkeypatch.setattr('rdarts.sampling.query_search.SAVE_SHARE', math.inf)


def search(method: str, folder: Path, resume: bool = False) -> list[dict]:
    """A search of :data:`BUDGET` queries; returns their rows, without the time."""
    path = SEARCH / f'{method}_nb201_c10.py'
    options = {'budget': BUDGET, **SMALL, **LITTLE.get(method, {})}
    cfg = configure_training(path, options, work_dir=folder)
    cfg.experiment_name = uuid.uuid4().hex
    train(cfg, resume)
    return rows(folder, 'query')


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize('method', METHODS)
def test_a_search_goes_on_where_it_was_killed(method, small, tmp_path, monkeypatch):
    whole = search(method, tmp_path / 'whole')
    assert [row['query'] for row in whole] == [*range(1, BUDGET + 1)]
    best = load_genotype(tmp_path / 'whole' / 'genotype.json', 'nas_bench_201')
    assert whole[whole[-1]['best_query'] - 1]['genotype'] == best.to_string()
    assert any(row['value'] is not None for row in whole)

    ask = QuerySearch._query

    def until_killed(runner: QuerySearch, number: int) -> None:
        ask(runner, number)
        if number == KILLED:  # logged, and not saved: it is asked once more
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(QuerySearch, '_query', until_killed)
        search(method, tmp_path / 'killed')
    assert not (tmp_path / 'killed' / 'genotype.json').exists()
    assert search(method, tmp_path / 'killed', resume=True) == whole
    assert load_genotype(tmp_path / 'killed' / 'genotype.json', 'nas_bench_201') == best
