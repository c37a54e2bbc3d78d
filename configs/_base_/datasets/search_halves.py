"""What searches share: half of the training images for the weights, half for alpha.

The data sets over this name their images: `train_set` and, without augmentation, those of
validation and test. Validation is on alpha's half.
"""

image_size = 32
limit = None  # images of each data set, for a try

test_pipeline = [dict(type='rdarts.BatchPackInputs')]

search_split = dict(type='rdarts.SearchSplit', fraction=0.5, mode='stratified', seed=0)
loader = dict(
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type='rdarts.batch_collate'),
)

train_dataloader = dict(
    batch_size=64,
    drop_last=True,
    sampler=dict(type='rdarts.SeededSampler', name='train'),
    dataset=dict(part='weights', **search_split),
    **loader,
)
arch_dataloader = dict(
    batch_size=64,
    drop_last=True,
    sampler=dict(type='rdarts.SeededSampler', name='arch'),
    dataset=dict(part='alpha', **search_split),
    **loader,
)

val_dataloader = dict(
    batch_size=256,
    sampler=dict(type='rdarts.SeededSampler', name='val', shuffle=False, round_up=True),
    dataset=dict(part='alpha', **search_split),
    **loader,
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
val_cfg = dict()

test_dataloader = dict(
    batch_size=256,
    sampler=dict(type='rdarts.SeededSampler', name='test', shuffle=False, round_up=True),
    **loader,
)
test_evaluator = val_evaluator
test_cfg = dict()
