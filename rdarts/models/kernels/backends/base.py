"""What a back end is: the kernels of fused execution, on one kind of device.

Images are tensors of shape [N, H, W, C] whose memory is in that order: see
:func:`~rdarts.models.kernels.layout.to_nhwc`.

Longer than 400 lines: one protocol, most of it the shapes of what its kernels take and give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

Conv = tuple[int, int, int]
"""Stride, padding and dilation."""


class Rows(NamedTuple):
    """The rows of a mixture that one candidate has, and the batch norm of its images.

    Args:
        edges (int): Their number E.
        moments (Tensor | None): Mean and biased variance of the images, [E, 2, O], or [1, 2, O] of
            one that the edges share, in float64. Defaults to None: no batch norm follows.
        running (tuple[Tensor, Tensor] | None): Running mean and variance, [rows, O].
        affine (Sequence[Tensor]): Weight and bias, [E, O], or nothing.
        momentum, eps (float): The norm's.
        batch (bool): Whether to take the moments, which then move the running ones; else the
            running ones are taken.
        chosen (Sequence[int]): The rows of the running statistics that the E edges are; a ``range``
            where they are all.
    """

    edges: int
    moments: Tensor | None = None
    running: tuple[Tensor, Tensor] | None = None
    affine: Sequence[Tensor] = ()
    momentum: float = 0.0
    eps: float = 0.0
    batch: bool = False
    chosen: Sequence[int] = ()


class Running(NamedTuple):
    """A batch norm by its running statistics.

    Args:
        weight, bias, mean, var (Tensor): [C] each, of the type of the images.
        eps (float): Is added to the variance.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    var: Tensor
    eps: float


class Unit(NamedTuple):
    """ReLU, depthwise and pointwise convolution, and batch norm by its running statistics.

    Args:
        depthwise (Tensor): [C, 1, k, k].
        pointwise (Tensor): [O, C, 1, 1].
        norm (Running): Of O channels.
        conv (Conv): Of the depthwise convolution.
    """

    depthwise: Tensor
    pointwise: Tensor
    norm: Running
    conv: Conv


