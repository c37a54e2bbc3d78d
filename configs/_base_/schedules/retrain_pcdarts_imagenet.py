"""The retraining of PC-DARTS on ImageNet: 250 epochs, batch 1024, learning rate .5 -> 0 linearly.

The first five epochs warm up: they have 1/5, 2/5, ... of that. The code falls by 1/245 an epoch
and, over the last five, in smaller steps; the paper says linearly, and so it is here.
"""

schedule_epochs = 250
warmup_epochs = 5

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=3e-5),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=warmup_epochs, by_epoch=True),
    # mmengine is at eta_min one epoch before `end`, where a whole epoch would learn nothing
    dict(type='PolyLR', power=1.0, eta_min=0.0, end=schedule_epochs + 1, by_epoch=True),
]
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=schedule_epochs, val_interval=1)
