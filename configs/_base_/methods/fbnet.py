"""FBNet (Wu et al. 2019): candidates mixed by Gumbel-softmax, L_val times a power of log latency.

90 epochs, the weights on four fifths of the images, with SGD of the rate .1 (cosine), weight decay
1e-4; alpha, from the 11th epoch on in a pass over the others after each epoch, with Adam of the
rate .01 and weight decay 5e-4, from equal weights. The temperature is 5 exp(-.045 e), e counted
from the 11th epoch. The loss is L_val x .2 x log(latency)^.6, latency in microseconds: `units` are
those of a table in ms. Where the space has none, thousands of multiply-adds stand for microseconds.
Its search code is not public: these numbers are of the paper and of a reimplementation. They are
taken in all spaces; the paper's is a layerwise one, on 100 classes of ImageNet in batches of 192.
"""

keep_length = ['nb201_digits']

schedule_epochs = 90
param_scheduler = dict(T_max=90, end=90, eta_min=0.0)
train_cfg = dict(max_epochs=90)
train_dataloader = dict(dataset=dict(fraction=0.8))
arch_dataloader = dict(dataset=dict(fraction=0.8))
val_dataloader = dict(dataset=dict(fraction=0.8))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=1e-4))
arch_optimizer = dict(lr=0.01, betas=(0.9, 0.999), weight_decay=5e-4)
model = dict(
    backbone=dict(
        alpha_std=0.0,
        relaxation=dict(
            type='rdarts.GumbelSoftmax',
            hard=False,
            # 5 exp(-.045 x 80) after 80 epochs
            temperature=dict(
                points=[(10, 5.0), (90, 0.13661861223646293)], interpolation='exponential'
            ),
        ),
    )
)
default_hooks = dict(
    architect=dict(
        step_order='epochs_in_turn',
        start_epoch=10,
        regularizers=dict(
            cost=dict(type='rdarts.CostFactor', lambda_=0.2, power=0.6, units=1000.0, drawn=True)
        ),
    )
)

by = dict(
    # alpha from the first epoch on
    nb201_digits=dict(
        model=dict(
            backbone=dict(
                relaxation=dict(
                    temperature=dict(
                        points=[
                            (0, 5.0),
                            ({{_base_.train_cfg.max_epochs}}, 0.13661861223646293),  # noqa: F821
                        ]
                    )
                )
            )
        ),
        default_hooks=dict(architect=dict(start_epoch=0)),
    ),
    mobilenet_like_imagenet=dict(
        train_dataloader=dict(batch_size=192),
        arch_dataloader=dict(batch_size=192),
        optim_wrapper=dict(optimizer=dict(nesterov=False)),
    ),
)
