"""What every candidate of every layer of a layerwise search costs, for ``ExpectedCost``.

Each candidate runs alone, at the shape that its layer sees, in evaluation mode and in the memory
format of a derived network.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from rdarts.apis.dry_run import count_macs
from rdarts.errors import UserError
from rdarts.models import MobileNetLikeSupernet
from rdarts.models.layers import PlainLayers
from rdarts.models.operations import build_operation
from rdarts.registry import MODELS
from rdarts.utils.files import write_atomically
from rdarts.utils.wording import plural

WARMUP = 3


@dataclass(frozen=True)
class CostSettings:
    """What is measured of every candidate.

    Args:
        what (str): ``'latency'``, ms on this machine; or ``'macs'``, millions of multiply-adds.
            Defaults to ``'latency'``.
        shape (Sequence[int], optional): C, H and W of an image. Defaults to what the config's train
            pipeline gives.
        batch_size (int): Of the latency. Defaults to 1.
        repeats (int): Of the latency. Defaults to 20.

    Raises:
        UserError: Something is out of range.
    """

    what: str = 'latency'
    shape: Sequence[int] | None = None
    batch_size: int = 1
    repeats: int = 20

    def __post_init__(self) -> None:
        if min(*(self.shape or ()), self.batch_size, self.repeats) < 1:
            raise UserError('--shape, --batch-size and --repeats must be 1 or more')


def cost_table(cfg: Config, name: str, settings: CostSettings) -> CostTable:
    """Measure every candidate of every layer.

    Args:
        cfg (Config): Of a layerwise search.
        name (str): What the config is called in an error.
        settings (CostSettings): What is measured.

    Raises:
        UserError: The config searches no layers, or the shape does not fit.
    """
    supernet = build_supernet(cfg, name)
    channels = supernet.stem[0][0].in_channels
    shape = list(settings.shape or (channels, *image_size(cfg)))
    if shape[0] != channels:
        raise UserError(
            f'--shape has {plural(shape[0], "channel")}, but the network reads {channels}'
        )
    layers = layer_shapes(supernet, shape)
    costs = layer_costs(supernet, layers, settings)
    data: dict[str, Any] = dict(
        space=supernet.space.name,
        unit='ms' if settings.what == 'latency' else 'millions of multiply-adds',
        stem=supernet.stem_type,
        first_channels=layers[0][0][0],
        shape=shape,
        costs=dict(layerwise=costs),
    )
    if settings.what == 'latency':
        kind = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
        data.update(batch_size=settings.batch_size, device=kind, threads=torch.get_num_threads())
    return CostTable(data, supernet.space.candidates, layers)


@dataclass(frozen=True)
class CostTable:
    """Costs, as ``ExpectedCost`` reads them.

    Args:
        data (dict): What the file holds: see docs/en/configs.md.
        candidates (Sequence[str]): Columns.
        layers (Sequence): Rows: what every layer reads, (C, H, W), and the channels that it gives.
    """

    data: dict[str, Any]
    candidates: Sequence[str]
    layers: Sequence[tuple[tuple[int, ...], int]]

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            UserError: It cannot be written.
        """
        try:
            write_atomically(path, (json.dumps(self.data, indent=1) + '\n').encode())
        except OSError as error:
            raise UserError(f'{path} cannot be written: {error.strerror}') from None

    def print(self) -> None:
        """One row a layer, one column a candidate."""
        print_table(self.candidates, self.layers, self.data['costs']['layerwise'])


def build_supernet(cfg: Config, name: str) -> MobileNetLikeSupernet:
    """The supernet of a config.

    Raises:
        UserError: The config searches no layers.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    kind = backbone.get('type')
    built = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(built, type) and issubclass(built, MobileNetLikeSupernet)):
        raise UserError(
            f'{name}: a cost table is made of a MobileNetLikeSupernet, as '
            f'configs/search/rdarts_mobilenet_like_imagenet.py has it, but the backbone is {kind}'
        )
    torch.manual_seed(0)
    return MODELS.build(backbone).eval()


def image_size(cfg: Config) -> tuple[int, int]:
    """Height and width that the last crop of a config's train pipeline gives.

    Raises:
        UserError: There is none.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    for step in reversed(dataset.get('pipeline') or ()):
        size = step.get('crop_size', step.get('scale'))
        if isinstance(size, int):
            return size, size
    raise UserError("the config's train pipeline gives no size of an image: give --shape C H W")


def layer_shapes(
    supernet: MobileNetLikeSupernet, shape: Sequence[int]
) -> list[tuple[tuple[int, ...], int]]:
    """What every layer reads, (C, H, W), and the channels of what it gives."""
    found: list[tuple[tuple[int, ...], int]] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append((tuple(inputs[0].shape[1:]), output.shape[1]))

    handles = [layer.register_forward_hook(note) for layer in supernet.layers]
    with torch.no_grad():
        supernet(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return found


def layer_costs(
    supernet: MobileNetLikeSupernet,
    layers: Sequence[tuple[tuple[int, ...], int]],
    settings: CostSettings,
) -> list[dict[str, float]]:
    """The cost of each candidate of each layer; candidates are built anew, as a network has them.

    Layers that are alike are measured once.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    known: dict[tuple, float] = {}
    costs = []
    for layer, (in_shape, channels) in zip(supernet.layers, layers, strict=True):
        entry = {}
        for name in layer.candidates[0]:
            key = (name, in_shape, channels, layer.stride)
            if key not in known:
                module = build_operation(name, PlainLayers(), in_shape[0], channels, layer.stride)
                images = torch.randn(settings.batch_size, *in_shape, device=device)
                if device.type == 'cpu':  # as a derived network
                    images = images.contiguous(memory_format=torch.channels_last)
                known[key] = measure(module.eval().to(device), images, settings)
            entry[name] = known[key]
        costs.append(entry)
    return costs


def measure(module: nn.Module, images: Tensor, settings: CostSettings) -> float:
    """Milliseconds, the median, or millions of multiply-adds of one image."""
    if settings.what == 'macs':
        return count_macs(module, images[0]) / 1e6
    times = []
    with torch.no_grad():
        for step in range(settings.repeats + WARMUP):
            begin = time.perf_counter()
            module(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            if step >= WARMUP:
                times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


def print_table(
    candidates: Sequence[str],
    layers: Sequence[tuple[tuple[int, ...], int]],
    costs: Sequence[dict[str, float]],
) -> None:
    """One row a layer, one column a candidate."""
    print(f'{"layer":>5}  {"input":<14}' + '  '.join(f'{name:>12}' for name in candidates))
    for number, (entry, (in_shape, _)) in enumerate(zip(costs, layers, strict=True)):
        cells = [f'{entry[name]:12.3f}' if name in entry else f'{"-":>12}' for name in candidates]
        print(f'{number:>5}  {" x ".join(map(str, in_shape)):<14}' + '  '.join(cells))
