"""What the two stages of DrNAS are, and what goes from the first to the second."""

from __future__ import annotations

import pytest
import torch
from golden import assert_close, double, golden
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from rdarts.architect.transitions import Beginning, Ended, Widen
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.engine.going_on import hand_over, names_of, network_of
from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.registry import TRANSITIONS, build
from rdarts.search_spaces import build_space

SEARCH = configs_folder() / 'search'


def config(space, options=None):
    return load_config(SEARCH / f'drnas_progressive_{space}.py', options)


def owner(cfg, alpha, **options):
    """That of the config's space and relaxation, with an alpha whose rows begin with the given."""
    backbone = cfg.model.backbone
    found = AlphaOwner(backbone.space, {**backbone.relaxation, **options}).double()
    found.arch_parameters['cell'].data[: len(alpha)] = alpha
    return found


def pruned(cfg, before, keep, **options):
    """The owner of the second stage: its alpha and masks are those of before, then it prunes."""
    alpha = before.arch_parameters['cell'].data
    after = owner(cfg, alpha, **options)
    for edge, flags in enumerate(before.alive['cell']):
        names = before.space.cells['cell'].edges[edge].candidates
        dead = [name for name, alive in zip(names, flags, strict=True) if not alive]
        after.prune('cell', edge, dead)
    keep(Beginning(Config(), after), Ended(Config(), before))
    return after


def kept(found, edges):
    alive = found.alive['cell'][:edges]
    return [[place for place, flag in enumerate(flags) if flag] for flags in alive]


def test_the_operations_that_go_on_are_the_published_ones():
    given, expected, tolerance = golden('drnas', 'progressive_pruning')
    cfg = config('nb201_c10')
    keep = build(cfg.phases[1].start[0], TRANSITIONS)
    assert keep.keep == given['keep']
    alpha = double(given['alpha'])
    first = owner(cfg, alpha, expects='softmax')
    second = pruned(cfg, first, keep, expects='softmax')
    assert kept(second, len(alpha)) == expected['mask_kept']
    weights = second.expected_weights()['cell'][: len(alpha)]
    assert_close(weights, expected['softmax_weights_masked'], tolerance)
    # of those that go on, alpha is as it was
    own = second.arch_parameters['cell'][: len(alpha)] * (weights > 0)
    assert_close(own, expected['alpha_after'], tolerance)
    third = pruned(cfg, second, build(dict(type='rdarts.KeepTopOps', keep=2), TRANSITIONS))
    assert kept(third, len(alpha)) == expected['kept_after_second_prune_to_2']


