"""The training of every network in NAS-Bench-201: 200 epochs, learning rate .1 -> 0."""

schedule_epochs = 200

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
param_scheduler = dict(
    type='CosineAnnealingLR', T_max=schedule_epochs, end=schedule_epochs, eta_min=0.0, by_epoch=True
)
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=schedule_epochs, val_interval=1)
