"""Operations, mixed operations, supernets and derived networks."""

from rdarts.models.alpha import AlphaOwner, find_alpha_owner
from rdarts.models.backbones import (
    BaseSupernet,
    DARTSNet,
    DARTSSupernet,
    MobileNetLikeNet,
    MobileNetLikeSupernet,
    NASBench201Net,
    NASBench201Supernet,
)
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing

__all__ = [
    'AlphaOwner',
    'BaseSupernet',
    'DARTSNet',
    'DARTSSupernet',
    'MixedOp',
    'Mixing',
    'MobileNetLikeNet',
    'MobileNetLikeSupernet',
    'NASBench201Net',
    'NASBench201Supernet',
    'find_alpha_owner',
]
