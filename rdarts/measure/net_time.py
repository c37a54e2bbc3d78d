"""Seconds of a derived network's training step and evaluation, in every way that it can run."""

from __future__ import annotations

import inspect
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.apis import build_net
from rdarts.errors import UserError, nearest
from rdarts.genotypes import load_genotype
from rdarts.measure.apart import check_limit, run_apart
from rdarts.measure.describe import cpu_model, divide
from rdarts.measure.search import now, to_channels_last
from rdarts.measure.settings import check_clock, usual_device
from rdarts.models.declared import declared_class
from rdarts.search_spaces import build_space
from rdarts.utils.wording import plural

WAYS = ('plain', 'channels_last', 'fused')
"""NCHW, as official codes run; channels_last, as plain networks take images on a CPU; and fused."""
MODES = ('train', 'eval')
MOMENTUM, DECAY, CLIP, RATE = 0.9, 3e-4, 5.0, 0.025  # of DARTS's retraining


@dataclass(frozen=True)
class NetSettings:
    """A derived network, its batch, and how often it runs.

    Args:
        genotype (str): As :func:`~rdarts.apis.build_net` takes it. Defaults to ``'DARTS_V2'``.
        space (str, optional): Its space. Defaults to the one that it names.
        width (int, optional): Channels of the first cells. Defaults to the network's.
        depth (int, optional): Cells, or cells a stage. Defaults to the network's.
        drop_path (float): Probability of drop-path in training. Defaults to 0.
        batch_size (int): Images. Defaults to 16.
        image_size (int): Pixels a side. Defaults to 32.
        steps (int): Steps that count. Defaults to 5.
        warmup (int): Steps before them. Defaults to 1.
        threads (int, optional): Of PyTorch. Defaults to its own choice.
        seed (int): Of weights, images and drop-path. Defaults to 0.
        processor_time (bool): Whether seconds are those that the cores work. Defaults to False.
        ways (Sequence[str]): Some of :data:`WAYS`. Defaults to all.

    Raises:
        UserError: A number is out of its range, or a way is not known.
    """

    genotype: str = 'DARTS_V2'
    space: str | None = None
    width: int | None = None
    depth: int | None = None
    drop_path: float = 0.0
    batch_size: int = 16
    image_size: int = 32
    steps: int = 5
    warmup: int = 1
    threads: int | None = None
    seed: int = 0
    processor_time: bool = False
    ways: Sequence[str] = WAYS

    def __post_init__(self) -> None:
        check_clock(self.processor_time, usual_device())
        for name in ('width', 'depth', 'batch_size', 'image_size', 'steps', 'threads'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f'--{name.replace("_", "-")} must be 1 or more, but is {value}')
        if self.warmup < 0:
            raise UserError(f'--warmup must be 0 or more, but is {self.warmup}')
        for way in self.ways:
            if way not in WAYS:
                raise UserError(f"--executions: unknown execution '{way}': {nearest(way, WAYS)}")

    def options(self) -> list[str]:
        """The settings as options of the tool, without the ways."""
        found: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == 'ways' or value is None or value is False:
                continue
            found.append(f'--{field.name.replace("_", "-")}')
            found += [] if value is True else [str(value)]
        return found


