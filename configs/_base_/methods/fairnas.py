"""FairNAS (Chu et al. 2021): every candidate of an edge learns in each step, then NSGA-II.

Phase 0 trains a supernet without alpha: of each edge's m candidates, each runs in exactly one of m
passes over one batch, whose gradients add up to one step. (`batches='different'` of
`rdarts.PathTraining` has a batch for each pass, as the code of uninas: the loader's is then m times
as large.) Phase 1 asks it, accuracy with inherited weights against multiply-adds; batch norms take
their statistics anew for each network.

The layerwise space on ImageNet has the paper's numbers: 150 epochs on batches of 256, rate .045 ->
0, weight decay 4e-5, and the training images but for 4 %, which validate. The search is uninas's:
generations of 100, here 60. In NAS-Bench-201 the settings are those of PA-DA's comparison: 250
epochs, batches of 256, rate .05 -> 0, weight decay 2.5e-4, clip 5, and batch norms that take the
statistics of each batch. Elsewhere what is not said here is that of the config below; in cells,
where the paper does not search, every edge runs in each pass.
"""

over = 'single_path'

model = dict(backbone=dict(relaxation=dict(type='rdarts.FairPaths')))
strategy = dict(_delete_=True, type='rdarts.NSGA2', cost='macs', population=100)

by = dict(
    nb201_digits=dict(strategy=dict(population=25)),
    mobilenet_like_c10=dict(strategy=dict(population=25), limits=None),
    mobilenet_like_imagenet=dict(
        schedule_epochs=150,
        train_cfg=dict(max_epochs=150),
        train_dataloader=dict(batch_size=256),
        optim_wrapper=dict(optimizer=dict(lr=0.045)),
        param_scheduler=dict(
            _delete_=True,
            type='CosineAnnealingLR',
            T_max=150,
            end=150,
            eta_min=0.0,
            by_epoch=True,
        ),
        limits=None,
        budget=6000,
    ),
)
