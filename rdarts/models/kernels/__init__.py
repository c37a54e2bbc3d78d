"""What fused.py is made of: PyTorch functions, and the same in C++ for CPUs.

Images are tensors of shape [N, H, W, C] whose memory is in that order (PyTorch's channels_last
seen by :func:`rows`). ``csrc/fused.cpp`` is compiled at its first use where a compiler is
there, and kept. ``RDARTS_NATIVE=0`` leaves it out; nothing needs it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

SOURCE = Path(__file__).resolve().parent / 'csrc' / 'fused.cpp'
LANES = 8  # channels must be a multiple of it for C++

Conv = tuple[int, int, int]
"""Stride, padding and dilation."""


def rows(image: Tensor) -> Tensor:
    """[N, C, H, W] as [N, H, W, C], contiguous: a view where memory is in channels_last."""
    image = image.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).contiguous()
    _, height, width, channels = image.shape
    strides = (height * width * channels, width * channels, channels, 1)
    # PyTorch does not look at the strides of sizes of 1, but C++ goes by them
    return image if image.stride() == strides else image.as_strided(image.shape, strides)


def gradient_rows(image: Tensor) -> Tensor:
    """:func:`rows` of a gradient: C++ takes channels of a larger tensor as they are."""
    view = image.permute(0, 2, 3, 1)
    _, height, width, channels = view.shape
    step = view.stride(2)
    even = view.stride() == (height * width * step, width * step, step, 1) and step >= channels
    return view if even and use_native(view) else rows(image)


def columns(image: Tensor) -> Tensor:
    """[N, H, W, C] as [N, C, H, W], a view."""
    return image.permute(0, 3, 1, 2)


# ------------------------------------------------------------------------------- the C++ library


def cache_folder() -> Path:
    """Where the compiled library is kept: ``RDARTS_CACHE``, or a folder of the user's cache."""
    if os.environ.get('RDARTS_CACHE'):
        return Path(os.environ['RDARTS_CACHE'])
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'rdarts'


def _cpu() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor()
    return ''.join(
        line for line in lines[:40] if line.startswith(('model name', 'flags', 'Features'))
    )


def _flags() -> list[str]:
    """What the compiler is told, less where things lie."""
    return [
        f'-std={"c++20" if torch.__version__ >= "2.13" else "c++17"}',  # compares as versions
        *('-O3', '-march=native', '-ffp-contract=fast', '-fopenmp'),
        *('-fPIC', '-shared', '-Wno-psabi'),
        f'-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}',
        *('-ltorch_cpu', '-lc10'),
    ]


def _compile(compiler: str, target: Path) -> None:
    """Compile the library; it appears whole, whatever other process does the same."""
    package = Path(torch.__file__).parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        output = Path(folder) / target.name
        places = [f'-I{package / "include"}', str(SOURCE), '-o', str(output)]
        # the libraries come last: a linker looks for what stands before them
        command = [compiler, *places, f'-L{package / "lib"}', *_flags()]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        os.replace(output, target)


def _version(compiler: str) -> str | None:
    """What a compiler says of itself; None where it does not work."""
    try:
        done = subprocess.run(
            [compiler, '--version'], check=True, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _digest(*parts: str) -> str:
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:16]


def _library(compiler: str | None) -> Path:
    """The library that a compiler would make, or has made.

    Its name says source, PyTorch and CPU, and then compiler, its version and its flags. Without a
    compiler that works, the newest of this source, PyTorch and CPU is taken, if there is one.
    """
    source = SOURCE.read_text(encoding='utf-8')
    name = f'fused_{_digest(source, torch.__version__, _cpu(), sys.platform)}'
    suffix = importlib.machinery.EXTENSION_SUFFIXES[-1]
    version = None if compiler is None else _version(compiler)
    if version is None:
        made = list(cache_folder().glob(f'{name}_*{suffix}'))
        if made:
            return max(made, key=lambda path: path.stat().st_mtime)
    build = _digest(os.path.realpath(compiler or ''), version or '', *_flags())
    return cache_folder() / f'{name}_{build}{suffix}'


