"""DARTS-PT over supernets of other searches, and what does not fit it."""

from __future__ import annotations

import pytest
import torch
from helpers import search_digits
from same_runs import rows

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype

CONFIG = 'darts_pt_nb201_digits'
SMALL = {'epochs': 1, 'default_hooks.checkpoint.max_keep_ckpts': -1, 'default_hooks.report': None}
# of both phases, of which the first is not run
TWO = {**SMALL, 'epochs': 2}


def weights(path) -> dict[str, torch.Tensor]:
    state = read_checkpoint(path)['state_dict']
    return {key: value for key, value in state.items() if 'alive' not in key}


@pytest.mark.slow
@pytest.mark.parametrize('method', ['rdarts', 'sdarts_rs', 'sdarts_adv'])
def test_a_search_stands_for_the_supernet(method, tmp_path):
    supernet, folder = tmp_path / 'supernet', tmp_path / 'run'
    search_digits(supernet, SMALL, config=f'{method}_nb201_digits')
    options = {**TWO, 'phases.1.train_cfg.criterion': 'loss'}
    search_digits(folder, {**options, 'init': str(supernet)}, config=CONFIG)
    assert not (folder / 'phase_0').exists()
    trained = weights(supernet / 'epoch_1_iter_2.pth')
    first = weights(folder / 'phase_1' / 'iter_0_decision_1.pth')
    assert trained.keys() == first.keys()
    assert all(torch.equal(value, first[key]) for key, value in trained.items())
    log = rows(folder)
    decided = [row for row in log if row['kind'] == 'selection']
    assert [row['phase'] for row in decided] == [1] * 6
    assert {row['criterion'] for row in decided} == {'loss'}
    assert {row['lr'] for row in log if row['kind'] == 'iter'} == {0.0025}
    kept = {row['edge']: row['kept'][0] for row in decided}
    places = ['0-1', '0-2', '1-2', '0-3', '1-3', '2-3']
    assert list(load_genotype(folder / 'genotype.json').ops) == [kept[one] for one in places]


@pytest.mark.slow
def test_alpha_may_stay_as_it_is(tmp_path):
    options = {**TWO, 'default_hooks.architect.max_steps': 0}
    search_digits(tmp_path, options, config=CONFIG)
    key = 'backbone.arch_parameters.cell'
    phases = [tmp_path / f'phase_{phase}' / 'epoch_1_iter_2.pth' for phase in (0, 1)]
    one, two = (weights(path) for path in phases)
    assert torch.equal(one[key], two[key])
    assert not torch.equal(one['head.fc.weight'], two['head.fc.weight'])


def test_a_supernet_that_is_missing_or_does_not_fit(tmp_path):
    def refused(init) -> str:
        with pytest.raises(UserError) as error:
            search_digits(tmp_path / 'run', {**TWO, 'init': str(init)}, config=CONFIG)
        assert '\n' not in str(error.value)
        return str(error.value)

    missing = tmp_path / 'missing'
    assert refused(missing) == f'init: no folder {missing}: it is the work directory of a search'
    missing.mkdir()
    assert refused(missing).startswith(f'init: {missing} holds no search that has ended (no genot')
    wider = {'model.backbone.channels': 4, 'model.head.in_channels': 16}
    search_digits(tmp_path / 'wider', {**SMALL, **wider}, config='rdarts_nb201_digits')
    line = refused(tmp_path / 'wider')
    assert line.startswith(f'init: the network of {tmp_path / "wider"} is another one than that ')
    # nor does a phase that can never begin
    options = {**TWO, 'phases.1.train_cfg.order': [0, 1]}
    with pytest.raises(UserError, match=r'^phases.1: the order of edges must have each of 0 to 5'):
        search_digits(tmp_path / 'run', options, config=CONFIG)
    with pytest.raises(UserError, match=r'^phases.1: PerturbationSelection tries on the images of'):
        none = {f'phases.1.val_{key}': None for key in ('dataloader', 'evaluator', 'cfg')}
        search_digits(tmp_path / 'run', {**TWO, **none}, config=CONFIG)
    # nothing was written
    assert not (tmp_path / 'run' / 'search_log.jsonl').exists()
