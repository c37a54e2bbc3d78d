"""r-DARTS's other setting in NAS-Bench-201 (AAAI 2026): lambda .5, stopped after 15 epochs."""

default_hooks = dict(architect=dict(lambda_=0.5))

by = dict(nb201=dict(train_cfg=dict(max_epochs=15)))