@functools.cache
def native() -> bool:
    """Load the C++ operators, compiling them first where that has not been done.

    Returns:
        bool: Whether ``torch.ops.rdarts`` is there.
    """
    if os.environ.get('RDARTS_NATIVE', '1') == '0' or sys.platform == 'win32':
        return False
    compiler = shutil.which(os.environ.get('CXX', 'c++')) or shutil.which('g++')
    try:
        library = _library(compiler)
        if not library.exists():
            if compiler is None:
                raise OSError('no C++ compiler was found')
            print_log('compiling the kernels of fused: about half a minute, once', 'current')
            _compile(compiler, library)
        torch.ops.load_library(str(library))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        lines = (getattr(error, 'stderr', None) or str(error)).strip().splitlines() or [repr(error)]
        reason = next((line for line in lines if 'error' in line), lines[0])
        print_log(f'fused runs in PyTorch, not in C++, which is faster: {reason}', 'current')
        return False
    return True


def is_native(device: torch.device, dtype: torch.dtype, channels: int) -> bool:
    """Whether the C++ operators take images of this kind."""
    return (
        device.type == 'cpu'
        and dtype in (torch.float32, torch.float64)
        and channels % LANES == 0
        and native()
    )


def use_native(x: Tensor) -> bool:
    """Whether the C++ operators take this tensor of shape [N, H, W, C]."""
    return is_native(x.device, x.dtype, x.shape[-1])


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type that x is computed in: autocast's, but float32 on a CPU that lacks bfloat16."""
    device = x.device.type
    if not torch.is_autocast_enabled(device):
        return x.dtype
    dtype = torch.get_autocast_dtype(device)
    if device == 'cpu' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return dtype


def autocast_of(x: Tensor) -> torch.autocast:
    """A context in which PyTorch's functions of x and of float32 parameters are in x's type.

    A backward pass runs outside the autocast of its forward pass.
    """
    half = x.dtype in (torch.float16, torch.bfloat16)
    return torch.autocast(x.device.type, x.dtype if half else None, enabled=half)


# ------------------------------------------------------------------------------------- statistics


def _moments(y: Tensor, dims: Sequence[int]) -> Tensor:
    if y.dtype in (torch.float16, torch.bfloat16):
        y = y.float()
    var, mean = torch.var_mean(y, dims, correction=0)
    return torch.stack([mean, var], -2).double()


def moments(y: Tensor) -> Tensor:
    """Mean and biased variance of each channel of [N, H, W, C]: [2, C] in float64."""
    if use_native(y):
        return torch.ops.rdarts.moments(y)
    return _moments(y, (0, 1, 2))


