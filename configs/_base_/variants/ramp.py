"""Lambda grows from 0 to .75, that of NAS-Bench-201, over its five epochs."""

default_hooks = dict(architect=dict(lambda_=dict(_delete_=True, points=[(0, 0.0), (4, 0.75)])))
