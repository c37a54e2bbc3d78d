"""DOTS (Gu et al. 2021): operations in two groups first, then pairs of edges, in 70 epochs.

Four phases. 15 epochs of the weights alone and 15 that search operations, with a softmax for each
kind; then, with new weights and the best operation of each kind on every edge, 20 of the weights on
their half of the images, and 20 that search pairs of edges in one level, on all images, while the
temperature falls 10 -> .02 and validation is on images that were trained on. One cosine of the
learning rate goes over all. Alpha starts at 0; its Adam has the betas .5 and .999 for operations,
.9 and .999 for pairs. These are the numbers of its code for CIFAR; the other settings are those of
the config below.

On ImageNet, of its code: 14 cells, batches of 512, the rate .25 -> .001, alpha's 3e-3 with the
betas .9 and .999 in all phases, 20 epochs before operations are searched for 10, no clip of alpha's
gradient for pairs. The rate of the first 30 epochs falls over these there; here it is one cosine
of 70, as on CIFAR.
"""

leave_out = {
    'mobilenet_like': 'it chooses pairs of edges of a cell',
    'nb201': 'it chooses pairs of edges of a cell, and every edge of this one is kept',
}

schedule_epochs = 70
train_cfg = dict(max_epochs=70)
param_scheduler = dict(T_max=70, end=70)
default_hooks = dict(architect=dict(start_epoch=0))
model = dict(backbone=dict(alpha_std=0.0, relaxation=dict(type='rdarts.GroupedSoftmax')))

goes_on = ['weights', 'alpha', 'optimizer', 'schedule']
betas = dict(betas=(0.9, 0.999))
pairs = dict(type='rdarts.EdgePairs', temperature=1.0)
falling = dict(points=[(0, 10.0), (19, 0.02)], interpolation='exponential')
rule = dict(discretizer='rdarts.BestPairs')
phases = [
    dict(train_cfg=dict(max_epochs=15), default_hooks=dict(architect=dict(max_steps=0))),
    dict(train_cfg=dict(max_epochs=15), continue_from_last=goes_on),
    dict(
        start=dict(type='rdarts.KeepByGroup'),
        continue_from_last=['schedule'],
        train_cfg=dict(max_epochs=20),
        model=dict(backbone=dict(relaxation=pairs)),
        arch_optimizer=betas,
        default_hooks=dict(architect=dict(max_steps=0), genotype=rule),
    ),
    dict(
        continue_from_last=goes_on,
        train_cfg=dict(max_epochs=20),
        train_dataloader=dict(dataset=dict(part='both')),
        arch_dataloader=None,
        model=dict(backbone=dict(relaxation=dict(pairs, temperature=falling))),
        arch_optimizer=betas,
        default_hooks=dict(architect=dict(architect='rdarts.SingleLevel'), genotype=rule),
    ),
]
by = dict(
    darts_imagenet=dict(
        train_dataloader=dict(batch_size=512),
        arch_dataloader=dict(batch_size=512),
        optim_wrapper=dict(optimizer=dict(lr=0.25)),
        param_scheduler=dict(
            _delete_=True, type='CosineAnnealingLR', T_max=70, end=70, eta_min=1e-3, by_epoch=True
        ),
        arch_optimizer=dict(lr=3e-3, **betas),
        model=dict(backbone=dict(num_cells=14)),
        phases=[
            dict(phases[0], train_cfg=dict(max_epochs=20)),
            dict(phases[1], train_cfg=dict(max_epochs=10)),
            phases[2],
            dict(
                phases[3],
                default_hooks=dict(
                    architect=dict(architect='rdarts.SingleLevel', arch_clip_grad=None),
                    genotype=rule,
                ),
            ),
        ],
    )
)
del goes_on, betas, pairs, falling, rule
