"""beta-DARTS (Ye et al. 2022): lambda of its regulariser grows from 0 to 50 over the search.

The published code of NAS-Bench-201 has 50 e / 100 in epoch e, the other settings are those of the
config below. That of the DARTS space, which is without `none` there as here, stops with an error:
lambda is taken from NAS-Bench-201. By default that code perturbs alpha, which is not done here.
In NAS-Bench-201 its clip of the weights' gradient counts alpha's in the norm; here it does not.
"""

default_hooks = dict(
    architect=dict(
        regularizers=dict(
            beta_decay=dict(
                type='rdarts.BetaDecay',
                lambda_=dict(points=[(0, 0.0), ({{_base_.train_cfg.max_epochs}}, 50.0)]),  # noqa: F821
            )
        )
    )
)

by = dict(
    darts=dict(
        model=dict(backbone=dict(space=dict(_delete_=True, type='darts', leave_out=['none'])))
    )
)
