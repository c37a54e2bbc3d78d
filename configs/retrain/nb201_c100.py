"""A NAS-Bench-201 cell on CIFAR-100, trained as the table's: 16 channels, N = 5, 200 epochs."""

_base_ = [
    '../_base_/models/nas_bench_201_net.py',
    '../_base_/datasets/cifar100_retrain.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_nb201.py',
]

# Batches of 256, and no cutout
train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='rdarts.BatchRandomCrop'),
                dict(type='rdarts.BatchRandomFlip', prob=0.5, direction='horizontal'),
                dict(type='rdarts.BatchPackInputs'),
            ]
        )
    ),
)
