"""What fused execution is made of: kernels by back end, layout, memory, noise, precision."""

from rdarts.models.kernels.backends import (
    Backend,
    Conv,
    Rows,
    Running,
    Unit,
    choose_backend,
    declined_by_native,
    use_backend,
)
from rdarts.models.kernels.backends.cpp import LANES
from rdarts.models.kernels.layout import to_nchw, to_nhwc
from rdarts.models.kernels.memory import release_memory
from rdarts.models.kernels.noise import noise_seed, standard_normal

__all__ = [
    'LANES',
    'Backend',
    'Conv',
    'Rows',
    'Running',
    'Unit',
    'choose_backend',
    'declined_by_native',
    'noise_seed',
    'release_memory',
    'standard_normal',
    'to_nchw',
    'to_nhwc',
    'use_backend',
]
