"""DARTS- (Chu et al. 2021): an auxiliary skip connection on every edge, which fades to 0.

Its factor falls linearly over the search; first order, the other settings are those of the config
below, as published in the DARTS space on CIFAR. Its code has neither NAS-Bench-201 nor ImageNet.
That code's ramp from epoch 10 to 40, which stays where epoch 40 leaves it, is
`model.backbone.mixed_op.beta.points=[(10,1.0),(40,.25)]`.
"""

model = dict(
    backbone=dict(
        mixed_op=dict(
            type='rdarts.AuxiliarySkip',
            beta=dict(points=[(0, 1.0), ({{_base_.train_cfg.max_epochs}}, 0.0)]),  # noqa: F821
        )
    )
)
