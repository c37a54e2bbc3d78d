"""The search of beta-DARTS in NAS-Bench-201: DARTS's numbers over 100 epochs.

Weight decay 3e-4, no Nesterov, alpha before the weights, search-cell batch norms without
affine weights and with running statistics, convolutions without bias, `none` may be derived.
"""

schedule_epochs = 100

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4),
    clip_grad=dict(max_norm=5.0),
    constructor='rdarts.SearchOptimWrapperConstructor',
)
# one dict, no list: a config over this one changes T_max and end alone. `end` is set since mmengine
# takes max_epochs for it and keeps that in checkpoints: a search could not go on to more epochs.
param_scheduler = dict(
    type='CosineAnnealingLR',
    T_max=schedule_epochs,
    end=schedule_epochs,
    eta_min=1e-3,
    by_epoch=True,
)
arch_optimizer = dict(type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)

train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=100, val_interval=1)
