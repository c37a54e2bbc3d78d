"""SNAS (Xie et al. 2019): weights and alpha learn from one backward pass, on all training images.

150 epochs, the temperature of the concrete distribution falls linearly to .03, which is an option
of the published code (`--temp_annealing`), whose scheduler has stepped once before epoch 0. Alpha
has plain SGD of the rate 3e-4 and its gradient is clipped at 10. It starts at N(0, .01); published
is N(1, .01), which makes the same weights. Every edge is kept, with its strongest candidate; the
other published rule is `default_hooks.genotype.discretizer=rdarts.TopEdges`. In NAS-Bench-201,
where its authors have no code, epochs and temperature are those of a run by DrNAS's authors: 100,
and 10 - .09 e in epoch e. That run is of two levels on halves of the images, with alpha's Adam of
the rate 3e-4 and weight decay 1e-3; a single level, all images and alpha's SGD are ours there. The
penalty of resources, an option of its code, is `default_hooks.architect.regularizers.cost.lambda_`:
of the cost of a draw over that of equal weights. Validation is on training images.
"""

keep_length = ['nb201_digits']

schedule_epochs = 150
param_scheduler = dict(T_max=150, end=150)
train_cfg = dict(max_epochs=150)
train_dataloader = dict(dataset=dict(part='both'))
arch_dataloader = None
arch_optimizer = dict(_delete_=True, type='SGD', lr=3e-4)
default_hooks = dict(
    architect=dict(
        architect='rdarts.SingleLevel',
        arch_clip_grad=10.0,
        start_epoch=0,
        regularizers=dict(
            cost=dict(type='rdarts.ExpectedCost', lambda_=0.0, reference='equal', drawn=True)
        ),
    ),
    genotype=dict(discretizer='rdarts.Argmax'),
)
model = dict(
    backbone=dict(
        alpha_std=0.01,
        relaxation=dict(
            type='rdarts.GumbelSoftmax',
            hard=False,
            temperature=dict(points=[(0, 0.03 + 0.97 * 149 / 150), (149, 0.03)]),
        ),
    )
)

by = dict(
    nb201=dict(
        schedule_epochs=100,
        param_scheduler=dict(T_max=100, end=100),
        train_cfg=dict(max_epochs=100),
        model=dict(
            backbone=dict(relaxation=dict(temperature=dict(points=[(0, 10.0), (100, 1.0)])))
        ),
    ),
    nb201_digits=dict(
        model=dict(
            backbone=dict(
                relaxation=dict(
                    temperature=dict(points=[(0, 10.0), ({{_base_.train_cfg.max_epochs}}, 1.0)])  # noqa: F821
                )
            )
        ),
    ),
)
