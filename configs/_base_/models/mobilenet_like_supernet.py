"""The MobileNet-like space, 21 layers."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='rdarts.MobileNetLikeSupernet',
        space='mobilenet_like',
        in_channels=3,
        stem_channels=32,
        first_channels=16,
        last_channels=1280,
        stem='imagenet',
        affine=True,
        track_running_stats=True,
        checkpoint=False,
        relaxation=dict(type='rdarts.Softmax'),
        mixed_op=dict(type='rdarts.MixedOp'),
        execution='auto',
        alpha_std=1e-3,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=None,  # PyTorch's start, as in the published codes
    ),
)
