"""Spaces that are searched, and sizes of their networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SMALL = 64  # pixels a side from which on networks begin with two strides of 2


@dataclass(frozen=True)
class AutoSpace:
    """A space, and how it is searched and trained here.

    Args:
        name (str): The space's.
        supernet (str): The base in ``configs/_base_/models`` of its search.
        network (str): That of the networks that it derives.
        schedule (str): The base in ``configs/_base_/schedules`` of its search.
        lambda_ (float): Of BER.
        searched (dict): Sizes of the supernet.
        sizes (tuple[dict, ...]): Sizes of derived networks, the smallest first.
        discretizer (dict, optional): The rule from alpha to the cell. Defaults to the space's.
    """

    name: str
    supernet: str
    network: str
    schedule: str
    lambda_: float
    searched: Mapping[str, Any]
    sizes: tuple[Mapping[str, Any], ...]
    discretizer: Mapping[str, Any] | None = None


def _of(key: str, *pairs: tuple[int, int]) -> tuple[dict[str, int], ...]:
    return tuple({'channels': channels, key: count} for channels, count in pairs)


NAS_BENCH_201 = AutoSpace(
    name='nas_bench_201',
    supernet='nas_bench_201_supernet',
    network='nas_bench_201_net',
    schedule='search_nb201',
    lambda_=0.75,
    searched=dict(channels=16, cells_per_stage=1),
    sizes=_of(
        'cells_per_stage',
        *((8, 1), (16, 1), (16, 2), (24, 2), (32, 2), (32, 3), (48, 3), (64, 3), (64, 5), (96, 5)),
    ),
    # where `none` may be derived, it often cuts the cell in two: docs/notes/ber_small_search.md
    discretizer=dict(type='rdarts.Argmax', allow_none=False),
)
DARTS = AutoSpace(
    name='darts',
    supernet='darts_supernet',
    network='darts_net_cifar',
    schedule='search_d0',
    lambda_=1.0,
    searched=dict(channels=16, num_cells=8),
    sizes=_of(
        'num_cells',
        *((8, 5), (16, 5), (16, 8), (24, 8), (24, 11), (32, 11), (36, 14), (48, 14), (48, 20)),
    ),
)
SPACES = {space.name: space for space in (NAS_BENCH_201, DARTS)}


def stem_of(image_size: int) -> str:
    """``'imagenet'`` for images of :data:`SMALL` pixels and more, ``'cifar'`` for smaller ones."""
    return 'imagenet' if image_size >= SMALL else 'cifar'
