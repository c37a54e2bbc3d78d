"""The DARTS space on CIFAR-10 and CIFAR-100 (App. B): search and retraining on the same images.

The appendix is not available: its rows are not known. These are the methods of Table 2 that search
this space by a gradient, each with its published settings, and all retrained alike: 20 cells, 36
channels, 600 epochs.
"""

_base_ = ['../_base_/studies/darts_small.py']

study = dict(
    title='The DARTS space on CIFAR',
    methods=[
        'darts',
        'darts_2nd',
        'pc_darts',
        'pdarts',
        'darts_plus',
        'darts_minus',
        'fairdarts',
        'snas',
        'darts_pt',
        'dots',
        'beta_darts',
        'lambda_darts',
        'oles',
        'fp_darts',
        'pdarts_aer',
        'is_darts',
        'rdarts',
    ],
    spaces=['darts'],
    data=['c10', 'c100'],
    seeds=3,
    retrain=dict(c10='darts_c10', c100='darts_c100'),
    small=dict(
        says='5 cells, 8 channels, an eighth of the images, 10 epochs; networks of 8 cells, 16 '
        'channels, a tenth of the images, 10 epochs',
        options={'limit': 6250},
        retrain_options={'model.backbone.channels': 16, 'model.backbone.num_cells': 8},
    ),
)
