"""A chain of the MobileNet-like space on images of one's own in class folders, 300 epochs.

Set `num_classes` in `data_preprocessor` and `model.head`, and the folder in RDARTS_DATA
(`image_folder/train/<class>/`, `image_folder/val/<class>/`) or in the data sets' `data_root`.
"""

_base_ = [
    '../_base_/models/mobilenet_like_net.py',
    '../_base_/datasets/image_folder_retrain.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_proxyless.py',
]

model = dict(head=dict(num_classes=10))
