"""All steps up to the first training: what a run writes before it, and that it goes on there."""

from __future__ import annotations

import json
import signal

import pytest
from test_auto.folders import write_colours

from rdarts.auto import run as module
from rdarts.auto.run import Settings, run_auto
from rdarts.auto.timing import Timing
from rdarts.configuration.load import load_config
from rdarts.errors import Interrupted, UserError


@pytest.fixture
def started(monkeypatch):
    """What trainings begin, as each is stopped at once; steps take a hundredth of a second."""
    begun = []

    def train(cfg, resume):
        begun.append((cfg.work_dir, resume))
        raise Interrupted('stopped by SIGTERM', signal.SIGTERM)

    monkeypatch.setattr(module, 'train', train)
    monkeypatch.setattr(module, 'measure', lambda *_: Timing(0.1, 0.01, 10**6, 10**5))
    return begun


def settings(tmp_path, **given) -> Settings:
    if not (tmp_path / 'images').exists():
        write_colours(tmp_path / 'images', dict(a=16, b=16), side=12)
    return Settings(tmp_path / 'images', tmp_path / 'out', 60, **given)


def test_a_limit_of_latency_has_a_table_in_the_searchs_loss(tmp_path, started):
    given = settings(tmp_path, limits=dict(latency=1e6), cost_weight=0.5)
    with pytest.raises(Interrupted, match='stopped by SIGTERM; the same command goes on') as stop:
        run_auto(given)
    assert stop.value.code == 128 + signal.SIGTERM
    table = json.loads((tmp_path / 'out' / 'costs.json').read_text())
    assert table['unit'] == 'ms' and table['stem'] == 'cifar' and table['shape'] == [3, 12, 12]
    cfg = load_config(tmp_path / 'out' / 'search.py')
    assert cfg.model.backbone.space.costs == str(tmp_path / 'out' / 'costs.json')
    cost = cfg.default_hooks.architect.regularizers.cost
    assert (cost.type, cost.lambda_, cost.reference) == ('rdarts.ExpectedCost', 0.5, 'equal')
    assert cfg.default_hooks.genotype.discretizer.allow_none is False
    plan = json.loads((tmp_path / 'out' / 'auto.json').read_text())['plan']
    assert cfg.train_cfg.max_epochs == plan['search_epochs']


def test_it_goes_on_where_it_was_and_plans_once(tmp_path, started):
    given, lines = settings(tmp_path), []
    for _ in range(2):
        with pytest.raises(Interrupted):
            run_auto(given, lines.append)
    assert [resume for _, resume in started] == [False, False]  # there is no checkpoint yet
    assert sum(line.startswith('measuring') for line in lines) == 1
    assert sum(line.startswith('search:') for line in lines) == 2
    cfg = load_config(tmp_path / 'out' / 'search.py')
    assert 'cost' not in cfg.default_hooks.architect.regularizers
    for name in ('resnet18', 'mobilenet_v2'):
        cfg = load_config(tmp_path / 'out' / f'{name}.py')
        assert cfg.model.backbone.name == name and cfg.model.backbone.stem == 'cifar'
        assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == cfg.param_scheduler.T_max
    with pytest.raises(UserError, match='holds another run, of seed 0 and not 1'):
        run_auto(settings(tmp_path, seed=1))


def test_a_folder_in_use_is_refused(tmp_path, started):
    given = settings(tmp_path)
    with (
        module.FolderLock(tmp_path / 'out'),
        pytest.raises(UserError, match='out is in use: .*or choose another with --out$'),
    ):
        run_auto(given)
