"""DSNAS (Hu et al. 2020): one candidate an edge runs; alpha by the score function, in one level.

Alpha's Adam has the rate 1e-3, betas .5 and .999 and no weight decay; edges whose strongest
candidate is .3 ahead are fixed at the start of an epoch. Its authors search ShuffleNet blocks on
ImageNet, for 85 epochs of a schedule of 240, with label smoothing .1: epochs and the other
settings here are those of the config below. Draws of 290 M multiply-adds and more are penalised
in the layerwise space on ImageNet, with their lambda; elsewhere it is 0. The limit is in the unit
of the costs: where the space has a table of latencies, it needs one of its own. Validation is on
training images.
"""

train_dataloader = dict(dataset=dict(part='both'))
arch_dataloader = None
arch_optimizer = dict(lr=1e-3, betas=(0.5, 0.999), weight_decay=0.0)
default_hooks = dict(
    architect=dict(
        architect='rdarts.SingleLevel',
        start_epoch=0,
        regularizers=dict(cost=dict(type='rdarts.SampledCost', lambda_=0.0, limit=290.0)),
    ),
    early_fix=dict(type='rdarts.EarlyFixHook', threshold=0.3),
)
model = dict(backbone=dict(alpha_std=0.01, relaxation=dict(type='rdarts.ScoreFunction')))

by = dict(
    mobilenet_like_imagenet=dict(
        default_hooks=dict(architect=dict(regularizers=dict(cost=dict(lambda_=1e-6))))
    ),
)