class Net:
    """A derived network with its batch and optimizer.

    Args:
        settings (NetSettings): The settings.
        way (str): One of :data:`WAYS`.
        state (dict, optional): Weights to start from. Defaults to those of the seed.

    Raises:
        UserError: The network does not take one of the settings.
    """

    def __init__(
        self, settings: NetSettings, way: str, state: Mapping[str, Tensor] | None = None
    ) -> None:
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        torch.manual_seed(settings.seed)
        self.model = _build(settings)
        if state is not None:
            self.model.load_state_dict(state)
        self.model.to(device)
        backbone = self.model.backbone
        backbone.channels_last = way != 'plain'
        backbone.execution = 'fused' if way == 'fused' else 'plain'
        shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
        self.images = torch.randn(shape, generator=torch.Generator().manual_seed(settings.seed))
        self.labels = (torch.arange(settings.batch_size) % 10).to(device)
        self.images = self.images.to(device)
        if backbone.channels_last:
            self.images = self.images.to(memory_format=torch.channels_last)
        if way == 'channels_last':
            to_channels_last(self.model)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(
            self.parameters, RATE, momentum=MOMENTUM, weight_decay=DECAY
        )
        self.run: nn.Module | Callable[[Tensor], Tensor] = self.model

    def train(self) -> None:
        """Forward, backward, clip, and a step of SGD."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.run(self.images), self.labels).backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()

    def eval(self) -> None:
        """The scores of the batch."""
        self.model.eval()
        with torch.no_grad():
            self.run(self.images)


def _build(settings: NetSettings) -> nn.Module:
    genotype = load_genotype(settings.genotype, settings.space)
    space = build_space(genotype.space if settings.space is None else settings.space)
    depth = declared_class(space, 'supernet').DEPTH
    asked = {'channels': settings.width, depth: settings.depth}
    if settings.drop_path:
        asked['drop_path'] = settings.drop_path
    taken = inspect.signature(declared_class(space, 'network')).parameters
    options = {'channels': '--width', depth: '--depth', 'drop_path': '--drop-path'}
    for name, value in asked.items():
        if value is not None and name not in taken:
            raise UserError(f"{options[name]}: networks of '{space.name}' take no '{name}'")
    sizes = {name: value for name, value in asked.items() if value is not None}
    return build_net(genotype, 10, space=space, **sizes)


def measure(settings: NetSettings) -> dict[str, dict[str, float]]:
    """Median seconds of each mode and way, which take turns within this process."""
    clock = time.process_time if settings.processor_time else now
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    nets: dict[str, Net] = {}
    state: dict[str, Tensor] | None = None
    for way in settings.ways:
        nets[way] = Net(settings, way, state)
        state = state or {key: one.clone() for key, one in nets[way].model.state_dict().items()}
    return {mode: _take_turns(settings, nets, mode, clock) for mode in MODES}


def _take_turns(
    settings: NetSettings, nets: Mapping[str, Net], mode: str, clock: Callable[[], float]
) -> dict[str, float]:
    seconds: dict[str, list[float]] = {way: [] for way in nets}
    for step in range(settings.warmup + settings.steps):
        for way, net in nets.items():
            torch.manual_seed(settings.seed + step)  # they drop the same paths
            begin = clock()
            getattr(net, mode)()
            seconds[way].append(clock() - begin)
    return {way: statistics.median(taken[settings.warmup :]) for way, taken in seconds.items()}


def measure_compiled(settings: NetSettings) -> dict[str, float]:
    """Median seconds of each mode under ``torch.compile``, compiled before the first that counts.

    The network's layers run as they are, in channels_last.
    """
    clock = time.process_time if settings.processor_time else now
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    net = Net(settings, 'channels_last')
    net.run = torch.compile(net.model)
    settings = replace(settings, warmup=settings.warmup + 1)
    return {
        mode: _take_turns(settings, dict(compiled=net), mode, clock)['compiled'] for mode in MODES
    }


def compiled_apart(
    settings: NetSettings, limit: float, command: Sequence[str]
) -> tuple[dict[str, float] | None, str]:
    """:func:`measure_compiled` in a process of its own, which is ended after a time.

    Args:
        settings (NetSettings): The settings.
        limit (float): Seconds that it may take.
        command (Sequence[str]): Starts the tool, which prints what :func:`measure_compiled` gives
            as JSON with ``--child`` and the settings as options.

    Returns:
        tuple[dict | None, str]: What it gave; or None, and why.

    Raises:
        UserError: The limit is not above 0, or more than 10^6.
    """
    check_limit('--compile', limit)
    out, why = run_apart([*command, '--child', *settings.options()], limit)
    return (None, why) if why else (json.loads(out.splitlines()[-1]), '')


def summarise(
    settings: NetSettings,
    seconds: Mapping[str, Mapping[str, float]],
    compiled: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The figures.

    Args:
        settings (NetSettings): The settings.
        seconds (dict): What :func:`measure` gave.
        compiled (dict, optional): What :func:`measure_compiled` gave.

    Returns:
        dict: ``<mode>_<way>_s`` and ``<mode>_<way>_ratio``, plain's seconds over the way's, None
        for what was not measured; the settings, and what it ran on.
    """
    result: dict[str, Any] = {}
    for mode in MODES:
        found = dict(seconds[mode])
        if compiled is not None:
            found['compiled'] = compiled[mode]
        for way in (*WAYS, 'compiled'):
            result[f'{mode}_{way}_s'] = found.get(way)
            result[f'{mode}_{way}_ratio'] = divide(found.get('plain'), found.get(way))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    threads = torch.get_num_threads() if settings.threads is None else settings.threads
    machine = dict(device=device, cpu=cpu_model(), torch=torch.__version__)
    return dict(result, **dict(vars(settings), threads=threads), **machine)


def print_table(result: Mapping[str, Any]) -> None:
    """The same for people, as Markdown."""
    size = result['image_size']
    drop = f', drop-path {result["drop_path"]:g}' if result['drop_path'] else ''
    print(
        f'{result["genotype"]}, batch {result["batch_size"]}, {size} x {size} pixels{drop}, '
        f'{plural(result["threads"], "thread")}; {result["cpu"]}, torch {result["torch"]}\n'
    )
    unit = 'core s' if result['processor_time'] else 's'
    print(f'| execution | training step, {unit} | x plain | evaluation, {unit} | x plain |')
    print('| --- | --- | --- | --- | --- |')
    for way in (*WAYS, 'compiled'):
        cells = []
        for mode in MODES:
            seconds, ratio = (result[f'{mode}_{way}_{end}'] for end in ('s', 'ratio'))
            cells += ['-' if seconds is None else f'{seconds:.4f}']
            cells += ['-' if ratio is None else f'{ratio:.2f}']
        if set(cells) != {'-'}:
            print(f'| {way} | {" | ".join(cells)} |')
