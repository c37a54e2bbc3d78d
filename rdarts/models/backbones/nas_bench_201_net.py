"""The network that a NAS-Bench-201 cell derives (https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import Among, Count, Index, Positive
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, Genotype, GenotypeSpec, load_genotype
from rdarts.models.backbones.base_supernet import EXECUTIONS, check_sizes
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.models.backbones.fused_cells import Edge, FusedEdges, Nodes
from rdarts.models.backbones.nas_bench_201_supernet import STAGES, ResidualReduction
from rdarts.models.backbones.stems import cifar_stem, imagenet_stem
from rdarts.models.backbones.twins import Twins
from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.layers import PlainLayers
from rdarts.models.operations import build_operation
from rdarts.registry import MODELS
from rdarts.search_spaces import SearchSpace, SpaceSpec, build_space

QUICKER_FROM = 2**15
"""Pixels of a batch in the first stage from which an evaluation without gradients is quicker in
fused execution, where cells have a 3x3 convolution."""


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
        self.names, self.operation_args = tuple(operations), space.operation_args
        self.channels = channels
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


class FusedCell:
    """A cell in fused execution.

    Args:
        cell (DerivedCell): The cell, whose layers it runs.

    Raises:
        Declined: It has layers that do not run so.
    """

    def __init__(self, cell: DerivedCell) -> None:
        self.cell, self.twins = cell, Twins()
        edges = [
            Edge(edge.source, edge.target, name, cell.edges[f'{edge.source}_{edge.target}'])
            for edge, name in zip(cell.topology.edges, cell.names, strict=True)
            if f'{edge.source}_{edge.target}' in cell.edges
        ]
        sizes = (1, cell.topology.num_nodes, cell.channels, 1)
        self.run = FusedEdges(edges, *sizes, cell.operation_args, self.twins)

    def __call__(self, x: Tensor) -> Tensor:
        """As the cell's forward."""
        training = self.twins.mode()
        if training is None:
            return self.cell(x)
        with self.twins.standing_in(training):
            out = self.run(Nodes.of(x).images)[-1]
        return Nodes([out], self.cell.channels).whole()


@MODELS.register_module()
class NASBench201Net(DerivedNet):
    """Stem, three stages of the derived cell with a residual reduction between them.

    Outputs 0, 1 and 2 are those of the stages: strides 1, 2 and 4 with C, 2C and 4C channels for
    C = ``channels``; 4, 8 and 16 with ``stem='imagenet'``. An output of stride s has ceil(H / s) x
    ceil(W / s) pixels.

    Args:
        genotype (str | PathLike | dict | Genotype): A JSON file, the work directory of a search,
            JSON data, or the official string ``|nor_conv_3x3~0|+...``.
        space (str | dict | SearchSpace): Its space. Defaults to ``'nas_bench_201'``.
        in_channels (int): Channels of the image. Defaults to 3.
        channels (int): Channels C of the first stage, doubled at each reduction. Defaults to 16.
        cells_per_stage (int): N. Defaults to 5.
        stem (str): ``'cifar'`` (one convolution), or ``'imagenet'``, which puts two of stride 2
            before the stages. Defaults to ``'cifar'``.
        out_indices (Sequence[int], optional): Outputs to return. Defaults to the last one.
        frozen_stages (int): The stem (0) and the stages up to this one do not learn; -1 freezes
            nothing. Defaults to -1.
        norm_eval (bool): Whether batch norms stay in evaluation mode. Defaults to False.
        execution (str): See :class:`DerivedNet`. Defaults to ``'plain'``.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Raises:
        UserError: The genotype cannot be read or does not fit its space, the space has another
            form, or an argument is out of its range.
    """

    def __init__(
        self,
        genotype: GenotypeSpec,
        space: SpaceSpec = 'nas_bench_201',
        in_channels: Positive = 3,
        channels: Positive = 16,
        cells_per_stage: Positive = 5,
        stem: Literal['cifar', 'imagenet'] = 'cifar',
        out_indices: Sequence[Count] | None = None,
        frozen_stages: Index = -1,
        norm_eval: bool = False,
        execution: Annotated[str, Among(EXECUTIONS)] = 'plain',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(execution, init_cfg)
        check_sizes(in_channels=in_channels, channels=channels, cells_per_stage=cells_per_stage)
        if stem not in ('cifar', 'imagenet'):
            raise UserError(f"stem must be 'cifar' or 'imagenet', but is {stem!r}")
        space = build_space(space)
        self.genotype = load_genotype(genotype, space)
        self.stem_type, self.channels, self.cells_per_stage = stem, channels, cells_per_stage
        self.stem = (cifar_stem if stem == 'cifar' else imagenet_stem)(in_channels, channels)
        self.stages = nn.ModuleList()
        operations = edge_operations(self.genotype, space)
        for stage in range(STAGES):
            width = channels * 2**stage
            cells = [DerivedCell(space, operations, width) for _ in range(cells_per_stage)]
            if stage:
                cells.insert(0, ResidualReduction(width // 2, width))
            self.stages.append(nn.Sequential(*cells))
        widths = [channels * 2**stage for stage in range(STAGES)]
        self.lastact = nn.Sequential(BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        self._set_outputs(
            [(4 if stem == 'imagenet' else 1) * 2**stage for stage in range(STAGES)],
            widths,
            [*(f'stages.{i}.{len(self.stages[i]) - 1}' for i in range(STAGES - 1)), 'lastact'],
            [[self.stem], *([stage] for stage in self.stages)],
            out_indices,
            frozen_stages,
            norm_eval,
        )

    def _make_fused(self) -> dict[nn.Module, FusedCell]:
        cells = [cell for stage in self.stages for cell in stage]
        return {cell: FusedCell(cell) for cell in cells if type(cell) is DerivedCell}

    def _evaluates_quicker(self, x: Tensor) -> bool:
        pixels = x.shape[0] * x.shape[2] * x.shape[3] / self.strides[0] ** 2
        convolves = 'nor_conv_3x3' in self.genotype.operations()
        return convolves and pixels >= QUICKER_FROM and not torch.is_grad_enabled()

    def feature_layers(self) -> list[nn.Module]:
        """See :meth:`DerivedNet.feature_layers`; a reduction is a cell."""
        return [self.stem, *(cell for stage in self.stages for cell in stage)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W].

        Returns:
            tuple[Tensor, ...]: The outputs of ``out_indices``.

        Raises:
            UserError: The images are smaller than the stride.
        """
        x = self._take_image(x)
        fused = self._fused(x) or {}
        outputs = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            for cell in stage:
                x = fused.get(cell, cell)(x)
            if index == STAGES - 1:
                x = self.lastact(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
