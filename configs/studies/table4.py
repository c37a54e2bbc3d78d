"""Table 4 of the paper: the layerwise space, searched and retrained on ImageNet-1k.

Its methods with the settings that each has in this space here, and DARTS beside them.
"""

study = dict(
    title='Table 4: the layerwise space on ImageNet',
    methods=[
        'proxylessnas',
        'fbnet',
        'fairnas',
        'fairdarts',
        'rlnas',
        'gm_nas',
        'oles',
        'zico',
        'az_nas',
        'parzc',
        'darts',
        'rdarts',
    ],
    spaces=['mobilenet_like'],
    data=['imagenet'],
    seeds=1,
    retrain='mobilenet_like_imagenet',
    small=dict(
        says='images of 64 pixels, 2,000 of each set, 4 epochs or 100 queries; networks with these '
        'images, 2 epochs',
        epochs=4,  # a phase of gm_nas in which alpha rests has another epoch
        queries=100,
        options={'image_size': 64, 'limit': 2000},
        retrain_options={'image_size': 64, 'limit': 2000, 'epochs': 2},
    ),
)
