"""What a fused candidate is: one operation on many edges that read the same image.

A batch norm and the mixing weight follow every candidate as one scale and shift: the function
around it does both, and beta's gradient. A candidate gives y before its last batch norm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor, nn

from rdarts.errors import UserError, nearest
from rdarts.models.fused.node import FACTS, Node
from rdarts.models.kernels import Conv
from rdarts.models.layers import StackedBatchNorm2d, StackedConv2d, StackedSequence, is_relu
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


Save = Callable[[Tensor], Any]
"""Keeps a tensor for the backward."""

Params = Sequence[Tensor]
"""The stacked parameters of the edges that run."""


class Terms(NamedTuple):
    """What a candidate adds to the mixture of its E edges, before its last batch norm.

    Args:
        images (Sequence[Tensor]): y of each edge, [N, h, w, O]; or of all of them in one tensor,
            [E, N, h, w, O]. Empty where it folds. Of noise that the back end draws where it mixes,
            its seed, [].
        moments (Tensor | None): Mean and biased variance of y, [E, 2, O] or, of one y that all
            edges share, [2, O], in float64; None without a batch norm.
        matrices (Tensor | None): Where it folds: y = matrices[e] relu(x), [E, O, C] in float64.
    """

    images: Sequence[Tensor] = ()
    moments: Tensor | None = None
    matrices: Tensor | None = None


class Saved(NamedTuple):
    """What a forward kept for the backward.

    Args:
        tensors (Sequence[Tensor]): What it gave to ``save``, in order.
        batch (Sequence[bool]): Whether each of its batch norms took the batch's statistics.
    """

    tensors: Sequence[Tensor]
    batch: Sequence[bool]


@dataclass
class Grad:
    """The gradient that reaches a candidate: y's of edge e is a[e] g[e] + b[e] y[e] + c[e].

    Args:
        images (Sequence[Tensor]): The gradients g of the edges' mixtures, [N, h, w, O] each.
        rows (slice): Of the E edges, among those of the node.
        whole (Tensor): a, b and c of all rows of the node, [3, R, O], in its type.
        whole_exact (Tensor): The same in float64.
        want_weights (bool): Whether gradients of the candidate's parameters are wanted: no kernel
            may run for them where not.
        cross (Tensor | None): Where it folds: the sum over pixels of g r', r = relu(x), times the
            mixing weight, [E, O, C] in float64.
    """

    images: Sequence[Tensor]
    rows: slice
    whole: Tensor
    whole_exact: Tensor
    want_weights: bool
    cross: Tensor | None = None

    @property
    def coefficients(self) -> Tensor:
        """a, b and c, [3, E, O], in the type of the node."""
        return self.whole[:, self.rows]

    @property
    def exact(self) -> Tensor:
        """The same in float64."""
        return self.whole_exact[:, self.rows]


class FusedCandidate(ABC):
    """One operation on the edges of a node. A subclass is registered in ``FUSED_CANDIDATES``.

    Attributes:
        norms (Sequence[StackedBatchNorm2d]): Its batch norms in order; the last is the
            function's.
        needs (tuple[str, ...]): Facts of the node that its forward reads in ``node.facts``, by
            their names in :data:`~rdarts.models.fused.node.FACTS`.
        folds (bool): Whether y is a matrix times relu(x) and never computed.
        is_constant (bool): Whether y depends on nothing that learns.
        tolerance (float): How far it may be from plain in float64, relative (tests).
    """

    norms: Sequence[StackedBatchNorm2d] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    folds: ClassVar[bool] = False
    is_constant: ClassVar[bool] = False
    tolerance: ClassVar[float] = 1e-10

    @classmethod
    @abstractmethod
    def match(cls, operation: nn.Module) -> FusedCandidate | None:
        """The candidate of an operation that it can run; None for any other.

        Args:
            operation (nn.Module): As its builder in ``OPERATIONS`` made it, with stacked layers.
        """

    def parameters(self) -> list[Tensor]:
        """Its stacked parameters, [edges, ...], in order, without those of its last batch norm."""
        return []

    def extras(self) -> list[FusedCandidate]:
        """Further candidates whose terms belong to the operation, such as a shortcut."""
        return []

    @abstractmethod
    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        """y of E edges.

        Args:
            node (Node): What they read, and the kernels.
            part (Part): The edges.
            params (Sequence[Tensor]): The parameters of these edges, [E, ...].
            save (Callable): Keeps a tensor for the backward.
        """

    def recall(self, node: Node, part: Part, params: Params, saved: Saved) -> Terms:
        """The terms again, without moments. Defaults to y [E, N, h, w, O], saved last."""
        return Terms(saved.tensors[-1:])

    @abstractmethod
    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        """Put the gradient of x into the sink.

        Args:
            node, part, params: See :meth:`forward`; ``node.facts`` is empty.
            saved (Saved): What the forward kept.
            grad (Grad): The gradient of y.
            sink (Sink): Takes the gradient of x.

        Returns:
            list[Tensor | None]: The gradient of each of ``params``, or None.
        """


def find_candidate(operation: nn.Module) -> FusedCandidate | None:
    """The fused candidate of an operation, or None; what was registered last is asked first.

    Raises:
        UserError: It needs what is no fact of a node, or its parameters are not the operation's.
    """
    FUSED_CANDIDATES.import_from_location()
    for cls in reversed(FUSED_CANDIDATES.module_dict.values()):
        candidate = cls.match(operation)
        if candidate is not None:
            for one in (candidate, *candidate.extras()):
                _check_needs(one)
            _check_parameters(candidate, list(operation.parameters()))
            return candidate
    return None


def _check_needs(candidate: FusedCandidate) -> None:
    name = type(candidate).__name__
    if isinstance(candidate.needs, str):
        raise UserError(f'fused candidate {name}: needs must be a tuple of names, but is a text')
    for need in candidate.needs:
        if need not in FACTS:
            raise UserError(f"fused candidate {name} needs '{need}': {nearest(need, FACTS)}")


def _check_parameters(candidate: FusedCandidate, expected: Sequence[Tensor]) -> None:
    """Second derivatives take them in the order of the layers."""
    last = candidate.norms[-1] if candidate.norms else None
    affine = [] if last is None or last.weight is None else [last.weight, last.bias]
    found = [*candidate.parameters(), *affine]
    # parts of a larger operation have none of their own
    if expected and list(map(id, found)) != list(map(id, expected)):
        raise UserError(
            f'fused candidate {type(candidate).__name__}: parameters() must be those of the '
            "operation in the order of its layers, without the last batch norm's"
        )


# What several `match` look for


def conv_args(conv: StackedConv2d) -> Conv:
    """Stride, padding and dilation."""
    return conv.args['stride'], conv.args['padding'], conv.args['dilation']


def is_square_conv(conv: nn.Module, groups: int | None = None) -> bool:
    """Whether it is a stacked convolution that treats rows and columns alike.

    Args:
        conv (nn.Module): Any layer.
        groups (int, optional): The number of groups that it must have.
    """
    if not isinstance(conv, StackedConv2d):
        return False
    height, width = conv.weight.shape[-2:]
    plain = isinstance(conv.args['padding'], int) and isinstance(conv.args['stride'], int)
    return plain and height == width and (groups is None or conv.args['groups'] == groups)


def relu_conv_norm(operation: nn.Module) -> tuple[StackedConv2d, StackedBatchNorm2d] | None:
    """The layers of a sequence of ReLU, one square ungrouped convolution and batch norm."""
    if type(operation) is not StackedSequence or len(operation) != 3:
        return None
    relu, conv, norm = operation
    fits = is_relu(relu) and is_square_conv(conv, 1) and isinstance(norm, StackedBatchNorm2d)
    return (conv, norm) if fits else None


def is_unpadded_1x1(conv: StackedConv2d) -> bool:
    """Whether a square convolution has a kernel of 1 and no padding."""
    return conv.weight.shape[-1] == 1 and conv.args['padding'] == 0
