"""r-DARTS (AAAI 2026): lambda 1; in NAS-Bench-201 lambda .75 and 5 epochs.

The paper has lambda 1 for its searches on CIFAR-10 in the DARTS space and on ImageNet in the
MobileNet-like space, and lambda .75 for CIFAR in NAS-Bench-201; taking them on other data, and
lambda 1 in S1 to S4, is our choice. Its appendix is not available: the other settings are those of
the config below, DARTS's or, in NAS-Bench-201, beta-DARTS's, whose schedule of 100 epochs is
stopped after the fifth. All eight operations, `none` included, and no perturbation of alpha,
whereas beta-DARTS's published code leaves `none` out and perturbs.
"""

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=1.0))

by = dict(
    nb201=dict(default_hooks=dict(architect=dict(lambda_=0.75)), train_cfg=dict(max_epochs=5)),
    # as long as the config below
    nb201_digits=dict(train_cfg=dict(max_epochs={{_base_.train_cfg.max_epochs}})),  # noqa: F821
)
