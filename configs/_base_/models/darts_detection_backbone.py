"""A DARTS network as the backbone of a detector, in place of mmdet's, and the FPN's input."""

searched = dict(
    backbone=dict(
        _delete_=True,
        type='rdarts.DARTSNet',
        genotype='DARTS_V2',  # --genotype FILE, WORK_DIR or NAME
        stem='imagenet',
        channels=48,
        num_cells=14,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=None),  # weights of configs/retrain
    ),
    widths=[48, 192, 384, 768],
)
