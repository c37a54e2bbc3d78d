"""Annealed within the epochs that are run, 50 of DARTS.

Otherwise as the config without: r-DARTS's of NAS-Bench-201 stops a schedule of 100 epochs; which of
the two the paper did, it does not say. 50 epochs are those of the DARTS paper.
"""

schedule_epochs = {{_base_.train_cfg.max_epochs}}  # noqa: F821
param_scheduler = dict(T_max=schedule_epochs, end=schedule_epochs)

by = {
    method: dict(
        schedule_epochs=epochs,
        param_scheduler=dict(T_max=epochs, end=epochs),
        train_cfg=dict(max_epochs=epochs),
    )
    for method, epochs in [('darts_nb201', 50), ('darts_2nd_nb201', 50)]
}
