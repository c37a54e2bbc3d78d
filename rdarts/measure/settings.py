"""What a benchmark of a search step is asked for; nothing slow to load is imported here."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from rdarts.errors import UserError, nearest

if TYPE_CHECKING:
    from rdarts.search_spaces import SearchSpace

EXECUTIONS = ('plain', 'plain_channels_last', 'fused')
IMAGENET_FROM = 64  # pixels a side from which a network has the ImageNet stem
DEPTHS = dict(dense_cell=5, layerwise=4, cell=8)  # by form of genotype


def searched_spaces() -> dict[str, SearchSpace]:
    """The registered spaces that have a supernet, by their names in those of configs."""
    # slow to load
    from rdarts.registry import SEARCH_SPACES
    from rdarts.search_spaces import build_space

    found = {}
    for name in SEARCH_SPACES.module_dict:
        with contextlib.suppress(UserError):  # one that needs arguments
            space = build_space(name)
            if space.supernet is not None:
                found[space.config_name] = space
    return found


@dataclass(frozen=True)
class StepSettings:
    """A search step: its space, sizes, and how often it is taken.

    Args:
        space (str): A key of :func:`searched_spaces`. Defaults to ``'nb201'``.
        batch_size (int): Images. Defaults to 64.
        width (int): Channels C; of ``mobilenet_like``, of the first block. Defaults to 16.
        depth (int, optional): Cells a stage, cells, or layers a stage. Defaults to the space's.
        image_size (int): Pixels a side. Defaults to 32.
        order (int): 1, or 2 (unrolled). Defaults to 1.
        amp (bool): Whether bfloat16 is measured beside float32. Defaults to False.
        checkpoint (bool): Whether the backward pass computes each layer anew. Defaults to False.
        steps (int): Steps that count. Defaults to 20.
        warmup (int): Steps before them. Defaults to 3.
        threads (int, optional): Of PyTorch. Defaults to its own choice.
        seed (int): Of weights and images. Defaults to 0.
        executions (Sequence[str]): Some of ``EXECUTIONS``. Defaults to all.
    """

    space: str = 'nb201'
    batch_size: int = 64
    width: int = 16
    depth: int | None = None
    image_size: int = 32
    order: int = 1
    amp: bool = False
    checkpoint: bool = False
    steps: int = 20
    warmup: int = 3
    threads: int | None = None
    seed: int = 0
    executions: Sequence[str] = EXECUTIONS

    @property
    def form(self) -> str:
        """The form of what is found in the space: ``'cell'``, ``'dense_cell'``, ``'layerwise'``."""
        return searched_spaces()[self.space].genotype

    def prepare(self) -> StepSettings:
        """Complete the settings, and set the number of threads.

        Raises:
            UserError: One of them is out of range or not known.
        """
        import torch  # slow

        spaces = searched_spaces()
        if self.space not in spaces:
            raise UserError(f"--space: unknown space '{self.space}': {nearest(self.space, spaces)}")
        depth = DEPTHS.get(self.form, 1) if self.depth is None else self.depth
        threads = torch.get_num_threads() if self.threads is None else self.threads
        found = replace(self, depth=depth, threads=threads)
        for name in ('batch_size', 'width', 'depth', 'image_size', 'steps', 'threads'):
            if getattr(found, name) < 1:
                option = name.replace('_', '-')
                raise UserError(f'--{option} must be 1 or more, but is {getattr(found, name)}')
        if self.warmup < 0:
            raise UserError(f'--warmup must be 0 or more, but is {self.warmup}')
        if self.checkpoint and self.form != 'layerwise':
            raise UserError(f'--checkpoint is for --space mobilenet_like, not {self.space}')
        if self.order not in (1, 2):
            raise UserError(f'--order must be 1 or 2, but is {self.order}')
        for name in self.executions:
            if name not in EXECUTIONS:
                raise UserError(
                    f"--executions: unknown execution '{name}': {nearest(name, EXECUTIONS)}"
                )
        torch.set_num_threads(threads)
        return replace(found, executions=[e for e in EXECUTIONS if e in self.executions])

    def options(self, *left_out: str) -> list[str]:
        """The settings as options of a tool, for a process that measures apart.

        Args:
            *left_out (str): Names of those that it is not told.
        """
        found: list[str] = []
        for field in fields(self):
            value, option = getattr(self, field.name), f'--{field.name.replace("_", "-")}'
            if field.name in left_out or value is None or value is False:
                continue
            values = [] if value is True else value if field.name == 'executions' else [value]
            found += [option, *map(str, values)]
        return found
