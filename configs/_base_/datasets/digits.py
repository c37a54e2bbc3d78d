"""scikit-learn's digits: half of the training images for the weights, half for alpha."""

_base_ = ['./search_halves.py']

# What follows from these is filled in: see docs/en/configs.md
num_classes = 10

data_preprocessor = dict(
    # Mean and standard deviation of the training images, R, G, B in 0 .. 255.
    mean=[77.836, 77.836, 77.836],
    std=[82.587, 82.587, 82.587],
    to_rgb=False,
)

train_pipeline = [
    dict(type='rdarts.BatchRandomCrop'),
    dict(type='rdarts.BatchPackInputs'),
]

train_set = dict(type='rdarts.Digits', split='train', pipeline=train_pipeline)

train_dataloader = dict(dataset=dict(dataset=train_set))
arch_dataloader = dict(dataset=dict(dataset=train_set))
val_dataloader = dict(
    dataset=dict(
        dataset=dict(type='rdarts.Digits', split='train', pipeline={{_base_.test_pipeline}})
    )
)
test_dataloader = dict(
    dataset=dict(type='rdarts.Digits', split='test', pipeline={{_base_.test_pipeline}})
)
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
