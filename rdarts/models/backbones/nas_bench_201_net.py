"""The network that a NAS-Bench-201 cell derives (https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, Genotype, load_genotype
from rdarts.models.backbones.base_supernet import check_sizes
from rdarts.models.backbones.nas_bench_201_supernet import STAGES, ResidualReduction
from rdarts.models.operations import PlainLayers, build_operation
from rdarts.registry import MODELS
from rdarts.search_spaces import SearchSpace, build_space


def edge_operations(genotype: Genotype, space: SearchSpace) -> list[str]:
    """The operation of each edge of the space's one cell; ``none`` where it is not kept.

    Raises:
        UserError: The space has more than one cell type or a cell of another form.
    """
    cells = list(space.cells.values())
    if len(cells) != 1 or cells[0].num_inputs != 1 or cells[0].output != 'last':
        raise UserError(
            f"space '{space.name}' does not fit NASBench201Net: it needs one cell type of one "
            'input whose output is its last node'
        )
    if not isinstance(genotype, CellGenotype):
        return genotype.operations()
    (nodes,) = genotype.nodes.values()
    kept = {(source, node): op for node, edges in enumerate(nodes, 1) for op, source in edges}
    return [kept.get((edge.source, edge.target), 'none') for edge in cells[0].edges]


class DerivedCell(nn.Module):
    """A cell in which every edge has one operation.

    Args:
        space (SearchSpace): A space of one cell type with one input.
        operations (Sequence[str]): The operation of each edge.
        channels (int): Channels of every node.
    """

    def __init__(self, space: SearchSpace, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        ((_, self.topology),) = space.cells.items()
        self.edges = nn.ModuleDict()
        for edge, name in zip(self.topology.edges, operations, strict=True):
            if name == 'none':
                continue
            self.edges[f'{edge.source}_{edge.target}'] = build_operation(
                name, PlainLayers(), channels, channels, **space.operation_args.get(name, {})
            )

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node in range(1, self.topology.num_nodes):
            total = None
            for source in range(node):
                if f'{source}_{node}' in self.edges:
                    term = self.edges[f'{source}_{node}'](nodes[source])
                    total = term if total is None else total + term
            nodes.append(x.new_zeros(x.shape) if total is None else total)
        return nodes[-1]


@MODELS.register_module()
class NASBench201Net(BaseModule):
    """Stem, three stages of the derived cell with a residual reduction between them.

    Args:
        genotype (str | PathLike | dict | Genotype): A JSON file, JSON data, or the official
            string ``|nor_conv_3x3~0|+...``.
        space (str | dict | SearchSpace): Its space. Defaults to ``'nas_bench_201'``.
        in_channels (int): Channels of the image. Defaults to 3.
        channels (int): Channels C of the first stage, doubled at each reduction. Defaults to 16.
        cells_per_stage (int): N. Defaults to 5.
        out_indices (Sequence[int]): Stages whose output is returned: 0, 1, 2 at strides 1, 2, 4.
            Defaults to ``(2,)``.
        frozen_stages (int): The stem (0) and the stages up to this one do not learn; -1 freezes
            nothing. Defaults to -1.
        norm_eval (bool): Whether batch norms stay in evaluation mode. Defaults to False.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Raises:
        UserError: The genotype cannot be read or does not fit its space, or the space has another
            form.
    """

    def __init__(
        self,
        genotype: str | os.PathLike | Mapping[str, Any] | Genotype,
        space: str | Mapping[str, Any] | SearchSpace = 'nas_bench_201',
        in_channels: int = 3,
        channels: int = 16,
        cells_per_stage: int = 5,
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_sizes(in_channels=in_channels, channels=channels, cells_per_stage=cells_per_stage)
        if not out_indices or not set(out_indices) <= set(range(STAGES)):
            raise UserError(f'out_indices must be among 0, 1, 2, but are {tuple(out_indices)}')
        if frozen_stages not in range(-1, STAGES + 1):
            raise UserError(f'frozen_stages must be from -1 to {STAGES}, but is {frozen_stages}')
        space = build_space(space)
        self.genotype = load_genotype(genotype, space)
        self.out_indices = tuple(out_indices)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.out_channels = channels * 2 ** (STAGES - 1)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.stages = nn.ModuleList()
        operations = edge_operations(self.genotype, space)
        for stage in range(STAGES):
            width = channels * 2**stage
            cells = [DerivedCell(space, operations, width) for _ in range(cells_per_stage)]
            if stage:
                cells.insert(0, ResidualReduction(width // 2, width))
            self.stages.append(nn.Sequential(*cells))
        self.lastact = nn.Sequential(nn.BatchNorm2d(self.out_channels), nn.ReLU(inplace=True))
        self._freeze()

    def _freeze(self) -> None:
        frozen = [self.stem, *self.stages][: self.frozen_stages + 1]
        for module in frozen:
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> NASBench201Net:
        """Switch the mode; frozen stages and, with ``norm_eval``, batch norms stay as they are."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W], of any size.

        Returns:
            tuple[Tensor, ...]: For each index i of ``out_indices``
            [N, C 2**i, ceil(H / 2**i), ceil(W / 2**i)].
        """
        outputs = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index == STAGES - 1:
                x = self.lastact(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
