"""The retraining of ProxylessNAS (`imagenet_run_exp.py`): 300 epochs, batch 256, lr .05, cosine.

Weight decay 4e-5, none of batch norms. The learning rate falls by epoch (there by iteration).
"""

schedule_epochs = 300

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=4e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
param_scheduler = dict(
    type='CosineAnnealingLR', T_max=schedule_epochs, end=schedule_epochs, eta_min=0.0, by_epoch=True
)
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=schedule_epochs, val_interval=1)
