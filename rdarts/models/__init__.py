"""Operations, mixed operations, supernets and derived networks."""

from rdarts.models.backbones import (
    BaseSupernet,
    DARTSNet,
    DARTSSupernet,
    MobileNetLikeNet,
    MobileNetLikeSupernet,
    NASBench201Net,
    NASBench201Supernet,
    find_supernet,
)
from rdarts.models.mixed_ops.mixed_op import MixedOp

__all__ = [
    'BaseSupernet',
    'DARTSNet',
    'DARTSSupernet',
    'MixedOp',
    'MobileNetLikeNet',
    'MobileNetLikeSupernet',
    'NASBench201Net',
    'NASBench201Supernet',
    'find_supernet',
]
