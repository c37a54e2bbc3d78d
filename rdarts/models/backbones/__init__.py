"""Supernets and derived networks, one file a space."""

from rdarts.models.backbones.base_supernet import BaseSupernet
from rdarts.models.backbones.darts_net import DARTSNet
from rdarts.models.backbones.darts_supernet import DARTSSupernet
from rdarts.models.backbones.mobilenet_like_net import MobileNetLikeNet
from rdarts.models.backbones.mobilenet_like_supernet import MobileNetLikeSupernet
from rdarts.models.backbones.nas_bench_201_net import NASBench201Net
from rdarts.models.backbones.nas_bench_201_supernet import NASBench201Supernet

__all__ = [
    'BaseSupernet',
    'DARTSNet',
    'DARTSSupernet',
    'MobileNetLikeNet',
    'MobileNetLikeSupernet',
    'NASBench201Net',
    'NASBench201Supernet',
]
