"""What watches the retraining of DARTS on CIFAR: drop-path that grows to .2."""

_base_ = ['./default_runtime.py']

default_hooks = dict(drop_path=dict(type='rdarts.DropPathHook', prob=0.2))
