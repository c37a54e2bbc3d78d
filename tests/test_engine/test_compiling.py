from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import _inductor, nn
from torch._dynamo.backends.common import aot_autograd

from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.architects.single_level import SingleLevel
from rdarts.engine import runner as runner_module
from rdarts.engine.compiling import check_architect, check_compile, compile_backbone, graphs_of
from rdarts.engine.runner import OwnRunner, check_device
from rdarts.errors import UserError
from rdarts.hooks import ArchitectHook
from rdarts.measure.search import Search
from rdarts.measure.settings import StepSettings
from rdarts.models import NASBench201Supernet
from rdarts.models.kernels.backends import has_cpp
from rdarts.registry import ARCHITECTS

CELLS = dict(cell=dict(num_nodes=2, candidates=('none', 'skip_connect', 'nor_conv_3x3')))
TINY = {'model.backbone.space': dict(type='CellSpace', name='tiny', cells=CELLS, _delete_=True)}


@pytest.fixture(autouse=True)
def compiled_no_more() -> Iterator[None]:
    """What a test has compiled, and how often, is nothing to the next one."""
    yield
    torch._dynamo.reset()


def settings_of(method: str) -> StepSettings:
    settings = StepSettings('nb201', method, batch_size=4, width=8, depth=1, image_size=16)
    return replace(settings, threads=1).prepare()


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
    assert sum(graphs) > 50
    plain, compiled = found
    assert plain.keys() == compiled.keys()
    for name, expected in plain.items():
        assert torch.allclose(compiled[name], expected, rtol=1e-5, atol=1e-6), name


@pytest.mark.slow
@pytest.mark.skipif(not has_cpp(), reason='no compiler')
def test_gradients_by_the_back_end_of_a_run_are_those_of_the_supernet(monkeypatch, tmp_path):
    """As ``compile=True`` asks for it."""
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))
    found = []
    for compiled in (False, True):
        search = Search(settings_of('rdarts'), 'plain', changes=TINY, device='cpu')
        compile_backbone(search.model, compiled)
        images = search.batches['train']['inputs'] / 255
        out = search.supernet(images)[-1]
        out.square().mean().backward()
        found.append([out.detach(), *(weight.grad for weight in search.supernet.parameters())])
    assert list(tmp_path.rglob('*.so'))  # it was compiled
    plain, compiled = found
    assert plain[0].any() and any(grad is not None for grad in plain[1:])
    for expected, one in zip(plain, compiled, strict=True):
        if expected is None:
            assert one is None
        else:
            torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)


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
    # a test of what was trained adds no gradients up
    wrapper = dict(type='OptimWrapper', accumulative_counts=2)
    check_device(Config(dict(compile=graphs, optim_wrapper=wrapper)))
    with pytest.raises(UserError, match='counts=2 adds up'):
        check_device(Config(dict(compile=graphs, optim_wrapper=wrapper, train_cfg=dict(max=1))))


def test_whatever_records_cuda_graphs_is_known():
    recording = {
        mode
        for mode, options in _inductor.list_mode_options().items()
        if options.get('triton.cudagraphs')
    }
    modes = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')
    assert {mode for mode in modes if graphs_of(dict(mode=mode))} == recording
    assert (
        graphs_of(dict(mode='reduce-overhead')) == "compile.mode='reduce-overhead' (--cuda-graph)"
    )
    assert graphs_of(dict(mode='max-autotune')) == "compile.mode='max-autotune'"
    asked = dict(options={'triton.cudagraphs': True})
    assert graphs_of(asked) == "compile.options['triton.cudagraphs']"
    assert graphs_of(dict(backend='cudagraphs')) == "compile.backend='cudagraphs'"
    no_graphs = (None, True, {}, dict(options={'triton.cudagraphs': False}), dict(options=None))
    assert [graphs_of(given) for given in no_graphs] == [None] * 5
    with pytest.raises(UserError, match=r"^compile\.options\['triton.cudagraphs'\]: Unrolled may"):
        check_architect(asked, ArchitectHook(order=2).architect)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['snas', 'darts_minus'])
def test_numbers_that_change_with_the_epoch_are_not_compiled_anew_in_each(method):
    """A temperature, and the weight of an auxiliary skip connection."""
    settings, graphs, new = settings_of(method), [], []

    def backend(module: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(module)
        return module

    search = Search(settings, 'plain', changes=TINY, device='cpu')
    compile_backbone(search.model, dict(backend=backend))
    for epoch in range(5):
        before = len(graphs)
        search.architect.set_progress(epoch, 10)
        search.step()
        new.append(len(graphs) - before)
    assert new[0] and new[3:] == [0, 0]


class Graphs:
    """As CUDA graphs do it, for ``torch.compile`` on a CPU.

    What graphs gave is written over when a forward pass begins while no backward pass is due.
    """

    def __init__(self) -> None:
        self.given: list[torch.Tensor] = []
        self.due = 0

    def forward(self, module: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        def run(args: list[Any]) -> Any:
            if not self.due:
                for one in self.given:
                    one.detach().fill_(float('nan'))
                self.given = []
            self.due += 1
            return self._give(module, args)

        return self._boxed(run)

    def backward(self, module: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        def run(args: list[Any]) -> Any:
            self.due -= 1
            return self._give(module, args)

        return self._boxed(run)

    def _give(self, module: torch.fx.GraphModule, args: list[Any]) -> Any:
        taken = {one.untyped_storage().data_ptr() for one in args if isinstance(one, torch.Tensor)}
        found = module(*args)
        self.given += [
            one
            for one in found
            if isinstance(one, torch.Tensor)
            and one.is_floating_point()
            and one.untyped_storage().data_ptr() not in taken
        ]
        return found

    @staticmethod
    def _boxed(run: Any) -> Any:
        run._boxed_call = True
        return run


@pytest.mark.slow
@pytest.mark.parametrize('method', ['rdarts', 'snas'])
def test_a_search_needs_nothing_that_graphs_write_over(method):
    settings, found = settings_of(method), []
    for compiled in (False, True):
        search, graphs = Search(settings, 'plain', changes=TINY, device='cpu'), Graphs()
        backend = aot_autograd(fw_compiler=graphs.forward, bw_compiler=graphs.backward)
        compile_backbone(search.model, compiled and dict(backend=backend))
        for seed in range(2):
            torch.manual_seed(seed)
            search.step()
        assert not search.architect.keeps_passes
        assert bool(graphs.given) == compiled and not graphs.due
        # where the log reads them
        step = search.architect.taken
        found.append([*search.model.state_dict().values(), *step.grads, *step.total, step.loss])
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_architects_that_keep_passes_refuse_graphs():
    graphs = dict(mode='reduce-overhead')
    hook = ArchitectHook(order=2)
    with pytest.raises(UserError, match=r'\(--cuda-graph\): Unrolled may need what a pass'):
        hook.before_train(SimpleNamespace(cfg=dict(compile=graphs)))
    check_architect(True, hook.architect)
    check_architect(graphs, ArchitectHook().architect)
    check_architect(graphs, SingleLevel())


def test_what_keeps_no_passes_says_so_itself():
    ARCHITECTS.import_from_location()
    own = {cls for cls in ARCHITECTS.module_dict.values() if cls.__module__.startswith('rdarts.')}
    assert len(own) >= 12
    assert {cls for cls in own if not cls.keeps_passes} == {FirstOrder, SingleLevel}

    class Mine(FirstOrder):
        pass

    with pytest.raises(UserError, match='Mine may need what a pass'):
        check_architect(dict(mode='reduce-overhead'), Mine())