def batch_norm(
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
        chosen (Sequence[int]): The rows that the E edges are.

    Returns:
        Tensor: [4, E, C] in float64: mean, 1 / sqrt(var + eps), and the scale and shift that
        normalise y.
    """
    if moments.device.type == 'cpu' and native():
        return torch.ops.rdarts.batch_norm(
            moments,
            count,
            *(running or (None, None)),
            *(affine or (None, None)),
            momentum,
            eps,
            batch,
            list(chosen),
        )
    index = torch.tensor(chosen, device=moments.device)
    if batch:
        mean, var = moments.expand(len(chosen), -1, -1).unbind(1)
        if running is not None:
            for buffer, new in zip(running, (mean, var * (count / (count - 1))), strict=True):
                buffer[index] = torch.lerp(buffer[index].double(), new, momentum).to(buffer.dtype)
    else:
        mean, var = (buffer[index].double() for buffer in running)
    inverse = torch.rsqrt(var + eps)
    scale = inverse * affine[0] if affine else inverse
    shift = affine[1] - mean * scale if affine else -mean * scale
    return torch.stack([mean, inverse, scale, shift])


def batch_norm_backward(
    norm: Tensor, batch: Tensor | bool, count: int, total: Tensor, product: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of batch norms.

    Args:
        norm (Tensor): What :func:`batch_norm` returned, [4, E, C].
        batch (Tensor | bool): Whether each took the batch's statistics, [E, 1] or one for all.
        count (int): Number of pixels of y.
        total, product (Tensor): Sums over pixels of G and of G y, [E, C] in float64, where G is
            the gradient of the output.

    Returns:
        tuple[Tensor, Tensor]: [3, E, C] of a, b, c with the input's gradient a G + b y + c; the
        weight's gradient, [E, C]. (The bias's is ``total``.)
    """
    mean, inverse, scale, _ = norm.unbind(0)
    weight = inverse * torch.addcmul(product, mean, total, value=-1)
    factor = scale * batch / count
    slope = factor * inverse * weight
    return torch.stack([scale, -slope, mean * slope - factor * total]), weight


# ------------------------------------------------------------------------- separable convolutions


def _activated(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    return torch.relu(x) if scale is None else torch.relu(x * scale + shift).to(x.dtype)


def separable_forward(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    depthwise: Tensor,
    pointwise: Tensor,
    conv: Conv,
) -> tuple[Tensor, Tensor]:
    """y[e] = pointwise[e] depthwise[e] relu(scale[e] x[e] + shift[e]), for E edges.

    Args:
        x (Tensor): [N, H, W, C], the same for all edges, or [E, N, H, W, C].
        scale, shift (Tensor | None): [E, C], or None for 1 and 0.
        depthwise (Tensor): [E, C, 1, k, k].
        pointwise (Tensor): [E, O, C, 1, 1].
        conv (Conv): Of the depthwise convolution.

    Returns:
        tuple[Tensor, Tensor]: y [E, N, h, w, O], and its mean and biased variance, [E, 2, O] in
        float64.
    """
    if use_native(x) and pointwise.shape[1] % LANES == 0:
        return torch.ops.rdarts.separable_forward(x, scale, shift, depthwise, pointwise, *conv)
    stride, padding, dilation = conv
    parts = []
    shared = columns(_activated(x, None, None)) if x.dim() == 4 else None
    for e, (d, p) in enumerate(zip(depthwise, pointwise, strict=True)):
        active = shared
        if active is None:
            active = columns(_activated(x[e], scale[e], shift[e]))
        features = F.conv2d(active, d, None, stride, padding, dilation, groups=d.shape[0])
        parts.append(rows(F.conv2d(features, p)))
    y = torch.stack(parts)
    return y, _moments(y, (1, 2, 3))


def _conv_backward(
    g: Tensor, x: Tensor, weight: Tensor, conv: Conv, groups: int, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    stride, padding, dilation = conv
    sizes = ([stride] * 2, [padding] * 2, [dilation] * 2)
    dx, dw, _ = torch.ops.aten.convolution_backward(
        g, x, weight, None, *sizes, False, [0, 0], groups, [*wanted, False]
    )
    return dx, dw


def _depthwise_input_grad(g: Tensor, x: Tensor, weight: Tensor, conv: Conv) -> Tensor:
    stride, padding, dilation = conv
    size = weight.shape[-1]
    if stride == 1 and g.device.type == 'cpu':
        # PyTorch's own backward is up to nine times slower than its forward on a CPU
        lead = dilation * (size - 1) - padding
        return F.conv2d(g, weight.flip(2, 3), None, 1, lead, dilation, groups=weight.shape[0])
    return _conv_backward(g, x, weight, conv, weight.shape[0], (True, False))[0]


def separable_backward(
    g: Sequence[Tensor],
    y: Tensor,
    coefficients: Tensor,
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    depthwise: Tensor,
    pointwise: Tensor,
    conv: Conv,
    into: Tensor | None,
    accumulate: bool,
    weights: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Backward of :func:`separable_forward` and of the batch norm after it.

    The gradient of y is ``coefficients[:, 0] g + coefficients[:, 1] y + coefficients[:, 2]``.

    Args:
        g (Sequence[Tensor]): For each edge the gradient of the normalised y, [N, h, w, O].
        y, x, scale, shift, depthwise, pointwise, conv: See :func:`separable_forward`.
        coefficients (Tensor): [E, 3, O].
        into (Tensor | None): For a shared x, [N, H, W, C]: takes the gradient of relu(x).
        accumulate (bool): Whether that is added to what ``into`` holds.
        weights (bool): Whether the convolutions' gradients are wanted.

    Returns:
        tuple: ``into``, or the gradient of scale x + shift, [E, N, H, W, C]; for the latter its
        sums over pixels and those of its product with x, [E, 2, C] in float64, else None; the
        gradients of ``depthwise`` and ``pointwise``, or None.
    """
    if use_native(x) and pointwise.shape[1] % LANES == 0:
        return torch.ops.rdarts.separable_backward(
            list(g),
            y,
            coefficients,
            x,
            scale,
            shift,
            depthwise,
            pointwise,
            *conv,
            into,
            accumulate,
            weights,
        )
    stride, padding, dilation = conv
    shared = x.dim() == 4
    result = into if shared else torch.empty_like(x)
    sums, depthwise_grads, pointwise_grads = [], [], []
    active = columns(_activated(x, None, None)) if shared else None
    for e, (d, p) in enumerate(zip(depthwise, pointwise, strict=True)):
        if not shared:
            active = columns(_activated(x[e], scale[e], shift[e]))
        a, b, c = coefficients[e].unbind(0)
        dy = columns((a * g[e] + b * y[e] + c).to(y.dtype))
        df = F.conv2d(dy, p.transpose(0, 1))
        if weights:
            features = F.conv2d(active, d, None, stride, padding, dilation, groups=d.shape[0])
            pointwise_grads.append(_conv_backward(dy, features, p, (1, 0, 1), 1, (False, True))[1])
            wanted = (False, True)
            depthwise_grads.append(_conv_backward(df, active, d, conv, d.shape[0], wanted)[1])
        dx = rows(_depthwise_input_grad(df, active, d, conv))
        if shared:
            result = result.add_(dx) if accumulate or e else result.copy_(dx)
            continue
        torch.where(
            rows(active) <= 0, torch.zeros((), dtype=dx.dtype, device=dx.device), dx, out=result[e]
        )
        sums.append(torch.stack([_sum(result[e]), _sum(result[e] * x[e])]))
    stack = torch.stack
    return (
        result,
        stack(sums) if sums else None,
        stack(depthwise_grads) if weights else None,
        stack(pointwise_grads) if weights else None,
    )


def _sum(image: Tensor) -> Tensor:
    return image.sum((0, 1, 2), dtype=torch.float64)


# ---------------------------------------------------------------------------- inverted bottlenecks


def relu6(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """relu6(scale x + shift), for x [N, H, W, C] and scale, shift [C]."""
    if use_native(x):
        return torch.ops.rdarts.relu6_forward(x, scale, shift)
    return (x * scale + shift).clamp_(0, 6).to(x.dtype)


def relu6_backward(d: Tensor, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Backward of :func:`relu6`.

    Args:
        d (Tensor): The gradient of its result, [N, H, W, C]; becomes that of scale x + shift.
        x, scale, shift (Tensor): See :func:`relu6`.

    Returns:
        tuple[Tensor, Tensor]: What d has become; the sums over pixels of it, and of it times x,
        [2, C] in float64.
    """
    if use_native(x):
        return d, torch.ops.rdarts.relu6_backward(d, x, scale, shift)
    d = torch.ops.aten.hardtanh_backward(d, (x * scale + shift).to(x.dtype), 0.0, 6.0)
    return d, torch.stack([_sum(d), _sum(d * x)])


def depthwise_forward(
    x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, stride: int, padding: int
) -> tuple[Tensor, Tensor]:
    """The depthwise convolution of relu6(scale x + shift).

    Args:
        x, scale, shift (Tensor): See :func:`relu6`.
        weight (Tensor): [C, 1, k, k].
        stride, padding (int): Of the convolution.

    Returns:
        tuple[Tensor, Tensor]: [N, h, w, C], and its mean and biased variance, [2, C] in float64.
    """
    if use_native(x):
        return torch.ops.rdarts.depthwise_forward(x, scale, shift, weight, stride, padding)
    active = columns(relu6(x, scale, shift))
    y = rows(F.conv2d(active, weight, None, stride, padding, groups=len(weight)))
    return y, _moments(y, (0, 1, 2))


def depthwise_backward(
    g: Tensor,
    y: Tensor,
    coefficients: Tensor,
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    weights: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Backward of :func:`depthwise_forward` and the batch norm after it.

    Args:
        g (Tensor): The gradient of the batch norm's result, [N, h, w, C].
        y (Tensor): The convolution's.
        coefficients (Tensor): Of the gradient of y, [3, C]: see :func:`batch_norm_backward`.
        x, scale, shift, weight, stride, padding: See :func:`depthwise_forward`.
        weights (bool): Whether the weight's gradient is wanted.

    Returns:
        tuple[Tensor, Tensor, Tensor | None]: The gradient of scale x + shift, [N, H, W, C]; the
        sums over pixels of it, and of it times x, [2, C] in float64; the weight's gradient.
    """
    if use_native(x):
        dx, sums, dw = torch.ops.rdarts.depthwise_backward(
            g, y, coefficients, x, scale, shift, weight, stride, padding, weights
        )
        return dx, sums, dw if weights else None
    a, b, c = coefficients
    d = columns((a * g + b * y + c).to(x.dtype))
    args = (d, columns(relu6(x, scale, shift)), weight, (stride, padding, 1))
    dw = _conv_backward(*args, len(weight), (False, True))[1] if weights else None
    return *relu6_backward(rows(_depthwise_input_grad(*args)), x, scale, shift), dw


# ----------------------------------------------------------------------------------------- noise

PIECE = 1 << 15


def standard_normal(out: Tensor) -> Tensor:
    """Fill with N(0, 1), a function of the state of torch's generator, and move that.

    On a CPU each piece of 2^15 numbers has a generator of its own, seeded with a number from
    torch's and its place, so that cores share the work and their number changes nothing.

    Args:
        out (Tensor): Contiguous, of any shape.
    """
    if out.device.type != 'cpu':
        return out.normal_()
    seed = int(torch.randint(1 << 62, ()))
    if out.dtype in (torch.float32, torch.float64) and native():
        torch.ops.rdarts.standard_normal(out, seed, PIECE)
        return out
    for i, piece in enumerate(out.view(-1).split(PIECE)):
        piece.normal_(generator=torch.Generator().manual_seed(seed + i))
    return out


# ---------------------------------------------------------------------------------------- mixing


def empty_images(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    """An uninitialised [N, channels, height, width] in channels_last, for ``like`` [N, H, W, C]."""
    sizes = (like.shape[0], channels, height, width)
    if use_native(like):
        return torch.ops.rdarts.empty_images(sizes, like)
    return like.new_empty(0).new_empty(sizes).contiguous(memory_format=torch.channels_last)


def mix(
    outs: Sequence[Tensor],
    accumulate: Sequence[bool],
    terms: Sequence[Tensor],
    edge_of: Sequence[int],
    scales: Tensor,
    shifts: Tensor | None = None,
    x: Tensor | None = None,
    matrices: Tensor | None = None,
) -> None:
    """outs[j] = sum of scales[t] terms[t] with edge_of[t] = j, + shifts[j] + matrices[j] relu(x).

    Args:
        outs (Sequence[Tensor]): J tensors [N, h, w, C], written.
        accumulate (Sequence[bool]): Of each of them, whether what it holds is added to.
        terms (Sequence[Tensor]): T tensors [N, h, w, C].
        edge_of (Sequence[int]): The index in ``outs`` of each term.
        scales (Tensor): [T, C].
        shifts (Tensor | None): [J, C].
        x (Tensor | None): [N, h, w, C], with ``matrices``.
        matrices (Tensor | None): [J, C, C].
    """
    if use_native(outs[0]):
        torch.ops.rdarts.mix(
            list(outs), list(accumulate), list(terms), list(edge_of), scales, shifts, x, matrices
        )
        return
    active = None if matrices is None else torch.relu(x)
    for j, out in enumerate(outs):
        if not accumulate[j]:
            out.zero_()
        if shifts is not None:
            out += shifts[j]
        for t, term in enumerate(terms):
            if edge_of[t] == j:
                out.addcmul_(term, scales[t])
        if matrices is not None:
            out += active @ matrices[j].t().to(active.dtype)


def mix_sums(
    g: Sequence[Tensor], terms: Sequence[Tensor], edge_of: Sequence[int], x: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of :func:`mix` for its scales, shifts and matrices, in float64.

    Args:
        g (Sequence[Tensor]): The gradient of each of the J outs, [N, h, w, C].
        terms, edge_of, x: See :func:`mix`; without ``x`` there are no matrices.

    Returns:
        tuple[Tensor, Tensor, Tensor | None]: [T, C], [J, C] and [J, C, C].
    """
    if use_native(g[0]):
        return torch.ops.rdarts.mix_sums(list(g), list(terms), list(edge_of), x)
    channels = g[0].shape[-1]
    products = [_sum(g[j] * term) for term, j in zip(terms, edge_of, strict=True)]
    matrices = None
    if x is not None:
        active = torch.relu(x).reshape(-1, channels)
        matrices = torch.stack([one.reshape(-1, channels).t() @ active for one in g]).double()
    empty = g[0].new_zeros(0, channels, dtype=torch.float64)
    return (
        torch.stack(products) if products else empty,
        torch.stack([_sum(one) for one in g]),
        matrices,
    )


def relu_covariance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [C] and covariance [C, C] of relu(x) over pixels, in float64; x is [N, H, W, C]."""
    if use_native(x):
        return torch.ops.rdarts.relu_covariance(x)
    flat = torch.relu(x).reshape(-1, x.shape[-1])
    flat = flat if flat.dtype == torch.float64 else flat.float()
    mean = flat.mean(0)
    centred = flat - mean
    return mean.double(), (centred.t() @ centred).double() / len(flat)


def input_grad(
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
    if out is None:
        out = rows(empty_images(x, x.shape[-1], *x.shape[1:3]))
    if use_native(x):
        torch.ops.rdarts.input_grad(x, list(g), skips, dr, left, right, row, out)
        return out
    inner = torch.zeros_like(x) if dr is None else dr.clone()
    if left is not None:
        for one, matrix in zip(g, left, strict=True):
            inner += one @ matrix.to(one.dtype)
    if right is not None:
        inner += torch.relu(x) @ right.to(x.dtype)
    if row is not None:
        inner += row
    zero = torch.zeros((), dtype=inner.dtype, device=x.device)
    out.copy_(torch.where(x <= 0, zero, inner))
    if skips is not None:
        for one, skip in zip(g, skips, strict=True):
            out.addcmul_(one, skip)
    return out


# --------------------------------------------------------------------------------------- pooling


def pool_forward(x: Tensor, maximum: bool, stride: int) -> tuple[Tensor, Tensor]:
    """3x3 pooling, padding 1: the maximum, or the mean of the pixels inside of the image.

    Returns:
        tuple[Tensor, Tensor]: [N, h, w, C], and its mean and biased variance, [2, C] in float64.
    """
    if use_native(x):
        return torch.ops.rdarts.pool_forward(x, maximum, stride)
    if maximum:
        y = F.max_pool2d(columns(x), 3, stride, padding=1)
    else:
        y = F.avg_pool2d(columns(x), 3, stride, padding=1, count_include_pad=False)
    y = rows(y)
    return y, _moments(y, (0, 1, 2))


def pool_backward(dy: Tensor, x: Tensor, y: Tensor, maximum: bool, stride: int, dx: Tensor) -> None:
    """Add the gradient of x to ``dx`` [N, H, W, C]; of equal maxima the first takes it."""
    if use_native(x):
        torch.ops.rdarts.pool_backward(dy, x, y, maximum, stride, dx)
        return
    aten, sizes = torch.ops.aten, ([3, 3], [stride] * 2, [1, 1])
    if maximum:
        _, index = aten.max_pool2d_with_indices(columns(x), *sizes)
        grad = aten.max_pool2d_with_indices_backward(
            columns(dy), columns(x), *sizes, [1, 1], False, index
        )
    else:
        grad = aten.avg_pool2d_backward(columns(dy), columns(x), *sizes, False, False, None)
    dx += rows(grad)


# ---------------------------------------------------------------------------- dense convolutions


def _is_3x3(weight: Tensor, conv: Conv) -> bool:
    outputs, inputs = weight.shape[1:3]
    return weight.shape[-1] == 3 and conv == (1, 1, 1) and not (outputs % LANES or inputs % LANES)


def dense_forward(x: Tensor, weight: Tensor, conv: Conv) -> tuple[Tensor, Tensor]:
    """y[e] = the convolution of relu(x) by weight[e], for E edges.

    Args:
        x (Tensor): [N, H, W, C].
        weight (Tensor): [E, O, C, k, k].
        conv (Conv): Of the convolutions.

    Returns:
        tuple[Tensor, Tensor]: y [E, N, h, w, O], and its mean and biased variance, [E, 2, O] in
        float64.
    """
    if use_native(x) and _is_3x3(weight, conv):
        return torch.ops.rdarts.conv3x3_forward(x, weight)
    y = _wide_conv(torch.relu(x), weight, conv)
    return y, stacked_moments(y)


def _wide_conv(x: Tensor, weight: Tensor, conv: Conv) -> Tensor:
    """All edges' convolutions of x as one: [E, N, h, w, O]."""
    stride, padding, dilation = conv
    y = rows(F.conv2d(columns(x), weight.flatten(0, 1), None, stride, padding, dilation))
    return y.unflatten(3, weight.shape[:2]).permute(3, 0, 1, 2, 4)


def stacked_moments(y: Tensor) -> Tensor:
    """Moments of each edge of what :func:`_wide_conv` gave: [E, 2, O] in float64."""
    wide = y.permute(1, 2, 3, 0, 4).flatten(3)
    return moments(wide).unflatten(1, (y.shape[0], y.shape[-1])).transpose(0, 1)


def dense_backward(
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
    """Backward of :func:`dense_forward` and of the batch norm after it.

    Args:
        g, coefficients: See :func:`separable_backward`.
        y, x, weight, conv: See :func:`dense_forward`.
        into (Tensor): [N, H, W, C], takes the gradient of relu(x).
        accumulate (bool): Whether that is added to what ``into`` holds.
        weights (bool): Whether the weight's gradient is wanted.

    Returns:
        Tensor | None: The gradient of ``weight``.
    """
    if use_native(x) and _is_3x3(weight, conv):
        dw = torch.ops.rdarts.conv3x3_backward(
            list(g), y, coefficients, x, weight, into, accumulate, weights
        )
        return dw if weights else None
    dy = dense_gradient(g, y, coefficients)
    active = torch.relu(x) if weights else x
    dx, dw = _conv_backward(
        columns(dy), columns(active), weight.flatten(0, 1), conv, 1, (True, weights)
    )
    into.copy_(rows(dx)) if not accumulate else into.add_(rows(dx))
    return dw.view_as(weight) if weights else None


def dense_gradient(g: Sequence[Tensor], y: Tensor, coefficients: Tensor) -> Tensor:
    """The gradient of y [E, N, h, w, O] as [N, h, w, E * O]; see :func:`separable_backward`."""
    edges, _, height, width, channels = y.shape
    dy = rows(empty_images(y[0], edges * channels, height, width))
    parts = dy.unflatten(3, (edges, channels)).unbind(3)
    a, b, c = coefficients.unbind(1)
    terms = [*g, *y.unbind(0)]
    mix(parts, [False] * edges, terms, [*range(edges)] * 2, torch.cat([a, b]), c)
    return dy


def factorized_forward(x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """1x1 convolutions of stride 2 of relu(x): one, or the two of a factorised reduction.

    Args:
        x (Tensor): [N, H, W, C].
        weights (Sequence[Tensor]): [E, O, C, 1, 1]; or [E, O / 2, C, 1, 1] of both, of which the
            second reads a pixel further.

    Returns:
        tuple[Tensor, Tensor]: y [E, N, ceil(H / 2), ceil(W / 2), O], and its moments [E, 2, O].
    """
    images = _shifted(torch.relu(x))[: len(weights)]
    parts = [_wide_conv(one, w, (1, 0, 1)) for one, w in zip(images, weights, strict=True)]
    y = torch.cat([part.permute(1, 2, 3, 0, 4) for part in parts], -1).permute(3, 0, 1, 2, 4)
    return y, stacked_moments(y)


def _shifted(active: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs of both branches of a factorised reduction."""
    pad = (0, 0, 0, active.shape[2] % 2, 0, active.shape[1] % 2)
    padded = F.pad(active, pad) if any(pad) else active
    return active[:, ::2, ::2].contiguous(), padded[:, 1::2, 1::2].contiguous()


def factorized_backward(
    g: Sequence[Tensor],
    y: Tensor,
    coefficients: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    into: Tensor,
    wanted: bool,
) -> list[Tensor | None]:
    """Adds the gradient of relu(x) to ``into``; gives the weights' where ``wanted``."""
    dy = dense_gradient(g, y, coefficients).unflatten(3, (len(g), -1))
    images = _shifted(torch.relu(x))[: len(weights)]
    found, start = [], 0
    for branch, (image, weight) in enumerate(zip(images, weights, strict=True)):
        part = dy[..., start : start + weight.shape[1]].flatten(3).contiguous()
        start += weight.shape[1]
        flat = weight.flatten(0, 1)
        mask = (True, wanted)
        dx, dw = _conv_backward(columns(part), columns(image), flat, (1, 0, 1), 1, mask)
        found.append(dw.view_as(weight) if wanted else None)
        to = into[:, branch::2, branch::2]
        to += rows(dx)[:, : to.shape[1], : to.shape[2]]
    return found


# ------------------------------------------------------------------------ pointwise convolutions


def pointwise_forward(x: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """1x1 convolutions of the concatenated relu(x[i]); in C++ only.

    Args:
        x (Sequence[Tensor]): [N, H, W, C_i].
        weights (Sequence[Tensor]): [O, C, 1, 1] with C = sum of C_i; or both [O / 2, C, 1, 1] of a
            factorised reduction.

    Returns:
        tuple[Tensor, Tensor]: y [N, h, w, O], and its moments [2, O] in float64.
    """
    return torch.ops.rdarts.pointwise_forward(list(x), list(weights), len(weights))


def pointwise_backward(
    g: Tensor,
    y: Tensor,
    coefficients: Tensor,
    x: Sequence[Tensor],
    weights: Sequence[Tensor],
    want_images: bool,
    want_weights: bool,
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Backward of :func:`pointwise_forward` and of the batch norm after it.

    Args:
        g (Tensor): The gradient of the normalised y, [N, h, w, O].
        y, x, weights: See :func:`pointwise_forward`.
        coefficients (Tensor): [3, O], see :func:`batch_norm_backward`.
        want_images, want_weights (bool): Which gradients are wanted.

    Returns:
        tuple: The gradients of x, and those of the weights; None for what is not wanted.
    """
    images, found = torch.ops.rdarts.pointwise_backward(
        g, y, coefficients, list(x), list(weights), len(weights), want_images, want_weights
    )
    return images or [None] * len(x), found or [None] * len(weights)
