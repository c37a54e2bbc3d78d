"""DARTS, first order, on scikit-learn's digits in a small NAS-Bench-201: minutes on a CPU.

Alpha's rate is ten times that of the other searches, our choice: it takes 110 steps here.
"""

_base_ = [
    '../_base_/models/nas_bench_201_supernet.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/search_nb201.py',
    '../_base_/search_runtime.py',
]

model = dict(backbone=dict(cells_per_stage=1))
default_hooks = dict(checkpoint=dict(iter_interval=20))
arch_optimizer = dict(lr=3e-3)
train_cfg = dict(max_epochs=10)
