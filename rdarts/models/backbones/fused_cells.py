"""Cells of derived networks, run by the kernels of supernets: ``execution='fused'``.

The edges that leave a node of a derived cell are a mixed operation with one candidate an edge, of
weight 1. Such an operation is made here beside the ordinary layers, which keep their parameters and
statistics: each forward pass gives it theirs, stacked over the edges that run the same operation.
Kernels read channels in vectors of 8. A cell of another width runs with channels of zeros behind
its own: weights of zeros make them, and their gradients are zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.models.backbones.twins import Declined, Twins, check_alike
from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.fused.preprocess import Pointwise, recognise, run_pointwise
from rdarts.models.kernels import LANES
from rdarts.models.layers import EdgeCopies, StackedBatchNorm2d, StackedFactorizedReduce
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.operations import zero

Args = Mapping[str, Mapping[str, Any]]
"""Further arguments of operations, by their names."""


class Edge(NamedTuple):
    """An edge of a derived cell.

    Args:
        source, target (int): Nodes.
        name (str): Of the operation.
        operation (nn.Module): The operation.
    """

    source: int
    target: int
    name: str
    operation: nn.Module


def padded(channels: int) -> int:
    """The number of channels that kernels run in place of so many."""
    return -(-channels // LANES) * LANES


def pad_to(tensor: Tensor, *sizes: int) -> Tensor:
    """Zeros behind what the first dimensions hold, so that they have these sizes."""
    missing = [want - have for have, want in zip(tensor.shape, sizes, strict=False)]
    if not any(missing):
        return tensor
    ends = [0, 0] * (tensor.dim() - len(sizes))
    return F.pad(tensor, [*ends, *(end for count in reversed(missing) for end in (0, count))])


def pad_channels(x: Tensor) -> Tensor:
    """An image [N, C, H, W] with as many channels as kernels run."""
    return pad_to(x, len(x), padded(x.shape[1]))


class Nodes(NamedTuple):
    """What a cell gives, without its concatenation.

    Args:
        images (Sequence[Tensor]): [N, padded C, H, W] each.
        channels (int): C, the channels that are not zeros.
    """

    images: Sequence[Tensor]
    channels: int

    @classmethod
    def of(cls, x: Tensor, count: int = 1) -> Nodes:
        """An image [N, count * C, H, W] as so many nodes."""
        return cls([pad_channels(image) for image in x.chunk(count, 1)], x.shape[1] // count)

    def whole(self) -> Tensor:
        """The concatenation, [N, count * C, H, W]."""
        images = [image.narrow(1, 0, self.channels) for image in self.images]
        return images[0] if len(images) == 1 else torch.cat(images, dim=1)


class _Stacked:
    """The parameters of an operation on several edges, as those of one with stacked layers.

    Args:
        stacked (nn.Module): That one.
        originals (Sequence[nn.Module]): The operation of each edge.
        twins (Twins): Takes the batch norms.

    Raises:
        Declined: The operations are not those that the stacked one was made like.
    """

    def __init__(self, stacked: nn.Module, originals: Sequence[nn.Module], twins: Twins) -> None:
        self._places: list[tuple[Sequence[nn.Module], str, Sequence[int]]] = []
        for path, module in stacked.named_modules():
            own = [original.get_submodule(path) for original in originals]
            for one in own:
                check_alike(module, one)
            if isinstance(module, StackedBatchNorm2d):
                twins.add(module, own)
            for name, parameter in module.named_parameters(recurse=False):
                sizes = list(parameter.shape[1:3])
                if isinstance(stacked, StackedFactorizedReduce) and path.startswith('conv_'):
                    # The first branch's channels have the second's behind them, these the zeros
                    first = len(originals[0].conv_1.weight)
                    sizes[0] = first if path == 'conv_1' else stacked.bn.weight.shape[1] - first
                self._places.append((own, name, sizes))

    def parameters(self) -> list[Tensor]:
        """[edges, ...] each, in the order of the layers."""
        found = []
        for modules, name, sizes in self._places:
            tensors = [pad_to(getattr(module, name), *sizes) for module in modules]
            found.append(tensors[0][None] if len(tensors) == 1 else torch.stack(tensors))
        return found


class _Leaving:
    """The edges that leave one node, as a mixed operation."""

    def __init__(
        self,
        edges: Sequence[Edge],
        channels: tuple[int, int],
        stride: int,
        args: Args,
        twins: Twins,
    ) -> None:
        self.edges = edges
        with torch.device('meta'):  # its own parameters never run
            self.mixed = MixedOp(
                [[edge.name] for edge in edges],
                *channels,
                stride=stride,
                affine=True,
                operation_args=args,
            )
        self.mixed.execution = 'fused'
        self._stacked = {}
        for name, stacked in self.mixed.operations.items():
            if isinstance(stacked, EdgeCopies):
                raise Declined(f"the operation '{name}' is a module that is not stacked over edges")
            candidate = self.mixed.fused_candidates[name]
            if candidate is not None and 'noise' in candidate.needs:
                raise Declined(f"of the operation '{name}' plain draws in another order")
            originals = [edge.operation for edge in edges if edge.name == name]
            self._stacked[name] = _Stacked(stacked, originals, twins)
        self._weights = torch.ones(len(edges))

    def __call__(self, x: Tensor, into: Sequence[Tensor | None]) -> list[Tensor]:
        """The result of each edge, added to what ``into`` has for it."""
        given = {name: one.parameters() for name, one in self._stacked.items()}
        return self.mixed.forward_edges(x, Mixing(self._weights), into, given)


class FusedEdges:
    """All edges of a derived cell.

    Args:
        edges (Sequence[Edge]): The edges.
        inputs (int): Number of input nodes.
        nodes (int): Number of all nodes.
        channels (int): Channels of every node.
        stride (int): Of the edges that leave an input node.
        args (Mapping): Further arguments of operations.
        twins (Twins): Takes the batch norms.

    Raises:
        Declined: Layers of an operation are none that are stacked over edges.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        inputs: int,
        nodes: int,
        channels: int,
        stride: int,
        args: Args,
        twins: Twins,
    ) -> None:
        self.inputs, self.nodes, self.stride = inputs, nodes, stride
        self.channels = padded(channels)
        self.leaving: dict[int, _Leaving] = {}
        for source in range(nodes):
            own = [edge for edge in edges if edge.source == source]
            if own:
                hop = stride if source < inputs else 1
                self.leaving[source] = _Leaving(own, (self.channels,) * 2, hop, args, twins)

    def __call__(
        self, inputs: Sequence[Tensor], factors: Mapping[Edge, Tensor] | None = None
    ) -> list[Tensor]:
        """The nodes that are no inputs, [N, padded C, h, w] each.

        Args:
            inputs (Sequence[Tensor]): The input nodes, [N, padded C, H, W].
            factors (Mapping, optional): What the results of edges are times, [N, 1, 1, 1] each.
                Defaults to 1, for all or for those that it lacks.
        """
        factors = factors or {}
        states: list[Tensor | None] = [*inputs, *[None] * (self.nodes - self.inputs)]
        for source in range(self.nodes):
            if source >= self.inputs and states[source] is None:
                states[source] = zero(states[0], self.channels, self.stride)
            if source not in self.leaving:
                continue
            leaving = self.leaving[source]
            into, apart, taken = [], [], set()
            for edge in leaving.edges:
                # Of two edges to one node, only one can be added to it where it is
                apart.append(edge in factors or edge.target in taken)
                into.append(None if apart[-1] else states[edge.target])
                taken.add(edge.target)
            outputs = leaving(states[source], into)
            for edge, is_apart, out in zip(leaving.edges, apart, outputs, strict=True):
                before, factor = states[edge.target], factors.get(edge)
                if before is None or not is_apart:
                    states[edge.target] = out if factor is None else out * factor
                elif factor is None:
                    states[edge.target] = before + out
                else:
                    states[edge.target] = torch.addcmul(before, out, factor)
        return states[self.inputs :]


