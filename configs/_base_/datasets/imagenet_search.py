"""ImageNet-1k for a search: 10 % of the training images for the weights, 2.5 % for alpha.

Both are drawn class by class; `$RDARTS_DATA/imagenet` holds `train/<class>/` and `val/<class>/`.
"""

_base_ = ['./image_folder.py']

# What follows from it is filled in: see docs/en/configs.md
num_classes = 1000

train_set = dict(type='rdarts.ImageNetFolder')
# of 12.5 % of the images, four fifths are the weights'
search_split = dict(subset=0.125, fraction=0.8)
loader = dict(num_workers=4)

train_dataloader = dict(batch_size=256, dataset=dict(dataset=train_set, **search_split), **loader)
arch_dataloader = train_dataloader
val_dataloader = train_dataloader
test_dataloader = dict(batch_size=256, dataset=train_set, **loader)
val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
