"""The supernet of NAS-Bench-201 (https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.models.backbones.base_supernet import BaseSupernet, check_sizes
from rdarts.models.backbones.recompute import recomputed
from rdarts.models.backbones.search_cell import SearchCell
from rdarts.models.backbones.stems import cifar_stem, imagenet_stem
from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.fused.preprocess import preprocess
from rdarts.models.layers import PlainLayers
from rdarts.models.operations import relu_conv_bn
from rdarts.registry import MODELS
from rdarts.search_spaces import SpaceSpec

STAGES = 3


class ResidualReduction(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, around a pooled 1x1 shortcut.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        make = PlainLayers()
        self.conv_a = relu_conv_bn(make, in_channels, out_channels, 2, 3)
        self.conv_b = relu_conv_bn(make, out_channels, out_channels, 1, 3)
        self.downsample = nn.Sequential(
            nn.AvgPool2d(2, stride=2, padding=0, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )

    def forward(self, x: Tensor, fused: bool = False) -> Tensor:
        """Half the resolution of an image.

        Args:
            x (Tensor): [N, in_channels, H, W].
            fused (bool): Whether the second ReLU, convolution and batch norm run as one function
                where a back end has one. Defaults to False.

        Returns:
            Tensor: [N, out_channels, ceil(H / 2), ceil(W / 2)].
        """
        inner = self.conv_a(x)
        inner = preprocess(self.conv_b, [inner]) if fused else self.conv_b(inner)
        return self.downsample(x) + inner


@MODELS.register_module()
class NASBench201Supernet(BaseSupernet):
    """Stem, three stages of search cells with a residual reduction between them.

    Args:
        space (str | dict | SearchSpace): Cells of one input; a table of one's own may have
            other nodes, edges and candidates. Defaults to ``'nas_bench_201'``.
        in_channels (int): Channels of the image. Defaults to 3.
        channels (int): Channels C of the first stage, doubled at each reduction. Defaults to 16.
        cells_per_stage (int): N. Defaults to 5.
        stem (str): ``'cifar'`` (one convolution), or ``'imagenet'`` (two of stride 2). Defaults to
            ``'cifar'``.
        affine (bool): Of the search cells' batch norms. Defaults to False.
        track_running_stats (bool): Of the search cells' batch norms. Defaults to True.
        checkpoint (bool): Whether the backward pass computes the inside of each cell anew, which
            takes less memory and more time. Same numbers. Defaults to False.
        **kwargs: See :class:`BaseSupernet`.

    Raises:
        UserError: The space has more than one cell type or a cell of another form, its cost table
            was measured for another network, or the stem is not known.
    """

    DEPTH, DEPTH_READS = 'cells_per_stage', 'N {}'

    def __init__(
        self,
        space: SpaceSpec = 'nas_bench_201',
        in_channels: Positive = 3,
        channels: Positive = 16,
        cells_per_stage: Positive = 5,
        stem: Literal['cifar', 'imagenet'] = 'cifar',
        affine: bool = False,
        track_running_stats: bool = True,
        checkpoint: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(space, **kwargs)
        check_sizes(in_channels=in_channels, channels=channels, cells_per_stage=cells_per_stage)
        if stem not in ('cifar', 'imagenet'):
            raise UserError(f"stem must be 'cifar' or 'imagenet', but is {stem!r}")
        cells = list(self.space.cells.items())
        if len(cells) != 1 or cells[0][1].num_inputs != 1 or cells[0][1].output != 'last':
            raise UserError(
                f"space '{self.space.name}' does not fit NASBench201Supernet: it needs one cell "
                "type of one input whose output is its last node ('nas_bench_201', or a table)"
            )
        cell_type, topology = cells[0]
        self.cell_types = [cell_type] * STAGES * cells_per_stage
        self.channels, self.cells_per_stage = channels, cells_per_stage
        self.stem_type, self.checkpoint = stem, checkpoint
        self.check_costs(**self.conditions())
        self.out_channels = channels * 2 ** (STAGES - 1)
        self.stem = (cifar_stem if stem == 'cifar' else imagenet_stem)(in_channels, channels)
        self.cells = nn.ModuleList()
        for stage in range(STAGES):
            width = channels * 2**stage
            if stage:
                self.cells.append(ResidualReduction(width // 2, width))
            for _ in range(cells_per_stage):
                self.cells.append(
                    SearchCell(
                        self,
                        topology,
                        width,
                        affine=affine,
                        track_running_stats=track_running_stats,
                    )
                )
        self.lastact = nn.Sequential(BatchNorm2d(self.out_channels), nn.ReLU(inplace=True))

    def conditions(self) -> dict[str, Any]:
        """See the base class."""
        sizes = dict(channels=self.channels, cells_per_stage=self.cells_per_stage)
        return dict(stem=self.stem_type, **sizes)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W], of any size.

        Returns:
            tuple[Tensor]: One [N, 4 C, ceil(H / 4), ceil(W / 4)], a quarter of that each way with
            the ImageNet stem.
        """
        mixing = iter(self.cell_mixings())
        x = self.stem(self.image_format(x))
        for cell in self.cells:
            args = ([x], next(mixing)) if isinstance(cell, SearchCell) else (x, self.runs_fused)
            out = recomputed([cell], cell, *args) if self.checkpoint else cell(*args)
            x = out[0] if isinstance(cell, SearchCell) else out
        return (self.lastact(x),)
