#!/usr/bin/env bash
# DARTS and r-DARTS in a small MobileNet-like space on small data: the runs of docs/notes/mobilenet_small.md.
# From the root of the clone:  docs/en/examples/mobilenet_small/run.sh ../shared/data/imagenet_mini
set -euo pipefail
data=${1:?give the folder imagenet_mini}
[ -d "$data" ] || { echo "$data: give the folder imagenet_mini" >&2; exit 2; }
configs=docs/en/examples/mobilenet_small
runs=work_dirs/mobilenet_small
mkdir -p "$runs/data"
ln -sfn "$(realpath "$data")" "$runs/data/imagenet"
export RDARTS_DATA=$runs/data

for method in darts rdarts; do
    python tools/train.py $configs/search_$method.py --seed 0 --work-dir "$runs/search_$method"
    python tools/train.py $configs/retrain.py --genotype "$runs/search_$method" --seed 0 \
        --work-dir "$runs/retrain_$method"
    python tools/analysis/complexity.py "$runs/retrain_$method/config.py" --shape 3 64 64 --no-latency
done
# the same steps in less memory
for again in False True; do
    python tools/train.py $configs/search_rdarts.py --seed 0 --work-dir "$runs/checkpoint_$again" \
        --cfg-options model.backbone.checkpoint=$again train_cfg.max_epochs=1 \
        default_hooks.architect.start_epoch=0
done
