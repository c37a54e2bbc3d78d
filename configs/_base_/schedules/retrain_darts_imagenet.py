"""The retraining of DARTS on ImageNet: 250 epochs, batch 128, learning rate .1 x .97 an epoch."""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=3e-5),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = dict(type='ExponentialLR', gamma=0.97, by_epoch=True)
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=250, val_interval=1)
