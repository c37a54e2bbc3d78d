"""Where the candidates of a node put the gradient of what they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from rdarts.models.fused.node import Node, cast
from rdarts.models.fused.plan import Part

Result = TypeVar('Result')


class Sink:
    """The gradient of a node's x, gathered through one door for each way that leads to it.

    With r = relu(x), skips s_j, and the gradients g_j of the edges,

        dx = sum_j s_j g_j + [x > 0] (dr + sum_j g_j left_j + r right + row) + x A + b + others.

    Args:
        node (Node): The node.
        edge_of (Tensor): The edge of each row, long.
        edges (int): The number J of edges.
    """

    def __init__(self, node: Node, edge_of: Tensor, edges: int) -> None:
        self.node, self.edge_of, self.edges = node, edge_of, edges
        self._before_relu: Tensor | None = None
        self._input: Tensor | None = None
        self._skips: Tensor | None = None
        self._matrices: list[Tensor] = []
        self._linear: Tensor | None = None
        self._deferred: list[Callable[[Tensor], None]] = []

    def add_before_relu(self, given: Tensor | Callable[[Tensor, bool], Result]) -> Result | None:
        """Add to the gradient dr of r.

        Args:
            given (Tensor | Callable): [N, H, W, C]; or a kernel ``given(into, accumulate)`` that
                puts it there or, with ``accumulate``, adds it.

        Returns:
            What the kernel returns.
        """
        accumulate = self._before_relu is not None
        if not accumulate:
            self._before_relu = self.node.like(self.node.image)
        if isinstance(given, Tensor):
            into = self._before_relu
            into.add_(given) if accumulate else into.copy_(given)
            return None
        return given(self._before_relu, accumulate)

    def add_to_input(self, given: Tensor | Callable[[Tensor], Result]) -> Result | None:
        """Add to dx itself.

        Args:
            given (Tensor | Callable): [N, H, W, C]; or a kernel ``given(into)`` that adds it.

        Returns:
            What the kernel returns.
        """
        if self._input is None:
            self._input = self.node.like(self.node.image).zero_()
        if isinstance(given, Tensor):
            self._input.add_(given)
            return None
        return given(self._input)

    def add_skip(self, part: Part, factors: Tensor) -> None:
        """Add factors[e] g_e for each edge e of a part: ``factors`` is [E], in float64."""
        if self._skips is None:
            self._skips = factors.new_zeros(self.edges)
        self._skips.index_add_(0, self.edge_of[part.rows], factors)

    def add_matrices(self, part: Part, left: Tensor, right: Tensor, row: Tensor) -> None:
        """Add g_e left[e] for each edge e of a part, r right and row to dr.

        Args:
            part (Part): E edges.
            left (Tensor): [E, C, C].
            right (Tensor): [C, C].
            row (Tensor): [C].
        """
        edges = self.edge_of[part.rows]
        if not self._matrices:
            whole = left.new_zeros(self.edges, *left.shape[1:])
            self._matrices = [whole.index_add_(0, edges, left), right, row]
            return
        self._matrices[0].index_add_(0, edges, left)
        self._matrices[1] = self._matrices[1] + right
        self._matrices[2] = self._matrices[2] + row

    def add_linear(self, matrix: Tensor) -> None:
        """Add x A + b to dx: ``matrix`` is [C, C + 1], of A and, as its last column, b."""
        self._linear = matrix if self._linear is None else self._linear + matrix

    def defer(self, run: Callable[[Tensor], None]) -> None:
        """Call ``run(dx)``, which adds to dx, when all else is in it."""
        self._deferred.append(run)

    def collect(self, g: Sequence[Tensor]) -> Tensor:
        """The gradient of x, [N, H, W, C], for the gradients g_j of the edges' results."""
        dtype = self.node.dtype
        skips = None if self._skips is None else cast(self._skips, dtype)
        matrices = [cast(matrix, dtype) for matrix in self._matrices] or [None] * 3
        backend = self.node.backend
        dx = backend.input_grad(self.node.image, g, skips, self._before_relu, *matrices)
        if self._input is not None:
            dx += self._input
        if self._linear is not None:
            linear, channels = cast(self._linear, dx.dtype), dx.shape[-1]
            flat = self.node.image.view(-1, channels)
            dx.view(-1, channels).addmm_(flat, linear[:, :channels]).add_(linear[:, channels])
        for run in self._deferred:
            run(dx)
        return dx
