"""RobustDARTS (Zela et al. 2020), DARTS-ADA: weight decay that grows where a collapse begins.

Second order. Where the largest eigenvalue of the Hessian of L_val in alpha has grown, measured
every other epoch, the search goes back to the epoch before the growth and on with ten times the
weight decay, from 3e-4 up to .03. As in the published scripts, for S1 to S4; these ask for cutout
too, which the code then leaves out where no path is dropped. Elsewhere the numbers are the same,
and the other settings those of the config below.
Its other variants are options of this one: docs/en/methods.md.
"""

default_hooks = dict(
    architect=dict(order=2),
    adaptive_decay=dict(
        type='rdarts.AdaptiveDecayHook',
        times=10.0,
        most=0.03,
        start_epoch=11,
        measure_interval=2,
        window=5,
        delta=4,
    ),
)
