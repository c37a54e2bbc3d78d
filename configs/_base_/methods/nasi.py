"""NASI (Shu et al. 2022): alpha climbs the trace of the tangent kernel; no weight is trained.

At most 100 steps on batches of 64, in one epoch (where that has fewer, `epochs=N` gives more), mu 2
and nu 100, alpha from 0, as its paper has them for the DARTS space; the rate of alpha's optimizer
is 1 / 100. In NAS-Bench-1Shot1 it has mu 1 and nu 1000; for
NAS-Bench-201 there are no numbers, so that those of the DARTS space are taken. Soft Gumbel weights
of the temperature 1 are ours. There is no validation, as there is nothing that has learnt.
"""

schedule_epochs = 1
param_scheduler = None  # of the weights, which stay
train_cfg = dict(max_epochs=1)
train_dataloader = dict(batch_size=64)
arch_dataloader = dict(batch_size=64)
val_dataloader = None
val_evaluator = None
val_cfg = None
arch_optimizer = dict(_delete_=True, type='SGD', lr=1 / 100)
default_hooks = dict(
    architect=dict(
        architect=dict(type='rdarts.NTKTrace', mu=2.0, nu=100.0),
        start_epoch=0,
        arch_clip_grad=None,
        max_steps=100,
    )
)
model = dict(
    backbone=dict(
        alpha_std=0.0, relaxation=dict(type='rdarts.GumbelSoftmax', hard=False, temperature=1.0)
    )
)
