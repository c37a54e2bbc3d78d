"""SmoothDARTS, adversarial (Chen and Hsieh 2020): the weights learn under the worst mixing weights.

Seven steps of PGD within epsilon, which grows linearly from .03 to .3 and reaches that after the
last epoch, as published; the other settings are those of the config below.
"""

default_hooks = dict(
    architect=dict(
        architect=dict(
            type='rdarts.AdversarialMixing',
            epsilon=dict(points=[(0, 0.03), ({{_base_.train_cfg.max_epochs}}, 0.3)]),  # noqa: F821
        )
    )
)