def test_draws_over_what_is_left_have_the_published_distribution():
    """There over all operations, those that were dropped with alpha 0, and then renormalised."""
    given, _, _ = golden('drnas', 'progressive_pruning')
    cfg = config('nb201_c10')
    alpha = double(given['alpha'])
    found = pruned(cfg, owner(cfg, alpha), build(cfg.phases[1].start[0], TRANSITIONS))
    torch.manual_seed(0)
    count = 1500
    draws = [found.ways.to_whole(found.mixing_weights())['cell'] for _ in range(count)]
    own = torch.stack(draws).detach()[:, : len(alpha)]
    alive = torch.tensor(found.alive['cell'][: len(alpha)])
    concentration = torch.nn.functional.elu(alpha * alive) + 1
    whole = torch.distributions.Dirichlet(concentration).sample((count,)) * alive
    published = whole / whole.sum(-1, keepdim=True)
    torch.testing.assert_close(own.mean(0), published.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(own.var(0), published.var(0), rtol=0, atol=0.015)
    given = concentration * alive
    mean = given / given.sum(-1, keepdim=True)
    assert_close(found.expected_weights()['cell'][: len(alpha)], mean.tolist(), 1e-12)


@pytest.mark.parametrize(
    ('space', 'case'), [('nb201_c10', 'nb201_progressive'), ('darts_c10', 'darts')]
)
def test_the_stages_are_the_published_ones(space, case):
    _, expected, _ = golden('drnas', 'schedule')
    published = expected[case]
    cfg = config(space)
    first, second = phases_of(cfg)
    phases = (first, second)
    assert [phase.cfg.train_cfg.max_epochs for phase in phases] == published['epochs']
    mixed = [phase.cfg.model.backbone.mixed_op for phase in phases]
    assert [one.share for one in mixed] == published['k']
    assert {one.type for one in mixed} == {'rdarts.PartialChannels'}
    keep, widen = (build(one, TRANSITIONS) for one in second.start)
    space = build_space(first.cfg.model.backbone.space)
    assert [len(space.candidates), keep.keep] == published['ops']
    assert type(widen) is Widen
    whole = sum(published['epochs'])
    begins = 0
    for phase, epochs, rests in zip(
        phases, published['epochs'], published['alpha_frozen_epochs'], strict=True
    ):
        start = phase.cfg.default_hooks.architect.start_epoch
        assert [begins, begins + start - 1] == rests
        begins += epochs
        assert phase.cfg.param_scheduler.T_max == phase.cfg.param_scheduler.end == whole
    assert second.goes_on == {'weights', 'alpha', 'optimizer', 'schedule'}
    if case == 'darts':
        backbone = first.cfg.model.backbone
        assert (backbone.channels, backbone.num_cells) == (
            published['init_channels'],
            published['layers'],
        )
        assert cfg.train_dataloader.batch_size == published['batch']
        assert [cfg.optim_wrapper.optimizer.lr, cfg.param_scheduler.eta_min] == published['lr']
        assert cfg.arch_optimizer.lr == published['alpha_lr']


def random_state(optimizer):
    """A momentum of each parameter, as a checkpoint has it."""
    state = optimizer.state_dict()
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    state['state'] = {
        number: dict(momentum_buffer=torch.randn_like(p)) for number, p in enumerate(parameters)
    }
    return state


@pytest.mark.parametrize(
    ('space', 'options'),
    [
        ('nb201_c10', {'model.backbone.channels': 8, 'model.backbone.cells_per_stage': 1}),
        ('darts_c10', {'model.backbone.channels': 12, 'model.backbone.num_cells': 3}),
    ],
)
def test_all_goes_on_into_the_second_stage(space, options):
    """Weights, alpha and momentums: what has more channels has copies, the rest is as it was."""
    torch.manual_seed(0)
    first, second = phases_of(config(space, options))
    given = first.cfg.to_dict()
    last, new = network_of(first.cfg), network_of(second.cfg).requires_grad_(True)
    assert first.cfg.to_dict() == given  # which the run is begun, and compared, with
    wrappers = [
        build_optim_wrapper(*pair)
        for pair in ((last, first.cfg.optim_wrapper), (new, second.cfg.optim_wrapper))
    ]
    saved = dict(optimizer=random_state(wrappers[0].optimizer), arch=dict(steps=3))
    ended = Ended(first.cfg, last, saved)
    begins = Beginning(second.cfg, new, seed=5, optim_wrapper=wrappers[1])
    transitions = [build(one, TRANSITIONS) for one in second.start]
    assert hand_over(begins, ended, transitions, second.goes_on) == dict(steps=3)
    before, state = last.state_dict(), new.state_dict()
    momentums = dict(
        zip(
            names_of(wrappers[0].optimizer, last),
            (entry['momentum_buffer'] for entry in saved['optimizer']['state'].values()),
            strict=True,
        )
    )
    parameters, wider = dict(new.named_parameters()), 0
    for key, value in before.items():
        if 'alive' in key:
            continue

        def handed(value, key=key):
            same = value.shape == state[key].shape
            return value if same else transitions[1].grown(key, value, state[key].shape)

        wider += value.shape != state[key].shape
        assert torch.equal(state[key], handed(value)), key
        if key in momentums:
            found = wrappers[1].optimizer.state[parameters[key]]['momentum_buffer']
            assert torch.equal(found, handed(momentums[key])), key
    assert wider
    left = {sum(flags) for edges in begins.owner.alive.values() for flags in edges}
    assert left == {transitions[0].keep}


def test_spaces_of_few_candidates_are_refused():
    for space, line in (
        ('s2_c10', 'does not fit s2: an edge has too few candidates to drop some after the first'),
        ('mobilenet_like_c10', 'does not fit mobilenet_like: it acts on the edges of a cell'),
    ):
        with pytest.raises(UserError, match=f'^drnas_progressive {line}'):
            config(space)
