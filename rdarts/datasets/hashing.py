"""Numbers that are a pure function of a key and a position, on every machine and version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_WORDS = 8  # 64-bit words in one BLAKE2b digest
# of SplitMix64 (Steele et al. 2014, https://doi.org/10.1145/2660193.2660195)
_STEP = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_UINT64 = 0xFFFFFFFFFFFFFFFF


def hash_stream(length: int, *key: int | str) -> np.ndarray:
    """The first numbers of the stream that belongs to a key.

    BLAKE2b in counter mode: element i depends on the key and on i only, never on ``length``,
    and unlike a library's generator it does not change between releases.

    Args:
        length (int): How many numbers.
        *key (int | str): What the stream is for, such as a seed, a name and an epoch.

    Returns:
        np.ndarray: uint64 of shape [length].
    """
    # int() because the repr of a NumPy integer depends on NumPy's version.
    plain = tuple(part if isinstance(part, str) else int(part) for part in key)
    prefix = hashlib.blake2b(repr(plain).encode(), digest_size=64).digest()
    blocks = -(-length // _WORDS)
    stream = b''.join(
        hashlib.blake2b(prefix + block.to_bytes(8, 'little')).digest() for block in range(blocks)
    )
    return np.frombuffer(stream, dtype='<u8')[:length].astype(np.uint64)


def hash_permutation(length: int, *key: int | str) -> np.ndarray:
    """A permutation that belongs to a key.

    Args:
        length (int): How many elements.
        *key (int | str): What the permutation is for.

    Returns:
        np.ndarray: int64 of shape [length], a permutation of 0 .. length - 1.
    """
    return np.argsort(hash_stream(length, *key), kind='stable')


class SampleGenerator:
    """Random numbers for a batch, one stream for each sample.

    The k-th number of a sample is SplitMix64's at counter k of the sample's seed: it depends on
    nothing else, so neither on the rest of the batch nor on who draws.

    Args:
        seeds (Sequence[int] | np.ndarray): 64 bits, unsigned, one a sample.
    """

    def __init__(self, seeds: Sequence[int] | np.ndarray) -> None:
        self._seeds = np.asarray(seeds, dtype=np.uint64)
        self._count = 0

    def bits(self) -> np.ndarray:
        """The next number of every stream.

        Returns:
            np.ndarray: uint64 of shape [N].
        """
        self._count += 1
        values = self._seeds + np.uint64(self._count * _STEP & _UINT64)
        for shift, factor in _MIX:
            values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
        return values ^ (values >> np.uint64(31))

    def integers(self, high: int) -> np.ndarray:
        """Uniform integers.

        Args:
            high (int): Exclusive, at most 2^32; a probability is off by 2^-32 at most.

        Returns:
            np.ndarray: int64 of shape [N], in 0 .. high - 1.
        """
        high32 = self.bits() >> np.uint64(32)
        return (high32 * np.uint64(high) >> np.uint64(32)).astype(np.int64)

    def uniform(self) -> np.ndarray:
        """Uniform numbers.

        Returns:
            np.ndarray: float64 of shape [N], in [0, 1), multiples of 2^-53.
        """
        return (self.bits() >> np.uint64(11)) * 2.0**-53
