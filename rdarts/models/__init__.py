"""Operations, mixed operations, supernets and derived networks."""

from rdarts.engine import checkpoint  # noqa: F401  (init_cfg loads through the safe loader)
from rdarts.models.backbones import (
    BaseSupernet,
    DARTSSupernet,
    NASBench201Net,
    NASBench201Supernet,
    find_supernet,
)
from rdarts.models.mixed_op import MixedOp

__all__ = [
    'BaseSupernet',
    'DARTSSupernet',
    'MixedOp',
    'NASBench201Net',
    'NASBench201Supernet',
    'find_supernet',
]
