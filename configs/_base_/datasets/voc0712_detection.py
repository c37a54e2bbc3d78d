"""VOC 2007 and 2012 in `$RDARTS_DATA/VOCdevkit`, else `data/VOCdevkit`; tested on VOC 2007.

An epoch goes three times through the images, as mmdet's. mAP is VOC 2007's of 11 points.
"""

_base_ = ['mmdet::_base_/datasets/voc0712.py']

# they need mmdet, and so are imported here alone
custom_imports = dict(imports=['rdarts.datasets.detection'], allow_failed_imports=False)

data_root = '{{$RDARTS_DATA:data}}/VOCdevkit/'
checked = dict(type='rdarts.CheckedVOCDataset', data_root=data_root)

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            datasets=[
                dict(
                    ann_file='VOC2007/ImageSets/Main/trainval.txt',
                    data_prefix=dict(sub_data_root='VOC2007/'),
                    filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=32),
                    pipeline={{_base_.train_pipeline}},
                    **checked,
                ),
                dict(
                    ann_file='VOC2012/ImageSets/Main/trainval.txt',
                    data_prefix=dict(sub_data_root='VOC2012/'),
                    filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=32),
                    pipeline={{_base_.train_pipeline}},
                    **checked,
                ),
            ]
        )
    )
)
val_dataloader = dict(dataset=checked)
test_dataloader = val_dataloader
