"""PC-DARTS (Xu et al. 2020): a quarter of the channels, weights of edges, alpha from epoch 15 on.

Batches of 256, learning rate .1 -> 0, alpha's 6e-4, as published for CIFAR-10. On ImageNet half of
the channels, as published, and the settings below, which are PC-DARTS's there. In NAS-Bench-201,
where its authors have no code, with the settings below and without weights of edges, as DrNAS's
authors ran it.
"""

leave_out = {'mobilenet_like': 'it acts on the edges of a cell'}

train_dataloader = dict(batch_size=256)
arch_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = dict(eta_min=0.0)
arch_optimizer = dict(lr=6e-4)
default_hooks = dict(architect=dict(start_epoch=15))
model = dict(
    backbone=dict(
        mixed_op=dict(type='rdarts.PartialChannels', share=4),
        relaxation=dict(type='rdarts.EdgeWeights'),
    )
)

below = dict(
    train_dataloader=dict(batch_size={{_base_.train_dataloader.batch_size}}),  # noqa: F821
    arch_dataloader=dict(batch_size={{_base_.arch_dataloader.batch_size}}),  # noqa: F821
    optim_wrapper=dict(optimizer=dict(lr={{_base_.optim_wrapper.optimizer.lr}})),  # noqa: F821
    param_scheduler=dict(eta_min={{_base_.param_scheduler.eta_min}}),  # noqa: F821
    arch_optimizer=dict(lr={{_base_.arch_optimizer.lr}}),  # noqa: F821
    default_hooks=dict(
        architect=dict(start_epoch={{_base_.default_hooks.architect.start_epoch}})  # noqa: F821
    ),
)
by = dict(
    nb201=dict(below, model=dict(backbone=dict(relaxation=dict(type='rdarts.Softmax')))),
    darts_imagenet=dict(below, model=dict(backbone=dict(mixed_op=dict(share=2)))),
)
del below
