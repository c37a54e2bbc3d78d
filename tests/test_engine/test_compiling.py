from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from rdarts.engine import runner as runner_module
from rdarts.engine.compiling import check_compile, compile_backbone
from rdarts.engine.runner import OwnRunner
from rdarts.errors import UserError
from rdarts.measure.search import Search
from rdarts.measure.settings import StepSettings
from rdarts.models import NASBench201Supernet


@pytest.mark.slow
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_steps_of_a_compiled_supernet_are_those_of_the_supernet(execution):
    """Of alpha and of the weights, by a back end that runs what it is given."""
    candidates = ('none', 'skip_connect', 'nor_conv_3x3', 'nor_conv_1x1')
    cells = dict(cell=dict(num_nodes=2, candidates=candidates))
    space = dict(type='CellSpace', name='tiny', cells=cells, _delete_=True)
    settings = StepSettings('nb201', batch_size=4, width=8, depth=1, image_size=16, threads=1)
    graphs: list[int] = []

    def backend(module: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(len(module.graph.nodes))
        return module

    found = []
    for compiled in (False, True):
        changes = {'model.backbone.space': space}
        search = Search(settings.prepare(), execution, changes=changes, device='cpu')
        compile_backbone(search.model, compiled and dict(backend=backend))
        for _ in range(2):
            search.step()
        found.append(search.model.state_dict())
    torch._dynamo.reset()
    assert sum(graphs) > 50
    plain, compiled = found
    assert plain.keys() == compiled.keys()
    for name, expected in plain.items():
        assert torch.allclose(compiled[name], expected, rtol=1e-5, atol=1e-6), name


def test_nothing_is_compiled_where_nothing_is_asked():
    model = nn.Module()
    for given in (None, False):
        compile_backbone(model, given)
        check_compile(given)


def test_a_runner_compiles_what_it_trains(monkeypatch):
    calls = []
    monkeypatch.setattr(runner_module, 'compile_backbone', lambda *given: calls.append(given))
    runner = object.__new__(OwnRunner)
    runner.model, runner.cfg = nn.Module(), dict(compile=True)
    for target in ('train_step', 'val_step'):  # as mmengine's runner calls it
        runner._maybe_compile(target)
    assert calls == [(runner.model, True)]


def test_what_cannot_be_compiled_is_refused():
    model = nn.Module()
    with pytest.raises(UserError, match='no backbone'):
        compile_backbone(model, True)
    model.backbone = NASBench201Supernet(
        channels=4, cells_per_stage=1, relaxation='rdarts.BinaryGates'
    )
    with pytest.raises(UserError, match='BinaryGates draws which candidates run'):
        compile_backbone(model, True)
    model.backbone = NASBench201Supernet(channels=4, cells_per_stage=1, checkpoint=True)
    with pytest.raises(UserError, match='checkpoint=True computes cells anew .* leave out one'):
        compile_backbone(model, True)


def test_cuda_graphs_need_a_gpu(monkeypatch):
    graphs = dict(mode='reduce-overhead')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UserError, match=r'\(--cuda-graph\).*needs a GPU'):
        check_compile(graphs)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    check_compile(graphs)
    with pytest.raises(UserError, match=r'writes over the gradients that .*counts=2 adds up'):
        check_compile(graphs, accumulated=2)
    check_compile(True, accumulated=2)
