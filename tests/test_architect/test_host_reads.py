"""A search step waits for its device where it must, by :func:`rdarts.utils.host.read`, once.

Steps are taken on the ``meta`` device, where ``item``, ``tolist``, ``bool`` and ``nonzero`` raise;
and, as that knows no autocast, in mixed precision with fake tensors of a CPU, where they raise,
too. Once the indices that are kept are there, what PyTorch copies to the device is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmpretrain.structures import data_sample
from no_copies import NoCopies
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from rdarts.architect.relaxations.dirichlet import Dirichlet
from rdarts.measure.search import Search
from rdarts.measure.settings import StepSettings
from rdarts.registry import ARCHITECTS
from rdarts.utils import host

SPACES = ('nb201', 'darts', 's1', 's2', 's3', 's4', 'mobilenet_like')
# Of each architect a method, and how often an iteration reads: where alpha steps, and the loss
METHODS = dict(
    FirstOrder=('rdarts', 2),
    Unrolled=('darts_2nd', 2),
    Neumann=('idarts', 2),
    SingleLevel=('snas', 2),
    AdversarialMixing=('sdarts_adv', 2),
    ImportanceShrinking=('is_darts', 1),
    LayerAlignment=('lambda_darts', 2),
    NTKTrace=('nasi', 1),
    OperationEarlyStopping=('oles', 2),
    PathTraining=('fairnas', 1),
    SampledPaths=('proxylessnas', 2),
    Reinforce=('proxylessnas_rl', 2),
)

# Methods with a relaxation, a mixed operation or a regulariser that those have not
CHOICES = (
    'aer',
    'beta_darts',
    'darts_minus',
    'drnas',
    'dsnas',
    'entangled',
    'fairdarts',
    'fbnet',
    'fp_darts',
    'pc_darts',
    'pdarts',
    'reinmax',
    'sdarts_rs',
)


def one_edge(*candidates: str) -> dict[str, Any]:
    """A change of a config to cells of one edge."""
    cells = dict(cell=dict(num_nodes=2, candidates=candidates))
    space = dict(type='CellSpace', name='tiny', cells=cells, _delete_=True)
    return {'model.backbone.space': space}


@pytest.fixture
def reads(monkeypatch) -> list[Any]:
    """What was read, but for draws; all of it is 1 or true."""
    found: list[Any] = []

    def ones(tensor: Tensor) -> Any:
        return np.ones(tuple(tensor.shape), bool if tensor.dtype == torch.bool else float).tolist()

    def read(value: Any) -> Any:
        drawn = isinstance(value, list) and isinstance(value[0], dict)
        if any(isinstance(one, Tensor) for one in tree_leaves(value)) and not drawn:
            found.append(value)
        return tree_map_only(Tensor, ones, value)

    monkeypatch.setattr(host, 'read', read)
    return found


def settings_of(space: str, method: str = 'rdarts') -> StepSettings:
    settings = StepSettings(space, method, batch_size=4, width=8, depth=1, image_size=16, threads=1)
    return settings.prepare()


TINY = one_edge('none', 'skip_connect', 'nor_conv_3x3')


def make(settings: StepSettings, **kwargs: Any) -> Search:
    return Search(settings, 'plain', device='meta', **kwargs)


def counts(search: Search, reads: list[Any]) -> list[int]:
    """How often an iteration of each execution reads, when the indices that are kept are there."""
    search.supernet.execution = 'fused'
    search.step()
    found = []
    for search.supernet.execution in ('plain', 'fused'):
        reads.clear()
        with NoCopies():
            search.step()
        found.append(len(reads))
    return found


@pytest.mark.parametrize('space', SPACES)
def test_steps_of_every_space(space, reads):
    assert counts(make(settings_of(space)), reads) == [2, 2]


@pytest.mark.parametrize('name', METHODS)
def test_steps_of_every_architect(name, reads):
    method, expected = METHODS[name]
    search = make(settings_of('nb201', method), changes=TINY)
    assert type(search.architect).__name__ == name
    assert counts(search, reads) == [expected, expected]


@pytest.mark.parametrize('method', CHOICES)
def test_steps_of_every_other_choice(method, reads, monkeypatch):
    # PyTorch draws from a Dirichlet distribution on CPUs and GPUs alone
    monkeypatch.setattr(Dirichlet, 'draw', lambda relaxation, given: given / given.sum(-1)[:, None])
    search = make(settings_of('nb201', method), changes=TINY)
    expected = METHODS[type(search.architect).__name__][1]
    assert counts(search, reads) == [expected, expected]


def test_no_architect_is_left_out():
    ARCHITECTS.import_from_location()
    ours = {
        name for name, one in ARCHITECTS.module_dict.items() if one.__module__.startswith('rdarts.')
    }
    assert {*METHODS} == ours  # tests register some of their own


def test_steps_in_mixed_precision(reads, monkeypatch):
    # fake tensors cannot be moved, and a label that one is made of is read
    monkeypatch.setattr(nn.Module, 'to', lambda module, *args, **kwargs: module)
    monkeypatch.setattr(data_sample, 'format_label', lambda label: label.reshape(1))
    settings = settings_of('nb201')
    cfg = settings.config()
    monkeypatch.setattr(StepSettings, 'config', lambda settings: cfg)  # made of real tensors
    # no noise, nor a data loader: they draw by a seed, which is read
    changes = one_edge('none', 'skip_connect', 'sep_conv_3x3', 'nor_conv_1x1', 'nor_conv_3x3')
    with FakeTensorMode():
        search = Search(settings, 'plain', amp=True, changes=changes, device='cpu')
        search.architect.next_batch = lambda: search.batches['val']
        assert counts(search, reads) == [2, 2]
