"""Does a longer search collapse (App. D)? DARTS and r-DARTS over up to 200 epochs, with skips.

The appendix is not available: the lengths are ours. Each anneals over the epochs that it runs.
"""

study = dict(
    title='Longer searches: NAS-Bench-201',
    methods=[
        dict(
            method=method,
            options={'train_cfg.max_epochs': epochs, 'schedule_epochs': epochs},
            named=f'{epochs}_epochs',
        )
        for method in ('darts', 'beta_darts', 'rdarts')
        for epochs in (50, 100, 150, 200)
    ],
    spaces=['nb201'],
    data=['c10'],
    seeds=3,
    small=dict(
        says='one cell a stage, 16 channels, a fiftieth of the images',
        options={'model.backbone.cells_per_stage': 1, 'limit': 1000},
    ),
)
