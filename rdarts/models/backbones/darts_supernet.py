"""The supernet of the DARTS space and of S1 to S4 (https://arxiv.org/abs/1806.09055)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.models.backbones.base_supernet import BaseSupernet, check_sizes
from rdarts.models.backbones.recompute import recomputed
from rdarts.models.backbones.search_cell import SearchCell
from rdarts.models.backbones.stems import cifar_stem, imagenet_stem, second_imagenet_stem
from rdarts.models.fused.preprocess import preprocess, takes_nodes
from rdarts.models.layers import FactorizedReduce, PlainLayers
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.operations import relu_conv_bn
from rdarts.registry import MODELS
from rdarts.search_spaces import SpaceSpec, has_normal_and_reduce

STEM_MULTIPLIER = 3


@MODELS.register_module()
class DARTSSupernet(BaseSupernet):
    """Cells of two inputs in a row; those at one and two thirds of the depth reduce.

    Args:
        space (str | dict | SearchSpace): ``'darts'``, ``'s1'`` to ``'s4'``, or a table with the
            cell types ``normal`` and ``reduce``. Defaults to ``'darts'``.
        in_channels (int): Channels of the image. Defaults to 3.
        channels (int): Channels C of the first cells' nodes, doubled at each reduction.
            Defaults to 16.
        num_cells (int): Number of cells. Defaults to 8.
        stem (str): ``'cifar'`` (one convolution) or ``'imagenet'`` (three of stride 2, for
            224-pixel input; as PC-DARTS searches on ImageNet). Both give 3 C channels. Defaults
            to ``'cifar'``.
        affine (bool): Of the search cells' batch norms. Defaults to False.
        track_running_stats (bool): Of the search cells' batch norms. Defaults to True.
        checkpoint (bool): Whether the backward pass computes the inside of each cell anew, which
            takes less memory and more time. Same numbers. Defaults to False.
        **kwargs: See :class:`BaseSupernet`.

    Raises:
        UserError: The space lacks one of the cell types or its cells have another form, its cost
            table was measured for another network, or the stem is not known.
    """

    DEPTH = 'num_cells'

    def __init__(
        self,
        space: SpaceSpec = 'darts',
        in_channels: Positive = 3,
        channels: Positive = 16,
        num_cells: Positive = 8,
        stem: Literal['cifar', 'imagenet'] = 'cifar',
        affine: bool = False,
        track_running_stats: bool = True,
        checkpoint: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(space, **kwargs)
        check_sizes(in_channels=in_channels, channels=channels, num_cells=num_cells)
        cells = self.space.cells
        fits = has_normal_and_reduce(cells) and all(
            cell.num_inputs == 2 and cell.output == 'concat' for cell in cells.values()
        )
        if not fits:
            raise UserError(
                f"space '{self.space.name}' does not fit DARTSSupernet: it needs the cell types "
                "'normal' and 'reduce', of two inputs and concatenated output ('darts', 's1' to "
                "'s4', or a table)"
            )
        self.channels, self.num_cells = channels, num_cells
        self.stem_type, self.checkpoint = stem, checkpoint
        self.check_costs(**self.conditions())
        make = PlainLayers(affine=affine, track_running_stats=track_running_stats)
        width = STEM_MULTIPLIER * channels
        if stem == 'cifar':
            self.stem = cifar_stem(in_channels, width)
        elif stem == 'imagenet':
            self.stem0 = imagenet_stem(in_channels, width)
            self.stem1 = second_imagenet_stem(width)
        else:
            raise UserError(f"stem must be 'cifar' or 'imagenet', but is {stem!r}")
        widths = [width, width]
        reduced = stem == 'imagenet'
        reductions = {num_cells // 3, 2 * num_cells // 3}
        self.cells = nn.ModuleList()
        self.preprocess0 = nn.ModuleList()
        self.preprocess1 = nn.ModuleList()
        width = channels
        for index in range(num_cells):
            kind = 'reduce' if index in reductions else 'normal'
            if kind == 'reduce':
                width *= 2
            topology = cells[kind]
            first = FactorizedReduce if reduced else relu_conv_bn
            self.preprocess0.append(first(make, widths[0], width))
            self.preprocess1.append(relu_conv_bn(make, widths[1], width))
            self.cells.append(
                SearchCell(
                    self,
                    topology,
                    width,
                    stride=2 if kind == 'reduce' else 1,
                    affine=affine,
                    track_running_stats=track_running_stats,
                )
            )
            self.cell_types.append(kind)
            reduced = kind == 'reduce'
            widths = [widths[1], (topology.num_nodes - topology.num_inputs) * width]
        self.out_channels = widths[1]

    def conditions(self) -> dict[str, Any]:
        """See the base class."""
        return dict(stem=self.stem_type, channels=self.channels, num_cells=self.num_cells)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W], of any size.

        Returns:
            tuple[Tensor]: One [N, out_channels, h, w]: a quarter of the input's resolution with
            the CIFAR stem, a thirty-second with the ImageNet stem.
        """
        mixing = self.cell_mixings()
        x = self.image_format(x)
        if self.stem_type == 'cifar':
            first = second = [self.stem(x)]
        else:
            first = [self.stem0(x)]
            second = [self.stem1(first[0])]
        layers = zip(self.cells, self.preprocess0, self.preprocess1, strict=True)
        for (cell, *before), own in zip(layers, mixing, strict=True):
            args = (cell, before, [first, second], own)
            if self.checkpoint:
                out = recomputed([cell, *before], self._run_cell, *args)
            else:
                out = self._run_cell(*args)
            first, second = second, out
        return (second[0] if len(second) == 1 else torch.cat(second, dim=1),)

    def _run_cell(
        self,
        cell: SearchCell,
        before: Sequence[nn.Module],
        inputs: Sequence[list[Tensor]],
        mixing: Mapping[int, Mixing],
    ) -> list[Tensor]:
        """A cell and the layers before it.

        Args:
            cell (SearchCell): The cell.
            before (Sequence[nn.Module]): What each of its inputs passes first.
            inputs (Sequence[list[Tensor]]): The nodes of each of the two cells before,
                [N, C, H, W], as they are or concatenated.
            mixing (dict[int, Mixing]): See :class:`SearchCell`.

        Returns:
            list[Tensor]: The nodes of the cell, as they are where that is what is read fused, else
            concatenated.
        """
        pairs = zip(before, inputs, strict=True)
        if not self.runs_fused:
            return [torch.cat(cell([layer(x[0]) for layer, x in pairs], mixing), dim=1)]
        out = cell([preprocess(layer, nodes) for layer, nodes in pairs], mixing)
        return out if takes_nodes(out) else [torch.cat(out, dim=1)]
