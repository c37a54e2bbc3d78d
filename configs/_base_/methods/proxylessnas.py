"""ProxylessNAS (Cai et al. 2019): binary gates over two sampled paths, and the expected cost.

Alpha: Adam of the rate 1e-3, betas (0, .999), no decay, as published. The cost is added relative to
that of equal weights, with lambda .1 (`add#linear` of the published code; `rdarts.CostFactor` is
`mul#log`, the default of its scripts). It is in multiply-adds where the space has no table of
latencies; it is of the two paths. In the layerwise space the weights move first, alpha in each
fifth iteration, and a skipped layer stands for the Zero operation; on ImageNet alpha moves from the
second epoch after 40 of 160 on. In other spaces, where its authors do not search, alpha rests for a
quarter of the epochs, and what is not said here is that of the config below.
"""

arch_optimizer = dict(lr=1e-3, betas=(0.0, 0.999), weight_decay=0.0)
default_hooks = dict(
    architect=dict(
        architect=dict(type='rdarts.SampledPaths'),
        start_epoch=12,
        regularizers=dict(
            cost=dict(type='rdarts.ExpectedCost', lambda_=0.1, reference='equal', drawn=True)
        ),
    )
)
model = dict(backbone=dict(relaxation=dict(type='rdarts.BinaryGates', paths='two')))

by = dict(
    nb201=dict(default_hooks=dict(architect=dict(start_epoch=25))),
    nb201_digits=dict(default_hooks=dict(architect=dict(start_epoch=0))),
    mobilenet_like=dict(
        optim_wrapper=dict(optimizer=dict(nesterov=True, weight_decay=4e-5)),
        model=dict(
            backbone=dict(relaxation=dict(zero=['skip_connect'])),
            head=dict(
                loss=dict(
                    _delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
                )
            ),
        ),
        default_hooks=dict(architect=dict(step_order='weights_first', every=5, start_epoch=13)),
    ),
    mobilenet_like_imagenet=dict(default_hooks=dict(architect=dict(start_epoch=41))),
)
