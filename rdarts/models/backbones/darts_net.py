"""The network that cells of the DARTS space derive (https://arxiv.org/abs/1806.09055)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import Among, BelowOne, Count, Index, Positive
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, GenotypeSpec, load_genotype
from rdarts.models.backbones.base_supernet import EXECUTIONS, check_sizes
from rdarts.models.backbones.darts_supernet import STEM_MULTIPLIER
from rdarts.models.backbones.derived_net import DerivedNet, drop_path, path_factors
from rdarts.models.backbones.folded_cells import FoldedCell
from rdarts.models.backbones.fused_cells import (
    Edge,
    FusedEdges,
    FusedPreprocess,
    FusedStem,
    Nodes,
)
from rdarts.models.backbones.stems import cifar_stem, imagenet_stem, second_imagenet_stem
from rdarts.models.backbones.twins import Declined, Twins
from rdarts.models.layers import FactorizedReduce, Parameterless, PlainLayers
from rdarts.models.operations import build_operation, identity, relu_conv_bn, zero
from rdarts.registry import MODELS
from rdarts.search_spaces import SpaceSpec, build_space, has_normal_and_reduce

SIZES = {'cifar': (36, 20), 'imagenet': (48, 14)}
"""Published channels and cells of each stem."""
POOLS = ('max_pool_3x3', 'avg_pool_3x3')  # here without the batch norm of the supernet


class DARTSCell(nn.Module):
    """Kept edges of one cell.

    Args:
        genotype (CellGenotype): The genotype.
        kind (str): ``'normal'`` or ``'reduce'``.
        in_channels (Sequence[int]): Channels of both inputs.
        channels (int): Channels of every node.
        reduce_before (bool): Whether the cell before is a reduction, so that the first input has
            twice the resolution of the second.
        operation_args (dict[str, dict]): Further arguments of operations in this space.
    """

    def __init__(
        self,
        genotype: CellGenotype,
        kind: str,
        in_channels: Sequence[int],
        channels: int,
        reduce_before: bool,
        operation_args: Mapping[str, Mapping],
    ) -> None:
        super().__init__()
        make = PlainLayers()
        first = FactorizedReduce if reduce_before else relu_conv_bn
        self.preprocess0 = first(make, in_channels[0], channels)
        self.preprocess1 = relu_conv_bn(make, in_channels[1], channels)
        self.concat, self.stride = genotype.concat[kind], 2 if kind == 'reduce' else 1
        self.sources = [[source for _, source in edges] for edges in genotype.nodes[kind]]
        first = max(self.concat) + 1 - len(self.sources)
        if not any(self.sources[node - first] for node in self.concat):
            raise UserError(
                f"the genotype's cell '{kind}' has no edge that leads to a node of its output: it "
                'derives no network (was the threshold reached?)'
            )
        self.names = [[name for name, _ in edges] for edges in genotype.nodes[kind]]
        self.in_channels, self.channels = tuple(in_channels), channels
        self.operation_args = {name: dict(args) for name, args in operation_args.items()}
        for name in POOLS:
            self.operation_args.setdefault(name, {})['norm'] = False
        self.nodes = nn.ModuleList()
        for edges in genotype.nodes[kind]:
            operations = nn.ModuleList()
            for name, source in edges:
                stride = 2 if kind == 'reduce' and source < 2 else 1
                kwargs = self.operation_args.get(name, {})
                operations.append(build_operation(name, make, channels, channels, stride, **kwargs))
            self.nodes.append(operations)

    def forward(self, first: Tensor, second: Tensor, drop: float) -> Tensor:
        """[N, len(concat) * channels, H, W]; ``drop`` is the probability of drop-path."""
        states = [self.preprocess0(first), self.preprocess1(second)]
        for operations, sources in zip(self.nodes, self.sources, strict=True):
            total = None
            for operation, source in zip(operations, sources, strict=True):
                term = operation(states[source])
                if self.training and drop > 0 and not _is_identity(operation):
                    term = drop_path(term, drop)
                total = term if total is None else total + term
            states.append(self._nothing(states[0]) if total is None else total)
        return torch.cat([states[node] for node in self.concat], dim=1)

    def _nothing(self, x: Tensor) -> Tensor:
        """A node that no edge leads to."""
        return zero(x, x.shape[1], self.stride)


class FusedCell:
    """A cell in fused execution, of nodes that are not concatenated.

    Args:
        cell (DARTSCell): The cell, whose layers it runs.
        counts (Sequence[int]): The number of nodes that each of its inputs concatenates.

    Raises:
        Declined: It has layers that do not run so.
    """

    def __init__(self, cell: DARTSCell, counts: Sequence[int]) -> None:
        if type(cell) is not DARTSCell:
            raise Declined(f'{type(cell).__name__} is no DARTSCell')
        self.cell, self.twins = cell, Twins()
        layers = (cell.preprocess0, cell.preprocess1)
        self.preprocess = [
            FusedPreprocess(one, count, self.twins)
            for one, count in zip(layers, counts, strict=True)
        ]
        self.edges = [
            Edge(source, node, name, operation)
            for node, edges in enumerate(zip(cell.sources, cell.names, cell.nodes, strict=True), 2)
            for source, name, operation in zip(*edges, strict=True)
        ]
        sizes = (2, 2 + len(cell.nodes), cell.channels, cell.stride)
        self.run = FusedEdges(self.edges, *sizes, cell.operation_args, self.twins)
        self.folded = FoldedCell(self.preprocess, self.run, cell.channels)

    def __call__(self, first: Nodes, second: Nodes, drop: float) -> Nodes:
        """As the cell's forward."""
        cell, training = self.cell, self.twins.mode()
        if training is None:
            return Nodes.of(cell(first.whole(), second.whole(), drop), len(cell.concat))
        plain_pass = not (cell.training or training or torch.is_grad_enabled())
        if plain_pass and self.folded.takes((first, second)):
            states = self.folded((first, second))
            return Nodes([states[node] for node in cell.concat], cell.channels)
        with self.twins.standing_in(training):
            inputs = zip(self.preprocess, (first, second), strict=True)
            states = [preprocess(nodes) for preprocess, nodes in inputs]
            factors = {}
            if cell.training and drop > 0:
                factors = {
                    edge: path_factors(states[0], drop)
                    for edge in self.edges
                    if not _is_identity(edge.operation)
                }
            states += self.run(states, factors)
        return Nodes([states[node] for node in cell.concat], cell.channels)


