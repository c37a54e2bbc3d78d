"""The other retraining of ProxylessNAS (`training/main.py`): 300 epochs on 8 GPUs x 64 images.

Learning rate .0125 a worker, .1 in all: from one worker's to all of it in five epochs, then down to
0 by cosine, both by iteration. Plain momentum; weight decay 5e-5 of all parameters (its
`--no-wd-bn` is read by nothing).
"""

schedule_epochs = 300
warmup_epochs = 5

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-5)
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1 / 8,
        end=warmup_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=schedule_epochs - warmup_epochs,
        begin=warmup_epochs,
        end=schedule_epochs,
        eta_min=0.0,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=schedule_epochs, val_interval=1)
