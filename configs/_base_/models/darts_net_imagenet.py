"""The derived network of the DARTS space on ImageNet: 48 channels, 14 cells, auxiliary head.

`head.in_channels` and the auxiliary head's are 16 x channels, of genotypes that concatenate four
nodes.
"""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='rdarts.DARTSNet',
        genotype=None,  # --genotype FILE, WORK_DIR or NAME
        in_channels=3,
        channels=48,
        num_cells=14,
        stem='imagenet',
        auxiliary=True,
    ),
    head=dict(
        type='rdarts.AuxiliaryClsHead',
        num_classes=1000,
        in_channels=768,
        auxiliary=dict(in_channels=768, stem='imagenet', weight=0.4),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=None,
    ),
)
