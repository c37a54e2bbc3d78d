"""The kernels of the Triton back end. Importing this file loads Triton.

Images are [pixels, channels]; ``step`` is how far two pixels are apart, and channels lie together.
A program takes ``BLOCK`` pixels and all channels, ``LANES`` of them with those that are masked, and
computes in ``WIDE``, but sums over pixels in float64, as the reference does. Each writes sums of
its own, which PyTorch adds up: no program waits for another, and the order is always the same.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def mix(
    out,
    terms,
    scales,
    shift,
    steps,
    out_step,
    pixels,
    channels,
    ACCUMULATE: tl.constexpr,
    SHIFT: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """out = sum_t scales[t] terms[t] (+ shift) (+ out)."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[:, None]
    channel = tl.arange(0, LANES)[None, :]
    there = channel < channels
    inside = (pixel < pixels) & there
    total = tl.zeros((BLOCK, LANES), WIDE)
    if SHIFT:
        total += tl.load(shift + channel, there, 0)
    for t in tl.static_range(len(terms)):
        term = tl.load(terms[t] + pixel * steps[t] + channel, inside, 0)
        total += term.to(WIDE) * tl.load(scales[t] + channel, there, 0)
    place = out + pixel * out_step + channel
    if ACCUMULATE:
        total += tl.load(place, inside, 0).to(WIDE)
    tl.store(place, total.to(out.dtype.element_ty), inside)


@triton.jit
def sums(
    found,
    g,
    terms,
    steps,
    g_step,
    num_rows,
    pixels,
    channels,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """found[program, t] = sum of g terms[t], and behind them the sum of g."""
    program = tl.program_id(0).to(tl.int64)
    pixel = program * BLOCK + tl.arange(0, BLOCK)[:, None]
    channel = tl.arange(0, LANES)
    inside = (pixel < pixels) & (channel < channels)[None, :]
    there = channel < channels
    grad = tl.load(g + pixel * g_step + channel[None, :], inside, 0).to(WIDE)
    place = found + program * num_rows * channels + channel
    tl.store(place + len(terms) * channels, tl.sum(grad.to(tl.float64), 0), there)
    for t in tl.static_range(len(terms)):
        term = tl.load(terms[t] + pixel * steps[t] + channel[None, :], inside, 0).to(WIDE)
        tl.store(place + t * channels, tl.sum((grad * term).to(tl.float64), 0), there)


@triton.jit
def _taps(pixel, height, width):
    """The image, row and column of a pixel of images of this size."""
    rest = pixel % (height * width)
    return pixel // (height * width), rest // width, rest % width


@triton.jit
def pool(
    y,
    x,
    found,
    index,
    height,
    width,
    out_height,
    out_width,
    pixels,
    channels,
    STRIDE: tl.constexpr,
    MAXIMUM: tl.constexpr,
    INDEX: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """3x3 pooling, padding 1: y and, in found [programs, 3, C], number, mean and deviation of it.

    The deviation is the sum of squares of the distances to the program's own mean. With ``INDEX``
    it gives instead which of the nine pixels is the maximum, the first of equal ones.
    """
    program = tl.program_id(0).to(tl.int64)
    pixel = program * BLOCK + tl.arange(0, BLOCK)[:, None]
    channel = tl.arange(0, LANES)[None, :]
    inside = (pixel < pixels) & (channel < channels)
    image, row, column = _taps(pixel, out_height, out_width)
    value = tl.zeros((BLOCK, LANES), WIDE)
    count = tl.zeros((BLOCK, LANES), WIDE)
    first = tl.full((BLOCK, LANES), -1, tl.int8)
    for tap in tl.static_range(9):
        r = row * STRIDE + (tap // 3 - 1)
        c = column * STRIDE + (tap % 3 - 1)
        valid = inside & (r >= 0) & (r < height) & (c >= 0) & (c < width)
        place = x + ((image * height + r) * width + c) * channels + channel
        one = tl.load(place, valid, 0).to(WIDE)
        if MAXIMUM:
            # a NaN is taken, as PyTorch takes it
            better = valid & ((first < 0) | (one > value) | (one != one))
            value = tl.where(better, one, value)
            first = tl.where(better, tap, first).to(tl.int8)
        else:
            value += one
            count += tl.where(valid, 1.0, 0.0).to(WIDE)
    place = pixel * channels + channel
    if INDEX:
        tl.store(index + place, first, inside)
    else:
        if not MAXIMUM:
            value = value / tl.maximum(count, 1.0)
        value = value.to(y.dtype.element_ty)
        tl.store(y + place, value, inside)
        value = tl.where(inside, value.to(tl.float64), 0.0)
        number = tl.sum(tl.where(inside, 1.0, 0.0).to(tl.float64), 0)
        mean = tl.sum(value, 0) / tl.maximum(number, 1.0)
        apart = tl.where(inside, value - mean[None, :], 0.0)
        lane = tl.arange(0, LANES)
        to = found + program * 3 * channels + lane
        tl.store(to, number, lane < channels)
        tl.store(to + channels, mean, lane < channels)
        tl.store(to + 2 * channels, tl.sum(apart * apart, 0), lane < channels)


@triton.jit
def pool_backward(
    dx,
    dy,
    index,
    height,
    width,
    out_height,
    out_width,
    pixels,
    channels,
    STRIDE: tl.constexpr,
    MAXIMUM: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """dx += the gradient of the pooled image: each pixel gathers from the windows it lies in."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[:, None]
    channel = tl.arange(0, LANES)[None, :]
    inside = (pixel < pixels) & (channel < channels)
    image, row, column = _taps(pixel, height, width)
    total = tl.zeros((BLOCK, LANES), WIDE)
    for tap in tl.static_range(9):
        r = row + (1 - tap // 3)
        c = column + (1 - tap % 3)
        valid = inside & (r >= 0) & (c >= 0) & (r % STRIDE == 0) & (c % STRIDE == 0)
        r = r // STRIDE
        c = c // STRIDE
        valid = valid & (r < out_height) & (c < out_width)
        place = ((image * out_height + r) * out_width + c) * channels + channel
        grad = tl.load(dy + place, valid, 0).to(WIDE)
        if MAXIMUM:
            total += tl.where(tl.load(index + place, valid, -1) == tap, grad, 0.0)
        else:
            rows = tl.minimum(r * STRIDE + 2, height) - tl.maximum(r * STRIDE - 1, 0)
            columns = tl.minimum(c * STRIDE + 2, width) - tl.maximum(c * STRIDE - 1, 0)
            # outside of the image there is no window, and nothing to divide
            total += grad / tl.where(valid, rows * columns, 1).to(WIDE)
    place = dx + pixel * channels + channel
    total += tl.load(place, inside, 0).to(WIDE)
    tl.store(place, total.to(dx.dtype.element_ty), inside)
