"""r-DARTS, lambda 1, in the same small space."""

_base_ = ['./search_darts.py']

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=1.0))
