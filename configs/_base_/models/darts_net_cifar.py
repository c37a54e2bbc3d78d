"""The derived network of the DARTS space on CIFAR: 36 channels, 20 cells, auxiliary head."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='rdarts.DARTSNet',
        genotype=None,  # --genotype FILE, WORK_DIR or NAME
        in_channels=3,
        channels=36,
        num_cells=20,
        stem='cifar',
        auxiliary=True,
        execution='auto',  # docs/en/performance.md
    ),
    head=dict(
        type='rdarts.AuxiliaryClsHead',
        auxiliary=dict(stem='cifar', weight=0.4),
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        init_cfg=None,  # PyTorch's start, as in the published codes
    ),
)