class Backend(Protocol):
    """The kernels of fused execution.

    Attributes:
        name (str): By which callers name it.
        title (str): What its kernels are written in, as the log names it.
        is_reference (bool): Whether it takes any image, and is what the others are held against.
        has_pointwise (bool): Whether it has :meth:`pointwise_forward` and its backward, and kernels
            of dense 3x3 convolutions: without them the layers between cells run as they are.
        draws_noise (bool): Whether :meth:`mix` and :meth:`mix_sums` take noise as a seed of
            :func:`~rdarts.models.kernels.standard_normal`, and draw it themselves.
    """

    name: str
    title: str
    is_reference: bool
    has_pointwise: bool
    draws_noise: bool

    def unsupported_reasons(
        self, device: torch.device, dtype: torch.dtype, channels: Sequence[int]
    ) -> list[str]:
        """Why it does not take images of this kind; empty where it does.

        Args:
            device (torch.device): Where they are.
            dtype (torch.dtype): Their type.
            channels (Sequence[int]): The numbers of channels of what is read and of what is made.
        """

    def gradient_to_nhwc(self, image: Tensor) -> Tensor:
        """A gradient [N, C, H, W] as [N, H, W, C] in a layout that the kernels read."""

    def fill_normal(self, out: Tensor, seed: int) -> None:
        """Fill with the first numbers of a seed's sequence, as ``kernels/normal.py`` says.

        Args:
            out (Tensor): Contiguous, on a CPU, in float32 or float64.
            seed (int): At least 0, below 2^63.
        """

    def moments(self, y: Tensor) -> Tensor:
        """Mean and biased variance of each channel of [N, H, W, C]: [2, C] in float64."""

    def batch_norm(
        self,
        moments: Tensor,
        count: int,
        running: tuple[Tensor, Tensor] | None,
        affine: Sequence[Tensor],
        momentum: float,
        eps: float,
        batch: bool,
        chosen: Sequence[int],
    ) -> Tensor:
        """What the batch norms of E edges make of y.

        Args:
            moments (Tensor): Mean and biased variance of y, [E, 2, C], or [1, 2, C] of a y that the
                edges share, in float64.
            count (int): Number of pixels of y.
            running (tuple[Tensor, Tensor] | None): Running mean and variance, [rows, C].
            affine (Sequence[Tensor]): Weight and bias, [E, C], or nothing.
            momentum, eps (float): The norm's.
            batch (bool): Whether to take the moments of y, which then move the running ones; else
                the running ones are taken.
            chosen (Sequence[int]): The rows that the E edges are; a ``range`` where they are all.

        Returns:
            Tensor: [4, E, C] in float64: mean, 1 / sqrt(var + eps), and the scale and shift that
            normalise y.
        """

    def batch_norm_backward(
        self,
        norm: Tensor,
        batch: Tensor | bool,
        count: int,
        total: Tensor,
        product: Tensor,
        beta: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Backward of batch norms, and of the mixing weights that their results are times.

        Args:
            norm (Tensor): What :meth:`batch_norm` returned, [4, E, C].
            batch (Tensor | bool): Whether each took the batch's statistics, [E] in float64 or one
                for all.
            count (int): Number of pixels of y.
            total, product (Tensor): Sums over pixels of G and of G y, [E, C] in float64, where G is
                the gradient of the result.
            beta (Tensor | None): What the result is multiplied by, [E] in float64; G is then the
                gradient of the product.

        Returns:
            tuple: [3, E, C] of a, b, c with the gradient a G + b y + c of y; the gradients of
            weight and bias, [E, C]; that of beta, [E], or None. All are in float64.
        """

    def mixture(
        self,
        rows: Sequence[Rows],
        count: int,
        betas: Tensor,
        places: Tensor,
        edges: Tensor,
        num_edges: int,
        channels: int,
        like: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the rows of a mixture are scaled by, and what is added to each edge.

        Args:
            rows (Sequence[Rows]): Those of each candidate, R together.
            count (int): Number of pixels of each image.
            betas (Tensor): Mixing weights, [T].
            places (Tensor): The place of each row's among them, [R], long.
            edges (Tensor): The edge of each row, [R], long.
            num_edges (int): The number J of edges.
            channels (int): The number O of channels.
            like (Tensor): An image.

        Returns:
            tuple[Tensor, Tensor, Tensor, Tensor]: The batch norms as :meth:`batch_norm` returns
            them, [4, R, O], 0, 1, 1 and 0 where there is none; the mixing weight beta of each row,
            [R] in float64; beta times the scale of each row, [R, O]; the sum of beta times the
            shift over the rows of each edge, [J, O]. The latter two have the image's type (float32
            for float16 and bfloat16).
        """

    def mixture_backward(
        self,
        norm: Tensor,
        batch: Tensor | bool,
        count: int,
        totals: Tensor,
        product: Tensor,
        beta: Tensor,
        edges: Tensor,
        places: Tensor,
        betas: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Backward of :meth:`mixture`: :meth:`batch_norm_backward` of its rows.

        Args:
            norm, beta (Tensor): What :meth:`mixture` returned.
            batch (Tensor | bool): Whether each row took the batch's statistics, [R] in float64 or
                one for all.
            count (int): Number of pixels of each image.
            totals (Tensor): Sums over pixels of the gradient of each edge's result, [J, O] in
                float64.
            product (Tensor): Of each row the sum of that of its edge times y, [R, O] in float64.
            edges, places, betas (Tensor): See :meth:`mixture`.

        Returns:
            tuple: [3, R, O] of a, b, c with the gradient a G + b y + c of y; the gradients of
            weight and bias, [R, O]: all in float64. That of ``betas``, in their type.
        """

    def shared_gradient(self, g: Sequence[Tensor], y: Tensor, coefficients: Tensor) -> Tensor:
        """The gradient of an image y that E edges share: the sum of a[e] g[e] + b[e] y + c[e].

        Args:
            g (Sequence[Tensor]): Of each edge, [N, h, w, O].
            y (Tensor): [N, h, w, O].
            coefficients (Tensor): a, b and c, [3, E, O], in the type of the images.
        """

    def separable_forward(
        self,
        x: Tensor,
        norm: Tensor | None,
        depthwise: Tensor,
        pointwise: Tensor,
        conv: Conv,
    ) -> tuple[Tensor, Tensor]:
        """y[e] = pointwise[e] depthwise[e] relu(norm[e] x[e]), for E edges.

        Args:
            x (Tensor): [N, H, W, C], the same for all edges, or [E, N, H, W, C].
            norm (Tensor | None): The batch norms before the ReLU, [4, E, C] as :meth:`batch_norm`
                gave them, or None for no norm.
            depthwise (Tensor): [E, C, 1, k, k].
            pointwise (Tensor): [E, O, C, 1, 1].
            conv (Conv): Of the depthwise convolution.

        Returns:
            tuple[Tensor, Tensor]: y [E, N, h, w, O], and its mean and biased variance, [E, 2, O] in
            float64.
        """

    def separable_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        norm: Tensor | None,
        depthwise: Tensor,
        pointwise: Tensor,
        conv: Conv,
        into: Tensor | None,
        accumulate: bool,
        weights: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Backward of :meth:`separable_forward` and of the batch norm after it.

        The gradient of y is ``coefficients[:, 0] g + coefficients[:, 1] y + coefficients[:, 2]``.

        Args:
            g (Sequence[Tensor]): For each edge the gradient of the normalised y, [N, h, w, O]; or
                one tensor of all of them, [E, N, h, w, O].
            y, x, norm, depthwise, pointwise, conv: See :meth:`separable_forward`.
            coefficients (Tensor): [E, 3, O], in float64 or in the type of the images.
            into (Tensor | None): For a shared x, [N, H, W, C]: takes the gradient of relu(x).
            accumulate (bool): Whether that is added to what ``into`` holds.
            weights (bool): Whether the convolutions' gradients are wanted.

        Returns:
            tuple: ``into``, or the gradient of the normalised x, [E, N, H, W, C]; for the latter
            its sums over pixels and those of its product with x, [E, 2, C] in float64, else None;
            the gradients of ``depthwise`` and ``pointwise``, or None.
        """

    def separable_folded(
        self, x: Tensor, units: Sequence[Unit], out: Tensor, accumulate: bool
    ) -> None:
        """Units in a row, for whose results no gradient is wanted.

        Args:
            x (Tensor): [N, H, W, at least C]: what is behind the C channels of the first unit is
                not read.
            units (Sequence[Unit]): At least one.
            out (Tensor): [N, h, w, at least O], takes the result; what is behind the O channels of
                the last unit are zeros.
            accumulate (bool): Whether that is added to what it holds.
        """

    def keeps_expansion(self, pixels: int, channels: int) -> bool:
        """Whether an inverted bottleneck's expansion is kept for its backward.

        Where it is not, its moments follow from :meth:`covariance`, and it is computed again.

        Args:
            pixels (int): The number of pixels of x.
            channels (int): Its channels.
        """

    def expand_forward(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """1x1 convolutions of x [N, H, W, C] by weight [E, M, C], for E edges.

        Returns:
            tuple[Tensor, Tensor]: Their results w, [E, ...], in a layout of the back end's own;
            mean and biased variance, [E, 2, M] in float64.
        """

    def depthwise_forward(
        self,
        x: Tensor,
        expand: Tensor,
        wide: Tensor | None,
        norm: Tensor,
        weight: Tensor,
        stride: int,
        padding: int,
    ) -> tuple[Tensor, Tensor]:
        """The depthwise convolution of relu6(norm(w)), w as of :meth:`expand_forward`.

        Args:
            x (Tensor): [N, H, W, C].
            expand (Tensor): The expansions' weight, [E, M, C].
            wide (Tensor | None): w, or None where it was not kept.
            norm (Tensor): Batch norms, [4, E, M] as :meth:`batch_norm` gave them.
            weight (Tensor): [E, M, 1, k, k].
            stride, padding (int): Of the convolution.

        Returns:
            tuple[Tensor, Tensor]: Its result, [E, ...] of N h w pixels of M channels, in a layout
            of the back end's own; its mean and biased variance, [E, 2, M] in float64.
        """

    def project_forward(self, x: Tensor, norm: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """1x1 convolutions of relu6(norm(x)).

        Args:
            x (Tensor): What :meth:`depthwise_forward` gave.
            norm (Tensor): Batch norms, [4, E, M].
            weight (Tensor): [E, O, M].

        Returns:
            tuple[Tensor, Tensor]: [E, N, h, w, O]; mean and biased variance, [E, 2, O] in float64.
        """

    def project_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        norm: Tensor,
        weight: Tensor,
        weights: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Backward of :meth:`project_forward` and the batch norms after it.

        Args:
            g (Sequence[Tensor]): For each edge the gradient of the normalised y, [N, h, w, O].
            y (Tensor): The convolutions', [E, N, h, w, O].
            coefficients (Tensor): Of the gradient of y, [3, E, O] in float64: see
                :meth:`batch_norm_backward`.
            x, norm, weight: See :meth:`project_forward`.
            weights (bool): Whether the weight's gradient is wanted.

        Returns:
            tuple[Tensor, Tensor, Tensor | None]: The gradient of norm(x), laid out as x; the sums
            over pixels of it, and of it times x, [E, 2, M] in float64; the weight's gradient.
        """

    def depthwise_backward(
        self,
        g: Tensor,
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        expand: Tensor,
        wide: Tensor | None,
        norm: Tensor,
        weight: Tensor,
        stride: int,
        padding: int,
        into: Tensor,
        weights: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Backward of :meth:`depthwise_forward`, of the norms after it and of the expansions.

        With d, the gradient of norm(w), it adds that of x by w = expand x to ``into``, as if the
        norm's scale and shift depended on nothing. Through the batch statistics that they are made
        of, the gradient of w has further terms b w + c.

        Args:
            g (Tensor): What :meth:`project_backward` gave.
            y (Tensor): What :meth:`depthwise_forward` gave.
            coefficients (Tensor): Of the gradient of y, [3, E, M] in float64.
            x, expand, wide, norm, weight, stride, padding: See :meth:`depthwise_forward`.
            into (Tensor): [N, H, W, C].
            weights (bool): Whether gradients of weights are wanted.

        Returns:
            tuple[Tensor, Tensor | None, Tensor | None]: The sums over pixels of d, and of d w,
            [E, 2, M] in float64; the gradients of ``weight`` and, less those terms, of ``expand``.
        """

    def empty_images(self, like: Tensor, channels: int, height: int, width: int) -> Tensor:
        """Uninitialised [N, channels, height, width] in channels_last; ``like`` is [N, H, W, C]."""

    def mix(
        self,
        outs: Sequence[Tensor],
        accumulate: Sequence[bool],
        terms: Sequence[Tensor],
        edge_of: Sequence[int],
        scales: Tensor,
        shifts: Tensor | None = None,
        x: Tensor | None = None,
        matrices: Tensor | None = None,
    ) -> None:
        """outs[j] = sum of scales[t] terms[t], edge_of[t] = j, + shifts[j] + matrices[j] relu(x).

        Args:
            outs (Sequence[Tensor]): J tensors [N, h, w, C], written.
            accumulate (Sequence[bool]): Of each of them, whether what it holds is added to.
            terms (Sequence[Tensor]): T images: tensors [N, h, w, C], or [E, N, h, w, C] of E of
                them, one after another; or, of a back end that ``draws_noise``, seeds of noise, []
                in int64.
            edge_of (Sequence[int]): The index in ``outs`` of each image.
            scales (Tensor): [T, C].
            shifts (Tensor | None): [J, C].
            x (Tensor | None): [N, h, w, C], with ``matrices``.
            matrices (Tensor | None): [J, C, C].
        """

    def mix_sums(
        self, g: Sequence[Tensor], terms: Sequence[Tensor], edge_of: Sequence[int], x: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The gradients of :meth:`mix` for its scales, shifts and matrices, in float64.

        Args:
            g (Sequence[Tensor]): The gradient of each of the J outs, [N, h, w, C].
            terms, edge_of, x: See :meth:`mix`; without ``x`` there are no matrices.

        Returns:
            tuple[Tensor, Tensor, Tensor | None]: [T, C], [J, C] and [J, C, C].
        """

    def covariance(self, x: Tensor, active: bool) -> tuple[Tensor, Tensor]:
        """Mean [C] and covariance [C, C] over pixels of x or, ``active``, of relu(x), in float64.

        x is [N, H, W, C].
        """

    def input_grad(
        self,
        x: Tensor,
        g: Sequence[Tensor],
        skips: Tensor | None,
        dr: Tensor | None,
        left: Tensor | None = None,
        right: Tensor | None = None,
        row: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """sum_j skips[j] g[j] + [x > 0] (dr + sum_j g[j] left[j] + relu(x) right + row).

        Args:
            x (Tensor): [N, H, W, C].
            g (Sequence[Tensor]): J tensors of x's shape where ``skips`` or ``left`` is given.
            skips (Tensor | None): [J].
            dr (Tensor | None): Of x's shape.
            left (Tensor | None): [J, C, C].
            right (Tensor | None): [C, C].
            row (Tensor | None): [C].
            out (Tensor | None): Where to put it, of x's shape.

        Returns:
            Tensor: Of x's shape.
        """

    def pool_forward(self, x: Tensor, maximum: bool, stride: int) -> tuple[Tensor, Tensor]:
        """3x3 pooling, padding 1: the maximum, or the mean of the pixels inside of the image.

        Returns:
            tuple[Tensor, Tensor]: [N, h, w, C]; its mean and biased variance, [2, C] in float64.
        """

    def pool_backward(
        self, dy: Tensor, x: Tensor, y: Tensor, maximum: bool, stride: int, dx: Tensor
    ) -> None:
        """Add the gradient of x to ``dx`` [N, H, W, C]; of equal maxima the first takes it."""

    def dense_forward(self, x: Tensor, weight: Tensor, conv: Conv) -> tuple[Tensor, Tensor]:
        """y[e] = the convolution of relu(x) by weight[e], for E edges.

        Args:
            x (Tensor): [N, H, W, C].
            weight (Tensor): [E, O, C, k, k].
            conv (Conv): Of the convolutions.

        Returns:
            tuple[Tensor, Tensor]: y [E, N, h, w, O], and its mean and biased variance, [E, 2, O] in
            float64.
        """

    def dense_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        weight: Tensor,
        conv: Conv,
        into: Tensor,
        accumulate: bool,
        weights: bool,
    ) -> Tensor | None:
        """Backward of :meth:`dense_forward` and of the batch norm after it.

        Args:
            g, coefficients: See :meth:`separable_backward`.
            y, x, weight, conv: See :meth:`dense_forward`.
            into (Tensor): [N, H, W, C], takes the gradient of relu(x).
            accumulate (bool): Whether that is added to what ``into`` holds.
            weights (bool): Whether the weight's gradient is wanted.

        Returns:
            Tensor | None: The gradient of ``weight``.
        """

    def factorized_forward(self, x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """1x1 convolutions of stride 2 of relu(x): one, or the two of a factorised reduction.

        Args:
            x (Tensor): [N, H, W, C].
            weights (Sequence[Tensor]): [E, O, C, 1, 1]; or [E, O / 2, C, 1, 1] of both, of which
                the second reads a pixel further.

        Returns:
            tuple[Tensor, Tensor]: y [E, N, ceil(H / 2), ceil(W / 2), O], and its moments [E, 2, O].
        """

    def factorized_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        weights: Sequence[Tensor],
        into: Tensor,
        wanted: bool,
    ) -> list[Tensor | None]:
        """Adds the gradient of relu(x) to ``into``; gives the weights' where ``wanted``."""

    def pointwise_forward(
        self, x: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """1x1 convolutions of the concatenated relu(x[i]); where :attr:`has_pointwise` is set.

        Args:
            x (Sequence[Tensor]): [N, H, W, C_i].
            weights (Sequence[Tensor]): [O, C, 1, 1], C = sum of C_i; or both [O / 2, C, 1, 1] of
                a factorised reduction.

        Returns:
            tuple[Tensor, Tensor]: y [N, h, w, O], and its moments [2, O] in float64.
        """

    def pointwise_backward(
        self,
        g: Tensor,
        y: Tensor,
        coefficients: Tensor,
        x: Sequence[Tensor],
        weights: Sequence[Tensor],
        want_images: bool,
        want_weights: bool,
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Backward of :meth:`pointwise_forward` and of the batch norm after it.

        Args:
            g (Tensor): The gradient of the normalised y, [N, h, w, O].
            y, x, weights: See :meth:`pointwise_forward`.
            coefficients (Tensor): [3, O], see ``batch_norm_backward``.
            want_images, want_weights (bool): Which gradients are wanted.

        Returns:
            tuple: The gradients of x, and those of the weights; None for what is not wanted.
        """

    def pointwise_folded(
        self,
        x: Sequence[Tensor],
        weights: Sequence[Tensor],
        norm: Running,
        channels: int,
        outputs: int,
    ) -> Tensor:
        """:meth:`pointwise_forward` and a batch norm, for whose result no gradient is wanted.

        Args:
            x (Sequence[Tensor]): [N, H, W, at least ``channels``]: what is behind these is not
                read.
            weights (Sequence[Tensor]): See :meth:`pointwise_forward`, with C = ``len(x)`` times
                ``channels``.
            norm (Running): Of O channels.
            channels (int): Those of each x.
            outputs (int): At least O.

        Returns:
            Tensor: [N, h, w, outputs], with zeros behind the O channels.
        """
