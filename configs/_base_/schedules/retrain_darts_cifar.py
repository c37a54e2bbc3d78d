"""The retraining of DARTS on CIFAR: 600 epochs, learning rate .025 -> 0."""

schedule_epochs = 600

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = dict(
    type='CosineAnnealingLR', T_max=schedule_epochs, end=schedule_epochs, eta_min=0.0, by_epoch=True
)
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=schedule_epochs, val_interval=1)
