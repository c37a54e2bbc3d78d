"""Numbers that are a pure function of a key and a position, on every machine and version."""

from __future__ import annotations

import hashlib

import numpy as np

_WORDS = 8  # 64-bit words in one BLAKE2b digest


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
