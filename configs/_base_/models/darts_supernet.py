"""The DARTS space: 16 channels, 8 cells."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='rdarts.DARTSSupernet',
        space='darts',
        in_channels=3,
        channels=16,
        num_cells=8,
        stem='cifar',
        affine=False,
        track_running_stats=True,
        relaxation=dict(type='rdarts.Softmax'),
        mixed_op=dict(type='rdarts.MixedOp'),
        execution='auto',
        alpha_std=1e-3,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        init_cfg=None,  # PyTorch's start, as in the published codes
    ),
)
