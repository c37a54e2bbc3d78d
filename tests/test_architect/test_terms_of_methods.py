"""Regularisers of the field against the published codes, as each method's config builds them."""

from __future__ import annotations

import pytest
import torch
from golden import assert_close, double, golden

from rdarts.architect.regularizers import DirichletKL
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.registry import REGULARIZERS, build
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')
DARTS = build_space('darts')


def term(config: str, name: str, **options):
    """A regulariser of a search config, with arguments of one's own."""
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    own = cfg.default_hooks.architect.regularizers[name]
    return build({**own, **options}, REGULARIZERS)


def value_and_gradient(regularizer, space, **alphas):
    leaves = {name: double(alpha).requires_grad_() for name, alpha in alphas.items()}
    value = regularizer(leaves, space)
    return value, torch.autograd.grad(value, list(leaves.values()))


def test_beta_decay():
    given, expected, tolerance = golden('beta_darts', 'beta_decay_value_and_gradient')
    decay = term('beta_darts_nb201_c10', 'beta_decay')
    value, (grad,) = value_and_gradient(decay, NB201, cell=given['alpha'])
    assert_close(value, expected['value'], tolerance)
    assert_close(grad, expected['grad'], tolerance)


def test_lambda_of_beta_darts_by_epoch():
    given, expected, tolerance = golden('beta_darts', 'alpha_gradient_by_epoch')
    decay = term('beta_darts_nb201_c10', 'beta_decay')
    for epoch in given['epochs']:
        lambda_ = decay.lambda_.at(epoch)
        assert_close(lambda_, expected['lambda'][str(epoch)], tolerance)
        alpha = double(given['alpha']).requires_grad_()
        loss = (double(given['c']) * alpha.softmax(-1)).sum()
        loss = loss + lambda_ * decay(dict(cell=alpha), NB201)
        (grad,) = torch.autograd.grad(loss, alpha)
        assert_close(grad, expected['alpha_grad'][str(epoch)], tolerance)
    # in its own epochs elsewhere
    assert term('beta_darts_darts_c10', 'beta_decay').lambda_.at(25) == 25


@pytest.mark.parametrize('method', ['aer', 'gdas_aer'])
def test_adaptive_entropy_in_nas_bench_201(method):
    given, expected, tolerance = golden('aer', 'entropy_nb201')
    entropy = term(f'{method}_nb201_c10', 'aer')
    value, (grad,) = value_and_gradient(entropy, NB201, cell=given['alpha'])
    assert_close(value, expected['value_bits'], tolerance)
    assert_close(grad, expected['grad'], tolerance)


def test_adaptive_entropy_without_none():
    given, expected, tolerance = golden('aer', 'entropy_pc_darts')
    entropy = term('pc_darts_aer_darts_c10', 'aer')
    alphas = dict(normal=given['alphas_normal'], reduce=given['alphas_reduce'])
    value, grads = value_and_gradient(entropy, DARTS, **alphas)
    assert_close(given['c'] * value, expected['value'], tolerance)
    normal, reduce = (given['c'] * grad for grad in grads)
    assert_close(normal[:4], expected['grad_normal_rows_0_3'], tolerance)
    assert_close(reduce[13], expected['grad_reduce_row_13'], tolerance)


def test_adaptive_entropy_in_later_stages_of_p_darts():
    """Of five candidates of each edge; the published code leaves out the first, none or not."""
    given, expected, tolerance = golden('aer', 'entropy_p_darts_later_stage')
    entropy = term('pdarts_aer_darts_c10', 'aer')
    for first, name in (('none', 'official_without_column_0'), ('max_pool_3x3', 'all_columns')):
        kept = (first, *DARTS.candidates[3:7])
        owner = AlphaOwner('darts').double()
        places = [DARTS.candidates.index(one) for one in kept]
        owner.arch_parameters['normal'].data[:, places] = double(given['alpha_stage2'])
        owner.arch_parameters['reduce'].data[:, places] = double(given['alpha_stage2'])
        for cell in ('normal', 'reduce'):
            for edge in range(14):
                owner.prune(cell, edge, [one for one in DARTS.candidates if one not in kept])
        assert_close(entropy(*owner.view()), expected[name], tolerance)


def test_adaptive_entropy_of_an_edge_that_has_nothing_to_choose():
    entropy = term('pdarts_aer_darts_c10', 'aer')
    owner = AlphaOwner('s3').double()
    whole = entropy(*owner.view())
    owner.prune('normal', 0, ['skip_connect', 'sep_conv_3x3'])  # but none
    alpha = owner.arch_parameters['normal'].data[1:]
    rows = torch.cat([alpha, owner.arch_parameters['reduce'].data])[:, 1:].softmax(-1)
    bits = -(rows * rows.log2()).sum() / 28
    torch.testing.assert_close(entropy(*owner.view()), bits)
    assert whole > bits


@pytest.mark.parametrize(
    ('config', 'case'),
    [
        ('aer_nb201_c10', '50'),
        ('gdas_aer_nb201_c10', '250'),
        ('pc_darts_aer_darts_c10', 'pc_start15_of50'),
        ('pdarts_aer_darts_c10', 'p_start10_of25'),
    ],
)
def test_the_factor_of_adaptive_entropy(config, case):
    _, expected, tolerance = golden('aer', 'coefficient_schedule')
    lambda_ = term(config, 'aer').lambda_
    for epoch, value in expected[case].items():
        if case.startswith('p') and not value:
            continue  # alpha rests
        assert abs(lambda_.at(int(epoch)) - value) < max(tolerance, 1e-12), epoch


@pytest.mark.parametrize('norm', ['l2', 'l1'])
def test_zero_one(norm):
    given, expected, tolerance = golden('fairdarts', 'zero_one_loss')
    cells = dict(normal=given['alphas_normal'], reduce=given['alphas_reduce'])
    own = term('fairdarts_darts_c10', 'zero_one', norm=norm)
    assert own.lambda_.at(0) == given['weight']
    space = build_space(dict(type='darts', leave_out=['none']))
    value, grads = value_and_gradient(own, space, **cells)
    assert_close(value, expected[norm]['zero_one_term'], tolerance)
    normal, reduce = (given['weight'] * grad for grad in grads)
    assert_close(normal[:2], expected[norm]['grad_normal_rows_0_1'], tolerance)
    assert_close(reduce[13], expected[norm]['grad_reduce_row_13'], tolerance)


def test_dirichlet_kl():
    given, expected, tolerance = golden('drnas', 'kl_anchor')
    anchor = DirichletKL(given['scale'])
    leaf = double(given['alpha']).requires_grad_()
    value = anchor(dict(cell=leaf), NB201)
    (grad,) = torch.autograd.grad(value, leaf)
    assert_close(given['scale'] * value, expected['value'], tolerance)
    assert_close(given['scale'] * grad, expected['grad'], tolerance)


def test_what_is_left_out_must_be_an_operation():
    build(dict(type='rdarts.AdaptiveEntropy', leave_out=['none']), REGULARIZERS)
    with pytest.raises(UserError) as error:
        build(dict(type='rdarts.AdaptiveEntropy', leave_out=['nonee']), REGULARIZERS)
    line = "leave_out of AdaptiveEntropy: unknown operation 'nonee': did you mean 'none'?"
    assert str(error.value) == line
