"""DARTS (Liu et al. 2019), second order (unrolled): as the config below, which is first order."""

default_hooks = dict(architect=dict(order=2))
