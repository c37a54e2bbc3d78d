"""A network of the MobileNet-like space on images of one's own in class folders, 300 epochs.

They lie in `data_root` (`train/<class>/` and `val/<class>/`), by default in `image_folder` of
RDARTS_DATA or of `data`. Classes are counted; `image_size` is a side of the images in pixels.
"""

_base_ = [
    '../_base_/models/mobilenet_like_net.py',
    '../_base_/datasets/image_folder_retrain.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_proxyless.py',
]
