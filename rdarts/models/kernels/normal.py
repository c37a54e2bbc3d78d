"""Normal numbers as a function of a seed and of their place in its sequence.

A counter-based generator, Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2,
3, 2011), and the transformation of Box and Muller. It uses integers, and sums, products, quotients
and square roots that are each rounded by themselves, so that every machine, and ``csrc/normal.cpp``
with any vectors, gives the same numbers bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

BLOCK = 64
"""Counters whose numbers lie together: all their first ones, then all their second ones, ..."""

PIECE = 128 * BLOCK  # counters at a time: what is computed then stays in the cache

Array = np.ndarray[Any, Any]


class Real(NamedTuple):
    """How numbers lie in memory, and the factors of polynomials, lowest power first.

    In x = s^2 or t^2: of (2 atanh(s) / s - 2) / x for s up to (sqrt(2) - 1) / (sqrt(2) + 1), of
    sin(pi t / 4) / t and of cos(pi t / 4) for t up to 1.
    """

    real: type[np.floating]
    bits: type[np.unsignedinteger]
    fraction: int
    bias: int
    one: int
    root_half: int
    log: Sequence[float]
    sine: Sequence[float]
    cosine: Sequence[float]


SINGLE = Real(
    *(np.float32, np.uint32, 23, 127, 0x3F800000, 0x3F3504F3),
    (0.666666865, 0.3998878, 0.295799494),
    (0.785398185, -0.0807454363, 0.00249000685, -3.59542901e-05),
    (1.0, -0.308424264, 0.0158499107, -0.000318877486),
)
DOUBLE = Real(
    *(np.float64, np.uint64, 52, 1023, 0x3FF0000000000000, 0x3FE6A09E667F3BCD),
    (
        *(0.66666666666666697, 0.3999999999989950, 0.28571428625975485, 0.22222211134795080),
        *(0.18182889125261722, 0.15331721600556041, 0.14616449685043406),
    ),
    (
        *(0.78539816339744831, -0.080745512188280539, 0.0024903945701888438),
        *(-3.6576204158913875e-05, 3.1336162254334162e-07, -1.7571500746983934e-09),
        6.8773605731663256e-12,
    ),
    (
        *(0.99999999999999995, -0.30842513753403784, 0.015854344243741546),
        *(-0.00032599188648354014, 3.5908591798502380e-06, -2.4609507094028117e-08),
        1.1365469207731353e-10,
    ),
)
REALS = {np.dtype(one.real): one for one in (SINGLE, DOUBLE)}


def philox(counter: Sequence[Array], key: Sequence[int]) -> list[Array]:
    """Philox 4x32-10.

    Args:
        counter (Sequence[ndarray]): Four words of 32 bits, [n] each, in uint64.
        key (Sequence[int]): Two words.

    Returns:
        list[ndarray]: Four random words, [n] each, in uint64.
    """
    word, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b, c, d = counter
    for i in range(10):
        left, right = (
            np.uint64((one + i * step) & 0xFFFFFFFF)
            for one, step in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)
        )
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (q >> half) ^ b ^ left, q & word, (p >> half) ^ d ^ right, p & word
    return [a, b, c, d]


def box_muller(a: Array, b: Array, dtype: np.dtype) -> tuple[Array, Array]:
    """Two normal numbers of two words: 31 random bits and a sign each.

    With u of the bits of a and the angle (1 + t) pi / 4 of those of b,

        sqrt(-2 log u) cos((1 + t) pi / 4) = sqrt(-log u) (cos(t pi / 4) - sin(t pi / 4)),

    and its sine likewise. u has 30 bits, so the largest number is sqrt(62 log 2) = 6.56.

    Args:
        a, b (ndarray): Words of 32 bits, [n], in uint32.
        dtype (dtype): float32 or float64. Numbers in float64 are within 2e-15 of the formula's;
            in float32 1e-7 away (root of the mean square), but more where u is so close to 1 that
            float32 has few numbers there: up to 2e-4 of a radius near 0.
    """
    of = REALS[dtype]
    real, bits = of.real, of.bits
    fraction, shift = bits((1 << of.fraction) - 1), bits(of.fraction)
    # u 2^31 = m 2^e, with m from sqrt(1/2) to sqrt(2)
    u = ((a & np.uint32(0x7FFFFFFF)) | np.uint32(1)).astype(real)
    x = u.view(bits) + bits(of.one - of.root_half)
    m = ((x & fraction) + bits(of.root_half)).view(real)
    halvings = real(of.bias + 31) - (x >> shift).astype(real)
    s = (m - real(1)) / (m + real(1))
    s2 = s * s
    log_m = s * (s2 * _polynomial(of.log, s2) + real(2))
    radius = np.sqrt(halvings * real(0.693147180559945309) - log_m)
    t = (b << np.uint32(1)).view(np.int32).astype(real) * real(2.0**-31)
    t2 = t * t
    sine, cosine = t * _polynomial(of.sine, t2), _polynomial(of.cosine, t2)
    return (
        np.where(a >> 31, -radius, radius) * (cosine - sine),
        np.where(b >> 31, -radius, radius) * (cosine + sine),
    )


def _polynomial(factors: Sequence[float], x: Array) -> Array:
    *rest, total = map(x.dtype.type, factors)
    for factor in reversed(rest):
        total = total * x + factor
    return total


def standard_normals(seed: int, out: Array) -> None:
    """Fill with the first numbers of the sequence of a seed.

    Args:
        seed (int): Of 64 bits.
        out (ndarray): [n], contiguous, in float32 or float64.
    """
    key = (seed & 0xFFFFFFFF, seed >> 32)
    for start in range(0, len(out), 4 * PIECE):
        part = out[start : start + 4 * PIECE]
        blocks = -(-len(part) // (4 * BLOCK))
        index = np.arange(start // 4, start // 4 + blocks * BLOCK, dtype=np.uint64)
        zero = np.zeros_like(index)
        words = philox([index & np.uint64(0xFFFFFFFF), index >> np.uint64(32), zero, zero], key)
        words = [word.astype(np.uint32) for word in words]
        drawn = [*box_muller(*words[:2], out.dtype), *box_muller(*words[2:], out.dtype)]
        whole = np.stack([one.reshape(blocks, BLOCK) for one in drawn], 1).reshape(-1)
        part[:] = whole[: len(part)]
