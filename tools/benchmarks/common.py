"""What the benchmarks measure: one search of a config, its batches in memory."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from arguments import EXECUTIONS, SPACES
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, OPTIMIZERS, DefaultScope
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

import rdarts
from rdarts.architect.architect import Architect, Penalty
from rdarts.configuration.load import load_config, set_amp
from rdarts.errors import RunFailed, UserError, nearest
from rdarts.models.backbones import base_supernet
from rdarts.models.backbones.mobilenet_like_supernet import FIRST_CHANNELS
from rdarts.registry import HOOKS
from rdarts.search_spaces.mobilenet_like import WIDTHS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'search'
DEPTHS = dict(nb201=5, mobilenet_like=4)
DEPTH = 8  # of the other spaces
MATRIX_SIZES = (1024, 1536, 2048)


# Arguments


def check_args(args: argparse.Namespace) -> None:
    """Complete the arguments of ``arguments.make_parser``, and set the number of threads.

    Raises:
        UserError: One of them is out of range or not known.
    """
    if args.space not in SPACES:
        raise UserError(f"--space: unknown space '{args.space}': {nearest(args.space, SPACES)}")
    if args.depth is None:
        args.depth = DEPTHS.get(args.space, DEPTH)
    if args.threads is None:
        args.threads = torch.get_num_threads()
    for name in ('batch_size', 'width', 'depth', 'image_size', 'steps', 'threads'):
        if getattr(args, name) < 1:
            option = name.replace('_', '-')
            raise UserError(f'--{option} must be 1 or more, but is {getattr(args, name)}')
    if args.warmup < 0:
        raise UserError(f'--warmup must be 0 or more, but is {args.warmup}')
    if args.checkpoint and args.space != 'mobilenet_like':
        raise UserError(f'--checkpoint is for --space mobilenet_like, not {args.space}')
    if args.order not in (1, 2):
        raise UserError(f'--order must be 1 or 2, but is {args.order}')
    known = (*base_supernet.EXECUTIONS, 'plain_channels_last')
    for name in args.executions:
        if name not in EXECUTIONS or name not in known:
            raise UserError(f"--executions: unknown execution '{name}': {nearest(name, known)}")
    args.executions = [name for name in EXECUTIONS if name in args.executions]
    torch.set_num_threads(args.threads)


# What is measured


def to_channels_last(model: nn.Module) -> None:
    """Convolution weights into channels_last; of stacked ones, [edges, ...], each edge's."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
        elif parameter.dim() == 5:
            data = parameter.data.permute(0, 1, 3, 4, 2).contiguous()
            parameter.data = data.permute(0, 1, 4, 2, 3)