class FusedLayer:
    """An operation of a chain of layers.

    Args:
        name (str): Of the operation.
        operation (nn.Module): The operation.
        channels (tuple[int, int]): Channels of what it reads and of what it gives.
        stride (int): Its stride.
        args (Mapping): Further arguments of operations.

    Raises:
        Declined: Kernels do not take the channels, or the operation does not run so.
    """

    def __init__(
        self, name: str, operation: nn.Module, channels: tuple[int, int], stride: int, args: Args
    ) -> None:
        if any(padded(count) != count for count in channels):
            raise Declined(f'{channels[0]} and {channels[1]} channels are no multiples of {LANES}')
        self.operation, self.twins = operation, Twins()
        edge = Edge(0, 1, name, operation)
        self.leaving = _Leaving([edge], channels, stride, args, self.twins)

    def __call__(self, x: Tensor) -> Tensor:
        """As the operation's forward."""
        training = self.twins.mode()
        if training is None:
            return self.operation(x)
        with self.twins.standing_in(training):
            return self.leaving(x, [None])[0]


class FusedStem:
    """A convolution and batch norm whose channels no kernel takes, with channels of zeros.

    Args:
        layers (nn.Sequential): These two.

    Raises:
        Declined: The batch norm is another.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        self.layers = layers
        self.conv, self.norm = layers
        self.twins, self.size = Twins(), padded(self.conv.out_channels)
        self.twin = _meta_norm(self.size)
        self.twins.add(self.twin, [self.norm])

    @staticmethod
    def pads(layers: nn.Sequential) -> bool:
        """Whether they are these two, and their channels need others behind them."""
        types = [type(one) for one in layers.children()]
        if type(layers) is not nn.Sequential or types != [nn.Conv2d, BatchNorm2d]:
            return False
        conv = layers[0]
        plain = conv.bias is None and conv.groups == 1 and conv.padding_mode == 'zeros'
        return plain and conv.dilation == (1, 1) and padded(conv.out_channels) != conv.out_channels

    def __call__(self, x: Tensor) -> Nodes:
        """What they make of an image [N, C, H, W], as one node."""
        conv, norm, training = self.conv, self.norm, self.twins.mode()
        if training is None:
            return Nodes.of(self.layers(x))
        weight, *affine = (pad_to(one, self.size) for one in (conv.weight, norm.weight, norm.bias))
        y = F.conv2d(x, weight, None, conv.stride, conv.padding)
        with self.twins.standing_in(training):
            out = self.twin.by(y, *affine)
        return Nodes([out], conv.out_channels)


def _meta_norm(channels: int) -> BatchNorm2d:
    """A batch norm without memory but what :meth:`Twins.add` gives it."""
    with torch.device('meta'):
        return BatchNorm2d(channels)


class FusedPreprocess:
    """What a cell does to an input first, of the nodes of the cell before.

    Args:
        layers (nn.Module): ReLU, 1x1 convolution and batch norm, or a factorised reduction.
        nodes (int): Number of nodes that are concatenated.
        twins (Twins): Takes the batch norm.

    Attributes:
        found (Pointwise): The layers.
        width (int): Channels of each node.

    Raises:
        Declined: The layers are others.
    """

    def __init__(self, layers: nn.Module, nodes: int, twins: Twins) -> None:
        self.layers, self.nodes = layers, nodes
        found = recognise(layers)
        if found is None:
            raise Declined(
                'what a cell does first is not ReLU, 1x1 convolutions and our batch norm'
            )
        self.width = found.convs[0].in_channels // nodes
        norm = _meta_norm(padded(found.outputs))
        twins.add(norm, [found.norm])
        self.pointwise = Pointwise(found.convs, norm)
        self.found, self.norm = found, found.norm

    def __call__(self, nodes: Nodes) -> Tensor:
        """[N, padded C, H, W], or of half the resolution."""
        if self.pointwise.pixels(nodes.images[0]) == 1:
            return pad_channels(self.layers(nodes.whole()))
        size, weights = self.pointwise.norm.num_features, []
        behind = size - self.pointwise.outputs  # zeros, behind the last branch
        for conv in self.pointwise.convs:
            by_node = conv.weight.unflatten(1, (self.nodes, self.width))
            is_last = conv is self.pointwise.convs[-1]
            outputs = conv.out_channels + (behind if is_last else 0)
            sizes = (outputs, self.nodes, padded(self.width))
            weights.append(pad_to(by_node, *sizes).flatten(1, 2))
        affine = [pad_to(self.norm.weight, size), pad_to(self.norm.bias, size)]
        return run_pointwise(self.pointwise, [*weights, *affine], nodes.images)
