#!/usr/bin/env bash
# RetinaNet over a small DARTS_V2 network on small data: the runs of docs/notes/detection_small.md.
# From the root of the clone, with detection installed:  docs/en/examples/detection_small.sh ../shared/data
set -euo pipefail
data=${1:?give the folder that holds imagenet_mini and coco_mini}
[ -d "$data" ] || { echo "$data: give the folder that holds imagenet_mini and coco_mini" >&2; exit 2; }
runs=work_dirs/detection_small
one_process() { printf '%s ' "$1_dataloader.num_workers=0" "$1_dataloader.persistent_workers=False"; }
coco() { printf '%s ' "$1_dataloader.dataset.data_root=$data/coco_mini/" \
    "$1_dataloader.dataset.ann_file=annotations/instances_$2.json" "$1_dataloader.dataset.data_prefix.img=$2/"; }

python tools/train.py configs/retrain/darts_image_folder.py --genotype DARTS_V2 --seed 0 \
    --work-dir "$runs/imagenet_mini" --cfg-options \
    model.backbone.channels=16 model.backbone.num_cells=8 model.backbone.auxiliary=False \
    model.head.auxiliary=None model.head.in_channels=256 \
    train_dataloader.dataset.dataset.data_root="$data/imagenet_mini" \
    val_dataloader.dataset.data_root="$data/imagenet_mini" \
    train_dataloader.dataset.dataset.pipeline.1.scale=128 \
    val_dataloader.dataset.pipeline.1.scale=146 val_dataloader.dataset.pipeline.2.crop_size=128 \
    train_dataloader.batch_size=32 optim_wrapper.optimizer.lr=0.1 \
    schedule_epochs=20 train_cfg.max_epochs=20 train_cfg.val_interval=10 \
    $(one_process train) $(one_process val)
weights=$(cat "$runs/imagenet_mini/last_checkpoint")

detector() { # NAME OPTION...
    local name=$1
    shift
    python tools/train.py configs/detection/retinanet_darts_fpn_1x_coco.py --genotype DARTS_V2 --seed 0 \
        --work-dir "$runs/$name" --cfg-options \
        model.backbone.channels=16 model.backbone.num_cells=8 'model.neck.in_channels=[16,64,128,256]' \
        model.neck.out_channels=64 model.bbox_head.in_channels=64 model.bbox_head.feat_channels=64 \
        model.bbox_head.stacked_convs=2 $(coco train train) $(coco val val) $(coco test val) \
        val_evaluator.ann_file="$data/coco_mini/annotations/instances_val.json" \
        test_evaluator.ann_file="$data/coco_mini/annotations/instances_val.json" \
        'train_dataloader.dataset.pipeline.2.scale=(320,320)' \
        'val_dataloader.dataset.pipeline.1.scale=(320,320)' \
        'test_dataloader.dataset.pipeline.1.scale=(320,320)' train_dataloader.batch_size=4 \
        $(one_process train) $(one_process val) $(one_process test) \
        param_scheduler.0.end=50 default_hooks.logger.interval=5 "$@"
}
# a learning rate of 0: what the detector finds before it is trained
detector before optim_wrapper.optimizer.lr=0.0 train_cfg.max_epochs=1 model.test_cfg.score_thr=0.0 \
    model.backbone.init_cfg.checkpoint="$weights"
detector after optim_wrapper.optimizer.lr=0.01 train_cfg.max_epochs=16 train_cfg.val_interval=16 \
    'param_scheduler.1.milestones=[11,14]' model.backbone.init_cfg.checkpoint="$weights"
python tools/test.py "$runs/after/config.py" "$runs/after" --cfg-options \
    default_hooks.visualization.draw=True default_hooks.visualization.test_out_dir=boxes \
    default_hooks.visualization.score_thr=0.2
