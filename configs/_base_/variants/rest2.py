"""Alpha rests for the first two epochs."""

default_hooks = dict(architect=dict(start_epoch=2))
