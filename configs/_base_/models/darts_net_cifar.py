"""The derived network of the DARTS space on CIFAR: 36 channels, 20 cells, auxiliary head.

`head.in_channels` and the auxiliary head's are 16 x channels, of genotypes that concatenate four
nodes.
"""

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
    ),
    head=dict(
        type='rdarts.AuxiliaryClsHead',
        num_classes=10,
        in_channels=576,
        auxiliary=dict(in_channels=576, stem='cifar', weight=0.4),
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        init_cfg=None,  # PyTorch's start, as in the published codes
    ),
)
