"""Every registered fused candidate gives what plain gives, to its own tolerance."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from rdarts.errors import UserError
from rdarts.models.layers import PlainLayers, StackedLayers
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.operations import build_operation
from rdarts.registry import FUSED_CANDIDATES, OPERATIONS

EXAMPLE = Path(__file__).parents[2] / 'docs' / 'en' / 'examples' / 'fused_1x7_7x1.py'
FUSED_CANDIDATES.import_from_location()


def operations_of(candidate: str, stride: int, outputs: int) -> list[str]:
    """The operations that a candidate runs."""
    cls, found = FUSED_CANDIDATES.get(candidate), []
    for name in OPERATIONS.module_dict:
        if name == 'none':
            continue
        make: PlainLayers = StackedLayers(1)
        if cls.match(build_operation(name, make, 8, outputs, stride)) is not None:
            found.append(name)
    return found


def results(mixed: MixedOp, execution: str) -> dict[str, torch.Tensor]:
    mixed.execution = execution
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 8, 6, 7, generator=generator, dtype=torch.float64).requires_grad_()
    betas = [
        torch.randn(len(names), generator=generator, dtype=torch.float64).requires_grad_()
        for names in mixed.candidates
    ]
    state = {name: buffer.clone() for name, buffer in mixed.named_buffers()}
    torch.manual_seed(2)
    outs = mixed.forward_edges(x, Mixing.of(betas))
    loss = sum((out * (i + 1)).sin().sum() for i, out in enumerate(outs))
    inputs = [x, *betas, *mixed.parameters()]
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    grads = [torch.zeros_like(t) if g is None else g for t, g in zip(inputs, grads, strict=True)]
    named = {f'grad {i}': grad for i, grad in enumerate(grads)}
    found = {**named, **{f'out {i}': out.detach() for i, out in enumerate(outs)}}
    found.update({name: buffer.clone() for name, buffer in mixed.named_buffers()})
    mixed.load_state_dict({**mixed.state_dict(), **state})
    return found


def check(candidate: str) -> int:
    """Compare a candidate with plain wherever it matches; the number of operations."""
    tolerance, count = FUSED_CANDIDATES.get(candidate).tolerance, 0
    for stride, outputs in ((1, 8), (2, 8), (1, 16)):
        for name in operations_of(candidate, stride, outputs):
            count += 1
            torch.manual_seed(0)
            other = 'sep_conv_3x3' if name == 'nor_conv_3x3' else 'nor_conv_3x3'
            mixed = MixedOp([[name], [name, other], [other]], 8, outputs, stride).double()
            assert type(mixed.fused_candidates[name]).__name__ == candidate
            for training in (True, False):
                mixed.train(training)
                expected, found = (results(mixed, each) for each in ('plain', 'fused'))
                scale = max(tensor.norm() for tensor in expected.values())
                for key, tensor in expected.items():
                    limit = tolerance * tensor.norm() + 1e-4 * tolerance * scale
                    assert (found[key] - tensor).norm() <= limit, (name, stride, outputs, key)
    return count


@pytest.mark.parametrize('candidate', sorted(FUSED_CANDIDATES.module_dict))
def test_a_candidate_gives_what_plain_gives(path, candidate):
    assert check(candidate) > 0


@pytest.fixture
def example():
    before = dict(FUSED_CANDIDATES.module_dict)
    spec = importlib.util.spec_from_file_location('fused_1x7_7x1', EXAMPLE)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    (name,) = FUSED_CANDIDATES.module_dict.keys() - before.keys()
    yield name
    FUSED_CANDIDATES.module_dict.pop(name)


def test_a_candidate_outside_of_the_package(path, example, told):
    assert operations_of(example, 1, 8) == operations_of(example, 2, 8) == ['conv_7x1_1x7']
    assert check(example) == 3
    assert not told


@pytest.fixture
def wrong():
    """Registers what a test makes of the candidate of dense convolutions."""

    def register(**attributes):
        cls = type('Wrong', (FUSED_CANDIDATES.get('Dense'),), attributes)
        return FUSED_CANDIDATES.register_module(module=cls)

    yield register
    FUSED_CANDIDATES.module_dict.pop('Wrong')


@pytest.mark.parametrize(
    ('needs', 'message'),
    [
        (('relu_covarianze',), "Wrong needs 'relu_covarianze': did you mean 'relu_covariance'?"),
        (('noise', 'x'), "Wrong needs 'x': known: noise, relu_covariance"),
        ('noise', 'Wrong: needs must be a tuple of names'),
    ],
)
def test_what_no_node_has_is_refused_when_the_operation_is_built(wrong, needs, message):
    wrong(needs=needs)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        MixedOp(['nor_conv_3x3'], 8)
    assert '\n' not in str(error.value)


def test_other_parameters_than_the_operations_are_refused_when_it_is_built(wrong):
    wrong(parameters=lambda self: [self.norms[0].weight, self.conv.weight])
    with pytest.raises(UserError, match='^fused candidate Wrong: parameters.. must be those of'):
        MixedOp(['nor_conv_3x3'], 8, affine=True)


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (lambda moments: moments.float(), '[3, 2, 8] in float32'),
        (lambda moments: moments[:2], '[2, 2, 8] in float64'),
        (lambda moments: moments[..., :4], '[3, 2, 4] in float64'),
        (lambda moments: moments.transpose(0, 1), '[2, 3, 8] in float64'),
        (lambda moments: None, 'NoneType'),
    ],
)
def test_moments_of_another_form_are_refused(path, wrong, change, found):
    dense = FUSED_CANDIDATES.get('Dense')

    def forward(self, *args):
        terms = dense.forward(self, *args)
        return terms._replace(moments=change(terms.moments))

    wrong(forward=forward)
    mixed = MixedOp([['nor_conv_3x3']] * 3, 8)
    mixed.execution = 'fused'
    message = f'Wrong: the moments of 3 edges must be [3, 2, channels] in float64, but are {found}'
    with pytest.raises(UserError, match=re.escape(message)):
        mixed.forward_edges(torch.randn(2, 8, 4, 4), Mixing(torch.ones(3)))
