"""DARTS-PT (Wang et al. 2021): a supernet is trained, then each edge keeps what is missed most.

Phase 0 is the search of DARTS, 50 epochs in the DARTS space and 100 in NAS-Bench-201; `init=FOLDER`
stands for it: any search of the same space and network (DARTS, SmoothDARTS, r-DARTS). Phase 1 has
its weights and alpha, a tenth of its learning rate, and decides: one edge of each cell type at a
time, in the DARTS space one node of each after that. 81 epochs there, 25 in NAS-Bench-201, at a
constant rate, as published. In the DARTS space the rate falls from .0025 to .001; the published
code makes this schedule, but takes no step of it: `param_scheduler=None` of phase 1.

As published the DARTS space is without `none`. With alpha at rest throughout
(`default_hooks.architect.max_steps=0`) it is the paper's DARTS-PT with alpha fixed (`blank`). In
the layerwise space and on ImageNet, where its authors do not search, what is said here of phase 1
is ours: a tenth of the rate below, and 5 epochs a turn. On the digits each decision has an epoch.
"""

phases = [
    dict(),
    dict(
        continue_from_last=['weights', 'alpha'],
        schedule_epochs=81,
        optim_wrapper=dict(optimizer=dict(lr=0.0025)),
        param_scheduler=dict(T_max=81, end=81),
        train_cfg=dict(type='rdarts.PerturbationSelection', max_epochs=81),
    ),
]

constant = {
    name: dict(
        continue_from_last=['weights', 'alpha'],
        schedule_epochs=epochs,
        optim_wrapper=dict(optimizer=dict(lr=rate)),
        param_scheduler=dict(_delete_=True, type='ConstantLR', factor=1.0, end=epochs),
        default_hooks=dict(architect=dict(start_epoch=0)),
        train_cfg=dict(type='rdarts.PerturbationSelection', max_epochs=epochs),
    )
    for name, epochs, rate in [
        ('nb201', 25, 0.0025),
        ('nb201_digits', 6, 0.0025),
        ('mobilenet_like', 100, 0.0025),
        ('darts_imagenet', 81, 0.05),
    ]
}
by = {name: dict(phases=[dict(), phase]) for name, phase in constant.items()}
by['nb201_digits']['phases'][0] = dict(train_cfg=dict(max_epochs=4))
by['darts'] = dict(
    model=dict(backbone=dict(space=dict(_delete_=True, type='darts', leave_out=['none'])))
)
del constant
