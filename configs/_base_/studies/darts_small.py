"""The DARTS space and those within it on a small scale; how many images is said by each study."""

study = dict(
    small=dict(
        epochs=10,
        options={'model.backbone.channels': 8, 'model.backbone.num_cells': 5},
        retrain_options={'limit': 5000, 'epochs': 10},
    ),
)
