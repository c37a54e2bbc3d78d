"""FairDARTS (Chu et al. 2020): sigmoids in place of the softmax, and a loss that makes them 0 or 1.

Alpha starts at 0; its Adam has the rate 3e-3, betas .9 and .999 and weight decay 1e-3, the weights'
rate falls .005 -> .001; batches of 128; what reaches .85 is kept, two edges a node at most. These
are the numbers of its search on CIFAR in the DARTS space, which is without `none`, as published. On
ImageNet in that space, which its authors do not search, and in the MobileNet-like space, for which
no settings of theirs are known to us, batches and all of the weights' optimizer are those of the
config below; alpha's, and the loss, are those of CIFAR. In the latter space each layer keeps its
best operation, and so does each edge in NAS-Bench-201, for which there is no code.
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

below = dict(
    train_dataloader=dict(batch_size={{_base_.train_dataloader.batch_size}}),  # noqa: F821
    arch_dataloader=dict(batch_size={{_base_.arch_dataloader.batch_size}}),  # noqa: F821
    optim_wrapper=dict(optimizer=dict(lr={{_base_.optim_wrapper.optimizer.lr}})),  # noqa: F821
)
by = dict(
    darts=dict(
        model=dict(backbone=dict(space=dict(_delete_=True, type='darts', leave_out=['none'])))
    ),
    darts_imagenet=below,
    nb201=dict(default_hooks=dict(genotype=dict(discretizer='rdarts.Argmax'))),
    mobilenet_like=dict(below, default_hooks=dict(genotype=dict(discretizer='rdarts.Argmax'))),
)
del below
