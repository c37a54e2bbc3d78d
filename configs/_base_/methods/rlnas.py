"""RLNAS (Zhang et al. 2021): a supernet learns random labels; the angle of its weights says enough.

Phase 0 trains a supernet without alpha, one uniform path a step, on all training images, each of
which has a label that was drawn once; it keeps the weights that it began with. Phase 1 looks for
the network whose weights turned most, and needs no image: 20 generations of 50, 25 mutations with
probability .1 and 25 crossovers of the best 10, as published; in NAS-Bench-201 of 100, 50 and 50 of
the best 30.

Its numbers: in NAS-Bench-201 250 epochs, batches of 64, rate .025 -> .001, weight decay 5e-4,
Nesterov. The DARTS space on CIFAR is as the config below, 50 epochs; on ImageNet 50 epochs on
batches of 512, 48 channels and 14 cells, 600 million multiply-adds at most. The layerwise space on
ImageNet has its own widths, 120 epochs on batches of 512, 475 million at most. On ImageNet the rate
falls .25 -> 5e-4 in a line (here by epoch), weight decay is 4e-5 (here of batch norms too), labels
are smoothed by .1 and each number of a gradient is clipped at 5. Skip connections stand for an
identity matrix but in NAS-Bench-201. Elsewhere what is not said here is that of the config below.
"""

over = 'single_path'

train_dataloader = dict(dataset=dict(part='both', labels='random'))
evaluator = dict(_delete_=True, type='rdarts.Angle', identity=True)
phases = [
    dict(
        val_dataloader=None,
        val_evaluator=None,
        val_cfg=None,
        default_hooks=dict(initial_weights=dict(type='rdarts.InitialWeightsHook')),
    ),
    dict(runner_type='rdarts.QuerySearch', train_cfg=None),
]

imagenet = dict(
    train_dataloader=dict(batch_size=512, dataset=dict(subset=1.0)),
    optim_wrapper=dict(
        optimizer=dict(lr=0.25, weight_decay=4e-5),
        clip_grad=dict(_delete_=True, type='value', clip_value=5.0),
    ),
)
line = dict(_delete_=True, type='LinearLR', start_factor=1.0, end_factor=0.002, by_epoch=True)
by = dict(
    nb201=dict(
        train_dataloader=dict(batch_size=64),
        optim_wrapper=dict(optimizer=dict(lr=0.025, weight_decay=5e-4, nesterov=True)),
        param_scheduler=dict(eta_min=1e-3),
        model=dict(backbone=dict(track_running_stats=True)),
        strategy=dict(population=100, parents=30, mutations=50, crossovers=50),
        evaluator=dict(identity=False),
        budget=2000,
    ),
    nb201_digits=dict(
        strategy=dict(population=50, parents=10, mutations=25, crossovers=25), budget=100
    ),
    darts_imagenet=dict(
        imagenet,
        param_scheduler=dict(line, end=50),
        model=dict(
            backbone=dict(channels=48, num_cells=14),
            head=dict(
                loss=dict(
                    _delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
                )
            ),
        ),
        limits=dict(macs=600e6),
    ),
    mobilenet_like_imagenet=dict(
        imagenet,
        param_scheduler=dict(line, end=120),
        model=dict(
            backbone=dict(
                space=dict(
                    _delete_=True,
                    type='mobilenet_like',
                    widths=[32, 56, 112, 128, 256, 432],
                    depths=[4, 4, 4, 4, 4, 1],
                    strides=[2, 2, 2, 1, 2, 1],
                ),
                stem_channels=40,
                first_channels=24,
                last_channels=1728,
            )
        ),
        limits=dict(macs=475e6),
    ),
)
del imagenet, line
