"""Images of one's own in class folders for a derived network: all of train, tested on val."""

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
