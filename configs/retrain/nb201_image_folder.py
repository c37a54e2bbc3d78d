"""A NAS-Bench-201 cell on images of one's own in class folders: 16 channels, N = 5, 200 epochs.

Set `num_classes` in `data_preprocessor` and `model.head`, and the folder in RDARTS_DATA
(`image_folder/train/<class>/`, `image_folder/val/<class>/`) or in the data sets' `data_root`.
"""

_base_ = [
    '../_base_/models/nas_bench_201_net.py',
    '../_base_/datasets/image_folder_retrain.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_nb201.py',
]

model = dict(backbone=dict(stem='imagenet'), head=dict(num_classes=10))
