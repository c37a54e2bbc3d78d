"""A cell of the DARTS space on images of one's own in class folders: 48 channels, 14 cells.

Set `num_classes` in `data_preprocessor` and `model.head`, and the folder in RDARTS_DATA
(`image_folder/train/<class>/`, `image_folder/val/<class>/`) or in the data sets' `data_root`.
"""

_base_ = [
    '../_base_/models/darts_net_imagenet.py',
    '../_base_/datasets/image_folder_retrain.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_darts_cifar.py',
]

model = dict(head=dict(num_classes=10))
