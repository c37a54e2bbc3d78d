"""CIFAR-10: half of the training images for the weights, half for alpha."""

_base_ = ['./search_halves.py']

# What follows from these is filled in: see docs/en/configs.md
data_root = None  # $RDARTS_DATA/cifar10, else data/cifar10
num_classes = 10

data_preprocessor = dict(
    # Mean and standard deviation of the training images, R, G, B in 0 .. 255.
    mean=[125.307, 122.961, 113.8575],
    std=[62.993, 62.089, 66.705],
    to_rgb=False,
)

train_pipeline = [
    dict(type='rdarts.BatchRandomCrop'),
    dict(type='rdarts.BatchRandomFlip', prob=0.5, direction='horizontal'),
    dict(type='rdarts.BatchPackInputs'),
]

train_set = dict(type='rdarts.CIFAR10', split='train', pipeline=train_pipeline)

train_dataloader = dict(dataset=dict(dataset=train_set))
arch_dataloader = dict(dataset=dict(dataset=train_set))
val_dataloader = dict(
    dataset=dict(
        dataset=dict(type='rdarts.CIFAR10', split='train', pipeline={{_base_.test_pipeline}})
    )
)
test_dataloader = dict(
    dataset=dict(type='rdarts.CIFAR10', split='test', pipeline={{_base_.test_pipeline}})
)
