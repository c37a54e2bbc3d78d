"""ImageNet16-120: half of the training images for the weights, half for alpha."""

_base_ = ['./search_halves.py']

# What follows from these is filled in: see docs/en/configs.md
data_root = None  # $RDARTS_DATA/imagenet16_120, else data/imagenet16_120
image_size = 16
num_classes = 120

data_preprocessor = dict(
    # Mean and standard deviation of the training images, R, G, B in 0 .. 255.
    mean=[122.68, 116.66, 104.01],
    std=[63.22, 61.26, 65.09],
    to_rgb=False,
)

train_pipeline = [
    dict(type='rdarts.BatchRandomCrop'),
    dict(type='rdarts.BatchRandomFlip', prob=0.5, direction='horizontal'),
    dict(type='rdarts.BatchPackInputs'),
]

train_set = dict(type='rdarts.ImageNet16120', split='train', pipeline=train_pipeline)

train_dataloader = dict(dataset=dict(dataset=train_set))
arch_dataloader = dict(dataset=dict(dataset=train_set))
val_dataloader = dict(
    dataset=dict(
        dataset=dict(type='rdarts.ImageNet16120', split='train', pipeline={{_base_.test_pipeline}})
    )
)
test_dataloader = dict(
    dataset=dict(type='rdarts.ImageNet16120', split='test', pipeline={{_base_.test_pipeline}})
)
