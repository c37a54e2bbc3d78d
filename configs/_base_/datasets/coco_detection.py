"""COCO 2017 in `$RDARTS_DATA/coco`, else `data/coco`, with files that are checked when read."""

_base_ = ['mmdet::_base_/datasets/coco_detection.py']

# they need mmdet, and so are imported here alone
custom_imports = dict(imports=['rdarts.datasets.detection'], allow_failed_imports=False)

data_root = '{{$RDARTS_DATA:data}}/coco/'

train_dataloader = dict(dataset=dict(type='rdarts.CheckedCocoDataset', data_root=data_root))
val_dataloader = dict(dataset=dict(type='rdarts.CheckedCocoDataset', data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='rdarts.CheckedCocoMetric', ann_file=data_root + 'annotations/instances_val2017.json'
)
test_evaluator = val_evaluator
