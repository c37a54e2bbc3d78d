"""The search of DARTS: 50 epochs (Liu et al. 2019).

`train_cfg.max_epochs` says when a search stops, `schedule_epochs` over how many epochs the
learning rate of the weights falls.
"""

schedule_epochs = 50

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

train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=50, val_interval=1)
