"""The stop rules of DARTS+ against own evaluations of them, and in a search."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from golden import double, golden
from helpers import digits_runner

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.genotypes import skips_by_cell
from rdarts.hooks import StopRulesHook
from rdarts.models import AlphaOwner
from rdarts.registry import DISCRETIZERS, HOOKS, build


class Model(torch.nn.Module):
    def __init__(self, space):
        super().__init__()
        self.owner = AlphaOwner(space)


def hook_of(**options):
    """The hook as the method's config builds it."""
    options = {f'default_hooks.stop_rules.{key}': value for key, value in options.items()}
    path = configs_folder() / 'search' / 'darts_plus_darts_c10.py'
    return HOOKS.build(load_config(path, options).default_hooks.stop_rules)


def stopped(hook, model, epochs, set_epoch, genotype) -> int | None:
    """The first epoch, from 0, that ends the search."""
    runner = SimpleNamespace(
        model=model,
        logger=SimpleNamespace(info=lambda line: None),
        train_loop=SimpleNamespace(stop_training=False),
    )
    Facts.of(runner).derive = genotype
    for epoch in range(epochs):
        runner.epoch = epoch
        set_epoch(epoch)
        hook.after_train_epoch(runner)
        if runner.train_loop.stop_training:
            return epoch
    return None


def test_skip_connections_of_the_normal_cell():
    given, expected, _ = golden('darts_plus', 'criterion_1_skip_count')
    model = Model('darts')
    alphas, space = model.owner.arch_parameters, model.owner.space
    rule = build('TopEdges', DISCRETIZERS)
    assert given['drift'] == '0.02 per epoch on skip_connect (column 3), else 0'
    base = double(given['base'])
    drift = torch.zeros_like(base)
    drift[:, 3] = 0.02
    counts = []

    def set_epoch(epoch):
        alphas['normal'].data = base + epoch * drift
        counts.append(skips_by_cell(rule(alphas, space))['normal'])

    epochs = len(expected['skips_by_epoch'])
    found = stopped(hook_of(), model, epochs, set_epoch, lambda: rule(alphas, space))
    assert found == expected['stop_epoch']
    assert counts == expected['skips_by_epoch'][: found + 1]


def test_a_ranking_that_stays():
    given, expected, _ = golden('darts_plus', 'criterion_1star_stable_ranking')
    names = ['a', 'b', 'c']
    space = dict(type='LayerwiseSpace', name='one', layers=[['skip_connect', *names]])
    model = Model(space)
    alpha = model.owner.arch_parameters['layerwise']

    def set_epoch(epoch):
        order = given['ranking_by_epoch'][epoch]
        alpha.data[0, 0] = float(epoch % 3)  # what has no weights has no say
        for rank, name in enumerate(order):
            alpha.data[0, name] = -float(rank)

    for n in given['n']:
        hook = hook_of(skips=None, patience=n)
        epochs = len(given['ranking_by_epoch'])
        found = stopped(hook, model, epochs, set_epoch, lambda: None)
        assert found == expected['stop_epoch'][str(n)], n


def test_a_ranking_is_followed_before_a_search_may_end_too():
    """In epochs in which the other rule would have ended it as well."""
    space = dict(type='LayerwiseSpace', name='one', layers=[['skip_connect', 'a', 'b']])
    model = Model(space)
    alpha = model.owner.arch_parameters['layerwise']
    first = 'abbaaaa'  # of the two, in each epoch

    def set_epoch(epoch):
        alpha.data[0] = torch.tensor([1.0 if epoch in (1, 2) else -1.0, 0.0, 0.0])
        alpha.data[0, 1 + 'ab'.index(first[epoch])] = 0.5

    rule = build('Argmax', DISCRETIZERS)
    genotype = lambda: rule(model.owner.arch_parameters, model.owner.space)  # noqa: E731
    hook = hook_of(skips=1, patience=3, start_epoch=4)
    assert stopped(hook, model, len(first), set_epoch, genotype) == 5


def test_a_search_ends_and_stays_ended(tmp_path):
    options = {'train_cfg.max_epochs': 3}
    hooks = lambda: [StopRulesHook(skips=0)]  # noqa: E731
    runner = digits_runner(tmp_path, options, hooks=hooks())
    runner.train()
    assert runner.epoch == 1
    state = copy.deepcopy(runner.model.state_dict())
    again = digits_runner(tmp_path, options, hooks=hooks(), resume=True)
    again.train()
    assert again.epoch == 1
    assert all(torch.equal(again.model.state_dict()[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ('arguments', 'ends'), [(dict(skips=0), 2), (dict(skips=None, patience=2), 3)]
)
def test_epochs_in_which_alpha_rests_do_not_count(tmp_path, arguments, ends):
    options = {
        'train_cfg.max_epochs': 4,
        'default_hooks.architect.start_epoch': 1,
        'arch_optimizer.lr': 1e-12,  # what has moved is ranked as before
    }
    runner = digits_runner(tmp_path, options, hooks=[StopRulesHook(**arguments)])
    runner.train()
    assert runner.epoch == ends


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(skips=-1), 'skips must be an integer, 0 or more, but is -1'),
        (dict(patience=0), 'patience must be an integer, 1 or more, but is 0'),
        (dict(skips=None), 'give skips, patience or both'),
        (dict(start_epoch=None), 'start_epoch must be an integer, 1 or more, but is None'),
    ],
)
def test_what_is_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        StopRulesHook(**arguments)
