"""ProxylessNAS-R (Cai et al. 2019): alpha by REINFORCE over networks that are sampled on one batch.

Ten networks, the reward is accuracy x (reference / cost)^.1, of multiply-adds where the space has
no table; the reference, 80 ms or 300 million there, is the cost of equal weights. On ImageNet alpha
moves 300 times an epoch on batches of 1000, as published; elsewhere, where its authors do not
search, in each fifth iteration, on the batches of the config below.
"""

over = 'proxylessnas'

model = dict(backbone=dict(relaxation=dict(paths='one', zero=[])))
default_hooks = dict(
    architect=dict(
        architect=dict(type='rdarts.Reinforce', samples=10, power=0.1, reference='equal'),
        every=5,
        regularizers=dict(cost=None),  # it is in the reward
    )
)

by = dict(
    digits=dict(default_hooks=dict(architect=dict(every=1))),
    mobilenet_like_imagenet=dict(
        arch_dataloader=dict(batch_size=1000),
        default_hooks=dict(architect=dict(every=1, evenly=300)),
    ),
)
