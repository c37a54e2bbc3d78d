"""What every candidate of every edge of a search costs, for ``ExpectedCost``.

Each candidate runs alone, at the shape that its edge sees, in evaluation mode and in the memory
format of a derived network; the cells of a type are added up.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from rdarts.errors import UserError
from rdarts.models.backbones.base_supernet import BaseSupernet
from rdarts.models.backbones.candidate_costs import UNIT, Site, count_macs, find_sites, sum_costs
from rdarts.registry import MODELS
from rdarts.search_spaces import SearchSpace
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
    """Measure every candidate of every edge, and add up the cells of a type.

    Args:
        cfg (Config): Of a search.
        name (str): What the config is called in an error.
        settings (CostSettings): What is measured.

    Raises:
        UserError: The config is not of a search, or the shape does not fit.
    """
    supernet = build_supernet(cfg, name)
    channels = (cfg.model.backbone or {}).get('in_channels', 3)
    shape = list(settings.shape or (channels, *image_size(cfg)))
    if shape[0] != channels:
        raise UserError(
            f'--shape has {plural(shape[0], "channel")}, but the network reads {channels}'
        )
    sites = find_sites(supernet, shape)
    measured = count_macs if settings.what == 'macs' else partial(latency, settings=settings)
    data: dict[str, Any] = dict(
        space=supernet.space.name,
        unit=UNIT if settings.what == 'macs' else 'ms',
        **supernet.conditions(),
        shape=shape,
        costs=sum_costs(supernet.space, sites, measured),
    )
    if settings.what == 'latency':
        kind = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
        data.update(batch_size=settings.batch_size, device=kind, threads=torch.get_num_threads())
    return CostTable(data, supernet.space, sites)


@dataclass(frozen=True)
class CostTable:
    """Costs, as ``ExpectedCost`` reads them.

    Args:
        data (dict): What the file holds: see docs/en/configs.md.
        space (SearchSpace): Whose candidates they are of.
        sites (Sequence[Site]): The edges of all cells.
    """

    data: dict[str, Any]
    space: SearchSpace
    sites: Sequence[Site]

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
        """One row an edge, one column a candidate; of several cells of a type the first input."""
        names = self.space.candidates
        titles = '  '.join(f'{name:>12}' for name in names)
        print(f'{"cell":<10} {"edge":<9} {"input":<14}{titles}')
        for cell, topology in self.space.cells.items():
            for place, edge in enumerate(topology.edges):
                entry = self.data['costs'][cell][place]
                cells = '  '.join(
                    f'{entry[name]:12.3f}' if name in entry else f'{"-":>12}' for name in names
                )
                sites = (site for site in self.sites if (site.cell, site.edge) == (cell, place))
                reads = ' x '.join(map(str, next(sites).reads))
                print(f'{cell:<10} {f"{edge.source} -> {edge.target}":<9} {reads:<14}{cells}')


def build_supernet(cfg: Config, name: str) -> BaseSupernet:
    """The supernet of a config.

    Raises:
        UserError: The config has none.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    kind = backbone.get('type')
    built = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(built, type) and issubclass(built, BaseSupernet)):
        raise UserError(
            f'{name}: a cost table is made of a supernet, as '
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


def latency(module: nn.Module, site: Site, settings: CostSettings) -> float:
    """Milliseconds of a module, the median of some runs, in the memory format of a network."""
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    images = torch.randn(settings.batch_size, *site.reads, device=device)
    if device.type == 'cpu':  # as a derived network
        images = images.contiguous(memory_format=torch.channels_last)
    module.to(device)
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
