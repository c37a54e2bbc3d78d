"""DSNAS (Hu et al. 2020): one candidate an edge runs; alpha by the score function, in one level.

Alpha's Adam has the rate 1e-3, betas .5 and .999 and no weight decay; edges whose strongest
candidate is .3 ahead are fixed at the start of an epoch. Its authors search ShuffleNet blocks on
ImageNet, for 85 epochs of a schedule of 240, with label smoothing .1: epochs and the other
settings here are those of the config below. Validation is on training images.
"""

train_dataloader = dict(dataset=dict(part='both'))
arch_dataloader = None
arch_optimizer = dict(lr=1e-3, betas=(0.5, 0.999), weight_decay=0.0)
default_hooks = dict(
    architect=dict(architect='rdarts.SingleLevel', start_epoch=0),
    early_fix=dict(type='rdarts.EarlyFixHook', threshold=0.3),
)
model = dict(backbone=dict(alpha_std=0.01, relaxation=dict(type='rdarts.ScoreFunction')))
