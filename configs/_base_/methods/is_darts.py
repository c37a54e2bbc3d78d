"""IS-DARTS (He et al. 2024): no alpha; candidates that tell little are pruned as the weights learn.

All candidates weigh the same, and the weights learn from all training images. Now and then these
pass the network once more, and the candidates with the largest scores are pruned. In the DARTS
space 50 epochs: seven shrinks, after every third epoch from the 29th on, until each node has two
pairs of an edge and an operation. In NAS-Bench-201 30 epochs: after 22, 24, 26 and 28 of them an
edge loses its worst candidate. SGD's rate is .025 -> .001 with Nesterov's momentum and weight decay
3e-4, the gradient is clipped at 5, batches are of 64, the last one may be smaller, and batch norms
take the statistics of the batch, in the pass as well. On ImageNet .05, batches of 256 and no clip;
the published code draws a tenth of the images there, here it is an eighth.

S1 to S4 and the MobileNet-like space have nothing published: S1 to S4 are as the DARTS space, and
a layer of the latter keeps one operation after as many shrinks, with batch norms and the weights'
settings of the config below but for the 50 epochs. Validation is on training images.
"""

keep_length = ['nb201_digits']

schedule_epochs = 50
param_scheduler = dict(T_max=50, end=50)
train_cfg = dict(max_epochs=50)
train_dataloader = dict(drop_last=False, dataset=dict(part='both'))
arch_dataloader = None
optim_wrapper = dict(optimizer=dict(nesterov=True))
default_hooks = dict(
    architect=dict(
        architect=dict(
            type='rdarts.ImportanceShrinking',
            shrink_epochs=[29, 32, 35, 38, 41, 44, 47],
            per='node',
            keep=2,
        ),
        start_epoch=0,
        arch_clip_grad=None,
    ),
    genotype=dict(discretizer=dict(type='rdarts.TopOperations', k=2)),
)
model = dict(
    backbone=dict(
        alpha_std=0.0,
        track_running_stats=False,
        relaxation=dict(type='rdarts.EqualWeights', of='space'),
    )
)

one_an_edge = dict(
    architect=dict(architect=dict(per='edge', keep=1)), genotype=dict(discretizer=None)
)
by = dict(
    darts_imagenet=dict(
        train_dataloader=dict(batch_size=256),
        optim_wrapper=dict(optimizer=dict(lr=0.05), clip_grad=None),
        param_scheduler=dict(
            _delete_=True, type='CosineAnnealingLR', T_max=50, end=50, eta_min=1e-3
        ),
    ),
    nb201=dict(
        schedule_epochs=30,
        param_scheduler=dict(T_max=30, end=30),
        train_cfg=dict(max_epochs=30),
        default_hooks=dict(
            one_an_edge,
            architect=dict(architect=dict(per='edge', keep=1, shrink_epochs=[22, 24, 26, 28])),
        ),
    ),
    nb201_digits=dict(
        default_hooks=dict(architect=dict(architect=dict(shrink_epochs=[5, 6, 7, 8]))),
    ),
    mobilenet_like=dict(
        default_hooks=one_an_edge, model=dict(backbone=dict(track_running_stats=True))
    ),
)
del one_an_edge
