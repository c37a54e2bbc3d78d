"""CIFAR-100 for a derived network: all training images; validation looks at the test images.

Published retraining reports the test accuracy of the last epoch, not of the best.
"""

_base_ = ['./cifar100.py']

train_pipeline = [
    dict(type='rdarts.BatchRandomCrop'),
    dict(type='rdarts.BatchRandomFlip', prob=0.5, direction='horizontal'),
    # filled with the mean: DARTS fills with 0 after the normalisation
    dict(type='rdarts.BatchCutout', shape=16, pad_val=[129.304, 124.070, 112.434]),
    dict(type='rdarts.BatchPackInputs'),
]

train_dataloader = dict(
    batch_size=96,
    drop_last=False,
    dataset=dict(
        _delete_=True,
        type='rdarts.SeededDataset',
        dataset=dict(type='rdarts.CIFAR100', split='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='rdarts.CIFAR100', split='test', pipeline={{_base_.test_pipeline}}
    )
)
arch_dataloader = None
