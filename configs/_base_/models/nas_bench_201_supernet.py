"""NAS-Bench-201: 16 channels, 5 cells a stage."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='rdarts.NASBench201Supernet',
        space='nas_bench_201',
        in_channels=3,
        channels=16,
        cells_per_stage=5,
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
