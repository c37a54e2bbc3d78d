"""The search of ProxylessNAS on ImageNet: 40 epochs of the weights alone, then 120 of both.

As its code has it, but for the gradient: alpha is relaxed as DARTS does, not sampled. Batches of
256 (`train_dataloader.batch_size`), learning rate .025, cosine; alpha by Adam with betas (0, .999).
"""

schedule_epochs = 160
warmup_epochs = 40  # of the weights alone: `default_hooks.architect.start_epoch`

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, nesterov=True, weight_decay=4e-5),
    constructor='rdarts.SearchOptimWrapperConstructor',
)
param_scheduler = dict(
    type='CosineAnnealingLR', T_max=schedule_epochs, end=schedule_epochs, eta_min=0.0, by_epoch=True
)
arch_optimizer = dict(type='Adam', lr=1e-3, betas=(0.0, 0.999), weight_decay=0.0)

train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=160, val_interval=1)
