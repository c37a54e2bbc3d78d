"""DARTS-AER: the entropy of alpha, in bits, is raised first and lowered later.

The factor is -.2 cos(pi e / E), over those of the epochs in which alpha moves. In the DARTS space
the published code is of second order and leaves `none` out of the entropy. In NAS-Bench-201 it does
neither; there also its other settings: 50 epochs, weight decay 5e-4, Nesterov, the weights before
alpha.
"""

keep_length = ['nb201_digits']

default_hooks = dict(
    architect=dict(
        order=2,
        regularizers=dict(
            aer=dict(
                type='rdarts.AdaptiveEntropy',
                leave_out=['none'],
                lambda_=dict(
                    points=[
                        ({{_base_.default_hooks.architect.start_epoch}}, -0.2),  # noqa: F821
                        ({{_base_.train_cfg.max_epochs}}, 0.2),  # noqa: F821
                    ],
                    interpolation='cosine',
                ),
            )
        ),
    )
)

by = dict(
    nb201=dict(
        schedule_epochs=50,
        param_scheduler=dict(T_max=50, end=50),
        train_cfg=dict(max_epochs=50),
        optim_wrapper=dict(optimizer=dict(nesterov=True, weight_decay=5e-4)),
        default_hooks=dict(
            architect=dict(
                order=1,
                step_order='weights_first',
                regularizers=dict(
                    aer=dict(leave_out=[], lambda_=dict(points=[(0, -0.2), (50, 0.2)]))
                ),
            )
        ),
    ),
    nb201_digits=dict(
        default_hooks=dict(
            architect=dict(
                regularizers=dict(
                    aer=dict(
                        lambda_=dict(
                            points=[
                                (0, -0.2),
                                ({{_base_.train_cfg.max_epochs}}, 0.2),  # noqa: F821
                            ]
                        )
                    )
                )
            )
        ),
    ),
)
