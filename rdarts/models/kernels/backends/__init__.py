"""The back ends: the same kernels, each on its kind of device."""

from rdarts.models.kernels.backends.base import Backend, Conv, Rows, Running, Unit
from rdarts.models.kernels.backends.choose import (
    BACKENDS,
    choose_backend,
    declined_by_native,
    get_backend,
    has_cpp,
    use_backend,
)

__all__ = [
    'BACKENDS',
    'Backend',
    'Conv',
    'Rows',
    'Running',
    'Unit',
    'choose_backend',
    'declined_by_native',
    'get_backend',
    'has_cpp',
    'use_backend',
]
