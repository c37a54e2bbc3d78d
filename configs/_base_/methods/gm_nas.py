"""Few-shot NAS by gradient matching (Hu et al. 2022) over ProxylessNAS: a supernet is split twice.

After half of the epochs, the candidates of one edge are divided into two groups, and a supernet of
each goes on for a quarter; then those of another edge into three, for the last quarter. Weights,
alpha, both optimizers, the schedule and the epochs go on, as in the published code, whose 40 epochs
of the weights alone are followed by 120 with splits after 40 and 80. (In the spaces of cells the
paper begins the last supernets anew.) All other numbers are those of `proxylessnas`.

Of the branches of a phase the one with the best validation accuracy goes on; its authors go on with
all, which makes six supernets in the end. Which edge and which groups is as the paper has it:
`rdarts.SplitByGradientMatching` has the published code's ways as options, among them the one into
three, which does not look for the best. For NAS-Bench-201 its authors publish splits of DARTS, SNAS
and random search, each after 15 and 30 epochs or 20 and 40.

A split is found by 100 batches, as published, each passed once for every candidate of every edge:
3,000 passes in NAS-Bench-201, 14,100 in the layerwise space (28 epochs of the share of ImageNet).
"""

over = 'proxylessnas'

leave_out = {
    'darts': "it splits ProxylessNAS's layers, or NAS-Bench-201",
    's1': "it splits ProxylessNAS's layers, or NAS-Bench-201",
    's2': "it splits ProxylessNAS's layers, or NAS-Bench-201",
    's3': "it splits ProxylessNAS's layers, or NAS-Bench-201",
    's4': "it splits ProxylessNAS's layers, or NAS-Bench-201",
}

lengths = dict(
    nb201=(50, 25, 25),
    nb201_digits=(4, 3, 3),
    mobilenet_like=(26, 12, 12),
    mobilenet_like_imagenet=(80, 40, 40),
)
by = {
    name: dict(
        phases=[
            dict(train_cfg=dict(max_epochs=first)),
            *(
                dict(
                    start=dict(type='rdarts.SplitByGradientMatching', batches=100),
                    branches=branches,
                    continue_from_last=('weights', 'alpha', 'optimizer', 'schedule', 'epoch'),
                    train_cfg=dict(max_epochs=epochs),
                    default_hooks=dict(architect=dict(start_epoch=0)),
                )
                for branches, epochs in ((2, second), (3, third))
            ),
        ]
    )
    for name, (first, second, third) in lengths.items()
}
del lengths
for phase in by['nb201_digits']['phases'][1:]:
    phase['start']['batches'] = 2
del phase
