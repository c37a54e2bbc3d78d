"""NASI-ADA: NASI whose bound nu, 500 in the first step, is the mean trace of what was drawn."""

over = 'nasi'

default_hooks = dict(architect=dict(architect=dict(nu=500.0, adaptive=True)))
