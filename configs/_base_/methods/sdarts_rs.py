"""SmoothDARTS, random (Chen and Hsieh 2020): mixing weights are perturbed while the weights learn.

epsilon grows linearly from .03 to .3, which it reaches after the last epoch, as published; the
other settings are those of the config below.
"""

model = dict(
    backbone=dict(
        relaxation=dict(
            type='rdarts.PerturbedSoftmax',
            epsilon=dict(points=[(0, 0.03), ({{_base_.train_cfg.max_epochs}}, 0.3)]),  # noqa: F821
        )
    )
)
