"""Cells of derived networks where no gradient is wanted: batch norms by their running statistics.

A batch norm is then a scale and a shift of what the convolution before it gives, row by row: an
edge's result is one pass over the image. Parameters and statistics are read at each pass, so
nothing of them is kept that could be out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rdarts.models.backbones.fused_cells import (
    Edge,
    FusedEdges,
    FusedPreprocess,
    Nodes,
    pad_channels,
    padded,
)
from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.fused.candidates.identity import Identity
from rdarts.models.fused.candidates.separable import Separable
from rdarts.models.fused.preprocess import Pointwise, recognise
from rdarts.models.kernels import (
    Backend,
    Running,
    Unit,
    choose_backend,
    precision,
    to_nchw,
    to_nhwc,
)
from rdarts.models.operations import zero

Run = Callable[[Backend, Tensor], Tensor]
"""An edge's result for an image, both [N, padded C, h, w]; it may be the image itself."""


def running(norm: BatchNorm2d) -> Running:
    """A batch norm by the statistics that it has now."""
    return Running(norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)


class _Separable:
    """Separable convolutions of an edge, whose result is added in place.

    Args:
        candidate (Separable): As the operation is recognised.
        operation (nn.Sequential): The operation.
        stride (int): Of its first convolution.
    """

    def __init__(self, candidate: Separable, operation: nn.Sequential, stride: int) -> None:
        layers, self.stride = list(operation), stride
        self.units = list(
            zip(layers[1::4], layers[2::4], layers[3::4], candidate.convs, strict=True)
        )

    def __call__(self, backend: Backend, x: Tensor, into: Tensor | None = None) -> Tensor:
        units = [
            Unit(depthwise.weight, pointwise.weight, running(norm), conv)
            for depthwise, pointwise, norm, conv in self.units
        ]
        image, out = to_nhwc(x), into
        if out is None:
            channels = padded(units[-1].pointwise.shape[0])
            size = [-(-side // self.stride) for side in image.shape[1:3]]
            out = backend.empty_images(image, channels, *size)
        backend.separable_folded(image, units, to_nhwc(out), into is not None)
        return out


def _pointwise(found: Pointwise, width: int, images: Sequence[Tensor], backend: Backend) -> Tensor:
    """What these layers make of nodes of ``width`` channels, [N, padded C, h, w]."""
    weights = [conv.weight for conv in found.convs]
    args = (weights, running(found.norm), width, padded(found.outputs))
    return to_nchw(backend.pointwise_folded([to_nhwc(image) for image in images], *args))


def _run_of(edge: Edge, candidate: object, channels: int, stride: int) -> Run | _Separable:
    operation, pointwise = edge.operation, recognise(edge.operation)
    if isinstance(candidate, Identity):
        return lambda backend, x: x
    if isinstance(candidate, Separable):
        return _Separable(candidate, operation, stride)
    if pointwise is not None:
        return lambda backend, x: _pointwise(pointwise, channels, [x], backend)
    if next(operation.parameters(), None) is None:
        return lambda backend, x: operation(x)
    return lambda backend, x: pad_channels(operation(x.narrow(1, 0, channels)))


class FoldedCell:
    """Preprocessing and edges of a cell.

    Args:
        preprocess (Sequence[FusedPreprocess]): Of each input.
        edges (FusedEdges): The edges.
        channels (int): C of every node.
    """

    def __init__(
        self, preprocess: Sequence[FusedPreprocess], edges: FusedEdges, channels: int
    ) -> None:
        self.preprocess, self.edges = preprocess, edges
        self.runs = {
            edge: _run_of(edge, leaving.mixed.fused_candidates[edge.name], channels, stride)
            for source, leaving in edges.leaving.items()
            for edge in leaving.edges
            for stride in [edges.stride if source < edges.inputs else 1]
        }

    def takes(self, inputs: Sequence[Nodes]) -> bool:
        """Whether images are of the type of the parameters."""
        dtype = self.preprocess[0].norm.weight.dtype
        return all(image.dtype == dtype for nodes in inputs for image in nodes.images)

    def __call__(self, inputs: Sequence[Nodes]) -> list[Tensor]:
        """All nodes, the inputs' as well, [N, padded C, h, w] each, in the images' type."""
        image = inputs[0].images[0]
        with precision.no_autocast(image.device.type):
            return self._states(inputs, image)

    def _states(self, inputs: Sequence[Nodes], image: Tensor) -> list[Tensor]:
        backend = choose_backend(image.device, image.dtype, image.shape[1])
        edges = self.edges
        states: list[Tensor | None] = [
            _pointwise(one.found, one.width, nodes.images, backend)
            for one, nodes in zip(self.preprocess, inputs, strict=True)
        ]
        states += [None] * (edges.nodes - edges.inputs)
        ours = set()  # nodes whose memory no other tensor has
        for source in range(edges.nodes):
            if states[source] is None:
                nothing = zero(states[0], edges.channels, edges.stride)
                states[source] = nothing.to(memory_format=torch.channels_last)
            for edge in edges.leaving[source].edges if source in edges.leaving else ():
                run, x, before = self.runs[edge], states[source], states[edge.target]
                separable = isinstance(run, _Separable)
                if separable and edge.target in ours:
                    run(backend, x, before)
                    continue
                out = run(backend, x)
                if before is not None and separable:
                    out.add_(before)
                elif before is not None:  # in channels_last, so that it may be added to
                    out = to_nchw(to_nhwc(before) + to_nhwc(out))
                states[edge.target] = out
                if separable or before is not None:
                    ours.add(edge.target)
        return states
