"""The derived network of NAS-Bench-201: 16 channels, 5 cells a stage."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='rdarts.NASBench201Net',
        genotype=None,  # set by --cfg-options model.backbone.genotype=FILE
        in_channels=3,
        channels=16,
        cells_per_stage=5,
        execution='auto',  # docs/en/performance.md
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        init_cfg=None,
    ),
)
