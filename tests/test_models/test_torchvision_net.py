"""torchvision's networks as backbones compute what torchvision's own layers do."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from rdarts.errors import UserError
from rdarts.models.backbones.torchvision_net import NAMES, TorchvisionNet


@pytest.mark.parametrize('name', NAMES)
def test_features_are_those_of_torchvision(name):
    torch.manual_seed(0)
    net = TorchvisionNet(name).eval()
    own = getattr(models, name)(weights=None).eval()
    before = [
        value for key, value in own.state_dict().items() if not key.startswith(('fc', 'class'))
    ]
    state = net.state_dict()
    assert [value.shape for value in state.values()] == [value.shape for value in before]
    net.load_state_dict(dict(zip(state, before, strict=True)))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        (features,) = net(images)
        scores = getattr(own, 'fc', None) or own.classifier
        expected, found = own(images), scores(features.mean((2, 3)))
    assert features.shape == (2, net.out_channels, 2, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_the_small_stem_has_stride_8(name):
    net = TorchvisionNet(name, stem='cifar').eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, 32, 32))[0].shape == (1, net.out_channels, 4, 4)
        assert net(torch.randn(1, 3, 8, 8))[0].shape == (1, net.out_channels, 1, 1)


def test_what_is_not_known():
    with pytest.raises(UserError, match="unknown network 'resnet19' of torchvision"):
        TorchvisionNet('resnet19')
    with pytest.raises(UserError, match="stem must be 'cifar' or 'imagenet', but is 'none'"):
        TorchvisionNet('resnet18', stem='none')
