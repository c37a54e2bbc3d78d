"""Ranges of what mmengine, torch, mmpretrain and mmdet take: their signatures give types alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypedDict

from annotated_types import Ge, Gt, Le, Len, MinLen

from rdarts.configuration.declarations import (
    AboveZero,
    Among,
    AnyList,
    AnyText,
    BelowOne,
    Component,
    Count,
    Foreign,
    Index,
    Inside,
    NotNegative,
    Positive,
    Share,
)

_Numbers = NotNegative | Sequence[NotNegative]
_Sizes = Positive | Annotated[Sequence[Positive], Len(2, 2)]
# a share, or None for "off"
_Channels = Annotated[Sequence[Annotated[float, Ge(0), Le(255)]], MinLen(1)]
_Deviations = Annotated[Sequence[AboveZero], MinLen(1)]
_Border = Annotated[int, Ge(-1)]


class ClipGrad(TypedDict, total=False):
    """``optim_wrapper.clip_grad``."""

    type: Literal['norm', 'value']
    max_norm: AboveZero
    norm_type: AboveZero | Literal['inf', float('inf')]
    clip_value: AboveZero
    error_if_nonfinite: bool
    foreach: bool | None


class ParamwiseCfg(TypedDict, total=False):
    """``optim_wrapper.paramwise_cfg``."""

    custom_keys: dict[str, dict]
    bias_lr_mult: NotNegative
    bias_decay_mult: NotNegative
    norm_decay_mult: NotNegative
    flat_decay_mult: NotNegative
    dwconv_decay_mult: NotNegative
    dcn_offset_lr_mult: NotNegative
    bypass_duplicate: bool


class ClassifierTrain(TypedDict, total=False):
    """``model.train_cfg`` of a classifier: mixup and the like."""

    augments: dict | list[dict]
    probs: Sequence[Share]


class Nms(TypedDict, total=False):
    """``nms`` of a detector."""

    type: Literal['nms', 'soft_nms']
    iou_threshold: Share
    sigma: AboveZero
    min_score: Share
    method: Literal['linear', 'gaussian', 'naive']
    max_num: Index
    split_thr: Positive
    class_agnostic: bool


class Proposals(TypedDict, total=False):
    """How boxes of a detector are chosen."""

    nms_pre: Index
    max_per_img: Index
    nms: Nms
    min_bbox_size: Count
    score_thr: Share
    mask_thr_binary: Share
    nms_across_levels: bool


class Assignment(TypedDict, total=False):
    """Which boxes of a detector are examples."""

    assigner: Annotated[dict, Component('TASK_UTILS')]
    sampler: Annotated[dict, Component('TASK_UTILS')]
    allowed_border: _Border
    pos_weight: Literal[-1] | NotNegative
    mask_size: Positive
    debug: bool


class TwoStageTrain(TypedDict, total=False):
    """``model.train_cfg`` of a detector of two stages."""

    rpn: Assignment
    rpn_proposal: Proposals
    rcnn: Assignment


class TwoStageTest(TypedDict, total=False):
    """``model.test_cfg`` of a detector of two stages."""

    rpn: Proposals
    rcnn: Proposals


class RoILayer(TypedDict, total=False):
    """``roi_layer``: an operator of mmcv."""

    type: Literal['RoIAlign', 'RoIPool', 'DeformRoIPoolPack', 'ModulatedDeformRoIPoolPack']
    output_size: _Sizes
    spatial_scale: AboveZero
    sampling_ratio: Count
    pool_mode: Literal['avg', 'max']
    aligned: bool
    use_torchvision: bool


class FilterCfg(TypedDict, total=False):
    """``filter_cfg`` of a detection data set."""

    filter_empty_gt: bool
    min_size: Count
    bbox_min_size: Count | None


_Scheduler: dict[str, Any] = dict(
    begin=Count,
    end=Positive,
    T_max=Positive,
    eta_min=NotNegative,
    eta_min_ratio=Share,
    power=AboveZero,
    gamma=AboveZero,
    start_factor=Annotated[float, Gt(0), Le(1)],
    end_factor=NotNegative,
    factor=NotNegative,
    step_size=Positive,
    milestones=Sequence[Positive],
    by_epoch=bool,
    last_step=Index,
    verbose=bool,
)

# by the name of a class, its own or that of a base
RANGES: dict[str, dict[str, Any]] = dict(
    # torch
    Optimizer=dict(
        lr=NotNegative,
        momentum=BelowOne,
        dampening=BelowOne,
        weight_decay=NotNegative,
        betas=Annotated[tuple[BelowOne, BelowOne], Len(2, 2)],
        eps=AboveZero,
        alpha=Share,
        lr_decay=NotNegative,
        nesterov=bool,
    ),
    DataLoader=dict(
        batch_size=Positive,
        num_workers=Count,
        prefetch_factor=Positive | None,
        timeout=NotNegative,
        persistent_workers=bool,
        drop_last=bool,
        pin_memory=bool,
        shuffle=bool | None,
        pin_memory_device=AnyText,
        multiprocessing_context=Literal['fork', 'spawn', 'forkserver'],
    ),
    # mmengine
    _ParamScheduler=_Scheduler,
    BaseLoop=dict(
        max_epochs=Positive,
        max_iters=Positive,
        val_interval=Positive,
        val_begin=Count,
        dynamic_intervals=Annotated[Sequence[tuple[Count, Positive]], MinLen(1)],
    ),
    BaseOptimWrapper=dict(
        accumulative_counts=Positive,
        clip_grad=ClipGrad | None,
        optimizer=Annotated[dict, Component('OPTIMIZERS')],
        dtype=Annotated[str, Among(('float16', 'bfloat16', 'float32'))],
    ),
    AmpOptimWrapper=dict(loss_scale=Literal['dynamic'] | AboveZero | dict),
    DefaultOptimWrapperConstructor=dict(paramwise_cfg=ParamwiseCfg | None),
    LoggerHook=dict(interval=Positive, interval_exp_name=Positive, out_suffix=Any),
    CheckpointHook=dict(
        interval=Positive | Literal[-1],
        max_keep_ckpts=Positive | Literal[-1],
        save_begin=Count,
        rule=Literal['greater', 'less'] | Sequence[Literal['greater', 'less']] | None,
    ),
    EMAHook=dict(begin_iter=Count, begin_epoch=Count, momentum=Inside, update_buffers=bool),
    EarlyStoppingHook=dict(patience=Positive, min_delta=NotNegative),
    LogProcessor=dict(
        window_size=Positive,
        by_epoch=bool,
        num_digits=Positive,
        custom_cfg=Annotated[Sequence[dict], MinLen(0)],
    ),
    RepeatDataset=dict(times=Positive),
    Pretrained=dict(checkpoint=str | None, prefix=str | None, map_location=str),
    Visualizer=dict(
        name=str,
        vis_backends=Annotated[dict, Component('VISBACKENDS')]
        | Annotated[Sequence[Annotated[dict, Component('VISBACKENDS')]], MinLen(0)]
        | None,
    ),
    BaseDataset=dict(
        ann_file=AnyText,
        data_root=AnyText | None,
        data_prefix=AnyText | dict[str, AnyText | None] | None,
        indices=Positive | Sequence[Count] | None,
        max_refetch=Count,
        pipeline=AnyList,
        filter_cfg=FilterCfg | None,
    ),
    # mmpretrain
    BaseClassifier=dict(train_cfg=ClassifierTrain | None, pretrained=str | None),
    ClsHead=dict(topk=Positive | Sequence[Positive]),
    ImgDataPreprocessor=dict(mean=_Channels, std=_Deviations),
    ClsDataPreprocessor=dict(mean=_Channels, std=_Deviations, pad_value=NotNegative),
    Accuracy=dict(
        topk=Positive | Sequence[Positive],
        thrs=Share | Sequence[Share | None] | None,
    ),
    LabelSmoothLoss=dict(
        label_smooth_val=BelowOne,
        num_classes=Positive | None,
        mode=Literal['original', 'classy_vision', 'multi_label'],
        use_sigmoid=bool | None,
    ),
    CrossEntropyLoss=dict(
        reduction=Literal['none', 'mean', 'sum'],
        class_weight=Sequence[NotNegative] | str | None,
        pos_weight=NotNegative | Sequence[NotNegative] | None,
        ignore_index=int | None,
    ),
    GlobalAveragePooling=dict(dim=Literal[1, 2, 3]),
    CenterCrop=dict(crop_size=_Sizes),
    RandomCrop=dict(
        crop_size=_Sizes,
        padding=Count | Sequence[Count] | None,
        pad_val=NotNegative | Sequence[NotNegative],
        padding_mode=Literal['constant', 'edge', 'reflect', 'symmetric'],
    ),
    RandomResizedCrop=dict(
        scale=_Sizes,
        crop_ratio_range=tuple[Share, Share],
        aspect_ratio_range=tuple[AboveZero, AboveZero],
        max_attempts=Positive,
    ),
    ResizeEdge=dict(scale=Positive, edge=Literal['short', 'long', 'width', 'height']),
    Resize=dict(scale=_Sizes, scale_factor=AboveZero | tuple[AboveZero, AboveZero]),
    # policies of steps that lack arguments, or of albumentations' transforms
    AutoAugment=dict(policies=Foreign),
    RandAugment=dict(policies=Foreign, aug_space=Foreign),
    Albumentations=dict(transforms=Foreign),
    Lighting=dict(eigvec=Sequence[Sequence[float]]),
    Albu=dict(transforms=Foreign, bbox_params=Foreign),
    RandomFlip=dict(
        prob=Share | Sequence[Share] | None,
        direction=Literal['horizontal', 'vertical', 'diagonal']
        | Sequence[Literal['horizontal', 'vertical', 'diagonal']],
    ),
    ColorJitter=dict(
        brightness=_Numbers,
        contrast=_Numbers,
        saturation=_Numbers,
        hue=Annotated[float, Ge(0), Le(0.5)] | Sequence[Annotated[float, Ge(-0.5), Le(0.5)]],
        backend=Literal['pillow', 'cv2'],
    ),
    # of several packages
    LoadImageFromFile=dict(
        color_type=Literal['color', 'grayscale', 'unchanged', 'color_ignore_orientation'],
        imdecode_backend=Literal['cv2', 'turbojpeg', 'pillow', 'tifffile'],
    ),
    PackInputs=dict(input_key=str, algorithm_keys=AnyList, meta_keys=AnyList),
    # mmdet
    TwoStageDetector=dict(train_cfg=TwoStageTrain | None, test_cfg=TwoStageTest | None),
    SingleStageDetector=dict(train_cfg=Assignment | None, test_cfg=Proposals | None),
    FPN=dict(
        in_channels=Sequence[Positive],
        num_outs=Positive,
        start_level=Count,
        end_level=Index,
        add_extra_convs=bool | Literal['on_input', 'on_lateral', 'on_output'],
    ),
    SingleRoIExtractor=dict(roi_layer=RoILayer, featmap_strides=Sequence[Positive]),
    BBoxHead=dict(roi_feat_size=_Sizes),
    AnchorGenerator=dict(
        strides=Sequence[Positive | tuple[Positive, Positive]],
        ratios=Sequence[AboveZero],
        scales=Sequence[AboveZero] | None,
        base_sizes=Sequence[AboveZero] | None,
        octave_base_scale=AboveZero | None,
        scales_per_octave=Positive | None,
        center_offset=Share,
        scale_major=bool,
    ),
    DeltaXYWHBBoxCoder=dict(
        target_means=Annotated[Sequence[float], Len(4, 4)],
        target_stds=Annotated[Sequence[AboveZero], Len(4, 4)],
        ctr_clamp=Positive,
    ),
    MaxIoUAssigner=dict(
        pos_iou_thr=Share,
        neg_iou_thr=Share | tuple[Share, Share],
        min_pos_iou=Share,
        ignore_iof_thr=Share | Literal[-1],
        gpu_assign_thr=Count | Literal[-1],
    ),
    RandomSampler=dict(num=Positive, pos_fraction=Share, neg_pos_ub=NotNegative | Literal[-1]),
    FocalLoss=dict(gamma=NotNegative, alpha=Share, use_sigmoid=bool),
    DetDataPreprocessor=dict(
        mean=_Channels, std=_Deviations, pad_size_divisor=Positive, bgr_to_rgb=bool
    ),
    CocoMetric=dict(
        metric=Literal['bbox', 'segm', 'proposal', 'proposal_fast']
        | Sequence[Literal['bbox', 'segm', 'proposal', 'proposal_fast']],
        ann_file=str | None,
    ),
    VOCMetric=dict(
        metric=Literal['mAP', 'recall'] | Sequence[Literal['mAP', 'recall']],
        eval_mode=Literal['11points', 'area'],
        iou_thrs=Share | Sequence[Share],
    ),
    PackDetInputs=dict(meta_keys=AnyList),
)

# of every framework's component whose own table says nothing
BY_NAME: dict[str, Any] = dict(
    in_channels=Positive | Sequence[Positive],
    out_channels=Positive,
    feat_channels=Positive,
    fc_out_channels=Positive,
    num_classes=Positive | None,
    stacked_convs=Count,
    interval=Positive,
    loss_weight=NotNegative,
    pad_size_divisor=Positive,
    seed=Count | None,
    times=Positive,
    backend_args=dict | None,
    add_extra_convs=bool | str,
    pipeline=AnyList,
    init_cfg=Annotated[dict, Component('WEIGHT_INITIALIZERS')]
    | Annotated[Sequence[Annotated[dict, Component('WEIGHT_INITIALIZERS')]], MinLen(0)]
    | None,
)

# whose `**kwargs` go to a function that takes no more than these
CLOSED: set[str] = {'CheckpointHook', 'BaseSampler', 'BaseBBoxCoder'}
