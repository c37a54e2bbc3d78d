"""A NAS-Bench-201 network as the backbone of a detector, in the place of mmdet's; FPN input."""

searched = dict(
    backbone=dict(
        _delete_=True,
        type='rdarts.NASBench201Net',
        genotype=None,  # --genotype FILE or WORK_DIR
        stem='imagenet',
        channels=16,
        cells_per_stage=5,
        out_indices=(0, 1, 2),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=None),  # weights of configs/retrain
    ),
    widths=[16, 32, 64],
)
