"""Single path, one-shot (Guo et al. 2020, SPOS): a supernet along random paths, then evolution.

Phase 0 trains a supernet without alpha, one uniform path a step, and validates nothing, as no
network is chosen yet. Phase 1 asks it: 20 generations of 50, 25 mutations with probability .1 and
25 crossovers of the best 10, each network with its inherited weights on the validation images,
after its batch norms took the statistics of 200 batches of 128 training images, as published.
`init=FOLDER`, the work directory of another search of the same space and network, stands for
phase 0.

The layerwise space on ImageNet has SPOS's numbers: 150,000 iterations on batches of 1024, 120
epochs, rate .5 -> 0 in a line (here by epoch), weight decay 4e-5, label smoothing .1, no clip,
330 million multiply-adds at most. Its own space has other blocks and no affine batch norms. It
validates on 8,000 of the official validation images; here on 4 % of the training images, which the
weights do not see. In NAS-Bench-201 the settings are those of PA-DA's comparison: 250 epochs,
batches of 256, rate .05 -> 0, weight decay 2.5e-4, and batch norms that take the statistics of each
batch, so that none are taken before. In the layerwise space on CIFAR-10 the search is a small one:
200 queries, the mean over 20 batches before each, 110 million multiply-adds at most, which is the
median of random networks. Elsewhere what is not said here is that of the config below.
"""

keep_length = ['nb201_digits']

arch_dataloader = None
default_hooks = dict(architect=dict(architect=dict(type='rdarts.PathTraining'), start_epoch=0))
model = dict(backbone=dict(relaxation=dict(type='rdarts.SinglePath')))

strategy = dict(type='rdarts.Evolution', population=50, parents=10, mutations=25, crossovers=25)
evaluator = dict(type='rdarts.Supernet', recalibrate=200, batch_size=128, momentum=0.1)
budget = 1000

phases = [
    dict(val_dataloader=None, val_evaluator=None, val_cfg=None),
    dict(runner_type='rdarts.QuerySearch', train_cfg=None),
]

most_images = dict(dataset=dict(subset=1.0, fraction=0.96))
by = dict(
    nb201=dict(
        schedule_epochs=250,
        train_cfg=dict(max_epochs=250),
        train_dataloader=dict(batch_size=256),
        optim_wrapper=dict(optimizer=dict(lr=0.05, weight_decay=2.5e-4)),
        param_scheduler=dict(T_max=250, end=250, eta_min=0.0),
        model=dict(backbone=dict(track_running_stats=False)),
        evaluator=dict(recalibrate=0),
    ),
    nb201_digits=dict(train_dataloader=dict(batch_size=64), budget=100),
    mobilenet_like_c10=dict(
        strategy=dict(population=25, parents=5, mutations=12, crossovers=12),
        evaluator=dict(recalibrate=20, momentum=None),
        budget=200,
        limits=dict(macs=110e6),
    ),
    mobilenet_like_imagenet=dict(
        schedule_epochs=120,
        train_cfg=dict(max_epochs=120),
        train_dataloader=dict(batch_size=1024, **most_images),
        val_dataloader=most_images,
        optim_wrapper=dict(optimizer=dict(lr=0.5, nesterov=False), clip_grad=None),
        param_scheduler=dict(
            _delete_=True,
            type='LinearLR',
            start_factor=1.0,
            end_factor=1 / 120,
            end=120,
            by_epoch=True,
        ),
        limits=dict(macs=330e6),
    ),
)
del most_images
