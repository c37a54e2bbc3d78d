"""The auxiliary head, and mmpretrain's linear head with it."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from rdarts.errors import UserError
from rdarts.models.heads import AuxiliaryHead


@pytest.mark.parametrize(
    ('stem', 'size', 'parameters'), [('cifar', 8, 476_426), ('imagenet', 7, 474_890)]
)
def test_the_published_sizes_end_in_one_pixel(stem, size, parameters):
    head = AuxiliaryHead(576, 10, stem).eval()
    assert sum(p.numel() for p in head.parameters()) == parameters
    features = torch.randn(2, 576, size, size)
    assert head.features(features).shape == (2, 768, 1, 1)
    expected = head.classifier(head.features(features).flatten(1))
    assert torch.allclose(head(features), expected)
    assert head(torch.randn(2, 576, size + 5, size + 2)).shape == (2, 10)


def test_what_does_not_fit():
    with pytest.raises(UserError, match="stem must be 'cifar' or 'imagenet'"):
        AuxiliaryHead(16, 10, 'svhn')
    with pytest.raises(UserError, match='needs features of 2 x 2 pixels or more, but got 1 x 9'):
        AuxiliaryHead(16, 10, 'imagenet')(torch.randn(2, 16, 1, 9))


@pytest.mark.parametrize('stem', ['cifar', 'imagenet'])
def test_smaller_features_end_in_one_pixel_too(stem):
    head = AuxiliaryHead(16, 10, stem).eval()
    assert head(torch.randn(2, 16, 2, 9)).shape == (2, 10)
    for side in range(2, 9):
        features = torch.rand(2, 16, side, side).requires_grad_()
        seen = []
        handle = head.features[-1].register_forward_hook(
            lambda *args, seen=seen: seen.append(args[2])
        )
        head(features).sum().backward()
        handle.remove()
        assert seen[0].shape == (2, 768, 1, 1), side
        assert features.grad.abs().amax((0, 1)).gt(0).any()
        if side < head.published:
            assert features.grad.abs().amax((0, 1)).gt(0).all()  # every pixel counts


def build(**kwargs):
    return MODELS.build(
        dict(
            type='rdarts.AuxiliaryClsHead',
            num_classes=3,
            in_channels=16,
            loss=dict(type='CrossEntropyLoss'),
            **kwargs,
        )
    )


def test_the_loss_of_the_auxiliary_head_is_added_in_training_alone():
    torch.manual_seed(0)
    head = build(auxiliary=dict(in_channels=8, stem='cifar', weight=0.4), topk=1)
    features = (torch.randn(4, 8, 8, 8), torch.randn(4, 16, 2, 2))
    samples = [DataSample().set_gt_label(i % 3) for i in range(4)]
    labels = torch.tensor([0, 1, 2, 0])
    losses = head.loss(features, samples)
    assert set(losses) == {'loss', 'auxiliary_loss'}
    cross_entropy = torch.nn.functional.cross_entropy
    main = cross_entropy(head.fc(features[1].mean((2, 3))), labels)
    assert torch.allclose(losses['loss'], main)
    auxiliary = cross_entropy(head.auxiliary(features[0]), labels)
    assert torch.allclose(losses['auxiliary_loss'], 0.4 * auxiliary, atol=1e-5)
    head.eval()
    assert set(head.loss(features[1:], samples)) == {'loss'}
    predicted = head.predict(features[1:], samples)
    assert [int(s.pred_label) for s in predicted] == head(features[1:]).argmax(1).tolist()


def test_without_an_auxiliary_head():
    head = build()
    assert head.auxiliary is None
    losses = head.loss((torch.randn(2, 16, 2, 2),), [DataSample().set_gt_label(0)] * 2)
    assert set(losses) == {'loss'}
