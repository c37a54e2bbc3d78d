"""The network that layers of the MobileNet-like space derive on ImageNet."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='rdarts.MobileNetLikeNet',
        genotype=None,  # --genotype FILE or WORK_DIR
        space='mobilenet_like',
        stem='imagenet',
        norm_eps=1e-3,
        execution='auto',  # docs/en/performance.md
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=None,
    ),
)
