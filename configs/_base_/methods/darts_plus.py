"""DARTS+ (Liang et al. 2019): DARTS, ended when the normal cell has two skip connections.

`patience=10` in place of `skips` is its other rule. There is no official code; the other settings
are those of the config below. In NAS-Bench-201, where the paper has no search, all edges count.
"""

leave_out = {'mobilenet_like': 'it counts the skip connections of a cell'}

default_hooks = dict(stop_rules=dict(type='rdarts.StopRulesHook', skips=2))
