"""FairDARTS (Chu et al. 2020): sigmoids in place of the softmax, and a loss that makes them 0 or 1.

Alpha starts at 0; its Adam has the rate 3e-3, betas .9 and .999 and weight decay 1e-3, the weights'
rate falls .005 -> .001; batches of 128; what reaches .85 is kept, two edges a node at most. In the
DARTS space on ImageNet, which its authors do not search, batches and the weights' learning rate are
those of the config below. In NAS-Bench-201, where they have no code, each edge keeps its best
operation. The DARTS space is without `none`, as published.
"""

train_dataloader = dict(batch_size=128)
arch_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=0.005))
arch_optimizer = dict(lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3)
model = dict(backbone=dict(relaxation=dict(type='rdarts.Sigmoid'), alpha_std=0.0))
default_hooks = dict(
    architect=dict(regularizers=dict(zero_one=dict(type='rdarts.ZeroOne', lambda_=10.0))),
    genotype=dict(discretizer=dict(type='rdarts.Threshold', threshold=0.85)),
)

by = dict(
    darts=dict(
        model=dict(backbone=dict(space=dict(_delete_=True, type='darts', leave_out=['none'])))
    ),
    darts_imagenet=dict(
        train_dataloader=dict(batch_size={{_base_.train_dataloader.batch_size}}),  # noqa: F821
        arch_dataloader=dict(batch_size={{_base_.arch_dataloader.batch_size}}),  # noqa: F821
        optim_wrapper=dict(optimizer=dict(lr={{_base_.optim_wrapper.optimizer.lr}})),  # noqa: F821
    ),
    nb201=dict(default_hooks=dict(genotype=dict(discretizer='rdarts.Argmax'))),
    mobilenet_like=dict(default_hooks=dict(genotype=dict(discretizer='rdarts.Argmax'))),
)
