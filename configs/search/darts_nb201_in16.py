"""DARTS (Liu et al. 2019), first order, in NAS-Bench-201 on ImageNet16-120.

100 epochs, with the settings that beta-DARTS publishes for this space.
"""

_base_ = [
    '../_base_/models/nas_bench_201_supernet.py',
    '../_base_/datasets/imagenet16_120.py',
    '../_base_/schedules/search_nb201.py',
    '../_base_/search_nb201_runtime.py',
]
