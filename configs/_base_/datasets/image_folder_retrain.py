"""Images of one's own in class folders at 224 x 224 for a derived network: all of train.

Set `data_preprocessor.num_classes` and `model.head.num_classes` to their number of classes.
"""

_base_ = ['./image_folder.py']

train_dataloader = dict(
    batch_size=64,
    drop_last=False,
    dataset=dict(_delete_=True, type='rdarts.SeededDataset', dataset={{_base_.train_set}}),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='rdarts.ImageFolder', split='val', pipeline={{_base_.test_pipeline}}
    )
)
arch_dataloader = None
