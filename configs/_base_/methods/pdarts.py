"""P-DARTS (Chen et al. 2019): three stages, each deeper and with fewer candidates an edge.

5, 11 and 17 cells with 8, 5 and 3 candidates, those that weigh most, among which `none` competes
like any other. 25 epochs each, of which alpha rests in the first 10; weights, alpha and optimizers
begin anew. Skip connections of stride 1 lose numbers with a probability of .1, .4 and .7, which
fades, as in the command that its authors give. Batches of 96, learning rate .025 -> 0, alpha's 6e-4
and its gradient clipped at 5. The normal cell has at most two skip connections; genotypes of the
other limits are in `genotypes/skips_<limit>.json`. In S1 to S4 candidates go in the same
proportion, but two of each edge stay: of the three in S3, one goes after the first stage.
On ImageNet and in NAS-Bench-201, for which its authors have no search, batches and rates are those
of the config below. In NAS-Bench-201 the stages have 1, 3 and 5 cells a stage of the network, which
with its two residual blocks are 5, 11 and 17 again, and 5, 3 and 2 candidates; every edge keeps its
best, `none` among them, and skip connections have no limit there. On the digits the stages have 1,
2 and 3 cells, and alpha moves from their start on.
"""

leave_out = {'mobilenet_like': 'it adds cells, and limits the skip connections of a cell'}

schedule_epochs = 25
param_scheduler = dict(T_max=25, end=25, eta_min=0.0)
train_cfg = dict(max_epochs=25)
train_dataloader = dict(batch_size=96)
arch_dataloader = dict(batch_size=96)
arch_optimizer = dict(lr=6e-4)
default_hooks = dict(architect=dict(start_epoch=10, arch_clip_grad=5.0))
model = dict(
    backbone=dict(
        mixed_op=dict(
            type='rdarts.SkipDropout',
            # exp(-.2 (e - 10)) from epoch 10 on: exp(-3) in epoch 25
            fading=dict(
                points=[(0, 0.96), (9, 0.6), (10, 1.0), (25, 0.049787068367863944)],
                interpolation=['linear', 'step', 'exponential'],
            ),
        )
    )
)
phases = [
    dict(model=dict(backbone=dict(num_cells=5, mixed_op=dict(rate=0.1)))),
    dict(
        start=dict(type='rdarts.KeepTopOps', keep=5),
        model=dict(backbone=dict(num_cells=11, mixed_op=dict(rate=0.4))),
    ),
    dict(
        start=dict(type='rdarts.KeepTopOps', keep=3),
        model=dict(backbone=dict(num_cells=17, mixed_op=dict(rate=0.7))),
        default_hooks=dict(genotype=dict(discretizer=dict(type='rdarts.LimitedSkips', skips=2))),
    ),
]

below = dict(
    train_dataloader=dict(batch_size={{_base_.train_dataloader.batch_size}}),  # noqa: F821
    arch_dataloader=dict(batch_size={{_base_.arch_dataloader.batch_size}}),  # noqa: F821
    param_scheduler=dict(eta_min={{_base_.param_scheduler.eta_min}}),  # noqa: F821
    arch_optimizer=dict(lr={{_base_.arch_optimizer.lr}}),  # noqa: F821
)
of_pairs = [{key: phase[key] for key in phase if key != 'start'} for phase in phases]
of_nb201, of_digits = (
    [
        dict(model=dict(backbone=dict(cells_per_stage=depths[0], mixed_op=dict(rate=0.1)))),
        dict(
            start=dict(type='rdarts.KeepTopOps', keep=3),
            model=dict(backbone=dict(cells_per_stage=depths[1], mixed_op=dict(rate=0.4))),
        ),
        dict(
            start=dict(type='rdarts.KeepTopOps', keep=2),
            model=dict(backbone=dict(cells_per_stage=depths[2], mixed_op=dict(rate=0.7))),
        ),
    ]
    for depths in ((1, 3, 5), (1, 2, 3))
)
by = dict(
    s1=dict(phases=of_pairs),
    s2=dict(phases=of_pairs),
    s3=dict(
        phases=[
            of_pairs[0],
            dict(of_pairs[1], start=dict(type='rdarts.KeepTopOps', keep=2)),
            of_pairs[2],
        ]
    ),
    s4=dict(phases=of_pairs),
    darts_imagenet=below,
    nb201=dict(below, phases=of_nb201),
    # as long as the config below
    nb201_digits=dict(
        default_hooks=dict(architect=dict(start_epoch=0)),
        model=dict(
            backbone=dict(
                mixed_op=dict(
                    fading=dict(
                        points=[(0, 1.0), (25, 0.006737946999085467)], interpolation='exponential'
                    )
                )
            )
        ),
        phases=[dict(phase, epochs=n) for phase, n in zip(of_digits, (4, 3, 3), strict=True)],
    ),
)
del below, of_pairs, of_nb201, of_digits
