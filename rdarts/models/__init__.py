"""Operations, mixed operations, supernets and derived networks."""

from rdarts.models.backbones import (
    BaseSupernet,
    DARTSNet,
    DARTSSupernet,
    NASBench201Net,
    NASBench201Supernet,
    find_supernet,
)
from rdarts.models.mixed_op import MixedOp

__all__ = [
    'BaseSupernet',
    'DARTSNet',
    'DARTSSupernet',
    'MixedOp',
    'NASBench201Net',
    'NASBench201Supernet',
    'find_supernet',
]
