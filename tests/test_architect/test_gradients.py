"""d L_val / d alpha, first and second order, against autograd in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from test_architect.tiny_search import make_batch, make_model, unrolled_reference

from rdarts.architect.architects.first_order import first_order
from rdarts.architect.architects.unrolled import sgd_step, unrolled
from rdarts.architect.gradients import only_training
from rdarts.errors import UserError

TRAIN, VAL = make_batch(1), make_batch(2)
OPTIMIZERS = {
    'plain': dict(),
    'weight decay': dict(weight_decay=0.05),
    'momentum': dict(momentum=0.9),
    'momentum and decay': dict(momentum=0.9, weight_decay=0.05),
    'dampening': dict(momentum=0.8, dampening=0.3, weight_decay=0.02),
    'nesterov': dict(momentum=0.9, nesterov=True, weight_decay=0.05),
    'maximize': dict(momentum=0.7, weight_decay=0.05, maximize=True),
}


def make_optimizer(model, options, two_groups=False):
    _, weights = model.split()
    groups = weights
    if two_groups:
        groups = [
            dict(params=weights[::2]),
            dict(params=weights[1::2], lr=0.03, momentum=0.4, weight_decay=0.2, nesterov=False),
        ]
    return torch.optim.SGD(groups, lr=0.2, **options)


def losses(model, train=TRAIN, val=VAL):
    return lambda: model(**train)['loss'], lambda: model(**val)['loss']


def warm_up(model, optimizer, steps):
    """Real steps, so that there are momentum buffers."""
    for i in range(steps):
        optimizer.zero_grad()
        model(**make_batch(50 + i))['loss'].backward()
        optimizer.step()
    optimizer.zero_grad()


def unroll(model, optimizer, hessian, **kwargs):
    alphas, weights = model.split()
    return unrolled(
        *losses(model), alphas, weights, optimizer, list(model.buffers()), hessian, **kwargs
    )


def test_first_order_is_the_gradient_of_the_validation_loss():
    model = make_model()
    alphas, weights = model.split()
    grads, loss = first_order(losses(model)[1], alphas, weights)

    other = copy.deepcopy(model)
    trainable = [alpha.requires_grad_() for alpha in other.split()[0]]
    value = other.loss(**VAL)
    for found, expected in zip(grads, torch.autograd.grad(value, trainable), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)
        assert float(found.abs().max()) > 1e-4
    assert float(loss) == pytest.approx(float(value.detach()), rel=1e-14)
    assert not loss.requires_grad
    assert model.seen[-1]['alphas'] == {True} and model.seen[-1]['weights'] == {False}
    assert all(p.grad is None for p in model.parameters())


def test_a_group_that_takes_no_part_has_no_gradient():
    model = make_model()
    alphas, weights = model.split()
    unused = torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)
    grads, _ = first_order(losses(model)[1], [*alphas, unused], weights)
    assert torch.equal(grads[-1], torch.zeros(2, 2))


@pytest.mark.parametrize('two_groups', [False, True])
@pytest.mark.parametrize('steps', [0, 1, 3])
@pytest.mark.parametrize('options', OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_virtual_step_is_the_one_that_sgd_takes(options, steps, two_groups):
    model = make_model()
    optimizer = make_optimizer(model, options, two_groups)
    warm_up(model, optimizer, steps)
    _, weights = model.split()
    grads = torch.autograd.grad(model(**TRAIN)['loss'], weights)
    state = copy.deepcopy(optimizer.state_dict())
    before = [w.detach().clone() for w in weights]
    step = sgd_step(optimizer, weights, grads)
    for weight, start in zip(weights, before, strict=True):
        assert torch.equal(weight, start)
    for old, new in zip(
        state['state'].values(), optimizer.state_dict()['state'].values(), strict=True
    ):
        assert torch.equal(old['momentum_buffer'], new['momentum_buffer'])

    def really(gradients):
        twin = copy.deepcopy(model)
        other = make_optimizer(twin, options, two_groups)
        other.load_state_dict(copy.deepcopy(state))  # it shares the tensors
        for weight, grad in zip(twin.split()[1], gradients, strict=True):
            weight.grad = grad.clone()
        other.step()
        return [w.detach() for w in twin.split()[1]]

    moved = really(grads)
    for start, delta, after in zip(before, step.delta, moved, strict=True):
        torch.testing.assert_close(start + delta, after, rtol=1e-13, atol=1e-14)
    # the step is affine in the gradient: its slope is exact
    for slope, after, further in zip(
        step.slope, moved, really([g + 1 for g in grads]), strict=True
    ):
        torch.testing.assert_close(
            further - after, torch.full_like(after, slope), rtol=1e-11, atol=1e-13
        )


@pytest.mark.parametrize('two_groups', [False, True])
@pytest.mark.parametrize('steps', [0, 3])
@pytest.mark.parametrize('options', OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_second_order_is_autograd_through_the_step(options, steps, two_groups):
    model = make_model()
    optimizer = make_optimizer(model, options, two_groups)
    warm_up(model, optimizer, steps)
    expected = unrolled_reference(model, optimizer, TRAIN, VAL)
    exact, exact_loss = unroll(model, optimizer, 'autograd')
    approximate, loss = unroll(model, optimizer, 'finite_difference')
    first, _ = first_order(losses(model)[1], *model.split())
    assert torch.equal(exact_loss, loss)

    def flat(grads):
        return torch.cat([grad.flatten() for grad in grads])

    torch.testing.assert_close(flat(exact), flat(expected), rtol=1e-10, atol=1e-13)
    # the radius is 1e-2 / ||v||: the error is its square times third derivatives
    error = (flat(approximate) - flat(expected)).norm()
    assert float(error) < 1e-3 * float(flat(expected).norm())
    assert float((flat(first) - flat(expected)).norm()) > 30 * float(error)


def test_the_finite_difference_converges_quadratically(monkeypatch):
    model = make_model()
    optimizer = make_optimizer(model, OPTIMIZERS['momentum and decay'])
    warm_up(model, optimizer, 2)
    expected = torch.cat([g.flatten() for g in unrolled_reference(model, optimizer, TRAIN, VAL)])
    errors = []
    for radius in (1e-1, 1e-2):
        monkeypatch.setattr('rdarts.architect.architects.unrolled.FD_RADIUS', radius)
        found = torch.cat([g.flatten() for g in unroll(model, optimizer, 'finite_difference')[0]])
        errors.append(float((found - expected).norm()))
    assert errors[1] < errors[0] / 50


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_weights_buffers_momentum_and_flags_are_left_as_they_were(hessian):
    model = make_model()
    optimizer = make_optimizer(model, OPTIMIZERS['nesterov'])
    warm_up(model, optimizer, 2)
    model.head.bias.grad = torch.ones(3, dtype=torch.float64)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    momentum = copy.deepcopy(optimizer.state_dict())
    flags = [p.requires_grad for p in model.parameters()]
    unroll(model, optimizer, hessian)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert state['backbone.norm.num_batches_tracked'] == 2
    for index, entry in optimizer.state_dict()['state'].items():
        assert torch.equal(entry['momentum_buffer'], momentum['state'][index]['momentum_buffer'])
    assert [p.requires_grad for p in model.parameters()] == flags
    # a gradient that was there stays, and none is added to it
    assert torch.equal(model.head.bias.grad, torch.ones(3, dtype=torch.float64))
    assert all(p.grad is None for p in model.parameters() if p is not model.head.bias)


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_a_failure_within_leaves_everything_as_it_was_too(hessian):
    model = make_model()
    optimizer = make_optimizer(model, OPTIMIZERS['momentum'])
    warm_up(model, optimizer, 1)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    alphas, weights = model.split()

    def broken():
        raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError, match='out of memory'):
        unrolled(losses(model)[0], broken, alphas, weights, optimizer, list(model.buffers()))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert not any(alpha.requires_grad for alpha in alphas)
    assert all(weight.requires_grad for weight in weights)


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_every_evaluation_of_the_training_loss_draws_the_same_noise(hessian):
    model = make_model(noise=0.3)
    optimizer = make_optimizer(model, OPTIMIZERS['momentum'])
    warm_up(model, optimizer, 1)
    model.backbone.drawn.clear()
    torch.manual_seed(5)
    grads, _ = unroll(model, optimizer, hessian)
    draws = model.backbone.drawn
    passes = [draws[i : i + 4] for i in range(0, len(draws), 4)]
    assert len(passes) == (4 if hessian == 'finite_difference' else 3)
    train, val, *again = passes
    for other in again:
        assert all(torch.equal(a, b) for a, b in zip(train, other, strict=True))
    assert not torch.equal(train[0], val[0])
    after = torch.get_rng_state()

    # afterwards the generator stands where one pass of each loss leaves it
    torch.manual_seed(5)
    for loss in losses(model):
        loss()
    assert torch.equal(torch.get_rng_state(), after)

    torch.manual_seed(5)
    expected = torch.cat([g.flatten() for g in unrolled_reference(model, optimizer, TRAIN, VAL)])
    found = torch.cat([g.flatten() for g in grads])
    tolerance = 1e-10 if hessian == 'autograd' else 1e-3
    assert float((found - expected).norm()) < tolerance * float(expected.norm())


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_gradients_of_the_weights_are_averaged_over_ranks(hessian):
    model = make_model()
    optimizer = make_optimizer(model, OPTIMIZERS['momentum'])
    calls = []

    def reduce(grads):
        calls.append([g.clone() for g in grads])
        return grads

    unroll(model, optimizer, hessian, reduce=reduce)
    # that of L_train at w, which takes the step, and that of L_val at w'
    assert [len(call) for call in calls] == [len(model.split()[1])] * 2
    grads = torch.autograd.grad(model(**TRAIN)['loss'], model.split()[1])
    for found, expected in zip(calls[0], grads, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)

    # halved gradients are those of a halved training loss, whose step is another
    halved = unroll(model, optimizer, hessian, reduce=lambda grads: [g / 2 for g in grads])[0]
    plain = unroll(model, optimizer, hessian)[0]
    assert not torch.allclose(halved[0], plain[0], rtol=1e-4)


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_a_loss_scale_changes_only_the_scale(hessian):
    model = make_model()
    optimizer = make_optimizer(model, OPTIMIZERS['momentum and decay'])
    warm_up(model, optimizer, 2)
    plain, loss = unroll(model, optimizer, hessian)
    scaled, scaled_loss = unroll(model, optimizer, hessian, scale=1024.0)
    for a, b in zip(plain, scaled, strict=True):
        torch.testing.assert_close(b / 1024, a, rtol=1e-9, atol=1e-12)
    assert torch.equal(scaled_loss, loss)
    first, scaled = (first_order(losses(model)[1], *model.split(), scale=s)[0] for s in (1, 1024))
    for a, b in zip(first, scaled, strict=True):
        torch.testing.assert_close(b / 1024, a, rtol=1e-12, atol=1e-14)


def test_weights_whose_gradient_overflows_move_nothing():
    model = make_model()
    optimizer = make_optimizer(model, {})
    alphas, weights = model.split()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    train, val = losses(model)
    grads, loss = unrolled(
        lambda: train() * float('inf'), val, alphas, weights, optimizer, list(model.buffers())
    )
    assert all(grad.isnan().all() for grad in grads)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    torch.testing.assert_close(loss, val().detach())


def test_a_validation_loss_that_does_not_depend_on_the_weights():
    model = make_model()
    optimizer = make_optimizer(model, {})
    alphas, weights = model.split()

    def val_loss():
        return (alphas[0] ** 2).sum()

    grads, _ = unrolled(losses(model)[0], val_loss, alphas, weights, optimizer)
    torch.testing.assert_close(grads[0], 2 * alphas[0])
    assert all(torch.equal(g, torch.zeros_like(g)) for g in grads[1:])


@pytest.mark.parametrize('name', ['Adam', 'AdamW', 'RMSprop'])
def test_other_optimizers_cannot_be_unrolled(name):
    model = make_model()
    optimizer = getattr(torch.optim, name)(model.split()[1], lr=0.1)
    with pytest.raises(UserError, match=f'SGD, but the weight optimizer is {name}: use SGD, or'):
        unroll(model, optimizer, 'autograd')


def test_a_weight_that_the_optimizer_lacks():
    model = make_model()
    optimizer = torch.optim.SGD(model.split()[1][1:], lr=0.1)
    with pytest.raises(UserError, match='lacks a weight that learns'):
        unroll(model, optimizer, 'autograd')


def test_an_unknown_hessian():
    model = make_model()
    with pytest.raises(UserError, match="but is 'exact'"):
        unroll(model, make_optimizer(model, {}), 'exact')


def test_only_training_restores_the_flags_also_after_an_error():
    a, b = torch.zeros(1), torch.zeros(1, requires_grad=True)
    with pytest.raises(KeyError), only_training([a], [b]):
        assert a.requires_grad and not b.requires_grad
        raise KeyError
    assert not a.requires_grad and b.requires_grad
