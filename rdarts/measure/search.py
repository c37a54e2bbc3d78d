"""One search of a config, its batches in memory: what the benchmarks take steps of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, OPTIMIZERS, DefaultScope
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from rdarts.architect.alpha_step import Penalty
from rdarts.architect.architect import Architect
from rdarts.configuration.load import set_amp
from rdarts.engine.optimizers import note_norms, step_together, take_norms
from rdarts.errors import RunFailed
from rdarts.measure.settings import StepSettings, order_of, supernet_of
from rdarts.registry import HOOKS
from rdarts.utils import host


def now() -> float:
    """Seconds; a GPU is waited for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def clock_of(settings: StepSettings) -> Callable[[], float]:
    """What gives the seconds of a measurement."""
    return time.process_time if settings.processor_time else now


class StepSeconds(NamedTuple):
    """What a step took.

    Args:
        whole (float): Seconds of all of it.
        weights (float): Of the step of the weights, which is its second part.
        regularizers (float): Of the regularisers of alpha, in its first part.
    """

    whole: float
    weights: float
    regularizers: float


def to_channels_last(model: nn.Module) -> None:
    """Convolution weights into channels_last; of stacked ones, [edges, ...], each edge's."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
        elif parameter.dim() == 5:
            data = parameter.data.permute(0, 1, 3, 4, 2).contiguous()
            parameter.data = data.permute(0, 1, 4, 2, 3)


class Batches(Dataset):
    """The same batch again and again, as a data set of batches.

    Args:
        batches (dict): Batches by name, looked up at every turn.
        name (str): Which.
    """

    metainfo: dict[str, Any] = {}

    def __init__(self, batches: dict[str, dict[str, Any]], name: str) -> None:
        self.batches, self.name = batches, name

    def __len__(self) -> int:
        return 1_000_000  # an epoch does not end

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.batches[self.name]


class Search:
    """A supernet as the settings' config builds it, its optimizers, two batches.

    Args:
        settings (StepSettings): Prepared ones.
        execution (str): One of ``EXECUTIONS``.
        amp (bool): Whether forward passes are in bfloat16. Defaults to False.
        state (dict, optional): Weights and alpha to start from. Defaults to those of the seed.
        changes (dict): Keys of the config, with dots, and what they are set to. Defaults to none.
        device (str, optional): Where it runs. Defaults to the settings' device.

    Attributes:
        clock (Callable): Gives the seconds by which steps are timed.
        model (Module): The model, without a wrapper.
        trained (Module): What the weights' step takes: the model, or a wrapper of it.
        batches (dict): ``train`` and ``val``, as data loaders give them: images from 0 to 255.
    """

    def __init__(
        self,
        settings: StepSettings,
        execution: str,
        amp: bool = False,
        state: dict[str, Tensor] | None = None,
        changes: Mapping[str, Any] | None = None,
        device: str | None = None,
    ) -> None:
        from mmpretrain.structures import DataSample  # warns unless run_guarded is there

        self.clock = clock_of(settings)
        device = device or settings.device
        cfg = settings.config()
        cfg.merge_from_dict(dict(changes or {}))
        backbone, head = cfg.model.backbone, cfg.model.head
        supernet_of(cfg).resize(backbone, settings.width, settings.depth)
        if settings.checkpoint:
            backbone.checkpoint = True
        backbone.execution = execution.removesuffix('_channels_last')
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        if amp:
            set_amp(cfg, 'bf16')
        torch.manual_seed(settings.seed)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            cfg.model.backbone = MODELS.build(backbone)
            head.in_channels = cfg.model.backbone.out_channels
            self.model = MODELS.build(cfg.model)
            if state is not None:
                self.model.load_state_dict(state)
            self.model.to(device).train()
            if execution == 'plain_channels_last':
                to_channels_last(self.model)
            self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        step_together(self.optim_wrapper.optimizer)
        note_norms(self.optim_wrapper)
        self.trained: nn.Module = self.model
        self.supernet = self.model.backbone
        self.alphas = dict(self.supernet.arch_parameters)
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        generator = torch.Generator().manual_seed(settings.seed)
        shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
        self.batches: dict[str, dict[str, Any]] = {}
        for name in ('train', 'val'):
            images = torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(device)
            if execution == 'plain_channels_last':
                images = images.to(memory_format=torch.channels_last)
            labels = torch.randint(head.num_classes, shape[:1], generator=generator)
            samples = [DataSample().set_gt_label(label).to(device) for label in labels]
            self.batches[name] = dict(inputs=images, data_samples=samples)
        self._start(cfg, settings.order)

    def _start(self, cfg: Config, order: int) -> None:
        """All that a run does before its first iteration."""
        val = DataLoader(Batches(self.batches, 'val'), batch_size=None, collate_fn=_as_it_is)
        hook = cfg.default_hooks.architect
        if order != order_of(cfg):  # which a hook of another architect does not take
            hook.order = order
        self.architect: Architect = HOOKS.build(hook).architect
        self.architect.prepare(
            self.model,
            self.optim_wrapper,
            val,
            lambda alphas: OPTIMIZERS.build(dict(cfg.arch_optimizer, params=alphas)),
        )
        self.optim_wrapper.initialize_count_status(self.model, 0, len(val))
        epochs = cfg.train_cfg.max_epochs
        # a third of the search has passed, so that what a method fades in or out is there
        self.architect.set_progress(epochs // 3, cfg.get('schedule_epochs') or epochs)
        self._penalty_seconds = 0.0
        penalty_gradients = self.architect.penalty_gradients

        def timed() -> dict[str, Penalty]:
            start = self.clock()
            found = penalty_gradients()
            self._penalty_seconds += self.clock() - start
            return found

        self.architect.penalty_gradients = timed

    def step(self) -> StepSeconds:
        """A search's own iteration: a step of alpha, with its regularisers, and one of the weights.

        Alpha moves in each, whatever the config's ``every`` is.

        Raises:
            RunFailed: A loss, or the gradient of alpha, is not finite.
        """
        self._penalty_seconds = 0.0
        start = self.clock()
        if not self.architect.single_level:
            self.architect.step(self.batches['train'])
        middle = self.clock()
        losses = self.architect.train_step(self.trained, self.batches['train'])
        # no loss where no weight is trained
        loss, _ = host.read([losses.get('loss', 0.0), take_norms(self.optim_wrapper)])
        if not math.isfinite(loss):
            raise RunFailed(f'the training loss became {loss}')
        end = self.clock()
        return StepSeconds(end - start, end - middle, self._penalty_seconds)


def _as_it_is(batch: Any) -> Any:
    return batch
