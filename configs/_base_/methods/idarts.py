"""iDARTS (Zhang et al. 2021): the implicit gradient of alpha, two terms of its Neumann series.

Alpha moves after every fourth step of the weights. In NAS-Bench-201 with the settings of its
authors' notebook: 30 epochs, learning rate .01 -> .001, weight decay 5e-4, Nesterov; elsewhere,
where they have no code, the settings are those of the config below. What that notebook really does
is `default_hooks.architect.architect.as_published=True`.
"""

keep_length = ['nb201_digits']

default_hooks = dict(
    architect=dict(
        architect=dict(type='rdarts.Neumann', terms=2), every=4, step_order='weights_first'
    )
)

by = dict(
    nb201=dict(
        schedule_epochs=30,
        param_scheduler=dict(T_max=30, end=30),
        train_cfg=dict(max_epochs=30),
        optim_wrapper=dict(optimizer=dict(lr=0.01, nesterov=True, weight_decay=5e-4)),
    ),
)
