"""GDAS (Dong and Yang 2019): one candidate an edge is drawn, tau falls from 10 to .1.

tau begins to fall when alpha begins to move. In NAS-Bench-201 with the settings of its authors'
code: 250 epochs, weight decay 5e-4, Nesterov, the weights before alpha. Elsewhere the schedule is
that of the config below.
"""

keep_length = ['nb201_digits']

model = dict(
    backbone=dict(
        relaxation=dict(
            type='rdarts.GumbelSoftmax',
            temperature=dict(
                points=[({{_base_.default_hooks.architect.start_epoch}}, 10.0), (49, 0.1)]  # noqa: F821
            ),
        )
    )
)

by = dict(
    nb201=dict(
        schedule_epochs=250,
        param_scheduler=dict(T_max=250, end=250),
        train_cfg=dict(max_epochs=250),
        optim_wrapper=dict(optimizer=dict(nesterov=True, weight_decay=5e-4)),
        default_hooks=dict(architect=dict(step_order='weights_first')),
        model=dict(
            backbone=dict(relaxation=dict(temperature=dict(points=[(0, 10.0), (249, 0.1)])))
        ),
    ),
    nb201_digits=dict(
        model=dict(backbone=dict(relaxation=dict(temperature=dict(points=[(0, 10.0), (9, 0.1)])))),
    ),
    mobilenet_like_imagenet=dict(
        model=dict(
            backbone=dict(
                relaxation=dict(
                    temperature=dict(
                        points=[({{_base_.default_hooks.architect.start_epoch}}, 10.0), (159, 0.1)]  # noqa: F821
                    )
                )
            )
        )
    ),
)
