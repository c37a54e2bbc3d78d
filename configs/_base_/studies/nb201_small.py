"""NAS-Bench-201 on a small scale: searches of minutes on a CPU."""

study = dict(
    small=dict(
        says='one cell a stage, 16 channels, a quarter of the images, 10 epochs',
        epochs=10,
        options={'model.backbone.cells_per_stage': 1, 'limit': 12500},
    ),
)
