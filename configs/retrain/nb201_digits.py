"""Train a NAS-Bench-201 cell on all training images of scikit-learn's digits: seconds on a CPU."""

_base_ = [
    '../_base_/models/nas_bench_201_net.py',
    '../_base_/datasets/digits.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(cells_per_stage=1))

# No split: the weights get every training image, and the test images are looked at once.
train_dataloader = dict(
    dataset=dict(_delete_=True, type='rdarts.SeededDataset', dataset={{_base_.train_set}})
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='rdarts.Digits', split='test', pipeline={{_base_.test_pipeline}}
    )
)
arch_dataloader = None

max_epochs = 6
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0.0, by_epoch=True)]
train_cfg = dict(type='rdarts.SearchTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
default_hooks = dict(checkpoint=dict(interval=max_epochs, minutes=0.0))
