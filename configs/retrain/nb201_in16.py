"""A NAS-Bench-201 cell on ImageNet16-120, as the table's were: 200 epochs."""

_base_ = [
    '../_base_/models/nas_bench_201_net.py',
    '../_base_/datasets/imagenet16_120.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_nb201.py',
]

train_dataloader = dict(
    batch_size=256,
    drop_last=False,
    dataset=dict(_delete_=True, type='rdarts.SeededDataset', dataset={{_base_.train_set}}),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='rdarts.ImageNet16120', split='test', pipeline={{_base_.test_pipeline}}
    )
)
arch_dataloader = None
