"""The other retraining of ProxylessNAS (`training/main.py`): 300 epochs on 8 GPUs x 64 images.

Learning rate .0125 a worker, .1 in all, after five epochs of warm-up; cosine; weight decay 5e-5.
"""

schedule_epochs = 300
warmup_epochs = 5

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=warmup_epochs - 1, by_epoch=True),
    dict(
        type='CosineAnnealingLR',
        T_max=schedule_epochs - warmup_epochs + 1,
        begin=warmup_epochs - 1,
        end=schedule_epochs,
        eta_min=0.0,
        by_epoch=True,
    ),
]
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=schedule_epochs, val_interval=1)
