"""Which process of a launch this one is."""

from __future__ import annotations

import os


def is_main_rank() -> bool:
    """Whether this is the first process of a launch, before its process group exists too."""
    return int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0) == 0
