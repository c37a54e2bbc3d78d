"""The same network at 16 channels and 8 cells, as RobustDARTS evaluates S1 to S4: CIFAR-10."""

_base_ = ['./darts_c10.py']

model = dict(backbone=dict(channels=16, num_cells=8))