def resize(backbone: dict[str, Any], args: argparse.Namespace) -> None:
    """A supernet's config in the width and depth that are asked for."""
    if args.space == 'mobilenet_like':
        layers = [args.depth] * (len(WIDTHS) - 1) + [1]
        widths = [max(1, width * args.width // FIRST_CHANNELS) for width in WIDTHS]
        backbone['space'] = dict(type='mobilenet_like', widths=widths, depths=layers)
        for name in ('stem_channels', 'first_channels', 'last_channels'):
            backbone[name] = max(1, backbone[name] * args.width // FIRST_CHANNELS)
        backbone['checkpoint'] = args.checkpoint
    else:
        backbone['channels'] = args.width
        backbone['cells_per_stage' if args.space == 'nb201' else 'num_cells'] = args.depth


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
    """A supernet as the config of r-DARTS on CIFAR-10 builds it, its optimizers, two batches.

    Args:
        args (Namespace): Of ``arguments.make_parser``, checked.
        execution (str): One of ``EXECUTIONS``.
        amp (bool): Whether forward passes are in bfloat16. Defaults to False.
        state (dict, optional): Weights and alpha to start from. Defaults to those of the seed.

    Attributes:
        batches (dict): ``train`` and ``val``, as data loaders give them: images from 0 to 255.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        execution: str,
        amp: bool = False,
        state: dict[str, Tensor] | None = None,
    ) -> None:
        from mmpretrain.structures import DataSample  # warns unless run_guarded is there

        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        cfg = load_config(CONFIGS / f'rdarts_{args.space}_c10.py')
        backbone, head = cfg.model.backbone, cfg.model.head
        resize(backbone, args)
        backbone.execution = execution.removesuffix('_channels_last')
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        if amp:
            set_amp(cfg, 'bf16')
        torch.manual_seed(args.seed)
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
        self.supernet = self.model.backbone
        self.alphas = dict(self.supernet.arch_parameters)
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        generator = torch.Generator().manual_seed(args.seed)
        shape = (args.batch_size, 3, args.image_size, args.image_size)
        self.batches: dict[str, dict[str, Any]] = {}
        for name in ('train', 'val'):
            images = torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(device)
            if execution == 'plain_channels_last':
                images = images.to(memory_format=torch.channels_last)
            labels = torch.randint(head.num_classes, shape[:1], generator=generator)
            samples = [DataSample().set_gt_label(label).to(device) for label in labels]
            self.batches[name] = dict(inputs=images, data_samples=samples)
        self._start(cfg, args.order)

    def _start(self, cfg: Config, order: int) -> None:
        """All that a run does before its first iteration."""
        val = DataLoader(Batches(self.batches, 'val'), batch_size=None, collate_fn=_as_it_is)
        self.architect: Architect = HOOKS.build(
            dict(cfg.default_hooks.architect, order=order)
        ).architect
        self.architect.prepare(
            self.model,
            self.optim_wrapper,
            val,
            lambda alphas: OPTIMIZERS.build(dict(cfg.arch_optimizer, params=alphas)),
        )
        self.optim_wrapper.initialize_count_status(self.model, 0, len(val))
        self._penalty_seconds = 0.0
        penalty_gradients = self.architect.penalty_gradients

        def timed(epoch: int) -> dict[str, Penalty]:
            start = now()
            found = penalty_gradients(epoch)
            self._penalty_seconds += now() - start
            return found

        self.architect.penalty_gradients = timed

    def step(self) -> tuple[float, float]:
        """A search's own iteration: a step of alpha, with BER, and one of the weights.

        Returns:
            tuple[float, float]: Seconds of all of it, and of BER alone.

        Raises:
            RunFailed: A loss, or the gradient of alpha, is not finite.
        """
        self._penalty_seconds = 0.0
        start = now()
        self.architect.step(self.batches['train'], epoch=0)
        losses = self.model.train_step(self.batches['train'], self.optim_wrapper)
        if not torch.isfinite(losses['loss']):
            raise RunFailed(f'the training loss became {float(losses["loss"])}')
        return now() - start, self._penalty_seconds


def _as_it_is(batch: Any) -> Any:
    return batch


def now() -> float:
    """Seconds; a GPU is waited for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


# The work, and how fast this machine could do it


def _convolution_backward(
    grad_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *args: Any,
    out_shape: Any = None,
    **kwargs: Any,
) -> int:
    """FLOP of the gradients that are asked for: each costs what the forward pass does.

    PyTorch's own formula counts the weight gradient of a grouped convolution ``groups`` times.
    """
    output_mask = args[-1]
    forward = 2 * grad_shape[0] * prod(grad_shape[2:]) * prod(weight_shape)
    return forward * (bool(output_mask[0]) + bool(output_mask[1]))


def count_flop(function: Callable[[], Any]) -> int:
    """Floating-point operations of the convolutions and linear layers that run, both ways.

    A multiply-add counts as two. What autograd leaves out (the gradient of the images, of what
    is closed, of what reaches no alpha) is not counted.
    """
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        function()
    return counter.get_total_flops()


def count_work(args: argparse.Namespace) -> int:
    """FLOP that a step cannot do without: those of the plain execution, nothing computed twice."""
    once = argparse.Namespace(**{**vars(args), 'checkpoint': False})
    return count_flop(Search(once, 'plain').step)


def matrix_rate(repeats: int = 5) -> float:
    """FLOP a second of float32 matrix products: the best of a few, with the threads that are set.

    Args:
        repeats (int): Products of each size. Defaults to 5.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    best = 0.0
    for size in MATRIX_SIZES:
        left, right = torch.randn(2, size, size, device=device)
        torch.mm(left, right)
        for _ in range(repeats):
            start = now()
            torch.mm(left, right)
            best = max(best, 2 * size**3 / (now() - start))
    return best


# Output


def divide(left: float | None, right: float | None) -> float | None:
    """A quotient, where both sides were measured."""
    return None if left is None or right is None else left / right


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def has_bf16_instructions() -> bool:
    """Whether the CPU computes in bfloat16 by instructions of its own."""
    try:
        return 'avx512_bf16' in Path('/proc/cpuinfo').read_text(encoding='utf-8').split()
    except OSError:  # not Linux
        asked = getattr(torch.cpu, '_is_avx512_bf16_supported', None)  # torch 2.6 and later
        return bool(asked and asked())


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments and what they ran on."""
    left_out = ('json', 'child', 'profile')
    values = {key: value for key, value in vars(args).items() if key not in left_out}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    return dict(
        values,
        device=device,
        cpu=cpu_model(),
        bf16_instructions=has_bf16_instructions(),
        torch=torch.__version__,
        rdarts=rdarts.__version__,
        python=platform.python_version(),
    )


def heading(args: argparse.Namespace) -> str:
    """One line that says what was measured."""
    depth = {
        'nb201': f'N {args.depth}',
        'mobilenet_like': f'{args.depth} layers a stage'
        + (', each computed anew' if args.checkpoint else ''),
    }.get(args.space, f'{args.depth} cells')
    size = args.image_size
    return (
        f'{args.space}, C {args.width}, {depth}, batch {args.batch_size}, {size} x {size} pixels, '
        f'order {args.order}, {args.threads} threads'
    )


def print_result(
    args: argparse.Namespace,
    result: dict[str, Any],
    print_table: Callable[[argparse.Namespace, dict[str, Any]], None],
) -> None:
    """A table, or with ``--json`` one object."""
    if args.json:
        print_json(result)
    else:
        print_table(args, result)


def print_json(values: dict[str, Any]) -> None:
    """One object on one line."""
    print(json.dumps(values, allow_nan=False))
