"""A MobileNet-like network as the backbone of a detector, in the place of mmdet's; FPN input."""

searched = dict(
    backbone=dict(
        _delete_=True,
        type='rdarts.MobileNetLikeNet',
        genotype=None,  # --genotype FILE or WORK_DIR
        space='mobilenet_like',
        stem='imagenet',
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=None),  # weights of configs/retrain
    ),
    widths=[24, 40, 96, 320],
)
