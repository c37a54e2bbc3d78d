"""Networks of libraries: their sizes as published, and what is wrong with a name."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from rdarts.errors import UserError
from rdarts.measure.complexity import NetworkSettings, check_image, measure
from rdarts.measure.library_networks import build_library_network


def test_a_network_of_torchvision_is_counted():
    settings = NetworkSettings(
        network='torchvision:shufflenet_v2_x1_0', shape=(3, 224, 224), latency=False
    )
    found = measure(settings, [])
    assert found['parameters'] == 2_278_604  # as torchvision says of its weights
    assert found['macs'] == pytest.approx(146e6, rel=0.01)  # ShuffleNet V2, 1x: 146 million
    assert found['network'] == 'torchvision:shufflenet_v2_x1_0, 1000 classes'


def test_wrong_networks(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    monkeypatch.setitem(sys.modules, 'timm.models', None)
    for network, message in (
        ('keras:resnet50', "--network must be torchvision:NAME or timm:NAME, but is 'keras:resn"),
        ('resnet50', "--network must be torchvision:NAME or timm:NAME, but is 'resnet50'"),
        ('torchvision:resnet5O', "--network: torchvision has no 'resnet5O': did you mean 'resnet5"),
        ('timm:mobilenetv1_100', "timm:mobilenetv1_100 needs timm: 'pip install timm'"),
    ):
        with pytest.raises(UserError) as error:
            build_library_network(network, 10)
        assert message in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(genotype='X'), '--network is a network by itself: leave out the genotype'),
        (dict(cfg_options=['a=1']), '--cfg-options goes with a config, which is not given'),
        (dict(shape=(1, 28, 28)), '--network reads 3 channels: --shape says 1'),
        (
            dict(network=None, genotype='DARTS_V2', cfg_options=['a=1']),
            '--cfg-options goes with a config, which is not given',
        ),
    ],
)
def test_what_a_network_does_not_read_is_refused(given, message):
    given = {'network': 'torchvision:resnet50', 'latency': False, **given}
    with pytest.raises(UserError, match=f'^{message}$'):
        measure(NetworkSettings(**given), [])


def test_an_image_that_is_too_small_is_refused_in_one_line():
    settings = NetworkSettings(network='torchvision:squeezenet1_1', shape=(3, 4, 4), latency=False)
    with pytest.raises(UserError) as error:
        measure(settings, [])
    line = '--shape: 4 x 4 pixels do not go through torchvision:squeezenet1_1, 10 classes: '
    assert str(error.value).startswith(line) and '\n' not in str(error.value)


def test_a_network_that_fails_by_itself_is_no_mistake_of_the_shape():
    class Failing(nn.Module):
        def forward(self, x):
            raise MemoryError

    with pytest.raises(MemoryError):
        check_image(Failing(), 'a network', torch.zeros(1, 3, 8, 8))
