"""Searches by scores as their configs start them, in each space, stopped and resumed."""

from __future__ import annotations

import signal
from itertools import cycle

import numpy as np
import pytest
from same_runs import rows
from test_sampling.searched import FOLDER, SMALL, genotypes, small, space_of

from rdarts.apis.runs import train
from rdarts.configuration.load import load_config
from rdarts.errors import Interrupted
from rdarts.genotypes import load_genotype
from rdarts.registry import EVALUATORS, build
from rdarts.sampling.derived import DerivedNetworks

# method -> images of a batch, batches that its score asks for, starts of a network
METHODS = dict(
    naswot=(128, 1, 1),
    swap=(16, 1, 32),
    zico=(64, 2, 1),
    az_nas=(64, 1, 1),
    snip=(64, 1, 1),
    grasp=(64, 1, 1),
    fisher=(64, 1, 1),
    synflow=(1, 1, 1),
    jacob_cov=(64, 1, 1),
    grad_norm=(64, 1, 1),
    plain=(64, 1, 1),
    params=(1, 1, 1),
    macs=(1, 1, 1),
)
TINY = {'evaluator.batch_size': 4, 'evaluator.repeats': 1}


def config(method, name, folder, **options):
    noise = {} if name.endswith('digits') else {'evaluator.noise': True}
    cfg = small(name, method, budget=3, **TINY, **noise, **options)
    cfg.work_dir = str(folder)
    return cfg


def stops_after_two(monkeypatch):
    costs, asked = DerivedNetworks.costs, []

    def counted(self, genotype):
        asked.append(genotype)
        if len(asked) == 2:
            signal.raise_signal(signal.SIGTERM)
        return costs(self, genotype)

    monkeypatch.setattr(DerivedNetworks, 'costs', counted)


@pytest.mark.parametrize(('method', 'name'), list(zip(METHODS, cycle(SMALL), strict=False)))
def test_a_search_that_is_stopped_ends_as_one_that_was_not(method, name, tmp_path, monkeypatch):
    train(config(method, name, tmp_path / 'whole'))
    with monkeypatch.context() as patched:
        stops_after_two(patched)
        with pytest.raises(Interrupted, match='after query 2; saved'):
            train(config(method, name, tmp_path / 'parts'))
    train(config(method, name, tmp_path / 'parts'), resume=True)
    asked = rows(tmp_path / 'whole', 'query')
    assert rows(tmp_path / 'parts', 'query') == asked and len(asked) == 3
    assert all(set(row['costs']) == {'params', 'macs'} for row in asked)
    found = load_genotype(tmp_path / 'parts' / 'genotype.json').to_string()
    assert found == asked[asked[-1]['best_query'] - 1]['genotype']


@pytest.mark.slow
@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('method', METHODS)
def test_every_score_in_every_space(method, name, tmp_path):
    cfg = config(method, name, tmp_path)
    evaluator = build(cfg.evaluator, EVALUATORS)
    evaluator.prepare(space_of(cfg), 0, cfg)
    values = [evaluator(genotype).value for genotype in genotypes(evaluator.space, 3)]
    assert np.isfinite(values).all()
    if method == 'swap':  # four images have no more patterns
        assert max(values) <= 2**4
    else:
        assert len(set(values)) > 1


@pytest.mark.parametrize('method', METHODS)
def test_its_config_has_the_published_batches(method):
    cfg = load_config(FOLDER / f'{method}_nb201_c10.py')
    evaluator = build(cfg.evaluator, EVALUATORS)
    batches = getattr(evaluator, 'score', getattr(evaluator, 'ranking', None)).batches
    assert (evaluator.batch_size, batches, evaluator.repeats) == METHODS[method]
    assert cfg.budget == 1000 and cfg.strategy.type == 'rdarts.RandomSearch'
    assert cfg.model.backbone.cells_per_stage == 1