def _is_identity(operation: nn.Module) -> bool:
    return isinstance(operation, Parameterless) and operation.function is identity


@MODELS.register_module()
class DARTSNet(DerivedNet):
    """Cells of two inputs in a row; those at one and two thirds of the depth reduce.

    Outputs, by index, for C = ``channels`` and genotypes that concatenate four nodes:

    - ``stem='imagenet'``: 0 the first stem (stride 4, C); 1 and 2 the last cell before each
      reduction (8, 4C; 16, 8C); 3 the last cell (32, 16C);
    - ``stem='cifar'``: 0 and 1 the last cell before each reduction (1, 4C; 2, 8C); 2 the last
      cell (4, 16C).

    An output of stride s has ceil(H / s) x ceil(W / s) pixels.

    Args:
        genotype (str | PathLike | dict | Genotype): The name of a published one
            (``'DARTS_V2'``), a JSON file, the work directory of a search, JSON data, or the
            official string ``Genotype(normal=[...], ...)``.
        space (str | dict | SearchSpace, optional): Its space. Defaults to the one that it names.
        in_channels (int): Channels of the image. Defaults to 3.
        channels (int, optional): Channels C of the first cells' nodes, doubled at each reduction.
            Defaults to 36, or 48 with the ImageNet stem.
        num_cells (int, optional): Number of cells. Defaults to 20, or 14 with the ImageNet stem.
        stem (str): ``'cifar'`` (one convolution) or ``'imagenet'`` (three of stride 2).
            Defaults to ``'cifar'``.
        auxiliary (bool): Whether training returns the output of the cell at two thirds of the
            depth first, for an auxiliary head. Defaults to False.
        drop_path (float): Probability of drop-path in training, which
            :class:`~rdarts.hooks.DropPathHook` can ramp. Defaults to 0.
        out_indices (Sequence[int], optional): Outputs to return. Defaults to the last one.
        frozen_stages (int): The stem (0) and the cells of the stages up to this one (a reduction
            begins a stage) do not learn; -1 freezes nothing. Defaults to -1.
        norm_eval (bool): Whether batch norms stay in evaluation mode. Defaults to False.
        execution (str): See :class:`DerivedNet`. Defaults to ``'plain'``.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Raises:
        UserError: The genotype cannot be read, or is none of two cell types ``normal`` and
            ``reduce``; an argument is out of its range.
    """

    def __init__(
        self,
        genotype: GenotypeSpec,
        space: SpaceSpec | None = None,
        in_channels: Positive = 3,
        channels: Positive | None = None,
        num_cells: Positive | None = None,
        stem: Literal['cifar', 'imagenet'] = 'cifar',
        auxiliary: bool = False,
        drop_path: BelowOne = 0.0,
        out_indices: Sequence[Count] | None = None,
        frozen_stages: Index = -1,
        norm_eval: bool = False,
        execution: Annotated[str, Among(EXECUTIONS)] = 'plain',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(execution, init_cfg)
        if stem not in SIZES:
            raise UserError(f"stem must be 'cifar' or 'imagenet', but is {stem!r}")
        channels = SIZES[stem][0] if channels is None else channels
        num_cells = SIZES[stem][1] if num_cells is None else num_cells
        check_sizes(in_channels=in_channels, channels=channels, num_cells=num_cells)
        if not 0 <= drop_path < 1:
            raise UserError(f'drop_path must be from 0 to below 1, but is {drop_path!r}')
        self.genotype = load_genotype(genotype, space)
        space = build_space(self.genotype.space if space is None else space)
        cells = self.genotype.operations_by_cell()
        if not isinstance(self.genotype, CellGenotype) or not has_normal_and_reduce(cells):
            raise UserError(
                f"DARTSNet needs a genotype of the cell types 'normal' and 'reduce', but this is "
                f"of the space '{self.genotype.space}'"
            )
        self.stem_type, self.drop_path = stem, drop_path
        self.num_cells, self.channels = num_cells, channels
        widths = self._build_stem(stem, in_channels, channels)
        reductions = sorted({num_cells // 3, 2 * num_cells // 3})
        self.auxiliary_cell = 2 * num_cells // 3 if auxiliary else None
        stride = 8 if stem == 'imagenet' else 1
        strides, out_widths = ([4], [channels]) if stem == 'imagenet' else ([], [])
        self._ends = []  # the cell after which each further output is ready; -1 for the stem
        self.cells = nn.ModuleList()
        stages: list[list[nn.Module]] = [self._stem_modules(), []]
        width, reduced = channels, stem == 'imagenet'
        for index in range(num_cells):
            kind = 'reduce' if index in reductions else 'normal'
            if kind == 'reduce':
                self._ends.append(index - 1)
                strides.append(stride)
                out_widths.append(widths[1])
                stages.append([])
                width, stride = 2 * width, 2 * stride
            cell = DARTSCell(self.genotype, kind, widths, width, reduced, space.operation_args)
            self.cells.append(cell)
            stages[-1].append(cell)
            reduced = kind == 'reduce'
            widths = [widths[1], len(self.genotype.concat[kind]) * width]
            if index == self.auxiliary_cell:
                self.auxiliary_channels = widths[1]
        self._ends.append(num_cells - 1)
        *first, stem_end = ['stem'] if stem == 'cifar' else ['stem0', 'stem1']
        self._set_outputs(
            [*strides, stride],
            [*out_widths, widths[1]],
            [*first, *(stem_end if end < 0 else f'cells.{end}' for end in self._ends)],
            stages,
            out_indices,
            frozen_stages,
            norm_eval,
        )

    def _build_stem(self, stem: str, in_channels: int, channels: int) -> list[int]:
        """Build the stem; the channels of the first cell's inputs."""
        if stem == 'cifar':
            width = STEM_MULTIPLIER * channels
            self.stem = cifar_stem(in_channels, width)
            return [width, width]
        self.stem0 = imagenet_stem(in_channels, channels)
        self.stem1 = second_imagenet_stem(channels)
        return [channels, channels]

    def _stem_modules(self) -> list[nn.Module]:
        return [self.stem] if self.stem_type == 'cifar' else [self.stem0, self.stem1]

    def _make_fused(self) -> tuple[FusedStem | None, list[FusedCell]]:
        cells: list[FusedCell] = []
        counts = [1, 1]  # of the nodes that both inputs of a cell concatenate
        for cell in self.cells:
            cells.append(FusedCell(cell, counts))
            counts = [counts[1], len(cell.concat)]
        is_padded = self.stem_type == 'cifar' and FusedStem.pads(self.stem)
        return FusedStem(self.stem) if is_padded else None, cells

    def _evaluates_quicker(self, x: Tensor) -> bool:
        return True

    def feature_layers(self) -> list[nn.Module]:
        """See :meth:`DerivedNet.feature_layers`."""
        return [*self._stem_modules(), *self.cells]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W].

        Returns:
            tuple[Tensor, ...]: The outputs of ``out_indices``; with ``auxiliary``, in training,
            after the output of the cell at two thirds of the depth.

        Raises:
            UserError: The images are smaller than the stride.
        """
        x = self._take_image(x)
        fused = self._fused(x)
        stem, cells = fused or (None, self.cells)
        wrap = Nodes.of if fused else lambda image: image
        outputs, auxiliary = [], []
        if stem is not None:
            first = second = stem(x)
        elif self.stem_type == 'cifar':
            first = second = wrap(self.stem(x))
        else:
            image = self.stem0(x)
            first, second = wrap(image), wrap(self.stem1(image))
            outputs.append(first)
        if self._ends[0] == -1:
            outputs.append(second)
        for index, cell in enumerate(cells):
            first, second = second, cell(first, second, self.drop_path)
            if index in self._ends:
                outputs.append(second)
            if index == self.auxiliary_cell and self.training:
                auxiliary.append(second)
        found = (*auxiliary, *(outputs[index] for index in self.out_indices))
        return tuple(nodes.whole() for nodes in found) if fused else found
