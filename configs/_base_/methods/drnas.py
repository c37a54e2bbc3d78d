"""DrNAS (Chen et al. 2021), in one stage: mixing weights are drawn from Dirichlet distributions.

Its anchor is the weight decay of alpha's Adam, 1e-3, as published by default (`rdarts.DirichletKL`
is the other, with which `arch_optimizer.weight_decay` is 0, as published). In NAS-Bench-201, and in
the MobileNet-like space, for which its authors have no search, the other settings are those of the
config below. In the DARTS space, without `none` as published, alpha has the learning rate 6e-4 and
rests for 10 epochs, and that of the weights falls from .1 to 0; on ImageNet both rates are those of
the config below, in batches of 512. Its published searches there have two stages: that is
`drnas_progressive`. Here 50 epochs in one, and the network of the config below (16 channels,
8 cells), all channels.
"""

arch_optimizer = dict(weight_decay=1e-3)
model = dict(backbone=dict(relaxation=dict(type='rdarts.Dirichlet')))

by = {
    space: dict(
        arch_optimizer=dict(lr=6e-4),
        optim_wrapper=dict(optimizer=dict(lr=0.1)),
        param_scheduler=dict(eta_min=0.0),
        default_hooks=dict(architect=dict(start_epoch=10)),
    )
    for space in ('darts', 's1', 's2', 's3', 's4')
}
by['darts'].update(
    model=dict(backbone=dict(space=dict(_delete_=True, type='darts', leave_out=['none'])))
)
by['darts_imagenet'] = dict(
    train_dataloader=dict(batch_size=512),
    arch_dataloader=dict(batch_size=512),
    arch_optimizer=dict(lr={{_base_.arch_optimizer.lr}}),  # noqa: F821
    optim_wrapper=dict(optimizer=dict(lr={{_base_.optim_wrapper.optimizer.lr}})),  # noqa: F821
)
