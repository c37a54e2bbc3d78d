"""The memory that the C++ kernels keep for their results."""

from __future__ import annotations

import torch


def release_memory(unused_only: bool = False) -> None:
    """Give back to the system the memory that the C++ kernels keep for the results of a next step.

    They give back by themselves what nothing was in for half a minute of steps. This is for a
    process that goes on with something else: a training calls it as it ends.

    Args:
        unused_only (bool): Whether memory stays in which a result was since the kernels last
            looked: at the last such call, or by themselves, each half a minute of steps. Defaults
            to False: all goes in which none is now.
    """
    release = getattr(torch.ops.rdarts, 'release_memory', None)
    if release is not None:  # the kernels have been loaded
        release(not unused_only)
